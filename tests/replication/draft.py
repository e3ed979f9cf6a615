"""A world in the making: one member's step, and all that its effects do to the world."""

from dataclasses import replace
from typing import Any

from replication.laws import Laws
from replication.parts import Broken, Disk, Entries, Letter, OutOfBounds, Recovery, World, Writing

from openbourse.engine.replication.effects import Effects
from openbourse.engine.replication.inputs import CutIsDurable, Input, LogIsDurable, PromiseIsDurable, Seen
from openbourse.engine.replication.member import Leader, Standby, Stopped
from openbourse.engine.replication.messages import Append, Message, Snapshot
from openbourse.engine.replication.record import CompareAndSet, Read


class Draft:
    """A world in the making."""

    def __init__(self, laws: Laws, world: World) -> None:
        self.laws = laws
        self.record = world.record
        self.writings = set(world.writings)
        self.letters = set(world.letters)
        self.acknowledged = world.acknowledged
        self.commands = world.commands
        self.losses = world.losses
        self.accepted = world.accepted
        self.recovery = world.recovery
        self.processes = list(world.processes)
        self.disks = list(world.disks)
        # Whose volume begins anew with what came for it.
        self.renews: int | None = None

    def world(self) -> World:
        return World(
            self.record,
            frozenset(self.writings),
            frozenset(self.letters),
            self.acknowledged,
            self.commands,
            self.losses,
            self.accepted,
            self.recovery,
            tuple(self.processes),
            tuple(self.disks),
        )

    def done(self) -> World:
        world = self.laws.canonical(self.world())
        self.laws.check(world)
        return world

    def disk(self, place: int, disk: Disk) -> None:
        self.disks[place] = self.laws.disks(disk)

    def rename(self, key: tuple[Any, ...], **names: Any) -> None:
        """Everywhere in the world, but for what it has accepted."""
        world = self.laws.renamed(self.world(), key, **names)
        self.record, self.recovery = world.record, world.recovery
        self.writings, self.letters = set(world.writings), set(world.letters)
        self.processes, self.disks = list(world.processes), list(world.disks)

    def step(
        self,
        place: int,
        key: Any,
        event: Input,
        *,
        entries: Letter | None = None,
        command: int | None = None,
    ) -> None:
        before = self.processes[place]
        after, effects = self.laws.stepped(before, key, event)
        self.processes[place] = after
        if after != before:
            self._check_role(place, before, after)
        self.effects(place, effects, entries=entries, command=command)

    def effects(
        self,
        place: int,
        effects: Effects,
        *,
        entries: Letter | None = None,
        command: int | None = None,
        is_boot: bool = False,
    ) -> None:
        if entries is not None and isinstance(entries.message, Snapshot):
            self._incoming(place, entries.entries)
        disk = self.laws.disks.values[self.disks[place]]
        written, promise = disk.written, disk.promise
        if effects.promise is not None:
            promise = effects.promise
            if promise < disk.promise:
                raise Broken(f"the promise of {disk.volume} falls from {disk.promise} to {promise}")
        if effects.cut is not None:
            written = written[: effects.cut]
        if effects.write is not None:
            written += self._written(place, effects, entries, command)
        if written != disk.written or promise != disk.promise:
            at_once = not self.laws.bounds.power
            durable, promised = (written, promise) if at_once else (disk.durable, disk.promised)
            tail = disk.tail if effects.cut is None or at_once else disk.durable
            self.disk(place, Disk(disk.volume, written, durable, promise, promised, tail, disk.incoming))
        for send in effects.send:
            self._send(place, "ABC".index(send.place), send.message, written)
        if isinstance(effects.ask, CompareAndSet):
            if effects.ask.record.epoch > self.laws.bounds.epochs:
                raise OutOfBounds
            self.writings.add(self.laws.writings(Writing(place, effects.ask, None)))
        elif isinstance(effects.ask, Read) and not (is_boot or self.laws.bounds.slow_reads):
            self.step(place, ("r", self.record), Seen(self.laws.records.values[self.record]))
        if effects.commit is not None:
            self._committed(place, written[: effects.commit], effects.commit)
        if effects.sealed is not None:
            recovery = self.laws.recoveries.values[self.recovery]
            statements = tuple(sorted({*recovery.statements, effects.sealed}, key=repr))
            if effects.sealed.below == recovery.below:
                self.recovery = self.laws.recoveries(Recovery(recovery.lost, recovery.below, statements))
        if not self.laws.bounds.power:
            self._durable_at_once(place, effects)
        if effects.renew is not None:
            self.renews = place
        elif disk.incoming and not self._waits_for_record(place):
            self._incoming(place, ())

    def _incoming(self, place: int, entries: Entries) -> None:
        self.disk(place, replace(self.laws.disks.values[self.disks[place]], incoming=entries))

    def _waits_for_record(self, place: int) -> bool:
        role = self.laws.members.values[self.processes[place]].role
        return self.renews == place or (isinstance(role, Standby) and role.arrived > 0)

    def _written(self, place: int, effects: Effects, letter: Letter | None, command: int | None) -> Entries:
        write = effects.write
        assert write is not None
        if letter is None:
            process = self.processes[place]
            assert command is not None
            role = self.laws.members.values[process].role
            assert isinstance(role, Leader)
            return ((role.epoch, command),)
        message = letter.message
        assert isinstance(message, Append)
        return letter.entries[write.first - message.after - 1 : write.last - message.after]

    def _send(self, place: int, to: int, message: Message, written: Entries) -> None:
        assert not isinstance(message, Snapshot), "the shell's to send"
        entries = written[message.after : message.last] if isinstance(message, Append) else ()
        self.letters.add(self.laws.letters(Letter(to, place, message, entries)))

    def _durable_at_once(self, place: int, effects: Effects) -> None:
        end = len(self.laws.disks.values[self.disks[place]].written)
        if effects.promise is not None:
            self.step(place, ("P", effects.promise), PromiseIsDurable(effects.promise))
        if effects.cut is not None:
            self.step(place, ("C", effects.cut), CutIsDurable(effects.cut))
        if effects.write is not None or effects.sync:
            self.step(place, ("D", end), LogIsDurable(end))

    def _committed(self, place: int, entries: Entries, commit: int) -> None:
        commands = tuple(command for _, command in entries)
        process = self.processes[place]
        member = self.laws.members.values[process]
        if len(commands) < commit:
            raise Broken(f"{member.me} commits through {commit} and has {len(commands)} entries")
        known = self.acknowledged
        shared = min(len(known), len(commands))
        if commands[:shared] != known[:shared]:
            raise Broken(f"{member.me} commits {commands}, acknowledged was {known}")
        if len(commands) > len(known):
            if not isinstance(member.role, Leader):
                raise Broken(f"{member.me} steps {commands} and does not lead, acknowledged was {known}")
            self.acknowledged = commands

    def _check_role(self, place: int, before: int, after: int) -> None:
        member = self.laws.members.values[after]
        role = member.role
        if isinstance(role, Stopped):
            raise Broken(f"{member.me} {role.why}")
        if isinstance(role, Leader) and not isinstance(self.laws.members.values[before].role, Leader):
            written = self.laws.disks.values[self.disks[place]].written
            commands = tuple(command for _, command in written)
            known = self.acknowledged
            record = self.laws.records.values[self.record]
            # One that hears so late that it won has a later leader already, and can commit nothing.
            is_latest = record is not None and record.record.epoch == role.epoch
            if self.laws.disks.values[self.disks[place]].promised > role.epoch:
                raise Broken(f"{member.me} leads epoch {role.epoch} and promised a newer one")
            if is_latest and commands[: len(known)] != known:
                raise Broken(f"{member.me} leads epoch {role.epoch} with {commands}, acknowledged was {known}")
