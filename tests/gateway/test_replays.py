"""The same bytes once more: refused where they are the same request, let in where they are another one; never two
orders of one request."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.gateways import FUNDS, Trader, Venue, credit, running_gateway, signed
from fixtures.websocket_apis import Api, Signer, connected, ed25519, of_secret, signer
from openbourse.contracts.component import Component
from openbourse.gateway import replays
from openbourse.gateway.replays import Replays, Sending, is_twin

PAIR = {"symbol": "BTCUSDT"}
ORDER = {**PAIR, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100"}
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
NOW_US = 1_800_000_000_000_000


def over_http(address: str = HERE, after_s: int = 0) -> Sending:
    return Sending(address, NOW_US + after_s * 1_000_000)


def over_websocket(connection: int, name: str, address: str = HERE) -> Sending:
    return Sending(address, NOW_US, connection, name)


@pytest.mark.parametrize(
    ("first", "again", "twin"),
    [
        (over_http(), over_http(), True),
        (over_http(), over_http(after_s=4), True),
        (over_http(), over_http(after_s=5), False),
        (over_http(), over_http(ELSEWHERE), False),
        (over_websocket(1, "1"), over_websocket(1, "2"), True),
        (over_websocket(1, "1"), over_websocket(1, "1"), False),
        (over_websocket(1, "1"), over_websocket(2, "2"), False),
        (over_websocket(1, "1"), over_websocket(2, "1"), False),
        (over_websocket(1, "1"), over_websocket(1, "2", ELSEWHERE), False),
        (over_websocket(1, "1"), over_http(), False),
        (over_http(), over_websocket(1, "1"), False),
    ],
)
def test_what_is_the_same_request_and_what_another_one(first: Sending, again: Sending, twin: bool) -> None:
    assert is_twin(first, again) == twin


def test_a_request_is_known_by_key_call_and_bytes() -> None:
    seen = Replays()
    ids = {seen.request_id(*of) for of in (("a", "x", b"1"), ("b", "x", b"1"), ("a", "y", b"1"), ("a", "x", b"2"))}
    assert len(ids) == 4 and {len(each) for each in ids} == {16}
    assert seen.request_id("a", "x", b"1") in ids
    # Another gateway makes others: two equal requests, one to each, are two.
    assert Replays().request_id("a", "x", b"1") not in ids


def test_what_was_not_answered_for_sure_may_be_sent_again_from_there_with_its_command_id() -> None:
    seen, request, until = Replays(), b"r" * 16, NOW_US + 60_000_000
    assert seen.take(request, until, over_http()) == request
    assert seen.take(request, until, over_http()) == b""
    assert seen.take(request, until, over_http(after_s=9)) is None
    seen.reopen(request, until)
    assert seen.take(request, until, over_http(ELSEWHERE)) is None
    assert seen.take(request, until, over_http(after_s=9)) == request
    assert seen.take(request, until, over_http(after_s=20)) is None


def test_what_is_good_no_more_is_forgotten_and_so_is_the_oldest_of_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "REMEMBERED_MOST", 10)
    seen = Replays()
    for number in range(30):
        assert seen.take(bytes([number]) * 16, NOW_US + number * 1_000_000, over_http()) is not None
        assert len(seen) <= 11
    assert seen.take(bytes([29]) * 16, NOW_US + 29_000_000, over_http(ELSEWHERE)) is None
    assert seen.take(bytes([31]) * 16, NOW_US + 99_000_000, over_http(after_s=60)) is not None
    assert len(seen) == 1


@pytest.fixture
async def holder(venue: Venue) -> AsyncIterator[Trader]:
    async with httpx.AsyncClient(base_url=venue.gateway.url, timeout=20) as http:
        trader = await venue.trader(http, FUNDS)
        yield trader
        await trader.call("DELETE", "/api/v3/openOrders", **PAIR)


def request(trader: Trader, method: str, path: str, /, **parameters: object) -> httpx.Request:
    """Good for a minute: however slow the machine is, it is refused because it came before."""
    query = signed(trader.key, {"recvWindow": 60_000, **parameters})
    headers = {"X-MBX-APIKEY": trader.key.api_key}
    return httpx.Request(method, f"{trader.http.base_url}/api/v3/{path}?{query}", headers=headers)


async def sent(made: httpx.Request, *, of: str | None = None) -> httpx.Response:
    """Over a connection of its own."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=of), timeout=20) as http:
        return await http.send(made)


