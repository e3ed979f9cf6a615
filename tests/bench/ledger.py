"""How many trades a second PostgreSQL settles with every guard on, and what a trade costs on disk.

A trade counts when its transaction is committed. The stream is what an engine sends: TradeExecuted events with all
their movements, between 10,000 accounts. The peer is the same settlement with one transaction per trade.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator

import asyncpg
import beside_hordak
import ledger_load
import open_loop
from result import RUNS, Result, result, say
from settling import DATABASE, funded_trades, ledger_server, open_funded, rate, scratch_binaries, trades_between
from verifying import verify_rates

from fixtures.databases import PostgresServer
from fixtures.streams import SHARD
from openbourse.ledger import rebuild
from openbourse.ledger.database import Connection

BATCHES = (1, 10, 100, 200, 500)
TARGETS = {200: 10_000.0}
VERIFY_TARGET = 500_000.0
REBUILD_TARGET_S = 60.0
MEASURE_S = 2.0
PEER = "one transaction per trade"


def measure() -> list[Result]:
    with scratch_binaries() as (binaries, scratch), ledger_server(binaries, scratch / "server") as server:
        results = [*asyncio.run(_measure(server)), *asyncio.run(ledger_load.hot(server, DATABASE, _hot_trades))]
    return [*results, *open_loop.measure(), *beside_hordak.measure()]


async def _measure(server: PostgresServer) -> list[Result]:
    connection = await open_funded(server.dsn(DATABASE))
    owner = await asyncpg.connect(server.dsn(DATABASE))
    trades = funded_trades()
    size_before, count_before = await _size(owner), await _count(owner)
    # The first use of each statement is its planning.
    await rate(connection, trades, 200, 0.5)
    rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    peers: list[float] = []
    for run in range(RUNS):
        for batch in BATCHES:
            rates[batch].append(await rate(connection, trades, batch, MEASURE_S))
            peers.append(await rate(connection, trades, 1, MEASURE_S / len(BATCHES)))
            say(f"run {run + 1}: batch {batch} {rates[batch][-1]:,.0f}/s")
    bytes_per_trade = (await _size(owner) - size_before) / (await _count(owner) - count_before)
    await owner.execute("VACUUM ANALYZE ledger.entries, ledger.balances")
    pages = await ledger_load.statement_pages(server.dsn(DATABASE, "openbourse_ledger"), SHARD)
    assert await owner.fetchval("SELECT count(*) FROM ledger.balances WHERE hold < 0") == 0
    trades_settled = await _count_trades(owner)
    await owner.close()
    await connection.close()
    rebuilt = await _rebuild_seconds(server.dsn(DATABASE), trades_settled)
    verified = await verify_rates(server.dsn(DATABASE), trades_settled)
    peer = statistics.median(peers)
    return [
        *(
            result(
                f"ledger.settle.trades_per_second.batch_{batch}",
                values,
                "1/s",
                "higher",
                target=TARGETS.get(batch),
                peer=PEER,
                peer_values=[peer],
            )
            for batch, values in rates.items()
        ),
        result("ledger.bytes_per_trade", [bytes_per_trade], "B", "lower", target=500.0),
        *pages,
        result("ledger.rebuild.seconds_per_million", rebuilt, "s", "lower", target=REBUILD_TARGET_S),
        result("ledger.verify.trades_per_second", verified, "1/s", "higher", target=VERIFY_TARGET),
    ]


async def _rebuild_seconds(owner: str, trades: int) -> list[float]:
    """Every balance from all entries, and compared; scaled to a million trades."""
    seconds = []
    for run in range(RUNS):
        start = time.perf_counter()
        found = await rebuild.rebuild(owner, SHARD, swap=False)
        seconds.append((time.perf_counter() - start) * 1e6 / trades)
        assert not found.differences, found.first
        say(f"run {run + 1}: rebuild of {trades:,} trades, {seconds[-1]:.1f} s a million")
    return seconds


def _hot_trades(pick: Callable[[], tuple[int, int]], shard: str) -> Iterator[bytes]:
    return trades_between(pick, random.Random(shard), 0, shard)  # noqa: S311


async def _size(owner: Connection) -> int:
    """Bytes of the entries with all their indexes."""
    return int(await owner.fetchval("SELECT pg_total_relation_size('ledger.entries')"))


async def _count(owner: Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM ledger.entries"))


async def _count_trades(owner: Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM ledger.trades"))
