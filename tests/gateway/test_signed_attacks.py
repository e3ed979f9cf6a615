"""A signed request over HTTP is what its holder signed, or it is refused: a table of ways around it, and one byte
changed anywhere. What is attacked is an order; at the end none is in the book.
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.figures import Tally
from fixtures.gateways import FUNDS, Trader, Venue, credit
from fixtures.raw_wire import exchanged, request
from fixtures.websocket_apis import ed25519, signer
from openbourse.gateway.keys import Key, create_key, revoke_key

pytestmark = pytest.mark.server

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100"}
FORM = "application/x-www-form-urlencoded"
READ_AGAIN_S = 0.6


@dataclass(frozen=True)
class Sent:
    """One request as it goes out."""

    api_key: str
    query: str
    body: str = ""
    content_type: str = FORM
    method: str = "POST"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def sign(key: Key, signed: str) -> str:
    return hmac.digest(key.secret.encode(), signed.encode(), "sha256").hex()


def order(key: Key, **change: object) -> str:
    return urlencode({**ORDER, "timestamp": now_ms(), **change})


def in_query(key: Key, **change: object) -> Sent:
    query = order(key, **change)
    return Sent(key.api_key, f"{query}&signature={sign(key, query)}")


def over(key: Key, query: str, body: str, signed: str) -> Sent:
    """`signed` is what the signature in the query is of."""
    return Sent(key.api_key, f"{query}&signature={sign(key, signed)}", body)


def all_signed(key: Key, query: str) -> Sent:
    return over(key, query, "", query)


def in_body(key: Key, body: str, content_type: str) -> Sent:
    return Sent(key.api_key, f"signature={sign(key, body)}", body, content_type)


def swapped(key: Key) -> Sent:
    first, _, rest = order(key).partition("&")
    return over(key, f"{rest}&{first}", "", f"{first}&{rest}")


def halves(key: Key) -> tuple[str, str]:
    """Of one order: for the query and for the body."""
    parts = order(key).split("&")
    return "&".join(parts[:4]), "&".join(parts[4:])


def body_first(key: Key) -> Sent:
    query, body = halves(key)
    return over(key, query, body, body + query)


def joined_with_ampersand(key: Key) -> Sent:
    query, body = halves(key)
    return over(key, query, body, f"{query}&{body}")


def cut_elsewhere(key: Key) -> Sent:
    """The same bytes, but the end of the quantity is the beginning of the body."""
    query = order(key, quantity="10")
    place = query.index("quantity=10") + len("quantity=1")
    return Sent(key.api_key, f"{query[:place]}&signature={sign(key, query)}", query[place:])


Attack = Callable[[Key], Sent]
ATTACKS: dict[str, tuple[Attack, int]] = {
    "a time long ago": (lambda key: in_query(key, timestamp=1_600_000_000_000), -1021),
    "a time just outside of the window": (lambda key: in_query(key, timestamp=now_ms() - 5_500), -1021),
    "a time to come": (lambda key: in_query(key, timestamp=now_ms() + 5_000), -1021),
    "a time to come, in microseconds": (lambda key: in_query(key, timestamp=(now_ms() + 5_000) * 1000), -1021),
    "a time below zero": (lambda key: in_query(key, timestamp=-1), -1100),
    "a time beyond 64 bits": (lambda key: in_query(key, timestamp=10**25), -1100),
    "a window that is too wide": (lambda key: in_query(key, timestamp=now_ms() - 70_000, recvWindow=100_000), -1102),
    "no time": (lambda key: all_signed(key, urlencode(ORDER)), -1102),
    "no signature": (lambda key: Sent(key.api_key, order(key)), -1102),
    "an empty signature": (lambda key: Sent(key.api_key, f"{order(key)}&signature="), -1102),
    "another key's secret": (
        lambda key: replace(in_query(replace_secret(key)), api_key=key.api_key),
        -1022,
    ),
    "the key in the query": (lambda key: replace(in_query(key, apiKey=key.api_key), api_key=""), -2014),
    "a key that nobody has": (lambda key: replace(in_query(key), api_key="a" * 64), -2015),
    "the parameters in another order": (swapped, -1022),
    "the body signed before the query": (body_first, -1022),
    "query and body signed with an ampersand between": (joined_with_ampersand, -1022),
    "the query signed without the body": (
        lambda key: over(key, halves(key)[0], halves(key)[1], halves(key)[0]),
        -1022,
    ),
    "query and body cut elsewhere": (cut_elsewhere, -1104),
    "a body that was not signed": (lambda key: replace(in_query(key), body="price=1"), -1022),
    "a query that was not signed": (
        lambda key: Sent(key.api_key, "price=1", in_query(key).query),
        -1022,
    ),
    "a parameter behind the signature": (
        lambda key: replace(in_query(key), query=in_query(key).query + "&recvWindow=9000"),
        -1022,
    ),
    "an ampersand more": (lambda key: replace(in_query(key), query=in_query(key).query + "&"), -1022),
    "a price twice, both signed": (
        lambda key: all_signed(key, order(key) + "&price=1"),
        -1101,
    ),
    "a price twice in the body, both signed": (
        lambda key: in_body(key, order(key) + "&price=1", FORM),
        -1101,
    ),
    "a signature twice": (
        lambda key: replace(in_query(key), query=f"{in_query(key).query}&signature={'0' * 64}"),
        -1101,
    ),
    "a signature under a name in other letters": (
        lambda key: replace(in_query(key), query=in_query(key).query.replace("signature", "Signature")),
        -1102,
    ),
    "a signature under a name with percent signs": (
        lambda key: replace(in_query(key), query=in_query(key).query.replace("signature", "%73ignature")),
        -1022,
    ),
    "a value with percent signs for one without": (
        lambda key: replace(in_query(key), query=in_query(key).query.replace("price=100", "price=%3100")),
        -1022,
    ),
    "percent signs that are none": (
        lambda key: all_signed(key, order(key) + "&newClientOrderId=%zz"),
        -1100,
    ),
    "bytes that are no UTF-8": (
        lambda key: all_signed(key, order(key) + "&newClientOrderId=%ff"),
        -1100,
    ),
    "a line's end within a value": (
        lambda key: all_signed(key, order(key) + "&newClientOrderId=a%0d%0ab"),
        -1100,
    ),
    "a form that is sent as JSON": (
        lambda key: in_body(key, order(key), "application/json"),
        -1135,
    ),
    "JSON with a price twice": (
        lambda key: in_body(key, '{"price":"100","price":"1"}', "application/json"),
        -1101,
    ),
    "a form by another name": (lambda key: replace(in_query(key), body="a=1", content_type="text/plain"), -1020),
    "a signature of another method's words": (lambda key: replace(in_query(key), method="DELETE"), -1104),
}


def replace_secret(key: Key) -> Key:
    return key.model_copy(update={"secret": "0" * 64})


@pytest.fixture(scope="module")
def key(venue: Venue) -> Key:
    key = venue.key()
    asyncio.run(credit(venue.engine, key.account, FUNDS))
    return key


@pytest.fixture
async def http(venue: Venue, key: Key) -> AsyncIterator[httpx.AsyncClient]:
    """Afterwards nothing is in the book."""
    async with httpx.AsyncClient(base_url=venue.gateway.url, timeout=20, trust_env=False) as http:
        yield http
        assert await Trader(http, key).open_orders() == []


async def sent_by(http: httpx.AsyncClient, sent: Sent) -> tuple[int, int]:
    """The status, and the code of the refusal."""
    headers = {"X-MBX-APIKEY": sent.api_key} if sent.api_key else {}
    if sent.body:
        headers["Content-Type"] = sent.content_type
    url = httpx.URL(f"{http.base_url}/api/v3/order").copy_with(query=sent.query.encode())
    answer = await http.request(sent.method, url, content=sent.body.encode(), headers=headers)
    return answer.status_code, answer.json().get("code", 0)


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_request_that_was_not_signed_like_this_is_refused(
    http: httpx.AsyncClient, key: Key, tally: Tally, name: str
) -> None:
    tally("attacks on signed requests refused")
    attack, code = ATTACKS[name]
    status = {-2014: 401, -2015: 401, -1020: 415}.get(code, 400)
    assert await sent_by(http, attack(key)) == (status, code)


async def test_a_key_that_may_not_or_is_gone_is_refused(
    venue: Venue, http: httpx.AsyncClient, key: Key, tally: Tally
) -> None:
    tally("attacks on signed requests refused")
    gone = create_key(venue.gateway.keys, account=key.account)
    looking = signer(venue.gateway.keys, key.account, ed25519(), ("USER_DATA",))
    await asyncio.sleep(READ_AGAIN_S)
    revoke_key(venue.gateway.keys, gone.api_key)
    await asyncio.sleep(READ_AGAIN_S)
    assert await sent_by(http, in_query(gone)) == (401, -2015)
    query = order(key)
    by_looking = Sent(looking.api_key, f"{query}&{urlencode({'signature': looking.sign(query.encode())})}")
    assert await sent_by(http, by_looking) == (401, -2015)


async def test_what_was_sent_once_is_of_no_use_after_its_window(
    http: httpx.AsyncClient, key: Key, tally: Tally
) -> None:
    tally("attacks on signed requests refused")
    sent = in_query(key, recvWindow=400, newClientOrderId="replayed")
    assert (await sent_by(http, sent))[0] == 200
    # Within its window it is known by its client order id.
    assert (await sent_by(http, sent))[1] in (-2010, -1021)
    await asyncio.sleep(0.5)
    assert await sent_by(http, sent) == (400, -1021)
    assert (await Trader(http, key).call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")).status_code == 200
    assert await sent_by(http, sent) == (400, -1021)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0x21, 0x7E), split=st.booleans())
def test_one_byte_changed_anywhere_is_never_accepted(
    venue: Venue, key: Key, place: float, byte: int, split: bool
) -> None:
    """Of what goes out: key, parameters and signature. In the case of a letter of an HMAC there is no difference."""
    query, body = halves(key) if split else (order(key), "")
    query = f"{query}&signature={sign(key, query + body)}" if query else ""
    whole = f"{key.api_key} {query} {body}"
    index = int(place * len(whole))
    # A hash would end the query before it is sent; it is no byte of one.
    if whole[index].lower() == chr(byte).lower() or whole[index] == " " or chr(byte) == "#":
        return
    changed = whole[:index] + chr(byte) + whole[index + 1 :]
    api_key, query, body = changed.split(" ", 2)
    heard = exchanged(
        venue.gateway.address,
        request(
            f"POST /api/v3/order?{query}",
            *(f"X-MBX-APIKEY: {api_key}", f"Content-Type: {FORM}", f"Content-Length: {len(body)}", "Connection: close"),
            body=body.encode(),
        ),
    )
    assert len(heard.statuses) == 1, heard.data
    assert 400 <= heard.statuses[0] < 500, heard.data
    assert heard.codes[0] < 0, heard.data
