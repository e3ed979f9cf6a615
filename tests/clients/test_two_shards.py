"""An exchange of two shards as clients see it: one exchange, also while a symbol moves from one to the other."""

import asyncio
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import httpx
import pytest
import websockets

from fixtures.ccxt_load import Told, ccxt_trading_at
from fixtures.failover_load import accepted
from fixtures.figures import Show
from fixtures.gateways import Trader
from fixtures.heard import until_quiet
from fixtures.lasting_clients import until
from fixtures.trading import trader
from fixtures.two_shards import MAIN, SECOND, SYMBOL, TwoShards

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

FUNDS = {"BTC": "1000", "USDT": "10000000"}
# With the names of the first id and of the last one of a message.
STREAMS = {
    "btcusdt@depth@100ms": ("U", "u"),
    "btcusdt@depth": ("U", "u"),
    "btcusdt@trade": ("t", "t"),
    "btcusdt@aggTrade": ("f", "l"),
}
# Also of the one that tells each second.
HEARD_LEAST = 3


async def fund(exchange: TwoShards, shards: tuple[str, ...] = (MAIN, SECOND)) -> None:
    for shard in shards:
        for key in exchange.keys:
            for asset, amount in FUNDS.items():
                await exchange.deposit(shard, key.account, asset, amount)


async def some_more(told: Told) -> None:
    wanted = len(told.at_s) + 40
    await until(lambda: len(told.at_s) >= wanted, "trading goes on")


async def test_a_symbol_moves_there_and_back_under_ccxt_and_every_order_is_acknowledged_once(
    two_shards: TwoShards, show: Show
) -> None:
    await fund(two_shards)
    keys = [(key.api_key, key.secret) for key in two_shards.keys]
    pauses_ms = []
    where = f"ws://{two_shards.gateway.address}/stream?streams={'/'.join(STREAMS)}"
    async with websockets.connect(where, proxy=None, max_queue=None) as streams:
        with ccxt_trading_at(two_shards.gateway.url, keys) as told:
            for to in (SECOND, MAIN):
                began_s = time.monotonic()
                made = await two_shards.move(to)
                assert made["state"] == "completed", made
                await some_more(told)
                pauses_ms.append(told.pause_ms(began_s))
            usual_ms = told.pause_ms(time.monotonic() - 1)
            # A quick machine moves it there and back in three seconds.
            await until(lambda: told.at_s[-1] - told.at_s[0] > HEARD_LEAST + 2, "trading goes on")
        heard = [message async for message in until_quiet(streams)]
    assert (told.failed, told.asked_again) == ([], {})
    for stream, (first, last) in STREAMS.items():
        data = [message["data"] for message in heard if message["stream"] == stream]
        assert len(data) > HEARD_LEAST
        assert all(after[first] == before[last] + 1 for before, after in pairwise(data)), stream
    orders = [order for shard in (MAIN, SECOND) for order in accepted(two_shards.engines[shard])]
    there = Counter(order.client_order_id for order in orders)
    assert set(there.values()) == {1}, "an order is in two logs, or twice in one"
    assert {order.client_order_id: order.order_id for order in orders} == told.acknowledged
    in_each = {shard: len(accepted(engine)) for shard, engine in two_shards.engines.items()}
    assert all(in_each.values()), in_each
    show(
        f"BTCUSDT moves to another shard and back under {len(told.at_s)} orders of ccxt through one gateway: "
        f"none lost, doubled or refused; longest pause {pauses_ms[0]:.0f} ms and {pauses_ms[1]:.0f} ms "
        f"(without a move {usual_ms:.0f} ms); {in_each} orders in each log"
    )


