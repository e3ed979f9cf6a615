"""Two clients as on PyPI trade, follow a book and hear their accounts while the engine that leads is killed, and then
the gateway: they come again by themselves. Nothing that was acknowledged is lost or there twice; book and open orders
that they have are the engine's.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures import gateways
from fixtures.engines import EngineFactory
from fixtures.failover_load import accepted
from fixtures.figures import Show
from fixtures.gateways import credit, running_gateway
from fixtures.lasting_clients import DEPTH, Levels, Trader, at_work, of_ccxt_pro, of_python_binance, until
from fixtures.marketdatas import RunningMarketData
from fixtures.members import make_shard
from openbourse.contracts.component import Component

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

FUNDS = {"BTC": "1000", "USDT": "100000000"}
# Orders of each client between one thing and the next.
SOME = 25


async def some_more(traders: tuple[Trader, ...]) -> None:
    """Until each was told of so many orders that it sent from here on."""
    wanted = [len(each.acknowledged) + SOME for each in traders]
    await until(
        lambda: all(len(each.acknowledged) >= count for each, count in zip(traders, wanted, strict=True)),
        f"{SOME} more orders of each: {[len(each.acknowledged) for each in traders]} of {wanted}",
    )


async def test_clients_go_on_through_the_loss_of_the_leader_and_of_the_gateway(
    engine_factory: EngineFactory, tls_material: Mapping[Component, Path], tmp_path: Path, show: Show
) -> None:
    shard = make_shard(engine_factory, tmp_path, 2, "--reader", Component.MARKETDATA)
    shard.start()
    leader = shard.wait_for_leader(in_sync=2)
    standby = next(member for member in shard.members if member is not leader)
    marketdata = RunningMarketData(tmp_path, tls_material, leader.address, (standby.address,))
    try:
        marketdata.start()
        with running_gateway(
            tmp_path / "gateway",
            tls_material[Component.GATEWAY],
            leader.address,
            *("--engine", str(standby.address), "--marketdata", marketdata.url),
        ) as (gateway, keys):
            gateway.wait_until_ready()
            for key in keys:
                await credit(leader, key.account, FUNDS)
            async with (
                of_ccxt_pro(gateway, keys[0]) as first,
                of_python_binance(gateway, keys[1]) as second,
                httpx.AsyncClient(base_url=gateway.url, timeout=20, trust_env=False) as http,
            ):
                traders = (first, second)
                async with at_work(*traders) as rest:
                    await some_more(traders)
                    await until(lambda: all(each.book() for each in traders), "both follow the book")
                    before = [(each.books_anew, each.accounts_lost) for each in traders]
                    usual_s = [each.pause_s() for each in traders]
                    leader.kill()
                    await some_more(traders)
                    assert (await asyncio.to_thread(standby.status))["role"] == "leader"
                    without_leader_s = [each.pause_s() for each in traders]
                    # Of the engines, a client of a gateway that is there sees nothing but the pause.
                    assert [(each.books_anew, each.accounts_lost) for each in traders] == before
                    gateway.kill()
                    await asyncio.to_thread(gateway.start)
                    await some_more(traders)
                    await until(lambda: all(each.accounts_lost for each in traders), "both hear their accounts again")
                    # python-binance has its old book until a diff comes over its new connection.
                    begins_id = (await depth(http))["lastUpdateId"]
                    await until(lambda: all(each.is_past(begins_id) for each in traders), "both follow the book again")
                    await rest()
                    end = await depth(http)
                    sides = [[[float(word) for word in row] for row in end[side]] for side in ("bids", "asks")]
                    for each, key in zip(traders, keys, strict=True):
                        await has_the_book(each, end["lastUpdateId"], sides)
                        asked = await gateways.Trader(http, key).open_orders()
                        await knows_its_orders(each, {str(order_id) for order_id in asked})
    finally:
        if marketdata.process is not None:
            marketdata.stop()
    # The witness: what the log of the one that led last has, carried out again.
    there = accepted(standby)
    for each, key in zip(traders, keys, strict=True):
        mine = [(order.client_order_id, str(order.order_id)) for order in there if order.account == key.account]
        assert max(Counter(name for name, _ in mine).values()) == 1
        assert dict(mine) == each.acknowledged
    levels = len(sides[0]) + len(sides[1])
    for each, usual, leader_s in zip(traders, usual_s, without_leader_s, strict=True):
        show(
            f"{each.name}, leader killed, then the gateway: {len(each.acknowledged)} orders, each there once; "
            f"{each.unanswered} without an answer, of which {each.found} were there; longest pause {usual:.2f} s as "
            f"usual, {leader_s:.2f} s with the leader, {each.pause_s():.2f} s with the gateway; the book was "
            f"begun {each.books_anew} times, the account lost {each.accounts_lost} times; {levels} levels equal"
        )


async def depth(http: httpx.AsyncClient) -> Any:
    """The engine's book."""
    return (await http.get("/api/v3/depth", params={"symbol": "BTCUSDT", "limit": DEPTH})).raise_for_status().json()


def id_of(trader: Trader) -> int:
    book = trader.book()
    return book.update_id if book else -1


async def has_the_book(trader: Trader, update_id: int, sides: list[Levels]) -> None:
    await until(lambda: id_of(trader) == update_id, f"{trader.name}, at {id_of(trader)}, is at {update_id}")
    book = trader.book()
    assert book is not None
    assert [book.bids, book.asks] == sides, trader.name


async def knows_its_orders(trader: Trader, open_orders: set[str]) -> None:
    await until(lambda: trader.orders.open == open_orders, f"{trader.name} knows that {open_orders} are open")
