"""What this volume tells a person who recovers the shard: what it holds, and that it is sealed. It decides nothing.

A member that leads, or has stopped, is sealed by its promise alone, and begins again: its kernel may be ahead of what
the recovery names. Whoever asked asks once more then.
"""

from collections.abc import Callable
from typing import Protocol

from openbourse.contracts import v1
from openbourse.engine.member.links import Link
from openbourse.engine.replication import Member, state
from openbourse.engine.replication.effects import Statement
from openbourse.engine.replication.inputs import Seal
from openbourse.engine.replication.member import Leader, Sealed, Stopped, Winner

WAITING_MOST = 16


class Volume(Protocol):
    """The member at work."""

    @property
    def member(self) -> Member: ...
    def step(self, event: Seal, /) -> None: ...
    def seal_and_begin_again(self, below: int) -> None: ...


class Testimonies:
    def __init__(self, volume: Volume, shard: str, place: str, places: Callable[[], tuple[str, ...]]) -> None:
        self._volume = volume
        self._shard = shard
        self._place = place
        self._places = places
        # Who waits for the promise and the log to be durable.
        self._waiting: list[Link] = []

    def asked(self, link: Link, request: v1.RecoveryRequest) -> None:
        """Answered now, or when it is sealed; a link that ends before that is asked on another one."""
        member = self._volume.member
        below = request.below
        if request.shard != self._shard:
            self._answer(link, why=f"this is shard {self._shard!r}, not {request.shard!r}")
        elif below == 0:
            self._answer(link)
        elif len(self._waiting) >= WAITING_MOST:
            self._answer(link, why=f"{WAITING_MOST} others ask already")
        elif isinstance(member.role, Leader | Winner | Stopped) and below > member.promise:
            self._answer(link, why=f"it is sealed below epoch {below} and begins again: ask once more")
            self._volume.seal_and_begin_again(below)
        else:
            self._waiting.append(link)
            self._volume.step(Seal(below))
            role = self._volume.member.role
            if link in self._waiting and not (isinstance(role, Sealed) and self._volume.member.promise == below):
                self._waiting.remove(link)
                self._answer(link, why=f"it promised epoch {self._volume.member.promise}: choose one above")

    def sealed(self, statement: Statement) -> None:
        waiting, self._waiting = self._waiting, []
        for link in waiting:
            self._answer(link, sealed_below=statement.below)

    def _answer(self, link: Link, *, sealed_below: int = 0, why: str = "") -> None:
        member = self._volume.member
        stopped = member.role.why if isinstance(member.role, Stopped) else ""
        testimony = v1.Testimony(
            shard=self._shard,
            place=self._place,
            member=member.me.member,
            state=str(state(member)),
            promised=member.promise,
            last_epoch=member.history.last_epoch,
            length=member.history.end,
            sealed_below=sealed_below,
            places=self._places(),
            why=why or stopped,
        )
        link.write(v1.LinkFrame(testimony=testimony))
