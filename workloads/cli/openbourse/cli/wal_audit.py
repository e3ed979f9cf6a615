"""What a log says of orders and books, by a kernel of its own: to be held against what clients were told.

It reads, and changes nothing; an engine may run on the log meanwhile. It does not judge: it counts and names.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openbourse.cli.wal_whereabouts import Whereabouts
from openbourse.contracts import frames, v1
from openbourse.engine import _core
from openbourse.engine.journal import wal

COMMANDS = 2_000
BYTES = 4 * 1024 * 1024
LEVELS = 5_000
# Of seqs whose chain is told, so that logs of different lengths can be compared.
CHAIN_EVERY = 50
NAMED_MOST = 20


@dataclass(slots=True)
class Book:
    """Levels of one symbol, by price. `opens`: it matches, so it must not be crossed. `is_here`: the shard has it."""

    is_here: bool = False
    update_id: int | None = None
    opens: bool = True
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)

    def take(self, delta: v1.BookDelta) -> str:
        """What is wrong with its update id; empty: nothing."""
        side = self.bids if delta.side == v1.Side.SIDE_BUY else self.asks
        if delta.quantity_lots:
            side[delta.price_ticks] = delta.quantity_lots
        else:
            side.pop(delta.price_ticks, None)
        before, self.update_id = self.update_id, delta.update_id
        if before is None or delta.update_id == before + 1:
            return ""
        return f"{delta.update_id} after {before}"

    def arrives(self, update_id: int) -> None:
        """From another shard: its levels are told next, and their numbers go on from there."""
        self.update_id, self.opens = update_id, True
        self.bids.clear()
        self.asks.clear()

    def departs(self) -> None:
        """To another shard, which counts on."""
        self.update_id = None
        self.bids.clear()
        self.asks.clear()

    @property
    def is_crossed(self) -> bool:
        return bool(self.opens and self.bids and self.asks and max(self.bids) >= min(self.asks))


@dataclass(slots=True)
class Audit:
    """From one seq on. `orders`: by client order id, the ids of the orders that were accepted under it."""

    orders: dict[str, list[int]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    update_gaps: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    updates: int = 0


def audit(folder: Path, report: wal.Report, from_seq: int, prefix: str, symbol: str) -> dict[str, Any]:
    """As JSON: of orders those whose name begins with `prefix`, of books that of `symbol`. Raises Fatal.

    `from_seq` is clamped to what the log has. The log must be good up to its last seq: verify first.
    """
    first = min(max(from_seq, report.first_seq), report.last_seq)
    found = Audit()
    book = _book(folder, report, first, symbol)
    whereabouts = Whereabouts(symbol, book.is_here)
    for _, events in itertools.groupby(_events(folder, report, first), key=lambda event: event.seq):
        command = list(events)
        whereabouts.take(command)
        _take(found, book, command, prefix, symbol)
    chains, epochs = _records(folder, first, report.last_seq)
    return {
        "first_seq": first,
        "last_seq": report.last_seq,
        "damaged": "" if report.damaged is None else str(report.damaged),
        "epochs": epochs,
        "chains": chains,
        "states": found.states,
        "orders": found.orders,
        "update_gaps": found.update_gaps[:NAMED_MOST],
        "crossed": found.crossed[:NAMED_MOST],
        "updates": found.updates,
        "whereabouts": whereabouts.document(),
    }


def _take(found: Audit, book: Book, events: list[v1.Event], prefix: str, symbol: str) -> None:
    """All events of one command."""
    for event in events:
        body = event.WhichOneof("body")
        if body == "order_accepted" and event.order_accepted.order.client_order_id.startswith(prefix):
            order = event.order_accepted.order
            made = found.orders.setdefault(order.client_order_id, [])
            if order.order_id not in made:
                made.append(order.order_id)
        elif body == "engine_checkpoint":
            found.states[str(event.seq)] = event.engine_checkpoint.state_hash.hex()
        elif body == "symbol_state_changed" and event.symbol == symbol:
            book.opens = event.symbol_state_changed.state == v1.SymbolState.SYMBOL_STATE_TRADING
        elif body == "symbol_imported" and event.symbol == symbol:
            book.arrives(event.symbol_imported.last_update_id)
        elif body == "symbol_departed" and event.symbol == symbol:
            book.departs()
        elif body == "book_delta" and event.symbol == symbol:
            found.updates += 1
            if gap := book.take(event.book_delta):
                found.update_gaps.append(f"{symbol} at seq {event.seq}: {gap}")
    if book.is_crossed:
        found.crossed.append(f"{symbol} at seq {events[-1].seq}")


def _book(folder: Path, report: wal.Report, first: int, symbol: str) -> Book:
    """As it was before `first`."""
    book = Book()
    if first <= 1:
        return book
    kernel = _core.Replay(folder, report.shard, 0, first)
    kernel.begin()
    while kernel.seq < first - 1:
        kernel.advance(first - 1, wal.REPLAY_COMMANDS)
    query = v1.Query(depth=v1.DepthQuery(symbol=symbol, limit=LEVELS))
    answer = v1.Answer.FromString(kernel.answer(query.SerializeToString()))
    if answer.WhichOneof("body") == "depth":
        book.is_here = True
        book.update_id = answer.depth.last_update_id
        book.bids = {level.price_ticks: level.quantity_lots for level in answer.depth.bids}
        book.asks = {level.price_ticks: level.quantity_lots for level in answer.depth.asks}
    return book


def _events(folder: Path, report: wal.Report, first: int) -> Iterator[v1.Event]:
    replay = _core.Replay(folder, report.shard, 0, first)
    while replay.next_seq <= report.last_seq:
        frame = replay.step(report.last_seq, COMMANDS, BYTES)
        for body in frames.Decoder().feed(frame) if frame is not None else ():
            yield from v1.ServerFrame.FromString(body).events.events


def _records(folder: Path, first: int, last: int) -> tuple[dict[str, str], list[tuple[int, int]]]:
    """Some chains by seq, and where each epoch begins."""
    chains: dict[str, str] = {}
    epochs: list[tuple[int, int]] = []
    for seq, epoch, _time_us, _batch, chain, _payload in _core.Records(folder, first, last):
        if not epochs or epochs[-1][0] != epoch:
            epochs.append((epoch, seq))
        if seq % CHAIN_EVERY == 0 or seq == last:
            chains[str(seq)] = chain.hex()
    return chains, epochs
