"""Binance's words become messages and messages become its words, by tables."""

import pytest

from openbourse.contracts import v1
from openbourse.contracts.listings import Listings
from openbourse.gateway import orders
from openbourse.gateway.errors import Invalid
from openbourse.gateway.markets import Markets
from openbourse.gateway.parameters import Parameters

LISTINGS = Listings.model_validate(
    {
        "assets": [{"name": "BTC", "scale": 8}, {"name": "USDT", "scale": 6}],
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "base": "BTC",
                "quote": "USDT",
                "tickSize": "0.01",
                "lotSize": "0.0001",
                "maxPrice": "1000000",
                "maxQuantity": "100",
                "minNotional": "5",
                "makerFee": "0.001",
                "takerFee": "0.002",
            }
        ],
    }
)


def listed(state: v1.SymbolState.ValueType = v1.SymbolState.SYMBOL_STATE_TRADING, reason: str = "") -> Markets:
    answer = v1.ListingsAnswer()
    for definition in LISTINGS.definitions():
        match definition:
            case v1.DefineAsset():
                answer.assets.append(definition)
            case v1.DefineSymbol():
                answer.symbols.append(v1.SymbolListing(definition=definition.definition, state=state, reason=reason))
    return Markets.of(answer)


MARKET = listed().market("BTCUSDT")
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.5", "price": "20000"}


def milliseconds(time_us: int) -> int:
    return time_us // 1000


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
        ({"type": "MARKET"}, -1013, "Market orders are not supported for this symbol."),
        ({"type": "STOP_LOSS_LIMIT"}, -1013, "Stop loss limit orders are not supported for this symbol."),
        ({"type": "LIMIT_MAKER"}, -1014, "Unsupported order combination."),
        ({"timeInForce": "FOK"}, -1115, "Invalid timeInForce."),
        ({"selfTradePreventionMode": "EXPIRE_TAKER"}, -1014, "Unsupported order combination."),
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
    "selfTradePreventionMode": "NONE",
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
    assert orders.placed_as_json(REPLY, wanted, MARKET, milliseconds) == body


def test_a_cancel_shows_its_own_id_and_the_original_one() -> None:
    body = orders.canceled_as_json(REPLY, "cancel-1", MARKET, milliseconds)
    assert (body["clientOrderId"], body["origClientOrderId"]) == ("cancel-1", "mine")


def test_a_query_shows_times_in_the_unit_that_was_asked_for() -> None:
    body = orders.order_as_json(ORDER, MARKET, lambda time_us: time_us)
    assert (body["time"], body["updateTime"]) == (1_700_000_000_123_456, 1_700_000_001_123_456)


Reason = v1.RejectReason
CLOSED = (-1013, "Market is closed.")


@pytest.mark.parametrize(
    ("reason", "place", "cancel", "query"),
    [
        (
            Reason.REJECT_REASON_INSUFFICIENT_FUNDS,
            (-2010, "Account has insufficient balance for requested action."),
            None,
            None,
        ),
        (Reason.REJECT_REASON_DUPLICATE_CLIENT_ORDER_ID, (-2010, "Duplicate order sent."), None, None),
        (Reason.REJECT_REASON_SYMBOL_HALTED, CLOSED, CLOSED, CLOSED),
        (Reason.REJECT_REASON_SYMBOL_CANCEL_ONLY, CLOSED, CLOSED, CLOSED),
        (Reason.REJECT_REASON_UNKNOWN_SYMBOL, *[(-1121, "Invalid symbol.")] * 3),
        (
            Reason.REJECT_REASON_UNKNOWN_ORDER,
            None,
            (-2011, "Unknown order sent."),
            (-2013, "Order does not exist."),
        ),
        (Reason.REJECT_REASON_PRICE_OUT_OF_RANGE, (-1013, "Filter failure: PRICE_FILTER"), None, None),
        (Reason.REJECT_REASON_QUANTITY_OUT_OF_RANGE, (-1013, "Filter failure: LOT_SIZE"), None, None),
        (Reason.REJECT_REASON_NOTIONAL_TOO_SMALL, (-1013, "Filter failure: NOTIONAL"), None, None),
        (Reason.REJECT_REASON_OVERFLOW, (-1013, "Filter failure: NOTIONAL"), None, None),
        (Reason.REJECT_REASON_INVALID, *[(-1013, "The request is rejected by the API.")] * 3),
    ],
)
def test_each_rejection_of_the_engine_has_binances_code(
    reason: v1.RejectReason.ValueType,
    place: tuple[int, str] | None,
    cancel: tuple[int, str] | None,
    query: tuple[int, str] | None,
) -> None:
    rejection = v1.Rejection(reason=reason, detail="why")
    for expected, refusal in (
        (place, orders.place_refusal(rejection)),
        (cancel, orders.cancel_refusal(rejection)),
        (query, orders.query_refusal(v1.QueryRefused(reason=reason, detail="why"))),
    ):
        if expected is not None:
            assert (refusal.code, refusal.message, refusal.detail) == (*expected, "why")


def test_no_reason_to_reject_is_without_an_answer() -> None:
    for reason in Reason.values():
        assert orders.place_refusal(v1.Rejection(reason=reason)).code < 0


def test_exchange_info_shows_only_what_works() -> None:
    body = MARKET.as_json()
    filters = body["filters"]
    assert isinstance(filters, list)
    assert [row["filterType"] for row in filters] == ["PRICE_FILTER", "LOT_SIZE", "NOTIONAL"]
    assert filters[0] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.010000",
        "maxPrice": "1000000.000000",
        "tickSize": "0.010000",
    }
    assert (filters[1]["stepSize"], filters[1]["maxQty"]) == ("0.00010000", "100.00000000")
    assert filters[2]["minNotional"] == "5.000000"
    assert body["orderTypes"] == ["LIMIT"]
    assert (body["baseAssetPrecision"], body["quoteAssetPrecision"]) == (8, 6)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (v1.SymbolState.SYMBOL_STATE_TRADING, "TRADING"),
        (v1.SymbolState.SYMBOL_STATE_HALT, "HALT"),
        (v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY, "BREAK"),
    ],
)
def test_a_symbols_state_has_binances_word(state: v1.SymbolState.ValueType, status: str) -> None:
    assert listed(state).market("BTCUSDT").status == status


@pytest.mark.parametrize(
    ("symbols", "permissions", "status", "expected"),
    [
        (None, None, None, ["BTCUSDT"]),
        (["BTCUSDT"], None, None, ["BTCUSDT"]),
        (None, ["MARGIN"], None, []),
        (None, ["SPOT", "MARGIN"], None, ["BTCUSDT"]),
        (None, None, "HALT", []),
        (["NONE"], None, None, -1121),
        (["BTCUSDT", "BTCUSDT"], None, None, -1151),
        (["BTCUSDT"], ["SPOT"], None, -1128),
        (None, None, "OPEN", -1122),
    ],
)
def test_exchange_info_selects(
    symbols: list[str] | None, permissions: list[str] | None, status: str | None, expected: list[str] | int
) -> None:
    if isinstance(expected, int):
        with pytest.raises(Invalid) as refused:
            listed().selected(symbols, permissions, status)
        assert refused.value.code == expected
    else:
        assert [market.symbol for market in listed().selected(symbols, permissions, status)] == expected
