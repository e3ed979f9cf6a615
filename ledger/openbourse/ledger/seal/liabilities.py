"""Proof of liabilities: for each asset a Merkle tree of what each trader has, with sums, bound to one checkpoint. Pure.

The root's sum has to be what the checkpoint says that traders have, and the checkpoint is recomputed from the books by
whoever verifies the ledger. So nobody can be left out unless another's amount, or a sum on some path, is false.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from openbourse.contracts.units import INT64_MAX
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import keychain, notes
from openbourse.ledger.seal.checkpoint import Checkpoint, parse
from openbourse.ledger.seal.keychain import KeyChain
from openbourse.ledger.seal.notes import Note, Signer, b64, unb64
from openbourse.ledger.seal.tree import HASH_BYTES

_TITLE = "openbourse liabilities 1"
SALT_BYTES = 32
# A tree of so many levels has more leaves than there can be accounts.
DEPTH_MOST = 64
_SUM_BYTES = 16
_SUM_MOST = 2**127 - 1


@dataclass(frozen=True, slots=True)
class Node:
    """A subtree: its hash, and what all its leaves have together."""

    hash: bytes
    sum: int


@dataclass(frozen=True, slots=True)
class Root:
    """Of one asset: how many levels are above a leaf, and the top."""

    depth: int
    top: Node


def leaf(checkpoint: bytes, salt: bytes, account: int, amount: int, asset: str) -> Node:
    """What an account has; the salt, known to nobody else, keeps a neighbour from guessing it."""
    assert len(salt) == SALT_BYTES and 0 <= amount <= INT64_MAX
    return Node(
        hashlib.sha256(
            b"openbourse.liability.leaf.v1"
            + checkpoint
            + salt
            + account.to_bytes(8, "big")
            + amount.to_bytes(8, "big")
            + asset.encode()
        ).digest(),
        amount,
    )


def join(left: Node, right: Node) -> Node:
    """The parent, which binds both hashes and both sums."""
    return Node(
        hashlib.sha256(
            b"openbourse.liability.node.v1"
            + left.hash
            + left.sum.to_bytes(_SUM_BYTES, "big")
            + right.hash
            + right.sum.to_bytes(_SUM_BYTES, "big")
        ).digest(),
        left.sum + right.sum,
    )


class SumTree:
    """All leaves of one asset, filled up to a power of two with leaves of nothing that look like the others."""

    def __init__(self, leaves: Mapping[int, Node], fill: Sequence[bytes]) -> None:
        """`leaves` by account; `fill`: at least as many random hashes as are missing to the power of two."""
        missing = missing_to_power_of_two(len(leaves))
        assert leaves and len(fill) >= missing
        # In the order of their hashes, which says nothing about accounts.
        bottom = sorted([*leaves.values(), *(Node(each, 0) for each in fill[:missing])], key=lambda node: node.hash)
        self._index = {node.hash: at for at, node in enumerate(bottom)}
        self._leaves = leaves
        self.levels = [bottom]
        while len(below := self.levels[-1]) > 1:
            self.levels.append([join(below[at], below[at + 1]) for at in range(0, len(below), 2)])

    @property
    def root(self) -> Root:
        return Root(len(self.levels) - 1, self.levels[-1][0])

    def path(self, account: int) -> tuple[int, list[Node]]:
        """Where the account's leaf is, and what stands beside the way up from it."""
        index = self._index[self._leaves[account].hash]
        return index, [level[index >> height ^ 1] for height, level in enumerate(self.levels[:-1])]


def missing_to_power_of_two(count: int) -> int:
    return (1 << (count - 1).bit_length()) - count


def statement(checkpoint: Checkpoint, roots: Mapping[str, Root]) -> str:
    """The text that is signed: which checkpoint, and the root of each asset that anybody has."""
    lines = [
        f"asset {quote(asset, safe='')} {root.depth} {root.top.sum} {b64(root.top.hash)}"
        for asset, root in sorted(roots.items())
    ]
    return "\n".join([_TITLE, checkpoint.origin, f"checkpoint {b64(checkpoint.hash)}", *lines]) + "\n"


@dataclass(frozen=True, slots=True)
class Proofs:
    """The signed statement, and each account's file."""

    statement: Note
    files: dict[int, dict[str, Any]]


