"""Trades and aggregate trades, from the events of a command. Values in, values out."""

from collections.abc import Iterable
from dataclasses import dataclass

from openbourse.contracts import v1


@dataclass(frozen=True, slots=True)
class Trade:
    trade_id: int
    price_ticks: int
    quantity_lots: int
    quote_units: int
    time_us: int
    buyer_is_maker: bool


@dataclass(frozen=True, slots=True)
class AggregateTrade:
    """What one order took at one price with one command."""

    aggregate_id: int
    price_ticks: int
    quantity_lots: int
    first_id: int
    last_id: int
    time_us: int
    buyer_is_maker: bool


def trade_of(event: v1.Event) -> Trade:
    executed = event.trade_executed
    return Trade(
        trade_id=executed.trade_id,
        price_ticks=executed.price_ticks,
        quantity_lots=executed.quantity_lots,
        quote_units=executed.quote_units,
        time_us=event.occurred_at_us,
        buyer_is_maker=executed.taker_side == v1.Side.SIDE_SELL,
    )


def aggregated(trades: Iterable[tuple[Trade, int]], last_aggregate_id: int) -> list[AggregateTrade]:
    """Of the trades of one command in their order, each with the taker's order id."""
    found: list[AggregateTrade] = []
    taker = 0
    for trade, taker_order_id in trades:
        before = found[-1] if found else None
        if before is not None and taker == taker_order_id and before.price_ticks == trade.price_ticks:
            found[-1] = AggregateTrade(
                before.aggregate_id,
                before.price_ticks,
                before.quantity_lots + trade.quantity_lots,
                before.first_id,
                trade.trade_id,
                before.time_us,
                before.buyer_is_maker,
            )
        else:
            last_aggregate_id += 1
            found.append(
                AggregateTrade(
                    last_aggregate_id,
                    trade.price_ticks,
                    trade.quantity_lots,
                    trade.trade_id,
                    trade.trade_id,
                    trade.time_us,
                    trade.buyer_is_maker,
                )
            )
        taker = taker_order_id
    return found
