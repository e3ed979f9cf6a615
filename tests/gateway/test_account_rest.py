"""What an account is told of itself, over the wire and before a real engine and real market data."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from fixtures.engines import RunningEngine
from fixtures.gateways import Trader, Venue, running_gateway
from fixtures.marketdatas import RunningMarketData
from openbourse.contracts.component import Component
from openbourse.contracts.tls import client_context

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]
PAIR = {"symbol": "BTCUSDT"}


async def rows(trader: Trader, path: str, /, **parameters: object) -> list[dict[str, object]]:
    answer = await trader.call("GET", f"/api/v3/{path}", **{**PAIR, **parameters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()
    return found


async def order_id(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["orderId"]
    return number


async def test_all_orders_are_there_at_once_whatever_became_of_them(traders: Pair) -> None:
    maker, taker = traders
    sold = await order_id(await maker.place("SELL", "0.5", "30000", newClientOrderId="rests"))
    await taker.place("BUY", "0.2", "30000")
    gone = await order_id(await maker.place("BUY", "0.1", "100"))
    await maker.call("DELETE", "/api/v3/order", **PAIR, orderId=gone)
    expired = await order_id(await maker.place("BUY", "0.1", "100", timeInForce="IOC"))
    found = await rows(maker, "allOrders")
    assert [(row["orderId"], row["status"], row["executedQty"]) for row in found] == [
        (sold, "PARTIALLY_FILLED", "0.20000000"),
        (gone, "CANCELED", "0.00000000"),
        (expired, "EXPIRED", "0.00000000"),
    ]
    for row in found:
        one = await maker.call("GET", "/api/v3/order", **PAIR, orderId=row["orderId"])
        assert one.json() == row
    assert await rows(maker, "allOrders", orderId=gone, limit=1) == [found[1]]
    assert await rows(maker, "allOrders", limit=1) == [found[2]]
    assert await rows(maker, "allOrders", symbol="ETHUSDT") == []
    time_ms = found[1]["updateTime"]
    # Times win over an id.
    within = await rows(maker, "allOrders", startTime=time_ms, endTime=time_ms, orderId=expired)
    assert found[1] in within
    [bought] = await rows(taker, "allOrders")
    assert (bought["status"], bought["cummulativeQuoteQty"]) == ("FILLED", "6000.00000000")


async def test_an_order_that_self_trade_prevention_took_says_by_which_match(traders: Pair) -> None:
    alice, bob = traders
    resting = await order_id(await alice.place("SELL", "0.3", "30000"))
    taking = await order_id(await alice.place("BUY", "0.2", "30000", selfTradePreventionMode="EXPIRE_TAKER"))
    by_order = await rows(alice, "myPreventedMatches", orderId=taking)
    [match] = by_order
    assert {**match, "transactTime": 0, "preventedMatchId": 0} == {
        "symbol": "BTCUSDT",
        "preventedMatchId": 0,
        "takerOrderId": taking,
        "makerSymbol": "BTCUSDT",
        "makerOrderId": resting,
        "tradeGroupId": -1,
        "selfTradePreventionMode": "EXPIRE_TAKER",
        "price": "30000.00000000",
        "takerPreventedQuantity": "0.20000000",
        "transactTime": 0,
    }
    number = match["preventedMatchId"]
    assert await rows(alice, "myPreventedMatches", preventedMatchId=number) == by_order
    assert await rows(alice, "myPreventedMatches", orderId=resting) == by_order
    assert await rows(alice, "myPreventedMatches", orderId=taking, fromPreventedMatchId=int(str(number)) + 1) == []
    assert await rows(bob, "myPreventedMatches", preventedMatchId=number) == []
    rests, taken = await rows(alice, "allOrders")
    assert (taken["status"], taken["preventedMatchId"], taken["preventedQuantity"]) == (
        "EXPIRED_IN_MATCH",
        number,
        "0.20000000",
    )
    assert "preventedMatchId" not in rests


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("allOrders", {}, -1102),
        ("allOrders", {"symbol": "NONE"}, -1121),
        ("allOrders", {**PAIR, "limit": 0}, -1130),
        ("allOrders", {**PAIR, "startTime": 0, "endTime": 86_400_001}, -1127),
        ("allOrders", {**PAIR, "fromId": 1}, -1104),
        ("myPreventedMatches", PAIR, -1102),
        ("myPreventedMatches", {**PAIR, "preventedMatchId": 1, "orderId": 1}, -1128),
        ("myPreventedMatches", {**PAIR, "preventedMatchId": 1, "fromPreventedMatchId": 1}, -1128),
        ("account/commission", {}, -1102),
        ("rateLimit/order", PAIR, -1104),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    traders: Pair, path: str, parameters: dict[str, object], code: int
) -> None:
    answer = await traders[0].call("GET", f"/api/v3/{path}", **parameters)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_an_account_is_told_what_its_trades_cost(traders: Pair) -> None:
    answer = (await traders[0].call("GET", "/api/v3/account/commission", **PAIR)).json()
    none = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}
    assert answer == {
        "symbol": "BTCUSDT",
        "standardCommission": {**none, "maker": "0.00100000", "taker": "0.00100000"},
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "",
            "discount": "0.00000000",
        },
    }


async def test_an_account_is_told_how_many_orders_it_has_used(traders: Pair) -> None:
    trader = traders[0]

    async def used() -> dict[str, object]:
        limits = (await trader.call("GET", "/api/v3/rateLimit/order")).json()
        assert [limit["rateLimitType"] for limit in limits] == ["ORDERS", "ORDERS"]
        return {f"{limit['intervalNum']} {limit['interval']}": limit["count"] for limit in limits}

    assert await used() == {"10 SECOND": 0, "1 DAY": 0}
    for _ in range(3):
        await trader.place("BUY", "0.01", "100")
    assert (await used())["1 DAY"] == 3


async def test_what_market_data_have_not_heard_of_yet_is_not_said_to_be_nothing(
    traders: Pair, venue: Venue, tmp_path: Path, tls_material: Mapping[Component, Path]
) -> None:
    """They read another log here, which ends before what the engine acknowledged."""
    engine = RunningEngine(tmp_path, tls_material)
    marketdata = RunningMarketData(tmp_path, tls_material, engine.address)
    engine.start()
    try:
        marketdata.start()
        options = ("--marketdata", marketdata.url)
        tls, leader = tls_material[Component.GATEWAY], venue.engine.address
        with running_gateway(tmp_path / "gateway", tls, leader, *options, accounts=0, keys_of=venue.gateway) as (
            late,
            _,
        ):
            late.wait_until_ready()
            async with httpx.AsyncClient(base_url=late.url, timeout=20) as http:
                trader = Trader(http, traders[0].key)
                number = await order_id(await trader.place("BUY", "0.01", "100"))
                for path, named in (("allOrders", {}), ("order", {"orderId": number + 1_000_000})):
                    answer = await trader.call("GET", f"/api/v3/{path}", **PAIR, **named)
                    assert (answer.status_code, answer.json()["code"]) == (503, -1001)
    finally:
        for process in (marketdata, engine):
            if process.process is not None:
                process.stop()


async def test_market_data_that_begin_anew_tell_the_same_orders(traders: Pair, venue: Venue) -> None:
    maker, taker = traders
    for number in range(10):
        await maker.place("SELL", "0.1", f"{30000 + number}")
        await taker.place("BUY", "0.05", f"{30000 + number}")
    before = [await rows(trader, "allOrders") for trader in traders]
    venue.marketdata.kill()
    # Known to the engine, and not to what was stored.
    last = await order_id(await maker.place("SELL", "0.1", "40000"))
    away = await maker.call("GET", "/api/v3/allOrders", **PAIR)
    assert (away.status_code, away.json()["code"]) == (503, -1001)
    venue.marketdata.start()
    after = [await rows(trader, "allOrders") for trader in traders]
    assert after[1] == before[1]
    assert after[0][:-1] == before[0]
    assert after[0][-1]["orderId"] == last


async def test_with_market_data_away_orders_that_the_engine_knows_are_there(traders: Pair, venue: Venue) -> None:
    trader = traders[0]
    number = await order_id(await trader.place("BUY", "0.1", "100"))
    venue.marketdata.kill()
    try:
        known = await trader.call("GET", "/api/v3/order", **PAIR, orderId=number)
        assert (known.status_code, known.json()["status"]) == (200, "NEW")
        unknown = await trader.call("GET", "/api/v3/order", **PAIR, orderId=number + 1_000_000)
        # Nobody can say that it never was.
        assert (unknown.status_code, unknown.json()["code"]) == (503, -1001)
    finally:
        venue.marketdata.start()
    unknown = await trader.call("GET", "/api/v3/order", **PAIR, orderId=number + 1_000_000)
    assert (unknown.status_code, unknown.json()["code"]) == (400, -2013)


@pytest.mark.parametrize("component", list(Component))
async def test_market_data_tell_of_accounts_to_gateways_alone(
    venue: Venue, tls_material: Mapping[Component, Path], component: Component
) -> None:
    asked = {"account": "1001", "symbol": "BTCUSDT", "limit": "1", "seq": "0"}
    url, tls = venue.marketdata.url, client_context(tls_material[component])
    async with httpx.AsyncClient(base_url=url, verify=tls, trust_env=False) as http:
        for path in ("orders", "order", "prevented"):
            answer = await http.get(f"/v1/accounts/{path}", params=asked)
            assert answer.status_code == (200 if component is Component.GATEWAY else 403), answer.text
        if component is not Component.GATEWAY:
            assert (await http.get("/v1/accounts/feed")).status_code == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [({"seq": 10**15}, 503), ({"account": 1}, 422), ({"limit": 1_001}, 422), ({"seq": -1}, 422), ({"symbol": ""}, 422)],
)
async def test_a_question_about_an_account_that_has_no_answer_is_refused(
    venue: Venue, tls_material: Mapping[Component, Path], change: dict[str, object], status: int
) -> None:
    asked = {"account": 1001, "symbol": "BTCUSDT", "limit": 1, "seq": 0, **change}
    tls = client_context(tls_material[Component.GATEWAY])
    async with httpx.AsyncClient(base_url=venue.marketdata.url, verify=tls, trust_env=False) as http:
        answer = await http.get("/v1/accounts/orders", params={name: str(of) for name, of in asked.items()})
    assert answer.status_code == status
    if status == 503:
        assert answer.json()["reason"] == "Behind"
