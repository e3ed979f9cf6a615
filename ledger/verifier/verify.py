#!/usr/bin/env python3
"""Verifies an export of an OpenBourse ledger: every batch, root, signature, total and balance.
Imports nothing of the project (formats: docs/seal.md). Stops at the first bad place and ends with 1.

    verify.py EXPORT --key seal.pem --witness seen.note
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import pathlib
import sys
from base64 import b64decode
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

SECTIONS = ("entries", "assets", "symbols", "checkpoints", "transfers")
FAULTS = (InvalidSignature, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError)


def need(condition, place, what):
    if not condition:
        raise ValueError(f"{place}: {what}")


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def number(field):
    return int.from_bytes(field, "big", signed=True)


def rows(path):  # of a binary COPY: the bytes of a tuple, and its fields
    data, at = path.read_bytes(), 19
    need(data[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8) and data[-2:] == b"\xff\xff", path, "no whole binary COPY")
    while at < len(data) - 2:
        start, fields, at = at, [], at + 2
        for _ in range(int.from_bytes(data[start:at], "big")):
            length = number(data[at : at + 4])
            need(-1 <= length <= len(data) - at - 6, f"{path}, byte {at}", "a field that does not fit")
            fields.append(data[at + 4 : at + 4 + length] if length >= 0 else None)
            at += 4 + max(length, 0)
        yield data[start:at], fields


def signed_text(note, name, public, place):
    text, good = note.rpartition("\n\n")[0] + "\n", False
    for line in note.rpartition("\n\n")[2].splitlines():
        who, value = line.split(" ")[1], b64decode(line.split(" ")[2], validate=True)
        if (who, value[:4]) == (name, sha(public)[:4]):
            key = serialization.load_der_public_key(public)
            with contextlib.suppress(InvalidSignature):
                good = key.verify(value[4:], text.encode(), ECDSA(hashes.SHA256())) is None
    need(good, place, f"no valid signature of key {sha(public).hex()[:16]}")
    return text


def follow_keys(notes, first):  # the origin, and [(first checkpoint, public key)]
    first = serialization.load_pem_public_key(first.read_bytes())
    keys, before, origin = [], bytes(32), notes[0].split("\n")[1]
    for generation, note in enumerate(notes, 1):
        place, lines = f"key {generation}", note.split("\n")
        public, first_checkpoint = b64decode(lines[5].split(" ")[1]), int(lines[3].removeprefix("first_checkpoint "))
        need(keys or serialization.load_der_public_key(public) == first, place, "not the first key that was given")
        for signer in (public, *(key for _, key in keys[-1:])):
            text = signed_text(note, origin, signer, place)
        follows = b64decode(lines[6].removeprefix("previous ")) == before and lines[1] == origin
        need(follows and lines[2] == f"generation {generation}", place, "it does not follow the one before it")
        need(first_checkpoint >= (keys[-1][0] if keys else 1), place, "takes checkpoints from a key that had followed")
        keys, before = [*keys, (first_checkpoint, public)], sha(text.encode())
    return origin, keys


def read_checkpoint(note, origin, keys, place):
    lines = note.rpartition("\n\n")[0].split("\n")
    said = dict(line.split(" ", 1) for line in lines[3:7])
    place = f"{place} {said['number']}"
    due = [public for first, public in keys if first <= int(said["number"])][-1]
    need((lines[0], said["key"]) == (origin, sha(due).hex()), place, "signed by a key whose turn it was not")
    words = [[unquote(word) for word in line.split(" ")] for line in lines[7:]]
    totals = {(w[1], w[2]): [*map(int, w[3:])] for w in words if w[0] == "total"}
    need(not any(map(sum, totals.values())), place, "its totals do not sum to zero")
    said |= {"hash": sha(signed_text(note, origin, due, place).encode()), "due": due, "totals": totals}
    said |= {"size": int(lines[1]), "root": b64decode(lines[2]), "name": place}
    said["manual"] = {w[1]: (int(w[2]), b64decode(w[3])) for w in words if w[0] == "manual"}
    return said | {"shards": {w[1]: (int(w[2]), int(w[3])) for w in words if w[0] == "shard"}}


def check_shard(folder, shard, checkpoints):
    sections = {name: rows(folder / f"{name}.copy") for name in SECTIONS}
    ahead, sums = {name: next(tuples, None) for name, tuples in sections.items()}, collections.Counter()
    head, last_seq, leaves, key = bytes(32), 0, [], (0, -1)
    name_bytes, sealed = len(shard.encode()).to_bytes(2, "big") + shard.encode(), collections.defaultdict(list)
    for c in (c for c in checkpoints if shard in c["shards"]):
        sealed[c["shards"][shard][0]].append(c)
    for _, fields in rows(folder / "batches.copy"):
        batch, _, first, last, entries, _ = map(number, fields[:6])
        place, content, count = f"shard {shard}, batch {batch}, seq {first} to {last}", [], 0
        need(batch == len(leaves) + 1, place, f"batch {len(leaves) + 1} is missing before it")
        need(first == last_seq + 1 <= last and fields[6].decode() == shard, place, f"it does not follow seq {last_seq}")
        for name in SECTIONS:
            tuples = []
            while ahead[name] is not None and number(ahead[name][1][0]) <= last:
                (raw, row), ahead[name] = ahead[name], next(sections[name], None)
                tuples.append(raw)
                if name == "entries":
                    key, last_key, count = (number(row[0]), number(row[3])), key, count + 1
                    where, net = f"{place}, entries, seq {key[0]} index {key[1]}", collections.Counter()
                    need(key > last_key and row[26].decode() == shard, where, "out of order, or of another shard")
                    need(row[10] or not any(number(f or b"") for f in (*row[7:9], *row[13:15])), where, "whose money?")
                    accounts = number(row[4]), number(row[10] or b""), 1
                    for asset, amounts in ((row[28], row[5:10]), (row[29], row[11:16])):
                        for side, amount in enumerate(map(number, amounts if asset else ())):
                            sums[accounts[side // 2], asset.decode(), side % 2] += amount
                            net[asset] += amount
                    need(not any(net.values()), where, f"its legs do not sum to zero: {dict(net)}")
            content += [name.encode().ljust(16, b"\0"), sum(map(len, tuples)).to_bytes(8, "big"), sha(*tuples)]
        need(count == entries, place, f"it has {count} entries, {entries} were settled")
        content = sha(b"openbourse.ledger.content.v1", *content)
        need(content == fields[7], place, "its rows are not the ones that were settled (content)")
        head = sha(b"openbourse.ledger.head.v1", head, name_bytes, *fields[:6], fields[7])
        need(head == fields[8], place, "its head is not the hash over the head before it and this batch")
        leaves.append(sha(b"\0openbourse.seal.leaf.v1", name_bytes, fields[0], head))
        last_seq = last
        for c in sealed[batch]:
            made = collections.defaultdict(lambda: [0, 0, 0, 0])
            for (account, asset, side), amount in sums.items():
                made[asset][1 + account if account in (1, 2) else side] += amount
            said = {asset: total for (of, asset), total in c["totals"].items() if of == shard and any(total)}
            same = said == {a: t for a, t in made.items() if any(t)} and c["shards"][shard][1] == last
            need(same, f"{c['name']}, shard {shard}", f"other totals, or another last seq, than {made}, {last}")
    for name, row in ahead.items():
        need(row is None, f"shard {shard}, {name}, seq {row and number(row[1][0])}", "a row that no batch settled")
    heads = {0: bytes(32)}
    for at, (raw, f) in enumerate((row for path in folder.glob("manual.copy") for row in rows(path)), 1):
        place = f"shard {shard}, manual entry {at}"
        heads[at] = sha(b"openbourse.ledger.manual.v1", heads[at - 1], raw[2:-36])
        sound = (heads[at], number(f[0]), f[2].decode()) == (f[16], at, shard) and number(f[9]) > 0 and f[11] != f[14]
        need(sound and 0 < number(min(f[7:9])) < number(max(f[7:9])) < 5, place, "not what two people decided")
        for account, sign in ((f[7], -1), (f[8], 1)) if f[13] == b"posted" else ():
            sums[number(account), f[6].decode(), 0] += sign * number(f[9])
    for at, signed, c in ((*c["manual"].get(shard, (0, bytes(32))), c) for c in checkpoints):
        need(heads.get(at) == signed, f"{c['name']}, manual entries", f"not the {at} of {shard} that were signed")
    return leaves, sums


def verify(folder, key, witness):
    origin, keys = follow_keys([fields[0].decode() for _, fields in rows(folder / "keys.copy")], key)
    checkpoints, before, size, time_us = [], bytes(32), 0, 0
    for at, (_, fields) in enumerate(rows(folder / "checkpoints.copy"), 1):
        c = read_checkpoint(fields[0].decode(), origin, keys, "checkpoint")
        follows = (int(c["number"]), b64decode(c["previous"])) == (at, before) and c["size"] > size
        need(follows and int(c["time_us"]) > time_us, f"checkpoint {at}", "it does not continue the one before it")
        checkpoints, before, size, time_us = [*checkpoints, c], c["hash"], c["size"], int(c["time_us"])
    shards = {unquote(path.stem): check_shard(path, unquote(path.stem), checkpoints) for path in folder.glob("*.shard")}
    edge, ends, size, due = [], collections.Counter(), 0, collections.defaultdict(list)
    seen = [read_checkpoint(path.read_text(), origin, keys, "the witness's checkpoint") for path in witness]
    for c in [*checkpoints, *seen]:
        due[c["size"]].append(c)
    for leaf, shard, batch in ((number(f[0]), f[1].decode(), number(f[2])) for _, f in rows(folder / "leaves.copy")):
        ends[shard] += 1
        next_there = leaf == size and batch == ends[shard] <= len(shards[shard][0])
        need(next_there, f"leaf {leaf}", f"not the next batch that is there: {batch} of shard {shard}")
        node, size, full = shards[shard][0][batch - 1], size + 1, size
        while full & 1:
            node, full = sha(b"\1", edge.pop(), node), full >> 1
        edge.append(node)
        for c in (same := due.pop(size, [])):
            need(c["hash"] == same[0]["hash"], c["name"], f"another text than {same[0]['name']} in the export has")
            root = functools.reduce(lambda right, left: sha(b"\1", left, right), reversed(edge))
            need(root == c["root"], f"{c['name']}, {c['shards']}", "not the batches that were signed (root)")
            need({s: end for s, (end, _) in c["shards"].items()} == ends, c["name"], "its shards end elsewhere")
    for c in (c for waiting in due.values() for c in waiting):
        need(False, c["name"], f"it has {c['size']} leaves, {size} are there: the end was cut off")
    need(size == (checkpoints[-1]["size"] if checkpoints else 0), f"leaf {size - 1}", "it is in no checkpoint")
    for shard, account, asset, *sides in (fields for _, fields in rows(folder / "balances.copy")):
        name, kept, sums = (number(account), asset.decode()), [*map(number, sides)], shards[shard.decode()][1]
        made = [sums.pop((*name, side), 0) for side in (0, 1)]
        may_be = made == kept and kept[1] >= 0 and (kept[0] >= 0 or name[0] in (2, 3, 4))
        need(may_be, f"balance of {name}, shard {shard.decode()}", f"kept as {kept}, the entries make {made}")
    need(not any(any(sums.values()) for _, sums in shards.values()), "balances", "one is missing")
    return f"{len(checkpoints)} checkpoints, {size} leaves of {sum(len(s[0]) for s in shards.values())} batches"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="folder of an export")
    parser.add_argument("--key", type=pathlib.Path, required=True, help="the ledger's first public key, PEM")
    parser.add_argument("--witness", type=pathlib.Path, nargs="*", default=[], help="checkpoints that a witness gave")
    try:
        print("GOOD", verify(**vars(parser.parse_args())))
    except FAULTS as error:
        sys.exit(f"BAD {error or repr(error)}")
