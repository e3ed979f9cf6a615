"""A real engine on a real disk that fills up: orders are refused with a reason, and taken again when there is room."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from fixtures.commands import ALICE, TIMEOUT_S, sell
from fixtures.disks import Disks, fill
from fixtures.engines import EngineFactory, RunningEngine, fund
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession, NotTaken
from openbourse.engine.journal import wal
from openbourse.engine.status import DISK_SLOW_S, disk

SEGMENT_BYTES = 64 << 10
DISK_BYTES = 2 << 20


@pytest.fixture
def engine(engine_factory: EngineFactory, disks: Disks) -> RunningEngine:
    """A running engine with small segments on a disk of its own."""
    engine = engine_factory("--segment-bytes", str(SEGMENT_BYTES))
    disks.small(engine.wal, DISK_BYTES)
    engine.start()
    return engine


async def trade_until_refused(gateway: EngineSession) -> tuple[list[v1.Reply], str]:
    """What was acknowledged before, and the reason."""
    acknowledged: list[v1.Reply] = []
    for price_ticks in range(30_000_00, 30_000_00 + 5_000):
        try:
            acknowledged.append(await gateway.command(sell(price_ticks, 1), TIMEOUT_S))
        except NotTaken as refused:
            return acknowledged, str(refused)
    raise AssertionError("the disk was never full")


async def open_orders(session: EngineSession) -> set[int]:
    answer = await session.query(v1.Query(open_orders=v1.OpenOrdersQuery(account=ALICE)), TIMEOUT_S)
    return {order.order_id for order in answer.orders.orders}


@pytest.mark.server
async def test_a_full_disk_refuses_orders_answers_queries_and_takes_orders_again_without_a_restart(
    engine: RunningEngine,
) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        ballast = fill(engine.wal)
        acknowledged, reason = await trade_until_refused(gateway)
        assert len(acknowledged) > 20
        assert "No space left on device" in reason
        status = engine.wait_for("it has no room", lambda status: status["disk"]["state"] == "no_room")
        assert "No space left on device" in status["disk"]["why"]
        assert status["ready"] is True
        assert status["committed_seq"] == acknowledged[-1].seq

        with pytest.raises(NotTaken):
            await gateway.command(sell(29_000_00, 1), TIMEOUT_S)
        assert await open_orders(gateway) == {reply.seq for reply in acknowledged}

        ballast.unlink()
        engine.wait_for("there is room", lambda status: status["disk"]["state"] == "good")
        again = await gateway.command(sell(29_000_00, 1), TIMEOUT_S)
        assert again.seq == acknowledged[-1].seq + 1

    assert engine.stop() == 0
    report = wal.verify(engine.wal)
    assert report.damaged is None
    engine.start()
    async with engine.session(Component.GATEWAY) as gateway:
        assert await open_orders(gateway) == {reply.seq for reply in (*acknowledged, again)}


@pytest.mark.server
async def test_what_is_listed_while_the_disk_is_full_is_listed_when_there_is_room(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        ballast = fill(engine.wal)
        await trade_until_refused(gateway)
        listings = json.loads(engine.listings.read_text())
        engine.listings.write_text(
            json.dumps({**listings, "assets": [*listings["assets"], {"name": "SOL", "scale": 9}]})
        )
        engine.wait_for("it tried", lambda _: "not all listed yet" in engine.log.read_text())
        ballast.unlink()
        engine.wait_for("it is listed", lambda _: "listed SOL" in engine.log.read_text())
        answer = await gateway.query(v1.Query(listings=v1.ListingsQuery()), TIMEOUT_S)
        assert "SOL" in {asset.asset for asset in answer.listings.assets}


@pytest.mark.server
async def test_an_engine_killed_on_a_full_disk_starts_there_and_has_all_that_was_acknowledged(
    engine: RunningEngine,
) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        ballast = fill(engine.wal)
        acknowledged, _reason = await trade_until_refused(gateway)
        engine.kill()
        # As much as the record of the leadership takes.
        os.truncate(ballast, ballast.stat().st_size - 4 * 4096)
        engine.start()
        assert await open_orders(gateway) == {reply.seq for reply in acknowledged}
        with pytest.raises(NotTaken):
            await gateway.command(sell(29_000_00, 1), TIMEOUT_S)
        ballast.unlink()
        engine.wait_for("there is room", lambda status: status["disk"]["state"] == "good")
        assert (await gateway.command(sell(29_000_00, 1), TIMEOUT_S)).seq > acknowledged[-1].seq


@pytest.mark.server
async def test_an_order_whose_sync_fails_is_acknowledged_when_the_disk_has_it_and_others_are_refused_meanwhile(
    engine_factory: EngineFactory, disks: Disks
) -> None:
    engine = engine_factory()
    disk = disks.thin(engine.wal, 48 << 20)
    engine.start()
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        before = await gateway.command(sell(30_000_00, 1), TIMEOUT_S)
        disk.exhaust()
        waiting: list[asyncio.Task[v1.Reply]] = []
        # Sectors that hold something already can be written again, so the first ones may go well.
        while (status := await asyncio.to_thread(engine.status))["disk"]["state"] != "not_written":
            assert len(waiting) < 20_000, "the disk never failed"
            waiting += [asyncio.create_task(gateway.command(sell(31_000_00, 1), TIMEOUT_S)) for _ in range(100)]
            await asyncio.sleep(0.02)
        with pytest.raises(NotTaken, match="cannot write"):
            await gateway.command(sell(32_000_00, 1), TIMEOUT_S)
        assert any(not task.done() for task in waiting), "the batch that is not written is not answered"
        told = {task.result().seq for task in waiting if task.done() and task.exception() is None}
        assert max(told, default=before.seq) <= status["committed_seq"]
        disk.refill()
        replies = await asyncio.gather(*waiting, return_exceptions=True)
        acknowledged = {before.seq, *(reply.seq for reply in replies if isinstance(reply, v1.Reply))}
        assert all(isinstance(reply, v1.Reply | NotTaken) for reply in replies), replies
        assert len(acknowledged) > 1
        engine.wait_for("it writes", lambda status: status["disk"]["state"] == "good")
        acknowledged.add((await gateway.command(sell(33_000_00, 1), TIMEOUT_S)).seq)
        assert acknowledged == set(range(before.seq, max(acknowledged) + 1))
        assert await open_orders(gateway) == acknowledged
    assert engine.stop() == 0
    assert wal.verify(engine.wal).damaged is None
    engine.start()
    async with engine.session(Component.GATEWAY) as gateway:
        assert await open_orders(gateway) == acknowledged


@pytest.mark.server
async def test_a_disk_that_turns_read_only_acknowledges_nothing_and_loses_nothing(
    engine_factory: EngineFactory, disks: Disks
) -> None:
    engine = engine_factory()
    disk = disks.fragile(engine.wal, 80 << 20)
    engine.start()
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        acknowledged = [(await gateway.command(sell(30_000_00 + at, 1), TIMEOUT_S)).seq for at in range(20)]
        disk.turn_read_only()
        waiting = asyncio.create_task(gateway.command(sell(31_000_00, 1), TIMEOUT_S))
        status = await asyncio.to_thread(
            engine.wait_for, "it cannot write", lambda status: status["disk"]["state"] == "not_written"
        )
        assert "Read-only file system" in status["disk"]["why"]
        with pytest.raises(NotTaken, match="Read-only file system"):
            await gateway.command(sell(32_000_00, 1), TIMEOUT_S)
        assert not waiting.done()
        engine.kill()
        disk.repair()
        await asyncio.to_thread(engine.start)
        # The session sends it again, by its id.
        acknowledged.append((await waiting).seq)
        assert await open_orders(gateway) == set(acknowledged)
        assert acknowledged == list(range(acknowledged[0], acknowledged[0] + 21))


@pytest.mark.server
async def test_finished_segments_are_signed_and_the_key_is_its_owners_alone(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        while len(list(engine.wal.glob("*.wal"))) < 3:
            await asyncio.gather(*(gateway.command(sell(30_000_00, 1), TIMEOUT_S) for _ in range(100)))
        for _ in range(200):
            if len(list(engine.wal.glob("*.wal.sig"))) >= 2:
                break
            await asyncio.sleep(0.05)
    assert len(list(engine.wal.glob("*.wal.sig"))) >= 2
    key = engine.wal / "signing-key.pem"
    assert key.stat().st_mode & 0o777 == 0o600


def test_status_says_what_the_disk_does() -> None:
    assert disk(None, None, 0.0)["state"] == "good"
    assert disk(None, None, DISK_SLOW_S * 3) == {
        "state": "slow",
        "why": "the log waits for a sync",
        "syncing_for_s": 3.0,
    }
    assert disk(None, "full", 0.0)["state"] == "no_room_soon"
    assert disk(("not_written", "input/output error"), "full", 9.0)["state"] == "not_written"


def test_a_small_disk_can_be_filled(tmp_path: Path, disks: Disks) -> None:
    disks.small(tmp_path / "disk", 1 << 20)
    ballast = fill(tmp_path / "disk")
    with pytest.raises(OSError, match="No space left"):
        (tmp_path / "disk" / "more").write_bytes(bytes(4096))
    ballast.unlink()
    (tmp_path / "disk" / "more").write_bytes(bytes(4096))
