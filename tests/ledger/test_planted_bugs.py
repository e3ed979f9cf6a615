"""Bugs of `fixtures/planted_settler.py`, and the fact on a real PostgreSQL that finds each.

A fact holds without the bug and not with it. Those that only time and faults show: `tests/simulation/ledger/`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.figures import Tally
from fixtures.planted_settler import PLANTED
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.contracts import v1
from openbourse.ledger import chain, consume, queries, store
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged, LedgerError, StaleSession, Unavailable
from openbourse.ledger.progress import Progress
from openbourse.ledger.settlement import Watermark

pytestmark = pytest.mark.server

LISTED = deliveries("asset USDT 2\nasset BTC 8\nsymbol BTC USDT")
FUNDED = deliveries("credit 1000 USDT 500\ncredit 1001 BTC 50", first_seq=4)
TRADED = deliveries(
    """
    hold 1000 USDT 200
    hold 1001 BTC 20
    trade 1001 sells 10 BTC for 100 USDT to 1000, fees 2 1
    trade 1001 sells 10 BTC for 100 USDT to 1000, fees 2 1
    checkpoint abcd
    """,
    first_seq=6,
)


OPENED: list[Connection] = []


@pytest.fixture
async def database(ledger_database: LedgerDatabase) -> AsyncIterator[LedgerDatabase]:
    """A ledger; what a fact opened on it is closed, however that ended."""
    yield ledger_database
    while OPENED:
        OPENED.pop().terminate()


async def settled(database: LedgerDatabase) -> Connection:
    """The settling connection of a ledger that has settled all of the above."""
    connection, _ = await store.open_settlement(database.application, SHARD)
    OPENED.append(connection)
    await store.settle(connection, SHARD, LISTED)
    await record_transfers(connection, FUNDED)
    await store.settle(connection, SHARD, FUNDED)
    await store.settle(connection, SHARD, TRADED)
    return connection


async def _balances_are_the_sums_of_legs(connection: Connection) -> None:
    different = await connection.fetch(
        "SELECT account, asset FROM ledger.balances FULL JOIN (SELECT account, asset, sum(available) AS available, "
        "sum(hold) AS hold FROM ledger.legs GROUP BY account, asset) AS l USING (account, asset) "
        "WHERE (balances.available, balances.hold) IS DISTINCT FROM (l.available, l.hold)"
    )
    assert different == []


async def balances_are_what_entries_sum_to(database: LedgerDatabase) -> None:
    connection = await settled(database)
    await _balances_are_the_sums_of_legs(connection)


async def what_overlaps_moves_nothing_twice(database: LedgerDatabase) -> None:
    connection = await settled(database)
    more = deliveries("hold 1000 USDT 5", first_seq=TRADED[-1].last_seq + 1)
    await store.settle(connection, SHARD, [*TRADED, *more])
    await _balances_are_the_sums_of_legs(connection)


async def other_content_under_a_settled_seq_stops(database: LedgerDatabase) -> None:
    connection = await settled(database)
    changed = v1.Events.FromString(TRADED[2].SerializeToString())
    changed.events[0].trade_executed.price_ticks += 1
    with pytest.raises(Diverged, match="a duplicate with other content"):
        await store.settle(connection, SHARD, [*TRADED[:2], changed])


async def an_event_that_was_not_there_the_first_time_stops(database: LedgerDatabase) -> None:
    connection = await settled(database)
    other = deliveries("checkpoint abce", first_seq=TRADED[-1].last_seq)
    with pytest.raises(Diverged, match="a duplicate with other content"):
        await store.settle(connection, SHARD, other)


async def what_was_all_settled_is_written_again(database: LedgerDatabase) -> None:
    connection = await settled(database)
    before = await connection.fetchval("SELECT xmin FROM ledger.watermarks")
    await store.settle(connection, SHARD, TRADED)
    assert await connection.fetchval("SELECT xmin FROM ledger.watermarks") != before


async def an_older_leader_settles_nothing(database: LedgerDatabase) -> None:
    connection = await settled(database)
    await store.settle(connection, SHARD, deliveries("nothing", first_seq=11, session_epoch=5))
    with pytest.raises(StaleSession):
        await store.settle(connection, SHARD, deliveries("nothing", first_seq=12, session_epoch=4))


async def a_credit_that_nobody_asked_for_stops(database: LedgerDatabase) -> None:
    connection = await settled(database)
    with pytest.raises(Diverged, match="which is not pending here"):
        await store.settle(connection, SHARD, deliveries("credit 1000 USDT 7", first_seq=11))


async def the_content_is_what_an_export_holds(database: LedgerDatabase) -> None:
    connection = await settled(database)
    # An asset that is defined again is not written again.
    await store.settle(connection, SHARD, deliveries("asset USDT 2\ncheckpoint ef", first_seq=11))
    for batch in await connection.fetch("SELECT * FROM ledger.batches ORDER BY batch"):
        sections = {}
        for name, query in queries.load("chain.sql").items():
            section = chain.SectionHash()

            async def feed(data: bytes, section: chain.SectionHash = section) -> None:
                section.feed(data)

            span = (batch["first_seq"], batch["last_seq"])
            await connection.copy_from_query(query, SHARD, *span, output=feed, format="binary")
            sections[name] = (section.length, section.digest())
        assert batch["content"] == chain.content_of_digests(sections)


class Dying:
    """A real connection that is lost right before the batch's row and the watermark are written."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        if "INSERT INTO ledger.batches" in query:
            self._connection.terminate()
            raise ConnectionResetError("lost")
        return await self._connection.fetchval(query, *arguments)


