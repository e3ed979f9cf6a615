"""Attacks with bytes that no client sends, on HTTP and WebSocket: each is refused, none of them does anything.

What is smuggled is always an order with a right signature: at the end none of them may be in the book.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from fixtures import raw_wire
from fixtures.figures import Tally
from fixtures.gateways import FUNDS, GatewayProcess, Venue, credit, running_gateway, signed
from fixtures.raw_wire import UPGRADE, Heard, exchanged, frame, on_websocket, request
from openbourse.contracts.component import Component
from openbourse.gateway.keys import Key

pytestmark = pytest.mark.server

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100"}
TIME = "GET /api/v3/time"
# Of the gateway that is attacked with slowness and floods.
CONNECTIONS_MOST, REQUEST_S = 20, 1.0


@pytest.fixture(scope="module")
def key(venue: Venue) -> Iterator[Key]:
    key = venue.key()
    asyncio.run(credit(venue.engine, key.account, FUNDS))
    yield key


@pytest.fixture(scope="module")
def guarded(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Another gateway of the venue, whose bounds a test can reach."""
    with running_gateway(
        tmp_path_factory.mktemp("guarded"),
        venue.engine.tls_material[Component.GATEWAY],
        venue.engine.address,
        *("--connections-per-address", str(CONNECTIONS_MOST), "--request-seconds", str(REQUEST_S)),
        accounts=0,
        keys_of=venue.gateway,
    ) as (gateway, _):
        gateway.wait_until_ready()
        yield gateway


def order(key: Key, *headers: str, line: str = "POST /api/v3/order", close: bool = True) -> bytes:
    """One that would be placed."""
    query = signed(key, ORDER)
    ends = ("Connection: close",) if close else ()
    return request(f"{line}?{query}", f"X-MBX-APIKEY: {key.api_key}", *ends, *headers)


def open_orders(venue: Venue, key: Key) -> list[object]:
    line = f"GET /api/v3/openOrders?{signed(key, {'symbol': 'BTCUSDT'})}"
    heard = exchanged(venue.gateway.address, request(line, f"X-MBX-APIKEY: {key.api_key}", "Connection: close"))
    found = raw_wire.document(heard)
    assert isinstance(found, list), found
    return found


@pytest.fixture
async def nothing_placed(venue: Venue, key: Key) -> AsyncIterator[None]:
    yield
    assert open_orders(venue, key) == []
    log = venue.gateway.log.read_text()
    assert "Traceback" not in log


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def smuggled(key: Key, *framing: str, before: bytes = b"") -> bytes:
    """An order behind a request that ends earlier or later, by who reads which header."""
    return request(TIME.replace("GET", "POST"), *framing, body=before + order(key))


