"""Whether batches cover every seq once, with the entries that they were closed with: intervals in, a finding out.

Pure: nothing here reads a database or a clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Covered(NamedTuple):
    """Everything through a batch and its last seq."""

    batch: int
    seq: int


class Covering(NamedTuple):
    """A batch, and how many entries there are in its seqs."""

    batch: int
    first_seq: int
    last_seq: int
    entries: int
    found: int


class End(NamedTuple):
    """The watermark, and the first seq beyond it that has an entry."""

    batch: int
    seq: int
    beyond: int | None


class Kind(StrEnum):
    """What can be wrong. The last three are of balances."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    FOREIGN = "foreign"
    ENGINE = "engine"
    ENTRIES = "entries"
    UNBALANCED = "unbalanced"


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing that is wrong: from which seq on, and a sentence."""

    kind: Kind
    seq: int
    sentence: str


NOTHING = Covered(0, 0)


def extend(covered: Covered, batches: Iterable[Covering]) -> Covered | Finding:
    """What is covered with the next batches too, which are in the order of their numbers."""
    for batch in batches:
        next_seq = covered.seq + 1
        name = f"batch {batch.batch}, seq {batch.first_seq} to {batch.last_seq},"
        if batch.first_seq > next_seq or batch.batch != covered.batch + 1:
            return Finding(
                Kind.GAP, next_seq, f"{name} follows batch {covered.batch}, which ends at seq {covered.seq}: a gap"
            )
        if batch.first_seq < next_seq:
            return Finding(
                Kind.DUPLICATE,
                batch.first_seq,
                f"{name} begins in what is settled through seq {covered.seq}: settled twice",
            )
        if batch.found != batch.entries:
            kind = Kind.GAP if batch.found < batch.entries else Kind.FOREIGN
            return Finding(
                kind, batch.first_seq, f"{name} was closed with {batch.entries} entries, and there are {batch.found}"
            )
        covered = Covered(batch.batch, batch.last_seq)
    return covered


def ends(covered: Covered, end: End) -> Finding | None:
    """Given all batches through the watermark's. None: they end where it is, and so do the entries."""
    if covered.seq < end.seq or covered.batch < end.batch:
        return Finding(
            Kind.GAP,
            covered.seq + 1,
            f"the watermark is at batch {end.batch}, seq {end.seq}, and batches end with {covered.batch}, "
            f"at seq {covered.seq}: a gap",
        )
    if covered.seq > end.seq:
        return Finding(
            Kind.FOREIGN, end.seq + 1, f"batches end at seq {covered.seq}, and the watermark is at seq {end.seq}"
        )
    if end.beyond is not None:
        return Finding(
            Kind.FOREIGN, end.beyond, f"there is an entry at seq {end.beyond}, and the watermark is at seq {end.seq}"
        )
    return None
