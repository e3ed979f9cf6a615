"""PostgreSQL under settlement, with a synchronous standby: killed, promoted, frozen. What was settled stays settled."""

import asyncio
import contextlib
import itertools
import random
import time
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.figures import Show
from fixtures.replicas import Pair
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.contracts import v1
from openbourse.ledger import database, store
from openbourse.ledger.books import Books, open_books
from openbourse.ledger.chain import Link
from openbourse.ledger.consume import Settler
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.progress import Progress
from openbourse.ledger.settlement import Watermark
from openbourse.ledger.store import Settled
from openbourse.ledger.transfers import Direction, TransferRequest, TransferState

pytestmark = pytest.mark.server

KILLS_ALONE, KILLS_BESIDE = 22, 10
SETTLED_S = 60.0

FUNDED = deliveries("asset USDT 2\ncredit 1000 USDT 1000000")
MOVES = ("hold 1000 USDT 1", "release 1000 USDT 1", "hold 1000 USDT 2")


class Reported(Progress):
    """Remembers all that was ever reported as settled."""

    def __init__(self) -> None:
        super().__init__(SHARD)
        self.links: set[Link] = set()
        self.highest_seq = 0

    async def opened(self, watermark: Watermark) -> None:
        self.highest_seq = max(self.highest_seq, watermark.seq)
        await super().opened(watermark)

    async def settled(self, settled: Settled) -> None:
        self.links.add(settled.link)
        self.highest_seq = max(self.highest_seq, settled.watermark.seq)
        await super().settled(settled)


class Stream:
    """Never ends, but for what it was told; as fast as it is read."""

    def __init__(self) -> None:
        self.given_seq = 0
        self.last_seq: int | None = None

    async def read(self, mark: Watermark) -> AsyncIterator[v1.Events]:
        for seq in itertools.count(mark.seq + 1):
            if self.last_seq is not None and seq > self.last_seq:
                break
            self.given_seq = max(self.given_seq, seq)
            yield deliveries(MOVES[seq % 3], first_seq=seq)[0]
            await asyncio.sleep(0.0005)
        await asyncio.Event().wait()


class Running:
    """A settler at work, and what it reports."""

    def __init__(self, dsn: str, books: Books) -> None:
        self.dsn = dsn
        self.books = books
        self.stream = Stream()
        self.progress = Reported()
        self.settler = Settler(dsn, SHARD, self.stream.read, self.progress)

    async def goes_on(self) -> None:
        """Something is settled that was not yet."""
        assert await self.progress.reached(self.progress.watermark.seq + 1, SETTLED_S), self.progress.last_error

    async def finish(self) -> None:
        self.stream.last_seq = self.stream.given_seq
        assert await self.progress.reached(self.stream.last_seq, SETTLED_S), self.progress.last_error


@contextlib.asynccontextmanager
async def running(dsn: str) -> AsyncIterator[Running]:
    connection, _ = await store.open_settlement(dsn, SHARD)
    await store.settle(connection, SHARD, FUNDED[:1])
    await record_transfers(connection, FUNDED)
    await store.settle(connection, SHARD, FUNDED[1:])
    await connection.close()
    async with open_books(dsn, SHARD) as books:
        made = Running(dsn, books)
        tasks = [asyncio.create_task(made.settler.run()), asyncio.create_task(made.settler.look_after(books))]
        try:
            yield made
        finally:
            made.settler.leave()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def lost(run: Running, books: LedgerDatabase) -> int:
    """How many reported settlements are not there as they were reported. Asserts that nothing is there twice.

    A batch that was lost and settled again has another time, so another head.
    """
    await run.finish()
    owner = await asyncpg.connect(books.owner)
    try:
        chain = {Link(*row) for row in await owner.fetch("SELECT batch, head FROM ledger.batches")}
        last = run.stream.last_seq
        seqs = [row["seq"] for row in await owner.fetch("SELECT seq FROM ledger.entries ORDER BY seq")]
        assert seqs == list(range(2, (last or 0) + 1))
        assert await owner.fetchval("SELECT seq FROM ledger.watermarks") == last
        summed = "SELECT account, asset, sum(available)::bigint, sum(hold)::bigint FROM ledger.legs GROUP BY 1, 2"
        kept = "SELECT account, asset, available, hold FROM ledger.balances"
        assert set(await owner.fetch(summed)) == set(await owner.fetch(kept))
    finally:
        await owner.close()
    return len(run.progress.links - chain)


