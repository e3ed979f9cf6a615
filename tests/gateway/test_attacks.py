"""Attacks on the keys of traders, on every way in: who is let in, and what everybody else is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from fixtures.gateways import FUNDS, Venue, credit
from fixtures.websocket_apis import Api, PrivateKey, Signer, connected, ed25519, of_secret, rsa_key, signer
from openbourse.gateway.keys import Key, KeyFileInvalid, create_key, revoke_key

pytestmark = pytest.mark.server

PAIR = {"symbol": "BTCUSDT"}
ORDER = {**PAIR, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100"}
READ_AGAIN_S = 0.6
Sent = dict[str, object]


@dataclass
class Holders:
    """Of one account: a key of each kind, one that may only look, and one that is revoked."""

    hmac: Signer
    ed25519: Signer
    rsa: Signer
    looking: Signer
    trading: Signer
    revoked: Signer


@pytest.fixture(scope="module")
def private_keys() -> dict[str, PrivateKey]:
    return {"ed25519": ed25519(), "rsa": rsa_key()}


@pytest.fixture
async def holders(venue: Venue, private_keys: dict[str, PrivateKey]) -> AsyncIterator[Holders]:
    """What they leave in the book is cancelled."""
    key = venue.key()
    file, account = venue.gateway.keys, key.account
    await credit(venue.engine, account, FUNDS)
    gone = create_key(file, account=account)
    revoke_key(file, gone.api_key)
    made = Holders(
        of_secret(key),
        signer(file, account, private_keys["ed25519"]),
        signer(file, account, private_keys["rsa"]),
        signer(file, account, private_keys["ed25519"], ("USER_DATA", "USER_STREAM")),
        signer(file, account, private_keys["ed25519"], ("TRADE",)),
        of_secret(gone),
    )
    await asyncio.sleep(READ_AGAIN_S)
    yield made
    await over_rest(venue, made.hmac, "DELETE", "openOrders", PAIR)


@pytest.fixture
async def api(venue: Venue) -> AsyncIterator[Api]:
    async with connected(venue.gateway.address) as opened:
        yield opened


async def over_rest(venue: Venue, by: Signer, method: str, path: str, parameters: Mapping[str, object]) -> Any:
    query = urlencode({**parameters, "timestamp": time.time_ns() // 1_000_000})
    signature = urlencode({"signature": by.sign(query.encode())})
    async with httpx.AsyncClient(base_url=venue.gateway.url) as http:
        return await http.request(method, f"/api/v3/{path}?{query}&{signature}", headers={"X-MBX-APIKEY": by.api_key})


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "rsa"])
async def test_each_kind_of_key_is_let_in_on_each_way(venue: Venue, api: Api, holders: Holders, kind: str) -> None:
    by: Signer = getattr(holders, kind)
    placed = await over_rest(venue, by, "POST", "order", ORDER)
    assert placed.status_code == 200, placed.text
    assert (await api.result(by, "order.place", **ORDER))["status"] == "NEW"
    assert "subscriptionId" in await api.result(by, "userDataStream.subscribe.signature")
    assert len(await api.result(by, "openOrders.cancelAll", **PAIR)) == 2


@pytest.mark.parametrize(
    ("kind", "signature"),
    [
        ("hmac", "00" * 32),
        ("hmac", ""),
        ("hmac", "é"),
        ("ed25519", "00" * 32),
        ("ed25519", "A" * 86 + "=="),
        ("ed25519", "not base64!"),
        ("rsa", "A" * 342 + "=="),
        ("rsa", "A"),
    ],
)
async def test_a_wrong_signature_is_refused_on_each_way(
    venue: Venue, api: Api, holders: Holders, kind: str, signature: str
) -> None:
    by: Signer = getattr(holders, kind)
    wrong = Signer(by.api_key, by.account, lambda _: signature)
    expected = (400, -1022) if signature else (400, -1102)
    answer = await over_rest(venue, wrong, "GET", "openOrders", PAIR)
    assert (answer.status_code, answer.json()["code"]) == expected
    over_socket = await api.signed(wrong, "openOrders.status", **PAIR)
    assert (over_socket["status"], over_socket["error"]["code"]) == expected


def changed(**change: object) -> Callable[[Sent], Sent]:
    return lambda sent: {**sent, **change}


def without(name: str) -> Callable[[Sent], Sent]:
    return lambda sent: {key: of for key, of in sent.items() if key != name}


def swapped(sent: Sent) -> Sent:
    return {**sent, "signature": str(sent["signature"]).swapcase()}


ATTACKS: dict[str, tuple[str, dict[str, object], Callable[[Sent], Sent], int]] = {
    "another price than was signed": ("hmac", {}, changed(price="99"), -1022),
    "another account's key": ("hmac", {}, changed(apiKey="0" * 64), -2015),
    "no key at all": ("hmac", {}, without("apiKey"), -1102),
    "what is no key": ("hmac", {}, changed(apiKey="' OR 1=1"), -2014),
    "a parameter that was not signed": ("ed25519", {}, changed(newClientOrderId="mine"), -1022),
    "a parameter less than was signed": ("ed25519", {"newOrderRespType": "ACK"}, without("newOrderRespType"), -1022),
    "a number for the text that was signed, written otherwise": ("rsa", {}, changed(price=100.0), -1022),
    "no signature": ("rsa", {}, without("signature"), -1102),
    "no time": ("hmac", {}, without("timestamp"), -1102),
    "a time long ago": ("hmac", {"timestamp": 1_600_000_000_000}, changed(), -1021),
    "a time to come": ("ed25519", {"timestamp": 4_000_000_000_000}, changed(), -1021),
    "a time outside of its own window": ("rsa", {"timestamp": 1_600_000_000_000, "recvWindow": 1}, changed(), -1021),
    "a window that is too wide": ("hmac", {"recvWindow": 60_001}, changed(), -1102),
    "a key that was revoked": ("revoked", {}, changed(), -2015),
    "a key that may only look": ("looking", {}, changed(), -2015),
    "the signature in capitals, of a key whose case counts": ("ed25519", {}, swapped, -1022),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_places_nothing_and_is_told_what_is_wrong(api: Api, holders: Holders, attack: str) -> None:
    kind, signed, change, code = ATTACKS[attack]
    by: Signer = getattr(holders, kind)
    answer = await api.ask("order.place", **change(by.query({**ORDER, **signed})))
    assert (answer["status"], answer["error"]["code"]) == (401 if code in (-2014, -2015) else 400, code)
    assert await api.result(holders.hmac, "openOrders.status", **PAIR) == []


async def test_a_key_may_do_what_it_is_permitted_and_nothing_else(venue: Venue, api: Api, holders: Holders) -> None:
    may = {
        "order.place": (ORDER, holders.trading, holders.looking),
        "openOrders.status": (PAIR, holders.looking, holders.trading),
        "userDataStream.subscribe.signature": ({}, holders.looking, holders.trading),
    }
    for method, (parameters, permitted, refused) in may.items():
        answer = await api.signed(refused, method, **parameters)
        assert (answer["status"], answer["error"]["code"]) == (401, -2015)
        assert (await api.signed(permitted, method, **parameters))["status"] == 200
    over = await over_rest(venue, holders.trading, "GET", "openOrders", PAIR)
    assert (over.status_code, over.json()["code"]) == (401, -2015)
    headers = {"X-MBX-APIKEY": holders.trading.api_key}
    async with httpx.AsyncClient(base_url=venue.gateway.url) as http:
        listening = await http.post("/api/v3/userDataStream", headers=headers)
    assert (listening.status_code, listening.json()["code"]) == (401, -2015)


@pytest.mark.parametrize(("kind", "says"), [("hmac", "HMAC_SHA256"), ("rsa", "RSA")])
async def test_a_session_is_not_logged_on_with_another_kind_of_key(
    api: Api, holders: Holders, kind: str, says: str
) -> None:
    answer = await api.signed(getattr(holders, kind), "session.logon")
    assert (answer["error"]["code"], answer["error"]["msg"]) == (-4056, f"{says} API key is not supported.")
    assert (await api.ask("session.status"))["result"]["apiKey"] is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (changed(signature="A" * 86 + "=="), -1022),
        (without("signature"), -1102),
        (without("timestamp"), -1102),
        (without("apiKey"), -1102),
        (changed(timestamp=1), -1022),
    ],
)
async def test_a_logon_that_is_not_proven_changes_nothing(
    api: Api, holders: Holders, change: Callable[[Sent], Sent], code: int
) -> None:
    await api.result(holders.looking, "session.logon")
    answer = await api.ask("session.logon", **change(holders.ed25519.query({})))
    assert (answer["status"], answer["error"]["code"]) == (400, code)
    assert (await api.ask("session.status"))["result"]["apiKey"] == holders.looking.api_key
    # And it still may only look.
    refused = await api.logged_on(holders.looking, "order.place", **ORDER)
    assert (refused["status"], refused["error"]["code"]) == (401, -2015)


async def test_within_a_session_a_wrong_signature_or_an_old_time_is_refused_all_the_same(
    api: Api, holders: Holders
) -> None:
    await api.result(holders.ed25519, "session.logon")
    for more, code in (({"signature": "A" * 86 + "=="}, -1022), ({"recvWindow": 0}, -1021)):
        answer = await api.ask("order.place", **ORDER, timestamp=time.time_ns() // 1_000_000 - 50, **more)
        assert (answer["status"], answer["error"]["code"]) == (400, code)
    assert (await api.logged_on(holders.ed25519, "openOrders.status", **PAIR))["result"] == []


async def test_a_session_ends_with_its_key(venue: Venue, api: Api, holders: Holders) -> None:
    await api.result(holders.ed25519, "session.logon")
    revoke_key(venue.gateway.keys, holders.ed25519.api_key)
    await asyncio.sleep(READ_AGAIN_S)
    refused = await api.logged_on(holders.ed25519, "openOrders.status", **PAIR)
    assert (refused["status"], refused["error"]["code"]) == (401, -2015)
    assert (await api.ask("session.status"))["result"]["apiKey"] is None


async def test_a_session_is_its_connections_alone(venue: Venue, api: Api, holders: Holders) -> None:
    await api.result(holders.ed25519, "session.logon")
    async with connected(venue.gateway.address) as other:
        answer = await other.logged_on(holders.ed25519, "openOrders.status", **PAIR)
        assert (answer["status"], answer["error"]["code"]) == (400, -1102)


async def test_an_order_that_is_sent_again_as_it_was_is_placed_once(venue: Venue, api: Api, holders: Holders) -> None:
    """As with Binance a signed request is good for its window: what makes it one order is its client order id."""
    sent = holders.hmac.query({**ORDER, "newClientOrderId": "once"})
    first = await api.ask("order.place", **sent)
    async with connected(venue.gateway.address) as other:
        again = await other.ask("order.place", **sent)
    assert (first["status"], again["status"], again["error"]["code"]) == (200, 400, -2010)
    assert len(await api.result(holders.hmac, "openOrders.status", **PAIR)) == 1


async def test_nothing_of_a_key_or_a_request_is_in_the_log(venue: Venue, api: Api, holders: Holders) -> None:
    sent = holders.hmac.query({**ORDER, "newClientOrderId": "a-name-of-mine"})
    await api.ask("order.place", **sent)
    await api.ask("order.place", **{**sent, "signature": "0" * 64})
    log = venue.gateway.log.read_text()
    assert " WS order.place 200 " in log
    for secret in (holders.hmac.api_key, str(sent["signature"]), "a-name-of-mine"):
        assert secret not in log


def test_a_key_that_is_too_weak_is_not_taken(venue: Venue) -> None:
    with pytest.raises(KeyFileInvalid, match="Ed25519, or RSA of 2048 to 4096 bits"):
        signer(venue.gateway.keys, 1001, rsa_key(1024))
    with pytest.raises(KeyFileInvalid, match="not a public key in PEM"):
        create_key(venue.gateway.keys, account=1001, public_key="-----BEGIN PUBLIC KEY-----")


def test_a_key_has_one_way_to_sign() -> None:
    with pytest.raises(ValueError, match="a secret or a public_key"):
        Key(api_key="0" * 64, account=1001, created="")
