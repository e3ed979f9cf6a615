"""The PostgreSQL that settlers are simulated on does what a real one does: the same transcripts, on both, end the same.

A transcript is drawn by seed: batches, repeats, lies, sessions that die before any statement, two settlers at once.
After each step the outcome and all rows are compared; with a standby, what waits, and what a take-over loses.
"""

import asyncio
import contextlib
import functools
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from simulation.ledger.script import LISTED, Engine, Script
from simulation.ledger.servers import Cluster
from simulation.ledger.tables import SQL, Mark, Tables, Transfer, decode
from simulation.ledger.world import DSN, inside
from simulation.loop import Process, SimulatedLoop

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.dying import DyingConnection
from fixtures.figures import Show
from fixtures.replicas import Pair
from fixtures.streams import SHARD, deliveries
from openbourse.contracts import v1
from openbourse.ledger import chain, copy_rows, store
from openbourse.ledger.errors import LedgerError

pytestmark = pytest.mark.server

TRANSCRIPTS, STEPS = 12, 16
WAITS_S = 0.5
Books = dict[str, Any]


@dataclass
class Place:
    """A PostgreSQL, simulated or real, as a transcript has to do with it."""

    dsn: str
    books: Callable[[], Awaitable[Books]]
    # What ends sessions, as DyingConnection asks it.
    killer: Any
    ask_for: Callable[[dict[uuid.UUID, Transfer]], Awaitable[None]]


def outcome(done: object) -> str:
    """What a settlement came to, less what only one of the two has in its sentences."""
    if not isinstance(done, LedgerError):
        assert isinstance(done, store.Settled)
        return f"{done.watermark} {done.trades} {done.total_trades} {done.link}"
    sentence = str(done)
    if constraint := re.search(r'constraint "(\w+)"', sentence):
        sentence = constraint[1]
    if "the books refuse it" in sentence or type(done).__name__ == "Unavailable":
        sentence = ""
    return f"{type(done).__name__} {sentence}"


async def attempt(connection: Any, parts: list[v1.Events]) -> object:
    try:
        return await store.settle(connection, SHARD, parts)
    except LedgerError as error:
        return error


async def play(seed: int, did: list[tuple[str, Books]], place: Place) -> None:
    """One transcript; `did` gets what each step came to."""
    dice = random.Random(seed)  # noqa: S311 (the seed is the reproduction)
    script = Script(dice)
    engine = Engine(script, dice, 1, script.length)
    first, _ = await store.open_settlement(place.dsn, SHARD)
    settled = len(LISTED)
    await store.settle(first, SHARD, [engine.part(1, settled)])
    await place.ask_for(script.transfers)
    for _ in range(STEPS):
        until = min(script.length, settled + dice.randint(0, 9))
        since = max(1, min(until, settled + 1 - dice.choice((0, 0, 3))))
        parts = [engine.part(seq, seq) for seq in range(since, until + 1)]
        done: list[object]
        match dice.choice(("settle", "settle", "dies", "dies", "both", "forged", "gap", "refused", "stale")):
            case "dies":
                dying = DyingConnection(first, place.killer, dice.randint(1, 14))
                done = [await attempt(dying, parts)]
                first.terminate()
                first, watermark = await store.open_settlement(place.dsn, SHARD)
                done.append(store.Settled(watermark, 0, 0, chain.Link(0, b"")))
            case "both":
                second, _ = await store.open_settlement(place.dsn, SHARD)
                done = list(await asyncio.gather(attempt(first, parts), attempt(second, parts)))
                second.terminate()
            case "forged":
                forged = engine.part(settled, settled)
                for event in forged.events:
                    event.correlation_id += "-forged"
                done = [await attempt(first, [forged])]
            case "gap":
                done = [
                    await attempt(first, [engine.part(settled, settled), *deliveries("nothing", first_seq=settled + 2)])
                ]
            case "refused":
                line = dice.choice(("hold 1002 BTC 100000", "hold 1002 DOGE 1", "credit 1002 BTC 5"))
                done = [await attempt(first, [*parts, *deliveries(line, first_seq=until + 1)])]
            case "stale":
                parts[0].epoch = 0
                done = [await attempt(first, parts)]
            case _:
                done = [await attempt(first, parts)]
        books = await place.books()
        settled = books["mark"].seq
        did.append((" | ".join(sorted(map(outcome, done))), books))
    first.terminate()


