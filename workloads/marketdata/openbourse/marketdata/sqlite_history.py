"""A history in one SQLite file: the default of `openbourse local`. Decides nothing about what it keeps.

One connection writes, one reads; each has its lock, so that any thread may call. A reader never waits for a writer.
"""

import sqlite3
import threading
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from openbourse.contracts import v1
from openbourse.contracts.units import SymbolUnits
from openbourse.marketdata import sqlite_accounts
from openbourse.marketdata.candles import Candle
from openbourse.marketdata.errors import Diverged, TooOld
from openbourse.marketdata.history import AggregatesWanted, OrdersWanted, PreventedWanted, require_limit
from openbourse.marketdata.intervals import Interval
from openbourse.marketdata.market import MINUTES_KEPT_MS, Market, Numbers
from openbourse.marketdata.shard import Batch, Shard, Watermark
from openbourse.marketdata.trades import AggregateTrade, Trade

CANDLE = "open_ms, open, high, low, close, lots, quote_units, trades, taker_lots, taker_quote_units, first_id, last_id"
TRADE = "trade_id, price_ticks, quantity_lots, quote_units, time_us, buyer_is_maker"
AGGREGATE = "aggregate_id, price_ticks, quantity_lots, first_id, last_id, time_us, buyer_is_maker"
# Of the file. 0, without orders, is what the first ones were; 1 kept volumes in 64 bits, 2 one order of an id, 3 not
# where the trades of a symbol from another shard go on: these are brought up to date.
FORMAT = 4
# Longer than any write of ours takes; nobody else writes.
BUSY_S = 5.0
# A month of minutes: what a candle in another time zone may be made of, a thousand times.
CANDLES_MOST = 1_000_000