def http_attacks(key: Key) -> dict[str, tuple[bytes, set[int]]]:
    """What is sent, and the answers that are a refusal. Whatever follows the refusal is not answered."""
    length = len(order(key))
    return {
        "length and chunks": (
            smuggled(key, "Content-Length: 5", "Transfer-Encoding: chunked", before=chunked()),
            {400},
        ),
        "chunks and length": (
            smuggled(key, "Transfer-Encoding: chunked", f"Content-Length: {length}", before=chunked()),
            {400},
        ),
        "two lengths that differ": (smuggled(key, "Content-Length: 0", f"Content-Length: {length}"), {400}),
        "one length twice": (smuggled(key, "Content-Length: 0", "Content-Length: 0"), {400}),
        "a list of lengths": (smuggled(key, "Content-Length: 0, 0"), {400}),
        "a length with a sign": (smuggled(key, "Content-Length: +0"), {400}),
        "a length below zero": (smuggled(key, "Content-Length: -1"), {400}),
        "a length in hexadecimal": (smuggled(key, "Content-Length: 0x0"), {400}),
        "a length beyond 64 bits": (smuggled(key, f"Content-Length: {2**64}"), {400}),
        "a space before the colon": (smuggled(key, "Content-Length : 0"), {400}),
        "a header that goes on in the next line": (order(key, "X-Other: a\r\n b"), {400}),
        "a key that goes on in the next line": (order(key, f"X-Other: a\r\n X-MBX-APIKEY: {key.api_key}"), {400}),
        "a header that begins with a space": (order(key, " X-Other: a"), {400}),
        "chunks, but not last": (smuggled(key, "Transfer-Encoding: chunked, identity", before=chunked()), {400}),
        "chunks by another name": (smuggled(key, "Transfer-Encoding: xchunked", before=chunked()), {400}),
        "chunks twice": (smuggled(key, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), {400}),
        "a chunk's size that is none": (smuggled(key, "Transfer-Encoding: chunked", before=b"zz\r\n"), {400}),
        "a chunk of more than 64 bits": (
            smuggled(key, "Transfer-Encoding: chunked", before=b"f" * 17 + b"\r\n"),
            {400},
        ),
        "a chunk longer than it says": (
            smuggled(key, "Transfer-Encoding: chunked", before=b"1\r\nabc\r\n0\r\n\r\n"),
            {400},
        ),
        "a header with a zero byte": (order(key, "X-Other: a\x00b"), {400}),
        "a header with a carriage return alone": (order(key, "X-Other: a\rX-MBX-APIKEY: b"), {400}),
        "a name with a space": (order(key, "X Other: a"), {400}),
        "a header without a name": (order(key, ": a"), {400}),
        "lines that end in a line feed alone": (order(key).replace(b"\r\n", b"\n"), {400}),
        "HTTP 0.9": (b"GET /api/v3/time\r\n\r\n" + order(key), {400}),
        "HTTP 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + order(key), {400}),
        "a version that does not exist": (request(TIME).replace(b"HTTP/1.1", b"HTTP/1.9") + order(key), {400}),
        "TLS": (bytes.fromhex("160301020001000100") + order(key), {400}),
        "a method in small letters": (order(key, line="post /api/v3/order"), {400}),
        "a method that does not exist": (order(key, line="BREW /api/v3/order"), {400}),
        "a method that the path does not have": (order(key, line="TRACE /api/v3/order"), {405}),
        "a tunnel": (request("CONNECT x:443") + order(key), {400, 404, 405}),
        "a path with a zero byte": (order(key, line="POST /api/v3/order%00"), {404}),
        "a path with dots": (order(key, line="POST /api/v3/../v3/order"), {404}),
        "a path with two slashes": (order(key, line="POST /api//v3/order"), {404}),
        "a path in other letters": (order(key, line="POST /API/v3/order"), {404}),
        "a key and another key": (order(key, f"X-MBX-APIKEY: {'0' * 64}"), {400}),
        "the same key twice": (order(key, f"X-MBX-APIKEY: {key.api_key}"), {400}),
        "a head that is too large": (request(TIME, "X-Other: " + "a" * 2**20), {431}),
        "headers that do not end": (request(TIME, *(f"X-{number}: a" for number in range(50_000))), {431}),
        "a query that is too large": (request(f"{TIME}?a={'b' * 20_000}", "Connection: close"), {413}),
        "a body that says it is too large": (
            request("POST /api/v3/order", "Content-Length: 20000", body=b"a" * 20_000),
            {413},
        ),
        "a body that grows too large": (
            request("POST /api/v3/order", "Transfer-Encoding: chunked", body=chunked(*[b"a" * 1000] * 20)),
            {413},
        ),
        "a body that is packed": (
            request(
                "POST /api/v3/order", "Content-Encoding: gzip", "Content-Length: 3", "Connection: close", body=b"abc"
            ),
            {400, 401},
        ),
        "more parameters than there are": (
            request(f"{TIME}?{'&'.join(f'a{number}=1' for number in range(100))}", "Connection: close"),
            {400},
        ),
    }


HTTP_NAMES = sorted(http_attacks(Key(api_key="0" * 64, account=1001, secret="0" * 64, created="")))


@pytest.mark.parametrize("name", HTTP_NAMES)
@pytest.mark.usefixtures("nothing_placed")
def test_a_request_that_is_none_is_refused(venue: Venue, key: Key, tally: Tally, name: str) -> None:
    tally("attacks with bytes on HTTP refused")
    data, refusals = http_attacks(key)[name]
    heard = exchanged(venue.gateway.address, data)
    # One answer, a refusal in the words of the wire, and the end of the connection.
    assert len(heard.statuses) == 1, heard.data
    assert heard.statuses[0] in refusals, heard.data
    assert heard.closed, heard.data
    assert raw_wire.document(heard)["code"] < 0


