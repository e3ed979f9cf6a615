"""One member of a shard at work: hands what happens to the pure `replication.Member`, and carries out what it wants.

It decides nothing about leadership, commit or the in-sync set. One input after the other; the effects of one are
carried out before the next.
"""

import asyncio
import contextlib
import datetime
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from openbourse.engine._core import Engine, Fatal, Heartbeats
from openbourse.engine.arbiters.arbiter import Arbiter
from openbourse.engine.arbiters.asking import Asker, Outcome
from openbourse.engine.errors import BeginAgain
from openbourse.engine.journal import epochs, renewal
from openbourse.engine.journal import volume as volumes
from openbourse.engine.kernel_versions import KERNEL_VERSION, Shard
from openbourse.engine.loop import Loop
from openbourse.engine.member.links import Identity
from openbourse.engine.member.own_disk import OwnDisk
from openbourse.engine.member.peers import KEEP_COMMANDS, Peers, monotonic_ms
from openbourse.engine.member.take_overs import TakeOvers
from openbourse.engine.member.watch import Verdicts, Watch
from openbourse.engine.replication import Effects, Input, Settings, State, boot, hand_over, state, step
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import (
    Beat,
    CutIsDurable,
    Found,
    HandOver,
    LeadOn,
    LogIsDurable,
    Look,
    PromiseIsDurable,
    Propose,
    Received,
    Seen,
    Suspect,
)
from openbourse.engine.replication.leading import has_enough
from openbourse.engine.replication.member import (
    Candidate,
    Joining,
    Leader,
    Progress,
    Standby,
    Stopped,
    Unknown,
    Winner,
)
from openbourse.engine.replication.messages import Joined, Offer, Release
from openbourse.engine.replication.record import Record, Session

log = logging.getLogger(__name__)

TICK_S = 0.05
LOOK_S = 0.5
LOOKS_IN_SESSION = 10
# By then another process on the same volume id is linked, or not there.
TWIN_S = 1.0
# A switchover that takes longer is given up. Meanwhile what clients send waits.
HAND_OVER_S = 1.0
# Carried out in one go, so that the loop goes round meanwhile.
ADVANCE_COMMANDS = 2000
TOO_FEW = "too few members are in sync"


