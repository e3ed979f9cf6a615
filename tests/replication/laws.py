"""What holds in every small world, and what of it still matters."""

from typing import Any

from replication.names import Tables
from replication.parts import Bounds, Broken, Disk, World, conflict, history_of

from openbourse.engine.replication import protocol
from openbourse.engine.replication.effects import NOTHING, Effects
from openbourse.engine.replication.inputs import Input
from openbourse.engine.replication.member import Leader, Member, State, state
from openbourse.engine.replication.messages import Ack, Append, Differs, Joined, Offer, Refuse, Release, Snapshot
from openbourse.engine.replication.progress import matched as durable_through


class Laws(Tables):
    """`changes` counts the members' changes of state by what caused them, `steps` their different steps."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.changes: dict[tuple[State, State, str], int] = {}
        self.steps = 0
        # Whether worlds are one that differ in who is where only; not while the first one is made.
        self.is_symmetric = False
        self._stepped: dict[Any, tuple[int, Effects]] = {}
        self._boots: dict[Any, tuple[int, Effects]] = {}
        self._checked: set[Any] = set()
        self._live: dict[Any, frozenset[int]] = {}

    def member(self, world: World, place: int) -> Member:
        process = world.processes[place]
        return self.members.values[process]

    def needs_sync(self, member: Member, disk: Disk) -> bool:
        return (
            disk.written != disk.durable
            or (member.cutting and bool(disk.tail))
            or disk.promise != disk.promised
            or member.durable < member.history.end
            or member.promised < disk.promise
            or member.cutting
        )

    def canonical(self, world: World) -> World:
        world = world._replace(
            letters=self._living_letters(world),
            writings=frozenset(number for number in world.writings if self._is_living(world, number)),
        )
        world = self.ranked(world)
        return self.turned(world) if self.is_symmetric else world

    def _living_letters(self, world: World) -> frozenset[int]:
        """Without the letters that nobody can make anything of any more."""
        key = (world.letters, world.processes, world.disks, world.losses > 0)
        if (living := self._live.get(key)) is not None:
            return living
        leading: dict[int, Leader] = {}
        for place, process in enumerate(world.processes):
            if process >= 0 and isinstance(role := self.members.values[process].role, Leader):
                leading[place] = role
        led = {role.epoch for role in leading.values()}
        living = frozenset(number for number in world.letters if self._is_read(world, number, leading, led))
        self._live[key] = living
        return living

    def _is_read(self, world: World, number: int, leading: dict[int, Leader], led: set[int]) -> bool:
        letter = self.letters.values[number]
        message = letter.message
        match message:
            case Ack(epoch=epoch, member=member, matched=matched):
                leader = leading.get(letter.place)
                if leader is None or leader.epoch != epoch:
                    return False
                return matched > durable_through(leader.progress, member)
            case Joined(epoch=epoch, member=member, matched=matched):
                leader = leading.get(letter.place)
                if leader is None or leader.epoch != epoch:
                    return False
                return not any(p.member == member and p.matched >= matched for p in leader.progress)
            case Refuse():
                # Makes its reader look at the record, which it may do at any time.
                return False
            case Differs():
                return True
            case Release(epoch=epoch, version=version):
                # With any other version it is a suspicion, which comes at any time anyhow.
                return version == "1" and (epoch in led or self.bounds.ghosts)
            case Offer(epoch=epoch) | Append(epoch=epoch) | Snapshot(epoch=epoch):
                if epoch not in led and not self.bounds.ghosts:
                    return False
                if world.losses or self.disks.values[world.disks[letter.place]].promised <= epoch:
                    return True
                return isinstance(message, Offer) and epoch in led

    def _is_living(self, world: World, number: int) -> bool:
        writing = self.writings.values[number]
        if writing.version is None:
            within = writing.ask.record.epoch <= self.bounds.epochs
            return within and (writing.ask.expected is None or writing.ask.expected == "1")
        process = world.processes[writing.place]
        if process < 0:
            return False
        asker = self.members.values[process]
        if asker.me != writing.ask.record.leader:
            return False
        if isinstance(asker.role, Leader) and asker.role.epoch == writing.ask.record.epoch:
            return writing.ask in asker.role.unsettled
        return True

    def stepped(self, process: int, key: Any, event: Input) -> tuple[int, Effects]:
        """The member's step, computed once."""
        known = self._stepped.get((process, key))
        if known is None:
            before = self.members.values[process]
            try:
                after, effects = protocol.step(before, event)
            except AssertionError as error:
                raise Broken(f"{before.me}: {error}") from error
            self.steps += 1
            known = self._stepped[process, key] = (self.members(after), NOTHING if effects == NOTHING else effects)
            change = (state(before), state(after), type(event).__name__)
            if change[0] != change[1]:
                self.changes[change] = self.changes.get(change, 0) + 1
        return known

    def check(self, world: World) -> None:
        """One index of one epoch has one content, wherever it is; an epoch has one leader; a member knows its log."""
        key = (world.disks, world.processes)
        if key in self._checked:
            return
        for place, disk in enumerate(world.disks):
            written = self.disks.values[disk].written
            process = world.processes[place]
            if process >= 0 and self.members.values[process].history != history_of(written):
                raise Broken(f"{self.members.values[process].me} takes {written} for something else")
            epochs = [epoch for epoch, _ in written]
            if epochs != sorted(epochs):
                raise Broken(f"the epochs of the log of {self.disks.values[disk].volume} fall: {epochs}")
            for other in world.disks[place + 1 :]:
                if (what := conflict(self.disks.values[disk], self.disks.values[other])) is not None:
                    raise Broken(what)
        led = [
            role.epoch
            for process in world.processes
            if process >= 0 and isinstance(role := self.members.values[process].role, Leader)
        ]
        if len(led) != len(set(led)):
            raise Broken(f"an epoch has two leaders: {led}")
        self._checked.add(key)
