"""The WebSocket API before a real engine: every call of REST by its name, the same answers, sessions, bounds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from fixtures.gateways import Trader, Venue
from fixtures.websocket_apis import Api, Signer, connected, ed25519, of_secret, signer

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]
PAIR: dict[str, object] = {"symbol": "BTCUSDT"}
LIMIT = {**PAIR, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.10", "price": "100"}


@pytest.fixture
async def api(venue: Venue) -> AsyncIterator[Api]:
    async with connected(venue.gateway.address) as opened:
        yield opened


@pytest.fixture
def alice(traders: Pair) -> Signer:
    return of_secret(traders[0].key)


def code(answer: dict[str, Any]) -> tuple[int, int]:
    return answer["status"], answer["error"]["code"]


async def test_an_answer_has_its_id_its_status_and_what_was_used(api: Api) -> None:
    for request_id in (1, -7, 2**63 - 1, "e2a85d9f-07a5-4f94-8d5f-789dc3deb097", None):
        await api.socket.send(json.dumps({"id": request_id, "method": "v3/ping"}))
        answer = await api.answer(request_id)
        assert (answer["status"], answer["result"]) == (200, {})
        [weight] = answer["rateLimits"]
        assert (weight["rateLimitType"], weight["interval"], weight["count"] > 0) == ("REQUEST_WEIGHT", "MINUTE", True)


async def test_what_was_used_is_not_said_where_it_is_not_wanted(api: Api, venue: Venue) -> None:
    assert set(await api.ask("ping", returnRateLimits=False)) == {"id", "status", "result"}
    assert set(await api.ask("nothing", returnRateLimits=False)) == {"id", "status", "error"}
    async with connected(venue.gateway.address, "?returnRateLimits=false") as quiet:
        assert "rateLimits" not in await quiet.ask("ping")
        assert "rateLimits" in await quiet.ask("ping", returnRateLimits=True)
        assert (await quiet.ask("session.status"))["result"]["returnRateLimits"] is False


async def test_times_come_in_the_unit_of_the_connection(api: Api, venue: Venue) -> None:
    milliseconds = (await api.ask("time"))["result"]["serverTime"]
    async with connected(venue.gateway.address, "?timeUnit=microsecond") as finer:
        microseconds = (await finer.ask("time"))["result"]["serverTime"]
        assert (await finer.ask("session.status"))["result"]["connectedSince"] > 10**15
    assert abs(microseconds - milliseconds * 1000) < 60_000_000


@pytest.mark.parametrize(("query", "error"), [("?timeUnit=second", -1194), ("?returnRateLimits=perhaps", -1130)])
async def test_a_connection_that_asks_for_what_does_not_exist_is_told_so_and_ends(
    venue: Venue, query: str, error: int
) -> None:
    async with connected(venue.gateway.address, query) as api:
        assert code(await api.answer(None)) == (400, error)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await api.socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_the_market_is_answered_as_over_rest(api: Api, traders: Pair) -> None:
    maker, taker = traders
    await maker.place("SELL", "0.5", "30000")
    await taker.place("BUY", "0.2", "30000")
    calls: list[tuple[str, str, dict[str, object]]] = [
        ("exchangeInfo", "exchangeInfo", {"symbols": ["BTCUSDT", "ETHUSDT"]}),
        ("depth", "depth", {**PAIR, "limit": 5}),
        ("trades.recent", "trades", {**PAIR, "limit": 1}),
        ("trades.historical", "historicalTrades", {**PAIR, "limit": 1}),
        ("trades.aggregate", "aggTrades", {**PAIR, "limit": 1}),
        ("klines", "klines", {**PAIR, "interval": "1d"}),
        ("uiKlines", "uiKlines", {**PAIR, "interval": "1d"}),
        ("avgPrice", "avgPrice", PAIR),
        ("ticker.24hr", "ticker/24hr", PAIR),
        ("ticker.tradingDay", "ticker/tradingDay", PAIR),
        ("ticker", "ticker", {**PAIR, "windowSize": "7d"}),
        ("ticker.price", "ticker/price", PAIR),
        ("ticker.book", "ticker/bookTicker", PAIR),
    ]

    async def by_rest(path: str, parameters: dict[str, object]) -> Any:
        sent = {name: json.dumps(of) if isinstance(of, list) else str(of) for name, of in parameters.items()}
        return (await maker.http.get(f"/api/v3/{path}", params=sent)).json()

    for method, path, parameters in calls:
        answer = await api.ask(method, **parameters)
        assert answer["status"] == 200, answer
        assert timeless(answer["result"]) == timeless(await by_rest(path, parameters)), method


def timeless(document: Any) -> Any:
    """Without what says when it was asked."""
    match document:
        case dict():
            left_out = ("serverTime", "openTime", "closeTime")
            return {name: timeless(of) for name, of in document.items() if name not in left_out}
        case list():
            return [timeless(of) for of in document]
        case _:
            return document


async def test_an_order_lives_as_over_rest(api: Api, alice: Signer, traders: Pair) -> None:
    assert await api.result(alice, "order.test", **LIMIT) == {}
    placed = await api.signed(alice, "order.place", **LIMIT, newClientOrderId="first")
    assert [limit["rateLimitType"] for limit in placed["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
    order_id = placed["result"]["orderId"]
    status = await api.result(alice, "order.status", **PAIR, origClientOrderId="first")
    assert (status["orderId"], status["status"], status["origQty"]) == (order_id, "NEW", "0.10000000")
    rest = (await traders[0].call("GET", "/api/v3/order", **PAIR, orderId=order_id)).json()
    assert status == rest
    amended = await api.result(
        alice, "order.amend.keepPriority", **PAIR, orderId=order_id, newQty="0.05", newClientOrderId="smaller"
    )
    assert amended["amendedOrder"]["qty"] == "0.05000000"
    replaced = await api.result(
        alice,
        "order.cancelReplace",
        **LIMIT,
        cancelReplaceMode="STOP_ON_FAILURE",
        cancelOrigClientOrderId="smaller",
        newClientOrderId="second",
    )
    assert (replaced["cancelResult"], replaced["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert [row["clientOrderId"] for row in await api.result(alice, "openOrders.status", **PAIR)] == ["second"]
    canceled = await api.result(alice, "order.cancel", **PAIR, origClientOrderId="second", newClientOrderId="cancel")
    assert (canceled["clientOrderId"], canceled["origClientOrderId"]) == ("cancel", "second")
    for _ in range(2):
        await api.result(alice, "order.place", **LIMIT)
    assert len(await api.result(alice, "openOrders.cancelAll", **PAIR)) == 2
    orders = await api.result(alice, "allOrders", **PAIR)
    assert [row["status"] for row in orders] == ["CANCELED"] * 4
    counts = await api.result(alice, "account.rateLimits.orders")
    assert [limit["count"] for limit in counts][1] == 4


async def test_an_account_is_answered_as_over_rest(api: Api, alice: Signer, traders: Pair) -> None:
    status = await api.result(alice, "account.status", omitZeroBalances=True)
    assert [row["asset"] for row in status["balances"]] == ["BTC", "USDT"]
    rest = await traders[0].call("GET", "/api/v3/account/commission", **PAIR)
    assert await api.result(alice, "account.commission", **PAIR) == rest.json()
    assert await api.result(alice, "myPreventedMatches", **PAIR, orderId=1) == []
    # There is no ledger here.
    assert code(await api.signed(alice, "myTrades", **PAIR)) == (503, -1001)


async def test_what_is_partly_done_says_what_was(api: Api, alice: Signer) -> None:
    answer = await api.signed(alice, "order.cancelReplace", **LIMIT, cancelReplaceMode="ALLOW_FAILURE", cancelOrderId=1)
    assert code(answer) == (409, -2021)
    data = answer["error"]["data"]
    assert (data["cancelResult"], data["newOrderResult"]) == ("FAILURE", "SUCCESS")
    assert data["cancelResponse"]["code"] == -2011


async def test_a_session_is_logged_on_with_ed25519_and_then_nothing_is_signed(
    api: Api, venue: Venue, traders: Pair
) -> None:
    account = traders[0].key.account
    key = signer(venue.gateway.keys, account, ed25519())
    await asyncio.sleep(0.6)
    assert (await api.ask("session.status"))["result"]["apiKey"] is None
    assert code(await api.logged_on(key, "order.place", **LIMIT)) == (400, -1102)
    on = await api.result(key, "session.logon")
    assert (on["apiKey"], on["userDataStream"]) == (key.api_key, False)
    assert on["connectedSince"] <= on["authorizedSince"] <= on["serverTime"]
    placed = await api.logged_on(key, "order.place", **LIMIT)
    assert placed["result"]["status"] == "NEW"
    # The time is asked for all the same.
    assert code(await api.ask("openOrders.status")) == (400, -1102)
    # Another key may sign for itself.
    other = of_secret(traders[1].key)
    assert await api.result(other, "openOrders.status", **PAIR) == []
    assert len((await api.logged_on(key, "openOrders.status", **PAIR))["result"]) == 1
    off = (await api.ask("session.logout"))["result"]
    assert (off["apiKey"], off["authorizedSince"]) == (None, None)
    assert code(await api.logged_on(key, "openOrders.status", **PAIR)) == (400, -1102)


async def test_requests_of_a_connection_are_done_in_their_order_until_they_wait_for_the_engine(
    api: Api, venue: Venue, traders: Pair
) -> None:
    """Logging on is there for what was sent right behind it."""
    key = signer(venue.gateway.keys, traders[0].key.account, ed25519())
    await asyncio.sleep(0.6)
    stamp = key.query({})["timestamp"]
    asked = [await api.send("session.logon", key.query({}))]
    asked += [await api.send("order.place", {**LIMIT, "price": f"{100 + n}", "timestamp": stamp}) for n in range(20)]
    answers = dict[int, Any]()
    async with asyncio.timeout(20):
        while len(answers) < len(asked):
            message = json.loads(await api.socket.recv())
            answers[message["id"]] = message
    prices = [answers[number]["result"]["price"] for number in asked[1:]]
    ids = [answers[number]["result"]["orderId"] for number in asked[1:]]
    assert prices == [f"{100 + n}.00000000" for n in range(20)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        ("", 400, -1135),
        ("{", 400, -1135),
        ("[]", 400, -1135),
        ("1", 400, -1135),
        ("[" * 10_000, 400, -1135),
        ('{"id": 1, "method": "ping", "params": {"a": NaN}}', 400, -1135),
        ('{"method": "ping"}', 400, -1102),
        ('{"id": 1}', 400, -1102),
        ('{"id": 1, "method": 5}', 400, -1102),
        ('{"id": 1.5, "method": "ping"}', 400, -1100),
        ('{"id": true, "method": "ping"}', 400, -1100),
        ('{"id": "with space", "method": "ping"}', 400, -1100),
        ('{"id": 99999999999999999999, "method": "ping"}', 400, -1100),
        ('{"id": 1, "method": "order.teleport"}', 400, -5000),
        ('{"id": 1, "method": "ping", "params": []}', 400, -1135),
        ('{"id": 1, "method": "ping", "params": {"a": {}}}', 400, -1135),
        ('{"id": 1, "method": "ping", "params": {"a": null}}', 400, -1135),
        ('{"id": 1, "method": "ping", "params": {"a": 1}}', 400, -1104),
        ('{"id": 1, "method": "depth", "params": {"symbol": "BTCUSDT", "symbol": "BTCUSDT"}}', 400, -1101),
        ('{"id": 1, "method": "depth", "params": {"symbol": ""}}', 400, -1102),
        ('{"id": 1, "method": "depth", "params": {"symbol": "NONE"}}', 400, -1121),
        ('{"id": 1, "method": "depth", "params": {"symbol": "a\\u0000b"}}', 400, -1100),
        ('{"id": 1, "method": "depth", "params": {"symbol": "\\ud800"}}', 400, -1100),
        ('{"id": 1, "method": "\\ud800"}', 400, -5000),
        ('{"id": 1, "method": "depth", "params": {"symbol": "BTCUSDT", "limit": 1e3}}', 400, -1100),
        ('{"id": 1, "method": "order.place"}', 400, -1102),
        ('{"id": 1, "method": "ping", "params": {"returnRateLimits": "perhaps"}}', 400, -1130),
        ('{"id": 1, "method": "session.logon"}', 400, -1102),
        ('{"id": 1, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 5}}', 400, -2036),
        ('{"id": 1, "method": "userDataStream.subscribe"}', 401, -2015),
    ],
)
async def test_what_makes_no_sense_is_answered_and_the_connection_goes_on(
    api: Api, text: str, status: int, error: int
) -> None:
    await api.socket.send(text)
    async with asyncio.timeout(20):
        answer = json.loads(await api.socket.recv())
    assert code(answer) == (status, error)
    assert answer["rateLimits"][0]["count"] > 0
    assert (await api.ask("ping"))["status"] == 200


async def test_bytes_and_what_is_too_long_end_the_connection_with_a_reason(venue: Venue) -> None:
    for frame, said in ((b"{}", 1008), ("x" * 70_000, 1009)):
        async with connected(venue.gateway.address) as api:
            await api.socket.send(frame)
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await api.socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == said


async def test_more_requests_than_are_carried_out_at_once_are_all_answered(api: Api, alice: Signer) -> None:
    asked = [await api.send("openOrders.status", alice.query(PAIR)) for _ in range(500)]
    answered = set[int]()
    async with asyncio.timeout(30):
        while len(answered) < len(asked):
            message = json.loads(await api.socket.recv())
            assert message["status"] == 200
            answered.add(message["id"])
    assert answered == set(asked)


async def test_who_does_not_read_answers_is_let_go(venue: Venue) -> None:
    frame = b'{"id":1,"method":"exchangeInfo"}'
    # Masked with zeros: as it is.
    data = bytes([0x81, 0x80 | len(frame)]) + bytes(4) + frame
    _, writer = await asyncio.open_connection(venue.gateway.address.host, venue.gateway.address.port, limit=1024)
    asking = "GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    asking += "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    writer.write(asking.encode())
    client = writer.get_extra_info("sockname")
    async with asyncio.timeout(90):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(data * 100)
                await writer.drain()
                await asyncio.sleep(0)
    writer.close()
    said = f"WebSocket API of {client} ended: too slow"
    async with asyncio.timeout(20):
        while said not in venue.gateway.log.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)


async def test_an_order_has_one_name_by_whichever_word(api: Api, alice: Signer) -> None:
    """ccxt sends both words for it; over REST there is but Binance's."""
    for number, more in enumerate(({"clientOrderId": "a"}, {"clientOrderId": "b", "newClientOrderId": "b"})):
        placed = await api.result(alice, "order.place", **LIMIT, **more)
        assert placed["clientOrderId"] == "ab"[number]
    refused = await api.signed(alice, "order.place", **LIMIT, clientOrderId="c", newClientOrderId="d")
    assert (refused["status"], refused["error"]["code"]) == (400, -1128)
    assert await api.result(alice, "order.test", **LIMIT, clientOrderId="e") == {}
    unknown = await api.signed(alice, "order.cancel", **PAIR, clientOrderId="a")
    assert (unknown["status"], unknown["error"]["code"]) == (400, -1104)
