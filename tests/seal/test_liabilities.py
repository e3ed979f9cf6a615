"""Proofs of liabilities: each trader's file verifies, with the project and alone; owing less is found by somebody."""

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fixtures.figures import Show, Tally
from fixtures.seals import History, MemoryKey
from fixtures.tokens import ORIGIN
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import liabilities, notes
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint, ShardEnd, Total
from openbourse.ledger.seal.keychain import announce
from openbourse.ledger.seal.liabilities import Node, SumTree, check, leaf, prove, statement
from openbourse.ledger.seal.notes import Note, key_hash
from openbourse.ledger.seal.owed import make_proofs

ALONE = Path(__file__).parents[2] / "ledger" / "verifier" / "liability.py"
KEY = MemoryKey()
ANNOUNCED = [announce(ORIGIN, 1, KEY, None, 1)]
BALANCES = {
    "BTC": {1000: 5, 1001: 7},
    "US DT": {account: 10 * account for account in range(1000, 1007)},
}
SALTS = {account: bytes([account % 256]) * 32 for account in range(1000, 1007)}
FILL = {asset: [bytes([at]) * 32 for at in range(9)] for asset in BALANCES}


def a_checkpoint(**owed: int) -> Checkpoint:
    sums = {asset: sum(amounts.values()) for asset, amounts in BALANCES.items()} | owed
    return Checkpoint(
        ORIGIN, 3, bytes(32), 1, 1, key_hash(KEY.public), NO_HASH, (ShardEnd("main", 3, 9),),
        tuple(Total("main", asset, total, 0, 1, -1 - total) for asset, total in sorted(sums.items())),
    )  # fmt: skip


def signed(text: str, *keys: MemoryKey) -> Note:
    return Note(text, tuple(notes.sign(text, ORIGIN, key) for key in keys or (KEY,)))


CHECKPOINT = signed(a_checkpoint().text())


@pytest.fixture(scope="module")
def files() -> dict[int, dict[str, Any]]:
    return prove(CHECKPOINT, ANNOUNCED, BALANCES, SALTS, FILL, signer=KEY).files


