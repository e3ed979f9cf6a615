"""HTTP listeners: for our own components over mutual TLS, and a plain one for probes. Needs uvicorn.

A request's `state.component` is the component that the peer's certificate names, `state.person` whose it is,
`state.role` what that person may do, if it says so.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from openbourse.contracts.session import Address
from openbourse.contracts.tls import PeerRefused, component_of, person_of, role_of
from openbourse.contracts.tls_material import Lifetime, Material

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

BODY_BYTES_MOST = 8 * 1024
CONNECTIONS_MOST = 200
STOP_TIMEOUT_S = 3


class MutualTlsProtocol(H11Protocol):
    """Hands the peer's component on to the application; one without, or after its end, is not heard."""

    lifetime: Lifetime | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            certificate = transport.get_extra_info("peercert")
            peer = {
                "component": component_of(certificate),
                "person": person_of(certificate),
                "role": role_of(certificate),
            }
            self.app_state = {**self.app_state, **peer}
            self.lifetime = Lifetime(certificate, ended=transport.abort)
        except PeerRefused as error:
            log.warning("peer %s refused: %s", transport.get_extra_info("peername"), error)
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lifetime is not None:
            self.lifetime.over()
        super().connection_lost(exc)


class BoundedBody:
    """Answers 413 to a request whose body is longer than so many bytes, announced or not."""

    def __init__(self, app: "ASGIApp", bytes_most: int = BODY_BYTES_MOST) -> None:
        self._app = app
        self._bytes_most = bytes_most

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A longer one is never held: it is read to its bound before the application sees any of it.
        body, more = b"", True
        while more and len(body) <= self._bytes_most:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > self._bytes_most:
            await _too_large(send, self._bytes_most)
            return
        given = False

        async def give() -> "Message":
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, give, send)


async def _too_large(send: "Send", bytes_most: int) -> None:
    message = f"a request has at most {bytes_most} bytes"
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"reason": "Invalid", "message": message}).encode()})


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more to stop than this."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def listening(
    app: "ASGIApp", address: Address, tls: Material | None, body_bytes_most: int = BODY_BYTES_MOST
) -> AsyncIterator[int]:
    """Serves `app` while the block runs, with mutual TLS where there is material; gives the port. Raises OSError."""
    options: dict[str, Any] = {"http": H11Protocol}
    if tls is not None:
        options = {"http": MutualTlsProtocol, "ssl_context_factory": lambda *_: tls.server}
    config = uvicorn.Config(
        BoundedBody(app, body_bytes_most),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MOST,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        **options,
    )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Listens from here on: who connects before the server's first turn waits in the kernel's queue.
    with socket.create_server((address.host, address.port), family=family, backlog=128) as bound:
        server = _Server(config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([bound]))
            try:
                yield bound.getsockname()[1]
            finally:
                server.should_exit = True
