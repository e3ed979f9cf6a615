"""Every way to lie about what was settled, on a copy of a sealed ledger, before each of the two verifiers.

Who tampers is the database's superuser, with all triggers off, and goes further from class to class: leaves the hashes
as they are; computes all of them again; signs with another key, with one that was rotated out, at last with the real.
"""

import asyncio
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.figures import Show, Tally
from fixtures.seals import History
from fixtures.tampering import (
    ALL_OFF,
    INSERT_AT,
    MOVE_MONEY,
    SWAP_SEQS,
    Superuser,
    Tamper,
    cut_off_all_since,
    rewrite,
    rewrite_unsigned,
    rewrite_with_another_key,
    rewrite_with_other_keys_announced,
    rewrite_with_the_real_keys,
    rewrite_with_the_rotated_key,
    sign_one_checkpoint_again,
    sign_totals_that_are_not_the_books,
    statements,
)
from openbourse.ledger.seal.exporting import export
from openbourse.ledger.seal.verdict import Verdict
from openbourse.ledger.seal.verify import Trust, verify

pytestmark = pytest.mark.server

ALONE = Path(__file__).parents[2] / "ledger" / "verifier" / "verify.py"


@dataclass(frozen=True, slots=True)
class Case:
    """How, and the first bad place that the project's verifier and the other one name."""

    tamper: Tamper
    place: str
    alone: str = ""


