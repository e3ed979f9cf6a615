"""A real engine process over mutual TLS: orders, queries, the stream, a stop and a kill."""

import asyncio
import signal

import pytest

from fixtures.commands import ALICE, BTC, TIMEOUT_S, buy, cancel, sell
from fixtures.engines import RunningEngine, fund
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import committed_events

pytestmark = pytest.mark.server


async def test_an_order_fills_against_another_and_everybody_can_see_it(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        resting = await gateway.command(sell(30_000_00, 1000), TIMEOUT_S)
        assert resting.order.order.status == v1.OrderStatus.ORDER_STATUS_NEW, resting
        depth = await gateway.query(v1.Query(depth=v1.DepthQuery(symbol="BTCUSDT", limit=5)), TIMEOUT_S)
        assert [(level.price_ticks, level.quantity_lots) for level in depth.depth.asks] == [(30_000_00, 1000)]
        assert depth.seq == resting.seq

        filled = await gateway.command(buy(30_000_00, 400), TIMEOUT_S)
        assert filled.order.order.status == v1.OrderStatus.ORDER_STATUS_FILLED
        assert [fill.quantity_lots for fill in filled.order.fills] == [400]

        canceled = await gateway.command(cancel(ALICE, resting.order.order.order_id), TIMEOUT_S)
        assert canceled.order.order.status == v1.OrderStatus.ORDER_STATUS_CANCELED
        assert canceled.order.order.executed_lots == 400

    seqs: list[int] = []
    trades = 0
    async with asyncio.timeout(TIMEOUT_S):
        tls = engine.client_tls(Component.LEDGER)
        async for events in committed_events("main", [engine.address], tls, "test", 1):
            seqs += range(events.first_seq, events.last_seq + 1)
            trades += sum(event.WhichOneof("body") == "trade_executed" for event in events.events)
            if events.last_seq >= canceled.seq:
                break
    assert seqs == list(range(1, canceled.seq + 1))
    assert trades == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_engine_exits_clean_and_goes_on_where_it_was(
    engine: RunningEngine, number: signal.Signals
) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        placed = await gateway.command(sell(30_000_00, 1000), TIMEOUT_S)
        assert engine.stop(number) == 0
        engine.start()
        status = engine.status()
        assert status["epoch"] == placed.epoch + 1
        assert status["last_checkpoint_seq"] == status["committed_seq"] == placed.seq + 1
        balances = await gateway.query(v1.Query(account=v1.AccountQuery(account=ALICE)), TIMEOUT_S)
        assert [(b.asset, b.available, b.hold) for b in balances.balances.balances] == [
            ("BTC", 1_000 * BTC - 1000 * 1000, 1000 * 1000)
        ]
