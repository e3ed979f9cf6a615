"""A shard's balances as its engine's journal makes them, held against what the ledger keeps right after the same seq.

Whoever calls this replays the journal; no engine is known here. Both sides are only read: nothing is written anywhere,
so nothing is left of a proof that is interrupted.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from openbourse.contracts import v1
from openbourse.ledger.books import Books, Moved
from openbourse.ledger.differences import Difference
from openbourse.ledger.errors import Invalid
from openbourse.ledger.reconcile import compare

# Of a difference: the balance as the ledger keeps it, and as the journal makes it; of an entry likewise.
SIDES = ("kept", "journal")

_NOTHING = (0, 0)


class Journal(Protocol):
    """A log that can be replayed by a kernel of its own. It blocks, so it is called in a thread."""

    @property
    def last_seq(self) -> int:
        """How far it is good."""

    def advance(self, last_seq: int) -> int:
        """Some commands further, none beyond `last_seq`; the seq that it has come to."""

    def balances(self) -> Sequence[v1.Balance]:
        """Of all accounts, right after the seq that it has come to."""

    def deliveries(self, last_seq: int) -> Iterator[v1.Events]:
        """The events again, from where it began, a bounded piece at a time."""


@dataclass(frozen=True, slots=True)
class FirstBad:
    """The first seq whose entry is not what the journal makes of it, and the first balance there."""

    seq: int
    moved: Difference


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared right after `seq`, which may be before `settled_seq` and before the journal's end."""

    seq: int
    settled_seq: int
    journal_seq: int
    balances: int
    differences: list[Difference]
    # None though something differs: the entries are the journal's, so the balances themselves were changed.
    first_bad: FirstBad | None


async def prove(books: Books, shard: str, journal: Journal, say: Callable[[int, int], None] = lambda *_: None) -> Proof:
    """Raises Invalid, Unavailable, and whatever the journal raises."""
    settled_seq = (await books.watermark()).seq
    if not settled_seq:
        raise Invalid(f"shard {shard!r} was never settled in this database")
    seq = min(settled_seq, journal.last_seq)
    at = 0
    # Each time at least one command further.
    while at < seq:
        at = await asyncio.to_thread(journal.advance, seq)
        say(at, seq)
    made = await asyncio.to_thread(journal.balances)
    snapshot = await books.snapshot(seq, entries=False)
    report = await asyncio.to_thread(compare, seq, made, snapshot)
    # The engine's side comes first there, and the ledger's here.
    differences = [Difference(one.account, one.asset, one.right, one.left) for one in report.engine]
    return Proof(
        seq=seq,
        settled_seq=settled_seq,
        journal_seq=journal.last_seq,
        balances=report.balances,
        differences=differences,
        first_bad=await _first_bad(books, journal, seq) if differences else None,
    )


async def _first_bad(books: Books, journal: Journal, seq: int) -> FirstBad | None:
    deliveries = journal.deliveries(seq)
    # As many as the journal has up to `seq`.
    while (delivery := await asyncio.to_thread(next, deliveries, None)) is not None:
        kept = await books.moved(delivery.first_seq, delivery.last_seq)
        made = moved_by(delivery)
        different = [key for key in kept.keys() | made.keys() if kept.get(key, _NOTHING) != made.get(key, _NOTHING)]
        if different:
            at, account, asset = key = min(different)
            return FirstBad(at, Difference(account, asset, kept.get(key, _NOTHING), made.get(key, _NOTHING)))
    return None


def moved_by(delivery: v1.Events) -> Moved:
    """(seq, account, asset) -> what it moves of (available, hold), where that is anything. Pure."""
    sums: Moved = {}
    for event in delivery.events:
        for movement in event.movements:
            key = (event.seq, movement.account, movement.asset)
            available, hold = sums.get(key, _NOTHING)
            sums[key] = (available + movement.available_change, hold + movement.hold_change)
    return {key: amounts for key, amounts in sums.items() if amounts != _NOTHING}
