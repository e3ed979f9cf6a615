"""Feeds of market data as a gateway hears them: from one replica, and on from another where that one left off.

A feed marks how far it is. What was heard is told to the next replica, which tells what is behind it; what comes twice
all the same, ids say. Where something may be missing that is a Gap: nobody goes on as if nothing were.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from openbourse.gateway.continuity import Gap, ids_of, is_counted, sequel

# A line is one message; the longest is a diff or the tickers of all symbols.
LINE_BYTES_MOST = 16 * 1024 * 1024

# Stream, payload, and microseconds beyond its time.
Publish = Callable[[str, str, int], None]


class Following:
    """One feed: whether it is heard `now`, with nothing missing, and whether it was `ever` since the start."""

    def __init__(self) -> None:
        self.ever = False
        self._there = asyncio.Event()

    @property
    def now(self) -> bool:
        return self._there.is_set()

    def begin(self) -> None:
        self.ever = True
        self._there.set()

    def end(self) -> None:
        self._there.clear()

    async def wait(self) -> None:
        """Until it is heard."""
        await self._there.wait()


class Feed(Protocol):
    """What is made of a feed's bytes, through one connection after the other."""

    @property
    def behind(self) -> Mapping[str, int]:
        """By pace, up to which command it was heard, for who goes on; empty: it begins."""

    def forget(self) -> None:
        """It begins anew."""

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Takes a connection's bytes to their end. Raises ValueError for what is no such feed, and Gap."""


class MarketFeed:
    """The feed of the market: one message a line, and lines without a stream that are marks."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._behind: dict[str, int] = {}
        # By stream, the last message of those that are counted; and those of the replica before, till it goes on.
        self._last: dict[str, str] = {}
        self._before: dict[str, str] = {}

    @property
    def behind(self) -> Mapping[str, int]:
        return self._behind

    def forget(self) -> None:
        self._behind.clear()
        self._last.clear()

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        self._before = dict(self._last)
        marked, rest = set[str](), b""
        async for data in chunks:
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_BYTES_MOST:
                raise ValueError(f"a line of more than {LINE_BYTES_MOST} bytes")
            for line in lines:
                if not line:
                    continue
                stream, tab, told = line.decode().partition("\t")
                if not tab:
                    raise ValueError("a line without a tab")
                if stream:
                    payload, _, rest_us = told.partition("\t")
                    self._tell(stream, payload, int(rest_us or 0))
                else:
                    pace, _, seq = told.partition(" ")
                    self._mark(pace, int(seq), is_first=pace not in marked)
                    marked.add(pace)

    def _mark(self, pace: str, seq: int, *, is_first: bool) -> None:
        heard_seq = self._behind.get(pace, seq)
        if is_first and seq > heard_seq:
            raise Gap(f"what is told {pace} goes on behind seq {seq}, and was heard up to {heard_seq}")
        # A replica may be behind the one before, and tells nothing until it is there.
        self._behind[pace] = max(seq, heard_seq)

    def _tell(self, stream: str, payload: str, rest_us: int) -> None:
        if is_counted(ids_of(stream), payload):
            before = self._before.get(stream)
            if before is not None:
                told = sequel(stream, before, payload)
                if told is None:
                    return
                payload = told
                del self._before[stream]
            self._last[stream] = payload
        self._publish(stream, payload, rest_us)
