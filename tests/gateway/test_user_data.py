"""What an account hears of itself, from a real engine: every change of its orders and balances, nobody else's."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from fixtures.gateways import Trader, Venue, credit
from fixtures.listen_keys import HEARD_S, heard, keyed, listen_key
from fixtures.websocket_apis import Api, connected, ed25519, of_secret, signer
from openbourse.gateway.keys import create_key, revoke_key

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]
PAIR = {"symbol": "BTCUSDT"}
READ_AGAIN_S = 0.6


@pytest.fixture
async def hearing(venue: Venue, traders: Pair) -> AsyncIterator[Api]:
    """The first trader's account, by a signature."""
    async with connected(venue.gateway.address) as api:
        subscribed = await api.result(of_secret(traders[0].key), "userDataStream.subscribe.signature")
        assert subscribed == {"subscriptionId": 0}
        yield api


def named(event: dict[str, Any], names: str) -> list[Any]:
    return [event[name] for name in names.split()]


async def test_an_order_is_heard_from_its_beginning_to_its_end(hearing: Api, traders: Pair) -> None:
    maker, taker = traders
    placed = (await maker.place("SELL", "0.5", "30000", newClientOrderId="rests")).json()
    report = await hearing.heard("executionReport", x="NEW")
    assert named(report, "s c C S o f q p X r i l z L n N t w m") == [
        *("BTCUSDT", "rests", "", "SELL", "LIMIT", "GTC", "0.50000000", "30000.00000000", "NEW", "NONE"),
        *(placed["orderId"], "0.00000000", "0.00000000", "0.00000000", "0", None, -1, True, False),
    ]
    assert report["O"] == report["T"] == report["W"] == placed["transactTime"]
    position = await hearing.heard("outboundAccountPosition")
    assert position["B"] == [{"a": "BTC", "f": "9.50000000", "l": "0.50000000"}]

    bought = (await taker.place("BUY", "0.2", "30000")).json()
    report = await hearing.heard("executionReport", x="TRADE")
    assert named(report, "X l z L n N t Z Y m w") == [
        *("PARTIALLY_FILLED", "0.20000000", "0.20000000", "30000.00000000", "6.00000000", "USDT"),
        *(bought["fills"][0]["tradeId"], "6000.00000000", "6000.00000000", True, True),
    ]
    position = await hearing.heard("outboundAccountPosition")
    assert {row["a"]: (row["f"], row["l"]) for row in position["B"]} == {
        "BTC": ("9.50000000", "0.30000000"),
        "USDT": ("1005994.00000000", "0.00000000"),
    }

    amended = await maker.call(
        "PUT", "/api/v3/order/amend/keepPriority", **PAIR, orderId=placed["orderId"], newQty="0.4"
    )
    report = await hearing.heard("executionReport", x="REPLACED")
    assert named(report, "C q X I") == [*("rests", "0.40000000", "PARTIALLY_FILLED", amended.json()["executionId"])]
    assert report["c"] == amended.json()["amendedOrder"]["clientOrderId"] != "rests"
    amended_name = report["c"]

    await maker.call("DELETE", "/api/v3/order", **PAIR, orderId=placed["orderId"], newClientOrderId="cancels")
    report = await hearing.heard("executionReport", x="CANCELED")
    assert named(report, "c C X z w") == ["cancels", amended_name, "CANCELED", "0.20000000", False]
    position = await hearing.heard("outboundAccountPosition", B=[{"a": "BTC", "f": "9.80000000", "l": "0.00000000"}])
    assert position["u"] == report["T"]


async def test_a_cancel_that_has_no_name_has_the_one_of_its_answer(hearing: Api, traders: Pair) -> None:
    maker = traders[0]
    for _ in range(3):
        await maker.place("BUY", "0.1", "100")
    answers = (await maker.call("DELETE", "/api/v3/openOrders", **PAIR)).json()
    for answer in answers:
        report = await hearing.heard("executionReport", x="CANCELED", i=answer["orderId"])
        assert (report["c"], report["C"]) == (answer["clientOrderId"], answer["origClientOrderId"])


