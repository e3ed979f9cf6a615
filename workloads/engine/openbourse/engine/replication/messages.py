"""What members say to each other. A message may be late, lost, repeated or out of order; none of that does harm.

Entries are named by their indexes. Whoever sends an Append puts the entries' bytes behind it.
"""

from dataclasses import dataclass

from openbourse.engine.replication.history import History
from openbourse.engine.replication.record import Session


@dataclass(frozen=True, slots=True)
class Offer:
    """A leader's first word on a link. `base` is its log when it took over: the same in every Offer of the epoch."""

    epoch: int
    leader: Session
    base: History


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to an Offer: the member's log is a prefix of the leader's now, and durable through `matched`."""

    epoch: int
    member: str
    matched: int


@dataclass(frozen=True, slots=True)
class Append:
    """The entries behind `after`, up to `last` (none when equal), and how far the log is committed."""

    epoch: int
    after: int
    last: int
    commit: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The log is durable through `matched`."""

    epoch: int
    member: str
    matched: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """No session of `epoch`: the member promised to follow nothing below `promise`."""

    epoch: int
    promise: int


@dataclass(frozen=True, slots=True)
class Differs:
    """The chains of the two logs differ at `matched`, whatever their pairs say: one is a copy of another log."""

    epoch: int
    matched: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The leader does not have what follows the member's log any more, but a state at `last`, which is committed.

    Handed in once all of it is here, checked and durable, as a volume beside the member's own.
    """

    epoch: int
    last: int


@dataclass(frozen=True, slots=True)
class Release:
    """The leader of `epoch` gives no more seqs: whoever has its log through `last` may take over, as from a dead one.

    `in_sync` and `version` are the record as the leader knows it, so that nobody has to read it first.
    """

    epoch: int
    last: int
    in_sync: frozenset[str]
    version: str


Message = Offer | Joined | Append | Ack | Refuse | Differs | Snapshot | Release
