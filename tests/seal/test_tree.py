"""The Merkle tree against the definition of RFC 6962: every size, every pair of sizes, each byte of a proof."""

import hashlib
from collections.abc import Sequence

import pytest

from openbourse.ledger.seal import tree

SIZES = 130
LEAVES = [tree.leaf_hash(number.to_bytes(2, "big")) for number in range(SIZES)]

# The tree of eight leaves that implementations of RFC 6962 share as a vector: inputs, and the root at each size.
INPUTS = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes.fromhex("606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of section 2.1, word for word, over hashes of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(1 << bit for bit in range(12) if 1 << bit < len(leaves))
    return hashlib.sha256(b"\x01" + definition(leaves[:k]) + definition(leaves[k:])).digest()


def test_the_known_tree_has_its_known_roots() -> None:
    leaves = [tree.leaf_hash(data) for data in INPUTS]
    assert [tree.root_of(leaves[:size]).hex() for size in range(9)] == ROOTS


def test_the_edge_has_the_root_of_the_definition_at_every_size() -> None:
    edge = tree.Edge()
    for size in range(SIZES + 1):
        assert edge.root() == definition(LEAVES[:size])
        assert tree.Edge(edge.size, list(edge.hashes)).root() == edge.root()
        if size < SIZES:
            edge.append(LEAVES[size])
    assert edge.size == SIZES


def test_an_edge_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="a tree of 3 leaves does not have an edge of 1 hashes"):
        tree.Edge(3, [LEAVES[0]])


def test_an_append_hashes_no_more_than_the_height(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = tree.edge_of(LEAVES)
    hashed: list[bytes] = []
    kept = tree.node_hash

    def counted(left: bytes, right: bytes) -> bytes:
        hashed.append(left)
        return kept(left, right)

    monkeypatch.setattr(tree, "node_hash", counted)
    for leaf in LEAVES:
        before = len(hashed)
        edge.append(leaf)
        assert len(hashed) - before <= edge.size.bit_length()


def test_every_leaf_of_every_tree_is_included_and_at_no_other_place() -> None:
    for size in range(1, SIZES + 1):
        root = definition(LEAVES[:size])
        for index in range(size):
            path = tree.inclusion_proof(LEAVES[:size], index)
            assert tree.is_included(LEAVES[index], index, size, path, root)
            # A tree of twice the size is a level higher.
            assert not tree.is_included(LEAVES[index], index, 2 * size, path, root)
            for other in {index ^ 1, index + 1, size - 1 - index, size} - {index}:
                assert not tree.is_included(LEAVES[index], other, size, path, root)
            assert not tree.is_included(LEAVES[index - 1] if size > 1 else b"", index, size, path, root)


def test_every_pair_of_sizes_is_consistent_and_with_no_other_root() -> None:
    roots = [definition(LEAVES[:size]) for size in range(SIZES + 1)]
    for size in range(SIZES + 1):
        for old in range(size + 1):
            path = tree.consistency_proof(tree.edge_of(LEAVES[:old]), LEAVES[old:size])
            assert len(path) <= size.bit_length() + 1
            assert tree.is_consistent(old, roots[old], size, roots[size], path)
            assert not tree.is_consistent(old, roots[old - 1], size, roots[size], path)
            if old:
                assert not tree.is_consistent(old, roots[old], size, roots[size - 1], path)
            if 0 < old < size:
                assert not tree.is_consistent(old - 1, roots[old], size, roots[size], path)
                assert not tree.is_consistent(old, roots[old], size, roots[size], path[:-1])
                assert not tree.is_consistent(old, roots[old], size, roots[size], [*path, path[0]])


def test_each_byte_of_a_proof_counts() -> None:
    mutations = 0
    for size in (*range(1, 18), 64, 127, SIZES):
        leaves = LEAVES[:size]
        root = definition(leaves)
        for index in {0, size // 3, size // 2, size - 1}:
            path = tree.inclusion_proof(leaves, index)
            for forged in _mutations(path):
                mutations += 1
                assert not tree.is_included(leaves[index], index, size, forged, root)
            if index:
                path = tree.consistency_proof(tree.edge_of(leaves[:index]), leaves[index:])
                old_root = definition(leaves[:index])
                for forged in _mutations(path):
                    mutations += 1
                    assert not tree.is_consistent(index, old_root, size, root, forged)
    assert mutations > 10_000


def _mutations(path: list[bytes]) -> list[list[bytes]]:
    """Each byte changed, each hash left out, doubled or moved."""
    forged = [
        [*path[:at], node[:byte] + bytes([node[byte] ^ 0x01]) + node[byte + 1 :], *path[at + 1 :]]
        for at, node in enumerate(path)
        for byte in range(len(node))
    ]
    forged += [path[:at] + path[at + 1 :] for at in range(len(path))]
    forged += [[*path[: at + 1], *path[at:]] for at in range(len(path))]
    forged += [[*path[:at], path[at + 1], path[at], *path[at + 2 :]] for at in range(len(path) - 1)]
    return forged


def test_what_is_not_there_cannot_be_proven() -> None:
    with pytest.raises(IndexError, match="leaf 5 is not in a tree of 5"):
        tree.inclusion_proof(LEAVES[:5], 5)
    assert not tree.is_included(LEAVES[0], -1, 1, [], LEAVES[0])
    assert not tree.is_consistent(-1, b"", 1, LEAVES[0], [])
    assert not tree.is_consistent(2, LEAVES[0], 1, LEAVES[0], [])
