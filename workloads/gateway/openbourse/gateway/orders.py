"""What a trader asks for, from Binance's words to the messages of `openbourse.v1`. Values in, values out.

Every function raises Invalid, with Binance's code for what is wrong first. What depends on the state of the market the
engine decides; its answers are worded in `reports`, its refusals in `refusals`.
"""

from enum import Enum
from typing import TypeVar

from openbourse.contracts import v1
from openbourse.gateway import errors, filters
from openbourse.gateway.errors import Invalid
from openbourse.gateway.markets import Market
from openbourse.gateway.parameters import CLIENT_ORDER_ID, LONG_MOST, Parameters
from openbourse.gateway.words import (
    CancelRestriction,
    OrderType,
    ReplaceMode,
    ResponseType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

PLACE = frozenset(
    {"symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId"}
    | {"newOrderRespType", "selfTradePreventionMode"}
)
# ccxt sends it beside Binance's own name for it over the WebSocket API.
PLACE_ALSO = frozenset({"clientOrderId"})
# Known to Binance, not to us: refused by name, so that nobody believes in a stop that does not exist.
PLACE_UNSUPPORTED = frozenset(
    {"stopPrice", "trailingDelta", "icebergQty", "strategyId", "strategyType"}
    | {"pegPriceType", "pegOffsetType", "pegOffsetValue"}
)
TARGET = frozenset({"symbol", "orderId", "origClientOrderId"})
CANCEL = TARGET | {"newClientOrderId", "cancelRestrictions"}
REPLACE = PLACE | {"cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId"}
REPLACE |= {"cancelRestrictions"}
REPLACE_UNSUPPORTED = PLACE_UNSUPPORTED | {"orderRateLimitExceededMode"}
AMEND = TARGET | {"newClientOrderId", "newQty"}

E = TypeVar("E", bound=Enum)


def place(parameters: Parameters, market: Market, account: int, made_client_order_id: str) -> v1.PlaceOrder:
    """The order that was asked for."""
    side = parameters.choice("side", Side.__members__, errors.BAD_SIDE)
    kind = parameters.choice("type", OrderType.__members__, errors.BAD_ORDER_TYPE)
    order = v1.PlaceOrder(account=account, symbol=market.symbol, side=side.value)
    match kind:
        case OrderType.LIMIT:
            time_in_force = parameters.choice("timeInForce", TimeInForce.__members__, errors.BAD_TIME_IN_FORCE)
            order.type, order.time_in_force = v1.OrderType.ORDER_TYPE_LIMIT, time_in_force.value
        case OrderType.LIMIT_MAKER:
            _refuse_sent(parameters, kind, "timeInForce")
            order.type = v1.OrderType.ORDER_TYPE_LIMIT_MAKER
            order.time_in_force = v1.TimeInForce.TIME_IN_FORCE_GTC
        case OrderType.MARKET:
            _refuse_sent(parameters, kind, "timeInForce", "price")
            order.type = v1.OrderType.ORDER_TYPE_MARKET
            order.time_in_force = v1.TimeInForce.TIME_IN_FORCE_IOC
        case _:
            raise Invalid(errors.TYPE_NOT_SUPPORTED, kind.value)
    if prevention := _optional_choice(
        parameters, "selfTradePreventionMode", SelfTradePrevention, errors.UNSUPPORTED_COMBINATION
    ):
        order.self_trade_prevention = prevention.value
    order.client_order_id = _client_order_id(parameters) or made_client_order_id
    if kind is OrderType.MARKET:
        _read_market_size(parameters, market, order)
    else:
        _refuse_sent(parameters, kind, "quoteOrderQty")
        order.price_ticks, order.quantity_lots = filters.price_and_quantity(parameters, market.definition, market.units)
    return order


def _read_market_size(parameters: Parameters, market: Market, order: v1.PlaceOrder) -> None:
    by_quantity, by_amount = (parameters.optional(name) is not None for name in ("quantity", "quoteOrderQty"))
    if by_quantity and by_amount:
        raise Invalid(errors.BAD_COMBINATION, detail="a MARKET order has quantity or quoteOrderQty, not both")
    if by_quantity:
        order.quantity_lots = filters.market_quantity(parameters, market.definition, market.units)
    elif by_amount:
        order.quote_units = filters.market_amount(parameters, market.definition, market.units)
    else:
        raise Invalid(errors.EITHER_MISSING, "quantity", "quoteOrderQty")


def response_type(parameters: Parameters) -> ResponseType:
    """As Binance does, FULL for LIMIT and MARKET and ACK for others, unless it says otherwise."""
    text = parameters.optional("newOrderRespType")
    if text is None:
        return ResponseType.ACK if parameters.optional("type") == OrderType.LIMIT_MAKER.name else ResponseType.FULL
    if text not in ResponseType.__members__:
        raise Invalid(errors.BAD_VALUE, "newOrderRespType", detail="ACK, RESULT or FULL")
    return ResponseType[text]


def target(
    parameters: Parameters, order_id_name: str = "orderId", client_order_id_name: str = "origClientOrderId"
) -> tuple[int | None, str | None]:
    """The order id and the client order id that name an order; at least one of them is there."""
    order_id = parameters.optional_integer(order_id_name, LONG_MOST)
    client_order_id = parameters.optional(client_order_id_name, CLIENT_ORDER_ID)
    if order_id is None and client_order_id is None:
        raise Invalid(errors.EITHER_MISSING, client_order_id_name, order_id_name)
    return order_id, client_order_id


def cancel(
    parameters: Parameters, market: Market, account: int, order_id: int | None, client_order_id: str | None
) -> v1.CancelOrder:
    """The cancel of the order that `target` named."""
    cancel = v1.CancelOrder(account=account, symbol=market.symbol)
    if order_id is not None:
        cancel.order_id = order_id
    elif client_order_id is not None:
        cancel.client_order_id = client_order_id
    if restriction := _optional_choice(
        parameters, "cancelRestrictions", CancelRestriction, errors.BAD_CANCEL_RESTRICTIONS
    ):
        cancel.restriction = restriction.value
    return cancel


def replace_mode(parameters: Parameters) -> v1.ReplaceMode.ValueType:
    text = parameters.mandatory("cancelReplaceMode")
    if text not in ReplaceMode.__members__:
        raise Invalid(errors.BAD_VALUE, "cancelReplaceMode", detail=f"one of {', '.join(ReplaceMode.__members__)}")
    return ReplaceMode[text].value


def amend(parameters: Parameters, market: Market, order: v1.Order, made_client_order_id: str) -> v1.AmendOrder:
    """The amendment of an order that was looked up. It has a new client order id from then on, as with Binance."""
    client_order_id = parameters.optional("newClientOrderId", CLIENT_ORDER_ID) or made_client_order_id
    return v1.AmendOrder(
        account=order.account,
        symbol=order.symbol,
        order_id=order.order_id,
        quantity_lots=filters.amended_quantity(parameters, market.definition, market.units),
        new_client_order_id="" if client_order_id == order.client_order_id else client_order_id,
    )


def _client_order_id(parameters: Parameters) -> str | None:
    """By either name, and by both only the same."""
    own = parameters.optional("newClientOrderId", CLIENT_ORDER_ID)
    also = parameters.optional("clientOrderId", CLIENT_ORDER_ID)
    if own is not None and also is not None and own != also:
        raise Invalid(errors.BAD_COMBINATION, detail="clientOrderId is another one than newClientOrderId")
    return own or also


def _refuse_sent(parameters: Parameters, kind: OrderType, *names: str) -> None:
    for name in names:
        if parameters.optional(name) is not None:
            raise Invalid(errors.NOT_REQUIRED, name, detail=f"a {kind.name} order has no {name}")


def _optional_choice(parameters: Parameters, name: str, choices: type[E], wrong: errors.Word) -> E | None:
    if parameters.optional(name) is None:
        return None
    return parameters.choice(name, choices.__members__, wrong)