# The batches of shard main: 1 is what is listed, 2 the deposits, 3 (seq 8 to 11) three trades, and so on.
IN_CHECKPOINT_2 = "checkpoint 2, shard main batch 3 to 3, seq 8 to 11; shard second shard batch 1 to 2, seq 1 to 4: the"
BATCH_3 = "shard main, batch 3, seq 8 to 11"
CASES = {
    "edit: a trade's legs, balanced": Case(statements(*MOVE_MONEY), f"{BATCH_3}: its rows are not"),
    "edit: a trade's price": Case(
        statements("UPDATE ledger.entries SET price_ticks = 1 WHERE seq = 10"), f"{BATCH_3}: its rows are not"
    ),
    "edit: a leg, so that money appears": Case(
        statements("UPDATE ledger.entries SET available = available + 7 WHERE seq = 10"),
        "shard main, batch 3, entries, seq 10 index 0: its legs of BTC sum to 7",
        f"{BATCH_3}, entries, seq 10 index 0: its legs do not sum to zero",
    ),
    "edit: a symbol's fee": Case(
        statements("UPDATE ledger.symbols SET maker_fee_ppm = 0 WHERE shard = 'main'"),
        "shard main, batch 1, seq 1 to 3: its rows are not",
    ),
    "edit: an asset's scale": Case(
        statements("UPDATE ledger.assets SET scale = 3 WHERE asset = 'USDT' AND shard = 'main'"),
        "shard main, batch 1, seq 1 to 3: its rows are not",
    ),
    "edit: who asked for a deposit": Case(
        statements("UPDATE ledger.transfers SET requested_by = 'x' WHERE shard = 'main' AND posted_seq = 5"),
        "shard main, batch 2, seq 4 to 7: its rows are not",
    ),
    "edit: the engine's state hash": Case(
        statements("UPDATE ledger.checkpoints SET state_hash = '\\x00'"), "shard main, batch 4, seq 12 to 13: its rows"
    ),
    "edit: when a batch was settled": Case(
        statements("UPDATE ledger.batches SET settled_at_us = 1 WHERE shard = 'main' AND batch = 3"),
        f"{BATCH_3}: its head is not",
    ),
    "edit: a balance": Case(
        statements(
            "UPDATE ledger.balances SET available = available + CASE account WHEN 1000 THEN 7 ELSE -7 END "
            "WHERE shard = 'main' AND asset = 'USDT' AND account IN (1000, 1001)"
        ),
        "balance of account 1000 in USDT, shard main: kept as",
        "balance of (1000, 'USDT'), shard main: kept as",
    ),
    "edit: a checkpoint's total": Case(
        statements("UPDATE seal.checkpoints SET note = replace(note, ' USDT ', ' USDT 1') WHERE number = 2"),
        "checkpoint 2: ",
    ),
    "edit: a key": Case(
        statements("UPDATE seal.keys SET note = replace(note, 'first_checkpoint 3', 'first_checkpoint 4')"),
        "export: the announcement of key generation 2 is not signed",
        "key 2: no valid signature",
    ),
    "delete: an entry": Case(
        statements("DELETE FROM ledger.entries WHERE shard = 'main' AND seq = 10"), f"{BATCH_3}: it has 2 entries"
    ),
    "delete: a batch with its entries": Case(
        statements(
            "DELETE FROM ledger.batches WHERE shard = 'main' AND batch = 3",
            "DELETE FROM ledger.entries WHERE shard = 'main' AND seq BETWEEN 8 AND 11",
        ),
        "shard main, batch 4, seq 12 to 13: batch 3 is missing before it",
    ),
    "delete: a balance": Case(
        statements("DELETE FROM ledger.balances WHERE shard = 'main' AND account = 1000 AND asset = 'USDT'"),
        "balance of account 1000 in USDT, shard main: it is missing",
        "balances: one is missing",
    ),
    "delete: a checkpoint": Case(
        statements("DELETE FROM seal.checkpoints WHERE number = 2"),
        "checkpoint 2: checkpoint 2 is missing before it",
        "checkpoint 2: it does not continue",
    ),
    "delete: a leaf": Case(
        statements("DELETE FROM seal.leaves WHERE leaf = 2"), "leaf 3: leaf 2 is missing", "leaf 3: not the next"
    ),
    "insert: an entry where none was": Case(
        statements(*(text.format(seq=9) for text in INSERT_AT)), f"{BATCH_3}: it has 4 entries"
    ),
    "insert: an entry after the last batch": Case(
        statements(*(text.format(seq=1000) for text in INSERT_AT)), "shard main, entries, seq 1000: a row that no batch"
    ),
    "reorder: two trades": Case(statements(*SWAP_SEQS), f"{BATCH_3}: its rows are not"),
    "reorder: two batches": Case(
        statements(
            "UPDATE ledger.batches AS b SET content = o.content, head = o.head FROM ledger.batches AS o "
            "WHERE b.shard = 'main' AND o.shard = 'main' AND (b.batch, o.batch) IN ((3, 4), (4, 3))"
        ),
        f"{BATCH_3}: its rows are not",
    ),
    "reorder: two leaves": Case(
        statements(
            "UPDATE seal.leaves SET leaf = 1000 + leaf WHERE leaf IN (2, 3)",
            "UPDATE seal.leaves SET leaf = 1005 - leaf WHERE leaf >= 1000",
        ),
        IN_CHECKPOINT_2,
        "checkpoint 2, ",
    ),
    "truncate: the last sealed batch": Case(
        statements(
            "DELETE FROM ledger.entries WHERE shard = 'main' AND seq >= 15",
            "DELETE FROM ledger.batches WHERE shard = 'main' AND first_seq >= 15",
        ),
        "leaf ",
    ),
    "truncate: leaves and batches, checkpoints stay": Case(
        statements(
            "DELETE FROM seal.leaves WHERE leaf >= 6",
        ),
        "checkpoint 3: it has 8 leaves, and 6 are there",
        "checkpoint 3: it has 8 leaves, 6 are there",
    ),
    "truncate: all of it, as if it had never been": Case(
        cut_off_all_since, "the witness's checkpoint 4 of 9 leaves: ", "the witness's checkpoint 4: it has 9 leaves"
    ),
    "rewrite: hashes made anew": Case(
        rewrite,
        IN_CHECKPOINT_2,
        "checkpoint 2, ",
    ),
    "rewrite: and checkpoints, signed by nobody": Case(
        rewrite_unsigned, "checkpoint 2: has no valid signature", "checkpoint 2: no valid signature"
    ),
    "rewrite: and signed by another key": Case(rewrite_with_another_key, "checkpoint 1: "),
    "rewrite: and by other keys that are announced": Case(
        rewrite_with_other_keys_announced, "export: the first key there is ", "key 1: not the first key"
    ),
    "rewrite: and by a key that was rotated out": Case(rewrite_with_the_rotated_key, "checkpoint 3: "),
    "rewrite: one checkpoint, signed with the real key": Case(
        sign_one_checkpoint_again, "checkpoint 3: it does not continue"
    ),
    "rewrite: false totals, signed with the real keys": Case(
        sign_totals_that_are_not_the_books,
        "the witness's checkpoint 4: the export has another text",
        "checkpoint 2, shard main: other totals",
    ),
    "rewrite: and signed with the real keys, after the witness": Case(
        rewrite_with_the_real_keys, "the witness's checkpoint 4 of 9 leaves: ", "the witness's checkpoint 4"
    ),
}  # fmt: skip


