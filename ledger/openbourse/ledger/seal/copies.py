"""Reads the files of an export: binary COPY, tuple after tuple, in bounded memory. Knows no table.

A file that is not exactly a COPY raises Malformed with the byte at which it is not.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from openbourse.ledger.chain import COPY_HEADER, COPY_TRAILER

CHUNK_BYTES = 16 * 1024 * 1024
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
        self.at = 0
        self.data = self._file.read(len(COPY_HEADER))
        try:
            if self.data != COPY_HEADER:
                raise self.malformed("it does not begin as a binary COPY")
            self.at = len(COPY_HEADER)
            self._finish()
        except Malformed:
            self._file.close()
            raise

    def __enter__(self) -> "Tuples":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def malformed(self, why: str) -> Malformed:
        return Malformed(f"{self._path.parent.name}/{self._path.name}, byte {self._base + self.at}: {why}")

    def _finish(self) -> None:
        """Whether all is in memory, and how far tuples go."""
        more = self._file.read(CHUNK_BYTES)
        self.data += more
        self._complete = len(more) < CHUNK_BYTES
        self.end = len(self.data) - len(COPY_TRAILER) if self._complete else len(self.data)
        self.limit = self.end if self._complete else self.end - TUPLE_BYTES_MOST
        if self._complete and (self.end < self.at or not self.data.endswith(COPY_TRAILER)):
            raise self.malformed("it does not end as a COPY: it was cut")

    def more(self) -> bool:
        """Whether there is a tuple; the whole of it is in memory then."""
        if self.at >= self.limit and not self._complete:
            self._base += self.at
            self.data, self.at = self.data[self.at :], 0
            self._finish()
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
                fields.append(None if length == -1 else data[at : at + length])
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