async def replayed(trader: Trader, made: httpx.Request, code: int) -> None:
    """From elsewhere, as it was and with its parameters in the body."""
    headers = {"X-MBX-APIKEY": trader.key.api_key, "Content-Type": "application/x-www-form-urlencoded"}
    body = httpx.Request(made.method, made.url.copy_with(query=None), content=made.url.query, headers=headers)
    for again in (made, body):
        answer = await sent(again, of="127.0.0.2")
        assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
        assert answer.json()["detail"] == "this very request came before: sign another one"


@pytest.mark.server
async def test_over_rest_no_request_to_trade_is_carried_out_again_for_whoever_sends_it_on(holder: Trader) -> None:
    place = request(holder, "POST", "order", **ORDER)
    order = (await holder.http.send(place)).json()["orderId"]
    await replayed(holder, place, -2010)
    assert await holder.open_orders() == [order]
    replace = request(
        holder, "POST", "order/cancelReplace", **ORDER, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=order
    )
    replaced = (await holder.http.send(replace)).json()["newOrderResponse"]["orderId"]
    await replayed(holder, replace, -2010)
    assert await holder.open_orders() == [replaced]
    amend = request(holder, "PUT", "order/amend/keepPriority", **PAIR, orderId=replaced, newQty="0.05")
    assert (await holder.http.send(amend)).status_code == 200
    await replayed(holder, amend, -2038)
    cancel = request(holder, "DELETE", "order", **PAIR, orderId=replaced)
    assert (await holder.http.send(cancel)).status_code == 200
    await replayed(holder, cancel, -2011)
    await holder.place("BUY", "0.1", "100")
    cancel_all = request(holder, "DELETE", "openOrders", **PAIR)
    assert len((await holder.http.send(cancel_all)).json()) == 1
    after = (await holder.place("BUY", "0.1", "100")).json()["orderId"]
    await replayed(holder, cancel_all, -2011)
    assert await holder.open_orders() == [after]


@pytest.mark.server
async def test_questions_and_tests_of_orders_may_be_sent_again(holder: Trader) -> None:
    for made in (
        request(holder, "GET", "account"),
        request(holder, "GET", "openOrders", **PAIR),
        request(holder, "POST", "order/test", **ORDER),
    ):
        for answer in (await holder.http.send(made), await holder.http.send(made), await sent(made)):
            assert answer.status_code == 200, answer.text


@pytest.mark.server
async def test_equal_orders_are_so_many_orders(holder: Trader) -> None:
    """Signed anew one after the other, or at once in the same millisecond."""
    one = [(await holder.place("BUY", "0.01", "100")).status_code for _ in range(5)]
    made = request(holder, "POST", "order", **ORDER)
    many = await asyncio.gather(*(holder.http.send(made) for _ in range(30)))
    assert one + [answer.status_code for answer in many] == [200] * 35
    assert len(await holder.open_orders()) == 35


def frame(by: Signer, number: int, /, **parameters: object) -> dict[str, Any]:
    return {"id": number, "method": "order.place", "params": by.query({**ORDER, **parameters})}


