"""The engine process, wired in one place.

1. lock the log and recover it, begin with the newest good snapshot; who the volume is and what it promised
2. start the loop, the member and its links; sign the segments that are finished; make snapshots; serve status
3. listen: whoever says Hello waits
4. follow, until this member leads: then the kernel gets the rest of the log
5. as the leader: change the log over to this binary's version of the kernel (later, where another member does not
   know it), do what became due while nobody was there, list what the listings file says, carry out the halts that
   were asked for meanwhile
6. welcome those who wait (one that has followed does it before 5); hear how far the consumers are, recycle what
   they have passed
7. wait for a stop or a failure
8. stop: let a standby lead, where one is in sync; else take nothing more, answer what was taken, checkpoint, close
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openbourse.contracts import tracing
from openbourse.contracts.component import Component
from openbourse.contracts.session import Address, NotTaken
from openbourse.contracts.tls_material import Material
from openbourse.engine import replication
from openbourse.engine._core import Engine, Fatal, Heartbeats
from openbourse.engine.arbiters.arbiter import Arbiter, RecordError
from openbourse.engine.arbiters.own_record import own_record
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.checkpoints import Checkpoints
from openbourse.engine.consumers import Consumers
from openbourse.engine.direct_halts import lift_in_time
from openbourse.engine.errors import BeginAgain
from openbourse.engine.journal import epochs, passed, renewal, volume
from openbourse.engine.journal.retention import Retention
from openbourse.engine.journal.roots import KEY_FILE, FileKey, Signer, keep_signed
from openbourse.engine.journal.snapshots import EVERY_COMMANDS, Snapshots
from openbourse.engine.kernel_versions import KERNEL_VERSION, ChangeOver
from openbourse.engine.lag import LagReports
from openbourse.engine.listings import ListingsFile
from openbourse.engine.loop import Loop
from openbourse.engine.member.peers import KEEP_COMMANDS
from openbourse.engine.member.replica import Replica
from openbourse.engine.own import OwnRequests
from openbourse.engine.serve import Server
from openbourse.engine.status import Status, in_force
from openbourse.engine.subscribe import Streams
from openbourse.engine.ticks import Ticks
from openbourse.engine.traces import Traces

log = logging.getLogger(__name__)

FINISH_S = 5.0
# Trading opens without the API server, with the halts that were in force when the engine stopped.
HALTS_WAIT_S = 3.0


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Of an object of Kubernetes."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "ObjectName":
        """Reads "namespace/name". Raises ValueError."""
        namespace, slash, name = text.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise ValueError(f"{text!r} is not a namespace and a name such as trading/demo-engine-main")
        return cls(namespace, name)


@dataclass(frozen=True, slots=True)
class Settings:
    shard: str
    wal: Path
    listen: Address
    status: Address
    tls: Path
    listings: Path
    signing_key: Path | None = None
    halts_namespace: str | None = None
    exchange: str | None = None
    # Components whose progress in the committed stream counts, for safety and for what of the log is kept.
    consumers: tuple[str, ...] = ()
    # For whom the log is kept as well, while there is room. Trading does not wait for them.
    readers: tuple[str, ...] = ()
    # Where the other members reach this one, and it them. Their record is in a folder or in a Lease.
    place: Address | None = None
    # Where it listens for them, if that is not the place by which they know it.
    links: Address | None = None
    peers: tuple[Address, ...] = ()
    record: Path | None = None
    record_lease: ObjectName | None = None
    min_in_sync: int = 1
    # An empty volume makes the shard.
    found: bool = False
    snapshot_commands: int = EVERY_COMMANDS
    batch_requests: int | None = None
    ring_commands: int | None = None
    segment_bytes: int | None = None
    keep_commands: int = KEEP_COMMANDS
    # The highest that it leads with, and that it tells the other members it knows.
    kernel_version: int = KERNEL_VERSION


def run(settings: Settings) -> int:
    """Until SIGTERM or SIGINT (0), or until the log or the disk says no (1). Raises BeginAgain: start it once more."""
    try:
        renewal.finish(settings.wal, settings.shard)
        core = Engine(
            settings.wal,
            settings.shard,
            batch_requests=settings.batch_requests,
            ring_commands=settings.ring_commands,
            segment_bytes=settings.segment_bytes,
        )
        if core.torn is not None:
            log.warning("a torn end was cut from the log, nothing of it was acknowledged: %s", core.torn)
        for name, why in core.bad_snapshots:
            log.error("the snapshot %s is bad, an older one or the whole log was used: %s", name, why)
        signer = FileKey.load(settings.signing_key or settings.wal / KEY_FILE)
        asyncio.run(_serve(settings, core, signer))
    except (Fatal, OSError, RecordError, tracing.BadSettings) as error:
        log.critical("the engine ends: %s", error)
        return 1
    log.info("stopped")
    return 0


async def _serve(settings: Settings, core: Engine, signer: Signer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as resources:
        try:
            await _run(settings, core, signer, stop, resources)
        except BeginAgain as error:
            # What a stop has begun needs no second beginning.
            if not stop.is_set():
                raise
            log.info("%s", error)


async def _run(
    settings: Settings, core: Engine, signer: Signer, stop: asyncio.Event, resources: contextlib.AsyncExitStack
) -> None:
    material = Material.load(settings.tls)
    loop = Loop(core)
    replica = await _replica(settings, core, loop, resources)
    loop.start(replica)
    exported = tracing.start(Component.ENGINE)
    resources.push_async_callback(asyncio.to_thread, exported.stop)
    if exported.is_on:
        loop.on_traced = Traces(exported, settings.shard).committed
    own = OwnRequests(loop)
    checkpoints, ticks = Checkpoints(core, own), Ticks(core, own)
    known, now_ms = passed.read(settings.wal), time.monotonic() * 1000
    consumers = Consumers(settings.consumers, known, core.end_seq, now_ms, settings.readers)
    replica.peers.positions.consumers = consumers
    lag = LagReports(core, own, consumers)
    recycling = Retention(settings.wal, consumers, replica.write_epochs, lambda: replica.peers.held_from)
    loop.on_committed += [checkpoints.committed, ticks.committed, lag.committed]
    status = Status(loop, replica, lag, recycling, material)
    try:
        async with asyncio.TaskGroup() as tasks:
            snapshots = Snapshots(core, settings.wal, settings.snapshot_commands, tasks)
            loop.on_committed.append(snapshots.committed)
            replica.on_advanced.append(snapshots.committed)
            status.snapshots = snapshots
            server = Server(loop, Streams(core, settings.wal, tasks), lag.passed)
            replicating = [tasks.create_task(replica.run())]
            running = [
                tasks.create_task(_fail(loop.failed)),
                tasks.create_task(_fail(replica.failed)),
                tasks.create_task(_stop_serving(replica, server, status)),
                tasks.create_task(keep_signed(settings.wal, signer, stop, lambda: core.committed_seq)),
                tasks.create_task(recycling.run(stop)),
                tasks.create_task(material.watch()),
                tasks.create_task(_follow(settings, replica)),
                tasks.create_task(_lead(settings, replica, own=own, ticks=ticks, lag=lag, status=status, stop=stop)),
            ]
            await status.listen(settings.status)
            if settings.place is not None:
                await replica.peers.links.listen(settings.links or settings.place, material.server)
                replicating.append(tasks.create_task(replica.peers.links.dial(material.client)))
            await server.listen(settings.listen, material.server)
            await stop.wait()
            status.stopping = True
            ticks.stop()
            lag.stop()
            snapshots.stop()
            if replica.leads.is_set() and settings.peers and (why := await replica.hand_over()):
                log.warning("the lead is handed over to nobody before the stop: %s", why)
            await _finish(server, loop, checkpoints if replica.leads.is_set() else None)
            # Whoever takes over need not wait for the clients' goodbye.
            await _end(replicating)
            await server.close()
            status.close()
            for task in running:
                task.cancel()
    except* (Fatal, BeginAgain, RecordError, OSError) as failures:
        raise _first(failures) from None
    finally:
        loop.stop()


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    """Why the process ends: of several reasons, that it has to begin again."""
    leaves: list[Exception] = []
    groups: list[BaseExceptionGroup[Exception]] = [failures]
    for group in groups:
        for error in group.exceptions:
            if isinstance(error, BaseExceptionGroup):
                groups.append(error)
            else:
                leaves.append(error)
    return next((error for error in leaves if isinstance(error, BeginAgain)), leaves[0])


async def _replica(settings: Settings, core: Engine, loop: Loop, resources: contextlib.AsyncExitStack) -> Replica:
    """Raises Fatal, OSError and RecordError."""
    found = volume.open_volume(settings.wal, settings.shard, core.last_epoch)
    arbiter = await _arbiter(settings, core, found, resources)
    history = epochs.read(settings.wal, core.runs)
    if history.end != core.end_seq:
        raise Fatal(f"the log ends at seq {core.end_seq}, and what wrote it is known up to seq {history.end}")
    links = settings.links or settings.place
    heartbeats = None if links is None else Heartbeats(links.host, links.port)
    return Replica(
        core,
        loop,
        folder=settings.wal,
        volume=found,
        history=history,
        arbiter=arbiter,
        heartbeats=heartbeats,
        place=str(settings.place or settings.listen),
        settings=replication.Settings(tuple(map(str, settings.peers)), settings.min_in_sync),
        found=settings.found or settings.record is None,
        keep_commands=settings.keep_commands,
        segment_bytes=settings.segment_bytes,
        kernel_version=settings.kernel_version,
    )


async def _arbiter(
    settings: Settings, core: Engine, found: volume.Volume, resources: contextlib.AsyncExitStack
) -> Arbiter:
    lease = settings.record_lease
    if lease is not None:
        # Only engines on a cluster have the Kubernetes client.
        shared = importlib.import_module("openbourse.engine.arbiters.shared_lease")
        arbiter: Arbiter = await resources.enter_async_context(
            shared.shared_lease(lease.namespace, lease.name, settings.wal, found, core.last_epoch)
        )
        return arbiter
    if settings.record is not None:
        settings.record.mkdir(parents=True, exist_ok=True)
        return RecordFolder(settings.record, settings.shard)
    return await own_record(settings.wal, found, core.last_epoch)


async def _fail(failed: "asyncio.Future[None]") -> None:
    """Ends everything."""
    await failed


async def _stop_serving(replica: Replica, server: Server, status: Status) -> None:
    """A person has to look at the record: the process stays, so that its status says why."""
    await replica.stopped.wait()
    log.critical("this member leads no more, and waits for a person: %s", replica.document()["stopped"])
    status.serves = False
    server.stop_taking()
    await server.close()


async def _follow(settings: Settings, replica: Replica) -> None:
    await replica.joined.wait()
    if not replica.leads.is_set():
        _say_ready(settings, replica)


async def _lead(
    settings: Settings,
    replica: Replica,
    *,
    own: OwnRequests,
    ticks: Ticks,
    lag: LagReports,
    status: Status,
    stop: asyncio.Event,
) -> None:
    await replica.leads.wait()
    core, loop = replica.core, replica.loop
    has_followed = replica.joined.is_set()
    if has_followed:
        loop.welcome()
    lag.consumers.begin(core.committed_seq, time.monotonic() * 1000)
    listings = ListingsFile(settings.listings, core, own)
    status.delisted = listings.delisted
    status.change_over = ChangeOver(core, own, replica.kernel_versions, settings.kernel_version)
    async with asyncio.TaskGroup() as tasks:
        if not await status.change_over.give_or_wait(stop):
            tasks.create_task(status.change_over.run(stop))
        ticks.look()
        await listings.apply_if_changed()
        tasks.create_task(listings.watch(stop))
        tasks.create_task(lift_in_time(core, own, stop))
        if settings.halts_namespace is not None:
            caught_up = asyncio.Event()
            tasks.create_task(_watch_halts(settings, own, loop, stop, caught_up))
            if not has_followed:
                await _wait_for_halts(caught_up)
            if settings.place is not None and settings.peers:
                tasks.create_task(_watch_switchovers(settings.halts_namespace, settings.place.host, replica, stop))
        if not has_followed:
            loop.welcome()
        lag.start()
        status.serves = True
        gc.freeze()
        _say_ready(settings, replica)


def _say_ready(settings: Settings, replica: Replica) -> None:
    core = replica.core
    role = "leader" if replica.leads.is_set() else "standby"
    print(  # noqa: T201 (whoever started the process waits for this line)
        f"engine ready shard={core.shard} role={role} epoch={core.epoch} seq={core.committed_seq} "
        f"listen={settings.listen} status={settings.status}",
        file=sys.stderr,
        flush=True,
    )


async def _wait_for_halts(caught_up: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(HALTS_WAIT_S):
            await caught_up.wait()
    except TimeoutError:
        log.warning("trading opens before the halts could be read: those in force stay, new ones follow")


async def _watch_halts(
    settings: Settings, own: OwnRequests, loop: Loop, stop: asyncio.Event, caught_up: asyncio.Event
) -> None:
    # Only engines on a cluster have the Kubernetes client.
    halts = importlib.import_module("openbourse.engine.halts")
    await halts.watch_halts(
        namespace=settings.halts_namespace,
        exchange=settings.exchange,
        shard=settings.shard,
        sequence=own.sequence,
        in_force=in_force(loop),
        stop=stop,
        caught_up=caught_up,
    )


async def _watch_switchovers(namespace: str, pod: str, replica: Replica, stop: asyncio.Event) -> None:
    switchovers = importlib.import_module("openbourse.engine.switchovers")
    await switchovers.watch_switchovers(replica, namespace=namespace, shard=replica.core.shard, pod=pod, stop=stop)


async def _finish(server: Server, loop: Loop, checkpoints: Checkpoints | None) -> None:
    """`checkpoints`: None for one that does not lead."""
    log.info("stopping")
    server.stop_taking()
    if checkpoints is not None:
        # A log that takes no checkpoint has everything that was acknowledged all the same.
        with contextlib.suppress(TimeoutError, NotTaken):
            async with asyncio.timeout(FINISH_S):
                await loop.idle.wait()
                await checkpoints.finish()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
