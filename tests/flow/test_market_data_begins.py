"""A log that has been recycled, and a history that is older than it, or lost: real engine, real market data.

The log waits for the market data here as it does for a ledger, so that it recycles what they have stored.
"""

import asyncio
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fixtures.commands import ALICE, BOB, TIMEOUT_S, buy, sell
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine, fund
from fixtures.marketdatas import RunningMarketData
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession
from openbourse.engine.journal import files, snapshots
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.sqlite_history import SqliteHistory

pytestmark = pytest.mark.server

SEGMENT_BYTES = 32 * 1024
ORDERS = 200


@pytest.fixture
def engine(engine_factory: EngineFactory) -> RunningEngine:
    short = ("--segment-bytes", str(SEGMENT_BYTES), "--ring-commands", "64")
    engine = engine_factory("--consumer", "marketdata", *short)
    never = {"throttleSeconds": 0, "cancelOnlySeconds": 0, "haltSeconds": 0}
    engine.listings.write_text(json.dumps(LISTINGS | {"safety": {"settlementLag": never}}))
    engine.start()
    return engine


@pytest.fixture
def marketdata(engine: RunningEngine, tls_material: Mapping[Component, Path]) -> Iterator[RunningMarketData]:
    running = RunningMarketData(engine.folder / "market", tls_material, engine.address)
    running.folder.mkdir()
    running.start()
    yield running
    if running.process is not None:
        running.stop()


async def churn(session: EngineSession, dice: random.Random, count: int = ORDERS) -> None:
    """Orders of two accounts around one price: some trade, some rest."""
    await asyncio.gather(
        *(
            session.command(dice.choice((buy, sell))(30_000_00 + dice.randint(-60, 60), dice.randint(1, 9)), TIMEOUT_S)
            for _ in range(count)
        )
    )


async def recycled(engine: RunningEngine, session: EngineSession, dice: random.Random) -> int:
    """Trades until the log does not begin with seq 1 any more, and gives the oldest that is served."""
    for _ in range(4):
        await churn(session, dice)
        await asyncio.to_thread(snapshots.make, engine.wal, engine.shard, engine.status()["committed_seq"])
    await asyncio.to_thread(engine.wait_for, "some went", lambda status: status["retention"]["recycled"] > 0)
    return files.oldest_served(engine.wal)


def stored(marketdata: RunningMarketData) -> Shard:
    history = SqliteHistory(marketdata.folder / "history.sqlite")
    try:
        return history.load("main")
    finally:
        history.close()


async def expect_as_in_the_engine(shard: Shard, session: EngineSession, ledger: EngineSession) -> None:
    """Every level, every open order, every balance."""
    depth = (await session.query(v1.Query(depth=v1.DepthQuery(symbol="BTCUSDT", limit=5000)), TIMEOUT_S)).depth
    book = shard.markets["BTCUSDT"].book
    assert book.update_id == depth.last_update_id
    for levels, side in ((depth.bids, book.bids), (depth.asks, book.asks)):
        assert [(level.price_ticks, level.quantity_lots) for level in levels] == side.top(5000)
    assert len(book.bids) > 1
    for account in (ALICE, BOB):
        wanted = v1.Query(open_orders=v1.OpenOrdersQuery(account=account))
        orders = (await session.query(wanted, TIMEOUT_S)).orders.orders
        assert orders
        known = [r.order for r in shard.accounts.open_orders.values() if r.order.account == account]
        assert sorted(known, key=lambda order: order.order_id) == list(orders)
    balances = (await ledger.query(v1.Query(balances=v1.BalancesQuery()), TIMEOUT_S)).balances.balances
    assert shard.accounts.balances == {(b.account, b.asset): (b.available, b.hold) for b in balances if b.account > 2}


async def caught_up(engine: RunningEngine, marketdata: RunningMarketData) -> None:
    seq = engine.status()["committed_seq"]
    await asyncio.to_thread(marketdata.wait_for, "it is there", lambda status: status["storedSeq"] >= seq)


