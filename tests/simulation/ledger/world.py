"""One life of real settlers on a PostgreSQL that fails, in virtual time, by its seed.

Whenever books may be seen for the first time they are the truth through their watermark. What a settler reports is on
the standby, and there after any take-over. Then everything is healed, and all must be settled within a bound.
"""

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
from simulation.hearing import heard
from simulation.ledger.faults import FAULT_OF
from simulation.ledger.script import LIES, Engine, Script
from simulation.ledger.servers import MIGRATIONS, WALL_S, Cluster, Server
from simulation.ledger.tables import HEAD, Mark, Tables
from simulation.loop import Process, SimulatedLoop, Stuck
from simulation.world import Life

from openbourse.ledger import chain, database, migrate
from openbourse.ledger.consume import Settler
from openbourse.ledger.progress import Progress, State
from openbourse.ledger.settlement import Watermark
from openbourse.ledger.store import Settled

DSN = "postgresql://openbourse_ledger@a,b/ledger"
SHARD = "main"
FAULTS = (3, 9)
BETWEEN_S = (0.0, 0.5)
HEALED_S = 60.0
PATIENCE_S = 4.0
# Rare states, by what a settler says then.
SAID = {
    "looking for the newer leader": "events of an older leader were refused",
    "committed with a warning": "a commit with a warning was taken for unknown",
    "no session of ours": "a session that no server has any more was left",
}


class Broken(Exception):
    """What was promised is not so."""


class Reported(Progress):
    """A progress whose every word is held against what is on the standby."""

    def __init__(self, world: "World", engine: Engine) -> None:
        super().__init__(SHARD)
        self._world = world
        self._engine = engine

    async def opened(self, watermark: Watermark) -> None:
        self._world.reported(watermark, None)
        await super().opened(watermark)

    async def settled(self, settled: Settled) -> None:
        self._world.reported(settled.watermark, settled.link)
        if settled.watermark.session_epoch != self._engine.epoch:
            self._world.breaks(
                f"events of epoch {self._engine.epoch} are settled as of {settled.watermark.session_epoch}"
            )
        lied_after = self._engine.lied_after
        if self._engine.lie != "back" and lied_after is not None and settled.watermark.seq > lied_after:
            self._world.breaks(f"a lie ({self._engine.lie}) after seq {lied_after} was passed over")
        await super().settled(settled)


