"""What is stored is what the stream made: the same after a restart, whenever it comes; what goes back is refused."""

import dataclasses
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.market_streams import SHARD, START_MS, SYMBOL, Stream
from openbourse.contracts import v1
from openbourse.marketdata import publish, queries, tickers, words
from openbourse.marketdata.errors import Diverged, Invalid, StaleSession, TooOld
from openbourse.marketdata.history import AggregatesWanted
from openbourse.marketdata.intervals import DAY_MS, HOUR_MS, MINUTE_MS, Interval
from openbourse.marketdata.queries import CandlesWanted
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.sqlite_history import SqliteHistory

BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL


def busy() -> Stream:
    """Two days with a pause of one, candles of every length, a book that moves."""
    stream = Stream()
    for number in range(240):
        at_ms = START_MS + number * 11 * MINUTE_MS + (DAY_MS if number > 100 else 0)
        ticks = 100 + number * 7 % 13
        stream.happen(
            at_ms,
            trades=[(ticks, 1 + number % 5), (ticks, 2), (ticks + 1, 3)][: number % 4],
            levels=[(BUY, 90 + number % 7, number % 3), (SELL, 120 + number % 5, 1 + number % 2)],
            taker_side=BUY if number % 2 else SELL,
        )
    return stream


def told(shard: Shard, history: SqliteHistory, now_ms: int) -> list[object]:
    """All that anybody can be told of the shard."""
    market = shard.markets[SYMBOL]
    market.take_told()
    every = [
        queries.stored_candles(history, SYMBOL, CandlesWanted(interval, 1_000, offset_ms=offset_ms), now_ms)
        for interval in Interval
        for offset_ms in (0, 8 * HOUR_MS)
    ]
    return [
        list(publish.slow(market, now_ms)),
        list(publish.tickers_of([market], now_ms)),
        words.day_row(market, queries.stored_window(history, SYMBOL, now_ms - 7 * DAY_MS, now_ms, now_ms), int),
        history.trades(SYMBOL, 1_000, 1),
        history.aggregates(SYMBOL, AggregatesWanted(1_000)),
        every,
        dataclasses.astuple(shard.watermark),
        market.last_aggregate_id,
    ]


@given(st.sets(st.integers(1, 241), max_size=4))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_restarts_change_nothing(tmp_path_factory: pytest.TempPathFactory, restarts: set[int]) -> None:
    deliveries, folder = busy().deliveries, tmp_path_factory.mktemp("histories")
    now_ms = START_MS + 4 * DAY_MS
    outcomes = []
    for name, at in (("through", set[int]()), ("restarted", restarts)):
        history = SqliteHistory(folder / f"{name}.sqlite")
        shard = history.load(SHARD)
        for number, delivery in enumerate(deliveries):
            shard.apply(delivery)
            if number in at:
                history.write(SHARD, shard.take_batch())
                history.close()
                history = SqliteHistory(folder / f"{name}.sqlite")
                shard = history.load(SHARD)
        # What only the slow pace gathers is not a matter of the state.
        shard.markets[SYMBOL].slow_changes.take()
        history.write(SHARD, shard.take_batch())
        outcomes.append(told(shard, history, now_ms))
        history.close()
    assert outcomes[0] == outcomes[1]


def test_a_crash_before_a_batch_is_written_is_made_good_from_the_stream(tmp_path: Path) -> None:
    deliveries = busy().deliveries
    history = SqliteHistory(tmp_path / "history.sqlite")
    shard = history.load(SHARD)
    for delivery in deliveries[:100]:
        shard.apply(delivery)
    history.write(SHARD, shard.take_batch())
    for delivery in deliveries[100:150]:
        shard.apply(delivery)
    # Never written.
    shard.take_batch()
    again = history.load(SHARD)
    assert again.watermark.seq == 100
    for delivery in deliveries[100:]:
        again.apply(delivery)
    history.write(SHARD, again.take_batch())
    assert [trade.trade_id for trade in history.trades(SYMBOL, 1_000, 1)] == list(range(1, 361))
    history.close()


