"""uvicorn's WebSocket protocol with three things of ours: pings that are text, an end for who does not read, and one
for who sends text that is none."""

import time
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

PING_EVERY_S = 20.0
PONG_WITHIN_S = 60.0
MESSAGE_BYTES_MOST = 64 * 1024
# The reason of the end waits so long in the socket for a client that may read it yet.
CUT_S = 5.0


class StreamProtocol(WebSocketsSansIOProtocol):
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions["cut"] = self._cut

    def send_receive_event_to_app(self) -> None:
        """As uvicorn's, but that text which is no UTF-8 ends the connection without a trace in the log."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(1007, "text is UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def _cut(self, code: int, reason: str) -> None:
        """Ends the connection, whether or not the client reads what was sent before."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(CUT_S, self._abort)
        # A client that reads answers the close; uvicorn ends it then.
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

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
        self.pong_timer = self.loop.call_later(PONG_WITHIN_S, self.keepalive_timeout)
