"""One WebSocket connection, whatever is said on it: what waits to be sent, how it is fed, and how it ends.

Bounded: whoever does not read what waits is let go with a reason, and costs the others nothing.
"""

import asyncio
import json
from collections import deque
from collections.abc import Coroutine
from typing import Any

from openbourse.gateway.wire import Scope, Send

LIFE_S = 24 * 3600.0
POLICY, RESTART, TRY_LATER = 1008, 1012, 1013
# What was said before a stop is heard so long.
SHUTDOWN_S = 0.5


def written(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))


class Peer:
    """`messages_most` and `bytes_most` of what waits."""

    def __init__(self, messages_most: int, bytes_most: int) -> None:
        self._messages_most = messages_most
        self._bytes_most = bytes_most
        self._waiting: deque[str] = deque()
        self._bytes = 0
        self.news = asyncio.Event()
        # Code and reason.
        self.ended: tuple[int, str] | None = None
        self._end_wanted = asyncio.Event()

    def say(self, document: object) -> None:
        self.say_text(written(document))

    def say_text(self, text: str) -> None:
        if self.ended is not None:
            return
        self._waiting.append(text)
        self._bytes += len(text)
        if len(self._waiting) > self._messages_most or self._bytes > self._bytes_most:
            self.end(POLICY, f"too slow: {len(self._waiting)} messages of {self._bytes} bytes wait")
        self.news.set()

    def end(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = code, reason
            self._end_wanted.set()

    def next(self) -> str | None:
        """What is sent next. None: nothing waits."""
        if not self._waiting:
            return None
        text = self._waiting.popleft()
        self._bytes -= len(text)
        return text

    async def serve(self, listening: Coroutine[Any, Any, None], scope: Scope, send: Send) -> None:
        """Until the client leaves, which `listening` notices, or is let go."""
        tasks = {
            asyncio.create_task(listening),
            asyncio.create_task(self._send_all(send)),
            asyncio.create_task(self._end_wanted.wait()),
        }
        try:
            done, _ = await asyncio.wait(tasks, timeout=LIFE_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self.end(RESTART, "24 hours are over")
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            # A client that went away while it was sent to is none of our errors.
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result
        if self.ended is not None:
            scope["extensions"]["cut"](*self.ended)

    async def _send_all(self, send: Send) -> None:
        while True:
            await self.news.wait()
            self.news.clear()
            while (text := self.next()) is not None:
                await send({"type": "websocket.send", "text": text})
