"""A checkpoint: what the ledger was at one moment, as text that is signed. Pure.

c2sp.org/tlog-checkpoint: origin, size and root of the tree; below them lines of ours, which an auditor recomputes from
the books. A text that is not exactly how this would write it is refused, so equal checkpoints are equal bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from openbourse.ledger.errors import Invalid
from openbourse.ledger.seal.notes import b64, unb64
from openbourse.ledger.seal.tree import HASH_BYTES, leaf_hash

# What the first checkpoint has for the hash of the one before it.
NO_HASH = bytes(HASH_BYTES)
LEAF_DOMAIN = b"openbourse.seal.leaf.v1"
# Every batch number, seq and time is a bigint of the database.
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class ShardEnd:
    """The last batch of a shard that the tree holds, and the last seq in it."""

    shard: str
    batch: int
    seq: int


@dataclass(frozen=True, slots=True, order=True)
class Total:
    """All balances of an asset in a shard by whose they are; traders' are apart. They sum to zero."""

    shard: str
    asset: str
    available: int
    hold: int
    fees: int
    external: int

    @property
    def sum(self) -> int:
        return self.available + self.hold + self.fees + self.external


@dataclass(frozen=True, slots=True, order=True)
class ManualEnd:
    """A shard's last decision on a manual entry, and the head of their chain after it. No line: there was none."""

    shard: str
    number: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`number` counts from 1, `key` is the hash of the public key that signs it, `previous` that of the last text."""

    origin: str
    size: int
    root: bytes
    number: int
    time_us: int
    key: str
    previous: bytes
    shards: tuple[ShardEnd, ...]
    totals: tuple[Total, ...]
    manual: tuple[ManualEnd, ...] = ()

    def text(self) -> str:
        lines = [
            self.origin,
            str(self.size),
            b64(self.root),
            f"number {self.number}",
            f"time_us {self.time_us}",
            f"key {self.key}",
            f"previous {b64(self.previous)}",
            *(f"shard {_word(end.shard)} {end.batch} {end.seq}" for end in self.shards),
            *(
                f"total {_word(t.shard)} {_word(t.asset)} {t.available} {t.hold} {t.fees} {t.external}"
                for t in self.totals
            ),
            *(f"manual {_word(end.shard)} {end.number} {b64(end.head)}" for end in self.manual),
        ]
        return "\n".join(lines) + "\n"

    @property
    def hash(self) -> bytes:
        return text_hash(self.text())

    def liabilities(self) -> dict[str, int]:
        """Asset -> what traders have of it in all shards, available and on hold."""
        owed: dict[str, int] = {}
        for total in self.totals:
            owed[total.asset] = owed.get(total.asset, 0) + total.available + total.hold
        return owed


def text_hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def parse(text: str) -> Checkpoint:
    """Raises Invalid."""
    try:
        checkpoint = _read(text.split("\n"))
    except (ValueError, IndexError, Invalid) as error:
        raise Invalid(f"no checkpoint of a ledger: {error}") from None
    if checkpoint.text() != text:
        raise Invalid("no checkpoint of a ledger: it is not written as one")
    if min(checkpoint.size, checkpoint.number, checkpoint.time_us) < 0 or len(checkpoint.root) != HASH_BYTES:
        raise Invalid("no checkpoint of a ledger: a number or hash out of range")
    if max(checkpoint.size, checkpoint.number, checkpoint.time_us) > _MOST or len(checkpoint.previous) != HASH_BYTES:
        raise Invalid("no checkpoint of a ledger: a number or hash out of range")
    for rows in (checkpoint.shards, checkpoint.totals, checkpoint.manual):
        names: Sequence[tuple[str, str]] = [(row.shard, getattr(row, "asset", "")) for row in rows]
        if sorted(set(names)) != list(names):
            raise Invalid("no checkpoint of a ledger: its lines are not in order, or one is there twice")
    return checkpoint


def _read(lines: list[str]) -> Checkpoint:
    fields = dict(line.split(" ", 1) for line in lines[3:7])
    shards: list[ShardEnd] = []
    totals: list[Total] = []
    manual: list[ManualEnd] = []
    for line in lines[7:-1]:
        kind, *words = line.split(" ")
        if kind == "shard" and len(words) == 3:
            shards.append(ShardEnd(unquote(words[0]), int(words[1]), int(words[2])))
        elif kind == "total" and len(words) == 6:
            available, hold, fees, external = map(int, words[2:])
            totals.append(Total(unquote(words[0]), unquote(words[1]), available, hold, fees, external))
        elif kind == "manual" and len(words) == 3:
            manual.append(ManualEnd(unquote(words[0]), int(words[1]), unb64(words[2])))
        else:
            raise ValueError(f"{line[:80]!r} is no end of a shard, no total and no end of manual entries")
    return Checkpoint(
        origin=lines[0],
        size=int(lines[1]),
        root=unb64(lines[2]),
        number=int(fields.get("number", "")),
        time_us=int(fields.get("time_us", "")),
        key=fields.get("key", ""),
        previous=unb64(fields.get("previous", "")),
        shards=tuple(shards),
        totals=tuple(totals),
        manual=tuple(manual),
    )


def _word(name: str) -> str:
    """A name without spaces or line ends."""
    return quote(name, safe="")


def batch_leaf(shard: str, batch: int, head: bytes) -> bytes:
    """The leaf of a batch, hashed."""
    return leaf_hash(leaf_data(shard, batch, head))


def leaf_data(shard: str, batch: int, head: bytes) -> bytes:
    """Which batch it is, and the head of its shard's chain after it."""
    name = shard.encode()
    return LEAF_DOMAIN + len(name).to_bytes(2, "big") + name + batch.to_bytes(8, "big") + head


def require_origin(origin: str) -> str:
    """An origin as notes can carry it. Raises Invalid."""
    if not origin or len(origin) > 200 or any(c.isspace() or c == "+" or c < " " for c in origin):
        raise Invalid(f"origin {origin[:60]!r}: a name as exchange.example/ledger, without spaces and plus signs")
    return origin
