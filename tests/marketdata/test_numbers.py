"""Books, candles, aggregates and tickers against the slowest way to get them: from all trades and deltas, each time."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.market_streams import START_MS, SYMBOL, Stream
from openbourse.contracts import v1
from openbourse.marketdata import tickers
from openbourse.marketdata.candles import Candle, rolled_up
from openbourse.marketdata.intervals import DAY_MS, HOUR_MS, MINUTE_MS, Interval, next_open_ms, open_ms
from openbourse.marketdata.market import Market
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.trades import Trade

BID, ASK = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL


@dataclass(frozen=True)
class Step:
    wait_ms: int
    trades: list[tuple[int, int]]
    levels: list[tuple[v1.Side.ValueType, int, int]]
    taker_side: v1.Side.ValueType


# Waits reach back a little, as a clock that was set does, and on over days.
WAITS = st.one_of(st.integers(-500, 3_000), st.integers(0, 3 * MINUTE_MS), st.integers(0, 20 * HOUR_MS))
STEPS = st.lists(
    st.builds(
        Step,
        WAITS,
        st.lists(st.tuples(st.integers(1, 6), st.integers(1, 50)), max_size=4),
        st.lists(st.tuples(st.sampled_from([BID, ASK]), st.integers(1, 12), st.integers(0, 3)), max_size=4),
        st.sampled_from([BID, ASK]),
    ),
    max_size=40,
)


def played(steps: list[Step]) -> tuple[Shard, Stream, int]:
    """The shard, what it was told, and the time of the last step."""
    stream, shard, now_ms = Stream(), Shard("main"), START_MS
    for step in steps:
        now_ms += step.wait_ms
        stream.happen(now_ms, trades=step.trades, levels=step.levels, taker_side=step.taker_side)
    for delivery in stream.deliveries:
        shard.apply(delivery)
    return shard, stream, now_ms


def market_of(shard: Shard) -> Market:
    return shard.markets[SYMBOL]


def naive_candles(trades: list[Trade], interval: Interval) -> list[Candle]:
    """A clock that goes back does not open a candle again."""
    latest, rows = 0, list[tuple[int, Trade]]()
    for trade in trades:
        latest = max(latest, open_ms(interval, trade.time_us // 1000))
        rows.append((latest, trade))
    return [
        naive_candle(opened, [trade for _, trade in group]) for opened, group in itertools.groupby(rows, lambda r: r[0])
    ]


def naive_candle(opened_ms: int, trades: list[Trade]) -> Candle:
    prices = [trade.price_ticks for trade in trades]
    bought = [trade for trade in trades if not trade.buyer_is_maker]
    return Candle(
        opened_ms,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(trade.quantity_lots for trade in trades),
        sum(trade.quote_units for trade in trades),
        len(trades),
        sum(trade.quantity_lots for trade in bought),
        sum(trade.quote_units for trade in bought),
        trades[0].trade_id,
        trades[-1].trade_id,
    )


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_every_candle_is_what_its_trades_make(steps: list[Step]) -> None:
    shard, _, _ = played(steps)
    record = market_of(shard).record
    for interval in Interval:
        kept = [candle for (of, _), candle in sorted(record.candles.items()) if of is interval]
        assert kept == naive_candles(record.trades, interval)


@given(STEPS, st.sampled_from([0, 8 * HOUR_MS, -5 * HOUR_MS, 345 * MINUTE_MS]))
@settings(max_examples=60, deadline=None)
def test_minutes_add_up_to_every_longer_candle(steps: list[Step], offset_ms: int) -> None:
    shard, _, _ = played([step for step in steps if step.wait_ms >= 0])
    record = market_of(shard).record
    minutes = [candle for (of, _), candle in sorted(record.candles.items()) if of is Interval.M1]
    for interval in list(Interval)[1:]:
        rolled = list(rolled_up(minutes, interval, offset_ms))
        for candle, following in itertools.pairwise(rolled):
            assert next_open_ms(interval, candle.open_ms, offset_ms) <= following.open_ms
        opened = [open_ms(interval, trade.time_us // 1000, offset_ms) for trade in record.trades]
        grouped = itertools.groupby(zip(opened, record.trades, strict=True), itemgetter(0))
        assert rolled == [naive_candle(opens, [trade for _, trade in rows]) for opens, rows in grouped]


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_the_book_is_what_the_last_word_on_each_level_says(steps: list[Step]) -> None:
    shard, stream, _ = played(steps)
    book = market_of(shard).book
    for side, levels, sign in ((BID, book.bids, -1), (ASK, book.asks, 1)):
        last = {
            event.book_delta.price_ticks: event.book_delta.quantity_lots
            for delivery in stream.deliveries
            for event in delivery.events
            if event.HasField("book_delta") and event.book_delta.side == side
        }
        naive = sorted(((ticks, lots) for ticks, lots in last.items() if lots), key=lambda level: sign * level[0])
        assert levels.top(5_000) == naive
        assert levels.top(2) == naive[:2]
        assert levels.best() == (naive[0] if naive else None)
    assert book.update_id == stream.update_id


@given(STEPS, st.sampled_from(list(tickers.STREAM_WINDOWS_MS.values())))
@settings(max_examples=150, deadline=None)
def test_a_ticker_is_what_the_trades_of_its_window_make(steps: list[Step], length_ms: int) -> None:
    shard, _, now_ms = played([step for step in steps if step.wait_ms >= 0])
    market = market_of(shard)
    trades = market.record.trades
    window = tickers.recent_window(market, length_ms, now_ms)
    assert window.opened_ms % MINUTE_MS == 0
    assert length_ms - 1 <= now_ms - window.opened_ms < length_ms + MINUTE_MS
    within = [trade for trade in trades if trade.time_us // 1000 >= window.opened_ms]
    before = [trade.price_ticks for trade in trades if trade.time_us // 1000 < window.opened_ms]
    assert window.previous_close == (before[-1] if before else 0)
    if within:
        assert window.total == naive_candle(window.total.open_ms, within)
    else:
        assert (window.total.close, window.total.trades, window.total.first_id) == (window.previous_close, 0, -1)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_aggregates_have_every_trade_once_and_one_order_and_price_each(steps: list[Step]) -> None:
    shard, _, _ = played(steps)
    record = market_of(shard).record
    ids = [trade_id for of in record.aggregates for trade_id in range(of.first_id, of.last_id + 1)]
    assert ids == [trade.trade_id for trade in record.trades]
    assert [of.aggregate_id for of in record.aggregates] == list(range(1, len(record.aggregates) + 1))
    trades = {trade.trade_id: trade for trade in record.trades}
    for of in record.aggregates:
        parts = [trades[trade_id] for trade_id in range(of.first_id, of.last_id + 1)]
        assert {part.price_ticks for part in parts} == {of.price_ticks}
        assert sum(part.quantity_lots for part in parts) == of.quantity_lots


def opens(interval: Interval, start_ms: int, end_ms: int) -> Iterator[int]:
    opened_ms = open_ms(interval, start_ms)
    while opened_ms < end_ms:
        yield opened_ms
        opened_ms = next_open_ms(interval, opened_ms)


def test_months_and_weeks_open_where_the_calendar_says() -> None:
    # 2028 has a February of 29 days.
    months = list(opens(Interval.MO1, 1_830_297_600_000, 1_830_297_600_000 + 366 * DAY_MS))
    lengths = [(following - opened) // DAY_MS for opened, following in itertools.pairwise(months)]
    assert lengths == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30]
    assert all((opened // DAY_MS + 3) % 7 == 0 for opened in opens(Interval.W1, START_MS, START_MS + 70 * DAY_MS))
    # Midnight of 1 March in UTC+8 is 16:00 of the last day of February in UTC.
    opened = open_ms(Interval.MO1, 1_835_452_800_000, 8 * HOUR_MS)
    assert (opened + 8 * HOUR_MS) % DAY_MS == 0


def test_the_minute_that_a_window_begins_with_is_in_it_and_not_before_it() -> None:
    stream, shard = Stream(), Shard("main")
    for at_ms, ticks in ((START_MS - MINUTE_MS, 3), (START_MS, 5)):
        stream.happen(at_ms, trades=[(ticks, 1)])
    for delivery in stream.deliveries:
        shard.apply(delivery)
    window = tickers.recent_window(market_of(shard), HOUR_MS, START_MS + HOUR_MS - 1)
    assert (window.opened_ms, window.total.open, window.previous_close) == (START_MS, 5, 3)