def alone(file: object, folder: Path, public: bytes = KEY.public) -> str:
    pem = notes.p256(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "seal.pem").write_bytes(pem)
    (folder / "proof.json").write_text(json.dumps(file))
    done = subprocess.run(
        [sys.executable, str(ALONE), "proof.json", "--key", "seal.pem"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    assert said.startswith("GOOD" if done.returncode == 0 else "BAD"), said
    return said


def test_every_traders_file_verifies(files: dict[int, dict[str, Any]], tmp_path: Path) -> None:
    assert files.keys() == SALTS.keys()
    for account, file in files.items():
        counted = check(json.loads(json.dumps(file)), KEY.public)
        amounts = {asset: of[account] for asset, of in BALANCES.items() if account in of}
        assert (counted.account, counted.amounts) == (account, amounts)
        assert counted.totals == {"BTC": 12, "US DT": 70210} and counted.checkpoint == a_checkpoint()
    assert alone(files[1001], tmp_path).startswith("GOOD account 1001: {'BTC': '7', 'US DT': '10010'}")


def test_a_tree_of_any_size_proves_each_of_its_leaves() -> None:
    for size in range(1, 18):
        amounts = {1000 + at: 3 * at + 1 for at in range(size)}
        leaves = {account: leaf(bytes(32), bytes(32), account, amount, "X") for account, amount in amounts.items()}
        tree = SumTree(leaves, [bytes([at]) * 32 for at in range(size)])
        assert tree.root.top.sum == sum(amounts.values()) and 1 << tree.root.depth >= size
        for account in amounts:
            index, path = tree.path(account)
            assert liabilities._climb(leaves[account], index, path) == tree.root


def test_a_file_shows_no_other_account_and_no_order_of_accounts(files: dict[int, dict[str, Any]]) -> None:
    for account, file in files.items():
        text = json.dumps(file["assets"])
        assert not any(f'"{other}"' in text for other in SALTS if other != account)
    places = [int(files[account]["assets"]["US DT"]["index"]) for account in sorted(files)]
    assert places != sorted(places)


Change = Callable[[dict[str, Any]], object]


def _on_path(change: Callable[[list[str]], object]) -> Change:
    return lambda file: change(file["assets"]["US DT"]["path"][0])


def _put(place: list[str], at: int, value: str) -> None:
    place[at] = value


ATTACKS: dict[str, Change] = {
    "another amount": lambda f: f["assets"]["US DT"].update(amount="10011"),
    "a negative amount": lambda f: f["assets"]["US DT"].update(amount="-10010"),
    "an amount above the range": lambda f: f["assets"]["US DT"].update(amount=str(2**63)),
    "another's account": lambda f: f.update(account="1002"),
    "another's salt": lambda f: f.update(salt="00" * 32),
    "a short salt": lambda f: f.update(salt="00" * 31),
    "another asset's path": lambda f: f["assets"].update(BTC=f["assets"]["US DT"]),
    "an asset that there is not": lambda f: f["assets"].update(X=f["assets"]["BTC"]),
    "children swapped": lambda f: f["assets"]["US DT"].update(index=str(int(f["assets"]["US DT"]["index"]) ^ 1)),
    "an index beyond the tree": lambda f: f["assets"]["US DT"].update(
        index=str(int(f["assets"]["US DT"]["index"]) + 8)
    ),
    "a negative sum": _on_path(lambda node: _put(node, 1, f"-{node[1]}1")),
    "a sum that overflows": _on_path(lambda node: _put(node, 1, str(2**128 + int(node[1])))),
    "a sum that is not bound": _on_path(lambda node: _put(node, 1, str(int(node[1]) + 1))),
    # All zeros is what stands where no account is.
    "another hash": _on_path(lambda node: _put(node, 0, node[0][:-1] + ("1" if node[0].endswith("0") else "0"))),
    "a longer hash": _on_path(lambda node: _put(node, 0, node[0] + "00")),
    "a level less": lambda f: f["assets"]["US DT"]["path"].pop(),
    "a level more": lambda f: f["assets"]["US DT"]["path"].append(["00" * 32, "0"]),
    "levels swapped": lambda f: f["assets"]["US DT"]["path"].reverse(),
    "the roots of another checkpoint": lambda f: f.update(
        checkpoint=str(signed(dataclasses.replace(a_checkpoint(), time_us=2).text()))
    ),
    "roots signed by a stranger": lambda f: f.update(
        liabilities=str(signed(notes.parse(f["liabilities"]).text, MemoryKey()))
    ),
    "a checkpoint signed by a stranger": lambda f: f.update(checkpoint=str(signed(a_checkpoint().text(), MemoryKey()))),
    "keys of a stranger": lambda f: f.update(keys=[str(announce(ORIGIN, 1, MemoryKey(), None, 1))]),
    "no keys": lambda f: f.update(keys=[]),
    "no path": lambda f: f["assets"]["US DT"].pop("path"),
    "a list": lambda f: f.update(assets=[]),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_a_file_that_is_not_the_accounts_own_is_refused_by_both(
    what: str, files: dict[int, dict[str, Any]], tmp_path: Path, tally: Tally
) -> None:
    tally("false proofs of liabilities, refused by two verifiers")
    file = json.loads(json.dumps(files[1001]))
    ATTACKS[what](file)
    with pytest.raises((Invalid, Diverged)):
        check(file, KEY.public)
    assert alone(file, tmp_path).startswith("BAD")


def test_an_omitted_trader_makes_less_than_the_checkpoint_says() -> None:
    less = {asset: {a: n for a, n in of.items() if a != 1003} for asset, of in BALANCES.items()}
    with pytest.raises(Diverged, match="traders' balances sum to"):
        prove(CHECKPOINT, ANNOUNCED, less, SALTS, FILL, signer=KEY)


def test_roots_that_leave_a_trader_out_are_not_the_checkpoints_though_its_key_signs_them(tmp_path: Path) -> None:
    digest = a_checkpoint().hash
    trees = {
        asset: SumTree(
            {a: leaf(digest, SALTS[a], a, amount, asset) for a, amount in of.items() if a != 1003}, FILL[asset]
        )
        for asset, of in BALANCES.items()
    }
    text = statement(a_checkpoint(), {asset: tree.root for asset, tree in trees.items()})
    file = _forged(trees["US DT"], text, 1002, trees["US DT"].path(1002)[1])
    with pytest.raises(Diverged, match="the roots' sums are not what traders have at checkpoint 1"):
        check(file, KEY.public)
    assert alone(file, tmp_path).startswith("BAD liabilities: other totals than the checkpoint's")


def _forged(tree: SumTree, text: str, account: int, path: list[Node]) -> dict[str, Any]:
    """The file of an account from a tree that an attacker has made, whatever its sums."""
    index, _ = tree.path(account)
    assets = {"US DT": {"amount": str(BALANCES["US DT"][account]), "index": str(index)}}
    assets["US DT"]["path"] = [[node.hash.hex(), str(node.sum)] for node in path]  # type: ignore[assignment]
    return {
        "account": str(account),
        "salt": SALTS[account].hex(),
        "assets": assets,
        "liabilities": str(signed(text)),
        "checkpoint": str(CHECKPOINT),
        "keys": [str(note) for note in ANNOUNCED],
    }


def test_an_omitted_trader_behind_a_false_sum_is_found_by_who_is_below_it(show: Show) -> None:
    """Left out is 1003; a node's sum says that the money is there all the same, and the root is the checkpoint's."""
    amounts = {account: amount for account, amount in BALANCES["US DT"].items() if account != 1003}
    hidden = BALANCES["US DT"][1003]
    digest = a_checkpoint().hash
    leaves = {account: leaf(digest, SALTS[account], account, amount, "US DT") for account, amount in amounts.items()}
    btc = SumTree({a: leaf(digest, SALTS[a], a, n, "BTC") for a, n in BALANCES["BTC"].items()}, []).root
    found = places = 0
    for height in range(3):
        for place in range(len(SumTree(leaves, FILL["US DT"]).levels[height])):
            tree = SumTree(leaves, FILL["US DT"])
            levels, places = tree.levels, places + 1
            levels[height][place] = Node(levels[height][place].hash, levels[height][place].sum + hidden)
            for above in range(height + 1, len(levels)):
                below = levels[above - 1]
                levels[above] = [liabilities.join(below[at], below[at + 1]) for at in range(0, len(below), 2)]
            assert tree.root.top.sum == sum(amounts.values()) + hidden
            roots = {"BTC": btc, "US DT": tree.root}
            bad = []
            for account in amounts:
                index, path = tree.path(account)
                file = _forged(tree, statement(a_checkpoint(), roots), account, path)
                if index >> height == place:
                    bad.append(account)
                    with pytest.raises(Diverged, match=f"the path of account {account} does not lead to the root"):
                        check(file, KEY.public)
                else:
                    assert check(file, KEY.public).totals["US DT"] == sum(amounts.values()) + hidden
                # Who was left out finds no file of anybody that proves anything of theirs.
                with pytest.raises(Diverged):
                    check(file | {"account": "1003", "salt": SALTS[1003].hex()}, KEY.public)
            # Where nobody is below, an account was made up that is owed as much: nothing is owed less.
            found += bool(bad)
    empty = sum(not any(_below(leaves, height, place)) for height in range(3) for place in range(8 >> height))
    assert (found, places) == (14 - empty, 14)
    show(f"liabilities: left out behind a false sum, found by others at {found} of {places} nodes, by itself always")


def _below(leaves: dict[int, Node], height: int, place: int) -> list[bool]:
    tree = SumTree(leaves, FILL["US DT"])
    return [tree.path(account)[0] >> height == place for account in leaves]


@pytest.mark.server
async def test_the_files_of_a_sealed_ledger_verify(history: History, tmp_path: Path) -> None:
    folder = tmp_path / "liabilities"
    checkpoint = await make_proofs(history.database.application, history.token.settings, folder)
    assert checkpoint.number == 4
    names = sorted(path.name for path in folder.glob("*.json"))
    assert names == ["1000.json", "1001.json", "1002.json"]
    for name in names:
        assert (folder / name).stat().st_mode & 0o777 == 0o600
        file = json.loads((folder / name).read_text())
        counted = check(file, history.first_key)
        assert counted.totals == {asset: total for asset, total in checkpoint.liabilities().items() if total}
        said = await asyncio.to_thread(alone, file, tmp_path, history.first_key)
        assert said.startswith(f"GOOD account {counted.account}: ")
    with pytest.raises(Invalid, match="is not empty"):
        await make_proofs(history.database.application, history.token.settings, folder)
