"""How many trades a second PostgreSQL settles with every guard on, and what a trade costs on disk.

A trade counts when its transaction is committed. The stream is what an engine sends: TradeExecuted events with all
their movements, between 10,000 accounts. The peer is the same settlement with one transaction per trade.
"""

import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import asyncpg

# `python tests/bench` finds the modules of this folder; the fixtures are one up.
sys.path.append(str(Path(__file__).parents[1]))

import ledger_load
from result import RUNS, Result, result, say
from verifying import verify_rates

from fixtures.databases import PostgresServer, find_binaries
from fixtures.streams import SHARD, deliveries, record_transfers, trade
from openbourse.contracts import v1
from openbourse.contracts.units import FIRST_TRADER
from openbourse.ledger import rebuild, store
from openbourse.ledger.database import Connection
from openbourse.ledger.migrate import migrate
from openbourse.ledger.reading import EVENTS_AT_ONCE, Delivery
from openbourse.ledger.run import collect_rarely

BATCHES = (1, 10, 100, 200, 500)
TARGETS = {200: 10_000.0}
VERIFY_TARGET = 500_000.0
REBUILD_TARGET_S = 60.0
ACCOUNTS = 10_000
# Of each account: a credit and a hold in both assets.
FUNDING_SEQS = 4
MEASURE_S = 2.0
PEER = "one transaction per trade"
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}


def measure() -> list[Result]:
    scratch = Path(tempfile.mkdtemp(prefix="openbourse-pg-"))
    scratch.chmod(0o755)
    server = PostgresServer(find_binaries(scratch), scratch / "server", SETTINGS)
    try:
        server.start()
        server.execute("CREATE DATABASE ledger")
        asyncio.run(migrate(server.dsn("ledger")))
        return [*asyncio.run(_measure(server)), *asyncio.run(ledger_load.hot(server, "ledger", _hot_trades))]
    finally:
        server.stop()
        shutil.rmtree(scratch)


async def _measure(server: PostgresServer) -> list[Result]:
    connection, _ = await store.open_settlement(server.dsn("ledger", "openbourse_ledger"), SHARD)
    await _fund(connection)
    owner = await asyncpg.connect(server.dsn("ledger"))
    await owner.execute("VACUUM ANALYZE ledger.entries, ledger.balances")
    trades = _trades(random.Random(1), 3 + FUNDING_SEQS * ACCOUNTS)  # noqa: S311 - the same trades in every run
    size_before, count_before = await _size(owner), await _count(owner)
    collect_rarely()
    # The first use of each statement is its planning.
    await _rate(connection, trades, 200, 0.5)
    rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    peers: list[float] = []
    for run in range(RUNS):
        for batch in BATCHES:
            rates[batch].append(await _rate(connection, trades, batch, MEASURE_S))
            peers.append(await _rate(connection, trades, 1, MEASURE_S / len(BATCHES)))
            print(f"  run {run + 1}: batch {batch} {rates[batch][-1]:,.0f}/s", file=sys.stderr)
    bytes_per_trade = (await _size(owner) - size_before) / (await _count(owner) - count_before)
    loaded = await ledger_load.open_loop(connection, SHARD, trades)
    await owner.execute("VACUUM ANALYZE ledger.entries, ledger.balances")
    loaded += await ledger_load.statement_pages(server.dsn("ledger", "openbourse_ledger"), SHARD)
    assert await owner.fetchval("SELECT count(*) FROM ledger.balances WHERE hold < 0") == 0
    trades_settled = await _count_trades(owner)
    await owner.close()
    await connection.close()
    rebuilt = await _rebuild_seconds(server.dsn("ledger"), trades_settled)
    verified = await verify_rates(server.dsn("ledger"), trades_settled)
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
        *loaded,
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


async def _fund(connection: Connection) -> None:
    """Every account gets more on hold than it can trade away, in both assets."""
    await store.settle(connection, SHARD, deliveries("asset USDT 8\nasset BTC 8\nsymbol BTC USDT"))
    plenty = 10**14
    for first in range(FIRST_TRADER, FIRST_TRADER + ACCOUNTS, 500):
        lines = [
            line
            for account in range(first, first + 500)
            for asset in ("USDT", "BTC")
            for line in (f"credit {account} {asset} {2 * plenty}", f"hold {account} {asset} {plenty}")
        ]
        first_seq = 4 + FUNDING_SEQS * (first - FIRST_TRADER)
        stream = deliveries("\n".join(lines), first_seq=first_seq)
        # What the engine credits is a deposit that somebody asked for.
        await record_transfers(connection, stream)
        await store.settle(connection, SHARD, stream)


def _trades(chance: random.Random, last_seq: int) -> Iterator[bytes]:
    """Deliveries of one trade each, as they come off the wire."""
    traders = range(FIRST_TRADER, FIRST_TRADER + ACCOUNTS)

    def pick() -> tuple[int, int]:
        maker, taker = chance.sample(traders, 2)
        return maker, taker

    return _trades_between(pick, chance, last_seq, SHARD)


def _hot_trades(pick: Callable[[], tuple[int, int]], shard: str) -> Iterator[bytes]:
    return _trades_between(pick, random.Random(shard), 0, shard)  # noqa: S311


def _trades_between(
    pick: Callable[[], tuple[int, int]], chance: random.Random, last_seq: int, shard: str
) -> Iterator[bytes]:
    seq = last_seq
    while True:
        seq += 1
        maker, taker = pick()
        quantity = chance.randint(1, 100_000)
        quote = quantity * chance.randint(19_000, 21_000)
        buys = chance.random() < 0.5
        received = (quote, quantity) if buys else (quantity, quote)
        event = trade(
            seq,
            maker=maker,
            taker=taker,
            taker_side=v1.Side.SIDE_BUY if buys else v1.Side.SIDE_SELL,
            quantity=quantity,
            quote_units=quote,
            maker_fee=received[0] // 1000,
            taker_fee=received[1] // 1000,
        )
        event.shard = shard
        event.correlation_id = f"{chance.getrandbits(128):032x}"
        # What the taker bid beyond the price comes back to what it has available, in the same movement.
        paid = event.movements[0 if buys else 3]
        paid.available_change, paid.hold_change = 7, paid.hold_change - 7
        yield v1.Events(epoch=1, first_seq=seq, last_seq=seq, events=[event]).SerializeToString()


async def _rate(connection: Connection, trades: Iterator[bytes], batch: int, seconds: float) -> float:
    """Trades a second; making them is not part of it, decoding them is.

    As the settler does it (`consume.Backlog`), the next batch is read while this one is settled.
    """
    settled, spent = 0, 0.0
    while spent < seconds:
        bodies = list(islice(trades, batch * 20))
        start = time.perf_counter()
        arrived = await _read(bodies[:batch])
        for first in range(batch, len(bodies) + 1, batch):
            reading = asyncio.create_task(_read(bodies[first : first + batch]))
            settled += (await store.settle(connection, SHARD, arrived)).trades
            arrived = await reading
        spent += time.perf_counter() - start
    return settled / spent


async def _read(bodies: list[bytes]) -> list[Delivery]:
    arrived = []
    for number, body in enumerate(bodies, start=1):
        arrived.append(Delivery(v1.Events.FromString(body)))
        for _ in arrived[-1].ahead(SHARD):
            pass
        if number % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return arrived


async def _size(owner: Connection) -> int:
    """Bytes of the entries with all their indexes."""
    return int(await owner.fetchval("SELECT pg_total_relation_size('ledger.entries')"))


async def _count(owner: Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM ledger.entries"))


async def _count_trades(owner: Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM ledger.trades"))
