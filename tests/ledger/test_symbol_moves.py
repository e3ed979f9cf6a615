"""A symbol moves between two real shards under load, with real ledgers on one PostgreSQL: no order lost or doubled, no
money lost or made, and undone as a whole where the target refuses it.
"""

import asyncio
import json
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest

from fixtures.commands import ALICE, BOB
from fixtures.databases import LedgerDatabase
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine
from fixtures.figures import Show
from fixtures.ledgers import LedgerFactory, RunningLedger, deposit
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession
from openbourse.ledger.symbol_moving import OVER_TIMEOUT_S

pytestmark = pytest.mark.server

MAIN, SECOND = "main", "second"
SYMBOL = "BTCUSDT"
MOVING, MOVED = v1.RejectReason.REJECT_REASON_SYMBOL_MOVING, v1.RejectReason.REJECT_REASON_SYMBOL_MOVED
BOOK = 3_000
TIMEOUT_S = 20.0
# All that a shard can ever hold of an asset, less what one deposit of the test brings.
ALL_BUT_LITTLE = "92233720368.54"
WORLD = "SELECT asset, world, in_transit FROM ledger.outside ORDER BY asset"


@dataclass
class Two:
    engines: dict[str, RunningEngine]
    ledgers: dict[str, RunningLedger]
    sessions: dict[str, EngineSession]
    owner: asyncpg.Connection

    async def deposit(self, shard: str, account: int, asset: str, amount: str) -> None:
        async with self.ledgers[shard].client() as client:
            await deposit(client, account, asset, amount)

    async def move(self) -> dict[str, Any]:
        """As a person asks, until it is over."""
        body = {"symbol": SYMBOL, "from_shard": MAIN, "to_shard": SECOND, "move_id": str(uuid.uuid4())}
        async with self.ledgers[MAIN].client() as client:
            answer = await client.post("/v1/moves/symbols", json=body)
            while answer.status_code == httpx.codes.ACCEPTED:
                answer = await client.post("/v1/moves/symbols", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def open_orders(self, shard: str, account: int) -> dict[str, v1.Order]:
        query = v1.Query(open_orders=v1.OpenOrdersQuery(account=account))
        answer = await self.sessions[shard].query(query, TIMEOUT_S)
        return {order.client_order_id: order for order in answer.orders.orders}

    async def check(self) -> None:
        """Engine and ledger of each shard are equal, and together they have what was deposited."""
        for shard, ledger in self.ledgers.items():
            async with ledger.client() as client:
                report = (await client.post("/v1/reconcile")).json()
            assert report["equal"], (shard, report)
        for row in await self.owner.fetch(WORLD):
            assert row["in_transit"] == 0, row


@pytest.fixture
async def two(
    engine_factory: EngineFactory, ledger_factory: LedgerFactory, ledger_database: LedgerDatabase
) -> AsyncIterator[Two]:
    engines = {shard: engine_factory(shard=shard) for shard in (MAIN, SECOND)}
    others = [symbol for symbol in LISTINGS["symbols"] if symbol["symbol"] != SYMBOL]
    engines[SECOND].listings.write_text(json.dumps({**LISTINGS, "symbols": others}))
    ledgers = {}
    for shard, engine in engines.items():
        engine.start()
        ledgers[shard] = ledger_factory(engine, ledger_database)
        ledgers[shard].start()
    owner = await asyncpg.connect(ledger_database.owner)
    async with engines[MAIN].session(Component.GATEWAY) as main, engines[SECOND].session(Component.GATEWAY) as second:
        yield Two(engines, ledgers, {MAIN: main, SECOND: second}, owner)
    await owner.close()


def order(account: int, name: str, side: v1.Side.ValueType, price: int, lots: int = 100) -> v1.Command:
    placed = v1.PlaceOrder(
        account=account,
        symbol=SYMBOL,
        side=side,
        type=v1.OrderType.ORDER_TYPE_LIMIT,
        time_in_force=v1.TimeInForce.TIME_IN_FORCE_GTC,
        price_ticks=price,
        quantity_lots=lots,
        client_order_id=name,
    )
    return v1.Command(command_id=uuid.uuid5(uuid.NAMESPACE_OID, name).bytes, place_order=placed)


BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL


async def fill_book(two: Two, count: int) -> None:
    """Bids of both, in the source."""
    commands = [order((ALICE, BOB)[n % 2], f"bid-{n}", BUY, 1_000_000 - n % 500) for n in range(count)]
    replies = await asyncio.gather(*(two.sessions[MAIN].command(each, TIMEOUT_S) for each in commands))
    assert all(reply.HasField("order") for reply in replies), replies[0]


@dataclass
class Trader:
    """Places one order after the other, and follows the symbol as a gateway should: by the id of the command.

    SYMBOL_MOVING: to the same shard again. SYMBOL_MOVED: to the one that it names.
    """

    two: Two
    shard: str = MAIN
    accepted: list[tuple[float, str, v1.Reply]] = field(default_factory=list)
    stop: bool = False

    async def run(self) -> None:
        number = 0
        while not self.stop:
            number += 1
            # Every other one trades.
            side, price = (SELL, 1_000_000) if number % 2 else (BUY, 1_000_000)
            await self.place(order((ALICE, BOB)[number % 2], f"load-{number}", side, price, 7))
            await asyncio.sleep(0.002)

    async def place(self, command: v1.Command) -> None:
        while True:
            reply = await self.two.sessions[self.shard].command(command, TIMEOUT_S)
            if reply.rejection.reason == MOVED:
                self.shard = SECOND
            elif reply.rejection.reason != MOVING:
                assert reply.HasField("order"), reply
                self.accepted.append((time.monotonic(), self.shard, reply))
                # Sent again it is the same answer, wherever it was given.
                again = await self.two.sessions[self.shard].command(command, TIMEOUT_S)
                assert again == reply
                return
            await asyncio.sleep(0.001)


@asynccontextmanager
async def trading(two: Two) -> AsyncIterator[Trader]:
    trader = Trader(two)
    running = asyncio.create_task(trader.run())
    await asyncio.sleep(0.3)
    yield trader
    await asyncio.sleep(0.3)
    trader.stop = True
    await running


async def fund(two: Two) -> None:
    for shard in (MAIN, SECOND):
        for account in (ALICE, BOB):
            for asset in ("BTC", "USDT"):
                await two.deposit(shard, account, asset, "100000000")


@pytest.mark.timeout(180)
async def test_a_symbol_moves_under_load_and_no_order_is_lost_or_doubled(two: Two, show: Show) -> None:
    await fund(two)
    await fill_book(two, BOOK)
    world = await two.owner.fetch(WORLD)
    async with trading(two) as trader:
        began = time.monotonic()
        made = await two.move()
        took_s = time.monotonic() - began
    assert made["state"] == "completed", made
    assert 0 < made["paused_ms"] <= took_s * 1000, made
    assert await two.open_orders(MAIN, ALICE) == {}
    replies = [reply for _, _, reply in trader.accepted]
    assert {shard for _, shard, _ in trader.accepted} == {MAIN, SECOND}
    orders = [reply.order.order.order_id for reply in replies]
    assert orders == sorted(set(orders)), "order ids go on, none twice"
    trades = [fill.trade_id for reply in replies for fill in reply.order.fills]
    assert trades == list(range(1, len(trades) + 1)), "trade ids go on, none twice"
    there = await two.open_orders(SECOND, ALICE) | await two.open_orders(SECOND, BOB)
    done = sum(fill.quantity_lots for reply in replies for fill in reply.order.fills)
    left = sum(each.quantity_lots - each.executed_lots for each in there.values())
    assert left == BOOK * 100 + 7 * len(replies) - 2 * done
    await two.check()
    assert await two.owner.fetch(WORLD) == world
    gaps = [b[0] - a[0] for a, b in zip(trader.accepted, trader.accepted[1:], strict=False)]
    show(
        f"a symbol of {BOOK:,} orders moves under load: asked to completed {took_s * 1000:.0f} ms, paused "
        f"{made['paused_ms']} ms by the engines' clocks, longest pause of a trader {max(gaps) * 1000:.0f} ms "
        f"(median between two orders {statistics.median(gaps) * 1000:.1f} ms), {len(replies)} orders, 0 lost, 0 doubled"
    )


@pytest.mark.timeout(180)
async def test_a_target_that_refuses_leaves_all_as_it_was(two: Two, show: Show) -> None:
    """It has no room for the dollars that the orders hold: known only when the symbol is frozen."""
    for account in (ALICE, BOB):
        for asset in ("BTC", "USDT"):
            await two.deposit(MAIN, account, asset, "100000000")
    await two.deposit(SECOND, ALICE, "USDT", ALL_BUT_LITTLE)
    await fill_book(two, 500)
    world = await two.owner.fetch(WORLD)
    before = await two.open_orders(MAIN, ALICE)
    async with trading(two) as trader:
        made = await two.move()
    assert (made["state"], "OVERFLOW" in made["reason"]) == ("undone", True), made
    assert "paused_ms" not in made, "it never was in the other shard"
    assert {shard for _, shard, _ in trader.accepted} == {MAIN}
    after = await two.open_orders(MAIN, ALICE)
    assert {name for name in before if name.startswith("bid-")} >= {name for name in after if name.startswith("bid-")}
    await two.check()
    assert await two.owner.fetch(WORLD) == world
    gaps = [b[0] - a[0] for a, b in zip(trader.accepted, trader.accepted[1:], strict=False)]
    show(f"a move of a symbol that the target refuses: undone, longest pause of a trader {max(gaps) * 1000:.0f} ms")


@pytest.mark.timeout(180)
async def test_who_does_not_wait_is_answered_at_once_and_may_ask_for_it_back_by_its_id(two: Two) -> None:
    """As the operator asks, with its own certificate: the target is away, so that the move cannot go on."""
    await fund(two)
    await fill_book(two, 10)
    two.ledgers[SECOND].stop()
    move_id = str(uuid.uuid4())
    body = {"symbol": SYMBOL, "from_shard": MAIN, "to_shard": SECOND, "move_id": move_id, "wait": False}
    async with two.ledgers[MAIN].client(Component.OPERATOR) as client:
        began = time.monotonic()
        answer = await client.post("/v1/moves/symbols", json=body)
        assert (answer.status_code, answer.json()["state"]) == (httpx.codes.ACCEPTED, "requested"), answer.text
        assert time.monotonic() - began < OVER_TIMEOUT_S / 2
        assert answer.json()["undo_asked"] is False
        undone = await client.post(f"/v1/moves/symbols/{move_id}/undo")
        assert (undone.status_code, undone.json()["undo_asked"]) == (httpx.codes.ACCEPTED, True), undone.text
        two.ledgers[SECOND].start()
        async with asyncio.timeout(TIMEOUT_S):
            now = undone.json()
            while now["state"] != "undone":
                await asyncio.sleep(0.05)
                now = (await client.get(f"/v1/moves/symbols/{move_id}")).json()
    assert now["reason"] == "it was asked back", now
