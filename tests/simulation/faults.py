"""What goes wrong in a simulated world, and how it is mended again. The dice choose what, whom and for how long."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from openbourse.engine._core import SimulatedDisk
from openbourse.engine.replication import State
from simulation.members import Member

if TYPE_CHECKING:
    from simulation.world import World

GAP_S = 0.35
FULL_SPARE_BYTES = 2000


class Faults:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._mends: dict[int, Callable[[], None]] = {}
        self._last = 0
        self._raging = False
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
        ]

    async def rage(self, lasts_s: float) -> None:
        world, dice = self._world, self._world.dice
        end_s = world.loop.time() + lasts_s
        self._raging = True
        while world.loop.time() < end_s:
            await asyncio.sleep(min(dice.expovariate(1 / GAP_S), max(0.0, end_s - world.loop.time())))
            (fault,) = dice.choices([kind for _, kind in self._kinds], [weight for weight, _ in self._kinds])
            world.seen[f"fault: {fault.__name__.strip('_').replace('_', ' ')}"] += 1
            await fault()
            world.check()
        self._raging = False

    async def heal(self) -> None:
        for mend in list(self._mends.values()):
            mend()
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

        def boot() -> None:
            if member.down:
                member.boot()

        self._for(0.03, 1.5, boot)

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