async def kill(server: PostgresServer, dice: random.Random) -> None:
    await asyncio.sleep(dice.uniform(0.02, 0.25))
    await asyncio.to_thread(server.kill_9)


@pytest.mark.timeout(300)
async def test_nothing_settled_is_lost_when_postgresql_is_killed_again_and_again(
    own_ledger_database: LedgerDatabase, show: Show
) -> None:
    dice, server = random.Random(1), own_ledger_database.server  # noqa: S311
    async with running(own_ledger_database.application) as run:
        for _ in range(KILLS_ALONE):
            await kill(server, dice)
            await asyncio.to_thread(server.start)
            await run.goes_on()
        assert await lost(run, own_ledger_database) == 0
        show(f"ledger, PostgreSQL alone: {KILLS_ALONE} kill -9, of {len(run.progress.links)} reported batches lost: 0")


async def test_a_server_that_dies_while_a_large_batch_is_sent_is_noticed(own_ledger_database: LedgerDatabase) -> None:
    server = own_ledger_database.server
    connection, _ = await store.open_settlement(own_ledger_database.application, SHARD)
    await store.settle(connection, SHARD, FUNDED[:1])
    # More than the socket holds while nobody reads: the server waits for a lock.
    large = deliveries("hold 1000 USDT 1\n" * 10_000, first_seq=2)
    owner = await asyncpg.connect(own_ledger_database.owner)
    async with asyncio.timeout(SETTLED_S):
        await owner.execute("BEGIN; LOCK TABLE ledger.entries")
        settling = asyncio.create_task(store.settle(connection, SHARD, large))
        await asyncio.sleep(1.0)
        server.kill_9()
        with pytest.raises(Unavailable):
            await settling
    owner.terminate()


async def test_a_settlement_that_is_cancelled_when_its_connection_was_ended_is_cancelled(
    ledger_database: LedgerDatabase,
) -> None:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    owner = await asyncpg.connect(ledger_database.owner)
    await owner.execute("BEGIN; SELECT FROM ledger.watermarks FOR UPDATE")
    settling = asyncio.create_task(store.settle(connection, SHARD, FUNDED[:1]))
    await asyncio.sleep(0.2)
    connection.terminate()
    settling.cancel()
    await asyncio.wait([settling], timeout=10)
    assert settling.cancelled()
    await owner.close()


@pytest.mark.timeout(300)
async def test_nothing_settled_is_lost_when_a_primary_is_killed_and_comes_back_or_its_standby_takes_over(
    postgres_pair: Pair, show: Show
) -> None:
    dice, pair = random.Random(2), postgres_pair  # noqa: S311
    async with running(pair.application()) as run:
        for turn in range(KILLS_BESIDE):
            await kill(pair.primary, dice)
            if turn % 2:
                await asyncio.to_thread(pair.promote)
                # It has no standby of its own yet: what is committed there waits.
                settled = run.progress.highest_seq
                await asyncio.sleep(0.3)
                assert run.progress.highest_seq == settled
                await asyncio.to_thread(pair.follow)
            else:
                await asyncio.to_thread(pair.primary.start)
            await run.goes_on()
        assert await lost(run, pair.database) == 0
        show(
            f"ledger, PostgreSQL with a standby: {KILLS_BESIDE} kill -9, {KILLS_BESIDE // 2} of them with a take-over, "
            f"of {len(run.progress.links)} reported batches lost: 0"
        )


async def committed_here(pair: Pair, seq: int) -> bool:
    """Whether the primary shows it, wherever else it is."""
    shown = "SELECT seq FROM ledger.watermarks WHERE shard = 'main'"
    return int(await asyncio.to_thread(pair.primary.value, shown, pair.database.name)) >= seq


async def waiting_for_the_standby(pair: Pair, count: int = 1) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    async with asyncio.timeout(SETTLED_S):
        while await asyncio.to_thread(pair.primary.value, waiting) < count:  # noqa: ASYNC110 - asked of a server
            await asyncio.sleep(0.05)


CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.mark.parametrize("end", [CANCEL, TERMINATE])
async def test_a_commit_whose_wait_for_the_standby_is_ended_is_not_settled_and_waits_again(
    postgres_pair: Pair, end: str
) -> None:
    pair = postgres_pair
    async with running(pair.application()) as run:
        await run.goes_on()
        with pair.standby.frozen():
            await waiting_for_the_standby(pair)
            settled = run.progress.highest_seq
            # At first a new batch, then one in which all is a duplicate, or the opening before it.
            for _ in range(3):
                await asyncio.to_thread(pair.primary.execute, end)
                await asyncio.sleep(0.2)
                await waiting_for_the_standby(pair)
            assert await committed_here(pair, settled + 1)
            assert run.progress.highest_seq == settled
            # What is here alone does not survive the primary, so it must not have been said.
            await asyncio.to_thread(pair.primary.kill_9)
        await asyncio.to_thread(pair.promote)
        await asyncio.to_thread(pair.follow)
        await run.goes_on()
        assert await lost(run, pair.database) == 0


