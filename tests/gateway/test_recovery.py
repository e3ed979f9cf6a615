"""The engine dies under orders and comes back: every trader gets the one answer, every order exists once."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from fixtures.engines import RunningEngine
from fixtures.gateways import FUNDS, GatewayProcess, Trader, credit, running_gateway
from openbourse.contracts.component import Component

pytestmark = pytest.mark.server

ORDERS = 200
AT_ONCE = 20


@pytest.fixture
async def alone(
    engine: RunningEngine, tls_material: Mapping[Component, Path], tmp_path: Path
) -> AsyncIterator[tuple[GatewayProcess, Trader]]:
    """A gateway and a trader in front of an engine that this test may kill."""
    with running_gateway(tmp_path / "gateway", tls_material[Component.GATEWAY], engine.address) as (gateway, [key, _]):
        gateway.wait_until_ready()
        await credit(engine, key.account, FUNDS)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            yield gateway, Trader(http, key)


async def test_an_engine_killed_under_orders_loses_none_and_doubles_none(
    engine: RunningEngine, alone: tuple[GatewayProcess, Trader]
) -> None:
    _, alice = alone
    answered = 0
    numbers = iter(range(ORDERS))
    some_are_answered = asyncio.Event()

    async def place_in_turn() -> list[httpx.Response]:
        nonlocal answered
        answers: list[httpx.Response] = []
        for number in numbers:
            answers.append(await alice.place("BUY", "0.001", "20000", newClientOrderId=f"order-{number}"))
            answered += 1
            if answered >= ORDERS // 4:
                some_are_answered.set()
        return answers

    placing = [asyncio.create_task(place_in_turn()) for _ in range(AT_ONCE)]
    await asyncio.wait_for(some_are_answered.wait(), 30)
    engine.kill()
    before = answered
    await asyncio.to_thread(engine.start)
    answers = [answer for answers in await asyncio.gather(*placing) for answer in answers]

    assert before < ORDERS, "the kill came too late to be under orders"
    assert [answer.status_code for answer in answers] == [200] * ORDERS
    acknowledged = sorted(answer.json()["orderId"] for answer in answers)
    assert len(set(acknowledged)) == ORDERS
    assert sorted(await alice.open_orders()) == acknowledged


async def test_an_engine_that_stays_away_is_an_outcome_unknown_and_a_query_refused(
    engine: RunningEngine, alone: tuple[GatewayProcess, Trader]
) -> None:
    gateway, alice = alone
    engine.kill()
    began = time.monotonic()
    placed = await alice.place("BUY", "0.001", "20000", newClientOrderId="perhaps")
    assert (placed.status_code, placed.json()["code"], placed.json()["msg"]) == (
        504,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    )
    assert 9 < time.monotonic() - began < 15
    asked = await alice.call("GET", "/api/v3/openOrders")
    assert (asked.status_code, asked.json()["code"]) == (503, -1001)
    assert (await alice.http.get(f"{gateway.status_url}/readyz")).status_code == 503
    info = await alice.http.get("/api/v3/exchangeInfo")
    assert info.status_code == 503

    await asyncio.to_thread(engine.start)
    gateway.wait_until_ready()
    asked = await alice.call("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="perhaps")
    assert (asked.status_code, asked.json()["code"]) == (400, -2013)
    assert (await alice.place("BUY", "0.001", "20000", newClientOrderId="perhaps")).status_code == 200


async def test_a_gateway_that_is_stopped_answers_what_it_has(
    engine: RunningEngine, alone: tuple[GatewayProcess, Trader]
) -> None:
    gateway, alice = alone
    engine.kill()
    waiting = asyncio.create_task(alice.place("BUY", "0.001", "20000"))
    await asyncio.sleep(0.5)
    stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(engine.start)
    assert (await waiting).status_code == 200
    assert await stopping == 0


async def test_a_new_listing_can_be_traded_at_once(engine: RunningEngine, alone: tuple[GatewayProcess, Trader]) -> None:
    _, alice = alone
    terms = {
        "symbol": "ETHBTC",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "0.05",
    }
    assert (await alice.call("POST", "/api/v3/order", **terms)).json()["code"] == -1121
    listings = engine.listings.read_text()
    row = '{"symbol": "ETHBTC", "base": "ETH", "quote": "BTC", "tickSize": "0.0001", "lotSize": "0.0001"}'
    engine.listings.write_text(listings.replace('"symbols": [', f'"symbols": [{row}, '))
    # The engine reads the document again every now and then; the gateway asks it for a symbol that it does not know.
    for _ in range(300):
        answer = await alice.call("POST", "/api/v3/order", **terms)
        if answer.json()["code"] != -1121:
            break
        await asyncio.sleep(0.05)
    assert answer.json()["msg"] == "Account has insufficient balance for requested action."
