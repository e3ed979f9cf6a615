"""Proofs that fit in a file: that a batch is in a checkpoint, and that one checkpoint continues another.

The first is a proof of c2sp.org/tlog-proof, whose `extra` is the leaf; both come with the announced keys. `inclusion`
and `consistency` read the seal; checking is pure and needs the first public key alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openbourse.ledger import database
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import keychain, notes, store, tree
from openbourse.ledger.seal.checkpoint import LEAF_DOMAIN, Checkpoint, leaf_data
from openbourse.ledger.seal.notes import Note, b64, unb64
from openbourse.ledger.seal.tree import HASH_BYTES, inclusion_proof, is_consistent, is_included, leaf_hash

_TITLE = "c2sp.org/tlog-proof@v1"


async def inclusion(connection: Connection, shard: str, batch: int) -> dict[str, Any]:
    """Of a batch in the first checkpoint that holds it. Raises Invalid and Unavailable."""
    try:
        row = await connection.fetchrow(store.SQL["sealed_batch"], shard, batch)
        if row is None:
            raise Invalid(f"shard {shard} has no batch {batch} that is sealed")
        found = await store.stored(connection, "checkpoint_after", row["leaf"])
        if found is None:
            raise Invalid(f"shard {shard} batch {batch} is in no checkpoint yet")
        path = inclusion_proof(await store.leaves_between(connection, 0, found.size), row["leaf"])
        announced = await store.keys(connection)
    except database.CONNECTION_ERRORS as error:
        raise database.as_ledger_error(error) from error
    lines = [_TITLE, f"extra {b64(leaf_data(shard, batch, row['head']))}", f"index {row['leaf']}", *map(b64, path)]
    return {"inclusion": "\n".join(lines) + f"\n\n{found.note}", "keys": [str(note) for note in announced]}


async def consistency(connection: Connection, first: int, last: int) -> dict[str, Any]:
    """From checkpoint `first` to checkpoint `last`. Raises Invalid and Unavailable."""
    try:
        old, new = [await store.stored(connection, "checkpoint", number) for number in (first, last)]
        if old is None or new is None or old.size > new.size:
            raise Invalid(f"there are no checkpoints {first} and, after it, {last}")
        path = tree.consistency_proof(old.edge, await store.leaves_between(connection, old.size, new.size))
        announced = await store.keys(connection)
    except database.CONNECTION_ERRORS as error:
        raise database.as_ledger_error(error) from error
    return {
        "from": str(old.note),
        "to": str(new.note),
        "consistency": [b64(node) for node in path],
        "keys": [str(note) for note in announced],
    }


@dataclass(frozen=True, slots=True)
class Included:
    shard: str
    batch: int
    head: bytes
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Continued:
    old: Checkpoint
    new: Checkpoint


def check(proof: object, first_key: bytes) -> Included | Continued:
    """What a file proves. Raises Invalid for what is no proof, and Diverged for one that proves nothing."""
    try:
        assert isinstance(proof, dict)
        chain = keychain.follow(first_key, [notes.parse(note) for note in proof["keys"]])
        if "consistency" not in proof:
            return _included(proof["inclusion"], chain)
        old, new = (chain.checkpoint(notes.parse(proof[end])) for end in ("from", "to"))
        path = _hashes(proof["consistency"])
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise Invalid(f"no proof: {error!r}") from None
    if not is_consistent(old.size, old.root, new.size, new.root, path):
        raise Diverged(f"checkpoint {new.number} does not continue checkpoint {old.number}")
    return Continued(old, new)


def _included(text: str, chain: keychain.KeyChain) -> Included:
    head, _, rest = text.partition("\n\n")
    title, extra, index, *path = head.split("\n")
    note: Note = notes.parse(rest)
    data = unb64(extra.removeprefix("extra "))
    length = int.from_bytes(data[len(LEAF_DOMAIN) : len(LEAF_DOMAIN) + 2], "big")
    name, number, batch_head = data[len(LEAF_DOMAIN) + 2 :][:length], data[-40:-32], data[-32:]
    shard, batch = name.decode(), int.from_bytes(number, "big")
    if title != _TITLE or leaf_data(shard, batch, batch_head) != data or f"index {int(index[6:])}" != index:
        raise ValueError("it is not written as one")
    checkpoint = chain.checkpoint(note)
    if not is_included(leaf_hash(data), int(index[6:]), checkpoint.size, _hashes(path), checkpoint.root):
        raise Diverged(f"shard {shard} batch {batch} is not in checkpoint {checkpoint.number}")
    return Included(shard, batch, batch_head, checkpoint)


def _hashes(lines: Sequence[str]) -> list[bytes]:
    hashes = [unb64(line) for line in lines]
    if any(len(node) != HASH_BYTES for node in hashes):
        raise ValueError("a hash of another length")
    return hashes
