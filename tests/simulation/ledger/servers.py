"""PostgreSQL as a settler knows it: a primary, its synchronous standby, sessions, and what befalls them.

A commit is in the primary's log, then on the standby, then seen and answered. It may be cancelled while it waits, its
session may end, its server may die, freeze or be taken over from, at any moment. Time and chance are the loop's.
"""

import asyncio
import contextvars
import datetime
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from simulation.ledger.tables import (
    COPY_ENTRIES,
    STATEMENTS,
    Answer,
    Row,
    Statement,
    Tables,
    begin_watermark,
    committed,
    refused,
    touch_watermark,
)
from simulation.loop import SimulatedLoop, here

from openbourse.ledger import database
from openbourse.ledger.migrate import known

MIGRATIONS = known()

Run = Callable[[], Coroutine[Any, Any, Answer]]

WALL_S = 1_790_000_000
COMMIT, ROLLBACK, BEGIN = "COMMIT", "ROLLBACK", "BEGIN"
TRIP_S = (0.0001, 0.003)
SHIP_S = (0.0002, 0.01)
# How long a server takes to see that a client has gone.
UNSEEN_S = (0.0, 0.05)


@dataclass(eq=False)
class Backend:
    """The server's side of one connection."""

    server: "Server"
    pid: int
    link: "Connection"
    # What the open transaction did, as statements, and the books as it sees them.
    done: list[tuple[Statement, tuple[Any, ...]]] = field(default_factory=list)
    view: Tables | None = None
    is_open: bool = False
    has_failed: bool = False
    has_written: bool = False
    # Its client or an operator ended it; its work goes on until the statement ends.
    is_gone: bool = False
    works: bool = False
    waits: "asyncio.Future[str] | None" = None


