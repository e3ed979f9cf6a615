"""What is told on which stream: names and payloads, as Binance has them. Values in, values out.

Three paces: at once, every tenth of a second, every second. Only what changed is told.
"""

from collections.abc import Iterator
from typing import NamedTuple

from openbourse.marketdata import tickers, words
from openbourse.marketdata.intervals import DAY_MS, Interval
from openbourse.marketdata.market import Market


class Message(NamedTuple):
    """`rest_us` is what its time, in milliseconds in the payload, has beyond these."""

    stream: str
    payload: object
    rest_us: int = 0


DEPTHS = (5, 10, 20)


def at_once(market: Market, now_ms: int) -> Iterator[Message]:
    """Takes what the market has to tell."""
    name, told = market.symbol.lower(), market.take_told()
    for trade in told.trades:
        yield Message(f"{name}@trade", words.trade_payload(market, trade), trade.time_us % 1000)
    for aggregate in told.aggregates:
        yield Message(f"{name}@aggTrade", words.aggregate_payload(market, aggregate), aggregate.time_us % 1000)
    for interval, candle in told.closed:
        yield Message(
            f"{name}@kline_{interval.value}",
            words.candle_payload(market, interval, candle, now_ms, final=True),
        )
    if told.best_changed:
        yield Message(f"{name}@bookTicker", words.best_payload(market))


def fast(market: Market, now_ms: int) -> Iterator[Message]:
    name, diff = market.symbol.lower(), market.fast_changes.take()
    if diff is None:
        return
    yield Message(f"{name}@depth@100ms", words.diff_payload(market, diff, now_ms))
    yield from _books(market, "@100ms")


def slow(market: Market, now_ms: int) -> Iterator[Message]:
    name, diff = market.symbol.lower(), market.slow_changes.take()
    if diff is not None:
        yield Message(f"{name}@depth", words.diff_payload(market, diff, now_ms))
        yield from _books(market, "")
    for interval in Interval:
        candle = market.current(interval)
        if candle is not None:
            yield Message(
                f"{name}@kline_{interval.value}",
                words.candle_payload(market, interval, candle, now_ms, final=False),
            )
    yield Message(f"{name}@avgPrice", words.average_payload(market, tickers.average_price(market, now_ms), now_ms))


def _books(market: Market, pace: str) -> Iterator[Message]:
    """Of a symbol that has left no empty ones: its book is elsewhere."""
    if market.is_here:
        for depth in DEPTHS:
            yield Message(f"{market.symbol.lower()}@depth{depth}{pace}", words.depth_payload(market, depth))


def tickers_of(markets: list[Market], now_ms: int) -> Iterator[Message]:
    """Of markets whose tickers changed: each alone, and all together."""
    days = [(market, tickers.recent_window(market, DAY_MS, now_ms)) for market in markets]
    yield from _each_and_all("ticker", [(market, words.day_payload(market, day)) for market, day in days])
    yield from _each_and_all("miniTicker", [(market, words.mini_payload(market, day)) for market, day in days])
    for name, length_ms in tickers.STREAM_WINDOWS_MS.items():
        rows = [
            (market, words.window_payload(market, tickers.recent_window(market, length_ms, now_ms), name))
            for market in markets
        ]
        yield from _each_and_all(f"ticker_{name}", rows)


def _each_and_all(kind: str, rows: list[tuple[Market, words.Json]]) -> Iterator[Message]:
    for market, payload in rows:
        yield Message(f"{market.symbol.lower()}@{kind}", payload)
    if rows:
        yield Message(f"!{kind}@arr", [payload for _, payload in rows])