async def test_traders_see_one_exchange(two_shards: TwoShards) -> None:
    """Before and after a move: symbols, sums of balances, open orders, an order that closed before, trades."""
    await fund(two_shards)
    first, second = (key for key in two_shards.keys)
    client = trader(two_shards.gateway.url, first.api_key, first.secret)
    async with httpx.AsyncClient(base_url=two_shards.gateway.url, timeout=20) as http:
        alice, bob = Trader(http, first), Trader(http, second)
        assert set(await asyncio.to_thread(client.load_markets)) == {"BTC/USDT", "ETH/USDT"}
        resting = [
            (await alice.place("BUY", "0.1", "10000")).json(),
            (await alice.place("BUY", "0.2", "10", symbol="ETHUSDT")).json(),
        ]
        closed = (await alice.place("SELL", "0.5", "20000")).json()
        taken = (await bob.place("BUY", "0.5", "20000")).json()
        assert taken["status"] == "FILLED"

        async def public() -> dict[str, list[Any]]:
            asked = {"trades": {}, "aggTrades": {}, "klines": {"interval": "1d"}}
            return {
                path: (await http.get(f"/api/v3/{path}", params={"symbol": SYMBOL, **more})).json()
                for path, more in asked.items()
            }

        async def seen() -> dict[str, object]:
            await asyncio.sleep(1.2)
            return {
                "orders": await alice.open_orders(),
                "orders of one": (await alice.call("GET", "/api/v3/openOrders", symbol=SYMBOL)).json(),
                "balance": [await alice.balance(asset) for asset in ("BTC", "USDT")],
                "closed": (await alice.call("GET", "/api/v3/order", symbol=SYMBOL, orderId=closed["orderId"])).json(),
                "all": (await alice.call("GET", "/api/v3/allOrders", symbol=SYMBOL)).json(),
                "own trades": (await alice.call("GET", "/api/v3/myTrades", symbol=SYMBOL)).json(),
                "depth": (await http.get("/api/v3/depth", params={"symbol": SYMBOL})).json()["bids"],
                **await public(),
                "bests": [row["symbol"] for row in (await http.get("/api/v3/ticker/bookTicker")).json()],
            }

        before = await seen()
        # Both shards hold 1,000 BTC of each; half a bitcoin was sold, a thousand dollars and two are held.
        assert before["balance"] == [("1999.50000000", "0.00000000"), ("20008988.00000000", "1002.00000000")]
        assert before["orders"] == [order["orderId"] for order in resting]
        assert before["bests"] == ["BTCUSDT", "ETHUSDT"]
        assert (await two_shards.move(SECOND))["state"] == "completed"
        after = await seen()
        assert after == before
        # The order that came along is cancelled where it is now, and the one that closed stays where it was.
        gone = await alice.call("DELETE", "/api/v3/order", symbol=SYMBOL, orderId=resting[0]["orderId"])
        assert gone.json()["status"] == "CANCELED"
        again = await alice.place("SELL", "0.5", "20000")
        assert again.json()["orderId"] > closed["orderId"]
        await bob.place("BUY", "0.5", "20000")
        await asyncio.sleep(1.0)
        rows = (await alice.call("GET", "/api/v3/myTrades", symbol=SYMBOL)).json()
        assert [row["id"] for row in rows] == [1, 2]
        told = await public()
        assert [row["id"] for row in told["trades"]] == [row["f"] for row in told["aggTrades"]] == [1, 2]
        assert told["aggTrades"][0]["a"] < told["aggTrades"][1]["a"]
        # Of two shards' trades, unless a day ended in between.
        assert [(row[5], row[8]) for row in told["klines"]] in ([("1.00000000", 2)], [("0.50000000", 1)] * 2)
        orders = (await alice.call("GET", "/api/v3/allOrders", symbol=SYMBOL)).json()
        assert [(row["orderId"], row["status"]) for row in orders] == [
            (resting[0]["orderId"], "CANCELED"),
            (closed["orderId"], "FILLED"),
            (again.json()["orderId"], "FILLED"),
        ]
        missing = await alice.call("GET", "/api/v3/order", symbol=SYMBOL, orderId=4711)
        assert missing.json()["code"] == -2013


async def test_a_shard_that_is_away_takes_its_own_symbols_with_it_and_no_others(two_shards: TwoShards) -> None:
    await fund(two_shards)
    first, _ = (key for key in two_shards.keys)
    async with httpx.AsyncClient(base_url=two_shards.gateway.url, timeout=20) as http:
        alice = Trader(http, first)
        two_shards.engines[SECOND].kill()
        status = await asyncio.to_thread(
            two_shards.gateway.wait_for, "it is seen", lambda found: not found["shards"][1]["connected"]
        )
        assert (status["ready"], status["reason"]) == (True, "ready for orders; not connected to shard second")
        await asyncio.sleep(3.5)
        listed = (await http.get("/api/v3/exchangeInfo")).json()["symbols"]
        assert [(row["symbol"], row["status"]) for row in listed] == [("BTCUSDT", "TRADING"), ("ETHUSDT", "BREAK")]
        assert (await alice.place("BUY", "0.1", "10000")).json()["status"] == "NEW"
        assert len((await alice.call("GET", "/api/v3/openOrders", symbol=SYMBOL)).json()) == 1
        every = await alice.call("GET", "/api/v3/openOrders")
        assert (every.status_code, every.json()["code"], "shard second" in every.json()["detail"]) == (503, -1001, True)
        two_shards.engines[SECOND].start()
        await asyncio.to_thread(
            two_shards.gateway.wait_for, "it is back", lambda found: found["shards"][1]["connected"]
        )
        assert (await alice.call("GET", "/api/v3/openOrders")).status_code == 200