def test_an_older_batch_is_not_written_over_a_newer_one(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "history.sqlite")
    shards = [Shard(SHARD), Shard(SHARD)]
    for shard, count in zip(shards, (10, 5), strict=True):
        for delivery in busy().deliveries[:count]:
            shard.apply(delivery)
    history.write(SHARD, shards[0].take_batch())
    with pytest.raises(Diverged, match="is at 10 already, not before 5"):
        history.write(SHARD, shards[1].take_batch())
    history.close()


def test_a_stream_that_goes_back_or_leaves_out_is_refused() -> None:
    deliveries = busy().deliveries
    shard = Shard(SHARD)
    for delivery in deliveries[:5]:
        shard.apply(delivery)
    for wrong in (deliveries[4], deliveries[6]):
        with pytest.raises(Diverged, match="5 was the last"):
            shard.apply(wrong)


def test_a_stream_of_an_older_leader_is_refused() -> None:
    deliveries = busy().deliveries
    shard = Shard(SHARD)
    deliveries[0].epoch = 3
    shard.apply(deliveries[0])
    with pytest.raises(StaleSession, match="comes from epoch 1, epoch 3 was heard before"):
        shard.apply(deliveries[1])


def test_a_book_update_or_a_trade_that_is_missing_is_noticed() -> None:
    for what, said in (("update_id", "book update 3 came after 1"), ("trade_id", "trade 2 of BTCUSDT came after 0")):
        stream = Stream()
        if what == "update_id":
            stream.happen(START_MS, levels=[(BUY, 1, 1)])
        setattr(stream, what, getattr(stream, what) + 1)
        stream.happen(START_MS, levels=[(BUY, 2, 1)], trades=[(1, 1)] if what == "trade_id" else [])
        shard = Shard(SHARD)
        with pytest.raises(Diverged, match=said):
            for delivery in stream.deliveries:
                shard.apply(delivery)


def stored(tmp_path: Path, *trades_at_ms: int) -> SqliteHistory:
    stream, shard = Stream(), Shard(SHARD)
    for number, at_ms in enumerate(trades_at_ms):
        stream.happen(at_ms, trades=[(100 + number, 1)])
    for delivery in stream.deliveries:
        shard.apply(delivery)
    history = SqliteHistory(tmp_path / "history.sqlite")
    history.write(SHARD, shard.take_batch())
    return history


def test_minutes_without_trades_have_the_price_before_them(tmp_path: Path) -> None:
    history = stored(tmp_path, START_MS + 30_000, START_MS + 5 * MINUTE_MS)
    now_ms = START_MS + 7 * MINUTE_MS
    found = queries.stored_candles(history, SYMBOL, CandlesWanted(Interval.M1, 500), now_ms)
    assert [(candle.open_ms, candle.open, candle.close, candle.trades) for candle in found] == [
        (START_MS + minute * MINUTE_MS, *((101, 101) if minute >= 5 else (100, 100)), int(minute in (0, 5)))
        for minute in range(8)
    ]
    # The first trade in it, and the last one before its end: who joins them with another shard's looks at that.
    ids = [(1, 1), *[(-1, 1)] * 4, (2, 2), (-1, 2), (-1, 2)]
    assert queries.trade_ids(history, SYMBOL, found) == ids
    assert queries.trade_ids(history, SYMBOL, found[6:]) == ids[6:]
    later = CandlesWanted(Interval.M1, 2, start_ms=START_MS + MINUTE_MS + 1)
    assert [c.open_ms for c in queries.stored_candles(history, SYMBOL, later, now_ms)] == [
        START_MS + 2 * MINUTE_MS,
        START_MS + 3 * MINUTE_MS,
    ]
    assert queries.stored_candles(history, SYMBOL, CandlesWanted(Interval.M1, 5, end_ms=START_MS - 1), now_ms) == []
    history.close()


