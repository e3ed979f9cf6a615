"""Orders as most are, to their commands. Values in, values out.

Each function is `orders` for the requests that it knows: the same command, or None, and then the general way says what
is wrong. That they are equal is held by `tests/gateway/test_express.py`.
"""

from msgspec import Struct

from openbourse.contracts import v1
from openbourse.gateway.calls import new_client_order_id
from openbourse.gateway.express.requests import Cancel, Place
from openbourse.gateway.markets import Market
from openbourse.gateway.words import OrderType, ResponseType, SelfTradePrevention, Side, TimeInForce

_SIDES = {side.name: side.value for side in Side}
_FORCES = {force.name: force.value for force in TimeInForce}
_PREVENTIONS = {mode.name: mode.value for mode in SelfTradePrevention}
_FULL, _ACK = ResponseType.FULL, ResponseType.ACK
_RESPONSES = {"": _FULL, **{kind.name: kind for kind in ResponseType}}
_LIMIT, _MAKER = OrderType.LIMIT.name, OrderType.LIMIT_MAKER.name
_WHOLE_DIGITS_MOST = 18
_POWERS = tuple(10**power for power in range(_WHOLE_DIGITS_MOST + 1))
# Looking a value up by its name costs as much as a field.
_OF_LIMIT: v1.OrderType.ValueType = v1.OrderType.ORDER_TYPE_LIMIT
_OF_MAKER: v1.OrderType.ValueType = v1.OrderType.ORDER_TYPE_LIMIT_MAKER
_GTC: v1.TimeInForce.ValueType = v1.TimeInForce.TIME_IN_FORCE_GTC


class Asked(Struct, gc=False):
    """A command, and what its answer is written with."""

    command: v1.Command
    # The command's.
    command_id: bytes
    market: Market
    # Of an order; of a cancel its name.
    kind: ResponseType
    cancel_id: str


def place(sent: Place, market: Market, account: int, command_id: bytes, request_id: str) -> Asked | None:
    side, kind = _SIDES.get(sent.side), _RESPONSES.get(sent.newOrderRespType)
    if side is None or kind is None:
        return None
    units = market.units
    price = _steps(sent.price, units.quote_scale, units.tick_units)
    quantity = _steps(sent.quantity, units.base_scale, units.lot_units)
    if price is None or quantity is None or not market.bounds.hold(price, quantity):
        return None
    command = _command(command_id, request_id, request_id)
    order = command.place_order
    if sent.type == _LIMIT:
        force = _FORCES.get(sent.timeInForce)
        if force is None:
            return None
        order.type, order.time_in_force = _OF_LIMIT, force
    elif sent.type == _MAKER and not sent.timeInForce:
        order.type, order.time_in_force = _OF_MAKER, _GTC
        kind = kind if sent.newOrderRespType else _ACK
    else:
        return None
    if sent.selfTradePreventionMode:
        prevention = _PREVENTIONS.get(sent.selfTradePreventionMode)
        if prevention is None:
            return None
        order.self_trade_prevention = prevention
    order.account = account
    order.symbol = sent.symbol
    order.side = side
    order.price_ticks = price
    order.quantity_lots = quantity
    order.client_order_id = sent.newClientOrderId or new_client_order_id()
    return Asked(command, command_id, market, kind, "")


def cancel(sent: Cancel, market: Market, account: int, command_id: bytes, request_id: str) -> Asked | None:
    target = sent.target()
    if target is None:
        return None
    cancel_id = sent.newClientOrderId or new_client_order_id()
    command = _command(command_id, request_id, cancel_id)
    order = command.cancel_order
    order.account = account
    order.symbol = sent.symbol
    order_id, client_order_id = target
    if client_order_id is None:
        assert order_id is not None
        order.order_id = order_id
    else:
        order.client_order_id = client_order_id
    return Asked(command, command_id, market, _FULL, cancel_id)


def _command(command_id: bytes, request_id: str, caused_by: str) -> v1.Command:
    command = v1.Command()
    command.command_id = command_id
    command.correlation_id = request_id
    command.causation_id = caused_by
    return command


def _steps(text: str, scale: int, step_units: int) -> int | None:
    """A decimal in ticks or lots; None unless it is a plain one, and whole."""
    if not text.isascii():
        return None
    whole, point, fraction = text.partition(".")
    if len(whole) + scale > _WHOLE_DIGITS_MOST or not whole.isdigit():
        return None
    if point:
        decimals = len(fraction)
        if decimals > scale or not fraction.isdigit():
            return None
        units = int(whole + fraction) * _POWERS[scale - decimals]
    else:
        units = int(whole) * _POWERS[scale]
    count, rest = divmod(units, step_units)
    return None if rest else count
