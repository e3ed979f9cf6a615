"""Members that are far behind, or are copies of another log, with real engines: they come back, or stop and say why."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import SHARD, EngineFactory, RunningEngine, fund
from fixtures.members import RunningShard, make_shard
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import committed_events
from openbourse.engine.journal import wal

pytestmark = pytest.mark.server

AT_ONCE = 64
# A log that is soon recycled: a snapshot every 300 commands, and a member that lacks more than 200 gets one.
SHORT = (
    *("--segment-bytes", "65536", "--snapshot-commands", "300"),
    *("--keep-commands", "200", "--consumer", "ledger"),
)


ROUNDS_MOST = 60
Told = dict[bytes, tuple[v1.Command, v1.Reply]]


@pytest.fixture
def short(engine_factory: EngineFactory, tmp_path: Path) -> RunningShard:
    """Two members of which none runs, whose logs are soon recycled."""
    shard = make_shard(engine_factory, tmp_path, 2)
    for member in shard.members:
        member.arguments += SHORT
    return shard


@contextlib.asynccontextmanager
async def settling(shard: RunningShard) -> AsyncIterator[None]:
    """A consumer that makes its own at once what it is sent."""
    passed = [0]
    addresses = [member.address for member in shard.members]
    tls = shard.members[0].client_tls(Component.LEDGER)

    async def consume() -> None:
        async for events in committed_events(SHARD, addresses, tls, "test", 1, passed=lambda: passed[0]):
            passed[0] = events.last_seq

    consuming = asyncio.create_task(consume())
    try:
        yield
    finally:
        consuming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await consuming


async def trade(shard: RunningShard, count: int) -> Told:
    """So many orders, each acknowledged."""
    told: Told = {}
    async with shard.session(Component.GATEWAY) as gateway:
        for _ in range(0, count, AT_ONCE):
            commands = [sell(30_000_00, 1) for _ in range(AT_ONCE)]
            replies = await asyncio.gather(*(gateway.command(command, TIMEOUT_S) for command in commands))
            told |= {one.command_id: (one, reply) for one, reply in zip(commands, replies, strict=True)}
    return told


async def trade_until_recycled(shard: RunningShard, member: RunningEngine, segments: int) -> Told:
    """A snapshot is made every now and then, and recycling waits for the second."""
    told: Told = {}
    for _ in range(ROUNDS_MOST):
        told |= await trade(shard, 600)
        if (await asyncio.to_thread(member.status))["retention"]["recycled"] >= segments:
            return told
        await asyncio.sleep(0.5)
    raise AssertionError(f"nothing is recycled: {member.status()}")


async def forgotten(shard: RunningShard, told: Told) -> list[v1.Reply]:
    """What a leader answers otherwise than the first time."""
    wrong = []
    first = list(told.values())
    async with shard.session(Component.GATEWAY) as gateway:
        for at in range(0, len(first), 1_000):
            some = first[at : at + 1_000]
            again = await asyncio.gather(*(gateway.command(command, TIMEOUT_S) for command, _ in some))
            wrong += [reply for reply, (_, before) in zip(again, some, strict=True) if reply != before]
    return wrong


@pytest.mark.timeout(240)
async def test_a_member_that_lacks_what_is_recycled_begins_anew_and_takes_over(short: RunningShard) -> None:
    for member in short.members:
        member.start()
    leader = await asyncio.to_thread(short.wait_for_leader, 2)
    (standby,) = (member for member in short.members if member is not leader)
    old_member = standby.status()["member"]
    standby.kill()
    async with settling(short):
        async with short.session(Component.LEDGER) as ledger:
            await fund(ledger)
        told = await trade_until_recycled(short, leader, 3)
        assert wal.verify(leader.wal).first_seq > wal.verify(standby.wal).last_seq + 1
        # Its memory would have everything still.
        leader.kill()
        await asyncio.to_thread(leader.start)
        await asyncio.to_thread(standby.start)
        told |= await trade(short, 500)
        await asyncio.to_thread(short.wait_for_leader, 2)
        renewed = standby.status()
        assert renewed["member"] not in {old_member, leader.status()["member"]}
        assert wal.verify(standby.wal).first_seq > 1_000
        await asyncio.to_thread(leader.kill)
        assert await asyncio.to_thread(short.wait_for_leader) is standby
        assert await forgotten(short, told) == []
        await asyncio.to_thread(leader.start)
        await asyncio.to_thread(short.wait_for_leader, 2)
    for member in short.members:
        member.kill()
    report = wal.diff((leader.wal, wal.verify(leader.wal)), (standby.wal, wal.verify(standby.wal)))
    assert report.first_seq is None


@pytest.mark.timeout(240)
async def test_a_standby_knows_how_far_consumers_are_and_recycles_too(short: RunningShard) -> None:
    for member in short.members:
        member.start()
    leader = await asyncio.to_thread(short.wait_for_leader, 2)
    (standby,) = (member for member in short.members if member is not leader)
    async with settling(short):
        async with short.session(Component.LEDGER) as ledger:
            await fund(ledger)
        await trade_until_recycled(short, standby, 2)
    settled_seq = standby.status()["lag"]["settled_seq"]
    assert settled_seq > 1_500
    await asyncio.to_thread(leader.kill)
    assert await asyncio.to_thread(short.wait_for_leader) is standby
    # Nobody consumes any more: what it knows it was told.
    status = standby.status()
    assert status["lag"]["settled_seq"] >= settled_seq
    assert status["lag"]["consumers"] == [
        {"name": "ledger", "passed_seq": status["lag"]["settled_seq"], "heard": False, "trading_waits": True}
    ]


@pytest.mark.timeout(240)
async def test_a_volume_of_another_log_with_the_same_pairs_stops_and_is_not_counted(
    engine_factory: EngineFactory, tmp_path: Path
) -> None:
    shard = make_shard(engine_factory, tmp_path, 2)
    one, other = shard.members
    # Each makes a shard of its own.
    kept = other.arguments
    other.arguments = (*kept[:-1], f"--record={tmp_path / 'another'}", "--found")
    for member in shard.members:
        await asyncio.to_thread(member.start)
        await asyncio.to_thread(member.wait_for, "it leads", lambda it: it["role"] == "leader")
        member.kill()
    assert [wal.verify(member.wal).last_seq for member in shard.members] == [wal.verify(one.wal).last_seq] * 2
    other.arguments = kept
    await asyncio.to_thread(one.start)
    other.launch(other.command())
    status = await asyncio.to_thread(other.wait_for, "it stops", lambda it: it["role"] == "stopped")
    assert f"another chain at entry {wal.verify(other.wal).last_seq}" in status["stopped"]
    assert one.status()["in_sync"] == [one.status()["member"]]
    assert [follower["member"] for follower in one.status()["followers"]] == []