def test_no_question_is_answered_with_more_than_a_thousand_rows(tmp_path: Path) -> None:
    history = stored(tmp_path, START_MS)
    for limit in (0, 1_001):
        with pytest.raises(Invalid, match="limit is 1 to 1000"):
            history.trades(SYMBOL, limit, None)
    history.close()


def test_aggregates_are_found_by_id_by_time_and_from_the_end(tmp_path: Path) -> None:
    history = stored(tmp_path, *(START_MS + number * 1_000 for number in range(10)))

    def ids(wanted: AggregatesWanted) -> list[int]:
        return [of.aggregate_id for of in history.aggregates(SYMBOL, wanted)]

    assert ids(AggregatesWanted(3)) == [8, 9, 10]
    assert ids(AggregatesWanted(3, from_id=4)) == [4, 5, 6]
    assert ids(AggregatesWanted(3, start_us=(START_MS + 1_500) * 1_000)) == [3, 4, 5]
    assert ids(AggregatesWanted(3, end_us=(START_MS + 4_000) * 1_000)) == [3, 4, 5]
    history.close()


def test_the_price_before_the_last_day_is_known_after_a_restart(tmp_path: Path) -> None:
    history = stored(tmp_path, START_MS, START_MS + 2 * DAY_MS)
    market = history.load(SHARD).markets[SYMBOL]
    window = tickers.recent_window(market, DAY_MS, START_MS + 2 * DAY_MS)
    assert (window.previous_close, window.total.close) == (100, 101)
    history.close()


# Each trade is 4.7 * 10^18 min-units: two of them are more than 2^63.
GREAT_TICKS, GREAT_LOTS = 10**9, 470_000_000


def great(tmp_path: Path) -> tuple[SqliteHistory, Shard]:
    stream, shard = Stream(), Shard(SHARD)
    for number in range(8):
        stream.happen(START_MS + number, trades=[(GREAT_TICKS, GREAT_LOTS)], taker_side=SELL if number % 4 else BUY)
    for delivery in stream.deliveries:
        shard.apply(delivery)
    return SqliteHistory(tmp_path / "history.sqlite"), shard


