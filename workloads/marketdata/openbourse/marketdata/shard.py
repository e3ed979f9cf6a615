"""All markets and accounts of a shard, from its committed stream. No clock, no I/O.

Deliveries come without a gap and without a repeat; what goes back, or comes from an older leader, is refused.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from openbourse.contracts import v1
from openbourse.contracts.units import SymbolUnits
from openbourse.marketdata.accounts import Accounts, AccountsRecord
from openbourse.marketdata.errors import Diverged, StaleSession
from openbourse.marketdata.market import Market, Numbers, Record


@dataclass(frozen=True, slots=True)
class Watermark:
    """Everything up to `seq` is in; `session_epoch` is the newest leader that it came from."""

    seq: int = 0
    session_epoch: int = 0
    # Of the last event.
    time_us: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be stored together: the effects of everything up to the watermark."""

    watermark: Watermark
    begins_seq: int
    scales: dict[str, int]
    definitions: dict[str, v1.SymbolDefinition]
    records: dict[str, Record]
    numbers: dict[str, Numbers]
    accounts: AccountsRecord


class Shard:
    def __init__(self, name: str) -> None:
        self.name = name
        self.watermark = Watermark()
        # The first command that is known; with 1 nothing is missing.
        self.begins_seq = 1
        self.scales: dict[str, int] = {}
        self.markets: dict[str, Market] = {}
        self.accounts = Accounts()
        # To be stored.
        self._touched: set[str] = set()
        self.events_not_stored = 0

    def begin(self, pieces: Sequence[v1.StateBefore]) -> None:
        """With the state that the log begins with, of a shard of which nothing is known yet. Raises Diverged."""
        if self.watermark != Watermark():
            raise Diverged(f"shard {self.name} was told a state, and has one of seq {self.watermark.seq}")
        first, answers = pieces[0], [answer for piece in pieces for answer in piece.answers]
        listings, balances, *rest = answers
        symbols = [listing.definition for listing in listings.listings.symbols]
        depths, of_accounts = rest[: len(symbols)], rest[len(symbols) :]
        orders = [order for answer in of_accounts for order in answer.orders.orders]
        self.begins_seq = first.seq + 1
        self.scales = {asset.asset: asset.scale for asset in listings.listings.assets}
        resting: defaultdict[str, list[v1.Order]] = defaultdict(list)
        for order in orders:
            resting[order.symbol].append(order)
        for definition, depth in zip(symbols, depths, strict=True):
            self._define(definition)
            self.markets[definition.symbol].begin(depth.depth.last_update_id, resting[definition.symbol])
        self.accounts.begin(orders, balances.balances.balances)
        self.watermark = Watermark(first.seq, first.epoch)
        self.events_not_stored += len(orders)

    def apply(self, delivery: v1.Events) -> list[Market]:
        """The markets that it touched. Raises StaleSession and Diverged; then nothing of it may be used."""
        if delivery.epoch < self.watermark.session_epoch:
            raise StaleSession(
                f"the stream of shard {self.name} comes from epoch {delivery.epoch}, "
                f"epoch {self.watermark.session_epoch} was heard before"
            )
        if delivery.first_seq != self.watermark.seq + 1:
            raise Diverged(
                f"the stream of shard {self.name} goes on at {delivery.first_seq}, {self.watermark.seq} was the last"
            )
        touched: dict[str, Market] = {}
        for seq, grouped in groupby(delivery.events, key=lambda event: event.seq):
            events_of_seq = list(grouped)
            if not delivery.first_seq <= seq <= delivery.last_seq:
                raise Diverged(f"event of seq {seq} in a delivery of {delivery.first_seq} to {delivery.last_seq}")
            of_symbol: dict[str, list[v1.Event]] = {}
            for event in events_of_seq:
                match event.WhichOneof("body"):
                    case "trade_executed" | "book_delta":
                        of_symbol.setdefault(event.symbol, []).append(event)
                    case "asset_defined":
                        self.scales[event.asset_defined.asset] = event.asset_defined.scale
                    case "symbol_defined":
                        self._define(event.symbol_defined.definition)
                    case "symbol_imported":
                        self.markets[event.symbol].arrives(event.symbol_imported)
                        touched[event.symbol] = self.markets[event.symbol]
                    case "symbol_departed":
                        self.markets[event.symbol].departs()
                        touched[event.symbol] = self.markets[event.symbol]
            for symbol, events in of_symbol.items():
                market = self.markets.get(symbol)
                if market is None:
                    raise Diverged(f"seq {seq} is of {symbol}, which was not listed before")
                market.apply(events)
                touched[symbol] = market
            self.accounts.apply(events_of_seq)
        time_us = max(self.watermark.time_us, delivery.events[-1].occurred_at_us if delivery.events else 0)
        self.watermark = Watermark(delivery.last_seq, delivery.epoch, time_us)
        self._touched |= touched.keys()
        self.events_not_stored += 1 + len(delivery.events)
        return list(touched.values())

    def _define(self, definition: v1.SymbolDefinition) -> None:
        known = self.markets.get(definition.symbol)
        units = SymbolUnits.of(definition, self.scales)
        if known is None:
            self.markets[definition.symbol] = Market(definition, units)
        else:
            known.definition, known.units = definition, units
        self._touched.add(definition.symbol)

    def advance(self, time_ms: int) -> None:
        """It is so late, for markets in which nothing happens."""
        for market in self.markets.values():
            market.advance(time_ms)

    def take_batch(self) -> Batch:
        touched = {symbol: self.markets[symbol] for symbol in sorted(self._touched)}
        self._touched.clear()
        self.events_not_stored = 0
        return Batch(
            self.watermark,
            self.begins_seq,
            dict(self.scales),
            {symbol: market.definition for symbol, market in touched.items()},
            {symbol: market.take_record() for symbol, market in touched.items()},
            {symbol: market.numbers for symbol, market in touched.items()},
            self.accounts.take_record(),
        )
