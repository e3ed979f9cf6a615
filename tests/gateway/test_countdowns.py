"""Countdown cancel-all before real engines: the deadline is the engine's, whatever becomes of gateway and leader."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.gateways import FUNDS, Trader, Venue, credit, running_gateway
from fixtures.members import RunningShard
from fixtures.websocket_apis import connected, of_secret
from openbourse.contracts.component import Component

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]
COUNTDOWN = "/api/v3/countdownCancelAll"
PAIR = {"symbol": "BTCUSDT"}
# After its time: the engine's tick, and the question that sees it.
LATE_S = 3.0
# Of engines on a machine that others use too.
FAILOVER_S = 5.0


async def set_countdown(trader: Trader, countdown_ms: object, symbol: str = "BTCUSDT") -> dict[str, Any]:
    answer = await trader.call("POST", COUNTDOWN, symbol=symbol, countdownTime=countdown_ms)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def until_open(trader: Trader, order_ids: list[int], within_s: float) -> None:
    """Until these are open and no others."""
    async with asyncio.timeout(within_s):
        while await trader.open_orders() != order_ids:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.02)


async def test_orders_of_a_client_that_fell_silent_go_at_the_deadline_and_others_stay(traders: Pair) -> None:
    silent, other = traders
    await silent.place("BUY", "0.1", "20000")
    kept = (await silent.place("BUY", "0.1", "2000", symbol="ETHUSDT")).json()["orderId"]
    await other.place("BUY", "0.1", "20000")
    before_ms = time.time_ns() // 1_000_000
    answer = await set_countdown(silent, 600)
    assert set(answer) == {"symbol", "countdownTime", "cancelTime"}
    assert (answer["symbol"], answer["countdownTime"]) == ("BTCUSDT", "600")
    assert before_ms + 600 <= answer["cancelTime"] <= time.time_ns() // 1_000_000 + 600
    assert len(await silent.open_orders()) == 2
    await until_open(silent, [kept], LATE_S)
    assert time.time_ns() // 1_000_000 >= answer["cancelTime"]
    assert len(await other.open_orders()) == 1
    # It is over: what is placed now stays.
    await silent.place("BUY", "0.1", "20000")
    await asyncio.sleep(0.7)
    assert len(await silent.open_orders()) == 2


async def test_a_countdown_that_is_set_again_starts_again_and_0_stops_it(traders: Pair) -> None:
    trader, _ = traders
    await trader.place("BUY", "0.1", "20000")
    for _ in range(4):
        await set_countdown(trader, 900)
        await asyncio.sleep(0.3)
    assert len(await trader.open_orders()) == 1
    assert await set_countdown(trader, 0) == {"symbol": "BTCUSDT", "countdownTime": "0"}
    await asyncio.sleep(1.2)
    assert len(await trader.open_orders()) == 1


async def test_the_websocket_api_has_it_too_and_its_reports_are_heard(venue: Venue, traders: Pair) -> None:
    signer = of_secret(traders[0].key)
    async with connected(venue.gateway.address) as api:
        await api.result(signer, "userDataStream.subscribe.signature")
        placed = (await traders[0].place("BUY", "0.1", "20000", newClientOrderId="guarded")).json()
        answer = await api.result(signer, "countdownCancelAll", **PAIR, countdownTime=300)
        assert answer["countdownTime"] == "300"
        report = await api.heard("executionReport", x="CANCELED")
        assert (report["i"], report["X"], report["c"]) == (placed["orderId"], "CANCELED", "guarded")
        assert report["T"] >= answer["cancelTime"]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"countdownTime": 1000}, 400, -1102),
        ({**PAIR}, 400, -1102),
        ({**PAIR, "countdownTime": ""}, 400, -1105),
        ({**PAIR, "countdownTime": "-1"}, 400, -1100),
        ({**PAIR, "countdownTime": "1.5"}, 400, -1100),
        ({**PAIR, "countdownTime": 86_400_001}, 400, -1102),
        ({"symbol": "NONE", "countdownTime": 1000}, 400, -1121),
        ({**PAIR, "countdownTime": 1000, "account": 1001}, 400, -1104),
    ],
)
async def test_what_makes_no_sense_is_refused(traders: Pair, sent: dict[str, object], status: int, code: int) -> None:
    answer = await traders[0].call("POST", COUNTDOWN, **sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_the_deadline_survives_the_gateway_and_the_leader(
    pair: RunningShard, tls_material: Mapping[Component, Path], tmp_path: Path
) -> None:
    leader = pair.wait_for_leader(in_sync=2)
    standby = next(member for member in pair.members if member is not leader)
    options = ("--engine", str(standby.address))
    tls = tls_material[Component.GATEWAY]
    with running_gateway(tmp_path / "gateway", tls, leader.address, *options) as (gateway, [key, _]):
        gateway.wait_until_ready()
        await credit(leader, key.account, FUNDS)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            trader = Trader(http, key)
            placed = (await trader.place("BUY", "0.1", "20000")).json()
            answer = await set_countdown(trader, 4000)
            gateway.kill()
            leader.kill()
            gateway.start()
            await asyncio.to_thread(gateway.wait_until_ready)
            open_orders = await trader.open_orders()
            # On a slow machine the deadline may be over by now; that nothing went before it is seen below.
            assert open_orders == [placed["orderId"]] or time.time_ns() // 1_000_000 >= answer["cancelTime"]
            await until_open(trader, [], 4 + LATE_S + FAILOVER_S)
            order = (await trader.call("GET", "/api/v3/order", **PAIR, orderId=placed["orderId"])).json()
    assert order["status"] == "CANCELED"
    assert answer["cancelTime"] <= order["updateTime"] <= answer["cancelTime"] + (LATE_S + FAILOVER_S) * 1000