def simulated(seed: int, run: Callable[[Place], Awaitable[None]]) -> None:
    loop = SimulatedLoop(random.Random(seed))  # noqa: S311 (the seed is the reproduction)
    cluster = Cluster(loop, loop.dice, Tables())

    async def books() -> Books:
        return told(cluster.primary.books())

    async def ask_for(transfers: dict[uuid.UUID, Transfer]) -> None:
        # As a transaction of its own does, which nobody here waits for.
        for server in cluster.servers.values():
            server.log[-1].transfers.update(transfers)

    class Killer:
        async def fetchval(self, _: str, pid: int) -> None:
            backend = cluster.primary.sessions[pid]
            backend.link.cut()
            cluster.primary.leave(backend)

    async def main() -> None:
        await run(Place(DSN, books, Killer(), ask_for))

    with inside(loop, cluster), one_time():
        loop.run_until_complete(loop.start(Process("ledger", "ledger", "here"), main()))
    loop.close()


def real(database: LedgerDatabase, run: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        owner = await asyncpg.connect(database.owner)

        async def books() -> Books:
            return await rows_of(owner)

        async def ask_for(transfers: dict[uuid.UUID, Transfer]) -> None:
            await owner.executemany(
                "INSERT INTO ledger.transfers (transfer_id, shard, direction, account, asset, amount, requested_by) "
                "VALUES ($1, $2, $3::text::ledger.transfer_direction, $4, $5, $6, 'test')",
                [(asked, SHARD, t.direction, t.account, t.asset, t.amount) for asked, t in transfers.items()],
            )

        try:
            await run(Place(database.application, books, owner, ask_for))
        finally:
            await owner.close()

    with one_time():
        asyncio.run(main())


@contextlib.contextmanager
def one_time() -> Iterator[None]:
    """Batches are settled at the same time on both, so that their heads are the same."""
    kept = time.time_ns
    time.time_ns = lambda: 1_790_000_000_000_000_000
    try:
        yield
    finally:
        time.time_ns = kept


def told(tables: Tables) -> Books:
    """All rows, but of an account that has nothing: whether there is one depends on nothing that matters."""
    return {
        "mark": tables.mark,
        "entries": [tables.entries[key] for key in sorted(tables.entries)],
        "symbols": [tables.symbols[key] for key in sorted(tables.symbols)],
        "checkpoints": [tables.checkpoints[key] for key in sorted(tables.checkpoints)],
        "assets": [tables.assets[name] for name in sorted(tables.assets)],
        "balances": dict(tables.balances),
        "transfers": dict(tables.transfers),
        "batches": [tables.batches[number] for number in sorted(tables.batches)],
    }


async def rows_of(owner: Any) -> Books:
    """The same of a real one, read as the chain reads it."""
    row = await owner.fetchrow("SELECT session_epoch, seq, batch, head, trades FROM ledger.watermarks")
    copied = bytearray()

    async def take(data: bytes) -> None:
        copied.extend(data)

    columns = ", ".join(copy_rows.COLUMNS).replace("kind", "kind::text")
    query = f"SELECT {columns} FROM ledger.entries ORDER BY seq, index"
    await owner.copy_from_query(query, output=take, format="binary")
    every = (SHARD, 1, 1 << 60)
    transfers = await owner.fetch(
        "SELECT transfer_id, direction::text, account, asset, amount, state::text, coalesce(reason, '') AS reason, "
        "posted_seq, posted_index FROM ledger.transfers"
    )
    batches = await owner.fetch(
        "SELECT shard, batch, session_epoch, first_seq, last_seq, entries, settled_at_us, content "
        "FROM ledger.batches ORDER BY batch"
    )
    return {
        "mark": Mark(*row),
        "entries": decode(bytes(copied)),
        "symbols": [tuple(row) for row in await owner.fetch(SQL["settled_symbols"], *every)],
        "checkpoints": [tuple(row) for row in await owner.fetch(SQL["settled_checkpoints"], *every)],
        "assets": [tuple(r) for r in await owner.fetch("SELECT seq, asset, scale FROM ledger.assets ORDER BY asset")],
        "balances": {
            (r["account"], r["asset"]): (r["available"], r["hold"])
            for r in await owner.fetch("SELECT account, asset, available, hold FROM ledger.balances")
        },
        "transfers": {
            asked: Transfer(direction, account, asset, amount, state, why, None if seq is None else (seq, index))
            for asked, direction, account, asset, amount, state, why, seq, index in transfers
        },
        "batches": [chain.BatchRow(*r) for r in batches],
    }


def test_a_transcript_ends_the_same_on_both(postgres: PostgresServer, ledger_template: str, show: Show) -> None:
    steps = 0
    for seed in range(TRANSCRIPTS):
        name = f"same_{uuid.uuid4().hex}"
        postgres.execute(f"CREATE DATABASE {name} TEMPLATE {ledger_template}")
        there: list[tuple[str, Books]] = []
        here: list[tuple[str, Books]] = []
        try:
            real(LedgerDatabase(postgres, name), functools.partial(play, seed, there))
        finally:
            postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
        simulated(seed, functools.partial(play, seed, here))
        assert [did for did, _ in here] == [did for did, _ in there], f"seed {seed}"
        for number, ((_, ours), (did, theirs)) in enumerate(zip(here, there, strict=True)):
            assert ours == theirs, f"seed {seed} step {number}: {did}"
        steps += len(here)
    show(f"simulated PostgreSQL and a real one: {TRANSCRIPTS} transcripts, {steps} steps, the same outcomes and rows")


@dataclass
class Beside:
    """A PostgreSQL with a standby, simulated or real, and what somebody does to it."""

    dsn: str
    stop_the_standby: Callable[[], Awaitable[None]]
    cancel_what_waits: Callable[[], Awaitable[None]]
    # The primary dies, its standby takes over, and has one of its own.
    take_over: Callable[[], Awaitable[None]]


async def waits(work: Awaitable[object]) -> bool:
    """Whether it is not done after a while; it is left as it is."""
    done, _ = await asyncio.wait([asyncio.ensure_future(work)], timeout=WAITS_S)
    return not done


async def with_a_standby(beside: Beside, did: list[object]) -> None:
    """What is committed without the standby is waited for, told as unknown when cancelled, and lost at a take-over."""
    stream = deliveries("asset USDT 2\nasset BTC 8\nlegs order_accepted 1000:USDT:0:0 1001:USDT:0:0", first_seq=1)
    first, watermark = await store.open_settlement(beside.dsn, SHARD)
    did.append(watermark)
    did.append(outcome(await attempt(first, stream[:1])))
    other, _ = await store.open_settlement(beside.dsn, SHARD)
    await beside.stop_the_standby()
    settling = asyncio.ensure_future(attempt(first, stream[1:2]))
    did.append(await waits(asyncio.shield(settling)))
    did.append((await other.fetchrow(SQL["settled_assets"], SHARD, ["BTC"])) is not None)
    await beside.cancel_what_waits()
    did.append(outcome(await settling))
    # Seen by everybody from here on, and on the standby it is not: whoever opens, or settles it again, waits.
    did.append((await other.fetchrow(SQL["settled_assets"], SHARD, ["BTC"])) is not None)
    opening = asyncio.ensure_future(store.open_settlement(beside.dsn, SHARD))
    did.append(await waits(asyncio.shield(opening)))
    again = asyncio.ensure_future(attempt(first, stream[1:2]))
    did.append(await waits(asyncio.shield(again)))
    await beside.take_over()
    did.append(outcome(await again))
    with pytest.raises(LedgerError) as unopened:
        await opening
    did.append(outcome(unopened.value))
    last, watermark = await store.open_settlement(beside.dsn, SHARD)
    did.append(watermark)
    did.append(outcome(await attempt(last, stream)))
    last.terminate()


def test_with_a_standby_both_wait_and_lose_the_same(postgres_pair: Pair) -> None:
    pair = postgres_pair
    there: list[object] = []
    here: list[object] = []

    async def stop() -> None:
        # A frozen one would still find in its socket what it was sent.
        await asyncio.to_thread(pair.standby.stop)

    async def cancel() -> None:
        await asyncio.to_thread(
            pair.primary.execute, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )

    async def take_over() -> None:
        await asyncio.to_thread(pair.primary.kill_9)
        await asyncio.to_thread(pair.standby.start)
        await asyncio.to_thread(pair.promote)
        await asyncio.to_thread(pair.follow)

    with one_time():
        asyncio.run(with_a_standby(Beside(pair.application(), stop, cancel, take_over), there))

    loop = SimulatedLoop(random.Random(1))  # noqa: S311 (the seed is the reproduction)
    cluster = Cluster(loop, loop.dice, Tables())

    async def simulated_stop() -> None:
        cluster.standby.is_up = False

    async def simulated_cancel() -> None:
        assert cluster.cancel_waiting()

    async def simulated_take_over() -> None:
        cluster.primary.die()
        cluster.take_over()
        cluster.standby.start(primary=False)

    with inside(loop, cluster), one_time():
        beside = Beside(DSN, simulated_stop, simulated_cancel, simulated_take_over)
        loop.run_until_complete(loop.start(Process("ledger", "ledger", "here"), with_a_standby(beside, here)))
    loop.close()
    assert here == there
    assert here[2:8] == [True, False, "Unavailable ", True, True, True]
