"""Whatever is sent on a WebSocket: the connection answers, or closes with a reason; the log has no trace of a bug."""

import contextlib
import json
import os
import socket
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fixtures.gateways import Venue

pytestmark = pytest.mark.server

ANSWERED_S = 10.0
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from(
    [
        *("ping", "depth", "klines", "ticker", "exchangeInfo", "order.place", "order.cancel", "order.cancelReplace"),
        *("openOrders.status", "session.logon", "session.logout", "userDataStream.subscribe.signature", "v3/time"),
        *("userDataStream.unsubscribe", "order.amend.keepPriority", "allOrders", "myPreventedMatches", "nothing"),
    ]
)
NAMES = st.sampled_from(
    [
        *("symbol", "symbols", "limit", "interval", "side", "type", "price", "quantity", "timestamp", "recvWindow"),
        *("apiKey", "signature", "orderId", "windowSize", "cancelReplaceMode", "startTime", "timeZone"),
        *("returnRateLimits", "subscriptionId", "newClientOrderId"),
    ]
)
VALUES = JSON | st.sampled_from(
    ["BTCUSDT", "BUY", "LIMIT", "1", "1m", "0" * 64, ["BTCUSDT"], 2**64, -1, 1e300, "\x00", "é"]
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON | st.integers(0, 9),
        "method": METHODS | JSON,
        "params": st.dictionaries(NAMES, VALUES, max_size=8) | JSON,
    },
)
TEXTS = st.text(max_size=200) | JSON.map(json.dumps) | REQUESTS.map(json.dumps)


def no_trace(venue: Venue) -> None:
    log = venue.gateway.log.read_text()
    assert "Traceback" not in log
    assert venue.gateway.process is not None
    assert venue.gateway.process.poll() is None


@SLOW
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_every_text_is_answered_by_the_websocket_api(venue: Venue, texts: list[str]) -> None:
    with connect(f"ws://{venue.gateway.address}/ws-api/v3", proxy=None) as api:
        for text in texts:
            api.send(text)
        answers = list[Any]()
        while len(answers) < len(texts):
            message: dict[str, Any] = json.loads(api.recv(timeout=ANSWERED_S))
            if "status" in message:
                assert ("result" in message) != ("error" in message)
                assert message["status"] == 200 or message["error"]["code"] < 0
                assert message.get("error", {}).get("code") != -1000, message
                answers.append(message)
    no_trace(venue)


@SLOW
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_every_text_is_answered_on_a_stream_connection(venue: Venue, texts: list[str]) -> None:
    with connect(f"ws://{venue.gateway.address}/ws", proxy=None) as stream:
        for text in texts:
            stream.send(text)
        asked = [text for text in texts if text.strip().lower() not in ("", "ping", "pong")]
        for _ in asked:
            assert {"result", "error"} & json.loads(stream.recv(timeout=ANSWERED_S)).keys()
    no_trace(venue)


def frame(opcode: int, payload: bytes, *, final: bool, reserved: int, masked: bool) -> bytes:
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    length = bytes([(0x80 if masked else 0) | size]) if size < 126 else bytes([(0x80 if masked else 0) | 126])
    length += b"" if size < 126 else struct.pack(">H", size)
    mask = os.urandom(4) if masked else b""
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if masked else payload
    return bytes([first]) + length + mask + body


FRAMES = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=150) | st.just(b'{"id":1,"method":"ping"}') | st.just(b"\xff\xfe"),
    final=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 1, 4, 7]),
    masked=st.sampled_from([True, True, True, False]),
)


@SLOW
@given(st.lists(FRAMES | st.binary(max_size=30), min_size=1, max_size=6), st.sampled_from(["/ws-api/v3", "/ws"]))
def test_frames_that_are_none_end_the_connection_and_nothing_else(venue: Venue, frames: list[bytes], path: str) -> None:
    host, port = venue.gateway.address.host, venue.gateway.address.port
    with socket.create_connection((host, port), timeout=ANSWERED_S) as raw:
        asking = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        asking += "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        raw.sendall(asking.encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 101")
        with contextlib.suppress(ConnectionError):
            for data in frames:
                raw.sendall(data)
            # An end that a server understands in whatever state the frames left it: half of a frame, then nothing.
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass
    with connect(f"ws://{venue.gateway.address}/ws-api/v3", proxy=None) as api:
        api.send('{"id": 1, "method": "ping"}')
        assert json.loads(api.recv(timeout=ANSWERED_S))["status"] == 200
    no_trace(venue)


def test_text_that_is_no_utf_8_ends_the_connection_with_its_reason(venue: Venue) -> None:
    for path in ("/ws-api/v3", "/ws"):
        with connect(f"ws://{venue.gateway.address}{path}", proxy=None) as api:
            api.socket.sendall(frame(1, b"\xff\xfe", final=True, reserved=0, masked=True))
            with pytest.raises(ConnectionClosed) as closed:
                api.recv(timeout=ANSWERED_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    no_trace(venue)
