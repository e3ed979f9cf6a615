"""Answers to questions about one shard's market data: recent numbers from memory, older ones from the history.

Everything that was heard before a question came is in its answer.
"""

import asyncio
from dataclasses import dataclass

from openbourse.marketdata import tickers, words
from openbourse.marketdata.candles import Candle, rolled_up, summed, without_gaps
from openbourse.marketdata.errors import Invalid, UnknownSymbol
from openbourse.marketdata.history import AggregatesWanted, History, require_limit
from openbourse.marketdata.intervals import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Interval,
    base_of,
    next_open_ms,
    open_ms,
)
from openbourse.marketdata.market import Market
from openbourse.marketdata.service import Service, now_ms
from openbourse.marketdata.tickers import Window

WINDOW_MS_MOST = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class CandlesWanted:
    """Those that opened from `start_ms` on, or the latest; none later than `end_ms`."""

    interval: Interval
    limit: int
    start_ms: int | None = None
    end_ms: int | None = None
    offset_ms: int = 0


class Queries:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._history = service.history

    def market(self, symbol: str) -> Market:
        market = self._service.shard.markets.get(symbol)
        if market is None:
            raise UnknownSymbol(symbol)
        return market

    def markets(self, symbols: list[str] | None) -> list[Market]:
        """Those, or all by name."""
        if symbols is None:
            return [market for _, market in sorted(self._service.shard.markets.items())]
        return [self.market(symbol) for symbol in symbols]

    async def trades(self, symbol: str, limit: int, from_id: int | None, clock: words.Clock) -> list[words.Json]:
        market = self.market(symbol)
        await self._service.store()
        found = await asyncio.to_thread(self._history.trades, symbol, limit, from_id)
        return [words.trade_row(market, trade, clock) for trade in found]

    async def aggregates(self, symbol: str, wanted: AggregatesWanted, clock: words.Clock) -> list[words.Json]:
        market = self.market(symbol)
        await self._service.store()
        found = await asyncio.to_thread(self._history.aggregates, symbol, wanted)
        return [words.aggregate_row(market, trade, clock) for trade in found]

    async def candles(
        self, symbol: str, wanted: CandlesWanted, clock: words.Clock, *, ids: bool = False
    ) -> list[list[object]]:
        """`ids`: each row ends with the id of its first trade, -1 for none, and of the last one up to its end."""
        market = self.market(symbol)
        require_limit(wanted.limit)
        await self._service.store()
        found = await asyncio.to_thread(stored_candles, self._history, symbol, wanted, now_ms())
        rows = [words.candle_row(market, wanted.interval, candle, clock, wanted.offset_ms) for candle in found]
        if not ids:
            return rows
        those = await asyncio.to_thread(trade_ids, self._history, symbol, found)
        return [[*row, *pair] for row, pair in zip(rows, those, strict=True)]

    def average(self, symbol: str, clock: words.Clock) -> words.Json:
        market = self.market(symbol)
        return words.average_row(market, tickers.average_price(market, now_ms()), clock)

    def prices(self, symbols: list[str] | None) -> list[words.Json]:
        return [words.price_row(market) for market in self.markets(symbols)]

    def bests(self, symbols: list[str] | None) -> list[words.Json]:
        return [words.best_row(market) for market in self.markets(symbols)]

    def days(self, symbols: list[str] | None, *, mini: bool, clock: words.Clock) -> list[words.Json]:
        now = now_ms()
        row = words.mini_row if mini else words.day_row
        return [row(market, tickers.recent_window(market, DAY_MS, now), clock) for market in self.markets(symbols)]

    async def windows(
        self, symbols: list[str] | None, length_ms: int, *, mini: bool, clock: words.Clock
    ) -> list[words.Json]:
        if not (MINUTE_MS <= length_ms <= WINDOW_MS_MOST and length_ms % MINUTE_MS == 0):
            raise Invalid(f"a window is whole minutes, at most seven days, not {length_ms} ms")
        now = now_ms()
        return await self._windows(symbols, tickers.window_open_ms(now, length_ms), now, now, mini=mini, clock=clock)

    async def trading_days(
        self, symbols: list[str] | None, offset_ms: int, *, mini: bool, clock: words.Clock
    ) -> list[words.Json]:
        now = now_ms()
        opened_ms = open_ms(Interval.D1, now, offset_ms)
        return await self._windows(symbols, opened_ms, now, opened_ms + DAY_MS - 1, mini=mini, clock=clock)

    async def _windows(
        self,
        symbols: list[str] | None,
        opened_ms: int,
        now: int,
        closed_ms: int,
        *,
        mini: bool,
        clock: words.Clock,
    ) -> list[words.Json]:
        markets = self.markets(symbols)
        await self._service.store()
        found = await asyncio.to_thread(
            lambda: [stored_window(self._history, market.symbol, opened_ms, now, closed_ms) for market in markets]
        )
        row = words.mini_row if mini else words.window_row
        return [row(market, window, clock) for market, window in zip(markets, found, strict=True)]


