"""What a small world consists of: its bounds, disks, letters, writes of the record; itself, as numbers of all that."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from openbourse.engine.replication.effects import Statement
from openbourse.engine.replication.history import History
from openbourse.engine.replication.messages import Message
from openbourse.engine.replication.record import CompareAndSet

Entries = tuple[tuple[int, int], ...]
# Proposed in a healed world only.
AFTER_ALL = 99


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may happen in a world. `power`: a crash may lose what is not synced; else each write is synced at once."""

    places: int = 2
    epochs: int = 3
    commands: int = 2
    # How often a volume may be lost.
    losses: int = 0
    power: bool = False
    downstream: bool = False
    # How often the record may be lost; a recovery follows.
    recoveries: int = 0
    min_in_sync: int = 1
    # Whether anything happens between asking for the record and reading it; else a late read is a late question.
    slow_reads: bool = False
    # Whether worlds are one that differ in who is where only.
    symmetric: bool = False
    # Whether followers hear of a commit with the next command only.
    beats: bool = True
    # Whether what a leader sent arrives after its end.
    ghosts: bool = True
    # Whether a member is trusted again while a change of the set is on its way.
    hasty: bool = True
    # Whether a leader has only a snapshot for a follower that is behind, instead of entries.
    snapshots: bool = False
    # Whether leaders are asked to hand over, and whether they are told to lead on at any moment.
    hand_overs: bool = False


@dataclass(frozen=True, slots=True)
class Disk:
    """(epoch, command) by index, as written and as durable. `tail` was cut off and comes back until that is durable."""

    volume: str
    written: Entries
    durable: Entries
    promise: int
    promised: int
    tail: Entries = ()
    # A snapshot's that waits to take its place.
    incoming: Entries = ()


@dataclass(frozen=True, slots=True)
class Letter:
    place: int
    sender: int
    message: Message
    entries: Entries


@dataclass(frozen=True, slots=True)
class Writing:
    """A write of the record on its way; `version`: it landed, and the answer says so."""

    place: int
    ask: CompareAndSet
    version: str | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """A person at work. `below` is 0 before it begins; `expected` the version that the new record replaces."""

    lost: int
    below: int
    statements: tuple[Statement, ...]


class World(NamedTuple):
    """Numbers of values, except for `acknowledged` (commands by index) and the counters."""

    record: int
    writings: frozenset[int]
    letters: frozenset[int]
    acknowledged: tuple[int, ...]
    commands: int
    losses: int
    # What a downstream has accepted: the highest epoch, and the seq of the last answer.
    accepted: tuple[int, int]
    recovery: int
    # By place. One that is down is one that has booted and not read anything yet: nothing tells them apart.
    processes: tuple[int, ...]
    disks: tuple[int, ...]


class Broken(Exception):
    """An invariant does not hold."""


class OutOfBounds(Exception):
    """The event leads to an epoch that these worlds do not have."""


Event = tuple[Any, ...]
T = TypeVar("T", bound=Hashable)


class Numbers(Generic[T]):
    """Values by number, numbers by value."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self.of: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        number = self.of.get(value)
        if number is None:
            number = self.of[value] = len(self.values)
            self.values.append(value)
        return number


def place_name(place: int) -> str:
    return "ABC"[place]


def renew(volume: str) -> str:
    """A new volume has a new name."""
    return f"{volume[0]}{int(volume[1:]) + 1}"


def history_of(entries: Entries) -> History:
    history = History()
    for index, (epoch, _) in enumerate(entries, start=1):
        history = history.extended(epoch, index)
    return history


def after_power_loss(disk: Disk) -> list[tuple[Entries, int]]:
    """Whatever of the unsynced writes a disk may have: any part of what was appended, a cut or not."""
    shared = 0
    for written, durable in zip(disk.written, disk.durable, strict=False):
        if written != durable:
            break
        shared += 1
    logs = {disk.durable, *(disk.written[:length] for length in range(shared, len(disk.written) + 1))}
    logs |= {log + disk.tail[len(log) :] for log in logs}
    return [(log, promise) for log in sorted(logs) for promise in sorted({disk.promise, disk.promised})]


def conflict(disk: Disk, other: Disk) -> str | None:
    for log in (disk.written, disk.durable):
        for other_log in (other.written, other.durable):
            for index, (entry, other_entry) in enumerate(zip(log, other_log, strict=False), start=1):
                if entry[0] == other_entry[0] and entry[1] != other_entry[1]:
                    return (
                        f"entry {index} of epoch {entry[0]} is {entry[1]} on {disk.volume} "
                        f"and {other_entry[1]} on {other.volume}"
                    )
    return None
