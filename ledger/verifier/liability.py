#!/usr/bin/env python3
"""Verifies one trader's proof of liabilities: that the trader's funds are counted in what the exchange says it owes.

    liability.py 1000.json --key seal.pem

Imports nothing of the project but verify.py beside it. Formats: docs/seal.md. Ends with 1 when anything is wrong.
"""

import argparse
import collections
import json
import pathlib
import sys
from base64 import b64decode
from urllib.parse import unquote

from verify import FAULTS, follow_keys, need, read_checkpoint, sha, signed_text


def verify(proof, key):
    origin, keys = follow_keys(proof["keys"], key)
    c, account = read_checkpoint(proof["checkpoint"], origin, keys, "checkpoint"), int(proof["account"])
    lines = signed_text(proof["liabilities"], origin, c["due"], "liabilities").split("\n")
    need(lines[:2] == ["openbourse liabilities 1", origin], "liabilities", "of another ledger")
    need(b64decode(lines[2].split(" ")[1]) == c["hash"], "liabilities", "bound to another checkpoint")
    roots = {unquote(w[1]): (int(w[2]), int(w[3]), b64decode(w[4])) for w in (x.split(" ") for x in lines[3:-1])}
    owed = collections.Counter()
    for (_, asset), total in c["totals"].items():
        owed[asset] += total[0] + total[1]
    owed = {asset: total for asset, total in owed.items() if total}
    need({a: r[1] for a, r in roots.items()} == owed, "liabilities", "other totals than the checkpoint's")
    for asset, part in proof["assets"].items():
        amount, index, salt = int(part["amount"]), int(part["index"]), bytes.fromhex(proof["salt"])
        need(0 <= amount < 2**63 and 0 <= index < 2 ** len(part["path"]) and len(salt) == 32, asset, "out of range")
        leaf = (c["hash"], salt, account.to_bytes(8, "big"), amount.to_bytes(8, "big"), asset.encode())
        node = sha(b"openbourse.liability.leaf.v1", *leaf), amount
        for level, (hashed, total) in enumerate(part["path"]):
            sibling = bytes.fromhex(hashed), int(total)
            need(0 <= sibling[1] < 2**127 and len(sibling[0]) == 32, asset, "a sum out of range")
            pair = (sibling, node) if index >> level & 1 else (node, sibling)
            inner = [part for h, s in pair for part in (h, s.to_bytes(16, "big"))]
            node = sha(b"openbourse.liability.node.v1", *inner), pair[0][1] + pair[1][1]
        need((len(part["path"]), node[1], node[0]) == roots[asset], asset, "its path does not lead to the signed root")
    return f"account {account}: { {a: p['amount'] for a, p in proof['assets'].items()} } of {owed}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("proof", type=pathlib.Path, help="the file that the exchange has made for you")
    parser.add_argument("--key", type=pathlib.Path, required=True, help="the ledger's first public key, PEM")
    args = parser.parse_args()
    try:
        print("GOOD", verify(json.loads(args.proof.read_text()), args.key))
    except FAULTS as error:
        sys.exit(f"BAD {error or repr(error)}")