def test_what_is_smuggled_would_be_an_order(venue: Venue, key: Key) -> None:
    heard = exchanged(venue.gateway.address, order(key, close=False) + order(key))
    cancel = f"DELETE /api/v3/openOrders?{signed(key, {'symbol': 'BTCUSDT'})}"
    canceled = exchanged(venue.gateway.address, request(cancel, f"X-MBX-APIKEY: {key.api_key}", "Connection: close"))
    assert heard.statuses == [200, 200]
    assert len(raw_wire.document(canceled)) == 2


TEXT, BINARY, CONTINUED, CLOSE, PING, FINAL = 0x1, 0x2, 0x0, 0x8, 0x9, 0x80
ASKING = json.dumps({"id": 1, "method": "time"}).encode()

ENDLESS, FLOOD = "a message in parts without end, each empty", "a flood of pings"

# What is sent, and the code of the end.
FRAMES: dict[str, tuple[bytes, set[int]]] = {
    "no mask": (frame(FINAL | TEXT, ASKING, masked=False), {1002}),
    "a reserved bit": (frame(FINAL | 0x40 | TEXT, ASKING), {1002}),
    "all reserved bits": (frame(FINAL | 0x70 | TEXT, ASKING), {1002}),
    "a kind that does not exist": (frame(FINAL | 0x3, ASKING), {1002}),
    "a control that does not exist": (frame(FINAL | 0xB), {1002}),
    "a ping in parts": (frame(PING, b"a"), {1002}),
    "a ping that is too large": (frame(FINAL | PING, b"a" * 126), {1002}),
    "a part of nothing": (frame(FINAL | CONTINUED, ASKING), {1002}),
    "a message within a message": (frame(TEXT, b"{") + frame(FINAL | TEXT, ASKING), {1002}),
    "an end with half a code": (frame(FINAL | CLOSE, b"\x03"), {1002}),
    "an end with a code that is none": (frame(FINAL | CLOSE, b"\x00\x01"), {1002}),
    "an end whose reason is no text": (frame(FINAL | CLOSE, b"\x03\xe8\xff"), {1007, 1002}),
    "text that is no UTF-8": (frame(FINAL | TEXT, b"\xff\xfe"), {1007}),
    "text that is no UTF-8, in parts": (frame(TEXT, b"\xf0\x9f") + frame(FINAL | CONTINUED, b"\xff"), {1007}),
    "a message that is too large": (frame(FINAL | TEXT, b"a" * 70_000), {1009}),
    "a message of more than it could ever be": (b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(4), {1009, 1002}),
    "a message that is too large in parts": (
        frame(TEXT, b"a" * 1000) + frame(CONTINUED, b"a" * 1000) * 100,
        {1009},
    ),
    ENDLESS: (frame(TEXT) + frame(CONTINUED) * 2_000, {1009}),
    FLOOD: (frame(FINAL | PING, b"a" * 100) * 5_000, {1008}),
}


@pytest.mark.parametrize("path", ["/ws-api/v3", "/ws/btcusdt@depth"])
@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.usefixtures("nothing_placed")
def test_a_frame_that_is_none_ends_the_connection(venue: Venue, tally: Tally, name: str, path: str) -> None:
    tally("attacks with frames on WebSocket refused")
    data, codes = FRAMES[name]
    asking = b"" if name == ENDLESS else frame(FINAL | TEXT, ASKING)
    heard = on_websocket(venue.gateway.address, path, data + asking, quiet_s=8.0)
    assert heard.closed, heard.data
    if name != FLOOD:
        # Its answers are cut short, the end among them.
        assert heard.close_code in codes, heard.data
        assert b"serverTime" not in heard.data


