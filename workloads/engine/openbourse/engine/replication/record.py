"""The leadership record of a shard and what is asked of it. Nothing here reads or writes one.

There is one record for a shard. It changes by compare-and-set only: each change names the version that it expects.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """One process on one volume. A volume keeps its `member` for life; every boot has its own nonce."""

    member: str
    boot: str

    def __str__(self) -> str:
        return f"{self.member}/{self.boot}"


@dataclass(frozen=True, slots=True)
class Record:
    """`in_sync` are the members that hold every committed record. `leader` is None where nobody has led the epoch."""

    epoch: int
    leader: Session | None
    in_sync: frozenset[str]

    def __str__(self) -> str:
        return f"epoch {self.epoch}, leader {self.leader or 'nobody'}, in sync {{{', '.join(sorted(self.in_sync))}}}"


@dataclass(frozen=True, slots=True)
class Held:
    """A record as it was read or written, with its version. Versions are compared for equality only."""

    record: Record
    version: str


@dataclass(frozen=True, slots=True)
class Read:
    """Read the record, linearizably: never from a cache."""


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Write `record` if the version is still `expected`; None: if there is no record."""

    expected: str | None
    record: Record


Ask = Read | CompareAndSet


def counted(confirmed: frozenset[str], unsettled: frozenset[CompareAndSet]) -> frozenset[str]:
    """Whose disks a commit waits for: who may be in the record now, or may come to be by a write that still lands."""
    return confirmed.union(*(ask.record.in_sync for ask in unsettled))
