"""Both verifiers count manual entries, and find what was done to them."""

import asyncio
import subprocess
import sys
import uuid
from pathlib import Path

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.seals import History
from fixtures.streams import deliveries
from fixtures.tampering import ALL_OFF
from openbourse.ledger import store
from openbourse.ledger.errors import Diverged
from openbourse.ledger.seal.archive import FolderArchive
from openbourse.ledger.seal.exporting import export
from openbourse.ledger.seal.progress import SealProgress
from openbourse.ledger.seal.sealer import Sealer
from openbourse.ledger.seal.verify import Trust, verify

pytestmark = pytest.mark.server

ALONE = Path(__file__).parents[2] / "ledger" / "verifier" / "verify.py"
ENTRIES = [uuid.UUID(int=number) for number in range(1, 5)]


async def post(database: LedgerDatabase) -> None:
    """Two of USDT and one of BTC, and one that was rejected."""
    connection = await asyncpg.connect(database.application)
    for entry_id, asset, from_account, to_account in zip(
        ENTRIES, ("USDT", "USDT", "BTC", "USDT"), (4, 1, 2, 4), (3, 2, 3, 3), strict=True
    ):
        await connection.execute(
            "INSERT INTO ledger.manual_entries (entry_id, shard, kind, asset, from_account, to_account, amount, reason,"
            " requested_by) VALUES ($1, 'main', 'adjustment', $2, $3, $4, 1, 'a test', 'ann')",
            *(entry_id, asset, from_account, to_account),
        )
        await connection.execute(
            "INSERT INTO ledger.manual_decisions (entry_id, decision, decided_by) VALUES ($1, $2, 'bob')",
            *(entry_id, "rejected" if entry_id == ENTRIES[3] else "posted"),
        )
    await connection.close()


def _alone(export: Path, key: Path, note: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, ALONE, export, "--key", key, "--witness", note],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def verdicts(database: LedgerDatabase, history: History, folder: Path) -> tuple[str, str]:
    """The first problem that each names; nothing: good."""
    await export(database.owner, folder / "export")
    key, note = folder / "key.pem", folder / "seen.note"
    key.write_bytes(history.pem)
    note.write_text(str(history.witnessed))
    ours = verify(folder / "export", Trust(history.first_key, (history.witnessed,), history.witness_key))
    theirs = await asyncio.to_thread(_alone, folder / "export", key, note)
    assert theirs.stdout.startswith("GOOD") is (theirs.returncode == 0)
    return str(ours.problems[0]) if ours.problems else "", theirs.stderr.removeprefix("BAD ")


async def test_a_ledger_with_manual_entries_is_good_for_both(
    history: History, copied: LedgerDatabase, tmp_path: Path
) -> None:
    await post(copied)
    (tmp_path / "before").mkdir()
    assert await verdicts(copied, history, tmp_path / "before") == ("", "")
    await seal(copied, history, tmp_path)
    (tmp_path / "after").mkdir()
    assert await verdicts(copied, history, tmp_path / "after") == ("", "")
    sealed = verify(tmp_path / "after/export", Trust(history.first_key))
    unsealed = verify(tmp_path / "before/export", Trust(history.first_key))
    assert (unsealed.unsealed_manual, sealed.unsealed_manual) == (4, 0)


async def seal(database: LedgerDatabase, history: History, folder: Path) -> None:
    """The next checkpoint, over a batch that nobody sealed yet and over the manual entries. Raises LedgerError."""
    (folder / "archive").mkdir(exist_ok=True)
    sealer = Sealer(database.owner, history.token.settings, FolderArchive(folder / "archive"), SealProgress())
    try:
        await sealer.round()
    finally:
        await sealer.close()
    owner = await asyncpg.connect(database.owner)
    assert await owner.fetchval("SELECT max(number) FROM seal.checkpoints") == 5
    await owner.close()


