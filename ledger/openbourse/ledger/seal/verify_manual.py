"""Recomputes the chain of a shard's manual entries in an export, and what they moved.

The checkpoints say where the chain ended when they were signed: one that was cut off or written anew is found by that.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from openbourse.ledger.accounts import HOUSE_ACCOUNTS
from openbourse.ledger.chain import NO_HEAD
from openbourse.ledger.seal.checkpoint import Checkpoint, ManualEnd
from openbourse.ledger.seal.copies import Tuples
from openbourse.ledger.seal.verdict import Verdict

DOMAIN = b"openbourse.ledger.manual.v1"

# How many fields there are, and the bytes of the last, which is the head.
_FIELDS = 17
_HEAD_BYTES = 4 + 32


def moved_by_hand(
    path: Path, shard: str, checkpoints: Sequence[Checkpoint], verdict: Verdict
) -> dict[tuple[int, str], int]:
    """(account, asset) -> what posted entries move. An export of before there were any has no file: nothing.

    Raises Malformed.
    """
    moved: dict[tuple[int, str], int] = {}
    heads = [NO_HEAD]
    if path.exists():
        _follow(path, shard, moved, heads, verdict)
    _compare(shard, checkpoints, heads, verdict)
    return moved


def _follow(path: Path, shard: str, moved: dict[tuple[int, str], int], heads: list[bytes], verdict: Verdict) -> None:
    """Adds what each moved, and the head of the chain after each."""
    head, number, reversed_ones = NO_HEAD, 0, set()
    with Tuples(path) as tuples:
        while tuples.more():
            start = tuples.at
            fields = tuples.take()
            number += 1
            if len(fields) != _FIELDS or any(fields[at] is None for at in range(_FIELDS) if at != 5):
                raise tuples.malformed("a tuple of another table")
            whole = [field or b"" for field in fields]
            hashed = bytes(tuples.data[start + 2 : tuples.at - _HEAD_BYTES])
            head = hashlib.sha256(DOMAIN + head + hashed).digest()
            from_account, to_account, amount = (int.from_bytes(field, "big", signed=True) for field in whole[7:10])
            wrong = None
            if int.from_bytes(whole[0], "big") != number or whole[2] != shard.encode():
                wrong = "another one was decided in its place"
            elif head != whole[16]:
                wrong = "it is not the one that was decided (head)"
            elif whole[11] == whole[14]:
                wrong = "the person who proposed it decided it"
            elif not {from_account, to_account} <= HOUSE_ACCOUNTS.keys() or from_account == to_account or amount <= 0:
                wrong = "it is not between two house accounts"
            elif whole[13] == b"posted" and fields[5] in reversed_ones:
                wrong = "what it reverses was reversed before"
            if wrong:
                verdict.wrong(f"shard {shard}, manual entry {number}", wrong)
                head = whole[16]
            heads.append(head)
            if whole[13] != b"posted":
                continue
            if fields[5] is not None:
                reversed_ones.add(fields[5])
            asset = whole[6].decode()
            moved[from_account, asset] = moved.get((from_account, asset), 0) - amount
            moved[to_account, asset] = moved.get((to_account, asset), 0) + amount


def _compare(shard: str, checkpoints: Sequence[Checkpoint], heads: Sequence[bytes], verdict: Verdict) -> None:
    """The first checkpoint that was signed over other entries than are there, or over more."""
    sealed = 0
    for checkpoint in checkpoints:
        end = next((end for end in checkpoint.manual if end.shard == shard), ManualEnd(shard, 0, NO_HEAD))
        if end.number >= len(heads):
            what = f"it was signed over {end.number} manual entries of shard {shard}, {len(heads) - 1} are there"
        elif heads[end.number] != end.head or end.number < sealed:
            what = f"the manual entries of shard {shard} up to {end.number} are not the ones that were signed (head)"
        else:
            sealed = end.number
            continue
        verdict.wrong(f"checkpoint {checkpoint.number}, manual entries", what)
        return
    verdict.unsealed_manual += len(heads) - 1 - sealed
