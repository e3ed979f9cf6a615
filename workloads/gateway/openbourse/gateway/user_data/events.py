"""One AccountUpdate in Binance's words: execution reports, balance updates, the position. No I/O, no clock."""

import re

from openbourse.contracts import v1
from openbourse.contracts.units import format_units
from openbourse.gateway import reports, words
from openbourse.gateway.markets import Market, Markets
from openbourse.gateway.parameters import CLIENT_ORDER_ID
from openbourse.gateway.reports import Clock

Event = dict[str, object]

_CLIENT_ORDER_ID = re.compile(CLIENT_ORDER_ID)
_EXECUTIONS = {
    v1.OrderChange.ORDER_CHANGE_ACCEPTED: "NEW",
    v1.OrderChange.ORDER_CHANGE_TRADED: "TRADE",
    v1.OrderChange.ORDER_CHANGE_PREVENTED: "TRADE_PREVENTION",
    v1.OrderChange.ORDER_CHANGE_AMENDED: "REPLACED",
    v1.OrderChange.ORDER_CHANGE_CANCELED: "CANCELED",
    v1.OrderChange.ORDER_CHANGE_EXPIRED: "EXPIRED",
}
# Whoever cancels these gives the cancel a name of its own.
_NAMED_CANCELS = (v1.CancelReason.CANCEL_REASON_REQUEST, v1.CancelReason.CANCEL_REASON_REPLACED)
_OPEN = (v1.OrderStatus.ORDER_STATUS_NEW, v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED)


def is_known(update: v1.AccountUpdate, markets: Markets) -> bool:
    """Whether everything that the update names is listed there."""
    symbols = {change.order.symbol for change in update.orders}
    assets = {balance.asset for balance in update.balances} | {amount.asset for amount in update.funds}
    return symbols <= markets.by_symbol.keys() and assets <= markets.scales.keys()


def events(update: v1.AccountUpdate, markets: Markets, clock: Clock, now_us: int) -> list[Event]:
    """In the order in which they are told; `markets` knows all that the update names."""
    told = [
        _execution_report(update, change, markets.market(change.order.symbol), clock, now_us)
        for change in update.orders
        if not _was_told(change)
    ]
    at = {"E": clock(now_us)}
    told += [
        {
            "e": "balanceUpdate",
            **at,
            "a": amount.asset,
            "d": format_units(amount.amount, markets.scales[amount.asset]),
            "T": clock(update.occurred_at_us),
        }
        for amount in update.funds
    ]
    if update.balances:
        rows = [
            {
                "a": balance.asset,
                "f": format_units(balance.available, markets.scales[balance.asset]),
                "l": format_units(balance.hold, markets.scales[balance.asset]),
            }
            for balance in update.balances
        ]
        told.append({"e": "outboundAccountPosition", **at, "u": clock(update.occurred_at_us), "B": rows})
    return told


def _was_told(change: v1.OrderUpdate) -> bool:
    """What a prevented match took whole: the match said so already."""
    expired = change.change == v1.OrderChange.ORDER_CHANGE_EXPIRED
    return expired and change.order.status == v1.OrderStatus.ORDER_STATUS_EXPIRED_IN_MATCH


def _execution_report(
    update: v1.AccountUpdate, change: v1.OrderUpdate, market: Market, clock: Clock, now_us: int
) -> Event:
    order, fill, units = change.order, change.fill, market.units
    terms = reports.terms_as_json(order, market)
    client_order_id, original = _names(change)
    traded = change.change == v1.OrderChange.ORDER_CHANGE_TRADED
    report: Event = {
        "e": "executionReport",
        "E": clock(now_us),
        "s": order.symbol,
        "c": client_order_id,
        "S": terms["side"],
        "o": terms["type"],
        "f": terms["timeInForce"],
        "q": terms["origQty"],
        "p": terms["price"],
        "P": units.format_price(0),
        "F": units.format_quantity(0),
        "g": -1,
        "C": original,
        "x": _EXECUTIONS[change.change],
        "X": terms["status"],
        "r": "NONE",
        "i": order.order_id,
        "l": units.format_quantity(fill.quantity_lots),
        "z": terms["executedQty"],
        "L": units.format_price(fill.price_ticks),
        "n": format_units(fill.fee_units, market.scale(fill.fee_asset)) if traded else "0",
        "N": fill.fee_asset if traded else None,
        "T": clock(update.occurred_at_us),
        "t": fill.trade_id if traded else -1,
        "I": reports.execution_id(update.seq, change.index),
        "w": order.status in _OPEN,
        "m": change.maker,
        "M": False,
        "O": clock(order.created_at_us),
        "Z": terms["cummulativeQuoteQty"],
        "Y": format_units(fill.quote_units, units.quote_scale),
        "Q": terms["origQuoteOrderQty"],
        "W": clock(order.created_at_us),
        "V": terms["selfTradePreventionMode"],
    }
    if change.change == v1.OrderChange.ORDER_CHANGE_PREVENTED:
        report |= _prevention(order, change.prevented, market)
    if change.change == v1.OrderChange.ORDER_CHANGE_EXPIRED:
        report["eR"] = _expiry_reason(order)
    return report


def _names(change: v1.OrderUpdate) -> tuple[str, str]:
    """The client order id and the original one: a cancel and an amendment have names of their own."""
    order_name = change.order.client_order_id
    match change.change:
        case v1.OrderChange.ORDER_CHANGE_AMENDED:
            return order_name, change.previous_client_order_id
        case v1.OrderChange.ORDER_CHANGE_CANCELED if change.cancel_reason in _NAMED_CANCELS:
            named = _CLIENT_ORDER_ID.fullmatch(change.causation_id) is not None
            return change.causation_id if named else order_name, order_name
        case _:
            return order_name, ""


def _prevention(order: v1.Order, prevented: v1.PreventedMatch, market: Market) -> Event:
    match, units = prevented.match, market.units
    is_maker = match.maker.order_id == order.order_id
    own, counter = (match.maker, match.taker) if is_maker else (match.taker, match.maker)
    # What would have traded.
    lots = min(party.prevented_lots + party.leaves_lots for party in (own, counter))
    return {
        "v": match.prevented_match_id,
        "A": units.format_quantity(order.prevented_lots),
        "B": units.format_quantity(own.prevented_lots),
        "u": prevented.trade_group or -1,
        "U": counter.order_id,
        "Cs": prevented.symbol,
        "pl": units.format_quantity(lots),
        "pL": units.format_price(match.price_ticks),
        "pY": format_units(lots * match.price_ticks * units.quote_units_per_tick_lot, units.quote_scale),
    }


def _expiry_reason(order: v1.Order) -> str:
    if order.type == v1.OrderType.ORDER_TYPE_MARKET:
        return "INSUFFICIENT_LIQUIDITY"
    match words.TIMES_IN_FORCE[order.time_in_force]:
        case "IOC":
            return "UNFILLED_IOC_QUANTITY_EXPIRED"
        case "FOK":
            return "UNFILLED_FOK_ORDER_EXPIRED"
        case _:
            # It met more orders than one command may trade with.
            return "EXCHANGE_CANCELED"