def test_a_volume_of_more_than_64_bits_is_stored_and_read_as_it_is(tmp_path: Path) -> None:
    history, shard = great(tmp_path)
    history.write(SHARD, shard.take_batch())
    quote_units = 8 * GREAT_TICKS * GREAT_LOTS * 10
    assert quote_units > 2**64
    for interval in Interval:
        wanted = CandlesWanted(interval, 1, end_ms=START_MS)
        [candle] = queries.stored_candles(history, SYMBOL, wanted, START_MS + MINUTE_MS)
        assert (candle.quote_units, candle.taker_quote_units) == (quote_units, quote_units // 4)
        assert (candle.lots, candle.taker_lots) == (8 * GREAT_LOTS, 2 * GREAT_LOTS)
    loaded = history.load(SHARD).markets[SYMBOL]
    assert loaded.candles == shard.markets[SYMBOL].candles
    row = words.day_row(loaded, tickers.recent_window(loaded, DAY_MS, START_MS + 1_000), int)
    assert row["quoteVolume"] == "376000000000.00000000"
    history.close()


def test_a_history_whose_volumes_had_64_bits_is_brought_up_to_date(tmp_path: Path) -> None:
    history, shard = stored(tmp_path, START_MS, START_MS + MINUTE_MS), Shard(SHARD)
    found = history.candles(SYMBOL, Interval.M1, START_MS, START_MS + DAY_MS)
    history.close()
    path = tmp_path / "history.sqlite"
    old = sqlite3.connect(path)
    # As format 1 had them.
    [(schema,)] = old.execute("SELECT sql FROM sqlite_schema WHERE name = 'candles'")
    old.executescript(
        "ALTER TABLE candles RENAME TO kept;"
        + schema.replace("TEXT NOT NULL", "INTEGER NOT NULL")
        .replace("symbol INTEGER", "symbol TEXT")
        .replace("interval INTEGER", "interval TEXT")
        + "; INSERT INTO candles SELECT * FROM kept; DROP TABLE kept; PRAGMA user_version = 1;"
    )
    assert old.execute("SELECT typeof(lots) FROM candles LIMIT 1").fetchone() == ("integer",)
    old.close()
    for _ in range(2):
        again = SqliteHistory(path)
        assert again.candles(SYMBOL, Interval.M1, START_MS, START_MS + DAY_MS) == found
        shard = again.load(SHARD)
        again.close()
    assert shard.watermark.seq == 4


def test_a_history_in_which_an_id_was_one_orders_alone_is_brought_up_to_date(tmp_path: Path) -> None:
    path, order = (
        tmp_path / "history.sqlite",
        v1.Order(order_id=7, account=1001, symbol=SYMBOL, status=v1.OrderStatus.ORDER_STATUS_NEW),
    )
    record = v1.OrderRecord(order=order).SerializeToString()
    SqliteHistory(path).close()
    old = sqlite3.connect(path)
    # As format 2 had them.
    [(schema,)] = old.execute("SELECT sql FROM sqlite_schema WHERE name = 'orders'")
    narrow = schema.replace("order_id INTEGER NOT NULL", "order_id INTEGER PRIMARY KEY")
    narrow = narrow.replace(",\n    PRIMARY KEY (symbol, order_id)", "")
    assert "PRIMARY KEY (" not in narrow
    old.executescript(f"DROP TABLE orders; {narrow}; PRAGMA user_version = 2;")
    with old:
        old.execute("INSERT INTO orders VALUES (7, 1001, ?, 'mine', 1, 1, ?)", (SYMBOL, record))
    old.close()
    for _ in range(2):
        again = SqliteHistory(path)
        loaded = again.load(SHARD)
        found = again.order(1001, SYMBOL, None, "mine")
        indexes = {row[0] for row in again._rows("SELECT name FROM sqlite_schema WHERE type = 'index'")}
        again.close()
        assert found is not None
        assert found.order == order
        assert {"orders_by_id", "orders_by_time", "orders_by_name", "orders_open"} <= indexes
    assert loaded.watermark.seq == 0


@pytest.mark.parametrize("was_elsewhere", [False, True])
def test_a_history_that_did_not_say_where_trades_go_on_is_brought_up_to_date(
    tmp_path: Path, was_elsewhere: bool
) -> None:
    stored(tmp_path, START_MS, START_MS + MINUTE_MS).close()
    path = tmp_path / "history.sqlite"
    old = sqlite3.connect(path)
    # As format 3 had it.
    old.executescript(
        """
        CREATE TABLE kept AS SELECT symbol, definition, update_id, last_aggregate_id FROM symbols;
        DROP TABLE symbols;
        CREATE TABLE symbols (
            symbol TEXT PRIMARY KEY, definition BLOB NOT NULL,
            update_id INTEGER NOT NULL, last_aggregate_id INTEGER NOT NULL
        ) STRICT;
        INSERT INTO symbols SELECT * FROM kept;
        DROP TABLE kept;
        CREATE TABLE partial (symbol TEXT PRIMARY KEY) STRICT;
        PRAGMA user_version = 3;
        """
    )
    with old:
        old.executemany("INSERT INTO partial VALUES (?)", [(SYMBOL,)] if was_elsewhere else [])
    old.close()
    for _ in range(2):
        again = SqliteHistory(path)
        market = again.load(SHARD).markets[SYMBOL]
        [last] = again.trades(SYMBOL, 1, None)
        again.close()
        assert market.last_trade == last
        assert market.last_trade_id == (None if was_elsewhere else last.trade_id)
        assert market.is_here


def test_a_history_of_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    stored(tmp_path, START_MS).close()
    path = tmp_path / "history.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 5")
    connection.close()
    with pytest.raises(TooOld, match=r"history.sqlite is a history of format 5, not 4: remove it"):
        SqliteHistory(path)
