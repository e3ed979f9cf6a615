"""Reads the files of an export: binary COPY, tuple after tuple, in bounded memory. Knows no table.

A file that is not exactly a COPY raises Malformed with the byte at which it is not.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from openbourse.ledger.chain import COPY_HEADER, COPY_TRAILER

CHUNK_BYTES = 8 * 1024 * 1024
# A tuple with texts of any length that a person would write; notes are the longest.
TUPLE_BYTES_MOST = 1024 * 1024

_LENGTH = struct.Struct(">i")
_INT8 = struct.Struct(">q")


class Malformed(Exception):
    """The file is not what an export has; where and why."""


class Tuples:
    """The tuples of one file from a position on: `data[at:end]` is in memory, what begins below `limit` as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Malformed(f"{path.name} is missing: {error.strerror}") from None
        self._base = 0
        self._complete = False
        self.at = self.end = self.limit = 0
        # One piece of memory for the whole file; what lies behind `end` in it is of before.
        self.data = bytearray(min(path.stat().st_size + 1, CHUNK_BYTES + TUPLE_BYTES_MOST))
        try:
            self._fill()
            if self.data[: len(COPY_HEADER)] != COPY_HEADER:
                raise self.malformed("it does not begin as a binary COPY")
            self.at = len(COPY_HEADER)
            self._find_limit()
        except Malformed:
            self._file.close()
            raise

    def __enter__(self) -> "Tuples":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def malformed(self, why: str) -> Malformed:
        return Malformed(f"{self._path.parent.name}/{self._path.name}, byte {self._base + self.at}: {why}")

    def _fill(self) -> None:
        """Moves what is left to the front, and reads as much more as there is room for."""
        rest = self.end - self.at
        self.data[:rest] = self.data[self.at : self.end]
        self._base, self.at, self.end = self._base + self.at, 0, rest
        with memoryview(self.data) as view:
            while self.end < len(view) and (read := self._file.readinto(view[self.end :])):
                self.end += read
            self._complete = self.end < len(view)

    def _find_limit(self) -> None:
        if not self._complete:
            self.limit = self.end - TUPLE_BYTES_MOST
            return
        if self.end - self.at < len(COPY_TRAILER) or self.data[self.end - 2 : self.end] != COPY_TRAILER:
            raise self.malformed("it does not end as a COPY: it was cut")
        self.end -= len(COPY_TRAILER)
        self.limit = self.end

    def more(self) -> bool:
        """Whether there is a tuple; the whole of it is in memory then."""
        if self.at >= self.limit and not self._complete:
            self._fill()
            self._find_limit()
        return self.at < self.end

    def seq(self) -> int:
        """The first field of the tuple here, a bigint."""
        try:
            fields, length, seq = struct.unpack_from(">hiq", self.data, self.at)
        except struct.error:
            raise self.malformed("a tuple that does not fit") from None
        if fields < 1 or length != 8:
            raise self.malformed("a tuple that does not begin with a bigint")
        return int(seq)

    def take(self) -> list[bytes | None]:
        """The fields of the tuple here, and goes past it."""
        data, at = self.data, self.at
        fields: list[bytes | None] = []
        try:
            count = int.from_bytes(data[at : at + 2], "big")
            at += 2
            for _ in range(count):
                (length,) = _LENGTH.unpack_from(data, at)
                at += 4
                if length < -1 or at + length > self.end:
                    raise self.malformed("a field that does not fit")
                fields.append(None if length == -1 else bytes(data[at : at + length]))
                at += max(length, 0)
        except struct.error:
            raise self.malformed("a tuple that does not fit") from None
        self.at = at
        return fields


def rows(path: Path, kinds: str) -> Iterator[tuple[object, ...]]:
    """All tuples of a file: `q` bigint, `i` integer, `t` text, `b` bytes, none of them NULL."""
    with Tuples(path) as tuples:
        while tuples.more():
            before = tuples.at
            fields = tuples.take()
            try:
                yield tuple(_value(kind, field) for kind, field in zip(kinds, fields, strict=True))
            except (ValueError, struct.error) as error:
                tuples.at = before
                raise tuples.malformed(f"a tuple of another table: {error}") from None


def _value(kind: str, field: bytes | None) -> object:
    if field is None:
        raise ValueError("a NULL")
    match kind:
        case "q":
            return _INT8.unpack(field)[0]
        case "i":
            return _LENGTH.unpack(field)[0]
        case "t":
            return field.decode()
    return field
