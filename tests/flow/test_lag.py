"""A ledger that stands still while orders come: the shard slows down, stops, goes on by itself, and nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import groupby

import pytest

from fixtures.commands import TIMEOUT_S, cancel, sell
from fixtures.databases import LedgerDatabase
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine
from fixtures.ledgers import LedgerFactory, all_settled, deposit, frozen
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession, committed_events
from openbourse.engine.journal import wal

pytestmark = pytest.mark.server

SELLER = 1001
PRICE_TICKS = 30_000_00
ORDERS_PER_SECOND = 3
THROTTLED = v1.RejectReason.REJECT_REASON_THROTTLED
CANCEL_ONLY = v1.RejectReason.REJECT_REASON_SYMBOL_CANCEL_ONLY
HALTED = v1.RejectReason.REJECT_REASON_SYMBOL_HALTED
ACCEPTED = v1.RejectReason.REJECT_REASON_UNSPECIFIED
LEVELS = [
    v1.SafetyLevel.SAFETY_LEVEL_THROTTLED,
    v1.SafetyLevel.SAFETY_LEVEL_CANCEL_ONLY,
    v1.SafetyLevel.SAFETY_LEVEL_HALT,
    v1.SafetyLevel.SAFETY_LEVEL_NORMAL,
]


@pytest.fixture
def engine(engine_factory: EngineFactory) -> RunningEngine:
    """With limits that a test can wait for, and a ledger that counts."""
    engine = engine_factory("--consumer", "ledger")
    limits = {"throttleSeconds": 1, "cancelOnlySeconds": 3, "haltSeconds": 5}
    safety = {"settlementLag": limits, "throttledOrdersPerSecond": ORDERS_PER_SECOND}
    engine.listings.write_text(json.dumps(LISTINGS | {"safety": safety}))
    engine.start()
    return engine


async def answers(session: EngineSession) -> AsyncIterator[tuple[v1.Reply, v1.RejectReason.ValueType]]:
    """To an order every 50 ms."""
    while True:
        reply = await session.command(sell(PRICE_TICKS, 1, SELLER), TIMEOUT_S)
        yield reply, reply.rejection.reason
        await asyncio.sleep(0.05)


async def until(session: EngineSession, wanted: v1.RejectReason.ValueType) -> list[v1.RejectReason.ValueType]:
    """What orders were told until then, without repeats."""
    told = []
    async with asyncio.timeout(20):
        async for _, reason in answers(session):
            told.append(reason)
            if reason == wanted:
                break
    return [reason for reason, _ in groupby(told)]


async def level_changes(engine: RunningEngine, from_seq: int) -> list[v1.SafetyLevelChanged]:
    committed_seq, found = engine.status()["committed_seq"], []
    tls = engine.client_tls(Component.CLI)
    async with asyncio.timeout(TIMEOUT_S):
        async for events in committed_events("main", [engine.address], tls, "test", from_seq):
            found += [e.safety_level_changed for e in events.events if e.WhichOneof("body") == "safety_level_changed"]
            if events.last_seq >= committed_seq:
                break
    return found


async def test_a_frozen_ledger_slows_the_market_down_then_stops_it_and_it_goes_on_by_itself(
    engine: RunningEngine, ledger_factory: LedgerFactory, ledger_database: LedgerDatabase
) -> None:
    ledger = ledger_factory(engine, ledger_database)
    await asyncio.to_thread(ledger.start)
    async with ledger.client() as client, engine.session(Component.GATEWAY) as session:
        await deposit(client, SELLER, "BTC", "100")
        resting = [await session.command(sell(PRICE_TICKS, 1, SELLER), TIMEOUT_S) for _ in range(2)]
        status = await all_settled(engine)
        assert status["safety"] == {"level": "NORMAL", "why": ""}
        from_seq = status["committed_seq"] + 1
        assert status["lag"]["consumers"] == [
            {"name": "ledger", "passed_seq": status["committed_seq"], "heard": True, "trading_waits": True},
        ]

        async with frozen(ledger):
            slowing = await until(session, CANCEL_ONLY)
            assert slowing[:2] == [ACCEPTED, THROTTLED]
            # In each second some are accepted first.
            assert set(slowing[:-1]) == {ACCEPTED, THROTTLED}
            canceled = await session.command(cancel(SELLER, resting[0].order.order.order_id), TIMEOUT_S)
            assert canceled.WhichOneof("result") == "order", canceled
            assert await until(session, HALTED) == [CANCEL_ONLY, HALTED]
            refused = await session.command(cancel(SELLER, resting[1].order.order.order_id), TIMEOUT_S)
            assert refused.rejection.reason == HALTED
            status = await asyncio.to_thread(engine.status)
            assert status["safety"]["level"] == "HALT"
            assert status["safety"]["why"].startswith("ledger is ")
            assert status["lag"]["settlement_lag_ms"] >= 5000
            assert status["lag"]["settled_seq"] < status["committed_seq"]

        assert await until(session, ACCEPTED) in ([HALTED, ACCEPTED], [ACCEPTED])
        after = [reason async for _, reason in _some(session, 2 * ORDERS_PER_SECOND)]
        assert set(after) == {ACCEPTED}, "nothing is throttled any more"
        report = await client.post("/v1/reconcile")
        assert report.json()["equal"], report.text
        await all_settled(engine)
    changes = await level_changes(engine, from_seq)
    assert [change.level for change in changes] == LEVELS
    assert all("settlement lag is" in change.reason for change in changes)
    # They do not feed on themselves: one for each change, and no other.
    last_seq = wal.verify(engine.wal).last_seq
    reports = [record for record in wal.records(engine.wal, from_seq, last_seq) if "report_lag" in record["command"]]
    assert len(reports) == len(changes)


async def _some(session: EngineSession, count: int) -> AsyncIterator[tuple[v1.Reply, v1.RejectReason.ValueType]]:
    async for answer in answers(session):
        yield answer
        count -= 1
        if not count:
            return


async def test_a_restart_does_not_make_a_silent_ledger_a_good_one(
    engine: RunningEngine, ledger_factory: LedgerFactory, ledger_database: LedgerDatabase
) -> None:
    ledger = ledger_factory(engine, ledger_database)
    await asyncio.to_thread(ledger.start)
    async with ledger.client() as client, engine.session(Component.GATEWAY) as session:
        await deposit(client, SELLER, "BTC", "100")
        async with frozen(ledger):
            await until(session, HALTED)
            await asyncio.to_thread(engine.kill)
            await asyncio.to_thread(engine.start)
            # It measures from its start on, and that is not enough to begin trading again.
            assert engine.status()["lag"]["settlement_lag_ms"] < 5000
            for _ in range(5):
                assert (await session.command(sell(PRICE_TICKS, 1, SELLER), TIMEOUT_S)).rejection.reason == HALTED
                await asyncio.sleep(0.1)
            assert engine.status()["safety"] == {"level": "HALT", "why": "reported before this start"}
        await until(session, ACCEPTED)
        report = await client.post("/v1/reconcile")
        assert report.json()["equal"], report.text
