"""Recomputes the chain of a shard's manual entries in an export, and what they moved.

No checkpoint signs this chain yet: an end that was cut off, or a chain written anew, is not found here.
"""

import hashlib
from pathlib import Path

from openbourse.ledger.accounts import HOUSE_ACCOUNTS
from openbourse.ledger.chain import NO_HEAD
from openbourse.ledger.seal.copies import Tuples
from openbourse.ledger.seal.verdict import Verdict

DOMAIN = b"openbourse.ledger.manual.v1"

# How many fields there are, and the bytes of the last, which is the head.
_FIELDS = 17
_HEAD_BYTES = 4 + 32


def moved_by_hand(path: Path, shard: str, verdict: Verdict) -> dict[tuple[int, str], int]:
    """(account, asset) -> what posted entries move. An export of before there were any has no file: nothing.

    Raises Malformed.
    """
    moved: dict[tuple[int, str], int] = {}
    if not path.exists():
        return moved
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
            if whole[13] != b"posted":
                continue
            if fields[5] is not None:
                reversed_ones.add(fields[5])
            asset = whole[6].decode()
            moved[from_account, asset] = moved.get((from_account, asset), 0) - amount
            moved[to_account, asset] = moved.get((to_account, asset), 0) + amount
    return moved
