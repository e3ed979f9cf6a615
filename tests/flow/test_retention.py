"""What of the log goes and what stays, with a real engine of small segments, and a ledger that follows or does not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.commands import TIMEOUT_S, sell
from fixtures.databases import LedgerDatabase
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine
from fixtures.ledgers import LedgerFactory, RunningLedger, deposit
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import encode
from openbourse.contracts.session import EngineSession, Leaders
from openbourse.engine.journal import files, passed, retention, snapshots

pytestmark = pytest.mark.server

SELLER = 1001
SEGMENT_BYTES = 32 * 1024
ORDERS = 300


@pytest.fixture
def engine(engine_factory: EngineFactory) -> RunningEngine:
    """With small segments, and without limits: the ledger is away for as long as a test likes."""
    engine = engine_factory("--consumer", "ledger", "--segment-bytes", str(SEGMENT_BYTES))
    never = {"throttleSeconds": 0, "cancelOnlySeconds": 0, "haltSeconds": 0}
    engine.listings.write_text(json.dumps(LISTINGS | {"safety": {"settlementLag": never}}))
    engine.start()
    return engine


async def trade(session: EngineSession, count: int) -> None:
    replies = await asyncio.gather(*(session.command(sell(30_000_00, 1, SELLER), TIMEOUT_S) for _ in range(count)))
    assert {reply.WhichOneof("result") for reply in replies} == {"order"}


async def trade_and_snapshot(engine: RunningEngine, session: EngineSession, count: int) -> None:
    """Trades, and makes one at the end; so many times. Not at the lowest priority, as an engine has it done."""
    for _ in range(count):
        await trade(session, ORDERS)
        await asyncio.to_thread(snapshots.make, engine.wal, engine.shard, engine.status()["committed_seq"])


async def until_needed(engine: RunningEngine, wanted: str) -> dict[str, Any]:
    status = await asyncio.to_thread(engine.wait_for, wanted, lambda status: wanted in status["retention"]["why"])
    found: dict[str, Any] = status["retention"]
    return found


def first_seq(wal: Path) -> int:
    return min(int(path.name[:20]) for path in wal.glob("*.wal"))


async def problem_of_a_subscriber(engine: RunningEngine, from_seq: int) -> v1.Problem:
    late = Leaders("main", [engine.address], engine.client_tls(Component.CLI), "late")
    async with late as leaders, leaders.next() as connection:
        connection.writer.write(encode(v1.ClientFrame(subscribe=v1.Subscribe(from_seq=from_seq))))
        async with asyncio.timeout(TIMEOUT_S):
            async for message in connection.messages():
                if message.WhichOneof("frame") == "problem":
                    return message.problem
    raise AssertionError("it was not told")


async def test_what_the_ledger_has_passed_goes_and_what_it_has_not_stays(
    engine: RunningEngine, ledger_factory: LedgerFactory, ledger_database: LedgerDatabase
) -> None:
    ledger = ledger_factory(engine, ledger_database)
    await asyncio.to_thread(ledger.start)
    async with ledger.client() as client, engine.session(Component.GATEWAY) as session:
        await deposit(client, SELLER, "BTC", "100")
        needed = await until_needed(engine, "snapshots are made: recovery needs the log")
        assert (needed["needed_from_seq"], needed["recycled"]) == (1, 0)
        await trade_and_snapshot(engine, session, 2)
        needed = await until_needed(engine, "recovery from the snapshot")
        assert needed["needed_from_seq"] == files.snapshots(engine.wal)[0] + 1
        await asyncio.to_thread(engine.wait_for, "some went", lambda status: status["retention"]["recycled"] > 0)
        assert 1 < first_seq(engine.wal) <= needed["needed_from_seq"]

        await asyncio.to_thread(ledger.kill)
        settled_seq = engine.status()["lag"]["settled_seq"]
        await asyncio.to_thread(
            engine.wait_for, "it is written down", lambda _: passed.read(engine.wal)["ledger"] == settled_seq
        )
        await trade_and_snapshot(engine, session, 3)
        needed = await until_needed(engine, f"ledger has passed seq {settled_seq}")
        # What it will ask for is made of the log and the state before it.
        behind = needed["needed_from_seq"] - 1
        found = files.snapshots(engine.wal)
        assert len(found) == snapshots.KEPT + 1
        assert found[0] == behind <= settled_seq < found[1]
        await asyncio.sleep(retention.POLL_S + 1)
        assert first_seq(engine.wal) <= behind + 1

        await asyncio.to_thread(engine.kill)
        await asyncio.to_thread(engine.start)
        needed = await until_needed(
            engine, f"ledger has passed seq {settled_seq}, and was not heard of since the start"
        )
        await trade(session, 10)
        assert first_seq(engine.wal) <= behind + 1
    await _catches_up(engine, ledger)


async def _catches_up(engine: RunningEngine, ledger: RunningLedger) -> None:
    await asyncio.to_thread(ledger.start)
    async with ledger.client() as client:
        report = await client.post("/v1/reconcile")
        assert report.json()["equal"], report.text
    await asyncio.to_thread(snapshots.make, engine.wal, engine.shard, engine.status()["committed_seq"])
    needed = await until_needed(engine, "recovery from the snapshot")
    await asyncio.to_thread(engine.wait_for, "more went", lambda status: status["retention"]["recycled"] > 0)
    problem = await problem_of_a_subscriber(engine, 2)
    assert problem.code == v1.ProblemCode.PROBLEM_CODE_NOT_KEPT
    oldest = needed["needed_from_seq"]
    assert problem.detail == f"events from seq 2 are not kept any more, the oldest are those of seq {oldest}"
    # Memory has the newest ones, and the log the rest.
    late = Leaders("main", [engine.address], engine.client_tls(Component.CLI), "late")
    async with late as leaders, leaders.next() as connection:
        connection.writer.write(encode(v1.ClientFrame(subscribe=v1.Subscribe(from_seq=oldest))))
        async with asyncio.timeout(TIMEOUT_S):
            message = await anext(aiter(connection.messages()))
    assert message.events.first_seq == oldest
    await asyncio.to_thread(engine.stop)
    await asyncio.to_thread(engine.start)