HANDSHAKES: dict[str, tuple[bytes, set[int]]] = {
    "another version": (request("GET /ws", *UPGRADE[:2], "Sec-WebSocket-Version: 8", UPGRADE[3]), {400, 426}),
    "no key": (request("GET /ws", *UPGRADE[:3]), {400}),
    "a key that is too short": (request("GET /ws", *UPGRADE[:3], "Sec-WebSocket-Key: YQ=="), {400}),
    "two keys": (request("GET /ws", *UPGRADE, UPGRADE[3]), {400}),
    "a method that is none for it": (request("POST /ws", *UPGRADE), {400, 405}),
    "a path that is none for it": (request("GET /api/v3/order", *UPGRADE), {403, 404}),
    "another protocol": (request(TIME, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"), {200}),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_that_is_none_is_not_granted(venue: Venue, tally: Tally, name: str) -> None:
    tally("attacks on the handshake of WebSocket refused")
    data, refusals = HANDSHAKES[name]
    heard = exchanged(venue.gateway.address, data)
    assert heard.statuses and set(heard.statuses) <= refusals, heard.data
    assert "Traceback" not in venue.gateway.log.read_text()


def test_who_sends_slowly_or_nothing_is_let_go(guarded: GatewayProcess, key: Key, tally: Tally) -> None:
    """Each a byte now and then, all at the same time; an honest client is answered meanwhile."""
    tally("slow attacks refused")
    whole = request("POST /api/v3/order", "Content-Length: 100", body=b"a" * 100)
    sent = {
        "nothing": b"",
        "empty lines": b"\r\n" * 1_000,
        "a head": request(TIME, "X-Other: " + "a" * 200),
        "a body": whole,
        "a body in chunks": request("POST /api/v3/order", "Transfer-Encoding: chunked", body=b"5\r\naaaaa\r\n" * 20),
        "a second head": request(TIME) + request(TIME, "X-Other: " + "a" * 200),
        "a handshake": request("GET /ws-api/v3", *UPGRADE),
    }
    at_once = {"a body": len(whole) - 100, "a body in chunks": 80, "a second head": len(request(TIME))}
    sockets = {name: raw_wire.opened(guarded.address) for name in sent}
    began, ended = time.monotonic(), dict[str, tuple[float, Heard]]()
    places = {name: at_once.get(name, 0) for name in sent}
    for name, raw in sockets.items():
        raw.sendall(sent[name][: places[name]])
    while len(ended) < len(sent) and time.monotonic() < began + 8 * REQUEST_S:
        time.sleep(0.1)
        for name in sent.keys() - ended.keys():
            place = places[name]
            raw_wire.send(sockets[name], sent[name][place : place + 1])
            places[name] += 1
            heard = raw_wire.read(sockets[name], 0.01)
            if heard.closed or 408 in heard.statuses:
                ended[name] = time.monotonic() - began, heard
        assert exchanged(guarded.address, request(TIME, "Connection: close")).statuses == [200]
    for raw in sockets.values():
        raw.close()
    assert ended.keys() == sent.keys()
    assert all(REQUEST_S * 0.8 < after_s < REQUEST_S * 5 for after_s, _ in ended.values()), ended
    assert all(heard.statuses[-1:] == [408] for _, heard in ended.values()), ended


def test_an_address_has_so_many_connections_and_no_more(guarded: GatewayProcess, tally: Tally) -> None:
    tally("connection floods refused")
    kept = [raw_wire.opened(guarded.address) for _ in range(CONNECTIONS_MOST // 2)]
    for raw in kept:
        raw.sendall(request(TIME))
    assert all(raw_wire.read(raw, 0.5).statuses == [200] for raw in kept)
    # Those of WebSocket count as well.
    for _ in range(CONNECTIONS_MOST - len(kept)):
        raw = raw_wire.opened(guarded.address)
        raw.sendall(request("GET /ws-api/v3", *UPGRADE))
        assert raw_wire.read(raw, 0.5).statuses == [101]
        kept.append(raw)
    for _ in range(50):
        heard = exchanged(guarded.address, request(TIME))
        assert (heard.statuses, heard.codes, heard.closed) == ([429], [-1034], True), heard.data
    for raw in kept:
        raw.close()
    until = time.monotonic() + 5
    while exchanged(guarded.address, request(TIME, "Connection: close")).statuses != [200]:
        assert time.monotonic() < until
    # And all places are free again.
    again = [raw_wire.opened(guarded.address) for _ in range(CONNECTIONS_MOST - 1)]
    for raw in again:
        raw.sendall(request(TIME, "Connection: close"))
        assert raw_wire.read(raw, 1.0).statuses == [200]
        raw.close()