class Replica:
    """`leads` is set when this member leads and its kernel has everything. `failed` gets what ends the process."""

    def __init__(
        self,
        core: Engine,
        loop: Loop,
        *,
        folder: Path,
        volume: volumes.Volume,
        history: History,
        arbiter: Arbiter,
        heartbeats: Heartbeats | None,
        place: str,
        settings: Settings,
        found: bool,
        keep_commands: int = KEEP_COMMANDS,
        segment_bytes: int | None = None,
        kernel_version: int = KERNEL_VERSION,
    ) -> None:
        """`heartbeats`: None where there are no other places. `found`: this volume makes the shard, if it is empty.

        `keep_commands` of the log stay for another member that lacks them; one that lacks more takes a snapshot.
        """
        self.core = core
        self.loop = loop
        self.volume = volume
        self.me = Session(volume.member, volumes.new_id())
        self.leads = asyncio.Event()
        self.stopped = asyncio.Event()
        self.joined = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.take_overs = TakeOvers(time.monotonic)
        self.watching = Watch(monotonic_ms())
        self.peers = Peers(
            self,
            Identity(volume.shard, place, self.me, kernel_version),
            folder=folder,
            places=settings.places,
            heartbeats=heartbeats,
            keep_commands=keep_commands,
            segment_bytes=segment_bytes,
        )
        self._folder = folder
        self._asker = Asker(arbiter, self._answered)
        self._found = found
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._promising = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._own_disk = OwnDisk()
        # How far the followers know the log to be committed; 0: one of them does not.
        self._beaten = 0
        self._record: Record | None = None
        # The last that the member said.
        self._said = ""
        # Why the core takes no commands though this member leads.
        self._suspended: str | None = None
        self._advancing = False
        self._looks = 0
        self._waited_for_twin = False
        # Nothing is being handed over.
        self._leads_on = asyncio.Event()
        self._leads_on.set()
        # Told how far a standby has carried out what is committed.
        self.on_advanced: list[Callable[[int], None]] = []
        self.member, self._first = boot(self.me, settings, history, volume.promise, core.committed_seq)

    @property
    def state(self) -> State:
        return state(self.member)

    @property
    def stands_by(self) -> bool:
        """It follows a leader."""
        return self.state in {State.STANDBY, State.IN_SYNC}

    @property
    def trouble(self) -> str:
        """Why the record cannot be read or written; empty: it can."""
        return self._asker.trouble.why if self._asker.trouble is not None else ""

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._asker.run())
                self._carry_out(self._first)
                tasks.create_task(self._watch())
                tasks.create_task(self._look())
        finally:
            self.peers.close()

    def _answered(self, outcome: Outcome) -> None:
        """One whose own id leads in another boot waits first whether that boot is there: then this volume is a copy."""
        if isinstance(outcome, Seen) and outcome.held is not None and not self._waited_for_twin:
            self._waited_for_twin = True
            leader = outcome.held.record.leader
            if self.peers.links.places and leader is not None and leader.member == self.me.member:
                self._record = outcome.held.record
                self.start(self._after_twin(outcome))
                return
        self.step(outcome)

    async def _after_twin(self, outcome: Seen) -> None:
        await asyncio.sleep(TWIN_S)
        self.step(outcome)

    def step(self, event: Input) -> None:
        """What happened. Comes back when everything that follows from it is begun."""
        self._inputs.append(event)
        if self._stepping or self.failed.done():
            return
        self._stepping = True
        try:
            while self._inputs:
                before = self.member.role
                led = isinstance(before, Leader)
                happened = self._inputs.popleft()
                self._note(happened)
                self.member, effects = step(self.member, happened)
                if isinstance(happened, Seen) and not isinstance(self.member.role, Candidate | Winner | Leader):
                    # Somebody leads: the suspicion came to nothing.
                    self.take_overs.over()
                if led and isinstance(self.member.role, Stopped):
                    self.loop.leave()
                    self.stopped.set()
                elif led and not isinstance(self.member.role, Leader):
                    # Its kernel may be ahead of what the next leader has: only a boot gets it back.
                    planned = isinstance(before, Leader) and before.successor is not None
                    for said in effects.said:
                        log.log(logging.INFO if planned else logging.WARNING, "%s", said)
                    raise BeginAgain(f"{self.me} {'has handed over the lead' if planned else 'does not lead any more'}")
                self._carry_out(effects)
                if isinstance(before, Standby | Joining | Candidate) and isinstance(
                    self.member.role, Unknown | Stopped
                ):
                    self.peers.leave()
        except BaseException as error:
            if not self.failed.done():
                self.failed.set_exception(error if isinstance(error, Exception) else Fatal(repr(error)))
            if not isinstance(error, BeginAgain | Fatal):
                raise
        finally:
            self._stepping = False

    def _note(self, happened: Input) -> None:
        match happened:
            case Seen(held):
                self._record = held.record if held is not None else None
            case Suspect(other) if isinstance(role := self.member.role, Standby) and other == role.offer.leader.member:
                if not self.take_overs.last.begun:
                    log.warning("suspects the leader %s: %s", other, self.watching.signs(other, monotonic_ms()))
                self.take_overs.suspected(self.peers.heard_s(other), self.member.commit, _now_text())
            case Received(_, Release()) if isinstance(role := self.member.role, Standby):
                heard_s = self.peers.heard_s(role.offer.leader.member)
                self.take_overs.suspected(heard_s, self.member.commit, _now_text(), planned=True)
            case Received(_, Offer()):
                # Somebody else was faster.
                self.take_overs.over()
            case Received(_, Joined()):
                # One that has all entries already is sent none, and so not told how far they are committed.
                self._beaten = 0

    def _carry_out(self, effects: Effects) -> None:
        """In the order of the fields of Effects."""
        role = self.member.role
        if effects.promise is not None:
            self.start(self._promise(effects.promise))
        if effects.cut is not None:
            self._cut(effects.cut)
        if effects.sync:
            # The recovery of the log made durable what it read.
            self._inputs.append(LogIsDurable(self.core.end_seq))
        if effects.write is not None and not isinstance(role, Leader):
            end_seq = self.core.follow(self.peers.records)
            assert end_seq >= effects.write.last, f"the records end at {end_seq}, not at {effects.write.last}"
        for send in effects.send:
            self.peers.send(send)
        if effects.ask is not None:
            self._asker.ask(effects.ask)
        if effects.commit is not None:
            self.core.commit(effects.commit)
            if self.leads.is_set():
                self.loop.committed()
                self.take_overs.committed()
        if effects.sealed is not None:
            self.peers.sealed(effects.sealed)
        for said in effects.said:
            # One that waits would say so with every look.
            log.log(logging.DEBUG if said == self._said else logging.INFO, "%s", said)
            self._said = said
        if effects.renew is not None:
            renewal.adopt(self._folder)
            raise BeginAgain(f"{self._folder} is a new volume, of the leader's snapshot of seq {effects.renew}")
        self._noted()

    def _noted(self) -> None:
        match self.state:
            case State.LEADER if not self._advancing and not self.leads.is_set():
                self._advancing = True
                self.start(self._lead())
            case State.STANDBY | State.IN_SYNC:
                self.joined.set()
                if not self.member.suspected:
                    self.take_overs.over()
                self._advance()
            case _:
                pass
        role = self.member.role
        if not self.leads.is_set() or not isinstance(role, Leader):
            return
        self.loop.hold(role.successor is not None)
        if role.successor is None:
            self._leads_on.set()
        if (why := None if has_enough(self.member, role) else TOO_FEW) != self._suspended:
            self._suspended = why
            self.core.suspend(why)

    def member_at(self, host: str) -> str | None:
        """The follower that is linked from there."""
        for follower in self.followers:
            if follower.place is not None and follower.place.rpartition(":")[0] == host:
                return follower.member
        return None

    async def hand_over(self, to: str | None = None) -> str:
        """Lets the member `to` lead, or whoever has most. Why that did not come to pass, within a second.

        Where it does, this member fails with BeginAgain, and the caller is cancelled with everything else.
        """
        role = self.member.role
        if not self.leads.is_set() or not isinstance(role, Leader):
            return "this member does not lead"
        if role.successor is not None:
            return f"it is being handed over to {role.successor}"
        to = to or hand_over.fittest(self.member, role)
        if to is None:
            return "no other member is in sync, linked and well"
        if why := hand_over.unfit(self.member, role, to):
            return why
        self._leads_on.clear()
        self.step(HandOver(to))
        try:
            async with asyncio.timeout(HAND_OVER_S):
                await self._leads_on.wait()
        except TimeoutError:
            self.step(LeadOn())
            return f"{to} did not take over within {HAND_OVER_S:g} s"
        return self._said

    def _advance(self) -> None:
        """A standby carries out what is committed, a piece at a time."""
        if self._advancing or self.core.seq >= min(self.member.commit, self.member.durable):
            return
        self._advancing = True
        self.start(self._catch_up())

    async def _catch_up(self) -> None:
        with self._fails():
            while self.stands_by:
                # What its own disk does not have yet may come back as something else.
                if self.core.advance(min(self.member.commit, self.member.durable), ADVANCE_COMMANDS):
                    break
                await asyncio.sleep(0)
        self._advancing = False
        for advanced in self.on_advanced:
            advanced(self.core.seq)
        self._noted()

    async def _lead(self) -> None:
        with self._fails():
            before, began_s = self.core.seq, time.monotonic()
            while True:
                if self.core.advance(self.core.end_seq, ADVANCE_COMMANDS):
                    break
                await asyncio.sleep(0)
            replayed, took_s = self.core.seq - before, time.monotonic() - began_s
            log.info("replayed %d commands behind seq %d in %.2f s", replayed, before, took_s)
            if not isinstance(self.member.role, Leader):
                return
            self.take_overs.led(self.core.end_seq, self.member.role.epoch)
            self.loop.on_first_answer = self.take_overs.acknowledged
            self.loop.lead(self.member.role.epoch)
            self.leads.set()
            self._noted()

    def _cut(self, last: int) -> None:
        try:
            self.core.cut(last)
        except Fatal as error:
            if self.core.seq > last:
                raise BeginAgain(str(error)) from None
            raise
        if (end := self.core.end_seq) < last:
            # The disk was slow or said no. A boot says what is there, and joins with it.
            raise BeginAgain(f"the log was cut behind seq {last} before the disk had more of it than seq {end}")
        self._inputs.append(CutIsDurable(last))

    async def _promise(self, epoch: int) -> None:
        async with self._promising:
            while self.volume.promise < epoch:
                try:
                    self.volume = await asyncio.to_thread(volumes.promise, self._folder, self.volume, epoch)
                except OSError as error:
                    log.error("epoch %d cannot be promised, so this member waits: %s", epoch, error)
                    await asyncio.sleep(LOOK_S)
        self.step(PromiseIsDurable(epoch))

    def seal_and_begin_again(self, below: int) -> None:
        """What a leader carried out may be more than what a recovery names: only a boot goes back."""
        self.start(self._sealed_anew(below))

    async def _sealed_anew(self, below: int) -> None:
        await self._promise(below)
        with self._fails():
            raise BeginAgain(f"sealed below epoch {below}, by a person who recovers the shard")

    def start(self, work: Coroutine[None, None, None]) -> None:
        assert self._tasks is not None, "it runs"
        self._tasks.create_task(work)

    @contextlib.contextmanager
    def _fails(self) -> Iterator[None]:
        try:
            yield
        except (Fatal, BeginAgain) as error:
            if not self.failed.done():
                self.failed.set_exception(error)

    # The loop

    def proposed(self, last: int) -> None:
        """The loop made a batch."""
        if self.peers.links.by_place:
            self.watching.proposed(last, monotonic_ms())
        self.step(Propose(last))

    def durable(self, last: int) -> None:
        """The log's writer says so."""
        if last > self.member.durable:
            self.step(LogIsDurable(last))

    # The peers

    def twin(self, session: Session, place: str) -> None:
        """The one that the record names as the leader is no copy, so this one is."""
        if self._record is not None and self._record.leader == session:
            with self._fails():
                raise Fatal(
                    f"{self._folder} is a copy of the volume of {session}, which leads at {place}: remove its "
                    f"{volumes.FILE}, and it joins as a new member"
                )

    # Time

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            tick_ms = monotonic_ms()
            self.peers.tick(tick_ms)
            self.judge(self.watching.tick(self.member, tick_ms))
            trouble, syncing_ms = self.core.trouble, int(self.loop.syncing_for_s * 1000)
            if why := self._own_disk.leaves(self.member, trouble and trouble[1], syncing_ms, tick_ms):
                with self._fails():
                    raise BeginAgain(why)
            role = self.member.role
            if isinstance(role, Leader) and (self.member.commit != self._beaten or role.successor is not None):
                self._beaten = self.member.commit
                self.step(Beat())

    def judge(self, verdicts: Verdicts) -> None:
        for verdict in verdicts:
            self.step(verdict)

    async def _look(self) -> None:
        """What the record says: often as long as nobody leads, as far as this member knows."""
        while True:
            await asyncio.sleep(LOOK_S)
            # Also while the record is read: a dead member that is suspected at every tick has it read all the time.
            self.judge(self.watching.absent(self.member, self._record, self.peers.linked_members, monotonic_ms()))
            if self.member.waiting is not None:
                continue
            self._looks += 1
            if self.state in {State.UNKNOWN, State.SEALED}:
                is_new = self.member.promise == 0 and self.member.history.end == 0
                if self._found and is_new and self._record is None:
                    self.step(Found())
                self.step(Look())
            elif self.state is State.STANDBY or self._looks % LOOKS_IN_SESSION == 0:
                # So that a record that cannot be read is said before anybody needs it; and soon that it is in sync.
                self.step(Look())

    def last_failover(self) -> dict[str, Any] | None:
        """How this member's own take-over went; None: it has not taken over."""
        took = self.take_overs.last.document()
        return None if took is None else took | {"resent": self.core.resent_commands}

    def write_epochs(self) -> None:
        """Makes durable which epochs wrote the log. Raises OSError and Fatal."""
        epochs.write(self._folder, self.member.history)

    @property
    def epoch(self) -> int:
        """Of the leader; 0, where this member does not lead."""
        role = self.member.role
        return role.epoch if isinstance(role, Leader) else 0

    @property
    def in_sync(self) -> frozenset[str]:
        """Of the record, as a leader knows it; nobody, where this member does not lead."""
        role = self.member.role
        return role.held.record.in_sync if isinstance(role, Leader) else frozenset()

    def kernel_versions(self, led_s: float) -> Shard:
        """What a leader of so long knows of the others' kernels."""
        links = self.peers.links
        known = {link.peer.member: link.kernel_version for link in links.by_place.values()}
        others = self.in_sync - {self.me.member}
        return Shard(self.core.kernel_version, links.places, known, others, led_s)

    @property
    def followers(self) -> tuple[Progress, ...]:
        """Of a leader."""
        role = self.member.role
        return role.progress if isinstance(role, Leader) else ()

    def document(self) -> dict[str, object]:
        """For the status."""
        role = self.member.role
        return {
            "role": str(self.state),
            "member": self.me.member,
            "boot": self.me.boot,
            "promised_epoch": self.member.promised,
            "in_sync": sorted(self.in_sync),
            "followers": [_follower(follower) for follower in self.followers],
            "stopped": role.why if isinstance(role, Stopped) else "",
            "record": self.trouble,
            "catching_up": self.peers.catching_up(),
            "last_failover": self.last_failover(),
        }


def _follower(follower: Progress) -> dict[str, object]:
    return {"member": follower.member, "place": follower.place, "durable_seq": follower.matched}


def _now_text() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