HEADS = """
DO $$
DECLARE
    decided ledger.manual_decisions;
    previous bytea := decode(repeat('00', 32), 'hex');
BEGIN
    FOR decided IN SELECT * FROM ledger.manual_decisions ORDER BY number LOOP
        previous := ledger.manual_head_of(
            previous, (SELECT e FROM ledger.manual_entries AS e WHERE e.entry_id = decided.entry_id), decided);
        UPDATE ledger.manual_decisions SET head = previous WHERE entry_id = decided.entry_id;
    END LOOP;
END
$$
"""
SECOND = f"WHERE entry_id = '{ENTRIES[1]}'"
LIES = {
    "an amount": (f"UPDATE ledger.manual_entries SET amount = 2 {SECOND}", "shard main, manual entry 2"),
    "an amount and all heads": (f"UPDATE ledger.manual_entries SET amount = 2 {SECOND};{HEADS}", "balance of "),
    "a reason": (f"UPDATE ledger.manual_entries SET reason = 'other' {SECOND}", "shard main, manual entry 2"),
    "who approved": (f"UPDATE ledger.manual_decisions SET decided_by = 'eve' {SECOND}", "shard main, manual entry 2"),
    "one person for two": (
        f"UPDATE ledger.manual_decisions SET decided_by = 'ann' {SECOND};{HEADS}",
        "shard main, manual entry 2",
    ),
    "the rejected one as posted": (
        f"UPDATE ledger.manual_decisions SET decision = 'posted' WHERE entry_id = '{ENTRIES[3]}';{HEADS}",
        "balance of ",
    ),
    "one that is gone": (f"DELETE FROM ledger.manual_decisions {SECOND}", "shard main, manual entry 2"),
    "a trader's account": (
        f"UPDATE ledger.manual_entries SET from_account = 1000 {SECOND};{HEADS}",
        "shard main, manual entry 2",
    ),
    "the last posted one and the rest cut off": (
        f"DELETE FROM ledger.manual_decisions WHERE entry_id IN ('{ENTRIES[2]}', '{ENTRIES[3]}')",
        "balance of ",
    ),
}


@pytest.mark.parametrize("what", LIES)
async def test_a_lie_is_found_by_both(history: History, copied: LedgerDatabase, tmp_path: Path, what: str) -> None:
    lie, place = LIES[what]
    await post(copied)
    owner = await asyncpg.connect(copied.owner)
    await owner.execute(
        ALL_OFF + ";ALTER TABLE ledger.manual_entries DROP CONSTRAINT manual_entries_are_between_house_accounts"
    )
    await owner.execute(lie)
    await owner.close()
    ours, theirs = await verdicts(copied, history, tmp_path)
    assert ours.startswith(place), ours
    assert theirs.startswith(place), theirs


# With the balances of the house accounts to match, and all heads made anew.
GONE = f"DELETE FROM ledger.manual_decisions WHERE entry_id IN ('{ENTRIES[2]}', '{ENTRIES[3]}')"
MATCHED = """
UPDATE ledger.balances SET available = available {} WHERE account = 2 AND asset = 'BTC';
UPDATE ledger.balances SET available = available {} WHERE account = 3 AND asset = 'BTC'
"""
SEALED_LIES = {
    "the end cut off": GONE + ";" + MATCHED.format("+ 1", "- 1"),
    "another amount": f"UPDATE ledger.manual_entries SET amount = 2 WHERE entry_id = '{ENTRIES[2]}';{HEADS};"
    + MATCHED.format("- 1", "+ 1"),
    "another reason": f"UPDATE ledger.manual_entries SET reason = 'other' {SECOND};{HEADS}",
    "all of them gone": "DELETE FROM ledger.manual_decisions;"
    "UPDATE ledger.balances SET available = 0 WHERE account IN (3, 4);"
    "UPDATE ledger.balances SET available = available + 1 WHERE account = 1 AND asset = 'USDT';"
    "UPDATE ledger.balances SET available = available + 1 WHERE account = 2 AND asset = 'BTC'",
}


@pytest.mark.parametrize("what", SEALED_LIES)
async def test_what_was_sealed_cannot_be_written_anew_with_the_balances_to_match(
    history: History, copied: LedgerDatabase, tmp_path: Path, what: str
) -> None:
    await post(copied)
    await seal(copied, history, tmp_path)
    owner = await asyncpg.connect(copied.owner)
    await owner.execute(ALL_OFF)
    await owner.execute(SEALED_LIES[what])
    await owner.close()
    ours, theirs = await verdicts(copied, history, tmp_path)
    assert ours.startswith("checkpoint 5, manual entries: "), ours
    assert theirs.startswith("checkpoint 5, manual entries: "), theirs


async def test_the_sealer_stops_at_manual_entries_that_do_not_continue_what_it_sealed(
    history: History, copied: LedgerDatabase, tmp_path: Path
) -> None:
    await post(copied)
    await seal(copied, history, tmp_path)
    owner = await asyncpg.connect(copied.owner)
    await owner.execute(ALL_OFF)
    await owner.execute(f"UPDATE ledger.manual_entries SET reason = 'other' {SECOND};{HEADS}")
    await owner.close()
    connection, watermark = await store.open_settlement(copied.application, "main")
    await store.settle(
        connection, "main", deliveries("nothing", first_seq=watermark.seq + 1, session_epoch=watermark.session_epoch)
    )
    await connection.close()
    with pytest.raises(Diverged, match="manual entry 4 is gone, or is not the one that was sealed"):
        await seal(copied, history, tmp_path)
