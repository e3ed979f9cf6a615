"""The witness: countersigns what continues what it has seen, refuses another past with evidence, survives kill -9."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fixtures.databases import LedgerDatabase
from fixtures.processes import RunningProcess
from fixtures.seals import History, MemoryKey
from fixtures.streams import SHARD, deliveries
from fixtures.tokens import ORIGIN
from openbourse.contracts.component import Component
from openbourse.ledger import store as ledger_store
from openbourse.ledger.errors import Invalid
from openbourse.ledger.seal import notes, tree
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint
from openbourse.ledger.seal.keychain import announce, follow
from openbourse.ledger.seal.notes import Note, WitnessKey, key_hash
from openbourse.ledger.seal.tree import edge_of
from openbourse.ledger.seal.witness import Witness
from openbourse.ledger.seal.witnessing import Offer, Refused, judge, parse_offer

KEY = MemoryKey()
ANNOUNCED = announce(ORIGIN, 1, KEY, None, 1)
CHAIN = follow(KEY.public, [ANNOUNCED])
LEAVES = [tree.leaf_hash(bytes([number])) for number in range(20)]
NOW_US = 1_700_000_000_000_000


def checkpoint(size: int, leaves: list[bytes] = LEAVES, **changes: object) -> Checkpoint:
    """The one of so many leaves, which is also its number and its time."""
    plain = Checkpoint(ORIGIN, size, tree.root_of(leaves[:size]), size, size, key_hash(KEY.public), NO_HASH, (), ())
    return replace(plain, **changes)  # type: ignore[arg-type]


def signed(what: Checkpoint, key: MemoryKey = KEY) -> Note:
    return Note(what.text(), (notes.sign(what.text(), ORIGIN, key),))


def offer(old: int, what: Checkpoint, leaves: list[bytes] = LEAVES) -> Offer:
    proof = tree.consistency_proof(edge_of(leaves[:old]), leaves[old : what.size]) if old <= what.size else []
    return Offer(old, tuple(proof), signed(what))


def test_every_checkpoint_that_continues_the_last_one_is_countersigned() -> None:
    for old in range(15):
        seen = checkpoint(old) if old else None
        for size in range(max(old, 1), 16):
            assert judge(CHAIN, seen, offer(old, checkpoint(size)), NOW_US) == checkpoint(size)


OTHER = [*LEAVES[:4], tree.leaf_hash(b"other"), *LEAVES[5:]]
REFUSED = {
    "a fork of the same size": (offer(7, checkpoint(7, OTHER)), 409, "a fork: another root", True),
    "a fork that has grown": (offer(7, checkpoint(9, OTHER), OTHER), 422, "no proof that", True),
    "a history that has become shorter": (offer(5, checkpoint(5, time_us=9)), 409, "a fork: 5 leaves, after 7", True),
    "the same tree with another text": (offer(7, checkpoint(7, time_us=8)), 409, "another text", True),
    "an older checkpoint": (offer(5, checkpoint(5)), 409, "I have countersigned 7 leaves", False),
    "a proof from another size": (offer(6, checkpoint(9)), 409, "I have countersigned 7 leaves", False),
    "a time before the last one's": (offer(7, checkpoint(9, time_us=7)), 422, "is not after", False),
    "a number before the last one's": (offer(7, checkpoint(9, number=7)), 422, "is not after", False),
    "a time that has not come": (offer(7, checkpoint(9, time_us=2 * NOW_US)), 422, "not come", False),
    "an old size above the new one": (offer(12, checkpoint(9)), 400, "does not continue", False),
    "no proof": (Offer(7, (), signed(checkpoint(9))), 422, "no proof", True),
    "a stranger's signature": (Offer(7, (), signed(checkpoint(9), MemoryKey())), 403, "no valid signature", False),
    "another log": (Offer(7, (), signed(checkpoint(9, origin="other"))), 404, "is of other", False),
    "no checkpoint": (Offer(7, (), Note("x\n", signed(checkpoint(9)).signatures)), 404, "no checkpoint", False),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_continue_is_refused_and_kept_where_it_is_evidence(what: str) -> None:
    offered, status, sentence, is_evidence = REFUSED[what]
    refused = judge(CHAIN, checkpoint(7), offered, NOW_US)
    assert isinstance(refused, Refused) and sentence in refused.sentence
    if what != "no checkpoint":
        assert (refused.status, refused.is_evidence) == (status, is_evidence)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"old 1", b"old x\n\nnote", b"old 01\n\nnote", b"new 1\n\nnote", b"old 1\nAAAA\n\nnote"),
        *(b"old -1\n\nx\n\n", b"old 1\n" + b"AAAA\n" * 64 + b"\nx"),
    ],
)  # fmt: skip
def test_what_is_no_offer_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_offer(body)


async def test_a_fork_is_kept_with_what_it_contradicts(tmp_path: Path) -> None:
    witness = Witness(tmp_path, "witness.example/w1", KEY.public)
    await witness.add_key(ANNOUNCED)
    await witness.add_checkpoint(offer(0, checkpoint(7)))
    refused = await witness.add_checkpoint(offer(7, checkpoint(7, OTHER)))
    assert isinstance(refused, Refused) and refused.status == 409
    for _ in range(3):
        assert isinstance(await witness.add_checkpoint(offer(7, checkpoint(7, OTHER))), Refused)
        assert isinstance(await witness.add_checkpoint(Offer(7, (), signed(checkpoint(9)))), Refused)
    assert len(list((tmp_path / "evidence").glob("unproven-*"))) == 1
    assert witness.status()["forks"] == 1
    (case,) = (json.loads(path.read_text()) for path in (tmp_path / "evidence").glob("fork-*"))
    kept = notes.parse(case["countersigned"])
    assert kept.text == checkpoint(7).text() and witness.key.cosigned_at(kept) is not None
    assert CHAIN.checkpoint(parse_offer(case["offered"].encode()).note) == checkpoint(7, OTHER)
    with pytest.raises(Invalid, match="another witness works with this folder"):
        Witness(tmp_path, "witness.example/w1", KEY.public)
    witness.close()
    again = Witness(tmp_path, "witness.example/w1", KEY.public)
    assert again.last == kept
    again.close()
    with pytest.raises(Invalid, match="is not what this witness has left"):
        Witness(tmp_path, "witness.example/w1", MemoryKey().public)


@dataclass
class RunningWitness(RunningProcess):
    """The command, asked over HTTP."""

    component: ClassVar[Component] = Component.LEDGER

    log_key: Path

    def start(self) -> None:
        self.status_address = self.address
        self.launch(
            [
                *(sys.executable, "-m", "openbourse.ledger.seal", "witness", "--name", "witness.example/w1"),
                *("--state", str(self.folder / "state"), "--log-key", str(self.log_key)),
                *("--listen", str(self.address)),
            ]
        )
        self.wait_until_ready()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def key(self) -> WitnessKey:
        return WitnessKey.parse(httpx.get(f"{self.url}/key").text)

    def offer(self, what: Offer) -> httpx.Response:
        return httpx.post(f"{self.url}/add-checkpoint", content=str(what).encode(), timeout=10)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[RunningWitness]:
    pem = tmp_path / "seal.pem"
    pem.write_bytes(notes.p256(KEY.public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    running = RunningWitness(tmp_path, pem)
    running.start()
    yield running
    if running.process is not None:
        running.kill()


@pytest.mark.server
def test_a_killed_witness_remembers_what_it_has_answered(witness: RunningWitness) -> None:
    assert witness.offer(offer(0, checkpoint(1))).status_code == 403
    added = httpx.post(f"{witness.url}/add-key", content=str(ANNOUNCED).encode())
    assert (added.status_code, added.text) == (200, "known\n")
    key = witness.key
    seen = 0
    for size in (1, 3, 7, 8, 12):
        answer = witness.offer(offer(seen, checkpoint(size)))
        assert answer.status_code == 200, answer.text
        note = signed(checkpoint(size)).with_signatures(notes.parse_signature(answer.text.strip()))
        assert key.cosigned_at(note) is not None
        witness.kill()
        witness.start()
        assert witness.key == key
        # The same again has the same answer; another past has none.
        assert witness.offer(offer(size, checkpoint(size))).text == answer.text
        assert witness.offer(offer(size, checkpoint(size, LEAVES[::-1]))).status_code == 409
        stale = witness.offer(offer(seen, checkpoint(size + 1)))
        assert (stale.status_code, stale.text, stale.headers["content-type"]) == (409, f"{size}\n", "text/x.tlog.size")
        assert notes.parse(httpx.get(f"{witness.url}/checkpoint").text).text == checkpoint(size).text()
        seen = size
    assert witness.status()["forks"] == 5
    assert witness.offer(Offer(0, (), Note("x" * 300_000 + "\n", ()))).status_code == 413
    assert httpx.post(f"{witness.url}/add-checkpoint", content=b"x").status_code == 400
    assert httpx.post(f"{witness.url}/add-key", content=str(signed(checkpoint(1))).encode()).status_code == 400
    assert witness.stop() == 0


@dataclass
class RunningSealer(RunningProcess):
    component: ClassVar[Component] = Component.LEDGER

    database: LedgerDatabase
    history: History
    more: tuple[str, ...] = ()

    def start(self) -> None:
        (self.folder / "archive").mkdir(exist_ok=True)
        self.launch(
            [
                *(sys.executable, "-m", "openbourse.ledger.seal", "serve", "--origin", ORIGIN, "--every", "0.05"),
                *("--archive", str(self.folder / "archive"), "--status", str(self.status_address), *self.more),
            ],
            {"OPENBOURSE_DATABASE": self.database.owner, **self.history.token.environment},
        )
        self.wait_until_it_answers()


@pytest.mark.server
async def test_a_sealer_that_is_killed_again_and_again_makes_one_history_that_the_witness_follows(
    history: History, copied: LedgerDatabase, tmp_path: Path
) -> None:
    pem = tmp_path / "seal.pem"
    pem.write_bytes(history.pem)
    (tmp_path / "witness").mkdir()
    (tmp_path / "sealer").mkdir()
    witness = RunningWitness(tmp_path / "witness", pem)
    witness.start()
    more = ("--witness", witness.url, "--witness-key", str(witness.key))
    sealer = RunningSealer(tmp_path / "sealer", copied, history, more)
    connection, watermark = await ledger_store.open_settlement(copied.application, SHARD)
    try:
        for number in range(8):
            sealer.start()
            for _ in range(3):
                stream = deliveries("nothing", first_seq=watermark.seq + 1)
                watermark = (await ledger_store.settle(connection, SHARD, stream)).watermark
            if number % 2:
                time.sleep(0.02 * number)  # noqa: ASYNC251 - killed at whatever it is doing then
            else:
                seq = watermark.seq
                sealer.wait_for("it is sealed", lambda s, seq=seq: s["shards"].get(SHARD, {}).get("seq") == seq)  # type: ignore[misc]
            if number == 7:
                break
            sealer.kill()
        status = sealer.wait_for(
            "all is sealed, archived and witnessed",
            lambda s: (
                s["shards"].get(SHARD, {}).get("seq") == watermark.seq
                and (s["archived_checkpoint"], s["witnessed_leaves"]) == (s["checkpoint"], s["leaves"])
            ),
        )
        assert (status["archive_trouble"], status["witness_trouble"], status["ready"]) == ("", "", True)
        assert witness.status()["leaves"] == status["leaves"] == 9 + 1 + 24
        assert witness.status()["forks"] == 0
        witness.kill()
        stream = deliveries("nothing", first_seq=watermark.seq + 1)
        watermark = (await ledger_store.settle(connection, SHARD, stream)).watermark
        sealer.wait_for("the witness is away", lambda s: "witness.example/w1" in s["witness_trouble"])
        assert sealer.status()["leaves"] == 35
        witness.start()
        sealer.wait_for("the witness is back", lambda s: s["witnessed_leaves"] == 35 and not s["witness_trouble"])
        # A history that was written anew: the token signs it, the witness does not.
        assert sealer.stop() == 0
        owner = await asyncpg.connect(copied.owner)
        await owner.execute(
            "ALTER TABLE seal.checkpoints DISABLE TRIGGER ALL; ALTER TABLE seal.cosignatures DISABLE TRIGGER ALL; "
            "ALTER TABLE seal.leaves DISABLE TRIGGER ALL; DELETE FROM seal.cosignatures; DELETE FROM seal.checkpoints; "
            "DELETE FROM seal.leaves"
        )
        await owner.close()
        (tmp_path / "sealer" / "archive").rename(tmp_path / "archive-of-before")
        stream = deliveries("nothing", first_seq=watermark.seq + 1)
        await ledger_store.settle(connection, SHARD, stream)
        sealer.start()
        stopped = sealer.wait_for("it has stopped", lambda s: s["state"] == "stopped")
        assert "the witness" in stopped["reason"]
    finally:
        await connection.close()
        for process in (sealer, witness):
            if process.process is not None:
                process.kill()


@pytest.mark.server
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("serve", "--origin", "a b", "--archive", ".", "--status", "127.0.0.1:1"), "without spaces"),
        (("serve", "--origin", "a", "--archive", ".", "--status", "127.0.0.1:1"), "set OPENBOURSE_PKCS11_MODULE"),
        (
            ("serve", "--origin", "a", "--archive", ".", "--status", "127.0.0.1:1", "--witness", "http://x"),
            "--witness and --witness-key belong together",
        ),
        (("witness", "--name", "w", "--state", ".", "--log-key", "/nowhere.pem", "--listen", "127.0.0.1:1"), "nowhere"),
        (("--help",), ""),
        (("serve", "--help"), ""),
    ],
)
def test_a_wrong_command_line_is_said(arguments: tuple[str, ...], why: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openbourse.ledger.seal", *arguments],
        env={"OPENBOURSE_DATABASE": "postgresql://x@/y?host=/nowhere", "PATH": "/usr/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert why in done.stderr and "Traceback" not in done.stderr
    assert bool(done.returncode) == bool(why)
    assert why or "example" in done.stdout or "serve" in done.stdout