async def test_a_batch_that_is_here_alone_waits_for_the_standby_when_it_comes_again(postgres_pair: Pair) -> None:
    pair = postgres_pair
    connections = [(await store.open_settlement(pair.application(), SHARD))[0] for _ in range(4)]
    *cancelled, last = connections
    with pair.standby.frozen():
        for connection in cancelled:
            settling = asyncio.create_task(store.settle(connection, SHARD, FUNDED[:1]))
            await waiting_for_the_standby(pair)
            await asyncio.to_thread(pair.primary.execute, CANCEL)
            with pytest.raises(Unavailable, match="on its standby perhaps not"):
                await settling
            assert await committed_here(pair, 1)
        settling = asyncio.create_task(store.settle(last, SHARD, FUNDED[:1]))
        await waiting_for_the_standby(pair)
    assert (await settling).link.batch == 1
    for connection in connections:
        await connection.close()


async def test_a_connection_that_is_lost_while_the_commit_waits_is_not_settled_before_the_standby_has_it(
    postgres_pair: Pair,
) -> None:
    pair = postgres_pair
    async with running(pair.application()) as run:
        await run.goes_on()
        with pair.standby.frozen():
            await waiting_for_the_standby(pair)
            settled = run.progress.highest_seq
            for _ in range(2):
                run.settler.leave()
                await asyncio.sleep(0.5)
            assert run.progress.highest_seq == settled
            # Not even here: a new session waits for the one before it, and that for the standby.
            assert not await committed_here(pair, settled + 1)
        await run.goes_on()
        assert await lost(run, pair.database) == 0


async def test_a_transfer_is_not_asked_for_nor_told_before_the_standby_has_it(postgres_pair: Pair) -> None:
    pair = postgres_pair
    wanted = TransferRequest(uuid.uuid4(), Direction.WITHDRAWAL, 1000, "USDT", 5)
    async with running(pair.application()) as run:
        await run.goes_on()
        with pair.standby.frozen():
            for write in (
                lambda: run.books.record(wanted, "test"),
                # It is there by now, but here alone.
                lambda: run.books.confirmed(wanted.transfer_id),
                lambda: run.books.void(wanted.transfer_id, "no"),
                lambda: run.books.confirmed(wanted.transfer_id),
            ):
                writing = asyncio.create_task(write())
                await waiting_for_the_standby(pair, 2)
                await asyncio.to_thread(pair.primary.execute, CANCEL + " AND application_name LIKE '%books'")
                with pytest.raises(Unavailable, match="on its standby perhaps not"):
                    await writing
        assert (await run.books.confirmed(wanted.transfer_id)).state is TransferState.VOIDED


async def test_a_transfer_that_waits_too_long_is_not_cancelled_but_left(
    postgres_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WRITE_TIMEOUT_S", 0.5)
    pair = postgres_pair
    wanted = TransferRequest(uuid.uuid4(), Direction.WITHDRAWAL, 1000, "USDT", 5)
    async with running(pair.application()) as run:
        await run.goes_on()
        with pair.standby.frozen():
            with pytest.raises(Unavailable):
                await run.books.record(wanted, "test")
            assert await run.books.transfer(wanted.transfer_id) is None
        async with asyncio.timeout(SETTLED_S):
            while await run.books.transfer(wanted.transfer_id) is None:  # noqa: ASYNC110 - asked of a server
                await asyncio.sleep(0.05)


async def test_a_settler_leaves_a_frozen_primary_when_the_standby_has_taken_over(
    postgres_pair: Pair, show: Show
) -> None:
    pair = postgres_pair
    async with running(pair.application()) as run:
        await run.goes_on()
        old = pair.primary
        with old.frozen():
            await asyncio.to_thread(pair.leave_the_frozen)
            began = time.monotonic()
            await run.goes_on()
            took_s = time.monotonic() - began
            show(f"ledger, PostgreSQL frozen and its standby promoted: settles again after {took_s:.1f} s")
            await asyncio.to_thread(old.kill_9)
        assert await lost(run, pair.database) == 0
