"""The port to the leadership record, and why a call on it fails.

RecordError
  Unreachable     not now: ask again later. A write may have landed, or may land yet
  NotUnderstood   the record is damaged or was edited: a person looks, and recovers the shard
  NotAllowed      a person has to give the right to it. Nothing was written
"""

from typing import Protocol

from openbourse.engine.replication.inputs import Conflicted, Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held


class RecordError(Exception):
    """The record was not read, or not knowingly written. The text says why, in a sentence for a person."""


class Unreachable(RecordError):
    pass


class NotUnderstood(RecordError):
    """`version` is of what was found. Only a recovery, which is told of it, ever names it in a compare-and-set."""

    def __init__(self, why: str, version: str) -> None:
        super().__init__(why)
        self.version = version


class NotAllowed(RecordError):
    pass


class Arbiter(Protocol):
    """One record, changed by compare-and-set. Versions never come twice. Every call ends, by a time-out if need be."""

    async def read(self) -> Held | None:
        """Linearizable: what was written before this was called is seen, and what is seen is durable.

        Raises RecordError.
        """

    async def compare_and_set(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        """Conflicted: this try did not land and never will. Raises Unreachable and NotAllowed.

        After Unreachable nobody knows, and a caller that is cancelled does not know either.
        """
