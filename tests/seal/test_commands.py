"""`openbourse ledger key`, `export`, `verify`, `prove`, `consistency`, `liabilities` as a person types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.databases import LedgerDatabase
from fixtures.seals import History
from fixtures.tokens import ORIGIN
from openbourse.cli.main import app
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import notes, proofs

pytestmark = pytest.mark.server


def command(history: History, *arguments: str, database: str | None = None) -> Result:
    """The command, in this process: each of them takes a second to begin as one of its own."""
    return CliRunner().invoke(
        app,
        ["ledger", *arguments],
        env={
            **history.token.environment,
            "OPENBOURSE_DATABASE": database or history.database.owner,
            "OPENBOURSE_ORIGIN": ORIGIN,
        },
    )


def good(history: History, *arguments: str) -> str:
    done = command(history, *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def bad(history: History, *arguments: str, database: str | None = None) -> str:
    done = command(history, *arguments, database=database)
    # An exception that nobody has caught ends with 1 too, and says nothing.
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done.exception
    return done.stderr


def test_a_ledger_is_exported_and_verified(history: History, tmp_path: Path) -> None:
    key, folder, seen = tmp_path / "seal.pem", tmp_path / "export", tmp_path / "seen.note"
    key.write_text(good(history, "key", "show"))
    assert key.read_bytes() == history.pem
    seen.write_text(str(history.witnessed))
    assert "bytes in" in good(history, "export", str(folder))
    assert "is not empty" in bad(history, "export", str(folder))
    trust = ("--key", str(key), "--witness", str(seen), "--witness-key", str(history.witness_key))
    said = good(history, "verify", str(folder), *trust)
    assert "4 checkpoints, 9 leaves, 10 batches (1 not sealed yet), 13 entries" in said and said.endswith("GOOD\n")
    assert "no witness's checkpoint was given" in good(history, "verify", str(folder), "--key", str(key))
    (folder / "leaves.copy").write_bytes(b"")
    assert "leaves.copy, byte 0: it does not begin as a binary COPY" in bad(history, "verify", str(folder), *trust)
    (folder / "leaves.copy").unlink()
    assert "leaves.copy is missing" in bad(history, "verify", str(folder), *trust)
    assert "is no folder" in bad(history, "verify", str(tmp_path / "nowhere"), "--key", str(key))
    assert "no public key in PEM" in bad(history, "verify", str(folder), "--key", str(seen))


def test_a_batch_and_a_continuation_are_proven(history: History, tmp_path: Path) -> None:
    key, file = tmp_path / "seal.pem", tmp_path / "proof.json"
    key.write_bytes(history.pem)
    for shard, batch, number in (("main", 1, 1), ("main", 3, 2), ("second shard", 3, 3), ("main", 6, 4)):
        file.write_text(good(history, "prove", "--shard", shard, "--batch", str(batch)))
        said = good(history, "verify-proof", str(file), "--key", str(key))
        assert said.startswith(f"shard {shard} batch {batch}, head ") and f"checkpoint {number} of {ORIGIN}" in said
    _each_change_is_refused(json.loads(file.read_text()), "inclusion", history)
    for first, last in ((1, 1), (1, 4), (2, 3)):
        file.write_text(good(history, "consistency", "--from", str(first), "--to", str(last)))
        said = good(history, "verify-proof", str(file), "--key", str(key))
        assert f"checkpoint {last} (" in said and f"continues checkpoint {first} (" in said
    proof = json.loads(file.read_text())
    for at in range(len(proof["consistency"])):
        changed = list(proof["consistency"])
        changed[at] = notes.b64(bytes(32))
        with pytest.raises(Diverged, match="does not continue"):
            proofs.check(proof | {"consistency": changed}, history.first_key)
    with pytest.raises(Diverged, match="does not continue"):
        proofs.check(proof | {"from": proof["to"], "to": proof["from"]}, history.first_key)
    assert "has no batch 99 that is sealed" in bad(history, "prove", "--shard", "main", "--batch", "99")
    assert "has no batch 7 that is sealed" in bad(history, "prove", "--shard", "main", "--batch", "7")
    assert "there are no checkpoints 4 and, after it, 1" in bad(history, "consistency", "--from", "4", "--to", "1")
    file.write_text("[]")
    assert "no proof" in bad(history, "verify-proof", str(file), "--key", str(key))
    file.write_text("{")
    assert "is no JSON" in bad(history, "verify-proof", str(file), "--key", str(key))


def _each_change_is_refused(proof: dict[str, object], name: str, history: History) -> None:
    text = proof[name]
    assert isinstance(text, str)
    for at in range(len(text)):
        changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        with pytest.raises((Diverged, Invalid)):
            proofs.check(proof | {name: changed}, history.first_key)


def test_liabilities_are_written_and_verified(history: History, tmp_path: Path) -> None:
    key, folder = tmp_path / "seal.pem", tmp_path / "liabilities"
    key.write_bytes(history.pem)
    assert good(history, "liabilities", str(folder)) == "as of checkpoint 4: 495 BTC, 5,060 USDT min-units\n"
    said = good(history, "verify-liability", str(folder / "1002.json"), "--key", str(key))
    assert said == f"account 1002 has 70 USDT of 495 BTC, 5,060 USDT min-units at checkpoint 4 of {ORIGIN}\n"
    file = json.loads((folder / "1002.json").read_text())
    (folder / "1002.json").write_text(json.dumps(file | {"account": "1000"}))
    assert "does not lead to the root" in bad(history, "verify-liability", str(folder / "1002.json"), "--key", str(key))


def test_keys_are_made_rotated_and_shown(history: History, copied: LedgerDatabase) -> None:
    rotated = command(history, "key", "rotate", database=copied.owner)
    assert rotated.exit_code == 0 and "generation 3, signs from checkpoint 5 on" in rotated.stderr
    assert rotated.stdout.startswith("-----BEGIN PUBLIC KEY-----")
    shown = command(history, "key", "show", database=copied.owner)
    assert shown.stdout.encode() == history.pem and shown.stderr.count("generation") == 3
    assert "has 3 keys already" in bad(history, "key", "create", database=copied.owner)
    assert "correct --origin" in bad(history, "key", "rotate", "--origin", "other", database=copied.owner)
    assert "database: " in bad(history, "key", "show", database="postgresql://x@/y?host=/nowhere")


@pytest.mark.parametrize(
    "name",
    [
        *("key create", "key rotate", "key show", "export", "verify", "prove", "consistency", "verify-proof"),
        *("liabilities", "verify-liability"),
    ],
)
def test_each_command_has_help_with_an_example(name: str, history: History) -> None:
    assert f"openbourse ledger {name}" in good(history, *name.split(), "--help")
