"""One symbol's market data: a pure function of its events. No clock, no I/O.

What changed and is not stored yet is gathered in a `Record`; what streams tell is asked for: `told`, `Changes`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from openbourse.contracts import v1
from openbourse.contracts.units import SymbolUnits
from openbourse.marketdata.book import Book, Changes
from openbourse.marketdata.candles import Candle, empty, joined, of_trade
from openbourse.marketdata.errors import Diverged
from openbourse.marketdata.intervals import DAY_MS, MINUTE_MS, Interval, next_open_ms, open_ms
from openbourse.marketdata.trades import AggregateTrade, Trade, aggregated, trade_of

# What the longest ticker of a stream looks at; longer windows are asked of the store.
MINUTES_KEPT_MS = DAY_MS + MINUTE_MS


@dataclass(slots=True)
class Record:
    """What happened to a symbol since the last time that it was stored."""

    trades: list[Trade] = field(default_factory=list)
    aggregates: list[AggregateTrade] = field(default_factory=list)
    # By (interval, open time): as they are now.
    candles: dict[tuple[Interval, int], Candle] = field(default_factory=dict)
    # By (side, price): as they are now.
    levels: dict[tuple[int, int], int] = field(default_factory=dict)


class Numbers(NamedTuple):
    """Where a symbol goes on from, stored with what it did."""

    update_id: int
    last_trade_id: int | None
    last_aggregate_id: int
    is_here: bool


@dataclass(slots=True)
class Told:
    """What the streams have to tell of a symbol, in its order."""

    trades: list[Trade] = field(default_factory=list)
    aggregates: list[AggregateTrade] = field(default_factory=list)
    closed: list[tuple[Interval, Candle]] = field(default_factory=list)
    best_changed: bool = False


class Market:
    """`apply` takes the symbol's events of one command after the other; `advance` tells it what time it is."""

    def __init__(self, definition: v1.SymbolDefinition, units: SymbolUnits) -> None:
        # Not in another shard, where it is told from.
        self.is_here = True
        self.definition = definition
        self.units = units
        self.book = Book()
        # The last ones with trades: of the trades alone.
        self.candles: dict[Interval, Candle] = {}
        # When the candle opened that is shown as the current one.
        self.opened_ms: dict[Interval, int] = {}
        # One-minute candles with trades, the latest last.
        self.minutes: deque[Candle] = deque()
        # None: before the first that is known here since the symbol came; others had been traded, or none.
        self.last_trade: Trade | None = None
        # The next trade has the next id. None: it is not known.
        self.last_trade_id: int | None = 0
        # The last price from before what `minutes` has.
        self.previous_close: int | None = None
        self.last_aggregate_id = 0
        self.record = Record()
        self.told = Told()
        # Each of the two paces has its own.
        self.fast_changes = Changes()
        self.slow_changes = Changes()

    @property
    def symbol(self) -> str:
        return self.definition.symbol

    @property
    def numbers(self) -> Numbers:
        return Numbers(self.book.update_id, self.last_trade_id, self.last_aggregate_id, self.is_here)

    def go_on(self, numbers: Numbers) -> None:
        self.book.update_id, self.last_trade_id, self.last_aggregate_id, self.is_here = numbers

    def begin(self, update_id: int, orders: Sequence[v1.Order]) -> None:
        """With this book; of trades nothing is known."""
        self.last_trade_id = None
        self.book.begin(update_id, orders)
        for side in (v1.Side.SIDE_BUY, v1.Side.SIDE_SELL):
            levels = self.book.side(side)
            self.record.levels |= {(side, price): lots for price, lots in levels.top(len(levels))}

    def arrives(self, imported: v1.SymbolImported) -> None:
        """From another shard: its levels are told next, and its trades go on from where they were there."""
        self.book = Book(imported.last_update_id)
        self.last_trade = None
        self.last_trade_id = imported.last_trade_id
        # How many there were the other shard knows, but no more than trades: the next one's id is above them all.
        self.last_aggregate_id = max(self.last_aggregate_id, imported.last_trade_id)
        self.is_here = True

    def departs(self) -> None:
        """To another shard: nothing rests here any more. What changed before is told yet."""
        for side in (v1.Side.SIDE_BUY, v1.Side.SIDE_SELL):
            levels = self.book.side(side)
            self.record.levels |= {(side, price): 0 for price, _ in levels.top(len(levels))}
        self.book = Book(self.book.update_id)
        self.is_here = False

    def apply(self, events: list[v1.Event]) -> None:
        """Of one command, those of this symbol that are trades or book deltas. Raises Diverged."""
        best_before = self.book.bids.best(), self.book.asks.best()
        trades: list[tuple[Trade, int]] = []
        for event in events:
            match event.WhichOneof("body"):
                case "trade_executed":
                    trade = trade_of(event)
                    self._trade(trade)
                    trades.append((trade, event.trade_executed.taker.order_id))
                case "book_delta":
                    self._delta(event.book_delta)
        aggregates = aggregated(trades, self.last_aggregate_id)
        if aggregates:
            self.last_aggregate_id = aggregates[-1].aggregate_id
        for part in (self.record, self.told):
            part.trades += (trade for trade, _ in trades)
            part.aggregates += aggregates
        if best_before != (self.book.bids.best(), self.book.asks.best()):
            self.told.best_changed = True

    def _delta(self, delta: v1.BookDelta) -> None:
        self.book.apply(delta)
        self.fast_changes.add(delta)
        self.slow_changes.add(delta)
        self.record.levels[delta.side, delta.price_ticks] = delta.quantity_lots

    def _trade(self, trade: Trade) -> None:
        if self.last_trade_id is not None and trade.trade_id != self.last_trade_id + 1:
            raise Diverged(f"trade {trade.trade_id} of {self.symbol} came after {self.last_trade_id}")
        time_ms = trade.time_us // 1000
        self.advance(time_ms)
        for interval in Interval:
            self._add_to_candle(interval, trade, open_ms(interval, time_ms))
        minute = self.candles[Interval.M1]
        if self.minutes and self.minutes[-1].open_ms == minute.open_ms:
            self.minutes[-1] = minute
        else:
            self.minutes.append(minute)
            while self.minutes[0].open_ms < minute.open_ms - MINUTES_KEPT_MS:
                self.previous_close = self.minutes.popleft().close
        self.last_trade, self.last_trade_id = trade, trade.trade_id

    def _add_to_candle(self, interval: Interval, trade: Trade, opened_ms: int) -> None:
        candle = of_trade(trade, opened_ms)
        before = self.candles.get(interval)
        if before is not None and before.open_ms >= opened_ms:
            # Also where the shard's clock was set back a little.
            candle = joined(before, candle)
        self.candles[interval] = candle
        self.record.candles[interval, candle.open_ms] = candle
        if candle.open_ms >= self.opened_ms.get(interval, 0):
            self.opened_ms[interval] = candle.open_ms
        else:
            # It was shown as closed, by a clock that ran ahead of the stream: shown again, as it is now.
            self.told.closed.append((interval, candle))

    def current(self, interval: Interval) -> Candle | None:
        """None: before the first trade."""
        candle = self.candles.get(interval)
        if candle is None:
            return None
        opened_ms = self.opened_ms[interval]
        return candle if candle.open_ms >= opened_ms else empty(opened_ms, candle.close)

    def advance(self, time_ms: int) -> None:
        """It is so late: candles that end before are closed.

        Empty ones in between are not told one by one: whoever wants them asks.
        """
        for interval, opened_ms in self.opened_ms.items():
            if next_open_ms(interval, opened_ms) <= time_ms:
                candle = self.current(interval)
                assert candle is not None
                self.told.closed.append((interval, candle))
                self.opened_ms[interval] = open_ms(interval, time_ms)

    def window(self, from_ms: int) -> Iterator[Candle]:
        """The minutes with trades from that time on, of the last day."""
        return (minute for minute in self.minutes if minute.open_ms >= from_ms)

    def close_before(self, from_ms: int) -> int | None:
        """The last price before that time, as far as the last day knows."""
        close = self.previous_close
        for minute in self.minutes:
            if minute.open_ms >= from_ms:
                break
            close = minute.close
        return close

    def take_record(self) -> Record:
        taken, self.record = self.record, Record()
        return taken

    def take_told(self) -> Told:
        taken, self.told = self.told, Told()
        return taken
