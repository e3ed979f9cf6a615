"""Binance's words for orders <-> the messages of `openbourse.v1`. Values in, values out; the engine decides.

Amounts leave as decimals with all the digits of their asset, times in the unit that the request asked for.
"""

from collections.abc import Callable
from enum import Enum

from openbourse.contracts import v1
from openbourse.contracts.units import format_units
from openbourse.gateway import errors, filters
from openbourse.gateway.errors import Invalid
from openbourse.gateway.markets import Market
from openbourse.gateway.parameters import CLIENT_ORDER_ID, LONG_MOST, Parameters

# Microseconds since 1970 to the time unit of the answer.
Clock = Callable[[int], int]

PLACE = frozenset(
    {"symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "newOrderRespType"}
    | {"selfTradePreventionMode"}
)
# Known to Binance, not to us: refused by name, so that nobody believes in a stop that does not exist.
PLACE_UNSUPPORTED = frozenset(
    {"quoteOrderQty", "stopPrice", "trailingDelta", "icebergQty", "strategyId", "strategyType"}
    | {"pegPriceType", "pegOffsetValue", "pegOffsetType"}
)
TARGET = frozenset({"symbol", "orderId", "origClientOrderId"})
CANCEL = TARGET | {"newClientOrderId"}
CANCEL_UNSUPPORTED = frozenset({"cancelRestrictions"})


class ResponseType(Enum):
    ACK = "ACK"
    RESULT = "RESULT"
    FULL = "FULL"


class SelfTradePrevention(Enum):
    NONE = "NONE"


class OrderType(Enum):
    """What Binance knows; the value is how its message calls the ones that we do not have."""

    LIMIT = ""
    MARKET = "Market"
    STOP_LOSS = "Stop loss"
    STOP_LOSS_LIMIT = "Stop loss limit"
    TAKE_PROFIT = "Take profit"
    TAKE_PROFIT_LIMIT = "Take profit limit"
    LIMIT_MAKER = "Limit maker"


class _Side(Enum):
    BUY = v1.Side.SIDE_BUY
    SELL = v1.Side.SIDE_SELL


class _TimeInForce(Enum):
    GTC = v1.TimeInForce.TIME_IN_FORCE_GTC
    IOC = v1.TimeInForce.TIME_IN_FORCE_IOC


_RESPONSE_TYPES = {kind.name: kind for kind in ResponseType}
_PREVENTIONS = {mode.name: mode for mode in SelfTradePrevention}
_ORDER_TYPES = {kind.name: kind for kind in OrderType}
_SIDES = {side.name: side for side in _Side}
_TIMES_IN_FORCE = {time.name: time for time in _TimeInForce}

_SIDE_WORDS = {side.value: side.name for side in _Side}
_TIME_IN_FORCE_WORDS = {time.value: time.name for time in _TimeInForce}
_TYPE_WORDS = {v1.OrderType.ORDER_TYPE_LIMIT: "LIMIT"}
_STATUS_WORDS = {
    v1.OrderStatus.ORDER_STATUS_NEW: "NEW",
    v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED: "PARTIALLY_FILLED",
    v1.OrderStatus.ORDER_STATUS_FILLED: "FILLED",
    v1.OrderStatus.ORDER_STATUS_CANCELED: "CANCELED",
    v1.OrderStatus.ORDER_STATUS_EXPIRED: "EXPIRED",
}


def place(parameters: Parameters, market: Market, account: int, made_client_order_id: str) -> v1.PlaceOrder:
    """The order that was asked for. Raises Invalid with Binance's code for what is wrong first."""
    side = parameters.choice("side", _SIDES, errors.BAD_SIDE)
    kind = parameters.choice("type", _ORDER_TYPES, errors.BAD_ORDER_TYPE)
    if kind is OrderType.LIMIT_MAKER:
        raise Invalid(errors.UNSUPPORTED_COMBINATION, detail="LIMIT_MAKER is not supported")
    if kind is not OrderType.LIMIT:
        raise Invalid(errors.TYPE_NOT_SUPPORTED, kind.value)
    time_in_force = parameters.choice("timeInForce", _TIMES_IN_FORCE, errors.BAD_TIME_IN_FORCE)
    if parameters.optional("selfTradePreventionMode") is not None:
        parameters.choice("selfTradePreventionMode", _PREVENTIONS, errors.UNSUPPORTED_COMBINATION)
    client_order_id = parameters.optional("newClientOrderId", CLIENT_ORDER_ID) or made_client_order_id
    price_ticks, quantity_lots = filters.price_and_quantity(parameters, market.definition, market.units)
    return v1.PlaceOrder(
        account=account,
        symbol=market.symbol,
        side=side.value,
        type=v1.OrderType.ORDER_TYPE_LIMIT,
        time_in_force=time_in_force.value,
        price_ticks=price_ticks,
        quantity_lots=quantity_lots,
        client_order_id=client_order_id,
    )


def response_type(parameters: Parameters) -> ResponseType:
    """FULL unless it says otherwise, as for Binance's LIMIT orders. Raises Invalid."""
    text = parameters.optional("newOrderRespType")
    if text is None:
        return ResponseType.FULL
    if text not in _RESPONSE_TYPES:
        raise Invalid(errors.BAD_VALUE, "newOrderRespType", detail="ACK, RESULT or FULL")
    return _RESPONSE_TYPES[text]


def target(parameters: Parameters) -> tuple[int | None, str | None]:
    """The order id and the client order id that name an order; at least one of them is there. Raises Invalid."""
    order_id = parameters.optional_integer("orderId", LONG_MOST)
    client_order_id = parameters.optional("origClientOrderId", CLIENT_ORDER_ID)
    if order_id is None and client_order_id is None:
        raise Invalid(errors.EITHER_MISSING, "origClientOrderId", "orderId")
    return order_id, client_order_id


def placed_as_json(reply: v1.Reply, kind: ResponseType, market: Market, clock: Clock) -> dict[str, object]:
    order = reply.order.order
    body = _acknowledged(order, order.client_order_id, reply.occurred_at_us, clock)
    if kind is ResponseType.ACK:
        return body
    body |= _terms(order, market)
    body["workingTime"] = clock(order.created_at_us)
    body["selfTradePreventionMode"] = "NONE"
    if kind is ResponseType.FULL:
        body["fills"] = [_fill(fill, market) for fill in reply.order.fills]
    return body


def canceled_as_json(reply: v1.Reply, cancel_id: str, market: Market, clock: Clock) -> dict[str, object]:
    order = reply.order.order
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_order_id,
        **_acknowledged(order, cancel_id, reply.occurred_at_us, clock),
        **_terms(order, market),
        "selfTradePreventionMode": "NONE",
    }


