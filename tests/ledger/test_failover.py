"""PostgreSQL under settlement, with a synchronous standby: killed, promoted, frozen. What was settled stays settled."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.figures import Show
from fixtures.replicas import Pair
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.contracts import v1
from openbourse.ledger import store
from openbourse.ledger.books import Books, open_books
from openbourse.ledger.chain import Link
from openbourse.ledger.consume import Settler
from openbourse.ledger.progress import Progress
from openbourse.ledger.settlement import Watermark
from openbourse.ledger.store import Settled

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


async def lost(run: Running, database: LedgerDatabase) -> int:
    """How many reported settlements are not there as they were reported. Asserts that nothing is there twice.

    A batch that was lost and settled again has another time, so another head.
    """
    await run.finish()
    owner = await asyncpg.connect(database.owner)
    try:
        chain = {Link(*row) for row in await owner.fetch("SELECT batch, head FROM ledger.batches")}
        last = run.stream.last_seq
        seqs = [row["seq"] for row in await owner.fetch("SELECT seq FROM ledger.entries ORDER BY seq")]
        assert seqs == list(range(2, (last or 0) + 1))
        assert await owner.fetchval("SELECT seq FROM ledger.watermarks") == last
        summed = "SELECT account, asset, sum(available)::bigint, sum(hold)::bigint FROM ledger.legs GROUP BY 1, 2"
        kept = "SELECT account, asset, available, hold FROM ledger.balances"
        assert sorted(await owner.fetch(summed)) == sorted(await owner.fetch(kept))
    finally:
        await owner.close()
    assert len(run.progress.links) > 20
    return len(run.progress.links - chain)


async def kill(server: PostgresServer, dice: random.Random) -> None:
    await asyncio.sleep(dice.uniform(0.02, 0.25))
    await asyncio.to_thread(server.kill_9)


async def test_nothing_settled_is_lost_when_postgresql_is_killed_again_and_again(
    own_ledger_database: LedgerDatabase, show: Show
) -> None:
    dice, server = random.Random(1), own_ledger_database.server
    async with running(own_ledger_database.application) as run:
        for _ in range(KILLS_ALONE):
            await kill(server, dice)
            await asyncio.to_thread(server.start)
            await run.goes_on()
        assert await lost(run, own_ledger_database) == 0
        show(f"ledger, PostgreSQL alone: {KILLS_ALONE} kill -9, of {len(run.progress.links)} reported batches lost: 0")


async def test_nothing_settled_is_lost_when_a_primary_is_killed_and_comes_back_or_its_standby_takes_over(
    postgres_pair: Pair, show: Show
) -> None:
    dice, pair = random.Random(2), postgres_pair
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
