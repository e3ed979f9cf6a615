"""Everything that can happen to a member, as values. None of them has a time: see `detection`."""

from dataclasses import dataclass

from openbourse.engine.replication.messages import Message
from openbourse.engine.replication.record import CompareAndSet, Held


@dataclass(frozen=True, slots=True)
class Received:
    """`place` is where the link leads, whoever the member there is."""

    place: str
    message: Message


@dataclass(frozen=True, slots=True)
class Linked:
    """There is a new link to `place`, and all that was sent on an older one is lost or was read."""

    place: str


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The link to `place` is gone."""

    place: str


@dataclass(frozen=True, slots=True)
class Propose:
    """The leader's engine gave seqs up to `last`: one batch, which begins behind the end of the log."""

    last: int


@dataclass(frozen=True, slots=True)
class LogIsDurable:
    """The log as written is durable through `last`. Notices come in the order of the effects that they are about."""

    last: int


@dataclass(frozen=True, slots=True)
class CutIsDurable:
    """What was behind `last` cannot come back."""

    last: int


@dataclass(frozen=True, slots=True)
class PromiseIsDurable:
    epoch: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """Its link closed, or it was silent for too long. A wrong guess is safe."""

    member: str


@dataclass(frozen=True, slots=True)
class Trust:
    """It has been well for long enough to be trusted again."""

    member: str


@dataclass(frozen=True, slots=True)
class Beat:
    """It is time to tell the followers how far the log is committed; there was no batch to tell it with."""


@dataclass(frozen=True, slots=True)
class Look:
    """The record may have changed, or nobody has led for a while."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The answer to a Read; None: there is no record."""

    held: Held | None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The write landed and made `version`, however late this is heard."""

    ask: CompareAndSet
    version: str


@dataclass(frozen=True, slots=True)
class Conflicted:
    """This try of the write did not land. An earlier try of the same may have."""

    ask: CompareAndSet


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A time-out, a broken connection: the write landed, or will, or never will."""

    ask: CompareAndSet


@dataclass(frozen=True, slots=True)
class HandOver:
    """A planned switchover: a leader gives no more seqs, and lets the member `to` lead, or says why not."""

    to: str


@dataclass(frozen=True, slots=True)
class LeadOn:
    """A switchover has taken too long: give seqs again, as long as the record allows it."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A person recovers the shard: promise to refuse, acknowledge and lead nothing below `below`."""

    below: int


@dataclass(frozen=True, slots=True)
class Found:
    """A person, or the operator, makes the shard: write its first record, if nothing was ever written here."""


Input = (
    Received
    | Propose
    | LogIsDurable
    | CutIsDurable
    | PromiseIsDurable
    | Linked
    | Unlinked
    | Suspect
    | Trust
    | Beat
    | Look
    | Seen
    | Succeeded
    | Conflicted
    | Unsettled
    | HandOver
    | LeadOn
    | Seal
    | Found
)
