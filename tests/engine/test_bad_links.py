"""What links of real engines refuse, with the reason in the log, while trading goes on; and histories that differ."""

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import EngineFactory, RunningEngine, fund
from fixtures.members import RunningShard, make_shard
from fixtures.processes import READY_S, free_address
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import MAX_FRAME_BYTES, encode
from openbourse.contracts.session import Address
from openbourse.engine.journal import snapshots, wal
from openbourse.engine.member import links

pytestmark = pytest.mark.server


@pytest.fixture
def places() -> tuple[Address, Address]:
    """Of the test and of an engine: the test opens the link."""
    one, other = sorted((free_address(), free_address()), key=str)
    return one, other


@pytest.fixture
def leader(engine_factory: EngineFactory, places: tuple[Address, Address], tmp_path: Path) -> RunningEngine:
    """It leads alone, and waits for a member at the place of the test."""
    own, other = places[1], places[0]
    engine = engine_factory(f"--place={own}", f"--peer={other}", f"--record={tmp_path / 'record'}", "--found")
    engine.start()
    return engine


@contextlib.asynccontextmanager
async def dialed(
    place: Address, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                await writer.wait_closed()


def hello(engine: RunningEngine, place: Address) -> v1.LinkHello:
    """A good one."""
    return v1.LinkHello(
        version=links.VERSION,
        shard=engine.shard,
        place=str(place),
        member="b" * 16,
        boot="c" * 16,
        heartbeat_link=bytes(16),
        heartbeat_key=bytes(32),
    )


def changed(**fields: object) -> Callable[[v1.LinkHello, str], bytes]:
    def make(good: v1.LinkHello, member: str) -> bytes:
        for name, value in fields.items():
            setattr(good, name, member if value == "the leader's" else value)
        return encode(v1.LinkFrame(hello=good))

    return make


def behind_a_good_hello(data: bytes) -> Callable[[v1.LinkHello, str], bytes]:
    return lambda good, _: encode(v1.LinkFrame(hello=good)) + data


REFUSED = {
    "another version": (changed(version=2), "it speaks version 2 of links, and this engine version 1"),
    "another shard": (changed(shard="other"), "it is of shard 'other', and this is 'main'"),
    "another place": (changed(place="10.0.0.9:7002"), "it says that it is at 10.0.0.9:7002, and expected is "),
    "the same volume": (changed(member="the leader's"), "it has the id of this volume, "),
    "no key": (changed(heartbeat_key=b"short"), "it brings no key for heartbeats"),
    "no hello": (lambda *_: encode(v1.LinkFrame(ack=v1.Ack(epoch=1))), "its first word is no hello"),
    "no frame": (lambda *_: b"GET / HTTP/1.1\r\n\r\n", "it sends what is no message of a link"),
    "too large": (
        behind_a_good_hello((MAX_FRAME_BYTES + 1).to_bytes(4, "big")),
        f"at most {MAX_FRAME_BYTES} are taken",
    ),
    "no message": (behind_a_good_hello(b"\x00\x00\x00\x04\xff\xff\xff\xff"), "it sends what is no message of a link"),
}


async def test_a_link_that_says_what_is_wrong_is_closed_with_the_reason(
    leader: RunningEngine, places: tuple[Address, Address]
) -> None:
    member, context = leader.status()["member"], leader.client_tls(Component.ENGINE)
    for case, (make, why) in REFUSED.items():
        before = len(leader.log.read_text())
        async with dialed(places[1], context) as (reader, writer):
            writer.write(make(hello(leader, places[0]), member))
            async with asyncio.timeout(TIMEOUT_S):
                with contextlib.suppress(ConnectionError):
                    while await reader.read(65536):
                        pass
        assert why in leader.log.read_text()[before:], case
    await still_trades(leader)


async def test_a_link_that_ends_in_the_middle_of_a_frame_harms_nobody(
    leader: RunningEngine, places: tuple[Address, Address]
) -> None:
    frame = encode(v1.LinkFrame(hello=hello(leader, places[0])))
    for cut in (2, len(frame) // 2, len(frame) - 1):
        async with dialed(places[1], leader.client_tls(Component.ENGINE)) as (_, writer):
            writer.write(frame[:cut])
    await still_trades(leader)
    assert leader.status()["followers"] == []


async def test_only_engines_are_members(leader: RunningEngine, places: tuple[Address, Address]) -> None:
    async with dialed(places[1], leader.client_tls(Component.GATEWAY)) as (reader, _):
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read(1) == b""
    assert "it is a gateway" in leader.log.read_text()


async def still_trades(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        assert (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).WhichOneof("result") == "order"


async def test_a_copy_of_the_leaders_volume_ends_and_says_what_it_is(pair: RunningShard) -> None:
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    (copy,) = (member for member in pair.members if member is not leader)
    copy.kill()
    shutil.rmtree(copy.wal)
    shutil.copytree(leader.wal, copy.wal)
    copy.launch(copy.command())
    assert copy.process is not None
    assert await asyncio.to_thread(copy.process.wait, READY_S) == 1
    copy.process = None
    assert f"is a copy of the volume of {leader.status()['member']}/" in copy.log.read_text()
    assert "remove its member.json, and it joins as a new member" in copy.log.read_text()
    await still_trades(leader)
    assert leader.status()["epoch"] == 1
    (copy.wal / "member.json").unlink()
    await asyncio.to_thread(copy.start)
    await asyncio.to_thread(pair.wait_for_leader, 2)
    assert leader.status()["epoch"] == 1


async def test_of_two_standbys_with_one_volume_id_one_is_a_copy_and_trading_goes_on(
    engine_factory: EngineFactory, tmp_path: Path
) -> None:
    trio = make_shard(engine_factory, tmp_path, 3)
    trio.start()
    leader = await asyncio.to_thread(trio.wait_for_leader, 3)
    copied, copy = (member for member in trio.members if member is not leader)
    copy.kill()
    shutil.rmtree(copy.wal)
    shutil.copytree(copied.wal, copy.wal)
    copy.launch(copy.command())
    wanted = f"is linked as member {copied.status()['member']} too, one volume is a copy"
    await asyncio.to_thread(leader.wait_for, "it refuses the copy", lambda _: wanted in leader.log.read_text())
    await still_trades(leader)
    in_sync = leader.status()["in_sync"]
    assert in_sync == sorted(member.status()["member"] for member in (leader, copied))


async def test_a_history_that_differs_below_what_is_committed_stops_and_names_the_place(
    pair: RunningShard,
) -> None:
    """A member that led elsewhere, by another record: nothing is repaired by guess."""
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    (standby,) = (member for member in pair.members if member is not leader)
    standby.kill()
    common_seq = wal.verify(standby.wal).last_seq
    await still_trades(leader)
    elsewhere = replace(standby, arguments=())
    elsewhere.start()
    await still_trades(elsewhere)
    seq = elsewhere.status()["committed_seq"]
    await asyncio.to_thread(snapshots.make, elsewhere.wal, elsewhere.shard, seq)
    assert elsewhere.stop() == 0
    for _ in range(3):
        # An epoch above that of the other history.
        leader.kill()
        leader.start()
        await asyncio.to_thread(pair.wait_for_leader)
    await still_trades(leader)
    standby.launch(standby.command())
    stopped = await asyncio.to_thread(standby.wait_for, "it stops", lambda status: status["role"] == "stopped")
    assert f"the log is committed through {seq}, but {leader.status()['member']}/" in stopped["stopped"]
    assert f"has another entry at {common_seq + 1}" in stopped["stopped"]
    await still_trades(leader)
