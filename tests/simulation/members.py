"""A member of a simulated shard: the real process's wiring, on a disk that lies.

`run.py` starts it as it starts an engine; what a crash leaves, the next boot finds.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from simulation.loop import Process

from fixtures.engines import LISTINGS, SHARD
from openbourse.contracts.session import Address
from openbourse.engine import run
from openbourse.engine._core import Engine, Fatal, SimulatedDisk
from openbourse.engine.arbiters.arbiter import RecordError
from openbourse.engine.errors import BeginAgain
from openbourse.engine.member.replica import Replica
from openbourse.engine.replication import State

if TYPE_CHECKING:
    from simulation.world import World

SYNC_S = (0.0002, 0.002)
RETRY_S = 0.5
BEGIN_AGAIN_S = (0.02, 0.1)
NEVER = 10**12
# What the simulated disk says when it does not take something.
DISK_SAYS = ("the disk reports an error", "no storage space")
SEGMENT_BYTES = 48 * 1024
RING_COMMANDS = 16


class NoKey:
    """Signs no segments: none is finished where real files are looked for."""

    key_id = "none"

    def sign(self, content: bytes) -> bytes:
        raise AssertionError("a segment is signed that lies on a simulated disk")


class Member:
    def __init__(self, world: "World", index: int, count: int) -> None:
        self.name = f"engine-{index}"
        self.host = f"10.0.0.{index + 1}"
        self.listen = Address(self.host, 7000)
        self.core: Engine | None = None
        self.replica: Replica | None = None
        self.process: Process | None = None
        # What its disk does: seconds of a sync at most, none: as always.
        self.slow_s: float | None = None
        self.wall_s = 0.0
        # Its disk was spoiled where a boot reads it, so it may end.
        self.spoiled = False
        # A write landed elsewhere: a boot that does not notice has lost what it acknowledged.
        self.misdirected = False
        # It reported errors to this boot.
        self.disk_failed = False
        self.tries = 0
        self.down = True
        self._world = world
        self._index = index
        self._peers = tuple(Address(f"10.0.0.{other + 1}", 7100) for other in range(count) if other != index)
        self._volumes = 0
        self._writing = False
        self._boots = 0
        self.new_volume()

    def new_volume(self) -> None:
        """Empty, as a volume is that was lost."""
        self._volumes += 1
        self.folder = self._world.folder / f"{self.name}-{self._volumes}"
        self.folder.mkdir()
        self.disk = SimulatedDisk()
        self.spoiled = self.misdirected = False

    @property
    def is_up(self) -> bool:
        return self.process is not None and not self.process.dead

    @property
    def leads(self) -> bool:
        return self.is_up and self.replica is not None and self.replica.leads.is_set()

    @property
    def member_id(self) -> str:
        """Of the volume; empty before its first boot."""
        path = self.folder / "member.json"
        return str(json.loads(path.read_bytes())["member"]) if path.exists() else ""

    def settings(self) -> run.Settings:
        listings = self._world.folder / "listings.json"
        if not listings.exists():
            listings.write_text(json.dumps(LISTINGS))
        return run.Settings(
            shard=SHARD,
            wal=self.folder,
            listen=self.listen,
            status=Address(self.host, 8080),
            tls=Path("none"),
            listings=listings,
            consumers=("ledger",),
            place=Address(self.host, 7100),
            peers=self._peers,
            record=self._world.folder / "record",
            min_in_sync=self._world.min_in_sync,
            found=self._index == 0,
            snapshot_commands=NEVER,
            ring_commands=RING_COMMANDS,
            segment_bytes=SEGMENT_BYTES,
        )

    def boot(self) -> None:
        self._boots += 1
        process = Process(self.name, "engine", self.host, wall_s=self.wall_s, boot=self._boots)
        self.process, self.core, self.replica, self.down = process, None, None, False
        self._writing = self.disk_failed = False
        self._world.loop.start(process, self._run(process))

    async def _run(self, process: Process) -> None:
        """Until it ends, or is killed; then somebody starts it anew."""
        world, settings = self._world, self.settings()
        self.disk.mount(self.folder)
        try:
            self.core = Engine(
                settings.wal, SHARD, ring_commands=settings.ring_commands, segment_bytes=settings.segment_bytes
            )
            if self.core.torn is not None:
                world.seen["a boot cuts a torn end"] += 1
            await run._serve(settings, self.core, NoKey())
            world.audit.wrong(f"{self.name} stopped without being asked")
        except BeginAgain as again:
            world.note(f"{self.name} begins again: {again}")
            world.seen["a leader stands down and begins again"] += 1
            world.seen["the lead is handed over"] += "has handed over" in str(again)
            world.later(world.dice.uniform(*BEGIN_AGAIN_S), self._again, process)
        except (Fatal, OSError, RecordError) as error:
            if process.dead:
                return
            world.note(f"{self.name} ends: {error}")
            if self.disk_failed or any(why in str(error) for why in DISK_SAYS):
                world.seen["an engine ends because its disk says no, and is started again"] += 1
                world.later(0.5, self._again, process)
                return
            if not (self.spoiled or self.misdirected):
                world.audit.wrong(f"{self.name} ends: {error}")
            world.seen["a spoiled log is refused with the place"] += 1
            self.spoiled = True
            world.later(0.5, self._again, process)

    async def _again(self, process: Process) -> None:
        """A process that ended by itself."""
        if self.process is process and not process.dead:
            await self.crash(power=False)
            if self.spoiled:
                # What a person does who reads why: the volume is emptied, and joins as a new member.
                self.new_volume()
            self.boot()

    def fall(self, *, power: bool) -> None:
        """Nothing of it reaches anybody from here on, not even its disk."""
        process, world = self.process, self._world
        assert process is not None
        if self.core is not None and not process.dead and self.disk.jobs and world.dice.random() < 0.5:
            # In the middle of a try: it wrote and did not sync, or not even that.
            self.disk.end_after(world.dice.choice((0, 1)))
            self.disk.let_one_go()
        self.disk.end_after(0)
        world.network.died(process, silently=power)
        process.dead = True
        self.core = self.replica = None
        self.down = True

    async def crash(self, *, power: bool) -> None:
        """`power`: what was not synced is lost, sector by sector."""
        process, world = self.process, self._world
        assert process is not None
        if not self.down:
            self.fall(power=power)
        await world.loop.kill(process)
        self.disk = self.disk.after_power_loss(world.dice.getrandbits(32)) if power else self.disk.after_kill()
        if self.misdirected and not self.spoiled:
            # It may look like the end of a log that was never acknowledged, and no log can tell.
            self.new_volume()

    def look_at_disk(self) -> None:
        """The writer has a job: it takes as long as the disk takes."""
        if self._writing or self.core is None or self.down or not self.disk.jobs:
            return
        self._writing = True
        world = self._world
        delay_s = world.dice.uniform(*SYNC_S) if self.slow_s is None else world.dice.uniform(0.01, self.slow_s)
        if self.core.trouble is not None:
            delay_s += RETRY_S
        world.call_later(delay_s, self._write, self.process)

    def _write(self, process: Process) -> None:
        if self.process is not process or process.dead or self.core is None:
            return
        if process.frozen:
            # Its threads stand still too.
            self._world.call_later(0.01, self._write, process)
            return
        self._writing = False
        if self.disk.jobs:
            if self._world.faults.moment("a batch is sent and not synced", self):
                return
            self.disk.let_one_go()
            self.tries += 1
            if self._world.faults.moment("between fsync and reply", self):
                return
            if self.core.trouble is not None:
                self._world.seen["a disk refused a write"] += 1
            self._world.loop.ring(self.core.bell())

    def state_hash(self) -> tuple[int, bytes] | None:
        """Of what is carried out; None where a leader may be ahead of what is committed."""
        if not self.is_up or self.core is None or self.replica is None:
            return None
        if self.leads and self.core.seq > self.core.committed_seq:
            return None
        return self.core.state_hash()

    @property
    def state(self) -> State | None:
        return self.replica.state if self.replica is not None and self.is_up else None
