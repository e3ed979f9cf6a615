"""What the engine answered, written at once: the text that `reports` and the JSON writer make of it. Text out, no I/O.

What is not as most are (trades, self-trade prevention, names that need care) is written by `reports`.
"""

import functools

from openbourse.contracts import v1
from openbourse.contracts.units import format_units
from openbourse.gateway import reports
from openbourse.gateway.markets import Market
from openbourse.gateway.parameters import CLIENT_ORDER_ID, LEGAL
from openbourse.gateway.reports import Clock
from openbourse.gateway.sockets import written
from openbourse.gateway.words import (
    ORDER_STATUSES,
    ORDER_TYPES,
    SELF_TRADE_PREVENTIONS,
    SIDES,
    TIMES_IN_FORCE,
    ResponseType,
)

_LEGAL_NAME = LEGAL[CLIENT_ORDER_ID].fullmatch
# Looking a value up by its name costs more than all the rest of an answer's numbers.
_MARKET: int = v1.OrderType.ORDER_TYPE_MARKET
_ACK, _FULL = ResponseType.ACK, ResponseType.FULL


def placed(result: v1.OrderResult, at_us: int, kind: ResponseType, market: Market, clock: Clock) -> str:
    order = result.order
    name = order.client_order_id
    if result.fills or not _is_usual(order, name):
        return written(reports.placed_as_json(result, at_us, kind, market, clock))
    acknowledged = (
        f'{{"symbol":"{order.symbol}","orderId":{order.order_id},"orderListId":-1,'
        f'"clientOrderId":"{name}","transactTime":{clock(at_us)}'
    )
    if kind is _ACK:
        return acknowledged + "}"
    fills = ',"fills":[]}' if kind is _FULL else "}"
    return f'{acknowledged},{_terms(order, market)},"workingTime":{clock(order.created_at_us)}{fills}'


def canceled(order: v1.Order, cancel_id: str, at_us: int, market: Market, clock: Clock) -> str:
    name = order.client_order_id
    if not _is_usual(order, name):
        return written(reports.canceled_as_json(order, cancel_id, at_us, market, clock))
    return (
        f'{{"symbol":"{order.symbol}","origClientOrderId":"{name}","orderId":{order.order_id},'
        f'"orderListId":-1,"clientOrderId":"{cancel_id}","transactTime":{clock(at_us)},{_terms(order, market)}}}'
    )


def _is_usual(order: v1.Order, name: str) -> bool:
    return (
        order.type != _MARKET and not order.prevented_lots and not order.quote_units and _LEGAL_NAME(name) is not None
    )


def _terms(order: v1.Order, market: Market) -> str:
    units = market.units
    no_amount, executed = _zero(units.quote_scale), _zero(units.base_scale)
    if lots := order.executed_lots:
        executed = format_units(lots * units.lot_units, units.base_scale)
    amount = order.executed_quote_units
    spent = format_units(amount, units.quote_scale) if amount else no_amount
    mode = order.self_trade_prevention
    prevention = SELF_TRADE_PREVENTIONS.get(mode, "NONE") if mode else market.prevention_by_default
    return (
        f'"price":"{format_units(order.price_ticks * units.tick_units, units.quote_scale)}",'
        f'"origQty":"{format_units(order.quantity_lots * units.lot_units, units.base_scale)}",'
        f'"executedQty":"{executed}","origQuoteOrderQty":"{no_amount}","cummulativeQuoteQty":"{spent}",'
        f'"status":"{ORDER_STATUSES[order.status]}","timeInForce":"{TIMES_IN_FORCE[order.time_in_force]}",'
        f'"type":"{ORDER_TYPES[order.type]}","side":"{SIDES[order.side]}",'
        f'"selfTradePreventionMode":"{prevention}"'
    )


@functools.cache
def _zero(scale: int) -> str:
    return format_units(0, scale)