def order_as_json(order: v1.Order, market: Market, clock: Clock) -> dict[str, object]:
    """An order as the queries show it."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        **_terms(order, market),
        "stopPrice": market.units.format_price(0),
        "icebergQty": market.units.format_quantity(0),
        "time": clock(order.created_at_us),
        "updateTime": clock(order.updated_at_us),
        "isWorking": True,
        "workingTime": clock(order.created_at_us),
        "selfTradePreventionMode": "NONE",
    }


def depth_as_json(depth: v1.DepthAnswer, market: Market) -> dict[str, object]:
    price, quantity = market.units.format_price, market.units.format_quantity
    return {
        "lastUpdateId": depth.last_update_id,
        "bids": [[price(level.price_ticks), quantity(level.quantity_lots)] for level in depth.bids],
        "asks": [[price(level.price_ticks), quantity(level.quantity_lots)] for level in depth.asks],
    }


def _acknowledged(order: v1.Order, client_order_id: str, at_us: int, clock: Clock) -> dict[str, object]:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": client_order_id,
        "transactTime": clock(at_us),
    }


def _terms(order: v1.Order, market: Market) -> dict[str, object]:
    units = market.units
    return {
        "price": units.format_price(order.price_ticks),
        "origQty": units.format_quantity(order.quantity_lots),
        "executedQty": units.format_quantity(order.executed_lots),
        "origQuoteOrderQty": format_units(0, units.quote_scale),
        "cummulativeQuoteQty": format_units(order.executed_quote_units, units.quote_scale),
        "status": _STATUS_WORDS[order.status],
        "timeInForce": _TIME_IN_FORCE_WORDS[order.time_in_force],
        "type": _TYPE_WORDS[order.type],
        "side": _SIDE_WORDS[order.side],
    }


def _fill(fill: v1.Fill, market: Market) -> dict[str, object]:
    return {
        "price": market.units.format_price(fill.price_ticks),
        "qty": market.units.format_quantity(fill.quantity_lots),
        "commission": format_units(fill.fee_units, market.scale(fill.fee_asset)),
        "commissionAsset": fill.fee_asset,
        "tradeId": fill.trade_id,
    }


def place_refusal(rejection: v1.Rejection) -> Invalid:
    """Why the engine did not take an order, in Binance's words."""
    match rejection.reason:
        case v1.RejectReason.REJECT_REASON_INSUFFICIENT_FUNDS:
            return Invalid(errors.INSUFFICIENT_BALANCE, detail=rejection.detail)
        case v1.RejectReason.REJECT_REASON_DUPLICATE_CLIENT_ORDER_ID:
            return Invalid(errors.DUPLICATE_ORDER, detail=rejection.detail)
        case v1.RejectReason.REJECT_REASON_PRICE_OUT_OF_RANGE:
            return filters.failure("PRICE_FILTER", rejection.detail)
        case v1.RejectReason.REJECT_REASON_QUANTITY_OUT_OF_RANGE:
            return filters.failure("LOT_SIZE", rejection.detail)
        case v1.RejectReason.REJECT_REASON_NOTIONAL_TOO_SMALL | v1.RejectReason.REJECT_REASON_OVERFLOW:
            return filters.failure("NOTIONAL", rejection.detail)
        case _:
            return _refusal(rejection.reason, rejection.detail)


def cancel_refusal(rejection: v1.Rejection) -> Invalid:
    if rejection.reason == v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER:
        return Invalid(errors.UNKNOWN_ORDER, detail=rejection.detail)
    return _refusal(rejection.reason, rejection.detail)


def query_refusal(refused: v1.QueryRefused) -> Invalid:
    if refused.reason == v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER:
        return Invalid(errors.NO_SUCH_ORDER, detail=refused.detail)
    return _refusal(refused.reason, refused.detail)


def _refusal(reason: int, detail: str) -> Invalid:
    match reason:
        case v1.RejectReason.REJECT_REASON_UNKNOWN_SYMBOL:
            return Invalid(errors.BAD_SYMBOL, detail=detail)
        case v1.RejectReason.REJECT_REASON_SYMBOL_HALTED | v1.RejectReason.REJECT_REASON_SYMBOL_CANCEL_ONLY:
            return Invalid(errors.MARKET_CLOSED, detail=detail)
        case _:
            return Invalid(errors.REJECTED, detail=detail or f"reject reason {reason}")
