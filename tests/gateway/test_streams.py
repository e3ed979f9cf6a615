"""Connections of streams over real sockets: one that does not read is let go, and costs those who read nothing."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import websockets
from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from openbourse.contracts.session import Address
from openbourse.gateway.__main__ import listen, listener
from openbourse.gateway.http_protocol import Addresses
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.streams.outbox import BYTES_MOST, MESSAGES_MOST

TRADES = "btcusdt@trade"
DIFFS = "btcusdt@depth@100ms"
HEARD_S = 30.0
# What the system buffers for one socket of loopback is some megabytes.
MESSAGES_ENOUGH = 60_000


@dataclass
class Served:
    streams: Streams
    port: int

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    streams, app = Streams(), FastAPI()
    streams.open = True
    app.router.routes += [WebSocketRoute(path, endpoint=streams) for path in ("/ws/{streams:path}", "/stream")]
    server = listener(app, Addresses())
    opened = listen(Address("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([opened]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    yield Served(streams, opened.getsockname()[1])
    server.should_exit = True
    async with asyncio.timeout(HEARD_S):
        await serving


@asynccontextmanager
async def silent(served: Served, path: str) -> AsyncIterator[socket.socket]:
    """A client that asks and then never reads."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", served.port))
        key = base64.b64encode(b"0123456789abcdef").decode()
        asking = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        asking += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        await loop.sock_sendall(raw, asking.encode())
        yield raw


async def until_connected(served: Served, count: int) -> None:
    async with asyncio.timeout(HEARD_S):
        while len(served.streams.connections) != count:  # noqa: ASYNC110 - it is the sockets' doing
            await asyncio.sleep(0.01)


def payload(number: int) -> str:
    return json.dumps({"e": "trade", "t": number, "filler": "x" * 400})


async def test_who_does_not_read_is_let_go_with_a_reason_and_who_reads_misses_nothing(served: Served) -> None:
    async with (
        websockets.connect(served.url(f"/ws/{TRADES}"), proxy=None) as good,
        silent(served, f"/ws/{TRADES}") as slow,
    ):
        await until_connected(served, 2)
        both, most, bytes_most, sent = list(served.streams.connections), 0, 0, 0
        while len(served.streams.connections) == 2:
            assert sent < MESSAGES_ENOUGH, "the one that does not read is still there"
            served.streams.publish(TRADES, payload(sent))
            most = max(most, *(len(connection.outbox) for connection in both))
            bytes_most = max(bytes_most, *(connection.outbox.bytes for connection in both))
            assert json.loads(await good.recv())["t"] == sent
            sent += 1
        assert most <= MESSAGES_MOST + 1
        assert bytes_most <= BYTES_MOST + 1_000
        # The one that reads never had anything waiting for long.
        [left] = served.streams.connections
        assert len(left.outbox) == 0
        served.streams.publish(TRADES, payload(sent))
        assert json.loads(await good.recv())["t"] == sent
        assert b"too slow" in await read_to_the_end(slow)


async def read_to_the_end(raw: socket.socket) -> bytes:
    """The last of it: what was sent before is megabytes."""
    loop, last = asyncio.get_running_loop(), b""
    async with asyncio.timeout(HEARD_S):
        while b"too slow" not in last and (data := await loop.sock_recv(raw, 65_536)):
            last = (last + data)[-70_000:]
    return last


async def test_a_slow_readers_diffs_are_merged_and_have_no_gap(served: Served) -> None:
    async with websockets.connect(served.url(f"/ws/{DIFFS}"), proxy=None, max_queue=1) as slow:
        await until_connected(served, 1)
        [connection] = served.streams.connections
        number, filler = 0, "x" * 2_000
        while connection.outbox.merges < 1_000:
            assert number < MESSAGES_ENOUGH, "nothing was merged"
            number += 1
            bids = [[str(number % 50), str(number)]]
            served.streams.publish(DIFFS, json.dumps({"U": number, "u": number, "b": bids, "a": [], "filler": filler}))
            # The loop goes on, and writes until the client's buffers are full.
            await asyncio.sleep(0)
        last, book = 0, dict[str, str]()
        async with asyncio.timeout(HEARD_S):
            while last < number:
                diff = json.loads(await slow.recv())
                assert diff["U"] == last + 1
                last = diff["u"]
                book.update(diff["b"])
        assert book == {
            str(price): str(max(of for of in range(number - 50, number + 1) if of % 50 == price)) for price in range(50)
        }


async def test_where_messages_may_be_missing_connections_end(served: Served) -> None:
    async with websockets.connect(served.url(f"/ws/{TRADES}"), proxy=None) as stream:
        await until_connected(served, 1)
        served.streams.lost()
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await stream.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "market data begin anew")


async def test_a_stop_is_said_before_it_comes(served: Served) -> None:
    async with websockets.connect(served.url(f"/ws/{TRADES}"), proxy=None) as stream:
        await until_connected(served, 1)
        stopping = asyncio.create_task(served.streams.shut_down())
        assert json.loads(await stream.recv())["e"] == "serverShutdown"
        await stopping
        with pytest.raises(websockets.ConnectionClosedError):
            await stream.recv()
