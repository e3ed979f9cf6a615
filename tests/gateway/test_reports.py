"""What the engine answered becomes Binance's words."""

import pytest

from fixtures.markets import a_market
from openbourse.contracts import v1
from openbourse.gateway import orders, reports
from openbourse.gateway.parameters import Parameters

MARKET = a_market()


def milliseconds(time_us: int) -> int:
    return time_us // 1000


ORDER = v1.Order(
    order_id=77,
    client_order_id="mine",
    account=1001,
    symbol="BTCUSDT",
    side=v1.Side.SIDE_BUY,
    type=v1.OrderType.ORDER_TYPE_LIMIT,
    time_in_force=v1.TimeInForce.TIME_IN_FORCE_GTC,
    price_ticks=2_000_001,
    quantity_lots=5_000,
    executed_lots=1,
    executed_quote_units=2_000_001,
    status=v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED,
    created_at_us=1_700_000_000_123_456,
    updated_at_us=1_700_000_001_123_456,
)
FILL = v1.Fill(trade_id=9, price_ticks=2_000_001, quantity_lots=1, quote_units=2_000_001, fee_units=20, fee_asset="BTC")
REPLY = v1.Reply(occurred_at_us=1_700_000_001_123_456, order=v1.OrderResult(order=ORDER, fills=[FILL]))
ACK = {
    "symbol": "BTCUSDT",
    "orderId": 77,
    "orderListId": -1,
    "clientOrderId": "mine",
    "transactTime": 1_700_000_001_123,
}
TERMS = {
    "price": "20000.010000",
    "origQty": "0.50000000",
    "executedQty": "0.00010000",
    "origQuoteOrderQty": "0.000000",
    "cummulativeQuoteQty": "2.000001",
    "status": "PARTIALLY_FILLED",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "BUY",
    # The symbol's: the order did not say.
    "selfTradePreventionMode": "EXPIRE_MAKER",
}
FILLS = [
    {
        "price": "20000.010000",
        "qty": "0.00010000",
        "commission": "0.00000020",
        "commissionAsset": "BTC",
        "tradeId": 9,
    }
]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("ACK", ACK),
        ("RESULT", {**ACK, **TERMS, "workingTime": 1_700_000_000_123}),
        ("FULL", {**ACK, **TERMS, "workingTime": 1_700_000_000_123, "fills": FILLS}),
    ],
)
def test_each_response_type_shows_what_binance_shows(kind: str, body: dict[str, object]) -> None:
    wanted = orders.response_type(Parameters({"newOrderRespType": kind}))
    assert reports.placed_as_json(REPLY.order, REPLY.occurred_at_us, wanted, MARKET, milliseconds) == body


def test_a_cancel_shows_its_own_id_and_the_original_one() -> None:
    body = reports.canceled_as_json(ORDER, "cancel-1", REPLY.occurred_at_us, MARKET, milliseconds)
    assert (body["clientOrderId"], body["origClientOrderId"]) == ("cancel-1", "mine")


def test_a_query_shows_times_in_the_unit_that_was_asked_for() -> None:
    body = reports.order_as_json(ORDER, MARKET, lambda time_us: time_us)
    assert (body["time"], body["updateTime"]) == (1_700_000_000_123_456, 1_700_000_001_123_456)


def test_a_market_order_has_no_price_and_is_called_good_till_cancelled() -> None:
    order = v1.Order()
    order.CopyFrom(ORDER)
    order.type, order.time_in_force = v1.OrderType.ORDER_TYPE_MARKET, v1.TimeInForce.TIME_IN_FORCE_IOC
    order.price_ticks, order.quote_units = 0, 12_500_000
    body = reports.order_as_json(order, MARKET, milliseconds)
    shown = [body[name] for name in ("type", "timeInForce", "price", "origQuoteOrderQty", "origQty")]
    assert shown == ["MARKET", "GTC", "0.000000", "12.500000", "0.50000000"]


def test_what_self_trade_prevention_took_is_shown() -> None:
    order = v1.Order()
    order.CopyFrom(ORDER)
    order.status = v1.OrderStatus.ORDER_STATUS_EXPIRED_IN_MATCH
    order.prevented_lots = 4_999
    order.self_trade_prevention = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_DECREMENT
    body = reports.order_as_json(order, MARKET, milliseconds)
    shown = [body[name] for name in ("status", "preventedQuantity", "selfTradePreventionMode")]
    assert shown == ["EXPIRED_IN_MATCH", "0.49990000", "DECREMENT"]


def test_an_amendment_shows_both_ids_and_the_quantity_that_is_left_to_the_order() -> None:
    reply = v1.Reply(seq=99, occurred_at_us=1_700_000_001_123_456, order=v1.OrderResult(order=ORDER))
    body = reports.amended_as_json(reply, "before", MARKET, milliseconds)
    assert (body["transactTime"], body["executionId"]) == (1_700_000_001_123, 99 * 2**17)
    assert body["amendedOrder"] == {
        "symbol": "BTCUSDT",
        "orderId": 77,
        "orderListId": -1,
        "origClientOrderId": "before",
        "clientOrderId": "mine",
        "price": "20000.010000",
        "qty": "0.50000000",
        "executedQty": "0.00010000",
        "preventedQty": "0.00000000",
        "quoteOrderQty": "0.000000",
        "cumulativeQuoteQty": "2.000001",
        "status": "PARTIALLY_FILLED",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "workingTime": 1_700_000_000_123,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def test_no_status_type_or_mode_of_the_contract_is_without_a_word() -> None:
    for status in v1.OrderStatus.values()[1:]:
        for kind in v1.OrderType.values()[1:]:
            for mode in v1.SelfTradePrevention.values():
                order = v1.Order(
                    side=v1.Side.SIDE_BUY,
                    time_in_force=v1.TimeInForce.TIME_IN_FORCE_GTC,
                    status=status,
                    type=kind,
                    self_trade_prevention=mode,
                )
                assert reports.order_as_json(order, MARKET, milliseconds)["status"]
