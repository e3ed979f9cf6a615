"""Small worlds: a few members, their disks, everything that is in flight, the record; and all that can happen next.

The members are those of `openbourse.engine.replication`; what is modelled is everything around them. A world is a tuple
of small numbers, each the number of a value that was seen before, so that a member's step is computed once for each
different member and input, however many worlds it happens in.

What was ever sent stays in flight until nobody can make anything of it: so messages are late, lost, repeated and out of
order without an event of their own. Writes of the record land late or never in the same way.

Worlds that differ in names only are one: versions are `1` (the record's) or `0` (any older one), boots are `1` (the
process that runs) or `0`, epochs are renamed by their rank.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from replication.draft import Draft
from replication.laws import Laws
from replication.parts import (
    Broken,
    Disk,
    Entries,
    Event,
    Letter,
    Recovery,
    World,
    Writing,
    after_power_loss,
    history_of,
    place_name,
    renew,
)

from openbourse.engine.replication import protocol, sessions
from openbourse.engine.replication.effects import NOTHING, Effects
from openbourse.engine.replication.inputs import (
    Beat,
    Conflicted,
    CutIsDurable,
    HandOver,
    Input,
    LeadOn,
    LogIsDurable,
    Look,
    PromiseIsDurable,
    Propose,
    Received,
    Seal,
    Seen,
    Succeeded,
    Suspect,
    Trust,
    Unsettled,
)
from openbourse.engine.replication.leading import accepts
from openbourse.engine.replication.member import Joining, Leader, Member, Sealed, Settings, Standby, Unknown
from openbourse.engine.replication.messages import Snapshot
from openbourse.engine.replication.record import CompareAndSet, Held, Read, Record, Session
from openbourse.engine.replication.recovery import recovered, seal_epoch


def name_of_renewed(volume: str) -> str:
    """A volume that begins anew is a new member."""
    return renew(volume)


class Worlds(Laws):
    """The worlds within some bounds: the first one, and from each what can happen next."""

    def told(self, event: Event) -> str:
        """An event of a trace, with values in place of numbers."""
        match event:
            case ("deliver", number):
                return f"deliver {self.letters.values[number]}"
            case ("land" | "succeed" as how, number):
                return f"{how} {self.writings.values[number]}"
            case _:
                return " ".join(map(str, event))

    # -- the first world

    def first(self) -> World:
        world = self._first()
        self.is_symmetric = self.bounds.symmetric
        # What is planted afterwards begins here.
        self._stepped.clear()
        self._boots.clear()
        self._checked.clear()
        return world

    def _first(self) -> World:
        """A leads epoch 1 and B is in sync, C too if there is one; reached by the members' own steps."""
        everybody = frozenset(f"{place_name(place)}1" for place in range(self.bounds.places))
        record = Record(0, Session("A1", "0"), everybody)
        processes, disks = [], []
        for place in range(self.bounds.places):
            disk = Disk(f"{place_name(place)}1", (), (), 0, 0)
            disks.append(self.disks(disk))
            processes.append(-1)
        world = World(
            self.records(Held(record, "1")),
            frozenset(),
            frozenset(),
            (),
            0,
            self.bounds.losses,
            (0, 0),
            self.recoveries(Recovery(self.bounds.recoveries, 0, ())),
            tuple(processes),
            tuple(disks),
        )
        for place in range(self.bounds.places):
            world = self.boot(world, place)
        world = self.read(world, 0)
        world = self.land(world, *world.writings)
        world = self.succeed(world, *world.writings)
        for _ in range(9):
            for place in range(self.bounds.places):
                if self.member(world, place).waiting == Read() and place != 0:
                    world = self.read(world, place)
                world = self.sync(world, place)
            for letter in sorted(world.letters):
                if letter in world.letters:
                    world = self.deliver(world, letter)
        return world

    # -- what can happen next

    def next(self, world: World) -> Iterator[tuple[Event, Callable[[], World]]]:
        """Every event that is possible, and the world after it. Both may be one that was seen before."""
        for letter in world.letters:
            yield ("deliver", letter), lambda letter=letter: self.deliver(world, letter)  # type: ignore[misc]
        for place, process in enumerate(world.processes):
            yield from self._next_at(world, place, self.members.values[process])
        record = self.records.values[world.record]
        for writing in world.writings:
            w = self.writings.values[writing]
            if w.version is None:
                if (record is None) == (w.ask.expected is None):
                    yield ("land", writing), lambda writing=writing: self.land(world, writing)  # type: ignore[misc]
            else:
                yield ("succeed", writing), lambda writing=writing: self.succeed(world, writing)  # type: ignore[misc]
        if self.bounds.recoveries:
            yield from self._next_recovery(world)

    def _next_at(self, world: World, place: int, member: Member) -> Iterator[tuple[Event, Callable[[], World]]]:
        role = member.role
        disk = self.disks.values[world.disks[place]]
        if self.needs_sync(member, disk):
            yield ("sync", place), lambda: self.sync(world, place)
        yield ("restart", place), lambda: self.boot(world, place)
        if world.losses:
            yield ("lose", place), lambda: self.lose(world, place)
        if disk.written != disk.durable or disk.promise != disk.promised or disk.tail:
            for log, promise in after_power_loss(disk):
                yield (
                    ("power", place, log, promise),
                    lambda log=log, promise=promise: self.power(  # type: ignore[misc]
                        world, place, log, promise
                    ),
                )
        if member.waiting == Read():
            yield ("read", place), lambda: self.read(world, place)
        elif member.waiting is not None:
            ask = member.waiting
            assert isinstance(ask, CompareAndSet)
            yield ("unsettled", place), lambda: self.input(world, place, ("u", place), Unsettled(ask))
            record = self.records.values[world.record]
            if (record is None or ask.expected != record.version) and not self._has_landed(world, place, ask):
                yield ("conflict", place), lambda: self.input(world, place, ("c", place), Conflicted(ask))
        elif isinstance(role, Unknown | Sealed | Leader):
            yield ("look", place), lambda: self.look(world, place)
        for suspect in self._suspects(world, place, member):
            yield (
                ("suspect", place, suspect),
                lambda suspect=suspect: self.input(  # type: ignore[misc]
                    world, place, ("s", suspect), Suspect(suspect)
                ),
            )
        if isinstance(role, Leader):
            yield from self._next_leader(world, place, member, role)

    def _next_leader(
        self, world: World, place: int, member: Member, role: Leader
    ) -> Iterator[tuple[Event, Callable[[], World]]]:
        for trusted in member.suspected if self.bounds.hasty or member.waiting is None else ():
            yield (
                ("trust", place, trusted),
                lambda trusted=trusted: self.input(  # type: ignore[misc]
                    world, place, ("t", trusted), Trust(trusted)
                ),
            )
        if self.bounds.beats and role.progress and member.commit:
            yield ("beat", place), lambda: self.input(world, place, ("b",), Beat())
        if world.commands < self.bounds.commands and accepts(member):
            yield ("propose", place), lambda: self.propose(world, place)
        if self.bounds.hand_overs:
            yield from self._next_hand_over(world, place, role)
        for follower in role.progress if self.bounds.snapshots else ():
            if follower.place is not None and follower.matched < member.commit:
                to = "ABC".index(follower.place)
                yield ("snapshot", place, to), lambda to=to: self.snapshot(world, place, to)  # type: ignore[misc]
        if self.bounds.downstream and member.commit == member.history.end:
            yield ("answer", place), lambda: self.answer(world, place)

    def _next_hand_over(self, world: World, place: int, role: Leader) -> Iterator[tuple[Event, Callable[[], World]]]:
        if role.successor is not None:
            yield ("lead on", place), lambda: self.input(world, place, ("o",), LeadOn())
            return
        for follower in role.progress:
            yield (
                ("hand over", place, follower.member),
                lambda to=follower.member: self.input(world, place, ("h", to), HandOver(to)),  # type: ignore[misc]
            )

    def _has_landed(self, world: World, place: int, ask: CompareAndSet) -> bool:
        """Then this try of it did not conflict."""
        return any(self.writings.values[writing] == Writing(place, ask, "0") for writing in world.writings) or any(
            self.writings.values[writing] == Writing(place, ask, "1") for writing in world.writings
        )

    def _suspects(self, world: World, place: int, member: Member) -> list[str]:
        match member.role:
            case Leader(held=held, progress=progress):
                known = held.record.in_sync | {follower.member for follower in progress}
                return sorted(known - member.suspected - {member.me.member})
            case Standby(offer=offer) | Joining(offer=offer):
                return [offer.leader.member]
            case Unknown():
                record = self.records.values[world.record]
                leader = None if record is None else record.record.leader
                return [] if leader is None or leader.member == member.me.member else [leader.member]
            case _:
                return []

    # -- events

    def deliver(self, world: World, number: int) -> World:
        letter = self.letters.values[number]
        place = letter.place
        known = self._stepped.get((world.processes[place], number))
        if known is not None and known[0] == world.processes[place] and known[1] is NOTHING:
            return world
        received = Received(place_name(letter.sender), letter.message)
        return self.input(world, place, number, received, entries=letter)

    def propose(self, world: World, place: int, command: int | None = None) -> World:
        """One command, in a batch of its own."""
        last = self.member(world, place).history.end + 1
        if command is None:
            command = world.commands + 1
            world = world._replace(commands=command)
        return self.input(world, place, ("p",), Propose(last), command=command)

    def snapshot(self, world: World, place: int, to: int) -> World:
        """What the follower lacks is not in the log any more: it gets the state at the commit index."""
        member = self.member(world, place)
        assert isinstance(member.role, Leader)
        entries = self.disks.values[world.disks[place]].written[: member.commit]
        draft = Draft(self, world)
        draft.letters.add(self.letters(Letter(to, place, Snapshot(member.role.epoch, member.commit), entries)))
        return draft.done()

    def sync(self, world: World, place: int) -> World:
        """Promise and log are files of their own, but one after the other changes nothing that two at once do not."""
        disk = self.disks.values[world.disks[place]]
        member = self.member(world, place)
        draft = Draft(self, world)
        tail = () if member.cutting else disk.tail
        synced = Disk(disk.volume, disk.written, disk.written, disk.promise, disk.promise, tail, disk.incoming)
        draft.disk(place, synced)
        if member.promised < disk.promise:
            draft.step(place, ("P", disk.promise), PromiseIsDurable(disk.promise))
        if member.cutting:
            draft.step(place, ("C", len(disk.written)), CutIsDurable(len(disk.written)))
        elif member.durable < len(disk.written):
            draft.step(place, ("D", len(disk.written)), LogIsDurable(len(disk.written)))
        return draft.done()

    def power(self, world: World, place: int, log: Entries, promise: int) -> World:
        """The machine restarts; of what was not synced the disk has some."""
        disk = self.disks.values[world.disks[place]]
        return self.boot(world, place, Disk(disk.volume, log, log, promise, promise))

    def lose(self, world: World, place: int) -> World:
        """The volume is gone; the process starts on a new one."""
        disk = self.disks.values[world.disks[place]]
        world = world._replace(losses=world.losses - 1)
        return self.boot(world, place, Disk(renew(disk.volume), (), (), 0, 0))

    def boot(self, world: World, place: int, disk: Disk | None = None) -> World:
        """The process ends and another one begins, on what the disk has."""
        draft = Draft(self, world)
        if disk is None:
            disk = replace(self.disks.values[world.disks[place]], incoming=())
        draft.disk(place, disk)
        old = Session(disk.volume, "0")
        draft.processes[place] = -1
        draft.rename(("boot", disk.volume), session=lambda session: old if session.member == disk.volume else session)
        draft.processes[place], effects = self._booted(place, disk)
        draft.effects(place, effects, is_boot=True)
        return draft.done()

    def _booted(self, place: int, disk: Disk) -> tuple[int, Effects]:
        known = self._boots.get((place, disk))
        if known is None:
            others = tuple(place_name(other) for other in range(self.bounds.places) if other != place)
            settings = Settings(others, self.bounds.min_in_sync)
            me = Session(disk.volume, "1")
            member, effects = protocol.boot(me, settings, history_of(disk.written), disk.promise, 0)
            known = self._boots[place, disk] = (self.members(member), effects)
        return known

    def ask_again(self, world: World, place: int, ask: CompareAndSet) -> World:
        """The same request, after one that was lost."""
        draft = Draft(self, world)
        draft.writings.add(self.writings(Writing(place, ask, None)))
        return draft.done()

    def look(self, world: World, place: int) -> World:
        return self.input(world, place, ("l",), Look())

    def read(self, world: World, place: int) -> World:
        return self.input(world, place, ("r", world.record), Seen(self.records.values[world.record]))

    def land(self, world: World, number: int) -> World:
        """The write of the record succeeds; who hears of it is another matter."""
        writing = self.writings.values[number]
        before = self.records.values[world.record]
        if before is not None and writing.ask.record.epoch < before.record.epoch:
            raise Broken(f"the record's epoch falls from {before.record.epoch} to {writing.ask.record.epoch}")
        draft = Draft(self, world)
        draft.writings.discard(number)
        ask = writing.ask
        if before is not None:
            draft.rename(("land",), version=lambda _: "0")
            ask = CompareAndSet("0", ask.record)
        draft.record = self.records(Held(ask.record, "1"))
        draft.writings.add(self.writings(Writing(writing.place, ask, "1")))
        return draft.done()

    def succeed(self, world: World, number: int) -> World:
        writing = self.writings.values[number]
        assert writing.version is not None
        draft = Draft(self, world)
        draft.writings.discard(number)
        draft.step(writing.place, ("w", number), Succeeded(writing.ask, writing.version))
        return draft.done()

    def answer(self, world: World, place: int) -> World:
        """A query, answered at the end of the log, all of it committed, to somebody who has heard other answers."""
        member = self.member(world, place)
        assert isinstance(member.role, Leader)
        epoch, seq = world.accepted
        match sessions.admit(epoch, member.role.epoch):
            case sessions.Admitted(highest):
                if member.history.end < seq:
                    raise Broken(
                        f"a downstream that has an answer at seq {seq} of epoch {epoch} "
                        f"takes one at seq {member.history.end} of epoch {member.role.epoch}"
                    )
                return self.canonical(world._replace(accepted=(highest, member.history.end)))
            case _:
                return world

    def input(
        self,
        world: World,
        place: int,
        key: Any,
        event: Input,
        *,
        entries: Letter | None = None,
        command: int | None = None,
    ) -> World:
        process = world.processes[place]
        after, effects = self.stepped(process, key, event)
        if after == process and effects is NOTHING:
            return world
        draft = Draft(self, world)
        draft.step(place, key, event, entries=entries, command=command)
        if draft.renews is None:
            return draft.done()
        disk = self.disks.values[draft.disks[draft.renews]]
        anew = Disk(name_of_renewed(disk.volume), disk.incoming, disk.incoming, disk.promise, disk.promised)
        # Not done yet: one of all mirror images may have others at its places.
        return self.boot(draft.world(), draft.renews, anew)

    # -- recovery

    def _next_recovery(self, world: World) -> Iterator[tuple[Event, Callable[[], World]]]:
        recovery = self.recoveries.values[world.recovery]
        record = self.records.values[world.record]
        if recovery.lost and record is not None:
            yield ("lose record",), lambda: self.lose_record(world)
        if record is None:
            yield ("recover",), lambda: self.begin_recovery(world)
        if record is None and recovery.below:
            for place in range(self.bounds.places):
                yield ("seal", place), lambda place=place: self.seal(world, place)  # type: ignore[misc]
            yield ("write record",), lambda: self.write_record(world)

    def lose_record(self, world: World) -> World:
        recovery = self.recoveries.values[world.recovery]
        draft = Draft(self, world)
        draft.rename(("land",), version=lambda _: "0")
        draft.record = self.records(None)
        draft.recovery = self.recoveries(Recovery(recovery.lost - 1, 0, ()))
        return draft.done()

    def begin_recovery(self, world: World) -> World:
        """Or begins again, with a higher epoch, where a volume has promised too much to be sealed."""
        recovery = self.recoveries.values[world.recovery]
        sealed = {statement.member for statement in recovery.statements}
        disks = [self.disks.values[disk] for disk in world.disks]
        if recovery.below and all(disk.promise < recovery.below or disk.volume in sealed for disk in disks):
            return world
        below = seal_epoch(disk.promise for disk in disks)
        if below > self.bounds.epochs or below == recovery.below:
            return world
        draft = Draft(self, world)
        draft.recovery = self.recoveries(Recovery(recovery.lost, below, ()))
        return draft.done()

    def seal(self, world: World, place: int) -> World:
        recovery = self.recoveries.values[world.recovery]
        return self.input(world, place, ("S", recovery.below), Seal(recovery.below))

    def write_record(self, world: World) -> World:
        recovery = self.recoveries.values[world.recovery]
        volumes = frozenset(self.disks.values[disk].volume for disk in world.disks)
        record = recovered(recovery.below, recovery.statements, frozenset(), volumes)
        if isinstance(record, str):
            return world
        draft = Draft(self, world)
        draft.record = self.records(Held(record, "1"))
        draft.recovery = self.recoveries(Recovery(recovery.lost, 0, ()))
        return draft.done()