@dataclass(eq=False)
class Server:
    """One machine with a PostgreSQL. Its log is a list of the books after each commit."""

    name: str
    cluster: "Cluster"
    log: list[Tables]
    is_primary: bool = False
    is_up: bool = True
    is_frozen: bool = False
    is_read_only: bool = False
    is_full: bool = False
    has_no_connection_left: bool = False
    # Of the log, how much sessions see.
    seen: int = 1
    started_at: datetime.datetime = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    sessions: dict[int, Backend] = field(default_factory=dict)
    holder: Backend | None = None
    queue: "deque[tuple[Backend, asyncio.Future[None]]]" = field(default_factory=deque)
    held: list[Callable[[], None]] = field(default_factory=list)

    def books(self) -> Tables:
        """As they are seen."""
        return self.log[self.seen - 1]

    def when_it_runs(self, act: Callable[[], None]) -> None:
        if self.is_frozen:
            self.held.append(act)
        elif self.is_up:
            act()

    def thaw(self) -> None:
        self.is_frozen = False
        held, self.held = self.held, []
        for act in held:
            act()
        self.cluster.ship()

    # Sessions

    def take(
        self, backend: Backend, run: Callable[[], Coroutine[Any, Any, Answer]], reply: "asyncio.Future[Any]"
    ) -> None:
        """A statement has arrived."""
        if backend.is_gone or not self.is_up:
            return
        backend.works = True
        self.cluster.tasks.add(
            task := self.cluster.loop.create_task(self._work(backend, run, reply), context=self.cluster.outside)
        )
        task.add_done_callback(self.cluster.tasks.discard)

    async def _work(self, backend: Backend, run: Run, reply: "asyncio.Future[Any]") -> None:
        answer: Answer | BaseException
        try:
            answer = await run()
        except asyncpg.PostgresError as error:
            backend.has_failed = backend.is_open
            answer = error
        if not self.is_up:
            return
        backend.works = False
        backend.link.answered(answer, reply)
        if backend.is_gone:
            self.end(backend)

    def end(self, backend: Backend) -> None:
        """Its transaction is rolled back, its lock is free."""
        self.sessions.pop(backend.pid, None)
        self._close(backend)

    def leave(self, backend: Backend) -> None:
        """Its client has gone; what it does is finished first."""
        backend.is_gone = True
        if not backend.works:
            self.end(backend)

    async def statement(self, backend: Backend, sql: str, arguments: tuple[Any, ...]) -> Answer:
        if sql == BEGIN:
            backend.is_open, backend.has_failed = True, False
            return Answer()
        if sql == ROLLBACK:
            self._close(backend)
            return Answer()
        if sql == COMMIT:
            if backend.has_failed:
                self._close(backend)
                return Answer(status=ROLLBACK)
            return await self._commit(backend)
        if backend.has_failed:
            raise refused("25P02", "current transaction is aborted, commands ignored until end of transaction block")
        if (plain := self._plain(backend, sql)) is not None:
            return plain
        what = self.cluster.statements[sql]
        if what.run is touch_watermark:
            self.cluster.seen["all of a batch was there already"] += 1
        if what.writes and self.is_read_only:
            raise refused("25006", "cannot execute it in a read-only transaction")
        if what.writes and self.is_full and sql == COPY_ENTRIES:
            raise refused("53100", "could not extend file: No space left on device")
        if backend.view is None:
            backend.view = self.books().copy()
        # Of a row that is there, ON CONFLICT DO NOTHING waits for nobody.
        if what.locks and not (what.run is begin_watermark and backend.view.mark is not None):
            await self._lock(backend)
        answer = what.run(backend.view, *arguments)
        if what.writes:
            backend.done.append((what, arguments))
            backend.has_written = True
        if backend.is_open:
            return answer
        if answer.status == "INSERT 0 0":
            backend.has_written = False
        done = await self._commit(backend)
        return replace(answer, warning=done.warning)

    def _plain(self, backend: Backend, sql: str) -> Answer | None:
        """What is asked of the server, and not of its books."""
        if sql.startswith("SELECT current_setting"):
            return Answer([Row((), ("on",))])
        if sql.startswith("SELECT set_config"):
            return Answer([Row((), ("on", "*"))])
        if "openbourse_ledger_migrations" in sql:
            return Answer([Row(("name", "digest"), (one.name, one.digest)) for one in MIGRATIONS])
        if sql.startswith("SELECT pg_postmaster_start_time"):
            return Answer([Row((), (self.started_at, backend.pid))])
        return None

    # Transactions

    async def _lock(self, backend: Backend) -> None:
        if self.holder is backend:
            return
        if self.holder is not None:
            turn = self.cluster.loop.create_future()
            self.queue.append((backend, turn))
            self.cluster.seen["a settler waited for the lock of another"] += 1
            await turn
        self.holder = backend
        self._look_again(backend)

    def _look_again(self, backend: Backend) -> None:
        """What was done is done to the newest books: a row that somebody else wrote meanwhile is found."""
        backend.view = self.books().copy()
        for what, arguments in backend.done:
            what.run(backend.view, *arguments)

    async def _commit(self, backend: Backend) -> Answer:
        if not backend.has_written:
            self._close(backend)
            return Answer(status=COMMIT)
        await self._lock(backend)
        assert backend.view is not None
        try:
            committed(backend.view)
        except asyncpg.PostgresError:
            self._close(backend)
            raise
        self.log.append(backend.view)
        at = len(self.log)
        self.cluster.ship()
        warning = ""
        if self.cluster.on_standby(self) < at:
            backend.waits = self.cluster.loop.create_future()
            self.cluster.waiting.append((self, at, backend.waits))
            warning = await backend.waits
            backend.waits = None
        self.seen = max(self.seen, at)
        self._close(backend)
        if backend.is_gone or not backend.link.is_open:
            self.cluster.seen["a commit was done but not answered"] += 1
        self.cluster.looked_at(self)
        return Answer(status=COMMIT, warning=warning)

    def _close(self, backend: Backend) -> None:
        backend.done, backend.view = [], None
        backend.is_open = backend.has_failed = backend.has_written = False
        self.queue = deque((waiter, turn) for waiter, turn in self.queue if waiter is not backend)
        if self.holder is backend:
            self.holder = None
            if self.queue:
                self.holder, turn = self.queue.popleft()
                turn.set_result(None)

    # What befalls it

    def die(self) -> None:
        """Everything that was committed is in its log."""
        self.is_up, self.is_frozen, self.is_primary = False, False, False
        self.held.clear()
        for backend in list(self.sessions.values()):
            backend.link.cut()
        self.sessions.clear()
        self.queue.clear()
        self.holder = None

    def start(self, *, primary: bool) -> None:
        self.is_up, self.is_primary = True, primary
        self.is_full = self.is_read_only = False
        # What waited for the standby is seen after a start, whether that has it or not.
        self.seen = len(self.log)
        self.started_at = datetime.datetime.fromtimestamp(WALL_S + self.cluster.loop.time(), datetime.UTC)
        self.cluster.ship()


