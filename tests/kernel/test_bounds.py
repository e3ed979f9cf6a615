"""What one command may do at most, with as many orders as that takes: the kernel alone, the twin is too slow for it.

The twin's limits can be lowered instead; what happens beyond them is in `test_rules`.
"""

from typing import Any

import pytest

from openbourse.contracts import v1
from openbourse.engine._core import Kernel

MATCHES_MOST, CANCELS_MOST = 32_768, 10_000
MAKER, TAKER = 1000, 1001
BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL


class Shard:
    def __init__(self) -> None:
        self.kernel = Kernel("main")
        self.seq = 0
        self.send(change_version=v1.ChangeVersion(version=2))
        for asset in ("A", "Q"):
            self.send(define_asset=v1.DefineAsset(asset=asset))
        definition = v1.SymbolDefinition(
            symbol="AB",
            base_asset="A",
            quote_asset="Q",
            tick_units=1,
            lot_units=1,
            max_price_ticks=10,
            max_quantity_lots=100_000,
        )
        self.send(define_symbol=v1.DefineSymbol(definition=definition))
        for account in (MAKER, TAKER):
            self.send(configure_account=v1.ConfigureAccount(account=account, max_open_orders=100_000))
            for asset in ("A", "Q"):
                self.send(credit_funds=v1.CreditFunds(transfer_id="t", account=account, asset=asset, amount=10**6))

    def send(self, **body: Any) -> tuple[v1.Reply, list[v1.Event]]:
        self.seq += 1
        command = v1.Command(command_id=self.seq.to_bytes(16, "big"), **body)
        reply, events = self.kernel.step(self.seq, 1, 0, command.SerializeToString())
        return v1.Reply.FromString(reply), list(v1.Events.FromString(events).events)

    def place(self, account: int, side: v1.Side.ValueType, lots: int) -> v1.OrderResult:
        place = v1.PlaceOrder(account=account, symbol="AB", side=side, price_ticks=1, quantity_lots=lots)
        place.type, place.time_in_force = v1.OrderType.ORDER_TYPE_LIMIT, v1.TimeInForce.TIME_IN_FORCE_GTC
        place.client_order_id = f"o{self.seq}"
        reply, _ = self.send(place_order=place)
        assert reply.HasField("order"), reply
        return reply.order

    def phase(self, state: v1.SymbolState.ValueType) -> list[v1.Event]:
        reply, events = self.send(change_symbol_state=v1.ChangeSymbolState(symbol="AB", state=state))
        assert reply.HasField("done"), reply
        return events


def count(events: list[v1.Event], name: str) -> int:
    return sum(event.WhichOneof("body") == name for event in events)


@pytest.mark.parametrize(("more", "status"), [(0, "PARTIALLY_FILLED"), (1, "EXPIRED")])
def test_an_order_makes_32768_matches_and_rests_only_if_there_was_no_more_to_match(more: int, status: str) -> None:
    shard = Shard()
    for _ in range(MATCHES_MOST + more):
        shard.place(MAKER, SELL, 1)
    result = shard.place(TAKER, BUY, MATCHES_MOST + 5)
    assert len(result.fills) == result.order.executed_lots == MATCHES_MOST
    assert v1.OrderStatus.Name(result.order.status) == f"ORDER_STATUS_{status}"


def test_an_uncross_of_more_than_32768_trades_goes_on_with_the_next_tick() -> None:
    shard = Shard()
    shard.phase(v1.SymbolState.SYMBOL_STATE_AUCTION)
    for _ in range(MATCHES_MOST + 3):
        shard.place(MAKER, SELL, 1)
    shard.place(TAKER, BUY, MATCHES_MOST + 3)
    events = shard.phase(v1.SymbolState.SYMBOL_STATE_TRADING)
    assert (count(events, "trade_executed"), count(events, "symbol_state_changed")) == (MATCHES_MOST, 0)
    _, events = shard.send(tick=v1.Tick())
    assert (count(events, "trade_executed"), count(events, "symbol_state_changed")) == (3, 1)


def test_cancel_all_takes_10000_orders_and_says_how_many_are_left() -> None:
    shard = Shard()
    for _ in range(CANCELS_MOST + 3):
        shard.place(MAKER, SELL, 1)
    cancel = v1.CancelAllOrders(account=MAKER, reason=v1.CancelReason.CANCEL_REASON_REQUEST)
    reply, events = shard.send(cancel_all_orders=cancel)
    assert reply.canceled_all == v1.CancelAllResult(canceled=CANCELS_MOST, remaining=3)
    assert count(events, "order_canceled") == count(events, "book_delta") == CANCELS_MOST
    _, events = shard.send(set_kill_switch=v1.SetKillSwitch(account=MAKER, on=True))
    assert count(events, "order_canceled") == 3
