"""What goes wrong in a simulated world, and how it is mended again. The dice choose what, whom and for how long."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulation.members import Member

from openbourse.engine._core import SimulatedDisk
from openbourse.engine.member.replica import Replica
from openbourse.engine.replication import State

if TYPE_CHECKING:
    from simulation.world import World

GAP_S = 0.35
FULL_SPARE_BYTES = 2000
SECTOR = 512
SEGMENT_HEADER_BYTES = 4096
MOMENTS = (
    "a batch is sent and not synced",
    "between fsync and reply",
    "a command is answered",
    "a take-over",
    "the set changes",
)


@dataclass(frozen=True, slots=True)
class Ambush:
    """What happens at the next such moment: to all members, or to the one that it is about."""

    moment: str
    power: bool
    all: bool
    # None: whoever it is.
    who: Member | None = None


class Faults:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._mends: dict[int, Callable[[], None]] = {}
        self._last = 0
        self._ambush: Ambush | None = None
        self._kinds: list[tuple[int, Callable[[], Coroutine[Any, Any, None]]]] = [
            (6, self._kill),
            (5, self._power_loss),
            (3, self._all_at_once),
            (5, self._freeze),
            (8, self._cut),
            (3, self._reset),
            (3, self._slow_disk),
            (2, self._full_disk),
            (3, self._failing_disk),
            (3, self._record_away),
            (2, self._clock),
            (2, self._ledger),
            (1, self._reader),
            (8, self._lie_in_wait),
            (5, self._isolate),
            (3, self._slow_follower),
            (2, self._lose_volume),
            (1, self._spoil),
            (1, self._misdirect),
            (6, self._hand_over),
        ]

    async def rage(self, lasts_s: float) -> None:
        world, dice = self._world, self._world.dice
        end_s = world.loop.time() + lasts_s
        while world.loop.time() < end_s:
            await asyncio.sleep(min(dice.expovariate(1 / GAP_S), max(0.0, end_s - world.loop.time())))
            (fault,) = dice.choices([kind for _, kind in self._kinds], [weight for weight, _ in self._kinds])
            world.seen[f"fault: {fault.__name__.strip('_').replace('_', ' ')}"] += 1
            await fault()
            world.check()
        self._ambush = None

    async def heal(self) -> None:
        for mend in list(self._mends.values()):
            mend()
        # Else a shard that needs several writes has bad luck for longer than anybody waits (seed 344 of 2026-11-29).
        self._world.store.lossy = 0.0
        for member in self._world.members:
            if member.down:
                member.boot()

    async def end(self) -> None:
        """Nothing runs afterwards."""
        world = self._world
        for mend in list(self._mends.values()):
            mend()
        for member in world.members:
            if member.process is not None:
                if not member.down:
                    await member.crash(power=False)
                SimulatedDisk.unmount(member.folder)
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)

    def _for(self, least_s: float, most_s: float, mend: Callable[[], None]) -> None:
        """Mended after a time by the dice, and when everything heals."""
        self._last += 1
        number = self._last

        def once() -> None:
            if self._mends.pop(number, None) is not None:
                mend()

        self._mends[number] = once
        self._world.call_later(self._world.dice.uniform(least_s, most_s), once)

    def _somebody(self) -> Member | None:
        """One that is up, rather the one that leads."""
        dice, up = self._world.dice, [member for member in self._world.members if not member.down]
        leaders = [member for member in up if member.leads]
        return dice.choice(leaders if leaders and dice.random() < 0.6 else up) if up else None

    async def crash(self, member: Member, *, power: bool) -> None:
        world = self._world
        if member.down:
            return
        states = {other.state for other in world.members}
        if member.leads and State.STANDBY in states:
            world.seen["the leader dies while a member is being added"] += 1
        world.note(f"{member.name} {'loses power' if power else 'is killed'}")
        await member.crash(power=power)
        self._reboot(member)

    async def _kill(self) -> None:
        if (member := self._somebody()) is not None:
            await self.crash(member, power=False)

    async def _power_loss(self) -> None:
        if (member := self._somebody()) is not None:
            await self.crash(member, power=True)

    async def _all_at_once(self) -> None:
        power = self._world.dice.random() < 0.7
        for member in self._world.members:
            await self.crash(member, power=power)

    async def _freeze(self) -> None:
        member, loop = self._somebody(), self._world.loop
        if member is None or member.process is None or member.process.frozen:
            return
        process = member.process
        self._world.note(f"{member.name} freezes")
        loop.freeze(process)
        self._for(0.05, 2.5, lambda: loop.thaw(process))

    def _hosts(self) -> tuple[str, str]:
        dice = self._world.dice
        members = [member.host for member in self._world.members]
        others = ["10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.3.1"]
        one = dice.choice(members)
        rest = [host for host in members if host != one]
        return one, dice.choice(rest if dice.random() < 0.65 else others)

    async def _cut(self) -> None:
        one, other = self._hosts()
        network, dice = self._world.network, self._world.dice
        ways = dice.choice(([(one, other), (other, one)], [(one, other)], [(other, one)]))
        self._world.note(f"cut {ways}")
        for way in ways:
            network.cut(*way)

        def mend() -> None:
            for way in ways:
                network.mend(*way)

        self._for(0.05, 3.0, mend)

    async def _isolate(self) -> None:
        """A leader that hears nothing for a while, of the record even longer; meanwhile others go on, and may die."""
        world, dice = self._world, self._world.dice
        member = next((member for member in world.members if member.leads), None)
        if member is None:
            return
        others = [other for other in world.members if other is not member]
        ways = [way for other in others for way in ((member.host, other.host), (other.host, member.host))]
        world.note(f"{member.name} is isolated")
        for way in ways:
            world.network.cut(*way)
        world.store.away.add(member.host)
        killed = [other for other in others if dice.random() < 0.5]

        def mend() -> None:
            for way in ways:
                world.network.mend(*way)

        for other in killed:
            self._for(1.2, 2.5, self._crash_of(other))
        self._for(0.5, 2.5, mend)
        self._for(1.5, 4.0, lambda: world.store.away.discard(member.host))

        for client in world.gateways:
            # They come back to whoever answers first.
            self._for(0.9, 2.0, lambda host=client.process.host: world.network.reset(member.host, host))  # type: ignore[misc]
        if dice.random() < 0.5:
            self._for(0.9, 2.0, lambda: world.spawn(world.ledger.crash()))

    async def _slow_follower(self) -> None:
        """It is left behind with batches that its disk does not have yet; then the leader loses the last one."""
        world, dice = self._world, self._world.dice
        leader = next((member for member in world.members if member.leads), None)
        followers = [member for member in world.members if not member.down and member is not leader]
        if leader is None or not followers:
            return
        follower = dice.choice(followers)
        follower.slow_s = 3.0

        def mend() -> None:
            follower.slow_s = None

        self._for(2.0, 3.5, mend)
        await asyncio.sleep(dice.uniform(1.0, 1.8))
        self._ambush = Ambush("a batch is sent and not synced", power=True, all=False, who=leader)

    def _crash_of(self, member: Member) -> Callable[[], None]:
        """Its next boot may not reach the record, and hear of the old leader first."""
        world, power, away = self._world, self._world.dice.random() < 0.5, self._world.dice.random() < 0.5

        def crash() -> None:
            world.spawn(self.crash(member, power=power))
            if away:
                world.store.away.add(member.host)
                self._for(0.5, 2.0, lambda: world.store.away.discard(member.host))

        return crash

    async def _reset(self) -> None:
        self._world.network.reset(*self._hosts())

    async def _slow_disk(self) -> None:
        if (member := self._somebody()) is None:
            return
        member.slow_s = self._world.dice.choice((0.1, 0.4, 1.5))

        def mend() -> None:
            member.slow_s = None

        self._for(0.3, 2.0, mend)

    async def _full_disk(self) -> None:
        if (member := self._somebody()) is None:
            return
        disk = member.disk
        disk.bound(disk.used_bytes() + self._world.dice.randrange(FULL_SPARE_BYTES))
        self._for(0.3, 2.0, lambda: disk.bound(None))

    async def _failing_disk(self) -> None:
        if (member := self._somebody()) is not None:
            self._world.note(f"{member.name}: its disk fails")
            member.disk_failed = True
            member.disk.fail(self._world.dice.randrange(1, 6))

    async def _record_away(self) -> None:
        store, dice = self._world.store, self._world.dice
        hosts = [member.host for member in self._world.members]
        away = hosts if dice.random() < 0.5 else [dice.choice(hosts)]
        store.away |= set(away)
        self._for(0.2, 3.0, lambda: store.away.difference_update(away))

    async def _clock(self) -> None:
        if (member := self._somebody()) is not None and member.process is not None:
            member.wall_s += self._world.dice.choice((3600.0, -3600.0, -0.5, 10.0))
            member.process.wall_s = member.wall_s

    async def _ledger(self) -> None:
        await self._world.ledger.crash()

    async def _reader(self) -> None:
        if self._world.dice.random() < 0.5:
            await self._world.reader.crash()
            return
        reader = self._world.reader
        reader.slow_s = 0.05

        def mend() -> None:
            reader.slow_s = 0.0

        self._for(0.2, 1.0, mend)

    # At a moment

    async def _lie_in_wait(self) -> None:
        dice = self._world.dice
        self._ambush = Ambush(dice.choice(MOMENTS), power=dice.random() < 0.6, all=dice.random() < 0.4)

    def moment(self, what: str, member: Member | None) -> bool:
        """Whether the member, or everybody, falls here and now."""
        ambush = self._ambush
        if ambush is None or ambush.moment != what or member is None or member.down:
            return False
        if ambush.who not in {None, member}:
            return False
        self._ambush = None
        victims = [other for other in self._world.members if not other.down] if ambush.all else [member]
        power = ambush.power
        self._world.seen[f"{'power lost' if power else 'killed'}: {what}"] += 1
        for victim in victims:
            self._world.note(f"{victim.name} falls: {what}")
            victim.fall(power=power)
            self._world.spawn(self._fallen(victim, power=power))
        return True

    async def _fallen(self, member: Member, *, power: bool) -> None:
        await member.crash(power=power)
        self._reboot(member)

    def _reboot(self, member: Member) -> None:
        def boot() -> None:
            if member.down:
                member.boot()

        self._for(0.03, 1.5, boot)

    # Volumes

    def _spare(self) -> Member | None:
        """One in sync that is up, while another volume of the set is good: the shard outlives the loss of it."""
        up = [member for member in self._good() if not member.down]
        return self._world.dice.choice(up) if len(self._good()) > 1 and up else None

    def _good(self) -> list[Member]:
        """Who has everything, as long as no write of the record is under way."""
        store = self._world.store
        if store.held is None or store.under_way:
            return []
        return [
            member
            for member in self._world.members
            if member.member_id in store.held.record.in_sync and not member.misdirected and not member.spoiled
        ]

    async def _hand_over(self) -> None:
        """A person, or a stop, wants another member to lead."""
        world = self._world
        for member in world.members:
            if member.leads and member.process is not None and member.replica is not None:
                world.loop.start(member.process, self._asked(member.replica))

    async def _asked(self, replica: Replica) -> None:
        if await replica.hand_over():
            self._world.seen["a switchover does not come to pass"] += 1

    async def _lose_volume(self) -> None:
        if (member := self._spare()) is not None:
            self._world.seen["a volume of the set is lost"] += 1
            self._world.note(f"{member.name} loses its volume")
            await member.crash(power=True)
            member.new_volume()
            self._reboot(member)

    async def _spoil(self) -> None:
        """A byte that was durable is another one at the next boot."""
        if (member := self._spare()) is None:
            return
        await member.crash(power=False)
        files = {name: content for name, content in member.disk.files().items() if name.endswith(".wal")}
        used = {name: len(content.rstrip(b"\0")) for name, content in files.items()}
        name = self._world.dice.choice(sorted(used))
        if used[name] > SEGMENT_HEADER_BYTES:
            member.disk.spoil(name, self._world.dice.randrange(SEGMENT_HEADER_BYTES, used[name]))
            member.spoiled = True
        self._reboot(member)

    async def _misdirect(self) -> None:
        """A write that lands elsewhere, others behind it, and a boot that has to notice."""
        if (member := self._spare()) is None or member.core is None or member.leads:
            return
        self._ambush = None
        process, began, end_seq = member.process, member.tries, member.core.end_seq
        member.misdirected = True
        member.disk.misdirect(SECTOR * self._world.dice.randrange(1, 9))
        for _ in range(50):
            await asyncio.sleep(0.02)
            if not self._good() and not self._world.store.under_way:
                # It took over meanwhile, and nobody else has everything.
                self._world.beyond_repair = True
            if member.down or member.process is not process:
                return
            if member.core is not None and member.core.end_seq >= end_seq + 3 and member.tries >= began + 3:
                break
        else:
            # Nothing is behind it that would give it away: as good as lost.
            await member.crash(power=False)
            self._reboot(member)
            return
        member.spoiled = True
        await member.crash(power=False)
        self._reboot(member)
