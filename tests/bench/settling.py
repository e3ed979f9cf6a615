"""What the ledger's benchmarks settle, and where: trades as an engine sends them, between accounts that have enough.

A trade counts when its transaction is committed.
"""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import asyncpg

# `python tests/bench` finds the modules of this folder; the fixtures are one up.
sys.path.append(str(Path(__file__).parents[1]))

from fixtures.databases import Binaries, PostgresServer, find_binaries
from fixtures.streams import SHARD, deliveries, record_transfers, trade
from openbourse.contracts import v1
from openbourse.contracts.units import FIRST_TRADER
from openbourse.ledger import store
from openbourse.ledger.database import Connection
from openbourse.ledger.migrate import migrate
from openbourse.ledger.reading import EVENTS_AT_ONCE, Delivery
from openbourse.ledger.run import collect_rarely

DATABASE = "ledger"
ACCOUNTS = 10_000
# Of each account: a credit and a hold in both assets.
FUNDING_SEQS = 4
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}


@contextmanager
def scratch_binaries() -> Iterator[tuple[Binaries, Path]]:
    """PostgreSQL's programs, and a folder for servers that is gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="openbourse-pg-"))
    scratch.chmod(0o755)
    try:
        yield find_binaries(scratch), scratch
    finally:
        shutil.rmtree(scratch)


@contextmanager
def ledger_server(binaries: Binaries, folder: Path) -> Iterator[PostgresServer]:
    """With a migrated and empty ledger."""
    server = PostgresServer(binaries, folder, SETTINGS)
    try:
        server.start()
        server.execute(f"CREATE DATABASE {DATABASE}")
        asyncio.run(migrate(server.dsn(DATABASE)))
        yield server
    finally:
        server.stop()


async def open_funded(owner: str) -> Connection:
    """A settler's connection to a new ledger, in which every account gets plenty, and the server's planner knows it.

    From here on this process collects garbage as a ledger does.
    """
    connection, _ = await store.open_settlement(owner, SHARD)
    await _fund(connection)
    maintenance = await asyncpg.connect(owner)
    await maintenance.execute("VACUUM ANALYZE ledger.entries, ledger.balances")
    await maintenance.close()
    collect_rarely()
    return connection


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
        async with connection.transaction():
            await record_transfers(connection, stream)
        await store.settle(connection, SHARD, stream)


def funded_trades() -> Iterator[bytes]:
    """Deliveries of one trade each, as they come off the wire after `open_funded`: the same in every run."""
    chance = random.Random(1)  # noqa: S311
    traders = range(FIRST_TRADER, FIRST_TRADER + ACCOUNTS)

    def pick() -> tuple[int, int]:
        maker, taker = chance.sample(traders, 2)
        return maker, taker

    return trades_between(pick, chance, 3 + FUNDING_SEQS * ACCOUNTS, SHARD)


def trades_between(
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


async def rate(connection: Connection, trades: Iterator[bytes], batch: int, seconds: float) -> float:
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