def by_the_project(folder: Path, history: History) -> Verdict:
    return verify(folder, Trust(history.first_key, (history.witnessed,), history.witness_key))


def alone(folder: Path, history: History, tmp_path: Path, expected: str = "") -> str:
    """What the other verifier says; its folder is not this project's, and nothing of the project can be imported."""
    away = tmp_path / "away"
    away.mkdir(exist_ok=True)
    shutil.copy(ALONE, away / "verify.py")
    (away / "seal.pem").write_bytes(history.pem)
    (away / "seen.note").write_text(str(history.witnessed))
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", str(folder), "--key", "seal.pem", "--witness", "seen.note"],
        cwd=away,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    assert said.startswith("GOOD" if done.returncode == 0 else "BAD") and said.startswith(expected), said
    return said


async def exported(database: LedgerDatabase, folder: Path) -> Path:
    await export(database.application, folder)
    return folder


async def test_what_nobody_touched_is_good_for_both(history: History, tmp_path: Path) -> None:
    folder = await exported(history.database, tmp_path / "export")
    verdict = by_the_project(folder, history)
    assert verdict.problems == []
    assert (verdict.keys, verdict.checkpoints, verdict.leaves, verdict.batches) == (2, 4, 9, 10)
    assert (verdict.unsealed_batches, verdict.entries) == (1, 13)
    assert alone(folder, history, tmp_path).startswith("GOOD 4 checkpoints, 9 leaves of 10 batches")


@pytest.mark.parametrize("what", CASES)
async def test_a_lie_is_found_by_both_and_its_first_place_is_named(
    what: str, history: History, copied: LedgerDatabase, tmp_path: Path, tally: Tally
) -> None:
    tally("lies about what was settled, found by two verifiers, the first bad place named by both")
    case = CASES[what]
    connection = await asyncpg.connect(copied.owner)
    await connection.execute(ALL_OFF)
    await case.tamper(Superuser(connection, history))
    await connection.close()
    folder = await exported(copied, tmp_path / "export")
    verdict = by_the_project(folder, history)
    assert not verdict.good
    assert str(verdict.problems[0]).startswith(case.place), verdict.problems
    said = await asyncio.to_thread(alone, folder, history, tmp_path)
    assert said.startswith(f"BAD {case.alone or case.place}"), said


async def test_totals_that_are_not_the_books_are_found_without_a_witness(
    history: History, copied: LedgerDatabase, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(copied.owner)
    await connection.execute(ALL_OFF)
    await sign_totals_that_are_not_the_books(Superuser(connection, history))
    await connection.close()
    folder = await exported(copied, tmp_path / "export")
    (first, *_) = verify(folder, Trust(history.first_key)).problems
    assert str(first).startswith("checkpoint 2, total of BTC in shard main: signed as "), first


async def test_each_byte_of_an_export_counts_for_both(history: History, tmp_path: Path, show: Show) -> None:
    folder = await exported(history.database, tmp_path / "export")
    chance = random.Random(6)  # noqa: S311 - the same bytes in every run
    flips = 0
    for path in sorted(folder.rglob("*.copy")):
        data = path.read_bytes()
        places = {0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(40))}
        for at in sorted(places):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
            assert not by_the_project(folder, history).good, f"{path} byte {at}"
            if flips % 20 == 0:
                alone(folder, history, tmp_path, "BAD")
            flips += 1
        path.write_bytes(data)
    assert by_the_project(folder, history).good
    show(f"an export with one bit flipped: found {flips} of {flips} times")