def stored_window(history: History, symbol: str, opened_ms: int, now: int, closed_ms: int) -> Window:
    """From whole hours, and minutes before the first of them: never more than some hundred candles."""
    hour_ms = min(open_ms(Interval.H1, opened_ms + HOUR_MS - 1), now + 1)
    candles = history.candles(symbol, Interval.M1, opened_ms, hour_ms)
    candles += history.candles(symbol, Interval.H1, hour_ms, now + 1)
    total = summed(candles)
    before = _close_before(history, symbol, opened_ms)
    return tickers.window_of([total] if total else [], before, opened_ms, closed_ms)


def stored_candles(history: History, symbol: str, wanted: CandlesWanted, now: int) -> list[Candle]:
    """Gaps are filled, from the first trade on. None opened later than now."""
    interval, offset_ms = wanted.interval, wanted.offset_ms
    oldest_ms = history.first_candle_ms(symbol, Interval.M1)
    if oldest_ms is None:
        return []
    opens_ms = _opens_ms(wanted, open_ms(interval, oldest_ms, offset_ms), now)
    if not opens_ms:
        return []
    first_ms, end_ms = opens_ms[0], next_open_ms(interval, opens_ms[-1], offset_ms)
    base = base_of(interval, offset_ms)
    stored = history.candles(symbol, base, first_ms, end_ms)
    rolled = stored if base is interval else rolled_up(stored, interval, offset_ms)
    return without_gaps(rolled, opens_ms, _close_before(history, symbol, first_ms))


def trade_ids(history: History, symbol: str, candles: list[Candle]) -> list[tuple[int, int]]:
    """Of each of them the id of its first trade, -1 for none, and of the last one that was before its end."""
    found: list[tuple[int, int]] = []
    before = None if not candles or candles[0].trades else history.minute_before(symbol, candles[0].open_ms)
    last_id = 0 if before is None else before.last_id
    for candle in candles:
        last_id = candle.last_id if candle.trades else last_id
        found.append((candle.first_id, last_id))
    return found


def _close_before(history: History, symbol: str, time_ms: int) -> int | None:
    before = history.minute_before(symbol, time_ms)
    return None if before is None else before.close


def _opens_ms(wanted: CandlesWanted, oldest_ms: int, now: int) -> list[int]:
    interval, offset_ms = wanted.interval, wanted.offset_ms
    end_ms = now if wanted.end_ms is None else min(wanted.end_ms, now)
    if wanted.start_ms is None:
        opened_ms = open_ms(interval, end_ms, offset_ms)
        found: list[int] = []
        while opened_ms >= oldest_ms and len(found) < wanted.limit:
            found.append(opened_ms)
            opened_ms = open_ms(interval, opened_ms - 1, offset_ms)
        return found[::-1]
    opened_ms = open_ms(interval, wanted.start_ms, offset_ms)
    if opened_ms < wanted.start_ms:
        opened_ms = next_open_ms(interval, opened_ms, offset_ms)
    opened_ms = max(opened_ms, oldest_ms)
    found = []
    while opened_ms <= end_ms and len(found) < wanted.limit:
        found.append(opened_ms)
        opened_ms = next_open_ms(interval, opened_ms, offset_ms)
    return found
