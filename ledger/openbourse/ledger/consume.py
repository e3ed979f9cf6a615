"""Reads one shard's committed stream and settles it: whatever has arrived is one batch, again and again.

A database that is away is waited for; the stream then waits too, once the backlog is full. A stream that contradicts
the books stops settlement for good and leaves the process up, to say so. Nothing is decided here.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from openbourse.contracts import v1
from openbourse.contracts.tracing import NO_TRACING, Tracing, Value
from openbourse.ledger import database, store
from openbourse.ledger.books import Books
from openbourse.ledger.database import Connection, Session
from openbourse.ledger.errors import Diverged, StaleSession, Unavailable
from openbourse.ledger.progress import Progress
from openbourse.ledger.reading import EVENTS_AT_ONCE, Delivery
from openbourse.ledger.settlement import Watermark

log = logging.getLogger(__name__)

# A batch is what has arrived, up to about so many events; one delivery is never cut.
BATCH_EVENTS = 2_000
# Read ahead of settlement at most about so many; beyond it the stream waits.
BACKLOG_EVENTS = 20_000
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0
LOOK_EVERY_S = 1.0

Source = Callable[[Watermark], AsyncIterator[v1.Events]]


class Backlog:
    """Deliveries that wait to be settled, in order, bounded by their events."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._deliveries: deque[tuple[Delivery, float]] = deque()
        self._events = 0
        self._changed = asyncio.Condition()

    async def fill(self, source: AsyncIterator[v1.Events]) -> None:
        """Reads the source, which never ends, no faster than the backlog is emptied.

        The database has its part of a settlement to do meanwhile: each delivery is read right when it comes, a few
        events at a time.
        """
        read = 0
        async for message in source:
            came = time.monotonic()
            delivery = Delivery(message)
            for _ in delivery.ahead(self._shard):
                await asyncio.sleep(0)
            read += len(message.events)
            if read >= EVENTS_AT_ONCE:
                read = 0
                await asyncio.sleep(0)
            async with self._changed:
                await self._changed.wait_for(lambda: self._events < BACKLOG_EVENTS)
                self._deliveries.append((delivery, came))
                self._events += 1 + len(message.events)
                self._changed.notify_all()

    async def take(self) -> tuple[list[Delivery], float]:
        """The next batch, at least one delivery, and when its first one came in."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._deliveries))
            batch: list[Delivery] = []
            since, events = self._deliveries[0][1], 0
            while self._deliveries and (
                not batch or events + len(self._deliveries[0][0].message.events) < BATCH_EVENTS
            ):
                delivery, _ = self._deliveries.popleft()
                batch.append(delivery)
                events += 1 + len(delivery.message.events)
            self._events -= events
            self._changed.notify_all()
            return batch, since


class Settler:
    """The one writer of a shard's books. `run` ends only when settlement has to stop for a person."""

    def __init__(self, dsn: str, shard: str, source: Source, progress: Progress, traces: Tracing = NO_TRACING) -> None:
        self._traces = traces
        self._dsn = dsn
        self._shard = shard
        self._source = source
        self._progress = progress
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._diverged: Diverged | None = None
        # Held while a batch is on its way, so that whoever stops the process can let it finish.
        self.busy = asyncio.Lock()

    async def run(self) -> None:
        retry_s = RETRY_FIRST_S
        try:
            while True:
                try:
                    self._go_on()
                    watermark = await self._open()
                    retry_s = RETRY_FIRST_S
                    await self._settle_from(watermark)
                except Unavailable as error:
                    self._progress.trouble(error)
                    log.warning("shard %s: %s; again in %.2f s", self._shard, error, retry_s)
                except StaleSession as error:
                    self._progress.trouble(error)
                    log.warning("shard %s: %s; looking for the newer leader", self._shard, error)
                except Diverged as error:
                    self._progress.stopped(error)
                    log.error("shard %s: settlement stopped: %s", self._shard, error)
                    return
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MOST_S)
        finally:
            self._drop_connection()

    async def _settle_from(self, watermark: Watermark) -> None:
        """Settles what the source gives after the watermark; never returns but by raising."""
        backlog = Backlog(self._shard)
        failure: Diverged | StaleSession | None = None
        source = self._source(watermark)
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(backlog.fill(source))
            try:
                while True:
                    deliveries, self._progress.waiting_since = await backlog.take()
                    async with self.busy:
                        began_us = time.time_ns() // 1000
                        await self._settle(deliveries)
                    if self._traces.is_on:
                        self._trace(deliveries, began_us)
                    self._progress.waiting_since = None
            except (Diverged, StaleSession) as error:
                failure = error
            finally:
                reader.cancel()
        assert failure is not None
        raise failure

    async def _settle(self, deliveries: list[Delivery]) -> None:
        """Until it is committed. Whatever became of the attempt before, the watermark in the database knows."""
        retry_s = RETRY_FIRST_S
        while True:
            self._go_on()
            try:
                if self._connection is None:
                    await self._open()
                assert self._connection is not None
                await self._progress.settled(await store.settle(self._connection, self._shard, deliveries))
                return
            except Unavailable as error:
                self._drop_connection()
                self._progress.trouble(error)
                log.warning("shard %s: %s; again in %.2f s", self._shard, error, retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    def _trace(self, deliveries: list[Delivery], began_us: int) -> None:
        """Each command of the batch whose request is traced: its batch is settled now."""
        now_us = time.time_ns() // 1000
        traced = {event.seq: event.traceparent for each in deliveries for event in each.message.events}
        for seq, traceparent in traced.items():
            attributes: dict[str, Value] = {"openbourse.shard": self._shard, "openbourse.seq": seq}
            self._traces.record("settle", traceparent, began_us, max(now_us, began_us), **attributes)

    async def _open(self) -> Watermark:
        self._drop_connection()
        connection = await store.connect(self._dsn)
        self._connection = connection
        self._session = await database.session_of(connection)
        watermark = await store.begin(connection, self._shard)
        await self._progress.opened(watermark)
        return watermark

    def stop(self, error: Diverged) -> None:
        """For a person, because of what somebody else found. A batch that is on its way is still settled."""
        self._diverged = error
        self._progress.stopped(error)

    def _go_on(self) -> None:
        if self._diverged is not None:
            raise self._diverged

    async def look_after(self, books: Books) -> None:
        """A settlement waits as long as it takes, but not for a server that another took over from. Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            session = self._session
            if session is None:
                continue
            try:
                known = await books.has_session(session)
            except Unavailable as error:
                log.info("shard %s: whether the database still has our session: %s", self._shard, error)
                continue
            if not known and self._session is session:
                log.warning("shard %s: the database that takes writes has no session of ours: a new one", self._shard)
                self.leave()

    def leave(self) -> None:
        """Ends the connection. What is on its way is not cancelled: a commit that waits goes on waiting there."""
        if self._connection is not None:
            self._connection.terminate()

    def _drop_connection(self) -> None:
        self.leave()
        self._connection = self._session = None