def prove(
    checkpoint: Note,
    announced: Sequence[Note],
    balances: Mapping[str, Mapping[int, int]],
    salts: Mapping[int, bytes],
    fill: Mapping[str, Sequence[bytes]],
    *,
    signer: Signer,
) -> Proofs:
    """`balances`: asset -> account -> amount, above zero. Raises Diverged when they are not the checkpoint's."""
    said = parse(checkpoint.text)
    owed = {asset: sum(amounts.values()) for asset, amounts in balances.items()}
    if owed != _owed(said):
        raise Diverged(f"traders' balances sum to {owed}, checkpoint {said.number} says {_owed(said)}")
    trees = {}
    for asset, amounts in balances.items():
        for account, amount in amounts.items():
            if not 0 < amount <= INT64_MAX:
                raise Diverged(f"account {account} has {amount} of {asset}")
        leaves = {account: leaf(said.hash, salts[account], account, amounts[account], asset) for account in amounts}
        trees[asset] = SumTree(leaves, fill[asset])
    text = statement(said, {asset: tree.root for asset, tree in trees.items()})
    signed = Note(text, (notes.sign(text, said.origin, signer),))
    files = {}
    for account, salt in salts.items():
        assets = {}
        for asset, tree in trees.items():
            if account in balances[asset]:
                index, path = tree.path(account)
                assets[asset] = {
                    "amount": str(balances[asset][account]),
                    "index": str(index),
                    "path": [[node.hash.hex(), str(node.sum)] for node in path],
                }
        files[account] = {
            "account": str(account),
            "salt": salt.hex(),
            "assets": assets,
            "liabilities": str(signed),
            "checkpoint": str(checkpoint),
            "keys": [str(note) for note in announced],
        }
    return Proofs(signed, files)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a good file proves: of these totals, these amounts are the account's."""

    account: int
    amounts: dict[str, int]
    totals: dict[str, int]
    checkpoint: Checkpoint


def check(file: object, first_key: bytes) -> Counted:
    """Of one account's file. Raises Invalid for what is no such file, and Diverged for what proves nothing."""
    try:
        assert isinstance(file, dict)
        announced = [notes.parse(note) for note in file["keys"]]
        chain = keychain.follow(first_key, announced)
        checkpoint = chain.checkpoint(notes.parse(file["checkpoint"]))
        roots = _roots(notes.parse(file["liabilities"]), checkpoint, chain)
        account, salt = _number(file["account"], INT64_MAX), bytes.fromhex(file["salt"])
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        amounts = {}
        for asset, part in file["assets"].items():
            amounts[asset] = _number(part["amount"], INT64_MAX)
            path = [Node(bytes.fromhex(node), _number(total, _SUM_MOST)) for node, total in part["path"]]
            index = _number(part["index"], (1 << len(path)) - 1)
            if asset not in roots or len(path) > DEPTH_MOST or any(len(node.hash) != HASH_BYTES for node in path):
                raise ValueError(f"no path of {asset}")
            if _climb(leaf(checkpoint.hash, salt, account, amounts[asset], asset), index, path) != roots[asset]:
                raise Diverged(f"{asset}: the path of account {account} does not lead to the root that was signed")
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise Invalid(f"no proof of liabilities: {error!r}") from None
    return Counted(account, amounts, {asset: root.top.sum for asset, root in roots.items()}, checkpoint)


def _climb(node: Node, index: int, path: Sequence[Node]) -> Root:
    for height, sibling in enumerate(path):
        node = join(sibling, node) if index >> height & 1 else join(node, sibling)
    return Root(len(path), node)


def _roots(note: Note, checkpoint: Checkpoint, chain: KeyChain) -> dict[str, Root]:
    """The roots that were signed for this checkpoint, whose sums are what it says that traders have."""
    due = chain.key_of(checkpoint.number)
    if not notes.is_signed(note, chain.origin, due.public):
        raise Diverged("the roots are not signed by the key that signed the checkpoint")
    lines = note.text.split("\n")[:-1]
    roots = {}
    for line in lines[3:]:
        _, asset, depth, total, top = line.split(" ")
        roots[unquote(asset)] = Root(_number(depth, DEPTH_MOST), Node(unb64(top), _number(total, _SUM_MOST)))
    if lines[:2] != [_TITLE, chain.origin] or lines[2] != f"checkpoint {b64(checkpoint.hash)}":
        raise Diverged(f"the roots are not of checkpoint {checkpoint.number}")
    if statement(checkpoint, roots) != note.text:
        raise Invalid("the roots are not written as they should be")
    if {asset: root.top.sum for asset, root in roots.items()} != _owed(checkpoint):
        raise Diverged(f"the roots' sums are not what traders have at checkpoint {checkpoint.number}")
    return roots


def _owed(checkpoint: Checkpoint) -> dict[str, int]:
    return {asset: total for asset, total in checkpoint.liabilities().items() if total}


def _number(text: object, most: int) -> int:
    """Text as this writes a number from 0 to `most`. Raises ValueError."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise ValueError(f"{str(text)[:40]!r} is no number from 0 on")
    if int(text) > most:
        raise ValueError(f"{text[:40]} is out of range")
    return int(text)
