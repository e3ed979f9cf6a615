"""uvicorn's WebSocket protocol, past its queue of messages: all that one read brought is heard at once, and what is
said is written at once. Also: pings that are text, a closer watch where it is wanted, an end for who does not read, a
message in too many parts, or more pings than anybody needs.

The library behind it sees the handshake, control frames, and all of a client that sends what is not plain. What is
heard and said means nothing here.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from openbourse.gateway.websocket_frames import Cutter

PING_EVERY_S = 20.0
PONG_WITHIN_S = 60.0
# Of a connection that is watched: it is noticed within both together that nobody is there.
WATCHED_PING_EVERY_S = 5.0
WATCHED_PONG_WITHIN_S = 10.0
MESSAGE_BYTES_MOST = 64 * 1024
# Parts may be empty, so that bytes alone are no bound.
PARTS_MOST = 256
# Each is answered, whether or not the client reads.
PINGS_A_SECOND = 20
# What is gathered before it is written.
WRITE_BYTES = 32 * 1024
# The reason of the end waits so long in the socket for a client that may read it yet.
CUT_S = 5.0


class Hearer(Protocol):
    """Whoever a connection is given to. Nothing of it may raise."""

    def heard(self, texts: list[bytes]) -> None:
        """Nobody has looked whether they are UTF-8."""

    def heard_bytes(self, data: bytes) -> None: ...

    def hold(self) -> None:
        """What was written waits: no more now."""

    def flow(self) -> None:
        """Write again."""

    def gone(self) -> None:
        """Once: the connection is no more."""


class StreamProtocol(WebSocketsSansIOProtocol):
    """An application finds it as the ASGI extension `socket`, accepts, and attaches who hears."""

    # Who counts connections is told.
    when_lost: Callable[[], None] | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._hearer: Hearer | None = None
        self._cutter = Cutter(MESSAGE_BYTES_MOST)
        # What came before somebody heard.
        self._early = b""
        self._said: list[bytes] = []
        self._said_bytes = 0
        self._pings = 0
        self._pings_since_s = 0.0

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions["socket"] = self

    def attach(self, hearer: Hearer) -> None:
        """Once, of a connection that was accepted."""
        self._hearer = hearer
        if self.disconnected:
            hearer.gone()
            return
        if self.writable.is_set():
            hearer.flow()
        self.resume_reading()
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def write(self, data: bytes) -> None:
        """All that one turn of the loop says is one write, or a few."""
        if not self._said:
            self.loop.call_soon(self._flush)
        self._said.append(data)
        self._said_bytes += len(data)
        if self._said_bytes >= WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        said, self._said, self._said_bytes = self._said, [], 0
        if said and not (self.close_sent or self.transport.is_closing()):
            self.transport.write(said[0] if len(said) == 1 else b"".join(said))

    def stop_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def cut(self, code: int, reason: str) -> None:
        """Ends the connection, whether or not the client reads what was sent before."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self._flush()
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._abort_later()
        # A client that reads answers the close; uvicorn ends it then.
        self.resume_reading()

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            return
        if self._hearer is None:
            self._early += data
            self.stop_reading()
            return
        cut = self._cutter.feed(data)
        if cut.texts and not self.close_sent:
            self._hearer.heard(cut.texts)
        if cut.rest:
            super().data_received(cut.rest)

    def send_receive_event_to_app(self) -> None:
        """One that the library put together."""
        data, self.frames = b"".join(self.frames), []
        if self.close_sent or self._hearer is None:
            return
        if self.curr_msg_data_type == "text":
            self._hearer.heard([data])
        else:
            self._hearer.heard_bytes(data)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= PARTS_MOST:
            self.frames = []
            self.conn.fail(1009, f"a message has at most {PARTS_MOST} parts")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        now_s = self.loop.time()
        if now_s - self._pings_since_s >= 1:
            self._pings, self._pings_since_s = 0, now_s
        self._pings += 1
        if self._pings > PINGS_A_SECOND:
            self.cut(1008, f"at most {PINGS_A_SECOND} pings a second")
            # What comes on would be answered into memory.
            self.stop_reading()
            return
        super().handle_ping()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._hearer is not None:
            self._hearer.hold()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._hearer is not None and not self.close_sent:
            self._hearer.flow()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._hearer is not None:
            self._hearer.gone()
        if self.when_lost is not None:
            self.when_lost()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._abort_later()

    def _abort_later(self) -> None:
        self.close_timer = self.loop.call_later(CUT_S, self._abort)

    def watch(self) -> None:
        """From here on a client that is silent is noticed soon."""
        self.ping_interval = WATCHED_PING_EVERY_S
        if self.ping_timer is not None:
            self.ping_timer.cancel()
            self.schedule_ping()
        if self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = self.loop.call_later(WATCHED_PONG_WITHIN_S, self.keepalive_timeout)

    def _abort(self) -> None:
        if not self.disconnected:
            self.transport.abort()

    def send_keepalive_ping(self) -> None:
        """As uvicorn's, but that the payload is text: some clients answer with what they could decode."""
        self.ping_timer = None
        if self.close_sent or self.transport.is_closing():
            return
        self.pending_ping_payload = b"%d" % (time.time_ns() // 1_000_000)
        self.ping_sent_at = self.loop.time()
        self.conn.send_ping(self.pending_ping_payload)
        self.transport.write(b"".join(self.conn.data_to_send()))
        watched = self.ping_interval == WATCHED_PING_EVERY_S
        within_s = WATCHED_PONG_WITHIN_S if watched else PONG_WITHIN_S
        self.pong_timer = self.loop.call_later(within_s, self.keepalive_timeout)