async def test_a_history_that_the_log_has_left_behind_says_so_and_one_that_is_lost_begins_with_the_log(
    engine: RunningEngine, marketdata: RunningMarketData
) -> None:
    dice, old = random.Random(3), engine.folder / "old.sqlite"  # noqa: S311
    history = marketdata.folder / "history.sqlite"
    async with engine.session(Component.GATEWAY) as session, engine.session(Component.LEDGER) as ledger:
        await fund(ledger)
        await churn(session, dice, 20)
        await caught_up(engine, marketdata)
        with sqlite3.connect(history) as source, sqlite3.connect(old) as copy:
            source.backup(copy)
        old_seq = marketdata.status()["storedSeq"]
        oldest = await recycled(engine, session, dice)
        assert oldest > old_seq + 1

        await asyncio.to_thread(marketdata.stop)
        for file in marketdata.folder.glob("history.sqlite*"):
            file.unlink()
        shutil.copy(old, history)
        await asyncio.to_thread(marketdata.launch_only)
        said = await asyncio.to_thread(marketdata.wait_for, "it says so", lambda status: status["problem"] != "")
        assert (said["ready"], said["problem"], said["seq"]) == (False, "HistoryIsTooOld", old_seq)
        assert f"the history ends with seq {old_seq}, and events from seq {old_seq + 1} are not kept" in said["reason"]
        assert "remove the history" in said["reason"]
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://{marketdata.status_address}/readyz")
        assert (answer.status_code, answer.json()["reason"]) == (503, said["reason"])
        # Not asked for again and again.
        assert marketdata.log.read_text().count("are not kept") == 1

        await asyncio.to_thread(marketdata.stop)
        for file in marketdata.folder.glob("history.sqlite*"):
            file.unlink()
        await asyncio.to_thread(marketdata.start)
        await caught_up(engine, marketdata)
        begins_seq = marketdata.status()["beginsSeq"]
        assert begins_seq == files.oldest_served(engine.wal) >= oldest
        await expect_as_in_the_engine(stored(marketdata), session, ledger)
        # It goes on from there, through a kill.
        await churn(session, dice, 50)
        await asyncio.to_thread(marketdata.kill)
        await churn(session, dice, 50)
        await asyncio.to_thread(marketdata.start)
        await caught_up(engine, marketdata)
        assert marketdata.status()["beginsSeq"] == begins_seq
        shard = stored(marketdata)
        await expect_as_in_the_engine(shard, session, ledger)
        assert shard.markets["BTCUSDT"].last_trade is not None

        async with httpx.AsyncClient(
            base_url=marketdata.url, verify=engine.client_tls(Component.GATEWAY), trust_env=False
        ) as http:
            asked: dict[str, int | str] = {"account": ALICE, "symbol": "BTCUSDT", "seq": 0}
            # Of the seq at which accounts were given their funds: no order, but nobody here knows.
            before = await http.get("/v1/accounts/order", params={**asked, "order_id": 1})
            behind = await http.get("/v1/accounts/order", params={**asked, "order_id": 10**9})
        assert (before.status_code, before.json()["reason"]) == (503, "NotHere")
        assert "is older than the history" in before.json()["message"]
        assert v1.OrderHistory.FromString(behind.content).orders == []


async def test_a_log_that_is_whole_is_read_from_its_beginning(
    engine: RunningEngine, marketdata: RunningMarketData
) -> None:
    async with engine.session(Component.GATEWAY) as session, engine.session(Component.LEDGER) as ledger:
        await fund(ledger)
        await churn(session, random.Random(5), 60)  # noqa: S311
        await asyncio.to_thread(marketdata.kill)
        for file in marketdata.folder.glob("history.sqlite*"):
            file.unlink()
        await asyncio.to_thread(marketdata.start)
        await caught_up(engine, marketdata)
        assert marketdata.status()["beginsSeq"] == 1
        shard = stored(marketdata)
        await expect_as_in_the_engine(shard, session, ledger)
        assert shard.begins_seq == 1
