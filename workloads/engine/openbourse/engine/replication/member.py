"""One member of a shard as a value: its volume, its boot, what it promised, its log's pairs and what it is just now."""

import enum
from dataclasses import dataclass
from typing import assert_never

from openbourse.engine.replication.history import History
from openbourse.engine.replication.messages import Offer
from openbourse.engine.replication.record import Ask, CompareAndSet, Held, Session


@dataclass(frozen=True, slots=True)
class Settings:
    """`places`: where the other members may be. `window`: entries that a follower may be sent ahead of its ack."""

    places: tuple[str, ...]
    min_in_sync: int = 1
    window: int = 65_536


@dataclass(frozen=True, slots=True)
class Progress:
    """What a leader knows of a follower: durable through `matched`, sent through `sent`; no place without a link."""

    member: str
    place: str | None
    matched: int
    sent: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """No session. Why, and who is known to lead, is in the record as last seen."""


@dataclass(frozen=True, slots=True)
class Joining:
    """An Offer was taken; its epoch is not durably promised yet, or the log not durably cut."""

    place: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class Standby:
    """The log is a prefix of the leader's. `in_sync`: the record, as last seen, names this member.

    `arrived` is the index of the leader's snapshot that waits for the record to be read; 0: there is none.
    """

    place: str
    offer: Offer
    in_sync: bool = False
    arrived: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Asked for the next epoch."""

    ask: CompareAndSet


@dataclass(frozen=True, slots=True)
class Winner:
    """The record names this boot; it leads once the promise of its epoch is durable."""

    held: Held


@dataclass(frozen=True, slots=True)
class Leader:
    """`held` is confirmed, `unsettled` asked for. `counted` follows from both. `base` is the log at take-over.

    `successor`: the member that the lead is handed to; None: it leads.
    """

    held: Held
    base: History
    unsettled: frozenset[CompareAndSet]
    counted: frozenset[str]
    progress: tuple[Progress, ...]
    successor: str | None = None

    @property
    def epoch(self) -> int:
        return self.held.record.epoch


@dataclass(frozen=True, slots=True)
class Sealed:
    """Waits for a record of at least the promised epoch: a recovery was begun. `asked`: it waits for the statement."""

    asked: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """Something is as it can never be. Only a person, who reads why, goes on from here."""

    why: str


Role = Leader | Standby | Joining | Unknown | Candidate | Winner | Sealed | Stopped


@dataclass(frozen=True, slots=True)
class Member:
    """`promise` is refused below at once, `promised` is the one that is durable; `durable` is the log's.

    `cutting`: a cut was asked for and is not durable. `suspected`: members. `waiting`: what was asked of the record and
    is not answered. `commit` only rises: entries through it were released or stepped by this process.
    """

    me: Session
    settings: Settings
    promise: int
    promised: int
    history: History
    durable: int
    cutting: bool
    commit: int
    suspected: frozenset[str]
    waiting: Ask | None
    role: Role


class State(enum.StrEnum):
    """A member's role in one word, for status, metrics and the diagram."""

    UNKNOWN = "unknown"
    JOINING = "joining"
    STANDBY = "standby"
    IN_SYNC = "standby in sync"
    CANDIDATE = "candidate"
    LEADER = "leader"
    SEALED = "sealed"
    STOPPED = "stopped"


def state(member: Member) -> State:
    match member.role:
        case Unknown():
            return State.UNKNOWN
        case Joining():
            return State.JOINING
        case Standby(in_sync=in_sync):
            return State.IN_SYNC if in_sync else State.STANDBY
        case Candidate() | Winner():
            return State.CANDIDATE
        case Leader():
            return State.LEADER
        case Sealed():
            return State.SEALED
        case Stopped():
            return State.STOPPED
        case _ as never:
            assert_never(never)
