"""The other members as one of them meets them: links that begin and end, what comes on them, what each is sent.

What a message means for leadership, commit and the in-sync set is the member's to decide: it is handed on. What members
do not decide by is dealt with here: snapshots on their way, positions of consumers, a recovery's questions.
"""

import logging
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Protocol

from openbourse.contracts import v1
from openbourse.engine._core import Engine, Heartbeats
from openbourse.engine.journal import volume as volumes
from openbourse.engine.member.feed import Feed
from openbourse.engine.member.kept import held_from
from openbourse.engine.member.link_messages import frame, message
from openbourse.engine.member.links import Identity, Link, Links
from openbourse.engine.member.positions import Positions
from openbourse.engine.member.snapshot_transfer import Arrival
from openbourse.engine.member.testimony import Testimonies
from openbourse.engine.member.watch import Verdicts, Watch
from openbourse.engine.replication import Member
from openbourse.engine.replication.effects import Send, Statement
from openbourse.engine.replication.inputs import Input, Linked, Received, Unlinked
from openbourse.engine.replication.member import Leader, Standby
from openbourse.engine.replication.messages import Append, Differs, Joined, Snapshot
from openbourse.engine.replication.record import Session

log = logging.getLogger(__name__)

# Some hundreds of megabytes.
KEEP_COMMANDS = 4_000_000


class Host(Protocol):
    """The member at work, whose peers these are."""

    core: Engine
    volume: volumes.Volume
    watching: Watch

    @property
    def member(self) -> Member: ...
    def step(self, event: Input, /) -> None: ...
    def judge(self, verdicts: Verdicts, /) -> None: ...
    def twin(self, session: Session, place: str, /) -> None: ...
    def start(self, work: Coroutine[None, None, None], /) -> None: ...
    def seal_and_begin_again(self, below: int) -> None: ...


class Peers:
    """`keep_commands` of the log stay for a member that lacks them; one that lacks more takes a snapshot."""

    def __init__(
        self,
        host: Host,
        me: Identity,
        *,
        folder: Path,
        places: tuple[str, ...],
        heartbeats: Heartbeats | None,
        keep_commands: int,
        segment_bytes: int | None,
    ) -> None:
        self.links = Links(me, places, heartbeats, self)
        self.positions = Positions()
        self._host = host
        self._folder = folder
        self._heartbeats = heartbeats
        self._keep_commands = keep_commands
        self._feeds: dict[Link, Feed] = {}
        # When each said something last, and the bytes that came with what it says just now.
        self._said_s: dict[str, float] = {}
        self.records = b""
        self._leaving = False
        self._testimonies = Testimonies(host, me.shard, me.place, lambda: places)
        self._arrival = Arrival(
            folder,
            volume=lambda: host.volume,
            segment_bytes=segment_bytes,
            start=host.start,
            arrived=lambda link, epoch, seq: host.step(Received(link.place, Snapshot(epoch, seq))),
        )

    @property
    def linked_members(self) -> set[str]:
        return {link.peer.member for link in self.links.by_place.values()}

    def send(self, send: Send) -> None:
        """To one that is not linked any more: nothing."""
        link = self.links.by_place.get(send.place)
        if link is None:
            return
        match send.message:
            case Append() as append:
                self._feeds[link].send(append)
            case Joined(matched=matched) as joined:
                link.write(frame(joined, chain=self._host.core.chain_at(matched) or b""))
            case other:
                link.write(frame(other))

    def sealed(self, statement: Statement) -> None:
        self._testimonies.sealed(statement)

    def leave(self) -> None:
        """A session that is left has its link closed, so that whoever leads offers anew. It is no suspicion."""
        self._leaving = True
        for link in tuple(self.links.by_place.values()):
            link.close()
        self._leaving = False

    def close(self) -> None:
        # Their ends say nothing about the others.
        self._leaving = True
        self.links.close()
        if self._heartbeats is not None:
            self._heartbeats.close()

    def tick(self, now_ms: int) -> None:
        """Shows that this loop goes round, hears the others' heartbeats, tells followers what they may recycle."""
        if self._heartbeats is not None:
            self._heartbeats.progress()
            by_id = {link.link_id: link.peer.member for link in self.links.by_place.values()}
            for link_id, ago_ms, stamp in self._heartbeats.heard():
                member = by_id.get(link_id)
                if member is not None:
                    self._host.judge(self._host.watching.heard(member, stamp, now_ms - ago_ms))
        if isinstance(self._host.member.role, Leader):
            self.positions.tell(self.links.by_place.values())

    def heard_s(self, member: str) -> float | None:
        """When it said something last, or its heartbeat came; None: it never did."""
        return max(self._said_s.get(member, 0.0), self._host.watching.heard_ms(member) / 1000) or None

    @property
    def held_from(self) -> int | None:
        """The first seq that another member may still have to be sent; None: there is no other."""
        offered = (feed.offering.seq for feed in self._feeds.values())
        return held_from(self._host.member, self._keep_commands, [seq for seq in offered if seq is not None])

    def catching_up(self) -> dict[str, int] | None:
        """For the status: the snapshot that is on its way here."""
        return self._arrival.document()

    # What links say

    def linked(self, link: Link) -> None:
        self._feeds[link] = Feed(
            self._host.core,
            self._folder,
            link,
            start=self._host.start,
            durable=lambda: self._host.member.durable,
            history=lambda: self._host.member.history,
        )
        self._host.step(Linked(link.place))
        self._host.judge(self._host.watching.linked(link.peer.member))

    def unlinked(self, link: Link) -> None:
        self._feeds.pop(link).close()
        self._host.step(Unlinked(link.place))
        if not self._leaving:
            self._host.judge(self._host.watching.unlinked(link.peer.member, monotonic_ms()))

    def kernel_version(self) -> int:
        return self._host.core.kernel_version

    def twin(self, session: Session, place: str) -> None:
        self._host.twin(session, place)

    def asked(self, link: Link, request: v1.RecoveryRequest) -> None:
        self._testimonies.asked(link, request)

    def received(self, link: Link, said: v1.LinkFrame) -> None:
        understood = message(said)
        if understood is None:
            self._received_beside(link, said)
            return
        self._said_s[link.peer.member] = time.monotonic()
        if isinstance(understood, Joined) and not self._is_own_log(understood.matched, said.joined.chain):
            log.error("%s has another chain at seq %d: its log is a copy of another", link.peer, understood.matched)
            link.write(frame(Differs(understood.epoch, understood.matched)))
            return
        self.records = said.append.records
        self._host.step(Received(link.place, understood))
        self.records = b""

    def _received_beside(self, link: Link, said: v1.LinkFrame) -> None:
        """What members do not decide by."""
        role = self._host.member.role
        session = role.offer.epoch if isinstance(role, Standby) and role.place == link.place else None
        match said.WhichOneof("frame"):
            case "snapshot" if said.snapshot.epoch == session:
                self._arrival.offered(link, said.snapshot)
            case "wanted":
                self._feeds[link].offering.requested(said.wanted)
            case "piece":
                self._arrival.came(link, said.piece)
            case "passed" if session is not None:
                self.positions.told(said.passed)
            case "snapshot" | "passed":
                log.info("%s said what only the leader of this member's session may say", link.peer)
            case _:
                log.warning("%s said what this version does not know", link.peer)

    def _is_own_log(self, matched: int, chain: bytes) -> bool:
        """Where this log does not say any more, the other one lacks what is recycled, and cannot count."""
        if not 0 < matched <= self._host.core.end_seq:
            return True
        own = self._host.core.chain_at(matched)
        return own is None or own == chain


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
