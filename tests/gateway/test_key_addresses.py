"""A key with addresses is good from these alone, on every way in; behind a proxy the client's address counts."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import websockets

from fixtures.gateways import FUNDS, GatewayProcess, Venue, credit, running_gateway, signed
from fixtures.websocket_apis import Api, of_secret
from openbourse.contracts.component import Component
from openbourse.gateway.keys import Key, create_key, read_keys, restrict_key

pytestmark = pytest.mark.server

# All of 127.0.0.0/8 is this machine: a client says which of it is its own.
LISTED, ELSEWHERE, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
REFUSED = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100"}
HEARD_S = 10.0


@pytest.fixture(scope="module")
def gateway(
    venue: Venue, tmp_path_factory: pytest.TempPathFactory, tls_material: Mapping[Component, Path]
) -> Iterator[GatewayProcess]:
    """Behind a load balancer, with keys of accounts of its own: one from everywhere, one from LISTED alone."""
    own = venue.key()
    folder = tmp_path_factory.mktemp("listed")
    create_key(folder / "keys.json", account=own.account)
    create_key(folder / "keys.json", account=own.account, addresses=(LISTED, "2001:db8::/32"))
    with running_gateway(
        folder,
        tls_material[Component.GATEWAY],
        venue.engine.address,
        *("--marketdata", venue.marketdata.url, "--trusted-proxy", f"{PROXY}/32"),
        accounts=0,
    ) as (started, _):
        started.wait_until_ready()
        asyncio.run(credit(venue.engine, own.account, FUNDS))
        yield started


@pytest.fixture
def key(gateway: GatewayProcess) -> Key:
    return read_keys(gateway.keys)[1]


async def over_rest(
    gateway: GatewayProcess, key: Key, of: str, method: str, path: str, forwarded: str = ""
) -> httpx.Response:
    headers = {"X-MBX-APIKEY": key.api_key, **({"X-Forwarded-For": forwarded} if forwarded else {})}
    query = signed(key, ORDER if method == "POST" and path == "order" else {"symbol": "BTCUSDT"})
    transport = httpx.AsyncHTTPTransport(local_address=of)
    async with httpx.AsyncClient(base_url=gateway.url, transport=transport, timeout=20) as http:
        listens = path == "userDataStream"
        return await http.request(method, f"/api/v3/{path}{'' if listens else f'?{query}'}", headers=headers)


async def websocket(gateway: GatewayProcess, path: str, of: str, forwarded: str = "") -> websockets.ClientConnection:
    return await websockets.connect(
        f"ws://{gateway.address}{path}",
        proxy=None,
        local_addr=(of, 0),
        additional_headers={"X-Forwarded-For": forwarded} if forwarded else {},
    )


@pytest.fixture
async def listening(gateway: GatewayProcess, key: Key) -> AsyncIterator[str]:
    """A listen key that was asked for where the key is good."""
    answer = await over_rest(gateway, key, LISTED, "POST", "userDataStream")
    assert answer.status_code == 200, answer.text
    yield answer.json()["listenKey"]


WAYS = [("POST", "order"), ("GET", "openOrders"), ("DELETE", "openOrders"), ("POST", "userDataStream")]


@pytest.mark.parametrize(("method", "path"), WAYS)
async def test_from_elsewhere_the_key_is_refused_on_rest(
    gateway: GatewayProcess, key: Key, method: str, path: str
) -> None:
    for of, forwarded in (
        (ELSEWHERE, ""),
        # Whoever is no proxy may say what he likes.
        (ELSEWHERE, LISTED),
        (PROXY, ""),
        (PROXY, ELSEWHERE),
        (PROXY, f"{LISTED}, {ELSEWHERE}"),
        (PROXY, f"{LISTED}, unknown"),
        (PROXY, f"{LISTED}:80"),
    ):
        answer = await over_rest(gateway, key, of, method, path, forwarded)
        assert (answer.status_code, answer.json()) == (401, REFUSED), (of, forwarded)


async def test_from_its_addresses_it_is_good(gateway: GatewayProcess, key: Key) -> None:
    for of, forwarded in ((LISTED, ""), (LISTED, ELSEWHERE), (PROXY, f"{ELSEWHERE}, {LISTED}"), (PROXY, "2001:db8::9")):
        for method, path in WAYS:
            answer = await over_rest(gateway, key, of, method, path, forwarded)
            assert answer.status_code == 200, (of, forwarded, answer.text)


async def test_from_elsewhere_each_request_of_a_connection_is_refused(gateway: GatewayProcess, key: Key) -> None:
    by = of_secret(key)
    for of, forwarded in ((ELSEWHERE, LISTED), (PROXY, f"{LISTED}, {ELSEWHERE}")):
        async with await websocket(gateway, "/ws-api/v3", of, forwarded) as socket:
            api = Api(socket)
            for method, more in (("order.place", ORDER), ("account.status", {}), ("session.logon", {})):
                answer = await api.signed(by, method, **more)
                assert (answer["status"], answer["error"]) == (401, REFUSED)
            answer = await api.signed(by, "userDataStream.subscribe.signature")
            assert (answer["status"], answer["error"]) == (401, REFUSED)
    async with await websocket(gateway, "/ws-api/v3", PROXY, LISTED) as socket:
        assert (await Api(socket).result(by, "order.place", **ORDER))["status"] == "NEW"


async def test_a_listen_key_is_heard_from_the_keys_addresses_alone(
    gateway: GatewayProcess, key: Key, listening: str
) -> None:
    async with (
        await websocket(gateway, f"/ws/{listening}", LISTED) as good,
        await websocket(gateway, f"/ws/{listening}", ELSEWHERE, LISTED) as refused,
        await websocket(gateway, "/ws", ELSEWHERE) as subscribed,
    ):
        await subscribed.send(json.dumps({"id": 1, "method": "SUBSCRIBE", "params": [listening]}))
        assert json.loads(await subscribed.recv())["result"] is None
        assert (await over_rest(gateway, key, LISTED, "POST", "order")).status_code == 200
        async with asyncio.timeout(HEARD_S):
            assert json.loads(await good.recv())["e"] in ("executionReport", "outboundAccountPosition")
        for socket in (refused, subscribed):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await socket.recv()


async def test_who_is_taken_off_the_list_is_let_go_and_a_key_that_ends_too(gateway: GatewayProcess) -> None:
    """Whoever hears an account hears nothing more, and a session is refused."""
    account = read_keys(gateway.keys)[0].account
    made = create_key(gateway.keys, account=account, addresses=(LISTED, ELSEWHERE))
    await asyncio.sleep(0.6)
    answer = await over_rest(gateway, made, LISTED, "POST", "userDataStream")
    async with (
        await websocket(gateway, "/ws-api/v3", LISTED) as socket,
        await websocket(gateway, f"/ws/{answer.json()['listenKey']}", LISTED) as stream,
        await websocket(gateway, f"/ws/{answer.json()['listenKey']}", ELSEWHERE) as other,
    ):
        api = Api(socket)
        await api.result(of_secret(made), "userDataStream.subscribe.signature")
        restrict_key(gateway.keys, made.api_key, addresses=(LISTED,))
        await hears_no_more(other)
        await socket.ping()
        restrict_key(gateway.keys, made.api_key, addresses=(ELSEWHERE,))
        for heard in (socket, stream):
            await hears_no_more(heard)
    assert (await over_rest(gateway, made, LISTED, "GET", "openOrders")).json() == REFUSED
    assert (await over_rest(gateway, made, ELSEWHERE, "GET", "openOrders")).status_code == 200
    restrict_key(gateway.keys, made.api_key, expires="2026-01-01")
    await asyncio.sleep(0.6)
    assert (await over_rest(gateway, made, ELSEWHERE, "GET", "openOrders")).json() == REFUSED


async def hears_no_more(socket: websockets.ClientConnection) -> None:
    with pytest.raises(websockets.ConnectionClosedError):
        async with asyncio.timeout(HEARD_S):
            while True:
                await socket.recv()
