"""Binance's words become commands, by tables."""

import pytest

from fixtures.markets import a_market
from openbourse.contracts import v1
from openbourse.gateway import orders
from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import Parameters

MARKET = a_market(marketMaxQuantity="50")
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.5", "price": "20000"}


NO_PRICE = {"type": "MARKET", "timeInForce": None, "price": None}


def test_a_limit_order_becomes_ticks_and_lots() -> None:
    order = orders.place(Parameters({**LIMIT, "side": "SELL", "timeInForce": "IOC"}), MARKET, 1001, "made")
    assert order == v1.PlaceOrder(
        account=1001,
        symbol="BTCUSDT",
        side=v1.Side.SIDE_SELL,
        type=v1.OrderType.ORDER_TYPE_LIMIT,
        time_in_force=v1.TimeInForce.TIME_IN_FORCE_IOC,
        price_ticks=2_000_000,
        quantity_lots=5_000,
        client_order_id="made",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"timeInForce": "FOK", "selfTradePreventionMode": "EXPIRE_BOTH"},
            v1.PlaceOrder(
                type=v1.OrderType.ORDER_TYPE_LIMIT,
                time_in_force=v1.TimeInForce.TIME_IN_FORCE_FOK,
                price_ticks=2_000_000,
                quantity_lots=5_000,
                self_trade_prevention=v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_BOTH,
            ),
        ),
        (
            {"type": "LIMIT_MAKER", "timeInForce": None},
            v1.PlaceOrder(
                type=v1.OrderType.ORDER_TYPE_LIMIT_MAKER,
                time_in_force=v1.TimeInForce.TIME_IN_FORCE_GTC,
                price_ticks=2_000_000,
                quantity_lots=5_000,
            ),
        ),
        (
            {**NO_PRICE},
            v1.PlaceOrder(
                type=v1.OrderType.ORDER_TYPE_MARKET,
                time_in_force=v1.TimeInForce.TIME_IN_FORCE_IOC,
                quantity_lots=5_000,
            ),
        ),
        (
            {**NO_PRICE, "quantity": None, "quoteOrderQty": "12.5"},
            v1.PlaceOrder(
                type=v1.OrderType.ORDER_TYPE_MARKET,
                time_in_force=v1.TimeInForce.TIME_IN_FORCE_IOC,
                quote_units=12_500_000,
            ),
        ),
    ],
)
def test_every_kind_of_order_becomes_a_message(change: dict[str, str | None], expected: v1.PlaceOrder) -> None:
    sent = {name: value for name, value in {**LIMIT, **change}.items() if value is not None}
    expected.MergeFrom(v1.PlaceOrder(account=1001, symbol="BTCUSDT", side=v1.Side.SIDE_BUY, client_order_id="made"))
    assert orders.place(Parameters(sent), MARKET, 1001, "made") == expected


