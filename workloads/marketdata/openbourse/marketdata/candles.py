"""Candles: what was traded in a stretch of time. Values in, values out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from openbourse.marketdata.intervals import Interval, open_ms
from openbourse.marketdata.trades import Trade


@dataclass(frozen=True, slots=True)
class Candle:
    """An empty one has no trades, no ids (-1), and the price of the last trade before it four times."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int
    quote_units: int
    trades: int
    # Where the taker bought.
    taker_lots: int
    taker_quote_units: int
    first_id: int
    last_id: int


def of_trade(trade: Trade, opened_ms: int) -> Candle:
    price, bought = trade.price_ticks, not trade.buyer_is_maker
    return Candle(
        opened_ms,
        *(price, price, price, price),
        trade.quantity_lots,
        trade.quote_units,
        1,
        trade.quantity_lots if bought else 0,
        trade.quote_units if bought else 0,
        trade.trade_id,
        trade.trade_id,
    )


def empty(opened_ms: int, price_ticks: int) -> Candle:
    return Candle(opened_ms, *(price_ticks,) * 4, 0, 0, 0, 0, 0, -1, -1)


def joined(first: Candle, then: Candle) -> Candle:
    """The two as one that opened with the first. `then` is later."""
    if not then.trades:
        return first
    if not first.trades:
        return Candle(first.open_ms, *_values(then))
    return Candle(
        first.open_ms,
        first.open,
        max(first.high, then.high),
        min(first.low, then.low),
        then.close,
        first.lots + then.lots,
        first.quote_units + then.quote_units,
        first.trades + then.trades,
        first.taker_lots + then.taker_lots,
        first.taker_quote_units + then.taker_quote_units,
        first.first_id,
        then.last_id,
    )


def _values(of: Candle) -> tuple[int, ...]:
    return (
        *(of.open, of.high, of.low, of.close, of.lots, of.quote_units),
        *(of.trades, of.taker_lots, of.taker_quote_units, of.first_id, of.last_id),
    )


def summed(candles: Iterable[Candle]) -> Candle | None:
    """All of them, in their order, as one. None: there is none with trades."""
    total: Candle | None = None
    for candle in candles:
        if candle.trades:
            total = candle if total is None else joined(total, candle)
    return total


def rolled_up(candles: Iterable[Candle], interval: Interval, offset_ms: int = 0) -> Iterator[Candle]:
    """Longer candles from shorter ones in their order."""
    current: Candle | None = None
    for candle in candles:
        opened_ms = open_ms(interval, candle.open_ms, offset_ms)
        if current is None or current.open_ms != opened_ms:
            if current is not None:
                yield current
            current = Candle(opened_ms, *_values(candle))
        else:
            current = joined(current, candle)
    if current is not None:
        yield current


def without_gaps(candles: Iterable[Candle], opens_ms: Iterable[int], before: int | None) -> list[Candle]:
    """One for each open time, in their order, from the first that has a price; `before` is the last one before them."""
    by_open = {candle.open_ms: candle for candle in candles}
    found: list[Candle] = []
    price = before
    for opened_ms in opens_ms:
        candle = by_open.get(opened_ms)
        if candle is None:
            if price is None:
                continue
            candle = empty(opened_ms, price)
        found.append(candle)
        price = candle.close
    return found
