"""The ledger of one shard, wired: session and stream to the engine, settler, coordinator, listeners, and their end."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openbourse.contracts import tracing, v1
from openbourse.contracts.component import Component
from openbourse.contracts.listen import listening
from openbourse.contracts.probes import make_status
from openbourse.contracts.session import Address, EngineSession, committed_events
from openbourse.contracts.tls_material import Material
from openbourse.ledger.api import make_api
from openbourse.ledger.books import Books, open_books
from openbourse.ledger.consume import Settler
from openbourse.ledger.coordinate import Coordinator
from openbourse.ledger.metrics import Metrics, Shown
from openbourse.ledger.move_books import MoveBooks
from openbourse.ledger.moving import Mover
from openbourse.ledger.progress import Progress
from openbourse.ledger.reconciling import EVERY_S, Reconciler
from openbourse.ledger.settlement import Watermark
from openbourse.ledger.symbol_move_books import SymbolMoveBooks
from openbourse.ledger.symbol_moving import SymbolMover
from openbourse.ledger.watch import watch

# A batch that is on its way when the process is told to stop may finish within this time.
LAST_BATCH_TIMEOUT_S = 4.0
# Objects made between two looks of the collector: a few settled batches.
COLLECT_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What `serve` is told on its command line."""

    shard: str
    engines: Sequence[Address]
    listen: Address
    status: Address
    tls: Path
    dsn: str
    reconcile_every_s: float = EVERY_S


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. What could not finish in time is done again after the next start, from the watermark."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tls = Material.load(settings.tls)
    progress = Progress(settings.shard)
    session = EngineSession(settings.shard, settings.engines, tls.client, Component.LEDGER)

    def source(watermark: Watermark) -> AsyncIterator[v1.Events]:
        return committed_events(
            settings.shard,
            settings.engines,
            tls.client,
            Component.LEDGER,
            watermark.seq + 1,
            highest_epoch=watermark.session_epoch,
            passed=lambda: progress.watermark.seq,
        )

    traces = tracing.start(Component.LEDGER)
    settler = Settler(settings.dsn, settings.shard, source, progress, traces)
    async with (
        open_books(settings.dsn, settings.shard) as books,
        _status(settings, session, books, progress, settler, tls=tls) as (reconciler, status_port),
        asyncio.TaskGroup() as tasks,
    ):
        coordinator = Coordinator(session, books, progress)
        mover = Mover(MoveBooks(books), coordinator)
        symbol_mover = SymbolMover(session, SymbolMoveBooks(books), progress)
        work = [
            tasks.create_task(tls.watch()),
            tasks.create_task(session.run()),
            tasks.create_task(settler.run()),
            tasks.create_task(settler.look_after(books)),
            tasks.create_task(watch(session, books, progress)),
            tasks.create_task(coordinator.run()),
            tasks.create_task(mover.run()),
            tasks.create_task(symbol_mover.run()),
            tasks.create_task(reconciler.run()),
        ]
        async with listening(
            make_api(session, books, coordinator, mover, progress, symbol_mover=symbol_mover),
            settings.listen,
            tls,
        ) as port:
            host = settings.listen.host
            ready = f"ledger ready https://{host}:{port} status http://{settings.status.host}:{status_port}"
            work.append(tasks.create_task(_say_when_ready(progress, ready)))
            await stop.wait()
        try:
            async with asyncio.timeout(LAST_BATCH_TIMEOUT_S):
                await settler.busy.acquire()
        except TimeoutError:
            print("the last batch did not finish in time: it is settled after the next start", file=sys.stderr)  # noqa: T201
        # Before it is cancelled: the driver would cancel a commit that waits for its standby, and so let it through.
        settler.leave()
        for task in work:
            task.cancel()
    await asyncio.to_thread(traces.stop)


@contextlib.asynccontextmanager
async def _status(
    settings: Settings, session: EngineSession, books: Books, progress: Progress, settler: Settler, *, tls: Material
) -> AsyncIterator[tuple[Reconciler, int]]:
    """What reconciles, and the port of the listener that shows it."""
    reconciler = Reconciler(session, books, progress, settler.stop, settings.reconcile_every_s)
    app = make_status(Shown(progress, reconciler), Metrics(progress, reconciler, tls).text, tls)
    async with listening(app, settings.status, None) as port:
        yield reconciler, port


async def _say_when_ready(progress: Progress, line: str) -> None:
    while progress.why_not_ready():  # noqa: ASYNC110 - facts of four tasks, asked for once in a life
        await asyncio.sleep(0.02)
    collect_rarely()
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def collect_rarely() -> None:
    """What lives now lives long, and a batch leaves no cycles behind: looking for them took a fifth of settlement."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
