"""From any world on, nothing bad happens any more: everybody runs, disks and record answer, nothing is lost.

Then a new command must be committed, whatever happened before. What is done is the same for the same world, so two ways
that meet are one from there on, and a world that is known to heal is not healed twice.
"""

from collections.abc import Iterator
from dataclasses import replace

from replication.parts import AFTER_ALL, Broken, Disk, World, place_name
from replication.worlds import Worlds

from openbourse.engine.replication.inputs import Conflicted, LeadOn, Linked, Suspect, Trust, Unsettled
from openbourse.engine.replication.member import Leader, Member, Stopped
from openbourse.engine.replication.record import CompareAndSet, Read

STEPS_MAX = 300


class Healing:
    def __init__(self, worlds: Worlds) -> None:
        self.worlds = worlds
        self.bounds = worlds.bounds
        self.healed: set[World] = set()
        # Worlds without a volume that may take over: nobody must.
        self.hopeless = 0

    def heal(self, world: World) -> None:
        """Raises Broken where it does not."""
        self.worlds.bounds = replace(self.bounds, epochs=1_000, commands=1_000, losses=0, slow_reads=False)
        try:
            self._heal(world)
        finally:
            self.worlds.bounds = self.bounds

    def _heal(self, world: World) -> None:
        way: list[World] = []
        while world not in self.healed:
            if len(way) == STEPS_MAX:
                raise Broken(f"nothing is committed after {STEPS_MAX} steps without a fault")
            way.append(world)
            if AFTER_ALL in world.acknowledged:
                break
            if not self._has_hope(world):
                self.hopeless += 1
                break
            world = self._better(world)
        self.healed.update(way)

    def _has_hope(self, world: World) -> bool:
        record = self.worlds.records.values[world.record]
        volumes = {self._disk(world, place).volume for place in range(self.bounds.places)}
        return record is None or bool(record.record.in_sync & volumes)

    def _better(self, world: World) -> World:
        for after in self._tries(world):
            if after != world:
                return after
        raise Broken(f"stuck: {[str(self._member(world, place).role) for place in range(self.bounds.places)]}")

    def _tries(self, world: World) -> Iterator[World]:
        worlds = self.worlds
        places = range(self.bounds.places)
        for place in places:
            member = self._member(world, place)
            if worlds.needs_sync(member, self._disk(world, place)):
                yield worlds.sync(world, place)
            if member.waiting == Read():
                yield worlds.read(world, place)
            elif isinstance(member.waiting, CompareAndSet):
                yield self._answered(world, place, member.waiting)
        for letter in sorted(world.letters):
            yield worlds.deliver(world, letter)
        record = worlds.records.values[world.record]
        if record is None:
            yield from self._recoveries(world)
            return
        leader = record.record.leader
        for place in places:
            role = self._member(world, place).role
            if isinstance(role, Leader) and role.epoch == record.record.epoch:
                yield from self._led(world, place, self._member(world, place), role)
                return
        for place in places:
            if leader is not None:
                suspect = leader.member
                yield worlds.input(world, place, ("s", suspect), Suspect(suspect))
            yield worlds.look(world, place)

    def _led(self, world: World, place: int, member: Member, leader: Leader) -> Iterator[World]:
        worlds = self.worlds
        volumes = {self._disk(world, other).volume for other in range(self.bounds.places)}
        for other in range(self.bounds.places):
            if other != place:
                yield worlds.look(world, other)
                yield worlds.input(world, place, ("k", other), Linked(place_name(other)))
        for gone in sorted(leader.counted - volumes):
            yield worlds.input(world, place, ("s", gone), Suspect(gone))
        for trusted in sorted(member.suspected & volumes):
            yield worlds.input(world, place, ("t", trusted), Trust(trusted))
        if leader.successor is not None:
            yield worlds.input(world, place, ("o",), LeadOn())
        if member.commit == member.history.end:
            yield worlds.propose(world, place, AFTER_ALL)

    def _answered(self, world: World, place: int, ask: CompareAndSet) -> World:
        worlds = self.worlds
        for number in world.writings:
            writing = worlds.writings.values[number]
            if writing.place == place and writing.ask == ask:
                return worlds.land(world, number) if writing.version is None else worlds.succeed(world, number)
        record = worlds.records.values[world.record]
        if (None if record is None else record.version) != ask.expected:
            return worlds.input(world, place, ("c", place), Conflicted(ask))
        after = worlds.input(world, place, ("u", place), Unsettled(ask))
        return after if after != world else worlds.ask_again(world, place, ask)

    def _recoveries(self, world: World) -> Iterator[World]:
        worlds = self.worlds
        yield worlds.begin_recovery(world)
        for place in range(self.bounds.places):
            yield worlds.seal(world, place)
        yield worlds.write_record(world)

    def _member(self, world: World, place: int) -> Member:
        member = self.worlds.members.values[world.processes[place]]
        assert not isinstance(member.role, Stopped)
        return member

    def _disk(self, world: World, place: int) -> Disk:
        return self.worlds.disks.values[world.disks[place]]
