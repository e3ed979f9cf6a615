"""Tickers and averages from candles, as whole numbers; what they are in words is said in `words`. No clock."""

from dataclasses import dataclass

from openbourse.marketdata.candles import Candle, summed
from openbourse.marketdata.intervals import DAY_MS, HOUR_MS, MINUTE_MS, Interval, open_ms
from openbourse.marketdata.market import Market

STREAM_WINDOWS_MS = {"1h": HOUR_MS, "4h": 4 * HOUR_MS, "1d": DAY_MS}
AVERAGE_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Window:
    """From the start of a minute to now. Without trades, all prices are the last one before it, and 0 before any."""

    opened_ms: int
    closed_ms: int
    total: Candle
    previous_close: int

    @property
    def change_ticks(self) -> int:
        return self.total.close - self.total.open


def window_open_ms(now_ms: int, length_ms: int) -> int:
    """A window begins with a whole minute: it is up to 59,999 ms longer than its name says."""
    return open_ms(Interval.M1, now_ms - length_ms + 1)


def window_of(candles: list[Candle], before: int | None, opened_ms: int, now_ms: int) -> Window:
    """Of the minutes from `opened_ms` on; `before` is the last price before them."""
    total = summed(candles)
    if total is None:
        price = before or 0
        total = Candle(opened_ms, price, price, price, price, 0, 0, 0, 0, 0, -1, -1)
    return Window(opened_ms, now_ms, total, before or 0)


def recent_window(market: Market, length_ms: int, now_ms: int) -> Window:
    """Of up to a day."""
    opened_ms = window_open_ms(now_ms, length_ms)
    return window_of(list(market.window(opened_ms)), market.close_before(opened_ms), opened_ms, now_ms)


def average_price(market: Market, now_ms: int) -> tuple[int, int]:
    """Quote min-units for one whole base unit over the last minutes, rounded down, and the ms of the last trade."""
    last = market.last_trade
    if last is None:
        return 0, 0
    units = market.units
    total = summed(market.window(window_open_ms(now_ms, AVERAGE_MINUTES * MINUTE_MS)))
    price = last.price_ticks * units.tick_units
    if total is not None:
        price = weighted_average(total, units.lot_units, units.base_scale)
    return price, last.time_us // 1000


def weighted_average(total: Candle, lot_units: int, base_scale: int) -> int:
    """Quote min-units for one whole base unit, rounded down; 0 without trades."""
    if not total.lots:
        return 0
    return int(total.quote_units * 10**base_scale // (total.lots * lot_units))
