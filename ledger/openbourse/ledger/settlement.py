"""From committed events to one batch of rows and net balance changes. Pure: events and a watermark in, a Batch out.

The engine decides what moves; this decides what is new, what was settled before, and what cannot be true. What is
in range, balanced and not negative is for the database to enforce, whatever this says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from openbourse.ledger import netting
from openbourse.ledger.errors import Diverged, StaleSession
from openbourse.ledger.netting import Changes, Delta
from openbourse.ledger.reading import Delivery
from openbourse.ledger.rows import Rows


@dataclass(frozen=True, slots=True)
class Watermark:
    """All events up to `seq` are settled; `session_epoch` is the newest leader that any of them came from."""

    session_epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction's worth: `new` is to be posted, `replayed` must be there already with equal content."""

    watermark: Watermark
    new: Rows
    # The new entries, as a binary COPY has them.
    tuples: bytes
    deltas: list[Delta]
    trades: int
    replayed: Rows
    # First and last seq of what was delivered again; None when all is new.
    replayed_range: tuple[int, int] | None


def settle(shard: str, watermark: Watermark, deliveries: Sequence[Delivery]) -> Batch:
    """The batch for consecutive deliveries of the stream, which may begin at or before the watermark.

    Raises StaleSession, or Diverged with the seq at which the stream and the books part.
    """
    new, replayed = Rows(), Rows()
    tuples: list[bytes] = []
    changes: Changes = {}
    session_epoch = watermark.session_epoch
    first = next_seq = deliveries[0].message.first_seq
    if next_seq > watermark.seq + 1:
        raise Diverged(f"gap: settled through seq {watermark.seq}, but the stream goes on at {next_seq}")
    for delivery in deliveries:
        message = delivery.message
        if message.epoch < session_epoch:
            raise StaleSession(f"events of epoch {message.epoch} after events of epoch {session_epoch}")
        session_epoch = message.epoch
        if message.first_seq != next_seq or message.last_seq < message.first_seq:
            raise Diverged(f"gap: expected seq {next_seq}, got {message.first_seq} to {message.last_seq}")
        next_seq = message.last_seq + 1
        if message.first_seq > watermark.seq:
            read = delivery.read(shard)
            _add(new, read.rows)
            tuples.append(read.tuples)
            netting.merge(changes, read.changes)
        elif message.last_seq <= watermark.seq:
            _add(replayed, delivery.read(shard).rows)
        else:
            again, rest = delivery.split(shard, watermark.seq)
            _add(replayed, again.rows)
            _add(new, rest.rows)
            tuples.append(rest.tuples)
            netting.merge(changes, rest.changes)
    final = next_seq - 1
    return Batch(
        watermark=Watermark(session_epoch, max(watermark.seq, final)),
        new=new,
        tuples=b"".join(tuples),
        deltas=netting.deltas(changes, final),
        trades=sum(entry.trade is not None for entry in new.entries),
        replayed=replayed,
        replayed_range=(first, min(final, watermark.seq)) if first <= watermark.seq else None,
    )


def _add(rows: Rows, more: Rows) -> None:
    rows.entries.extend(more.entries)
    rows.symbols.extend(more.symbols)
    rows.checkpoints.extend(more.checkpoints)
    rows.postings.extend(more.postings)
    rows.voidings.extend(more.voidings)
    for name, asset in more.assets.items():
        if rows.assets.setdefault(name, asset).scale != asset.scale:
            raise Diverged(f"seq {asset.seq}: asset {name} changes its scale")


def contradiction(expected: Rows, stored: Rows) -> str | None:
    """Where a delivery that came again differs from what was settled the first time, or None."""
    for kind, again, first in (
        ("entry", expected.entries, stored.entries),
        ("definition", expected.symbols, stored.symbols),
        ("checkpoint", expected.checkpoints, stored.checkpoints),
    ):
        if again != first:
            there, here = {row[:2]: row for row in first}, {row[:2]: row for row in again}
            seq, index = min(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
            return f"seq {seq} index {index}: {kind} settled as {there.get((seq, index))}, now {here.get((seq, index))}"
    for asset, again_defined in expected.assets.items():
        settled = stored.assets.get(asset)
        if settled is None or settled.scale != again_defined.scale:
            return f"seq {again_defined.seq}: asset {asset} settled as {settled}, now {again_defined}"
    return None
