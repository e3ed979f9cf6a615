"""Whom this member suspects, and trusts again: what it hears of the others, in one place. No sockets and no clock.

`replication.detection` judges by signs of life. What it cannot see is added here: how long a follower owes an
acknowledgement, the end of a link, and one that was never there.
"""

from collections import deque
from collections.abc import Collection

from openbourse.engine.replication.detection import Closed, Detection, Heartbeat, Limits, Owes, Sign, Tick, detect
from openbourse.engine.replication.inputs import Suspect, Trust
from openbourse.engine.replication.member import Joining, Leader, Member, Sealed, Standby, Unknown
from openbourse.engine.replication.record import Record

# At a start: a leader that is not linked by then is not there.
ABSENT_MS = 1_000

Verdicts = tuple[Suspect | Trust, ...]


class Watch:
    """The time is in milliseconds of one monotonic clock. Every verdict is to be handed to the member."""

    def __init__(self, now_ms: int) -> None:
        self._detection = Detection(Limits(), now_ms)
        self._heard_ms: dict[str, int] = {}
        # The leader's batches that somebody has not acknowledged yet: the last seq, and when it was begun.
        self._begun: deque[tuple[int, int]] = deque()
        self._absent_since_ms: dict[str, int] = {}

    def linked(self, other: str) -> Verdicts:
        """Of one that no heartbeat came from, the link is all that is known."""
        known = any(watched.member == other for watched in self._detection.watched)
        return () if known else (Trust(other),)

    def unlinked(self, other: str, now_ms: int) -> Verdicts:
        """Also of one that no heartbeat came from yet."""
        self._sign(Closed(other, now_ms))
        return (Suspect(other),)

    def heard(self, other: str, stamp: int, heard_ms: int) -> Verdicts:
        """One that never came says nothing: a network may not carry them."""
        if heard_ms <= self._heard_ms.get(other, 0):
            return ()
        self._heard_ms[other] = heard_ms
        return self._sign(Heartbeat(other, stamp, heard_ms))

    def heard_ms(self, other: str) -> int:
        """When its last heartbeat was; 0: there was none."""
        return self._heard_ms.get(other, 0)

    def signs(self, other: str, now_ms: int) -> str:
        """Of life, that it gave last: for people who ask why it was suspected."""
        for known in self._detection.watched:
            if known.member == other:
                return f"heard {now_ms - known.heard_ms} ms ago, its loop moved {now_ms - known.moved_ms} ms ago"
        return "never heard"

    def proposed(self, last: int, now_ms: int) -> None:
        """This member leads, and waits for the others to acknowledge `last`."""
        self._begun.append((last, now_ms))

    def tick(self, member: Member, now_ms: int) -> Verdicts:
        for owes in self._owed(member):
            self._sign(owes)
        return self._sign(Tick(now_ms))

    def absent(self, member: Member, record: Record | None, linked: Collection[str], now_ms: int) -> Verdicts:
        """Who was gone before this start, or before the first heartbeat, has no link that could end."""
        absent = _awaited(member, record) - {*linked, member.me.member}
        self._absent_since_ms = {other: self._absent_since_ms.get(other, now_ms) for other in sorted(absent)}
        return tuple(
            Suspect(other) for other, since_ms in self._absent_since_ms.items() if now_ms - since_ms > ABSENT_MS
        )

    def _owed(self, member: Member) -> list[Owes]:
        """Of each follower that a commit waits for, when the oldest batch was begun that it has not acknowledged."""
        role = member.role
        if not isinstance(role, Leader):
            return []
        counted = [follower for follower in role.progress if follower.member in role.counted]
        lowest = min((follower.matched for follower in counted), default=member.history.end)
        while self._begun and self._begun[0][0] <= lowest:
            self._begun.popleft()
        owes = [
            Owes(follower.member, next((at_ms for last, at_ms in self._begun if last > follower.matched), None))
            for follower in counted
        ]
        # Nothing waits for the others.
        return owes + [Owes(known.member, None) for known in role.progress if known.member not in role.counted]

    def _sign(self, sign: Sign) -> Verdicts:
        self._detection, verdicts = detect(self._detection, sign)
        return verdicts


def _awaited(member: Member, record: Record | None) -> frozenset[str]:
    """Whose silence matters: of a leader's followers those that count, else the leader."""
    match member.role:
        case Leader(counted=counted):
            return counted
        case Standby(offer=offer) | Joining(offer=offer):
            return frozenset({offer.leader.member})
        case Unknown() | Sealed() if record is not None and record.leader is not None:
            return frozenset({record.leader.member})
        case _:
            return frozenset()
