"""From committed events to one batch of rows and net balance changes. Pure: events and a watermark in, a Batch out.

The engine decides what moves; this decides what is new, what was settled before, and what cannot be true. What is
in range, balanced and not negative is for the database to enforce, whatever this says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from openbourse.contracts.units import FEES_ACCOUNT, INT64_MAX
from openbourse.ledger.accounts import kind_of
from openbourse.ledger.errors import Diverged, StaleSession
from openbourse.ledger.reading import Delivery
from openbourse.ledger.rows import Entry, Rows


@dataclass(frozen=True, slots=True)
class Watermark:
    """All events up to `seq` are settled; `session_epoch` is the newest leader that any of them came from."""

    session_epoch: int
    seq: int


class Delta(NamedTuple):
    """Net change of one balance over a whole batch."""

    account: int
    asset: str
    available: int
    hold: int


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
        elif message.last_seq <= watermark.seq:
            _add(replayed, delivery.read(shard).rows)
        else:
            again, rest = delivery.split(shard, watermark.seq)
            _add(replayed, again.rows)
            _add(new, rest.rows)
            tuples.append(rest.tuples)
    final = next_seq - 1
    return Batch(
        watermark=Watermark(session_epoch, max(watermark.seq, final)),
        new=new,
        tuples=b"".join(tuples),
        deltas=net(new.entries),
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


def net(entries: Sequence[Entry]) -> list[Delta]:
    """One change for each balance that moves, by account, then asset. Raises Diverged for what cannot be a balance."""
    sums: dict[tuple[int, str], list[int]] = {}
    # A list for a key that is new: half of what a settlement costs would be calls otherwise.
    for _, _, _, _, _, _, _, account, counter_account, legs, other_legs, _ in entries:
        for asset, available, hold, counter_available, counter_hold, fees in (
            (legs,) if other_legs is None else (legs, other_legs)
        ):
            change = sums.get((account, asset))
            if change is None:
                sums[account, asset] = [available, hold]
            else:
                change[0] += available
                change[1] += hold
            if counter_account is not None:
                change = sums.get((counter_account, asset))
                if change is None:
                    sums[counter_account, asset] = [counter_available, counter_hold]
                else:
                    change[0] += counter_available
                    change[1] += counter_hold
            if fees:
                change = sums.get((FEES_ACCOUNT, asset))
                if change is None:
                    sums[FEES_ACCOUNT, asset] = [fees, 0]
                else:
                    change[0] += fees
    for (account, asset), (available, hold) in sums.items():
        if kind_of(account) is None:
            raise Diverged(f"through seq {entries[-1].seq}: account {account} cannot exist")
        if not -INT64_MAX <= available <= INT64_MAX or not -INT64_MAX <= hold <= INT64_MAX:
            raise Diverged(f"through seq {entries[-1].seq}: {asset} of account {account} leaves the range of 64 bits")
    return [Delta(account, asset, *change) for (account, asset), change in sorted(sums.items()) if any(change)]


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
