"""What gateways hear: of the market every message of every stream as a line, `<stream> TAB <payload> LF`, encoded once
for all; of accounts one frame for each AccountUpdate.

A gateway that does not keep up is let go: it comes again, and its traders with it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

from openbourse.marketdata.publish import Message

# Of one gateway, unread.
BYTES_MOST = 32 * 1024 * 1024
# An idle feed says so: both ends know that the other is there.
IDLE_S = 5.0
IDLE = b"\n"
# A frame without a message.
IDLE_FRAME = bytes(4)


class _Reader:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.bytes = 0
        self.ended = False
        self.news = asyncio.Event()


class Feed:
    def __init__(self, idle: bytes = IDLE) -> None:
        self._readers: set[_Reader] = set()
        self._idle = idle

    @property
    def is_read(self) -> bool:
        return bool(self._readers)

    def publish(self, messages: Iterable[Message]) -> None:
        """Without a reader, nothing is encoded; what `messages` takes is taken all the same."""
        lines = [(stream, payload) for stream, payload in messages]
        if self._readers:
            self.put(
                b"".join(
                    b"%s\t%s\n" % (stream.encode(), json.dumps(payload, separators=(",", ":")).encode())
                    for stream, payload in lines
                )
            )

    def put(self, data: bytes) -> None:
        if not data:
            return
        for reader in self._readers:
            reader.lines.append(data)
            reader.bytes += len(data)
            reader.ended = reader.ended or reader.bytes > BYTES_MOST
            reader.news.set()

    def end(self) -> None:
        for reader in self._readers:
            reader.ended = True
            reader.news.set()

    async def read(self) -> AsyncIterator[bytes]:
        """Until the reader is too slow, or the process stops."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            yield self._idle
            while not reader.ended:
                try:
                    async with asyncio.timeout(IDLE_S):
                        await reader.news.wait()
                except TimeoutError:
                    yield self._idle
                    continue
                reader.news.clear()
                data, reader.bytes = b"".join(reader.lines), 0
                reader.lines.clear()
                yield data
        finally:
            self._readers.discard(reader)
