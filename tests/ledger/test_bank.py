"""Settlers of several shards, and readers that look at one moment: the money is constant, nothing is negative."""

import asyncio
import random
import uuid
from collections.abc import Iterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.figures import Show
from fixtures.streams import deliveries
from openbourse.contracts import v1
from openbourse.ledger import store

pytestmark = pytest.mark.server

SHARDS = ("alpha", "beta", "gamma")
TRADERS = tuple(range(1000, 1008))
FUNDS = 10_000
ROUNDS, BATCH = 400, 40
READERS = 2

# Of each shard and asset at one moment: all of it, what traders and fees have, and the least of those.
TOTALS = """
    SELECT shard, asset, sum(available + hold)::bigint, sum(available + hold) FILTER (WHERE account <> 2)::bigint,
        min(least(available, hold)) FILTER (WHERE account <> 2)
    FROM ledger.balances GROUP BY shard, asset
"""
KEPT = "SELECT shard, account, asset, available, hold FROM ledger.balances WHERE (available, hold) <> (0, 0)"
REBUILT = """
    SELECT shard, account, asset, sum(available)::bigint, sum(hold)::bigint FROM ledger.legs
    GROUP BY shard, account, asset HAVING (sum(available), sum(hold)) <> (0, 0)
"""


def of_shard(shard: str, parts: list[v1.Events]) -> list[v1.Events]:
    for part in parts:
        for event in part.events:
            event.shard = shard
            event.event_id = f"{shard}/{event.seq}/{event.index}"
            if event.WhichOneof("body") == "funds_credited":
                event.funds_credited.transfer_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{shard} {event.seq}"))
    return parts


def funded() -> Iterator[str]:
    yield from ("asset USDT 2", "asset BTC 8", "symbol BTC USDT")
    for account in TRADERS:
        yield from (f"credit {account} USDT {FUNDS}", f"credit {account} BTC {FUNDS}")


def traded(dice: random.Random) -> Iterator[str]:
    """Rounds of two orders, a trade and what is left of them; accounts come in any order."""
    for _ in range(ROUNDS):
        seller, buyer = dice.sample(TRADERS, 2)
        lots, quote = dice.randint(1, 9), dice.randint(1, 9)
        yield from (
            f"hold {seller} BTC {lots + 1}",
            f"hold {buyer} USDT {quote + 1}",
            f"trade {seller} sells {lots} BTC for {quote} USDT to {buyer}, fees 1 1",
            f"release {seller} BTC 1",
            f"expire {buyer} USDT 1",
        )


async def ask(connection: asyncpg.Connection, parts: list[v1.Events]) -> None:
    """The deposits of a shard, as pending."""
    for part in parts:
        for event in part.events:
            if event.WhichOneof("body") == "funds_credited":
                funds = event.funds_credited
                await connection.execute(
                    "INSERT INTO ledger.transfers (transfer_id, shard, account, asset, amount, requested_by) "
                    "VALUES ($1, $2, $3, $4, $5, 'test')",
                    *(uuid.UUID(funds.transfer_id), event.shard, funds.account, funds.asset, funds.amount),
                )


async def test_money_is_constant_and_never_negative_at_any_moment(ledger_database: LedgerDatabase, show: Show) -> None:
    connections = {}
    beginnings = list(funded())
    for shard in SHARDS:
        connection, _ = await store.open_settlement(ledger_database.application, shard)
        connections[shard] = connection
        parts = of_shard(shard, deliveries("\n".join(beginnings)))
        await store.settle(connection, shard, parts[:3])
        await ask(connection, parts)
        await store.settle(connection, shard, parts[3:])
    snapshots = 0
    done = asyncio.Event()

    async def settle(shard: str, seed: int) -> None:
        stream = "\n".join(traded(random.Random(seed)))  # noqa: S311
        parts = of_shard(shard, deliveries(stream, first_seq=len(beginnings) + 1))
        for at in range(0, len(parts), BATCH):
            # Each begins with some of the one before it.
            await store.settle(connections[shard], shard, parts[max(0, at - 5) : at + BATCH])

    async def read() -> None:
        nonlocal snapshots
        reader = await asyncpg.connect(ledger_database.application)
        while not done.is_set():
            async with reader.transaction(isolation="repeatable_read", readonly=True):
                totals = await reader.fetch(TOTALS)
                assert {tuple(row)[2:4] for row in totals} == {(0, FUNDS * len(TRADERS))}
                assert len(totals) == 2 * len(SHARDS)
                assert min(row[4] for row in totals) >= 0
                assert set(await reader.fetch(KEPT)) == set(await reader.fetch(REBUILT))
            snapshots += 1
        await reader.close()

    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read()) for _ in range(READERS)]
        async with asyncio.TaskGroup() as settling:
            for seed, shard in enumerate(SHARDS):
                settling.create_task(settle(shard, seed))
        done.set()
        await asyncio.gather(*readers)
    for connection in connections.values():
        assert await connection.fetchval("SELECT min(trades) FROM ledger.watermarks") == ROUNDS
        await connection.close()
    assert snapshots > 10
    trades = len(SHARDS) * ROUNDS
    show(f"ledger, bank: {len(SHARDS)} settlers, {trades} trades, {snapshots} snapshots, money constant in all")