def test_the_traders_own_client_order_id_is_kept() -> None:
    order = orders.place(Parameters({**LIMIT, "newClientOrderId": "x-1_A"}), MARKET, 1001, "made")
    assert order.client_order_id == "x-1_A"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"price": "20000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1000000.01"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "0"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "9" * 20}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1.0000001"}, -1111, "Parameter 'price' has too much precision."),
        ({"quantity": "0.00005"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "100.0001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.000000001"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"quantity": "0.0001", "price": "49999.99"}, -1013, "Filter failure: NOTIONAL"),
        ({"price": "0.001", "quantity": "0.00001"}, -1013, "Filter failure: PRICE_FILTER"),
        (
            {"price": "-1"},
            -1100,
            "Illegal characters found in parameter 'price'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        ),
        (
            {"quantity": "1e3"},
            -1100,
            "Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        ),
        ({"price": None}, -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
        ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
        ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."),
        ({"side": None}, -1102, "Mandatory parameter 'side' was not sent, was empty/null, or malformed."),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"side": "buy"}, -1117, "Invalid side."),
        ({"type": "GAMBLE"}, -1116, "Invalid orderType."),
        ({"type": "STOP_LOSS_LIMIT"}, -1013, "Stop loss limit orders are not supported for this symbol."),
        ({"type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({"timeInForce": "GTD"}, -1115, "Invalid timeInForce."),
        ({"quoteOrderQty": "10"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
        ({"selfTradePreventionMode": "CANCEL"}, -1014, "Unsupported order combination."),
        ({**NO_PRICE, "timeInForce": "IOC"}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({**NO_PRICE, "price": "1"}, -1106, "Parameter 'price' sent when not required."),
        ({**NO_PRICE, "quoteOrderQty": "10"}, -1128, "Combination of optional parameters invalid."),
        (
            {**NO_PRICE, "quantity": None},
            -1102,
            "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!",
        ),
        ({**NO_PRICE, "quantity": "100.0001"}, -1013, "Filter failure: LOT_SIZE"),
        ({**NO_PRICE, "quantity": "50.0001"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({**NO_PRICE, "quantity": None, "quoteOrderQty": "4.999999"}, -1013, "Filter failure: NOTIONAL"),
        ({**NO_PRICE, "quantity": None, "quoteOrderQty": "0"}, -1013, "Filter failure: NOTIONAL"),
        ({**NO_PRICE, "quantity": None, "quoteOrderQty": "100000000.000001"}, -1013, "Filter failure: NOTIONAL"),
        ({**NO_PRICE, "quantity": None, "quoteOrderQty": "9" * 20}, -1013, "Filter failure: NOTIONAL"),
        (
            {**NO_PRICE, "quantity": None, "quoteOrderQty": "5.0000001"},
            -1111,
            "Parameter 'quoteOrderQty' has too much precision.",
        ),
        (
            {"newClientOrderId": "a b"},
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
        ),
        (
            {"newClientOrderId": "a" * 37},
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
        ),
    ],
)
def test_an_order_that_can_never_be_accepted_is_refused_in_binances_words(
    change: dict[str, str | None], code: int, message: str
) -> None:
    sent = {name: value for name, value in {**LIMIT, **change}.items() if value is not None}
    with pytest.raises(Invalid) as refused:
        orders.place(Parameters(sent), MARKET, 1001, "made")
    assert (refused.value.code, refused.value.message) == (code, message)


@pytest.mark.parametrize(
    ("price", "quantity"),
    [("20000.01", "100"), ("1000000", "0.0001"), ("20000.0100000", "0.50000000000"), ("50000", "0.0001")],
)
def test_an_order_on_the_edge_of_the_filters_passes(price: str, quantity: str) -> None:
    order = orders.place(Parameters({**LIMIT, "price": price, "quantity": quantity}), MARKET, 1001, "made")
    assert order.price_ticks > 0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"type": "LIMIT"}, "FULL"),
        ({"type": "MARKET"}, "FULL"),
        ({"type": "LIMIT_MAKER"}, "ACK"),
        ({"type": "LIMIT_MAKER", "newOrderRespType": "RESULT"}, "RESULT"),
    ],
)
def test_how_much_is_answered_depends_on_the_type_where_it_is_not_said(sent: dict[str, str], expected: str) -> None:
    assert orders.response_type(Parameters(sent)).name == expected


def test_a_cancel_names_the_order_and_what_it_may_have_become() -> None:
    cancel = orders.cancel(Parameters({"cancelRestrictions": "ONLY_NEW"}), MARKET, 1001, 7, "mine")
    assert (cancel.order_id, cancel.client_order_id) == (7, "")
    assert cancel.restriction == v1.CancelRestriction.CANCEL_RESTRICTION_ONLY_NEW
    with pytest.raises(Invalid) as refused:
        orders.cancel(Parameters({"cancelRestrictions": "ONLY_OLD"}), MARKET, 1001, None, "mine")
    assert (refused.value.code, refused.value.message) == (-1145, "Invalid cancelRestrictions")


def test_a_replacement_needs_its_mode() -> None:
    mode = orders.replace_mode(Parameters({"cancelReplaceMode": "ALLOW_FAILURE"}))
    assert mode == v1.ReplaceMode.REPLACE_MODE_ALLOW_FAILURE
    for sent, code in (({}, -1102), ({"cancelReplaceMode": "PERHAPS"}, -1130)):
        with pytest.raises(Invalid) as refused:
            orders.replace_mode(Parameters(sent))
        assert refused.value.code == code


@pytest.mark.parametrize(("sent", "expected"), [({}, "made"), ({"newClientOrderId": "new"}, "new")])
def test_an_amended_order_has_a_new_client_order_id(sent: dict[str, str], expected: str) -> None:
    order = v1.Order(order_id=7, account=1001, symbol="BTCUSDT", client_order_id="old")
    amend = orders.amend(Parameters({"newQty": "0.0005", **sent}), MARKET, order, "made")
    assert (amend.order_id, amend.quantity_lots, amend.new_client_order_id) == (7, 5, expected)


def test_an_amended_order_keeps_its_client_order_id_when_that_is_asked_for() -> None:
    order = v1.Order(order_id=7, account=1001, symbol="BTCUSDT", client_order_id="old")
    amend = orders.amend(Parameters({"newQty": "0.0005", "newClientOrderId": "old"}), MARKET, order, "made")
    assert amend.new_client_order_id == ""
    with pytest.raises(Invalid, match="LOT_SIZE"):
        orders.amend(Parameters({"newQty": "0"}), MARKET, order, "made")