async def a_settlement_that_dies_before_the_watermark_leaves_nothing(database: LedgerDatabase) -> None:
    connection = await settled(database)
    with pytest.raises(Unavailable):
        await store.settle(Dying(connection), SHARD, deliveries("hold 1000 USDT 5", first_seq=11))  # type: ignore[arg-type]
    owner = await asyncpg.connect(database.owner)
    try:
        assert await owner.fetchval("SELECT count(*) FROM ledger.entries WHERE seq = 11") == 0
    finally:
        await owner.close()


async def what_is_said_to_be_settled_is_there(database: LedgerDatabase) -> None:
    """The connection is lost again and again; what the progress says is in the database."""
    await (await settled(database)).close()
    stream = deliveries("hold 1000 USDT 1\nrelease 1000 USDT 1\n" * 100, first_seq=11)
    owner = await asyncpg.connect(database.owner)

    async def source(watermark: Watermark) -> AsyncIterator[v1.Events]:
        for delivery in stream:
            if delivery.last_seq > watermark.seq:
                yield delivery
                await asyncio.sleep(0.005)
        await asyncio.Event().wait()

    progress = Progress(SHARD)
    running = asyncio.create_task(consume.Settler(database.application, SHARD, source, progress).run())
    try:
        for _ in range(200):
            await owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.05)
            said = progress.watermark.seq
            assert await owner.fetchval("SELECT count(*) FROM ledger.entries") >= min(said, stream[-1].last_seq) - 6
            if progress.watermark.seq == stream[-1].last_seq or running.done():
                break
        assert await progress.reached(stream[-1].last_seq, 20)
        assert await owner.fetchval("SELECT count(*) FROM ledger.entries WHERE seq >= 11") == len(stream)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await owner.close()


FOUND_BY: dict[str, Callable[[LedgerDatabase], Awaitable[None]]] = {
    "duplicates are compared by their keys": other_content_under_a_settled_seq_stops,
    "duplicates are not compared": an_event_that_was_not_there_the_first_time_stops,
    "the watermark is not written when all came again": what_was_all_settled_is_written_again,
    "an unknown outcome is taken for settled": what_is_said_to_be_settled_is_there,
    "of two changes of a balance the last is kept": balances_are_what_entries_sum_to,
    "fees are not netted": balances_are_what_entries_sum_to,
    "what came again moves balances again": what_overlaps_moves_nothing_twice,
    "any leader is followed": an_older_leader_settles_nothing,
    "a credit is taken without its transfer": a_credit_that_nobody_asked_for_stops,
    "a head does not follow the one before": balances_are_what_entries_sum_to,
    "only entries are hashed": the_content_is_what_an_export_holds,
    "an asset that is defined again is hashed again": the_content_is_what_an_export_holds,
    "entries are committed before the watermark": a_settlement_that_dies_before_the_watermark_leaves_nothing,
}
FACTS = list(dict.fromkeys(FOUND_BY.values()))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
async def test_the_fact_holds(fact: Callable[[LedgerDatabase], Awaitable[None]], database: LedgerDatabase) -> None:
    await fact(database)


@pytest.mark.parametrize("bug", FOUND_BY)
async def test_a_planted_bug_is_found(
    bug: str, database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    tally("planted bugs of the settler found")
    monkeypatch.setattr(*PLANTED[bug])
    with pytest.raises((AssertionError, LedgerError, pytest.fail.Exception)):
        await FOUND_BY[bug](database)