class Books:
    """Whoever asks whether a session is known, from another connection."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def has_session(self, session: database.Session) -> bool:
        try:
            return await self._cluster.has_session(*session)
        except OSError as error:
            raise database.as_ledger_error(error) from error


class Ledger:
    """One process that settles from one engine."""

    def __init__(self, world: "World", engine: Engine, number: int) -> None:
        self.world = world
        self.engine = engine
        self.process = Process(f"ledger-{number}", "ledger", "here")
        self.progress = Reported(world, engine)
        self.settler = Settler(DSN, SHARD, engine.stream, self.progress)
        self.done = world.loop.start(self.process, self._run())

    async def _run(self) -> None:
        # Part of `run.serve`: what settles, and what looks after its session.
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self.settler.look_after(Books(self.world.cluster)))  # type: ignore[arg-type]
            await self.settler.run()
            looking.cancel()

    async def kill(self) -> None:
        self.process.dead = True
        self.settler.leave()
        await self.world.loop.kill(self.process)

    async def stop(self) -> None:
        """As `run.serve` ends it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self.settler.busy.acquire()
        self.settler.leave()
        await self.world.loop.kill(self.process)


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)  # noqa: S311 (the seed is the reproduction)
        self.loop = SimulatedLoop(self.dice)
        self.script = Script(self.dice)
        self.cluster = Cluster(self.loop, self.dice, Tables(transfers=dict(self.script.transfers)))
        self.cluster.looked_at = self.look_at
        self.seen = self.cluster.seen
        self.lines: list[str] = []
        # The furthest that anybody said to be settled, and the heads that were said for batches.
        self.promised = Watermark(0, 0)
        self.heads: dict[int, bytes] = {}
        self.broken = ""
        self.epoch = 1
        self.ledgers: list[Ledger] = []
        self._checked: dict[int, Tables] = {}

    def note(self, line: str) -> None:
        self.lines.append(f"{self.loop.now_s - 1000:9.4f} {line}")

    # What is judged

    def reported(self, watermark: Watermark, link: chain.Link | None) -> None:
        """A settler says that so much is settled."""
        self.note(f"settled {watermark.seq} epoch {watermark.session_epoch}")
        primary, standby = self.cluster.primary, self.cluster.standby
        durable = min((primary, standby), key=lambda server: len(server.log)).log[-1].mark
        if durable is None or durable.seq < watermark.seq or durable.session_epoch < watermark.session_epoch:
            self.breaks(f"{watermark} is reported, and only {durable and durable[:2]} is on both servers")
        if link is not None and link.batch and self.heads.setdefault(link.batch, link.head) != link.head:
            self.breaks(f"batch {link.batch} was reported with two heads")
        if watermark.session_epoch >= self.promised.session_epoch:
            self.promised = Watermark(watermark.session_epoch, max(watermark.seq, self.promised.seq))

    def look_at(self, server: Server) -> None:
        """The books that sessions of the primary see."""
        if server is not self.cluster.primary:
            return
        books = server.books()
        if self._checked.get(id(books)) is not books:
            self._checked[id(books)] = books
            if wrong := wrong_with(books, self.script):
                self.breaks(wrong)
        mark = books.mark or Mark(0, 0, 0, chain.NO_HEAD, 0)
        if mark.seq < self.promised.seq or mark.session_epoch < self.promised.session_epoch:
            self.breaks(f"{self.promised} was reported, and the books are at {mark[:2]}")
        for batch, head in self.heads.items():
            row = books.batches.get(batch)
            if row is None or HEAD(self._head_before(books, batch), row) != head:
                self.breaks(f"batch {batch} is not what was reported")

    def _head_before(self, books: Tables, batch: int) -> bytes:
        head = chain.NO_HEAD
        for number in range(1, batch):
            head = HEAD(head, books.batches[number])
        return head

    def breaks(self, sentence: str) -> None:
        if not self.broken:
            self.broken = sentence
            self.note(f"BROKEN {sentence}")
        raise Broken(sentence)

    # What happens

    def begin(self, *, lie: str = "") -> Ledger:
        engine = Engine(self.script, self.dice, self.epoch, lie=lie)
        ledger = Ledger(self, engine, len(self.ledgers))
        self.ledgers.append(ledger)
        return ledger

    async def live(self) -> None:
        tasks = [asyncio.create_task(self._commit()), asyncio.create_task(self._look_after())]
        self.begin(lie=self.dice.choice(("", "", *LIES)))
        for _ in range(self.dice.randint(*FAULTS)):
            await asyncio.sleep(self.dice.uniform(*BETWEEN_S))
            fault = self.dice.choice(list(FAULT_OF))
            self.note(f"fault: {fault}")
            self.seen[fault] += 1
            await FAULT_OF[fault](self)
            self._judge()
        self.note("healed")
        await self._heal()
        until_s = self.loop.time() + HEALED_S
        while self.ledgers[-1].progress.watermark.seq < self.script.length:
            await asyncio.sleep(0.1)
            self._judge()
            if self.loop.time() > until_s:
                progress = self.ledgers[-1].progress
                raise Broken(f"healed, and after {HEALED_S:g} s at {progress.watermark}: {progress.why_not_ready()}")
        self.look_at(self.cluster.primary)
        for task in tasks:
            task.cancel()

    def _judge(self) -> None:
        if self.broken:
            raise Broken(self.broken)
        for ledger in self.ledgers:
            ended = ledger.done.done() and not ledger.process.dead and not ledger.done.cancelled()
            if ended and (error := ledger.done.exception()) is not None:
                raise Broken(_told(error)) from error
            self._may_have_stopped(ledger)

    def _may_have_stopped(self, ledger: Ledger) -> None:
        if ledger.progress.state is State.STOPPED and ledger.engine.lied_after is None:
            raise Broken(f"stopped, and nobody lied: {ledger.progress.last_error}")

    async def _commit(self) -> None:
        """The newest leader commits; an older one hears of nothing more."""
        committed = 0
        while True:
            if committed < self.script.length:
                committed += 1
            for ledger in self.ledgers:
                if ledger.engine.epoch == self.epoch:
                    ledger.engine.committed = committed
            await asyncio.sleep(self.dice.uniform(0.0, 0.08))

    async def _look_after(self) -> None:
        """A person: a settler that stopped because of a lie is started again on an engine that does not."""
        while True:
            await asyncio.sleep(0.5)
            last = self.ledgers[-1]
            if last.progress.state is State.STOPPED:
                self._may_have_stopped(last)
                self.seen[f"stopped at a lie: {last.engine.lie}"] += 1
                if "seq" not in last.progress.last_error:
                    self.breaks(f"stopped without a seq: {last.progress.last_error}")
                await last.kill()
                self.begin()

    async def _heal(self) -> None:
        cluster = self.cluster
        cluster.slow = 1.0
        for server in cluster.servers.values():
            server.is_read_only = server.is_full = server.has_no_connection_left = False
            if not server.is_up:
                server.start(primary=server is cluster.primary)
            server.thaw()
        self.look_at(cluster.primary)
        for ledger in self.ledgers[:-1]:
            if not ledger.process.dead:
                await ledger.kill()


