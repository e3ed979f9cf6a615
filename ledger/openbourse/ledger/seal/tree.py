"""The Merkle tree of RFC 6962, section 2.1: append, root, inclusion and consistency proofs, and how to check them.

Pure. Appending needs the right edge alone, whose hashes are at most 64 however many leaves there are; a proof of
consistency needs the leaves since as well. Nothing here knows what a leaf holds.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(slots=True)
class Edge:
    """A tree of `size` leaves as the roots of its full subtrees, largest first: all that an append needs."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves does not have an edge of {len(self.hashes)} hashes")

    def append(self, leaf: bytes) -> None:
        """Adds the hash of a leaf."""
        hashes, full = self.hashes, self.size
        while full & 1:
            leaf = node_hash(hashes.pop(), leaf)
            full >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        return _joined(self.hashes) if self.hashes else EMPTY_ROOT

    def copy(self) -> "Edge":
        return Edge(self.size, list(self.hashes))


def _joined(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring full subtrees, largest first."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def edge_of(leaves: Iterable[bytes]) -> Edge:
    """The edge of a tree of these hashes of leaves."""
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    return edge


def root_of(leaves: Sequence[bytes]) -> bytes:
    return edge_of(leaves).root()


def _left_of(size: int) -> int:
    """The largest power of two smaller than `size`: how many leaves are in the left subtree."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The path from leaf `index` to the root of all `leaves`, from the leaf up. Raises IndexError."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} is not in a tree of {len(leaves)}")
    path = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _left_of(high - low)
        if index < middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    return path[::-1]


def consistency_proof(old: Edge, new: Sequence[bytes]) -> list[bytes]:
    """What shows that a tree with this edge is how the tree with the `new` leaves appended to it began."""
    path: list[bytes] = []
    if old.size == 0 or not new:
        return path
    edge = list(old.hashes)
    low, high = 0, old.size + len(new)
    while high != old.size:
        middle = low + _left_of(high - low)
        if old.size <= middle:
            path.append(root_of(new[middle - old.size : high - old.size]))
            high = middle
        else:
            # What lies left of it is a full subtree of the old tree, so it is of its edge.
            path.append(edge.pop(0))
            low = middle
    # The old root itself is known to whoever checks.
    return ([_joined(edge)] if low else []) + path[::-1]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` leads from the hash of leaf `index` to the root of a tree of `size` leaves."""
    if not 0 <= index < size:
        return False
    last, found = size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            found = node_hash(sibling, found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the tree of `old_size` leaves is how the tree of `size` leaves began."""
    if not 0 <= old_size <= size:
        return False
    if old_size in (0, size):
        return not path and old_root == (EMPTY_ROOT if old_size == 0 else root)
    hashes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not hashes:
        return False
    index, last = old_size - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and old == old_root and new == root
