"""What ties the batches of a shard into one chain: a hash over what a batch wrote, and over that and the one before.

    content = SHA-256("openbourse.ledger.content.v1" || for each section: tag, length, SHA-256 of its bytes)
    head    = SHA-256("openbourse.ledger.head.v1" || previous head || the batch's row || content)

A section's bytes are the tuples of a binary COPY of it (`sql/chain.sql`), so what an export holds is what was hashed.
docs/decisions/2026-11-28-settled-batches-are-chained.md has every byte. Pure: nothing here reads a database or a clock.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

CONTENT_DOMAIN = b"openbourse.ledger.content.v1"
HEAD_DOMAIN = b"openbourse.ledger.head.v1"

# In the order in which they are hashed; each is a query of sql/chain.sql.
SECTIONS = ("entries", "assets", "symbols", "checkpoints", "transfers")
TAG_BYTES = 16

NO_HEAD = bytes(32)

# What a binary COPY has around its tuples: signature, flags, no extension; and the end.
COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"


class Link(NamedTuple):
    """Where a shard's chain is: the last batch and its head. Before the first: 0 and NO_HEAD."""

    batch: int
    head: bytes


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of ledger.batches, but for its head."""

    shard: str
    batch: int
    session_epoch: int
    first_seq: int
    last_seq: int
    entries: int
    settled_at_us: int
    content: bytes


class SectionHash:
    """Of a section that comes in parts, as COPY sends it: with its header and trailer, which are not hashed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._header_left = len(COPY_HEADER)
        # The last bytes so far: the end of COPY is no part of the tuples.
        self._held = b""
        self.length = 0

    def feed(self, data: bytes) -> None:
        skipped = min(self._header_left, len(data))
        self._header_left -= skipped
        data = self._held + data[skipped:]
        body, self._held = data[: -len(COPY_TRAILER)], data[-len(COPY_TRAILER) :]
        self._hash.update(body)
        self.length += len(body)

    def digest(self) -> bytes:
        assert self._held == COPY_TRAILER and not self._header_left, "a COPY that did not end"
        return self._hash.digest()


def content(sections: Mapping[str, bytes]) -> bytes:
    """Of a batch, given the tuples of its sections; one that is missing has none."""
    return content_of_digests(
        {
            name: (len(tuples), hashlib.sha256(tuples).digest())
            for name, tuples in ((name, sections.get(name, b"")) for name in SECTIONS)
        }
    )


def content_of_digests(sections: Mapping[str, tuple[int, bytes]]) -> bytes:
    """The same, given the length and the SHA-256 of each section's tuples."""
    parts = [CONTENT_DOMAIN]
    for name in SECTIONS:
        length, digest = sections[name]
        parts += (name.encode().ljust(TAG_BYTES, b"\0"), struct.pack(">Q", length), digest)
    return hashlib.sha256(b"".join(parts)).digest()


def head(previous: bytes, row: BatchRow) -> bytes:
    """The head after `row`. The database computes the same (ledger.head_of) and refuses another."""
    shard = row.shard.encode()
    return hashlib.sha256(
        b"".join(
            (
                HEAD_DOMAIN,
                previous,
                struct.pack(">H", len(shard)),
                shard,
                struct.pack(
                    ">6q",
                    *(row.batch, row.session_epoch, row.first_seq, row.last_seq, row.entries, row.settled_at_us),
                ),
                row.content,
            )
        )
    ).digest()
