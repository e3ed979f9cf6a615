"""Candles and windows against all trades and the calendar itself: month ends, leap days, the nights when clocks change.

The calendar here is Python's, by dates and hours; nothing of `intervals` is used but its names. The stream's time may
go back a little, and the process may live in any time zone.
"""

import itertools
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fixtures.market_streams import SHARD, SYMBOL, Stream
from openbourse.contracts import v1
from openbourse.marketdata import queries
from openbourse.marketdata.candles import Candle
from openbourse.marketdata.history import ROWS_MOST
from openbourse.marketdata.intervals import Interval
from openbourse.marketdata.queries import CandlesWanted
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.sqlite_history import SqliteHistory
from openbourse.marketdata.trades import Trade

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# Around what calendars do: a year's end, a leap day and a February without one, months of 30 and 31 days, and the
# nights in which clocks change in Berlin, New York and on Lord Howe Island, by half an hour there.
MOMENTS = [
    datetime(2025, 12, 31, 23, 58, tzinfo=UTC),
    datetime(2026, 2, 28, 23, 58, tzinfo=UTC),
    datetime(2026, 3, 8, 6, 58, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 58, tzinfo=UTC),
    datetime(2026, 4, 4, 14, 58, tzinfo=UTC),
    datetime(2026, 4, 30, 23, 58, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 58, tzinfo=UTC),
    datetime(2026, 11, 1, 5, 58, tzinfo=UTC),
    datetime(2028, 2, 28, 23, 58, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 58, tzinfo=UTC),
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
# Commands at each of the moments, behind the two that define what is traded.
AT_EACH, DEFINITIONS = 25, 2
# When a window is asked for, after the minute of the last trade began; how long windows are.
LATER = [MINUTE, 2 * MINUTE, 59 * MINUTE, timedelta(hours=23, minutes=59)]
WINDOWS = [MINUTE, 59 * MINUTE, timedelta(hours=4), timedelta(days=1), timedelta(days=7)]
OFFSETS = [timedelta(), timedelta(hours=8), timedelta(hours=-5), timedelta(hours=5, minutes=45)]


def opened(interval: Interval, moment: datetime) -> datetime:
    """When the candle opened that `moment` belongs to, as somebody with a calendar says it."""
    count, unit = int(interval[:-1]), interval[-1]
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match unit:
        case "s":
            return moment.replace(microsecond=0)
        case "m":
            return moment.replace(minute=moment.minute - moment.minute % count, second=0, microsecond=0)
        case "h":
            return midnight.replace(hour=moment.hour - moment.hour % count)
        case "d":
            return midnight - timedelta(days=(midnight - EPOCH).days % count)
        case "w":
            return midnight - timedelta(days=midnight.weekday())
    assert unit == "M"
    return midnight.replace(day=1)


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(trade: Trade) -> datetime:
    return EPOCH + timedelta(microseconds=trade.time_us)


def made_of(opened_ms: int, trades: list[Trade]) -> Candle:
    """By looking at each trade again for each number."""
    prices, bought = [trade.price_ticks for trade in trades], [trade for trade in trades if not trade.buyer_is_maker]
    sums = [(sum(t.quantity_lots for t in of), sum(t.quote_units for t in of)) for of in (trades, bought)]
    first, last = trades[0], trades[-1]
    return Candle(
        *(opened_ms, first.price_ticks, max(prices), min(prices), last.price_ticks),
        *(*sums[0], len(trades), *sums[1], first.trade_id, last.trade_id),
    )


def naive(trades: list[Trade], interval: Interval, offset: timedelta) -> list[Candle]:
    """By the exchange's time; a trade stamped earlier than the one before it is counted where that one is."""
    groups: dict[datetime, list[Trade]] = {}
    latest = EPOCH
    for trade in trades:
        latest = max(latest, opened(interval, moment_of(trade) + offset))
        groups.setdefault(latest, []).append(trade)
    return [made_of(ms(opens - offset), of) for opens, of in groups.items()]


def stream_of(seed: int) -> Stream:
    """Trades within four minutes of each of the moments, some at the same time, some stamped earlier than the last."""
    chance, stream = random.Random(seed), Stream()  # noqa: S311
    for begins in MOMENTS:
        at = begins
        for _ in range(AT_EACH):
            at += timedelta(milliseconds=chance.choice([0, 1, chance.randint(-400, 15_000), chance.randint(0, 1_000)]))
            stream.happen(
                ms(at),
                trades=[(chance.randint(90, 110), chance.randint(1, 50)) for _ in range(chance.randint(1, 3))],
                taker_side=chance.choice([v1.Side.SIDE_BUY, v1.Side.SIDE_SELL]),
            )
    return stream


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of the process."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def history(tmp_path: Path) -> Iterator[SqliteHistory]:
    made = SqliteHistory(tmp_path / "history.sqlite")
    yield made
    made.close()


def parts(zone: str) -> Iterator[list[v1.Events]]:
    """Of a stream, moment by moment."""
    deliveries = stream_of(len(zone)).deliveries
    ends = range(DEFINITIONS, len(deliveries) + 1, AT_EACH)
    yield deliveries[:DEFINITIONS]
    for begin, end in itertools.pairwise(ends):
        yield deliveries[begin:end]


def play(shard: Shard, history: SqliteHistory, deliveries: list[v1.Events]) -> list[Trade]:
    """Its trades; all of it is stored."""
    for delivery in deliveries:
        shard.apply(delivery)
    trades = list(shard.markets[SYMBOL].record.trades)
    history.write(SHARD, shard.take_batch())
    return trades


def test_every_candle_is_what_calendar_and_trades_say(zone: str, history: SqliteHistory) -> None:
    shard = Shard(SHARD)
    trades = [trade for part in parts(zone) for trade in play(shard, history, part)]
    assert len(trades) > len(MOMENTS) * AT_EACH
    for interval, offset in itertools.product(Interval, OFFSETS):
        kept: dict[int, Candle] = {}
        for moment in MOMENTS:
            # A question is answered with a thousand candles at most, of which most are empty.
            end_ms = ms(moment + timedelta(minutes=10))
            wanted = CandlesWanted(interval, ROWS_MOST, end_ms=end_ms, offset_ms=offset // timedelta(milliseconds=1))
            found = queries.stored_candles(history, SYMBOL, wanted, end_ms)
            assert len(found) <= ROWS_MOST
            kept |= {candle.open_ms: candle for candle in found if candle.trades}
            assert all(candle.high == candle.low == candle.close for candle in found if not candle.trades)
        assert [kept[opened_ms] for opened_ms in sorted(kept)] == naive(trades, interval, offset), interval


def test_windows_are_what_the_trades_in_them_say(zone: str, history: SqliteHistory) -> None:
    shard, latest = Shard(SHARD), EPOCH
    stamped: list[tuple[datetime, Trade]] = []
    compared = 0
    for part in parts(zone):
        for trade in play(shard, history, part):
            latest = max(latest, opened(Interval.M1, moment_of(trade)))
            stamped.append((latest, trade))
        for later, length in itertools.product(LATER, WINDOWS):
            now = latest + later
            begins = now - length
            window = queries.stored_window(history, SYMBOL, ms(begins), ms(now) - 1, ms(now) - 1)
            within = [trade for minute, trade in stamped if begins <= minute < now]
            before = [trade.price_ticks for minute, trade in stamped if minute < begins]
            assert window.previous_close == (before[-1] if before else 0)
            if within:
                compared += 1
                assert window.total == made_of(window.total.open_ms, within)
            else:
                assert (window.total.trades, window.total.close) == (0, window.previous_close)
    assert compared > len(MOMENTS) * len(WINDOWS)
