"""The engine process, wired in one place.

1. lock the log, recover it, replay what is behind the newest good snapshot into the kernel
2. lead: a new epoch, durable before anything is served under it
3. start the loop and the engine's own requests; sign the segments that are finished; make snapshots
4. bring the shard to the kernel's version of this binary, and do what became due while nobody was there
5. list what the listings file says, carry out the halts that were asked for meanwhile
6. serve status, then the port; measure how far consumers are, recycle what they have passed
7. wait for a stop or a failure
8. stop: take nothing more, answer what was taken, checkpoint, close
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from openbourse.contracts import tls, v1
from openbourse.contracts.session import Address, NotTaken
from openbourse.engine import arbiter, passed
from openbourse.engine._core import Engine, Fatal
from openbourse.engine.checkpoints import Checkpoints
from openbourse.engine.consumers import Consumers
from openbourse.engine.lag import LagReports
from openbourse.engine.listings import ListingsFile
from openbourse.engine.loop import Loop
from openbourse.engine.own import OwnRequests
from openbourse.engine.retention import Retention
from openbourse.engine.roots import KEY_FILE, FileKey, Signer, keep_signed
from openbourse.engine.serve import Server
from openbourse.engine.snapshots import EVERY_COMMANDS, Snapshots
from openbourse.engine.status import Status, in_force
from openbourse.engine.subscribe import Streams
from openbourse.engine.ticks import Ticks

log = logging.getLogger(__name__)

# What this binary leads with. It replays older ones too, so a log is brought here by a command in it.
KERNEL_VERSION = 2
VERSION_RETRY_S = 1.0
FINISH_S = 5.0
# Trading opens without the API server, with the halts that were in force when the engine stopped.
HALTS_WAIT_S = 3.0


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
    snapshot_commands: int = EVERY_COMMANDS
    batch_requests: int | None = None
    ring_commands: int | None = None
    segment_bytes: int | None = None


def run(settings: Settings) -> int:
    """Until SIGTERM or SIGINT (0), or until the log or the disk says no (1)."""
    try:
        started = time.monotonic()
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
        leadership = arbiter.lead(settings.wal, settings.shard, core.last_epoch)
        core.lead(leadership.epoch)
        core.commit(core.durable_seq())
        replayed = core.committed_seq - core.snapshot_seq
        log.info(
            "replayed %d commands behind seq %d in %.2f s", replayed, core.snapshot_seq, time.monotonic() - started
        )
        signer = FileKey.load(settings.signing_key or settings.wal / KEY_FILE)
        asyncio.run(_serve(settings, core, leadership, signer))
    except (Fatal, OSError) as error:
        log.critical("the engine ends: %s", error)
        return 1
    log.info("stopped")
    return 0


async def _serve(settings: Settings, core: Engine, leadership: arbiter.Leadership, signer: Signer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    loop = Loop(core)
    loop.start()
    own = OwnRequests(loop)
    checkpoints, ticks = Checkpoints(core, own), Ticks(core, own)
    consumers = Consumers(settings.consumers, passed.read(settings.wal), core.committed_seq, time.monotonic() * 1000)
    lag, recycling = LagReports(core, own, consumers), Retention(settings.wal, consumers)
    loop.on_committed += [checkpoints.committed, ticks.committed, lag.committed]
    status = Status(loop, leadership, lag, recycling)
    listings = ListingsFile(settings.listings, core, own)
    try:
        async with asyncio.TaskGroup() as tasks:
            snapshots = Snapshots(core, settings.wal, settings.snapshot_commands, tasks)
            loop.on_committed.append(snapshots.committed)
            snapshots.committed(core.committed_seq)
            status.snapshots = snapshots
            watching = [tasks.create_task(_fail(loop)), tasks.create_task(keep_signed(settings.wal, signer, stop))]
            await _change_version(core, own, stop)
            ticks.look()
            await listings.apply_if_changed()
            watching.append(tasks.create_task(listings.watch(stop)))
            if settings.halts_namespace is not None:
                caught_up = asyncio.Event()
                watching.append(tasks.create_task(_watch_halts(settings, own, loop, stop, caught_up)))
                await _wait_for_halts(caught_up)
            server = Server(loop, Streams(core, settings.wal, tasks), lag.passed)
            await status.listen(settings.status)
            await server.listen(settings.listen, tls.server_context(settings.tls))
            lag.start()
            watching.append(tasks.create_task(recycling.run(stop)))
            status.ready = True
            gc.freeze()
            print(  # noqa: T201 (whoever started the process waits for this line)
                f"engine ready shard={core.shard} epoch={core.epoch} seq={core.committed_seq} "
                f"listen={settings.listen} status={settings.status}",
                file=sys.stderr,
                flush=True,
            )
            await stop.wait()
            status.ready = False
            ticks.stop()
            lag.stop()
            snapshots.stop()
            await _finish(server, loop, checkpoints)
            status.close()
            for task in watching:
                task.cancel()
    except* Fatal as failures:
        raise failures.exceptions[0] from None
    except* OSError as failures:
        raise failures.exceptions[0] from None
    finally:
        loop.stop()


async def _fail(loop: Loop) -> None:
    """Ends everything when the loop has failed."""
    await loop.failed


async def _change_version(core: Engine, own: OwnRequests, stop: asyncio.Event) -> None:
    """Waits for a disk that takes nothing. Raises Fatal when the kernel refuses the version that it should carry."""
    change = v1.Command(causation_id="engine", change_version=v1.ChangeVersion(version=KERNEL_VERSION))
    while core.kernel_version < KERNEL_VERSION and not stop.is_set():
        try:
            reply = await own.sequence(change)
        except NotTaken as error:
            log.warning("kernel version %d waits for the log: %s", KERNEL_VERSION, error)
            await asyncio.sleep(VERSION_RETRY_S)
            continue
        if reply.HasField("rejection"):
            raise Fatal(f"kernel version {KERNEL_VERSION} is refused: {reply.rejection.detail}")
        log.info("kernel version %d from seq %d on", KERNEL_VERSION, reply.seq)


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


async def _finish(server: Server, loop: Loop, checkpoints: Checkpoints) -> None:
    log.info("stopping")
    server.stop_taking()
    # A log that takes no checkpoint has everything that was acknowledged all the same.
    with contextlib.suppress(TimeoutError, NotTaken):
        async with asyncio.timeout(FINISH_S):
            await loop.idle.wait()
            await checkpoints.finish()
    await server.close()
