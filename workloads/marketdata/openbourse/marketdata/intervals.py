"""When candles open and close. Milliseconds since 1970 UTC in, milliseconds out: no clock.

Weeks begin on Monday, months on their first day, three days are counted from 1970-01-01. An offset, in milliseconds,
moves all of that to another time zone; it has no summer time.
"""

from datetime import UTC, datetime
from enum import StrEnum

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
# 1970-01-01 was a Thursday.
_FIRST_MONDAY_MS = 4 * DAY_MS


class Interval(StrEnum):
    S1 = "1s"
    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"
    D3 = "3d"
    W1 = "1w"
    MO1 = "1M"


_UNITS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
# Of a month: the shortest, for whoever asks how many fit.
LENGTHS_MS = {
    interval: 28 * DAY_MS if interval is Interval.MO1 else int(interval[:-1]) * _UNITS[interval[-1]]
    for interval in Interval
}

_NEVER_SHIFTED = (Interval.D3, Interval.W1, Interval.MO1)


def open_ms(interval: Interval, time_ms: int, offset_ms: int = 0) -> int:
    """When the candle opened that this moment belongs to."""
    local = time_ms + offset_ms
    match interval:
        case Interval.MO1:
            local_open = _month_ms(*_year_month(local))
        case Interval.W1:
            local_open = local - (local - _FIRST_MONDAY_MS) % LENGTHS_MS[interval]
        case _:
            local_open = local - local % LENGTHS_MS[interval]
    return local_open - offset_ms


def next_open_ms(interval: Interval, opened_ms: int, offset_ms: int = 0) -> int:
    """When the candle behind the one that opened at `opened_ms` opens. One millisecond earlier it closes."""
    if interval is not Interval.MO1:
        return opened_ms + LENGTHS_MS[interval]
    year, month = _year_month(opened_ms + offset_ms)
    return _month_ms(year + month // 12, month % 12 + 1) - offset_ms


def _year_month(local_ms: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(local_ms // 1000, UTC)
    return moment.year, moment.month


def _month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


def base_of(interval: Interval, offset_ms: int) -> Interval:
    """The longest interval whose candles in UTC add up to those of `interval` in another zone."""
    if offset_ms % LENGTHS_MS[interval] == 0 and (not offset_ms or interval not in _NEVER_SHIFTED):
        return interval
    bases = (Interval.H1, Interval.M30, Interval.M15, Interval.M5, Interval.M1)
    return next(
        base for base in bases if offset_ms % LENGTHS_MS[base] == 0 and LENGTHS_MS[interval] % LENGTHS_MS[base] == 0
    )
