"""What somebody takes before uvicorn makes anything of it, and what it leaves, on connections that end when idle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import pytest
import uvicorn

from openbourse.gateway.http_protocol import Addresses, Exchange, traders_protocol

IDLE_S = 1
Message = MutableMapping[str, Any]
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Says what it was asked with."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    said = b"%s %s %s" % (scope["path"].encode(), scope["query_string"], body)
    head = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": said})


def _take(exchange: Exchange) -> bool:
    """What asks for it, with all that it has."""
    if exchange.query != b"taken":
        return False
    said = b"taken %s" % exchange.body
    exchange.answer(200, b"content-length: %d\r\n" % len(said), said)
    return True


@contextlib.asynccontextmanager
async def _listening() -> AsyncIterator[int]:
    takers = {"/order": {"POST": _take, "GET": _take}}
    server = uvicorn.Server(
        uvicorn.Config(
            _application,
            port=0,
            http=traders_protocol(Addresses(), takers),
            lifespan="off",
            log_config=None,
            timeout_keep_alive=IDLE_S,
        )
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def _answer(opened: Opened) -> bytes:
    """The body of the next one."""
    async with asyncio.timeout(10):
        head = await opened[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return await opened[0].readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


@pytest.mark.parametrize(("path", "says"), [("/order?taken", b"taken "), ("/order?left", b"/order left ")])
async def test_a_connection_ends_when_nothing_came_for_so_long_after_its_last_answer(path: str, says: bytes) -> None:
    loop, request = asyncio.get_running_loop(), f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with _listening() as port:
        opened = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            opened[1].write(request)
            assert await _answer(opened) == says
            answered_s = loop.time()
            await asyncio.sleep(0.6 * IDLE_S)
        async with asyncio.timeout(10):
            assert await opened[0].read() == b""
        assert loop.time() - answered_s >= 0.95 * IDLE_S
        opened[1].close()


@pytest.mark.parametrize("cut", [0, 40, 90, 110])
async def test_what_is_left_goes_on_with_its_body_however_it_came(cut: int) -> None:
    """Behind one that was taken, on one connection, and the other way round."""
    data = b"".join(
        b"POST /order?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody" % query
        for query in (b"taken", b"left", b"taken")
    )
    async with _listening() as port:
        opened = await asyncio.open_connection("127.0.0.1", port)
        for piece in (data[:cut], data[cut:]):
            opened[1].write(piece)
            await opened[1].drain()
            await asyncio.sleep(0.05)
        heard = [await _answer(opened) for _ in range(3)]
        # What comes while one is under way waits for it, and nobody takes it.
        assert heard[:2] == [b"taken body", b"/order left body"]
        assert heard[2] in (b"taken body", b"/order taken body")
        opened[1].close()
