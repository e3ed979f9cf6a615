"""What waits to be sent to one client, bounded. No I/O, no clock.

A client that keeps up gets every message. Of one that does not, messages of a stream that tell what is are merged: the
newest stands for those before, diffs of the book become one over all their range. So nothing that is sent is wrong and
no diff is missing. Trades are never merged. What does not fit in then is too much: the client is let go.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import Any

from openbourse.gateway.streams.time_units import in_microseconds
from openbourse.gateway.websocket_frames import text_frame

# From so many on, messages are merged where they can be.
MERGED_FROM = 16
MESSAGES_MOST = 2_000
BYTES_MOST = 1024 * 1024
# What is counted for a level or a row that waits to be written: about what it is as text.
LEVEL_BYTES = 48
ROW_BYTES = 600
# Of one stream, whose frames are kept as long as it is sent.
NAMES_MOST = 4


class Merging(Enum):
    # Each one counts.
    NEVER = auto()
    # The newest says all.
    NEWEST = auto()
    # The newest says all, but for the last word on a candle.
    CANDLE = auto()
    # Ranges of update ids, levels as they are now.
    DIFF = auto()
    # A list with a row for each symbol.
    ROWS = auto()


def merging_of(stream: str) -> Merging:
    _, _, kind = stream.partition("@")
    if kind in ("depth", "depth@100ms"):
        return Merging.DIFF
    if stream.startswith("!"):
        return Merging.ROWS
    if kind.startswith("kline_"):
        return Merging.CANDLE
    if kind in ("bookTicker", "avgPrice") or kind.startswith(("ticker", "miniTicker", "depth")):
        return Merging.NEWEST
    return Merging.NEVER


class Message:
    """One message of a stream, the same object for all who hear it: it is taken apart once at most.

    For who asked for microseconds: `rest_us` is what its time has beyond the milliseconds in the payload, or
    `microseconds` the whole payload in these.
    """

    def __init__(self, stream: str, payload: str, rest_us: int = 0, microseconds: str | None = None) -> None:
        self.stream = stream
        self.payload = payload
        self._rest_us = rest_us
        self._microseconds = microseconds
        # By the name under which it is sent, and bare: encoded once for all.
        self._frames: dict[str | None, bytes] = {}

    def frame(self, name: str | None) -> bytes:
        """With the name that a client calls the stream by, or bare."""
        frame = self._frames.get(name)
        if frame is None:
            frame = text_frame(self.payload if name is None else named(name, self.payload))
            if len(self._frames) < NAMES_MOST:
                self._frames[name] = frame
        return frame

    @cached_property
    def in_microseconds(self) -> "Message":
        return Message(self.stream, self._microseconds or _json(in_microseconds(self.document, self._rest_us)))

    @cached_property
    def document(self) -> Any:
        return json.loads(self.payload)

    @cached_property
    def is_last_word(self) -> bool:
        return bool(self.document["k"]["x"])


@dataclass(slots=True)
class _Diffs:
    """Diffs that follow each other, as one."""

    last: dict[str, Any]
    first_id: int
    bids: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)

    def add(self, document: dict[str, Any]) -> None:
        self.last = document
        self.bids.update(document["b"])
        self.asks.update(document["a"])

    @property
    def bytes(self) -> int:
        return ROW_BYTES + LEVEL_BYTES * (len(self.bids) + len(self.asks))

    def text(self) -> str:
        return _json({**self.last, "U": self.first_id, "b": list(self.bids.items()), "a": list(self.asks.items())})


@dataclass(slots=True)
class _Rows:
    by_symbol: dict[str, Any] = field(default_factory=dict)

    def add(self, document: list[dict[str, Any]]) -> None:
        for row in document:
            self.by_symbol[row["s"]] = row

    @property
    def bytes(self) -> int:
        return ROW_BYTES * len(self.by_symbol)

    def text(self) -> str:
        return _json(list(self.by_symbol.values()))


@dataclass(slots=True)
class _Waiting:
    name: str
    message: Message
    bytes: int
    merged: _Diffs | _Rows | None = None

    def text(self) -> str:
        return self.message.payload if self.merged is None else self.merged.text()


class Outbox:
    """Messages leave in the order in which they came; a merged one has the place of its newest part."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        # The newest that waits of each stream.
        self._newest: dict[str, int] = {}
        self._count = 0
        self.bytes = 0
        self.merges = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, name: str, message: Message) -> bool:
        """`name` is what the client calls the stream. False: it does not fit, the client is too slow."""
        merged: _Diffs | _Rows | None = None
        size = len(message.payload)
        before = self._waiting.get(self._newest.get(name, -1)) if len(self._waiting) >= MERGED_FROM else None
        if before is not None and self._may_replace(before, message):
            merged = _merged(before, message)
            del self._waiting[self._newest[name]]
            self.bytes -= before.bytes
            size = size if merged is None else merged.bytes
            self.merges += 1
        self._count += 1
        self._waiting[self._count] = _Waiting(name, message, size, merged)
        self._newest[name] = self._count
        self.bytes += size
        return self.bytes <= BYTES_MOST and len(self._waiting) <= MESSAGES_MOST

    def _may_replace(self, before: _Waiting, message: Message) -> bool:
        match merging_of(message.stream):
            case Merging.NEVER:
                return False
            case Merging.CANDLE:
                return not before.message.is_last_word
            case Merging.DIFF:
                # Else the client let the stream go in between.
                last_id: int = before.message.document["u"]
                return last_id + 1 == int(message.document["U"])
            case _:
                return True

    def take(self) -> tuple[str, str] | None:
        """The name of the next one and its text. None: nothing waits."""
        if not self._waiting:
            return None
        number, waiting = self._waiting.popitem(last=False)
        if self._newest.get(waiting.name) == number:
            del self._newest[waiting.name]
        self.bytes -= waiting.bytes
        return waiting.name, waiting.text()


def _merged(before: _Waiting, message: Message) -> _Diffs | _Rows | None:
    match merging_of(message.stream):
        case Merging.DIFF:
            merged: _Diffs | _Rows | None = before.merged
            if merged is None:
                merged = _Diffs(before.message.document, before.message.document["U"])
                merged.add(before.message.document)
            assert isinstance(merged, _Diffs)
        case Merging.ROWS:
            merged = before.merged
            if merged is None:
                merged = _Rows()
                merged.add(before.message.document)
        case _:
            return None
    merged.add(message.document)
    return merged


def named(name: str, text: str) -> str:
    """As the combined streams have it."""
    return f'{{"stream":{_json(name)},"data":{text}}}'


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