async def test_a_replaced_order_is_heard_twice(hearing: Api, traders: Pair) -> None:
    maker = traders[0]
    placed = (await maker.place("BUY", "0.1", "100", newClientOrderId="old")).json()
    terms = {**PAIR, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "101"}
    await maker.call(
        "POST",
        "/api/v3/order/cancelReplace",
        **terms,
        cancelReplaceMode="STOP_ON_FAILURE",
        cancelOrderId=placed["orderId"],
        cancelNewClientOrderId="cancels",
        newClientOrderId="new",
    )
    canceled = await hearing.heard("executionReport", x="CANCELED")
    assert (canceled["c"], canceled["C"]) == ("cancels", "old")
    assert (await hearing.heard("executionReport", x="NEW", c="new"))["C"] == ""


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"type": "LIMIT", "timeInForce": "IOC", "price": "100"}, "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ({"type": "LIMIT", "timeInForce": "FOK", "price": "100"}, "UNFILLED_FOK_ORDER_EXPIRED"),
        ({"type": "MARKET"}, "INSUFFICIENT_LIQUIDITY"),
    ],
)
async def test_what_expires_says_why(hearing: Api, traders: Pair, terms: dict[str, str], reason: str) -> None:
    await traders[0].call("POST", "/api/v3/order", **PAIR, side="BUY", quantity="0.1", **terms)
    assert (await hearing.heard("executionReport", x="NEW"))["X"] == "NEW"
    report = await hearing.heard("executionReport", x="EXPIRED")
    assert (report["X"], report["eR"], report["w"]) == ("EXPIRED", reason, False)


async def test_a_prevented_match_is_heard_once_for_each_order_that_it_took(hearing: Api, traders: Pair) -> None:
    alice = traders[0]
    resting = (await alice.place("SELL", "0.3", "30000")).json()
    taking = (await alice.place("BUY", "0.2", "30000", selfTradePreventionMode="EXPIRE_BOTH")).json()
    for own, other, lost in ((resting, taking, "0.30000000"), (taking, resting, "0.20000000")):
        report = await hearing.heard("executionReport", x="TRADE_PREVENTION", i=own["orderId"])
        assert named(report, "X A B u U Cs pl pL pY") == [
            *("EXPIRED_IN_MATCH", lost, lost, -1, other["orderId"], "BTCUSDT"),
            *("0.20000000", "30000.00000000", "6000.00000000"),
        ]
    await alice.place("BUY", "0.1", "100")
    await hearing.heard("executionReport", x="NEW", p="100.00000000")
    assert [message["event"]["x"] for message in hearing.events if message["event"]["e"] == "executionReport"] == [
        "NEW",
        "NEW",
    ]


async def test_a_deposit_is_heard(hearing: Api, traders: Pair, venue: Venue) -> None:
    await credit(venue.engine, traders[0].key.account, {"USDT": "12.5"})
    update = await hearing.heard("balanceUpdate")
    assert (update["a"], update["d"]) == ("USDT", "12.50000000")
    position = await hearing.heard("outboundAccountPosition")
    assert position["B"] == [{"a": "USDT", "f": "1000012.50000000", "l": "0.00000000"}]


async def test_nobody_hears_of_anothers_account(hearing: Api, traders: Pair) -> None:
    await traders[1].place("BUY", "0.1", "100")
    await traders[0].place("BUY", "0.1", "101")
    report = await hearing.heard("executionReport")
    assert report["p"] == "101.00000000"
    assert hearing.events == []


