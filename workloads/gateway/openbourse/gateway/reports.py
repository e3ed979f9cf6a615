"""What the engine answered, in Binance's words. Values in, values out.

Amounts leave as decimals with all the digits of their asset, times in the unit that the request asked for.
"""

from collections.abc import Callable

from openbourse.contracts import v1
from openbourse.contracts.units import format_units
from openbourse.gateway import words
from openbourse.gateway.markets import Market, fee_text
from openbourse.gateway.words import ResponseType

# At most, of those that are about orders.
EVENTS_OF_A_COMMAND = 2**17

# Microseconds since 1970 to the time unit of the answer.
Clock = Callable[[int], int]


def placed_as_json(
    result: v1.OrderResult, at_us: int, kind: ResponseType, market: Market, clock: Clock
) -> dict[str, object]:
    order = result.order
    body = _acknowledged(order, order.client_order_id, at_us, clock)
    if kind is ResponseType.ACK:
        return body
    body |= terms_as_json(order, market)
    body["workingTime"] = clock(order.created_at_us)
    if kind is ResponseType.FULL:
        body["fills"] = [_fill(fill, market) for fill in result.fills]
    return body


def canceled_as_json(order: v1.Order, cancel_id: str, at_us: int, market: Market, clock: Clock) -> dict[str, object]:
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_order_id,
        **_acknowledged(order, cancel_id, at_us, clock),
        **terms_as_json(order, market),
    }


def execution_id(seq: int, index: int) -> int:
    """Names one event of one command: nothing else of this shard has this number."""
    return seq * EVENTS_OF_A_COMMAND + index


def amended_as_json(reply: v1.Reply, previous_client_order_id: str, market: Market, clock: Clock) -> dict[str, object]:
    order, units = reply.order.order, market.units
    terms = terms_as_json(order, market)
    return {
        "transactTime": clock(reply.occurred_at_us),
        # An amendment is the first event of its command.
        "executionId": execution_id(reply.seq, 0),
        "amendedOrder": {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "origClientOrderId": previous_client_order_id,
            "clientOrderId": order.client_order_id,
            "price": terms["price"],
            "qty": terms["origQty"],
            "executedQty": terms["executedQty"],
            "preventedQty": units.format_quantity(order.prevented_lots),
            "quoteOrderQty": terms["origQuoteOrderQty"],
            "cumulativeQuoteQty": terms["cummulativeQuoteQty"],
            **{name: terms[name] for name in ("status", "timeInForce", "type", "side")},
            "workingTime": clock(order.created_at_us),
            "selfTradePreventionMode": terms["selfTradePreventionMode"],
        },
    }


def order_as_json(order: v1.Order, market: Market, clock: Clock, prevented_match_id: int = 0) -> dict[str, object]:
    """An order as the queries show it."""
    shown: dict[str, object] = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        **terms_as_json(order, market),
        "stopPrice": market.units.format_price(0),
        "icebergQty": market.units.format_quantity(0),
        "time": clock(order.created_at_us),
        "updateTime": clock(order.updated_at_us),
        "isWorking": True,
        "workingTime": clock(order.created_at_us),
    }
    if prevented_match_id:
        shown["preventedMatchId"] = prevented_match_id
    return shown


def prevented_as_json(prevented: v1.PreventedMatch, market: Market, clock: Clock) -> dict[str, object]:
    match, quantity = prevented.match, market.units.format_quantity
    shown: dict[str, object] = {
        "symbol": prevented.symbol,
        "preventedMatchId": match.prevented_match_id,
        "takerOrderId": match.taker.order_id,
        "makerSymbol": prevented.symbol,
        "makerOrderId": match.maker.order_id,
        "tradeGroupId": prevented.trade_group or -1,
        "selfTradePreventionMode": market.prevention(match.self_trade_prevention),
        "price": market.units.format_price(match.price_ticks),
    }
    for name, party in (("taker", match.taker), ("maker", match.maker)):
        if party.prevented_lots:
            shown[f"{name}PreventedQuantity"] = quantity(party.prevented_lots)
    return {**shown, "transactTime": clock(prevented.occurred_at_us)}


def commission_as_json(market: Market, suffix: str = "", more: tuple[str, ...] = ()) -> dict[str, object]:
    """What its trades pay: nobody pays more or less than the symbol says. `more` are sides that pay nothing."""
    none = dict.fromkeys(("maker", "taker", *more), fee_text(0))
    definition = market.definition
    own = {"maker": fee_text(definition.maker_fee_ppm), "taker": fee_text(definition.taker_fee_ppm)}
    return {
        f"standardCommission{suffix}": none | own,
        f"specialCommission{suffix}": none,
        f"taxCommission{suffix}": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "",
            "discount": fee_text(0),
        },
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


def terms_as_json(order: v1.Order, market: Market) -> dict[str, object]:
    units = market.units
    is_market = order.type == v1.OrderType.ORDER_TYPE_MARKET
    terms: dict[str, object] = {
        "price": units.format_price(order.price_ticks),
        "origQty": units.format_quantity(order.quantity_lots),
        "executedQty": units.format_quantity(order.executed_lots),
        "origQuoteOrderQty": format_units(order.quote_units, units.quote_scale),
        "cummulativeQuoteQty": format_units(order.executed_quote_units, units.quote_scale),
        "status": words.ORDER_STATUSES[order.status],
        "timeInForce": "GTC" if is_market else words.TIMES_IN_FORCE[order.time_in_force],
        "type": words.ORDER_TYPES[order.type],
        "side": words.SIDES[order.side],
        "selfTradePreventionMode": market.prevention(order.self_trade_prevention),
    }
    if order.prevented_lots:
        terms["preventedQuantity"] = units.format_quantity(order.prevented_lots)
    return terms


def _fill(fill: v1.Fill, market: Market) -> dict[str, object]:
    return {
        "price": market.units.format_price(fill.price_ticks),
        "qty": market.units.format_quantity(fill.quantity_lots),
        "commission": format_units(fill.fee_units, market.scale(fill.fee_asset)),
        "commissionAsset": fill.fee_asset,
        "tradeId": fill.trade_id,
    }
