"""A real engine process over mutual TLS: orders, queries, the stream, a stop and a kill."""

import asyncio
import secrets
import signal

import pytest

from fixtures.engines import RunningEngine
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession, committed_events

pytestmark = pytest.mark.server

ALICE, BOB = 1001, 1002
BTC = USDT = 10**8
TIMEOUT_S = 10.0


def credit(account: int, asset: str, amount: int) -> v1.Command:
    funds = v1.CreditFunds(transfer_id=secrets.token_hex(8), account=account, asset=asset, amount=amount)
    return v1.Command(command_id=secrets.token_bytes(16), credit_funds=funds)


def place(account: int, side: v1.Side.ValueType, price_ticks: int, quantity_lots: int) -> v1.Command:
    order = v1.PlaceOrder(
        account=account,
        symbol="BTCUSDT",
        side=side,
        type=v1.OrderType.ORDER_TYPE_LIMIT,
        time_in_force=v1.TimeInForce.TIME_IN_FORCE_GTC,
        price_ticks=price_ticks,
        quantity_lots=quantity_lots,
        client_order_id=secrets.token_hex(8),
    )
    return v1.Command(command_id=secrets.token_bytes(16), place_order=order)


def buy(price_ticks: int, quantity_lots: int) -> v1.Command:
    return place(BOB, v1.Side.SIDE_BUY, price_ticks, quantity_lots)


def sell(price_ticks: int, quantity_lots: int) -> v1.Command:
    return place(ALICE, v1.Side.SIDE_SELL, price_ticks, quantity_lots)


async def fund(ledger: EngineSession) -> None:
    for command in (credit(ALICE, "BTC", 10 * BTC), credit(BOB, "USDT", 1_000_000 * USDT)):
        reply = await ledger.command(command, TIMEOUT_S)
        assert reply.WhichOneof("result") == "done", reply


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

        cancel = v1.CancelOrder(account=ALICE, symbol="BTCUSDT", order_id=resting.order.order.order_id)
        canceled = await gateway.command(v1.Command(command_id=secrets.token_bytes(16), cancel_order=cancel), TIMEOUT_S)
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
            ("BTC", 10 * BTC - 1000 * 1000, 1000 * 1000)
        ]