async def test_a_session_hears_its_account_until_it_is_logged_off(venue: Venue, traders: Pair) -> None:
    key = signer(venue.gateway.keys, traders[0].key.account, ed25519())
    await asyncio.sleep(READ_AGAIN_S)
    async with connected(venue.gateway.address) as api:
        await api.result(key, "session.logon")
        assert (await api.ask("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
        again = await api.ask("userDataStream.subscribe")
        assert (again["status"], again["error"]["code"]) == (400, -2035)
        assert (await api.result(of_secret(traders[1].key), "userDataStream.subscribe.signature")) == {
            "subscriptionId": 1
        }
        assert (await api.ask("session.status"))["result"]["userDataStream"] is True
        assert (await api.ask("session.subscriptions"))["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
        for number, trader in enumerate(traders):
            await trader.place("BUY", "0.1", f"{100 + number}")
            await api.heard("executionReport", p=f"{100 + number}.00000000")
        await api.ask("session.logout")
        await api.heard("eventStreamTerminated")
        assert (await api.ask("session.subscriptions"))["result"] == [{"subscriptionId": 1}]
        await traders[0].place("BUY", "0.1", "102")
        await traders[1].place("BUY", "0.1", "103")
        assert (await api.heard("executionReport", p="103.00000000"))["x"] == "NEW"
        assert all(message["event"].get("p") != "102.00000000" for message in api.events)
        assert (await api.ask("userDataStream.unsubscribe"))["result"] == {}
        assert (await api.ask("session.status"))["result"]["userDataStream"] is False


async def test_a_revoked_key_hears_nothing_more(venue: Venue, traders: Pair) -> None:
    key = create_key(venue.gateway.keys, account=traders[0].key.account)
    await asyncio.sleep(READ_AGAIN_S)
    async with connected(venue.gateway.address) as api:
        await api.result(of_secret(key), "userDataStream.subscribe.signature")
        revoke_key(venue.gateway.keys, key.api_key)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            async with asyncio.timeout(HEARD_S):
                await api.socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == "the API key may not hear this any more"


async def test_events_come_in_the_unit_of_the_connection(venue: Venue, traders: Pair) -> None:
    async with connected(venue.gateway.address, "?timeUnit=MICROSECOND") as api:
        await api.result(of_secret(traders[0].key), "userDataStream.subscribe.signature")
        placed = await traders[0].place("BUY", "0.1", "100")
        report = await api.heard("executionReport")
        assert report["T"] // 1000 == placed.json()["transactTime"]
        assert report["E"] > report["T"] > 10**15


async def test_an_account_is_heard_by_its_listen_key(venue: Venue, traders: Pair) -> None:
    trader = traders[0]
    key = await listen_key(trader)
    assert await listen_key(trader) == key
    base = f"ws://{venue.gateway.address}"
    async with (
        websockets.connect(f"{base}/ws/{key}", proxy=None) as bare,
        websockets.connect(f"{base}/stream?streams={key}&timeUnit=MICROSECOND", proxy=None) as combined,
    ):
        placed = (await trader.place("BUY", "0.1", "100")).json()
        report = await heard(bare, "executionReport")
        assert (report["i"], report["T"]) == (placed["orderId"], placed["transactTime"])
        wrapped = await heard(combined, "executionReport")
        assert (wrapped["stream"], wrapped["data"]["i"]) == (key, placed["orderId"])
        assert wrapped["data"]["T"] // 1000 == placed["transactTime"]
        assert (await keyed(trader, "PUT", listenKey=key)).json() == {}
        assert (await keyed(trader, "DELETE", listenKey=key)).json() == {}
        assert (await heard(bare, "eventStreamTerminated"))["listenKey"] == key
        with pytest.raises(websockets.ConnectionClosedError):
            await bare.recv()
    gone = await keyed(trader, "PUT", listenKey=key)
    assert (gone.status_code, gone.json()["code"]) == (400, -1125)


async def test_listen_keys_are_the_same_over_the_websocket_api(venue: Venue, traders: Pair) -> None:
    own = {"apiKey": traders[0].key.api_key}
    async with connected(venue.gateway.address) as api:
        key = (await api.ask("userDataStream.start", **own))["result"]["listenKey"]
        assert await listen_key(traders[0]) == key
        assert (await api.ask("userDataStream.ping", **own, listenKey=key))["result"] == {}
        async with websockets.connect(f"ws://{venue.gateway.address}/ws/{key}", proxy=None) as stream:
            assert (await api.ask("userDataStream.stop", **own, listenKey=key))["result"] == {}
            assert (await heard(stream, "eventStreamTerminated"))["listenKey"] == key
        for asked, status, code in (
            (own | {"listenKey": key}, 400, -1125),
            ({"listenKey": key}, 400, -1102),
            ({"apiKey": "0" * 64, "listenKey": key}, 401, -2015),
        ):
            refused = await api.ask("userDataStream.ping", **asked)
            assert (refused["status"], refused["error"]["code"]) == (status, code)


async def test_a_listen_key_is_its_accounts_alone(traders: Pair) -> None:
    key = await listen_key(traders[0])
    for method in ("PUT", "DELETE"):
        answer = await keyed(traders[1], method, listenKey=key)
        assert (answer.status_code, answer.json()["code"]) == (400, -1125)
    stranger = await traders[0].http.post("/api/v3/userDataStream", headers={"X-MBX-APIKEY": "0" * 64})
    assert (stranger.status_code, stranger.json()["code"]) == (401, -2015)


async def test_where_an_event_may_be_missing_connections_end(venue: Venue, traders: Pair) -> None:
    key = await listen_key(traders[0])
    async with (
        connected(venue.gateway.address) as api,
        connected(venue.gateway.address) as deaf,
        websockets.connect(f"ws://{venue.gateway.address}/ws/{key}", proxy=None) as stream,
    ):
        await api.result(of_secret(traders[0].key), "userDataStream.subscribe.signature")
        venue.marketdata.kill()
        try:
            for socket in (api.socket, stream):
                with pytest.raises(websockets.ConnectionClosedError) as closed:
                    async with asyncio.timeout(HEARD_S):
                        while True:
                            await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1012
            # Whoever hears no account goes on, and is told that there is nothing to hear now.
            refused = await deaf.signed(of_secret(traders[0].key), "userDataStream.subscribe.signature")
            assert (refused["status"], refused["error"]["code"]) == (503, -1001)
        finally:
            venue.marketdata.start()
        deadline = time.monotonic() + HEARD_S
        while (await deaf.signed(of_secret(traders[0].key), "userDataStream.subscribe.signature"))["status"] != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await traders[0].place("BUY", "0.1", "100")
        assert (await deaf.heard("executionReport"))["x"] == "NEW"


async def test_an_engine_that_dies_and_comes_back_costs_no_event(hearing: Api, traders: Pair, venue: Venue) -> None:
    trader = traders[0]
    placing = asyncio.create_task(place_all(trader, 60))
    await asyncio.sleep(0.1)
    venue.engine.kill()
    venue.engine.start()
    placed = await placing
    heard = set[int]()
    async with asyncio.timeout(HEARD_S):
        while heard < placed:
            heard.add((await hearing.heard("executionReport", x="NEW"))["i"])
    assert heard == placed


async def place_all(trader: Trader, count: int) -> set[int]:
    answers = [await trader.place("BUY", "0.01", f"{100 + number}") for number in range(count)]
    return {answer.json()["orderId"] for answer in answers}


async def test_through_many_orders_at_once_none_is_missed(hearing: Api, traders: Pair) -> None:
    maker, taker = traders
    await asyncio.gather(*(maker.place("SELL", "0.01", f"{30000 + n}") for n in range(100)))
    await asyncio.gather(*(taker.place("BUY", "0.02", "31000") for _ in range(25)))
    answers = (await maker.call("DELETE", "/api/v3/openOrders", **PAIR)).json()
    assert len(answers) == 50
    orders = {row["orderId"]: row for row in (await maker.call("GET", "/api/v3/allOrders", **PAIR)).json()}
    last: dict[int, Any] = {}
    ids = set[int]()
    async with asyncio.timeout(HEARD_S):
        while {number: report["X"] for number, report in last.items()} != {
            number: row["status"] for number, row in orders.items()
        }:
            report = await hearing.heard("executionReport")
            assert report["I"] not in ids
            ids.add(report["I"])
            last[report["i"]] = report
    assert len(ids) == 200
    assert {number: report["z"] for number, report in last.items()} == {
        number: row["executedQty"] for number, row in orders.items()
    }


async def test_a_trades_time_is_the_same_microsecond_wherever_it_is_told(
    venue: Venue, traders: tuple[Trader, Trader]
) -> None:
    alice, bob = traders
    base = f"ws://{venue.gateway.address}"
    names = "btcusdt@trade/btcusdt@aggTrade"
    async with (
        websockets.connect(f"{base}/stream?streams={names}&timeUnit=MICROSECOND", proxy=None) as exact,
        websockets.connect(f"{base}/stream?streams={names}", proxy=None) as coarse,
    ):
        times = set[int]()
        for _ in range(3):
            await alice.place("SELL", "0.1", "50000")
            bought = (await bob.place("BUY", "0.1", "50000")).json()
            async with asyncio.timeout(HEARD_S):
                told = [json.loads(await exact.recv())["data"] for _ in range(2)]
                in_milliseconds = [json.loads(await coarse.recv())["data"] for _ in range(2)]
            assert {event["e"] for event in told} == {"trade", "aggTrade"}
            [time_us] = {event[name] for event in told for name in ("T", "E")}
            assert {event[name] for event in in_milliseconds for name in ("T", "E")} == {time_us // 1000}
            assert time_us // 1000 == bought["transactTime"]
            times.add(time_us)
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    for path, name in (("trades", "time"), ("aggTrades", "T")):
        rows = (await alice.http.get(f"/api/v3/{path}?symbol=BTCUSDT&limit=3", headers=headers)).json()
        assert {row[name] for row in rows} == times
    assert any(time_us % 1000 for time_us in times)
