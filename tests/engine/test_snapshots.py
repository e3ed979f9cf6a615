"""Snapshots with real engine processes: what starts from one, what passes one over, and trading while one is made."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from fixtures.commands import ALICE, TIMEOUT_S, buy, sell
from fixtures.engines import EngineFactory, RunningEngine, fund
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import snapshots, wal

pytestmark = pytest.mark.server


async def _trade(gateway: EngineSession, count: int) -> list[tuple[v1.Command, v1.Reply]]:
    """Orders of which each second one trades, with what was answered to them."""
    commands = [(sell, buy)[number % 2](30_000_00 + number % 3, 5 + number % 4) for number in range(count)]
    replies = await asyncio.gather(*(gateway.command(command, TIMEOUT_S) for command in commands))
    return list(zip(commands, replies, strict=True))


async def _open_orders(gateway: EngineSession) -> list[v1.Order]:
    answer = await gateway.query(v1.Query(open_orders=v1.OpenOrdersQuery(account=ALICE)), TIMEOUT_S)
    return list(answer.orders.orders)


def _snapshots(engine: RunningEngine) -> list[Path]:
    return sorted(engine.wal.glob("*.snapshot"))


async def test_an_engine_that_was_killed_starts_from_its_snapshot_and_answers_as_before(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        before = await _trade(gateway, 100)
        made = snapshots.make(engine.wal, engine.shard, engine.status()["committed_seq"])
        after = await _trade(gateway, 20)
        orders = await _open_orders(gateway)
        committed_seq = engine.status()["committed_seq"]
        await asyncio.to_thread(engine.kill)
        await asyncio.to_thread(engine.start)
        status = engine.status()
        assert status["snapshot"]["seq"] == made.seq
        assert status["snapshot"]["passed_over"] == []
        assert status["committed_seq"] == committed_seq
        assert f"replayed {committed_seq - made.seq} commands behind seq {made.seq}" in engine.log.read_text()
        assert await _open_orders(gateway) == orders
        for command, reply in before + after:
            assert await gateway.command(command, TIMEOUT_S) == reply
        assert await _open_orders(gateway) == orders
    engine.stop()
    report = wal.verify(engine.wal)
    *_, state = wal.replay(engine.wal, report, report.last_seq)
    assert state.seq > committed_seq, "a kernel that replays everything meets the checkpoint of the one that did not"


async def test_a_corrupted_snapshot_is_passed_over_for_the_older_one_and_told(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        made = []
        for _ in range(3):
            await _trade(gateway, 20)
            made.append(snapshots.make(engine.wal, engine.shard, engine.status()["committed_seq"]))
        assert [made[-1].from_seq, made[-1].oldest_seq] == [made[1].seq, made[1].seq], "two are kept"
        orders = await _open_orders(gateway)
        await asyncio.to_thread(engine.kill)
        newest = engine.wal / made[-1].file
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 0x10
        newest.write_bytes(content)
        await asyncio.to_thread(engine.start)
        snapshot = engine.status()["snapshot"]
        assert (snapshot["seq"], snapshot["passed_over"]) == (made[1].seq, [newest.name])
        assert f"the snapshot {newest.name} is bad" in engine.log.read_text()
        assert await _open_orders(gateway) == orders


async def test_trading_goes_on_while_the_engine_has_snapshots_made(engine_factory: EngineFactory) -> None:
    engine = engine_factory("--snapshot-commands", "2000")
    engine.start()
    acknowledged: list[tuple[v1.Command, v1.Reply]] = []
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        deadline_s = time.monotonic() + 60
        while len(_snapshots(engine)) < 2:
            assert time.monotonic() < deadline_s, engine.status()["snapshot"]
            acknowledged += await _trade(gateway, 500)
            # Snapshots are made at the lowest priority: on a full machine they would never get a turn.
            await asyncio.sleep(0.1)
        orders = await _open_orders(gateway)
        await asyncio.to_thread(engine.kill)
        await asyncio.to_thread(engine.start)
        assert engine.status()["snapshot"]["seq"] > 0
        assert await _open_orders(gateway) == orders
        remembered = acknowledged[-50_000:]
        for command, reply in remembered[:50] + remembered[-50:]:
            assert await gateway.command(command, TIMEOUT_S) == reply


async def test_a_snapshot_that_cannot_be_made_is_told_and_stops_nothing(engine_factory: EngineFactory) -> None:
    engine = engine_factory("--snapshot-commands", "50")
    engine.wal.mkdir()
    (engine.wal / snapshots.LOCK_FILE).mkdir()
    engine.start()
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        await _trade(gateway, 60)
        status = await asyncio.to_thread(
            engine.wait_for, "its snapshot failed", lambda status: bool(status["snapshot"]["failure"])
        )
        assert snapshots.LOCK_FILE in status["snapshot"]["failure"]
        assert "no snapshot was made" in engine.log.read_text()
        (engine.wal / snapshots.LOCK_FILE).rmdir()
        await _trade(gateway, 60)
        await asyncio.to_thread(engine.wait_for, "it was made in the end", lambda status: status["snapshot"]["seq"] > 0)
        assert engine.status()["snapshot"]["failure"] == ""


async def test_a_stop_ends_the_process_that_makes_a_snapshot(engine_factory: EngineFactory) -> None:
    engine = engine_factory("--snapshot-commands", "50")
    engine.start()
    assert engine.process is not None
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        await _trade(gateway, 60)
        (child,) = await asyncio.to_thread(_children, engine.process.pid)
        os.kill(child, signal.SIGSTOP)
    engine.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def _children(pid: int) -> list[int]:
    """Those that run their own program: one that is stopped before would hold up whoever starts it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(500):
        found = [int(child) for child in children.read_text().split()]
        if found and all(b"\0snapshot\0" in Path(f"/proc/{child}/cmdline").read_bytes() for child in found):
            return found
        time.sleep(0.01)
    raise AssertionError("no process was started")


def test_one_snapshot_at_a_time_is_made_in_a_folder(tmp_path: Path) -> None:
    with snapshots._alone(tmp_path), pytest.raises(Fatal, match="another process"):
        snapshots.make(tmp_path, "main", 1)
