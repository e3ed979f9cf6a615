"""One WebSocket connection, whatever is said on it: what waits to be sent, and how it ends.

What is said is written at once as long as the client reads, and waits otherwise. Bounded: whoever does not read what
waits is let go with a reason, and costs the others nothing.
"""

import asyncio
import json
from collections import deque

from openbourse.gateway.streams.protocol import StreamProtocol
from openbourse.gateway.websocket_frames import text_frame

LIFE_S = 24 * 3600.0
POLICY, RESTART, TRY_LATER = 1008, 1012, 1013
NO_TEXT = 1007, "text is UTF-8"
# What was said before a stop is heard so long.
SHUTDOWN_S = 0.5


def written(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))


class Peer:
    """`messages_most` and `bytes_most` of what waits. Who hears the client says so in `heard` and `heard_bytes`."""

    def __init__(self, messages_most: int, bytes_most: int) -> None:
        self._messages_most = messages_most
        self._bytes_most = bytes_most
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._over = asyncio.Event()
        # Code and reason.
        self.ended: tuple[int, str] | None = None
        self.socket: StreamProtocol | None = None
        # The socket takes more; and nothing waits, so that what is said goes to it at once.
        self._takes = False
        self.flows = False

    def say(self, document: object) -> None:
        self.say_text(written(document))

    def say_text(self, text: str) -> None:
        self.say_frame(text_frame(text))

    def say_frame(self, frame: bytes) -> None:
        if self.ended is not None:
            return
        if self.flows:
            assert self.socket is not None
            self.socket.write(frame)
            return
        self._waiting.append(frame)
        self._bytes += len(frame)
        if len(self._waiting) > self._messages_most or self._bytes > self._bytes_most:
            self.end(POLICY, f"too slow: {len(self._waiting)} messages of {self._bytes} bytes wait")

    @property
    def bytes_waiting(self) -> int:
        return self._bytes

    @property
    def let_go(self) -> str:
        """Why this side ended it, without what is of this connection alone; empty: it did not."""
        return "" if self.ended is None else self.ended[1].partition(":")[0]

    def end(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = code, reason
            self._over.set()

    def next(self) -> bytes | None:
        """The frame that is sent next. None: nothing waits."""
        if not self._waiting:
            return None
        frame = self._waiting.popleft()
        self._bytes -= len(frame)
        return frame

    async def serve(self, socket: StreamProtocol) -> None:
        """Until the client leaves, or is let go."""
        self.socket = socket
        socket.attach(self)
        try:
            async with asyncio.timeout(LIFE_S):
                await self._over.wait()
        except TimeoutError:
            self.end(RESTART, "24 hours are over")
        if self.ended is not None:
            socket.cut(*self.ended)

    def heard(self, texts: list[bytes]) -> None:
        raise NotImplementedError

    def heard_bytes(self, data: bytes) -> None:
        raise NotImplementedError

    def hold(self) -> None:
        self._takes = self.flows = False

    def flow(self) -> None:
        assert self.socket is not None
        self._takes = True
        while self._takes and self.ended is None and (frame := self.next()) is not None:
            self.socket.write(frame)
        self.flows = self._takes

    def gone(self) -> None:
        self.hold()
        self._over.set()