class Cluster:
    """Two servers, `a` and `b`, of which one takes writes, and what clients see of them."""

    def __init__(self, loop: SimulatedLoop, dice: random.Random, first: Tables) -> None:
        self.loop = loop
        self.dice = dice
        self.seen: Counter[str] = Counter()
        self.statements = dict(STATEMENTS)
        self.slow = 1.0
        # A server is in no process of a client, whoever called it.
        self.outside = contextvars.copy_context()
        self.tasks: set[asyncio.Task[None]] = set()
        self.waiting: list[tuple[Server, int, asyncio.Future[str]]] = []
        # Called when somebody may see what was not seen before.
        self.looked_at: Callable[[Server], None] = lambda _: None
        self._pids = itertools.count(100)
        self.servers = {name: Server(name, self, [first]) for name in "ab"}
        self.primary: Server = self.servers["a"]
        self.primary.is_primary = True

    @property
    def standby(self) -> Server:
        (other,) = (server for server in self.servers.values() if server is not self.primary)
        return other

    def later(self, delay_s: float, act: Callable[..., object], *arguments: Any) -> None:
        """What is on its way does not end with the process that sent it."""
        self.loop.call_later(delay_s, act, *arguments, context=self.outside)

    def trip_s(self) -> float:
        return self.dice.uniform(*TRIP_S) * self.slow

    # Replication

    def on_standby(self, primary: Server) -> int:
        """How much of the primary's log its standby has."""
        return len(self.standby.log) if primary is self.primary else 0

    def ship(self) -> None:
        """What the primary has goes to its standby, when both run."""
        primary, standby, end = self.primary, self.standby, len(self.primary.log)
        self.later(self.dice.uniform(*SHIP_S) * self.slow, self._shipped, primary, standby, end)

    def _shipped(self, primary: Server, standby: Server, end: int) -> None:
        if primary is not self.primary or standby is not self.standby or not (primary.is_up and standby.is_up):
            return
        if primary.is_frozen or standby.is_frozen:
            return
        standby.log.extend(primary.log[len(standby.log) : end])
        standby.seen = len(standby.log)
        for server, at, future in list(self.waiting):
            if server is primary and at <= len(standby.log) and not future.done():
                future.set_result("")
        self.waiting = [(server, at, future) for server, at, future in self.waiting if not future.done()]

    # What befalls them

    def cancel_waiting(self) -> bool:
        """Somebody cancels a commit that waits; or ends its session."""
        for server, _, future in self.waiting:
            if server is self.primary and not server.is_frozen and not future.done():
                future.set_result("WARNING")
                self.seen["a commit that waited was cancelled"] += 1
                return True
        return False

    def end_sessions(self) -> None:
        """As pg_terminate_backend: a commit that waits is done here, and its client is not told."""
        for backend in list(self.primary.sessions.values()):
            backend.link.cut()
            if backend.waits is not None and not backend.waits.done():
                backend.waits.set_result("WARNING")
                self.seen["the session of a commit that waited was ended"] += 1
            self.primary.leave(backend)

    def take_over(self) -> None:
        """The standby becomes the primary; the old one is dead, or cut off for ever. A new standby is made of it."""
        old, new = self.primary, self.standby
        if new.is_up and len(new.log) < len(old.log) and self.dice.random() < 0.3:
            # What was on its way arrives after all.
            new.log.append(old.log[len(new.log)])
            self.seen["a take-over found a commit that was on its way"] += 1
        lost = len(old.log) - len(new.log)
        if lost:
            self.seen["a take-over lost a commit that was not on the standby"] += 1
        if old.seen > len(new.log):
            self.seen["a commit that could be seen was lost at a take-over"] += 1
        if old.is_up:
            # Never heard again. Its sessions hang.
            old.is_frozen, old.is_primary = True, False
            self.seen["a take-over from a primary that was frozen"] += 1
        self.servers[old.name] = Server(old.name, self, list(new.log), is_up=False)
        self.primary = new
        new.is_frozen = False
        new.start(primary=True)
        self.looked_at(new)

    # Clients

    async def connect(self, address: str, *, timeout: float = 5.0, **_: Any) -> "Connection":  # noqa: ASYNC109 (asyncpg's)
        server = self.servers[urlsplit(address).hostname or ""]
        await asyncio.sleep(self.trip_s())
        if server.is_frozen:
            await asyncio.sleep(timeout)
            raise TimeoutError
        if not server.is_up:
            raise ConnectionRefusedError(111, "Connection refused")
        if server.has_no_connection_left:
            raise refused("53300", "sorry, too many clients already")
        if not server.is_primary or server.is_read_only:
            raise asyncpg.TargetServerAttributeNotMatched("not read-write")
        link = Connection(self, server)
        await asyncio.sleep(self.trip_s())
        return link

    async def has_session(self, started_at: datetime.datetime, pid: int) -> bool:
        """Asked on a connection of its own."""
        for name in "ab":
            try:
                link = await self.connect(f"postgresql://{name}/", timeout=1.0)
            except database.CONNECTION_ERRORS:
                continue
            link.terminate()
            return link.server.started_at == started_at and pid in link.server.sessions
        raise ConnectionRefusedError(111, "Connection refused")