class SqliteHistory:
    def __init__(self, path: Path) -> None:
        """Raises TooOld."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _opened(path)
        self._writer.executescript(files(__package__).joinpath("sql/schema.sql").read_text())
        sqlite_accounts.create(self._writer)
        _bring_up_to_date(self._writer, path)
        # The indexes of a table that was made anew.
        sqlite_accounts.create(self._writer)
        self._reader = _opened(path)
        self._writing, self._reading = threading.Lock(), threading.Lock()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def write(self, shard: str, batch: Batch) -> None:
        mark = batch.watermark
        with self._writing, self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            found = self._writer.execute("SELECT seq FROM watermark WHERE shard = ?", (shard,)).fetchone()
            if found is not None and found[0] > mark.seq:
                raise Diverged(f"the history of shard {shard} is at {found[0]} already, not before {mark.seq}")
            self._write("watermark", 4, [(shard, mark.seq, mark.session_epoch, mark.time_us)])
            if batch.begins_seq > 1:
                self._write("beginning", 2, [(shard, batch.begins_seq)])
            self._write("assets", 2, batch.scales.items())
            self._write(
                "symbols",
                6,
                (
                    (name, definition.SerializeToString(), *batch.numbers[name])
                    for name, definition in batch.definitions.items()
                ),
            )
            for symbol, record in batch.records.items():
                self._write("trades", 7, ((symbol, *_trade_values(trade)) for trade in record.trades))
                self._write("aggregates", 8, ((symbol, *_aggregate_values(trade)) for trade in record.aggregates))
                self._write(
                    "candles",
                    14,
                    (
                        (symbol, interval.value, opened_ms, *_candle_values(candle))
                        for (interval, opened_ms), candle in record.candles.items()
                    ),
                )
                self._write("levels", 4, ((symbol, *level, lots) for level, lots in record.levels.items() if lots))
                self._writer.executemany(
                    "DELETE FROM levels WHERE symbol = ? AND side = ? AND price_ticks = ?",
                    [(symbol, *level) for level, lots in record.levels.items() if not lots],
                )
            sqlite_accounts.write(self._writer, batch.accounts)

    def _write(self, table: str, columns: int, rows: Iterable[tuple[object, ...]]) -> None:
        places = ", ".join("?" * columns)
        self._writer.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)  # noqa: S608 - names of ours

    def load(self, shard: str) -> Shard:
        loaded = Shard(shard)
        marks = self._rows("SELECT shard, seq, session_epoch, time_us FROM watermark")
        if not marks:
            return loaded
        [(kept, *mark)] = marks
        if str(kept) != shard:
            raise Diverged(f"the history is of shard {kept}, not of {shard}")
        loaded.watermark = Watermark(*mark)
        for (begins_seq,) in self._rows("SELECT seq FROM beginning"):
            loaded.begins_seq = begins_seq
        loaded.scales = {str(asset): scale for asset, scale in self._rows("SELECT asset, scale FROM assets")}
        with self._reading:
            sqlite_accounts.load(self._reader, loaded.accounts)
        for definition_bytes, update_id, trade_id, aggregate_id, is_here in self._rows(
            "SELECT definition, update_id, last_trade_id, last_aggregate_id, is_here FROM symbols"
        ):
            definition = v1.SymbolDefinition.FromString(definition_bytes)
            market = Market(definition, SymbolUnits.of(definition, loaded.scales))
            market.go_on(Numbers(update_id, trade_id, aggregate_id, bool(is_here)))
            self._load(market)
            loaded.markets[market.symbol] = market
        return loaded

    def _load(self, market: Market) -> None:
        symbol = market.symbol
        for side, price, lots in self._rows(
            "SELECT side, price_ticks, quantity_lots FROM levels WHERE symbol = ?", symbol
        ):
            market.book.side(side).set(price, lots)
        for last in self.trades(symbol, 1, None):
            # Else it is from before the symbol was in another shard.
            if market.last_trade_id in (last.trade_id, None):
                market.last_trade = last
        for interval in Interval:
            query = f"SELECT {CANDLE} FROM candles WHERE symbol = ? AND interval = ? ORDER BY open_ms DESC LIMIT 1"  # noqa: S608
            for row in self._rows(query, symbol, interval.value):
                market.candles[interval] = _candle(*row)
                market.opened_ms[interval] = row[0]
        minute = market.candles.get(Interval.M1)
        if minute is not None:
            from_ms = minute.open_ms - MINUTES_KEPT_MS
            market.minutes.extend(self.candles(symbol, Interval.M1, from_ms, minute.open_ms + 1))
            before = self.minute_before(symbol, from_ms)
            market.previous_close = None if before is None else before.close

    def trades(self, symbol: str, limit: int, from_id: int | None) -> list[Trade]:
        require_limit(limit)
        if from_id is not None:
            query = f"SELECT {TRADE} FROM trades WHERE symbol = ? AND trade_id >= ? ORDER BY trade_id LIMIT ?"  # noqa: S608
            rows = self._rows(query, symbol, from_id, limit)
        else:
            query = f"SELECT {TRADE} FROM trades WHERE symbol = ? ORDER BY trade_id DESC LIMIT ?"  # noqa: S608
            rows = self._rows(query, symbol, limit)[::-1]
        return [_trade(*row) for row in rows]

    def aggregates(self, symbol: str, wanted: AggregatesWanted) -> list[AggregateTrade]:
        require_limit(wanted.limit)
        conditions: list[str] = ["symbol = ?"]
        values: list[object] = [symbol]
        for condition, value in (
            ("aggregate_id >= ?", wanted.from_id),
            ("time_us >= ?", wanted.start_us),
            ("time_us <= ?", wanted.end_us),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        latest = wanted.from_id is None and wanted.start_us is None
        columns = ["aggregate_id"] if wanted.start_us is None and wanted.end_us is None else ["time_us", "aggregate_id"]
        order = ", ".join(f"{column} DESC" if latest else column for column in columns)
        query = f"SELECT {AGGREGATE} FROM aggregates WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"  # noqa: S608
        rows = self._rows(query, *values, wanted.limit)
        found = [_aggregate(*row) for row in rows]
        return found[::-1] if latest else found

    def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> list[Candle]:
        query = f"""SELECT {CANDLE} FROM candles WHERE symbol = ? AND interval = ? AND open_ms >= ? AND open_ms < ?
            ORDER BY open_ms LIMIT ?"""  # noqa: S608
        rows = self._rows(query, symbol, interval.value, start_ms, end_ms, CANDLES_MOST)
        return [_candle(*row) for row in rows]

    def minute_before(self, symbol: str, time_ms: int) -> Candle | None:
        query = f"""SELECT {CANDLE} FROM candles WHERE symbol = ? AND interval = ? AND open_ms < ?
            ORDER BY open_ms DESC LIMIT 1"""  # noqa: S608
        rows = self._rows(query, symbol, Interval.M1.value, time_ms)
        return _candle(*rows[0]) if rows else None

    def first_candle_ms(self, symbol: str, interval: Interval) -> int | None:
        query = "SELECT open_ms FROM candles WHERE symbol = ? AND interval = ? ORDER BY open_ms LIMIT 1"
        rows = self._rows(query, symbol, interval.value)
        return rows[0][0] if rows else None

    def orders(self, wanted: OrdersWanted) -> list[v1.OrderRecord]:
        return sqlite_accounts.orders(self._rows, wanted)

    def order(self, account: int, symbol: str, order_id: int | None, client_order_id: str) -> v1.OrderRecord | None:
        return sqlite_accounts.order(self._rows, account, symbol, order_id, client_order_id)

    def prevented(self, wanted: PreventedWanted) -> list[v1.PreventedMatch]:
        return sqlite_accounts.prevented(self._rows, wanted)


def _bring_up_to_date(writer: sqlite3.Connection, path: Path) -> None:
    """Raises TooOld."""
    [(found,)] = writer.execute("PRAGMA user_version")
    while 1 <= found < FORMAT:
        writer.executescript(files(__package__).joinpath(f"sql/format_{found + 1}.sql").read_text())
        [(found,)] = writer.execute("PRAGMA user_version")
    if found != FORMAT and writer.execute("SELECT 1 FROM watermark").fetchone():
        raise TooOld(
            f"{path} is a history of format {found}, not {FORMAT}: remove it, and it is made anew from the log"
        )
    writer.execute(f"PRAGMA user_version = {FORMAT}")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # The engine is told that it need not keep what is written here.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _trade(*row: int) -> Trade:
    trade_id, ticks, lots, quote_units, time_us, buyer_is_maker = row
    return Trade(trade_id, ticks, lots, quote_units, time_us, bool(buyer_is_maker))


def _aggregate(*row: int) -> AggregateTrade:
    aggregate_id, ticks, lots, first_id, last_id, time_us, buyer_is_maker = row
    return AggregateTrade(aggregate_id, ticks, lots, first_id, last_id, time_us, bool(buyer_is_maker))


def _candle(*row: Any) -> Candle:
    opened_ms, first, high, low, last, lots, quote_units, trades, taker_lots, taker_quote_units, *ids = row
    volumes = int(lots), int(quote_units), trades, int(taker_lots), int(taker_quote_units)
    return Candle(opened_ms, first, high, low, last, *volumes, *ids)


def _trade_values(of: Trade) -> tuple[int, ...]:
    return of.trade_id, of.price_ticks, of.quantity_lots, of.quote_units, of.time_us, of.buyer_is_maker


def _aggregate_values(of: AggregateTrade) -> tuple[int, ...]:
    return (
        *(of.aggregate_id, of.price_ticks, of.quantity_lots),
        *(of.first_id, of.last_id, of.time_us, of.buyer_is_maker),
    )


def _candle_values(of: Candle) -> tuple[int | str, ...]:
    """Volumes are sums of whatever many trades: text, for SQLite's integers end at 2^63."""
    return (
        *(of.open, of.high, of.low, of.close, str(of.lots), str(of.quote_units)),
        *(of.trades, str(of.taker_lots), str(of.taker_quote_units), of.first_id, of.last_id),
    )
