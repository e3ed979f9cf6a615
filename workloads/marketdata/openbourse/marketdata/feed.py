"""What gateways hear: of the market every message of every stream as a line, of accounts one frame for each
AccountUpdate. A line is `<stream> TAB <payload> LF`, encoded once for all; a trade has `TAB <microseconds>` before the
end: what its time has beyond its milliseconds.

A feed says how far it is: behind each part, up to which command everything of that pace is told. A gateway that heard
another replica so far has this one go on there: what was told lately is kept. One that does not keep up is let go.
One that wants to go on over another connection names what it reads now: that ends, and the new one begins, between the
same two messages.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.marketdata.publish import Message

# Of one gateway, unread; and of what is kept for those that come from another replica.
BYTES_MOST = 32 * 1024 * 1024
KEPT_S = 15.0
# An idle feed says so: both ends know that the other is there.
IDLE_S = 1.0


class Pace(StrEnum):
    """How often something is told: see `publish`."""

    AT_ONCE = "at_once"
    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Part:
    """`data` tells, of one pace, what the commands up to `seq` did that was not told before."""

    pace: Pace
    seq: int
    data: bytes
    told_s: float


Mark = Callable[[Pace, int], bytes]


def mark_line(pace: Pace, seq: int) -> bytes:
    """A line without a stream: up to which command everything of that pace is told."""
    return b"\t%s %d\n" % (pace.encode(), seq)


def mark_frame(_pace: Pace, seq: int) -> bytes:
    """An AccountUpdate of no account: everything up to that command is told."""
    return encode(v1.AccountUpdate(seq=seq))


class _Reader:
    """`behind`: what it heard from another replica is not told again."""

    def __init__(self, behind: Mapping[Pace, int]) -> None:
        self.behind = behind
        self.parts: list[bytes] = []
        self.bytes = 0
        self.ended = False
        # What is left is read on another connection.
        self.moved = False
        self.news = asyncio.Event()

    def hear(self, part: Part) -> None:
        """What closes candles where nothing happens has the seq of what was told before."""
        heard_seq = self.behind.get(part.pace, -1)
        if part.seq < heard_seq or (part.seq == heard_seq and part.pace is not Pace.AT_ONCE):
            return
        self.parts.append(part.data)
        self.bytes += len(part.data)
        self.news.set()


class Feed:
    """`paces` are what it has; `seq`: what happened before is not told here."""

    def __init__(self, mark: Mark, paces: Iterable[Pace], seq: int) -> None:
        self._readers: set[_Reader] = set()
        self._named: dict[str, _Reader] = {}
        self._mark = mark
        self._kept: deque[Part] = deque()
        self._kept_bytes = 0
        self._told = dict.fromkeys(paces, seq)
        # What was told up to there is not kept any more.
        self._forgotten = dict(self._told)
        # Since the start: told to somebody, and readers that were too slow for it.
        self.messages = self.bytes = self.let_go = 0

    @property
    def readers(self) -> int:
        return len(self._readers)

    def begin(self, seq: int) -> None:
        """What happened up to there is not told here."""
        self._told = dict.fromkeys(self._told, seq)
        self._forgotten = dict(self._told)
        self._kept.clear()
        self._kept_bytes = 0

    def publish(self, pace: Pace, seq: int, messages: Iterable[Message]) -> None:
        """What that pace has to tell of everything up to that command."""
        lines = [_line(message) for message in messages]
        self.put(pace, seq, b"".join(lines), len(lines))

    def put(self, pace: Pace, seq: int, data: bytes, messages: int) -> None:
        """So many of them, encoded."""
        self._told[pace] = seq
        if not data:
            return
        part = Part(pace, seq, data + self._mark(pace, seq), time.monotonic())
        self._keep(part)
        if self._readers:
            self.messages += messages
        for reader in self._readers:
            self.bytes += len(part.data)
            reader.hear(part)
            if reader.bytes > BYTES_MOST and not reader.ended:
                reader.ended = True
                reader.news.set()
                self.let_go += 1

    def _keep(self, part: Part) -> None:
        kept = self._kept
        kept.append(part)
        self._kept_bytes += len(part.data)
        while kept and (self._kept_bytes > BYTES_MOST or part.told_s - kept[0].told_s > KEPT_S):
            oldest = kept.popleft()
            self._kept_bytes -= len(oldest.data)
            self._forgotten[oldest.pace] = oldest.seq

    def end(self) -> None:
        for reader in self._readers:
            reader.ended = True
            reader.news.set()

    async def read(
        self, name: str = "", instead: str = "", behind: Mapping[Pace, int] | None = None
    ) -> AsyncIterator[bytes]:
        """Until the reader is too slow, or the process stops, or another one comes instead. The first marks say behind
        what it begins.

        `name`: what that one names. `instead` of which this one comes: without it there, nothing is read. `behind` is
        what the reader has heard of another replica. Where not all from there on is kept, it begins now.
        """
        reader = self._gone_on_with(behind or {})
        begins = {**self._told, **reader.behind}
        if instead:
            older = self._named.pop(instead, None)
            if older is None or older.ended:
                return
            self._readers.discard(older)
            reader = _Reader(older.behind)
            older.moved = True
            older.news.set()
        self._readers.add(reader)
        if name:
            self._named[name] = reader
        try:
            yield self._marks(begins)
            while not reader.ended:
                try:
                    async with asyncio.timeout(IDLE_S):
                        await reader.news.wait()
                except TimeoutError:
                    yield self._marks(self._told)
                    continue
                reader.news.clear()
                data, reader.bytes = b"".join(reader.parts), 0
                reader.parts.clear()
                if data:
                    yield data
                if reader.moved:
                    return
        finally:
            self._readers.discard(reader)
            if self._named.get(name) is reader:
                del self._named[name]

    def _gone_on_with(self, behind: Mapping[Pace, int]) -> _Reader:
        """With what is kept behind that, where all of it is."""
        if not behind or any(self._forgotten[pace] > seq for pace, seq in behind.items()):
            return _Reader({})
        reader = _Reader(behind)
        for part in self._kept:
            reader.hear(part)
        return reader

    def _marks(self, positions: Mapping[Pace, int]) -> bytes:
        return b"".join(self._mark(pace, seq) for pace, seq in positions.items())


def _line(message: Message) -> bytes:
    payload = json.dumps(message.payload, separators=(",", ":")).encode()
    rest = b"\t%d" % message.rest_us if message.rest_us else b""
    return b"%s\t%s%s\n" % (message.stream.encode(), payload, rest)
