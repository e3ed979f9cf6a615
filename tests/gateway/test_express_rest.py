"""Orders over REST by the short way and by the general one: the same answers, on connections that go on as any."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from fixtures.gateways import Trader, Venue, signed

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100"}
# In these letters the unit is one that the short way does not know.
GENERAL = {"X-MBX-TIME-UNIT": "millisecond"}
OWN = ("date", "x-request-id", "content-length")


async def asked(trader: Trader, method: str, general: dict[str, str], **parameters: object) -> httpx.Response:
    headers = {"X-MBX-APIKEY": trader.key.api_key, "X-Request-Id": "mine", **general}
    return await trader.http.request(method, f"/api/v3/order?{signed(trader.key, parameters)}", headers=headers)


def shape(document: Any) -> Any:
    """Its names in their order, with the kinds of their values, and the values that two equal orders share."""
    own = ("orderId", "transactTime", "workingTime", "clientOrderId", "origClientOrderId")
    return [(name, type(of).__name__ if name in own else of) for name, of in document.items()]


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("POST", {}),
        ("POST", {"newOrderRespType": "ACK"}),
        ("POST", {"newOrderRespType": "RESULT", "timeInForce": "IOC"}),
        ("POST", {"type": "LIMIT_MAKER", "timeInForce": None}),
        ("POST", {"price": "100.001"}),
        ("POST", {"quantity": "1000000"}),
        ("POST", {"quantity": "9999"}),
        ("POST", {"side": "UP"}),
        ("POST", {"signature": "0"}),
        ("DELETE", {"orderId": 1}),
        ("DELETE", {"origClientOrderId": "nobody"}),
        ("DELETE", {}),
    ],
)
async def test_both_ways_answer_the_same(traders: Pair, method: str, change: dict[str, object]) -> None:
    alice, _ = traders
    terms: dict[str, object] = {**ORDER} if method == "POST" else {"symbol": "BTCUSDT"}
    sent = {name: of for name, of in {**terms, **change}.items() if of is not None}
    short, general = [await asked(alice, method, how, **sent) for how in ({}, GENERAL)]
    assert short.status_code == general.status_code
    assert shape(short.json()) == shape(general.json())
    counted = [name for name in general.headers if name.startswith("x-mbx")]
    assert all(int(general.headers[name]) >= int(short.headers[name]) > 0 for name in counted)
    assert [name for name in short.headers if name not in OWN] == [name for name in general.headers if name not in OWN]
    assert short.headers["x-request-id"] == "mine"


async def test_a_cancel_is_answered_the_same(traders: Pair) -> None:
    alice, _ = traders
    answers = []
    for how in ({}, GENERAL):
        placed = (await asked(alice, "POST", how, **ORDER)).json()
        answers.append((await asked(alice, "DELETE", how, symbol="BTCUSDT", orderId=placed["orderId"])).json())
    assert shape(answers[0]) == shape(answers[1])
    assert answers[0]["status"] == "CANCELED"


async def test_requests_behind_each_other_are_answered_in_their_order(venue: Venue, traders: Pair) -> None:
    """In one write, in pieces, and with others between that go the general way."""
    alice, _ = traders
    head = f"Host: x\r\nX-MBX-APIKEY: {alice.key.api_key}\r\n"
    names = [f"behind-{number}" for number in range(6)]
    data = ""
    for number, name in enumerate(names):
        form = signed(alice.key, {**ORDER, "newClientOrderId": name})
        if number % 2:
            data += f"POST /api/v3/order?{form} HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n"
        else:
            kind = "Content-Type: application/x-www-form-urlencoded\r\n"
            data += f"POST /api/v3/order HTTP/1.1\r\n{head}{kind}Content-Length: {len(form)}\r\n\r\n{form}"
        data += "GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    address = venue.gateway.address
    for size in (len(data), 97):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        for at in range(0, len(data), size):
            writer.write(data[at : at + size].encode())
            await writer.drain()
            await asyncio.sleep(0)
        bodies = []
        async with asyncio.timeout(20):
            for _ in range(2 * len(names)):
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
                bodies.append(json.loads(await reader.readexactly(length)))
        assert bodies[1::2] == [{}] * len(names)
        # The second time each name is taken already.
        expected = names if size == len(data) else [None] * len(names)
        assert [body.get("clientOrderId") for body in bodies[::2]] == expected
        writer.close()