class Connection:
    """What the driver gives: its calls, its errors and its end, as far as a settlement uses them."""

    def __init__(self, cluster: Cluster, server: Server) -> None:
        self.cluster = cluster
        self.server = server
        self.is_open = True
        self._backend = Backend(server, next(cluster._pids), self)
        server.sessions[self._backend.pid] = self._backend
        self._reply: asyncio.Future[Any] | None = None
        self._listeners: list[Any] = []

    async def _call(self, sql: str, *arguments: Any) -> Answer:
        if not self.is_open:
            raise asyncpg.InterfaceError("connection is closed")
        cluster, backend, server = self.cluster, self._backend, self.server
        reply = self._reply = cluster.loop.create_future()

        def run() -> Coroutine[Any, Any, Answer]:
            return server.statement(backend, sql, arguments)

        cluster.later(cluster.trip_s(), server.when_it_runs, lambda: server.take(backend, run, reply))
        try:
            answer: Answer = await reply
        except asyncio.CancelledError:
            if not here().dead and self.is_open:
                self._cancel()
            raise
        finally:
            self._reply = None
        return answer

    def _cancel(self) -> None:
        """The driver asks the server to cancel what it waits for."""
        backend = self._backend
        if backend.waits is not None and not backend.waits.done():
            backend.waits.set_result("WARNING")

    def answered(self, answer: "Answer | BaseException", reply: "asyncio.Future[Any]") -> None:
        def arrive() -> None:
            if not self.is_open or reply.done():
                return
            if isinstance(answer, BaseException):
                reply.set_exception(answer)
                return
            if answer.warning:
                for listener in list(self._listeners):
                    listener(self, _Warning())
            reply.set_result(answer)

        self.cluster.later(self.cluster.trip_s(), self.server.when_it_runs, arrive)

    def cut(self) -> None:
        """The connection is lost: what waits for an answer does not get one."""
        if not self.is_open:
            return
        self.is_open = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(
                asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            )
        backend, server = self._backend, self.server
        self.cluster.later(self.cluster.dice.uniform(*UNSEEN_S), server.when_it_runs, lambda: server.leave(backend))

    # The driver's

    def terminate(self) -> None:
        self.cut()

    async def close(self) -> None:
        self.cut()

    def get_server_pid(self) -> int:
        return self._backend.pid

    async def fetch(self, sql: str, *arguments: Any, **_: Any) -> list[Row]:
        return (await self._call(sql, *arguments)).rows

    async def fetchrow(self, sql: str, *arguments: Any, **_: Any) -> Row | None:
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *arguments: Any, **_: Any) -> Any:
        row = await self.fetchrow(sql, *arguments)
        return None if row is None else row[0]

    async def execute(self, sql: str, *arguments: Any, **_: Any) -> str:
        return (await self._call(sql, *arguments)).status

    async def copy_to_table(self, table: str, *, source: Any, **_: Any) -> str:
        assert table == "entries"
        return (await self._call(COPY_ENTRIES, "", bytes(source))).status

    def add_log_listener(self, listener: Any) -> None:
        self._listeners.append(listener)

    def remove_log_listener(self, listener: Any) -> None:
        self._listeners.remove(listener)

    def transaction(self) -> "_Transaction":
        return _Transaction(self)


class _Warning:
    severity_en = "WARNING"
    message = "canceling wait for synchronous replication due to user request"


class _Transaction:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        await self._connection.execute(BEGIN)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._connection.execute(COMMIT if kind is None else ROLLBACK)
