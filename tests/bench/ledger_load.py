"""The ledger under loads that hurt: hot accounts under several settlers, and statements."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, islice

import asyncpg
from result import RUNS, Result, at_share, result, say

from fixtures.databases import PostgresServer
from openbourse.contracts import v1
from openbourse.contracts.units import FIRST_TRADER
from openbourse.ledger import store
from openbourse.ledger.books import open_books
from openbourse.ledger.database import Connection

Trades = Callable[[Callable[[], tuple[int, int]], str], Iterator[bytes]]

SETTLERS = 4
USERS = 10_000
BATCH = 200
HOT_S = 3.0
# The share of the uniform rate that hot accounts must reach.
HOT_SHARE = 0.8
PAGES = 1_000
PAGE_LINES = 100


async def hot(server: PostgresServer, database: str, trades: Trades) -> list[Result]:
    """Settlers of as many shards at once, users by Zipf's law; beside them users all alike."""
    weights = list(accumulate(1 / rank for rank in range(1, USERS + 1)))
    chance = random.Random(2)  # noqa: S311

    def zipf() -> tuple[int, int]:
        maker, taker = 0, 0
        while maker == taker:
            maker, taker = chance.choices(range(FIRST_TRADER, FIRST_TRADER + USERS), cum_weights=weights, k=2)
        return maker, taker

    def uniform() -> tuple[int, int]:
        maker, taker = chance.sample(range(FIRST_TRADER, FIRST_TRADER + USERS), 2)
        return maker, taker

    owner = await asyncpg.connect(server.dsn(database))
    rates: dict[str, list[float]] = {"zipf": [], "uniform": []}
    settlers: dict[str, list[tuple[str, Connection, Iterator[bytes]]]] = {"zipf": [], "uniform": []}
    for kind, pick in (("zipf", zipf), ("uniform", uniform)):
        for number in range(SETTLERS):
            shard = f"{kind}-{number}"
            connection, _ = await store.open_settlement(server.dsn(database, "openbourse_ledger"), shard)
            await _give_plenty(owner, shard)
            settlers[kind].append((shard, connection, trades(pick, shard)))
    await owner.execute("VACUUM ANALYZE ledger.balances")
    for run in range(RUNS):
        for kind, several in settlers.items():
            rates[kind].append(sum(await asyncio.gather(*(_settle_for(HOT_S, *settler) for settler in several))))
        say(f"run {run + 1}: {SETTLERS} settlers, Zipf {rates['zipf'][-1]:,.0f}/s, alike {rates['uniform'][-1]:,.0f}/s")
    for several in settlers.values():
        for _, connection, _ in several:
            await connection.close()
    deadlocks = await owner.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database)
    await owner.close()
    uniform_rate = statistics.median(rates["uniform"])
    return [
        result(
            "ledger.settle.hot.trades_per_second",
            rates["zipf"],
            "1/s",
            "higher",
            target=HOT_SHARE * uniform_rate,
            peer="users all alike",
            peer_values=[uniform_rate],
        ),
        result("ledger.settle.hot.deadlocks", [float(deadlocks)], "", "lower", target=0.0),
    ]


async def _give_plenty(owner: Connection, shard: str) -> None:
    """Assets and balances, without the entries that would explain them: here only the time counts."""
    await owner.execute("INSERT INTO ledger.assets VALUES ($1, 'USDT', 8, 1), ($1, 'BTC', 8, 1)", shard)
    await owner.execute(
        "INSERT INTO ledger.balances (shard, account, asset, available, hold) "
        "SELECT $1, account, asset, 0, 1e17 FROM generate_series($2::bigint, $3) AS account, "
        "unnest('{USDT,BTC}'::text[]) AS asset",
        *(shard, FIRST_TRADER, FIRST_TRADER + USERS - 1),
    )


async def _settle_for(seconds: float, shard: str, connection: Connection, trades: Iterator[bytes]) -> float:
    """Trades a second of one settler; making them is a part of it here, for all of them alike."""
    settled, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        parts = [v1.Events.FromString(body) for body in islice(trades, BATCH)]
        settled += (await store.settle(connection, shard, parts)).trades
    return settled / (time.perf_counter() - start)


async def statement_pages(dsn: str, shard: str) -> list[Result]:
    """The newest page of an account and, where there is one, the one before it."""
    chance = random.Random(3)  # noqa: S311
    values = []
    async with open_books(dsn, shard) as books:
        for _ in range(RUNS):
            times = []
            for _ in range(PAGES // RUNS):
                account = chance.randrange(FIRST_TRADER, FIRST_TRADER + USERS)
                start = time.perf_counter()
                page = await books.statement(account, "USDT", None, PAGE_LINES)
                if page.next is not None:
                    times.append((time.perf_counter() - start) * 1000)
                    start = time.perf_counter()
                    await books.statement(account, "USDT", page.next, PAGE_LINES)
                times.append((time.perf_counter() - start) * 1000)
            values.append(at_share(sorted(times), 0.99))
    return [result("ledger.statement.p99_ms", values, "ms", "lower")]
