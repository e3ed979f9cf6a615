"""A connection or a server that dies at any moment of a settlement: nothing is lost, nothing is settled twice."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.dying import DyingConnection
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.contracts import v1
from openbourse.ledger import store
from openbourse.ledger.consume import Backlog, Settler
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.progress import Progress, State
from openbourse.ledger.settlement import Watermark

pytestmark = pytest.mark.server

LISTED = deliveries("asset USDT 2\nasset BTC 8\nsymbol BTC USDT")
FUNDED = deliveries("credit 1000 USDT 100000\ncredit 1001 BTC 100000", first_seq=4)
# A batch in which every statement of a settlement has something to do, the comparison of duplicates included.
BATCH = [
    *FUNDED[1:],
    *deliveries(
        """
        credit 1002 USDT 7
        debit 1000 USDT 300
        refuse 1000 USDT 100000
        asset ETH 8
        symbol ETH USDT
        checkpoint abcd
        hold 1000 USDT 200
        hold 1001 BTC 20
        trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1
        """,
        first_seq=6,
    ),
]


async def books(dsn: str) -> list[list[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [
            await connection.fetch("SELECT * FROM ledger.entries ORDER BY seq, index"),
            await connection.fetch("SELECT * FROM ledger.balances ORDER BY account, asset"),
            await connection.fetch("SELECT shard, session_epoch, seq, trades, batch, head FROM ledger.watermarks"),
            await connection.fetch("SELECT transfer_id, state FROM ledger.transfers ORDER BY transfer_id"),
            await connection.fetch("SELECT * FROM ledger.checkpoints"),
            await connection.fetch("SELECT * FROM ledger.batches ORDER BY batch"),
        ]
    finally:
        await connection.close()


async def funded(database: LedgerDatabase) -> Connection:
    connection, _ = await store.open_settlement(database.application, SHARD)
    await store.settle(connection, SHARD, LISTED)
    await record_transfers(connection, [*FUNDED, *BATCH[1:]])
    await store.settle(connection, SHARD, FUNDED)
    return connection


async def test_a_connection_that_dies_at_any_statement_leaves_all_or_nothing(
    ledger_database: LedgerDatabase,
) -> None:
    connection = await funded(ledger_database)
    killer = await asyncpg.connect(ledger_database.owner)
    before = await books(ledger_database.owner)
    dies_at = 0
    while True:
        dies_at += 1
        assert dies_at < 40
        dying = DyingConnection(connection, killer, dies_at)
        try:
            await store.settle(dying, SHARD, BATCH)  # type: ignore[arg-type]
            break
        except Unavailable:
            assert await books(ledger_database.owner) == before
            connection.terminate()
            connection, watermark = await store.open_settlement(ledger_database.application, SHARD)
            assert watermark == Watermark(1, 5)
    # BEGIN, the watermark, four of comparison, the seven of posting, ..., COMMIT.
    assert dying.statements == dies_at - 1 >= 15
    after = await books(ledger_database.owner)
    assert after != before
    # An answer lost on its way: the commit is there, and the same batch again changes nothing.
    await store.settle(connection, SHARD, BATCH)
    assert await books(ledger_database.owner) == after
    await connection.close()
    await killer.close()


def held_and_released(first_seq: int, count: int) -> list[v1.Events]:
    return deliveries("hold 1000 USDT 1\nrelease 1000 USDT 1\nhold 1000 USDT 2\n" * count, first_seq=first_seq)


async def replay(stream: list[v1.Events], watermark: Watermark, pause_s: float) -> AsyncIterator[v1.Events]:
    """The committed stream as an engine serves it: from the watermark on, and never ending."""
    for delivery in stream:
        if delivery.last_seq > watermark.seq:
            yield delivery
            await asyncio.sleep(pause_s)
    await asyncio.Event().wait()


async def test_the_server_stops_and_dies_under_a_stream_and_nothing_is_lost_or_twice(
    own_ledger_database: LedgerDatabase,
) -> None:
    await (await funded(own_ledger_database)).close()
    stream = held_and_released(first_seq=6, count=400)
    progress = Progress(SHARD)
    settler = Settler(own_ledger_database.application, SHARD, lambda mark: replay(stream, mark, 0.002), progress)
    running = asyncio.create_task(settler.run())
    server = own_ledger_database.server
    try:
        for end in (server.kill, server.stop, server.kill):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(end)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.start)
        assert await progress.reached(stream[-1].last_seq, 60)
        assert "database" in progress.last_error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    entries, balances, (watermark,), *_ = await books(own_ledger_database.owner)
    assert [row["seq"] for row in entries] == [4, 5, *range(6, 6 + 1200)]
    assert next((r["available"], r["hold"]) for r in balances if r["account"] == 1000) == (100_000 - 800, 800)
    assert watermark["seq"] == 1205


async def test_settlement_stops_at_a_contradiction_and_says_why(ledger_database: LedgerDatabase) -> None:
    await (await funded(ledger_database)).close()
    stream = [*held_and_released(6, 1), *deliveries("hold 1000 USDT 1000000000", first_seq=9)]
    progress = Progress(SHARD)
    settler = Settler(ledger_database.application, SHARD, lambda mark: replay(stream, mark, 0.05), progress)
    async with asyncio.timeout(20):
        await settler.run()
    assert progress.state is State.STOPPED
    assert "balances_are_not_negative" in progress.last_error
    assert (progress.watermark.seq, progress.why_not_ready().startswith("stopped: ")) == (8, True)


async def test_a_stream_of_an_older_leader_is_left_for_the_newer_one(ledger_database: LedgerDatabase) -> None:
    connection = await funded(ledger_database)
    await store.settle(connection, SHARD, deliveries("nothing", first_seq=6, session_epoch=4))
    await connection.close()
    asked: list[Watermark] = []

    def source(mark: Watermark) -> AsyncIterator[v1.Events]:
        asked.append(mark)
        return replay(deliveries("hold 1000 USDT 1", first_seq=7, session_epoch=2 + len(asked)), mark, 0.01)

    progress = Progress(SHARD)
    running = asyncio.create_task(Settler(ledger_database.application, SHARD, source, progress).run())
    assert await progress.reached(7, 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert asked == [Watermark(4, 6)] * 2
    assert "epoch 3 after events of epoch 4" in progress.last_error
    assert progress.watermark == Watermark(4, 7)


async def test_a_database_that_was_never_migrated_is_waited_for(own_ledger_database: LedgerDatabase) -> None:
    server = own_ledger_database.server
    await asyncio.to_thread(server.execute, "CREATE DATABASE empty")
    progress = Progress(SHARD)
    settler = Settler(server.dsn("empty"), SHARD, lambda mark: replay([], mark, 0.01), progress)
    running = asyncio.create_task(settler.run())
    for _ in range(200):
        if progress.last_error:
            break
        await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert progress.last_error.endswith("is not applied: run `python -m openbourse.ledger migrate`")
    assert progress.state is State.WAITING


async def test_the_backlog_is_bounded_and_a_batch_too() -> None:
    stream = held_and_released(1, 12_000)
    backlog = Backlog(SHARD)
    filling = asyncio.create_task(backlog.fill(replay(stream, Watermark(0, 0), 0)))
    await asyncio.sleep(1.0)
    taken: list[v1.Events] = []
    sizes = []
    while len(taken) < len(stream):
        batch, _ = await backlog.take()
        taken += [delivery.message for delivery in batch]
        sizes.append(len(batch))
        await asyncio.sleep(0)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    assert taken == stream
    assert max(sizes) <= 1_000