@pytest.mark.server
async def test_over_websocket_a_frame_is_carried_out_once_and_equal_ones_under_other_names_each(
    venue: Venue, holder: Trader
) -> None:
    by = of_secret(holder.key)
    made = frame(by, 1)
    async with connected(venue.gateway.address) as api, connected(venue.gateway.address) as other:
        statuses = [await answer_to(api, {**made, "id": number}) for number in (1, 2, 3)]
        assert statuses == [200] * 3
        assert await answer_to(api, {**made, "id": 3}) == -2010
        for again in (made, {**made, "id": 9}):
            assert await answer_to(other, again) == -2010
    # The bytes are good on the other way in, less the name of the key that is among them.
    unnamed = {name: value for name, value in made["params"].items() if name not in ("apiKey", "signature")}
    query = "&".join(f"{name}={unnamed[name]}" for name in sorted(unnamed))
    named = httpx.Request(
        "POST",
        f"{venue.gateway.url}/api/v3/order?{query}&signature={by.sign(query.encode())}",
        headers={"X-MBX-APIKEY": by.api_key},
    )
    assert (await sent(named)).status_code == 200
    assert (await sent(named, of="127.0.0.2")).json()["code"] == -2010
    assert len(await holder.open_orders()) == 4


async def answer_to(api: Api, made: Mapping[str, Any]) -> int:
    """Its status, or the code with which it was refused."""
    await api.socket.send(json.dumps(made))
    answer = await api.answer(made["id"])
    code: int = answer["error"]["code"] if "error" in answer else answer["status"]
    return code


@pytest.mark.server
async def test_what_a_session_signed_is_not_good_beside_it(venue: Venue, holder: Trader) -> None:
    """Within a session a request need not be signed; one that was, without the name of its key, is good over HTTP."""
    by = signer(venue.gateway.keys, holder.key.account, ed25519())
    await asyncio.sleep(0.6)
    sent_in = {**ORDER, "timestamp": time.time_ns() // 1_000_000}
    query = "&".join(f"{name}={sent_in[name]}" for name in sorted(sent_in))
    signature = by.sign(query.encode())
    async with connected(venue.gateway.address) as api:
        await api.result(by, "session.logon")
        assert (await api.ask("order.place", **sent_in, signature=signature))["status"] == 200
        # Without a signature nothing tells them from each other, and nothing is there to be sent on.
        for _ in range(2):
            assert (await api.ask("order.place", **sent_in))["status"] == 200
    async with httpx.AsyncClient(base_url=venue.gateway.url) as http:
        answer = await http.post(
            "/api/v3/order",
            params=f"{query}&{httpx.QueryParams({'signature': signature})}",
            headers={"X-MBX-APIKEY": by.api_key},
        )
    assert (answer.status_code, answer.json()["code"]) == (400, -2010), answer.text
    assert len(await holder.open_orders()) == 3


@pytest.mark.server
async def test_an_order_whose_outcome_was_not_known_is_sent_again_and_is_one(
    venue: Venue, tmp_path: Path, tls_material: Mapping[Component, Path]
) -> None:
    """The engine stands still for longer than a gateway waits: -1007, the same bytes again, and the first answer."""
    key = venue.key()
    await credit(venue.engine, key.account, FUNDS)
    with running_gateway(
        tmp_path / "gateway", tls_material[Component.GATEWAY], venue.engine.address, accounts=0, keys_of=venue.gateway
    ) as (gateway, _):
        gateway.wait_until_ready()
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            trader = Trader(http, key)
            made = request(trader, "POST", "order", **ORDER, recvWindow=60_000)
            assert venue.engine.process is not None
            venue.engine.process.send_signal(signal.SIGSTOP)
            try:
                unknown = await http.send(made)
            finally:
                venue.engine.process.send_signal(signal.SIGCONT)
            assert (unknown.status_code, unknown.json()["code"]) == (504, -1007)
            first = await http.send(made)
            assert first.status_code == 200, first.text
            assert await trader.open_orders() == [first.json()["orderId"]]
            assert (await sent(made, of="127.0.0.2")).json()["code"] == -2010
            await trader.call("DELETE", "/api/v3/openOrders", **PAIR)
