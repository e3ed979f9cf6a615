"""The engine's port: mutual TLS, one asyncio protocol per connection. It decides only how much a socket may hold."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import cast

from openbourse.contracts import v1
from openbourse.contracts.component import replica_name
from openbourse.contracts.frames import encode
from openbourse.contracts.session import Address
from openbourse.contracts.tls import PeerRefused, component_of, person_of, role_of
from openbourse.contracts.tls_material import Lifetime
from openbourse.engine.loop import Loop
from openbourse.engine.subscribe import Streams, Subscription

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 256
HANDSHAKE_S = 5.0
HELLO_S = 5.0
# Replies that a client leaves unread; beyond it is closed, and resends on its next connection.
UNREAD_BYTES_MOST = 8 * 1024 * 1024
FLUSH_S = 2.0
# What the operating system holds for a peer that does not read.
SEND_BYTES = 1024 * 1024


class Server:
    """All connections of the port."""

    def __init__(self, loop: Loop, streams: Streams, passed: Callable[[str, int], None]) -> None:
        """`passed` is told who, by the name of a component or of its replica, has passed which seq."""
        self.loop = loop
        self.streams = streams
        self.passed = passed
        # In the order in which they came.
        self.connections: dict[int, Connection] = {}
        self.empty = asyncio.Event()
        self.empty.set()
        self._last_id = 0
        self._listener: asyncio.Server | None = None
        loop.on_committed.append(self._committed)

    async def listen(self, address: Address, tls: ssl.SSLContext) -> None:
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self),
            address.host,
            address.port,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=FLUSH_S,
        )

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _committed(self, _seq: int) -> None:
        for connection in self.connections.values():
            if connection.subscription is not None:
                connection.subscription.pump()

    def stop_taking(self) -> None:
        """No new connection, and nothing more is read from those that are there."""
        if self._listener is not None:
            self._listener.close()
        for connection in self.connections.values():
            connection.pause_reading()

    async def close(self) -> None:
        """Says goodbye, gives the sockets a moment to take what was written, and closes them."""
        for connection in tuple(self.connections.values()):
            connection.close_with("the engine stops", code=v1.ProblemCode.PROBLEM_CODE_NOT_LEADER)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self.empty.wait()
        for connection in tuple(self.connections.values()):
            connection.abort()


class Connection(asyncio.Protocol):
    """One peer. Its component, of a person their role, from its certificate, says what it may send.

    The core holds it to that."""

    def __init__(self, server: Server) -> None:
        self.writable = asyncio.Event()
        self.subscription: Subscription | None = None
        self._server = server
        self._id: int | None = None
        self._name = "a peer"
        self._component = ""
        self._hello: asyncio.TimerHandle | None = None
        self._lifetime: Lifetime | None = None
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._name = str(transport.get_extra_info("peername"))
        server = self._server
        if len(server.connections) >= CONNECTIONS_MOST:
            log.warning("%s is refused: %d connections are open", self._name, CONNECTIONS_MOST)
            self._transport.abort()
            return
        try:
            certificate = transport.get_extra_info("peercert")
            component, role = component_of(certificate), role_of(certificate)
        except PeerRefused as error:
            log.warning("%s is refused: %s", self._name, error)
            self._transport.abort()
            return
        self._name = f"{component} at {self._name}"
        self._component = component
        self._id = server.next_id()
        self._transport.set_write_buffer_limits(high=256 * 1024)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        self.writable.set()
        server.connections[self._id] = self
        server.empty.clear()
        server.loop.peers[self._id] = self
        server.loop.core.connect(self._id, component, person_of(certificate), role or "")
        self._hello = asyncio.get_running_loop().call_later(HELLO_S, self._no_hello)
        self._lifetime = Lifetime(certificate, ended=lambda: self.close_with("its certificate has run out"))

    def _no_hello(self) -> None:
        self.close_with(f"no Hello within {HELLO_S:g} s", code=v1.ProblemCode.PROBLEM_CODE_MALFORMED)

    def data_received(self, data: bytes) -> None:
        if self._id is None or self._closing:
            return
        asked = self._server.loop.receive(self._id, data)
        if asked is None:
            return
        send, from_seq, close, pause, passed = asked
        if send:
            self.write(send)
        if close:
            log.warning("%s is closed: it broke the protocol or its rights", self._name)
            self._close()
            return
        if self._hello is not None:
            self._hello.cancel()
            self._hello = None
        if pause:
            self.pause_reading()
        if passed is not None:
            seq, replica = passed
            self._server.passed(replica_name(self._component, replica), seq)
        if from_seq is not None:
            log.info("%s subscribes from seq %d", self._name, from_seq)
            if self.subscription is not None:
                self.subscription.close()
            self.subscription = Subscription(self._server.streams, self, from_seq)
            self.subscription.pump()

    def send(self, frames: bytes) -> None:
        """Replies and answers."""
        self.write(frames)
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MOST:
            log.warning("%s is closed: it left %d bytes of replies unread", self._name, UNREAD_BYTES_MOST)
            self.abort()

    def write(self, frames: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frames)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()
        if self.subscription is not None:
            self.subscription.pump()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close_with(
        self, detail: str, *, code: "v1.ProblemCode.ValueType" = v1.ProblemCode.PROBLEM_CODE_NOT_LEADER
    ) -> None:
        self.write(encode(v1.ServerFrame(problem=v1.Problem(code=code, detail=detail))))
        log.info("%s is closed: %s", self._name, detail)
        self._close()

    def _close(self) -> None:
        """What was written goes out first, if the peer reads it."""
        self._closing = True
        # TLS ends with a word of the peer, which must be read.
        self.resume_reading()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._id is None:
            return
        if self._hello is not None:
            self._hello.cancel()
        if self._lifetime is not None:
            self._lifetime.over()
        if self.subscription is not None:
            self.subscription.close()
        self._server.connections.pop(self._id, None)
        if not self._server.connections:
            self._server.empty.set()
        self._server.loop.peers.pop(self._id, None)
        self._server.loop.core.disconnect(self._id)