def wrong_with(books: Tables, script: Script) -> str:
    """How the books differ from the truth through their watermark; empty: not at all."""
    seq = books.mark.seq if books.mark else 0
    reference = script.reference
    expected = {key: tuple(held) for key, held in reference.after[seq].items() if any(held)}
    kept = {key: held for key, held in books.balances.items() if any(held)}
    if kept != expected:
        key = min(key for key in kept.keys() | expected.keys() if kept.get(key) != expected.get(key))
        return f"at seq {seq} account {key[0]} has {kept.get(key)} {key[1]} and not {expected.get(key)}"
    moving = [at for at, line in enumerate(reference.lines[:seq], start=1) if line.split()[0] in _MOVES]
    if [at for at, _ in sorted(books.entries)] != moving:
        return f"at seq {seq} the entries are of other seqs than moved money"
    last = 0
    epoch = 0
    for number in sorted(books.batches):
        row = books.batches[number]
        if row.first_seq != last + 1 or row.session_epoch < epoch:
            return f"batch {number} from seq {row.first_seq} of epoch {row.session_epoch} after seq {last} of {epoch}"
        last, epoch = row.last_seq, row.session_epoch
    return "" if last == seq else f"batches end at seq {last}, the watermark at {seq}"


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


_MOVES = ("credit", "debit", "hold", "release", "expire", "amend", "trade")


@contextlib.contextmanager
def inside(loop: SimulatedLoop, cluster: Cluster) -> Iterator[None]:
    """Clocks and what reaches out of a process are the world's. Our own code is as it is."""
    replaced: list[tuple[Any, str, Any]] = [
        (time, "monotonic", lambda: loop.now_s),
        (time, "time_ns", lambda: round((WALL_S + loop.now_s) * 1e6) * 1000),
        (asyncpg, "connect", cluster.connect),
        # They are files, and do not change meanwhile.
        (migrate, "known", lambda: MIGRATIONS),
    ]
    kept = [(target, name, getattr(target, name)) for target, name, _ in replaced]
    try:
        for target, name, value in replaced:
            setattr(target, name, value)
        yield
    finally:
        for target, name, value in kept:
            setattr(target, name, value)


def live(seed: int) -> Life:
    """Never raises: what is broken is in the Life, with all that was said before."""
    world = World(seed)
    broken = ""
    with inside(world.loop, world.cluster), heard(world.note, SAID, world.seen):
        try:
            world.loop.run_until_complete(world.live())
        except (Broken, Stuck, AssertionError) as error:
            broken = f"{type(error).__name__}: {error}"
            world.note(f"BROKEN {broken}")
        finally:
            world.loop.turns = 0
            world.loop.run_until_complete(_end(world))
    virtual_s = world.loop.now_s - 1000
    digest = hashlib.sha256("\n".join(world.lines).encode()).hexdigest()
    world.loop.close()
    return Life(seed, digest, virtual_s, world.seen, tuple(world.lines), broken)


async def _end(world: World) -> None:
    """Everything that still runs."""
    for ledger in world.ledgers:
        ledger.process.dead = True
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
