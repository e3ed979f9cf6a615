"""Every way to lie about what was settled, on a copy of a sealed ledger, before each of the two verifiers.

Who tampers is the database's superuser, with all triggers off, and goes further from class to class: leaves the hashes
as they are; computes all of them again; signs with another key, with one that was rotated out, at last with the real.
"""

import asyncio
import dataclasses
import random
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.figures import Show, Tally
from fixtures.seals import History, MemoryKey
from openbourse.ledger import chain, queries
from openbourse.ledger.chain import NO_HEAD, BatchRow
from openbourse.ledger.database import Connection
from openbourse.ledger.seal import checkpoint as checkpoints
from openbourse.ledger.seal import keychain, notes
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint, batch_leaf
from openbourse.ledger.seal.exporting import export
from openbourse.ledger.seal.notes import Note, Signer
from openbourse.ledger.seal.token import Token
from openbourse.ledger.seal.tree import Edge
from openbourse.ledger.seal.verdict import Verdict
from openbourse.ledger.seal.verify import Trust, verify

pytestmark = pytest.mark.server

ALONE = Path(__file__).parents[2] / "ledger" / "verifier" / "verify.py"
_SECTIONS = queries.load("chain.sql")
_ALL_OFF = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('ledger', 'seal') LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', name);
    END LOOP;
    ALTER TABLE ledger.entries DROP CONSTRAINT entries_are_balanced;
END
$$
"""


Change = Callable[[Checkpoint], Checkpoint]


class Superuser:
    """What the attacker has: the database, and programs that make hashes."""

    def __init__(self, connection: Connection, history: History) -> None:
        self.connection = connection
        self.history = history

    async def run(self, *statements: str) -> None:
        for statement in statements:
            done = await self.connection.execute(statement)
            assert not done.endswith(" 0"), f"it changed nothing: {statement}"

    async def rehash(self) -> None:
        """Every content and head as if what is there had been settled."""
        for row in await self.connection.fetch("SELECT DISTINCT shard FROM ledger.batches"):
            head = NO_HEAD
            for old in await self.connection.fetch(
                "SELECT * FROM ledger.batches WHERE shard = $1 ORDER BY batch", row["shard"]
            ):
                first = 0 if old["first_seq"] == 1 else old["first_seq"]
                sections = {
                    name: await self._copied(_SECTIONS[name], row["shard"], first, old["last_seq"])
                    for name in chain.SECTIONS
                }
                known = {name: old[name] for name in BatchRow.__dataclass_fields__}
                batch = BatchRow(**known | {"content": chain.content(sections)})
                count = "SELECT count(*) FROM ledger.entries WHERE shard = $1 AND seq BETWEEN $2 AND $3"
                entries = await self.connection.fetchval(count, row["shard"], first, old["last_seq"])
                batch = dataclasses.replace(batch, entries=entries)
                head = chain.head(head, batch)
                await self.connection.execute(
                    "UPDATE ledger.batches SET content = $1, head = $2, entries = $5 WHERE shard = $3 AND batch = $4",
                    *(batch.content, head, row["shard"], old["batch"], entries),
                )

    async def _copied(self, query: str, *arguments: object) -> bytes:
        parts: list[bytes] = []

        async def collect(data: bytes) -> None:
            parts.append(data)

        await self.connection.copy_from_query(query, *arguments, output=collect, format="binary")
        return b"".join(parts)[len(chain.COPY_HEADER) : -len(chain.COPY_TRAILER)]

    async def reseal(self, signers: list[Signer | None], change: Change = lambda made: made) -> None:
        """Every checkpoint anew over what is there, signed by the signer of its generation; None: by nobody."""
        announced = [notes.parse(row["note"]) for row in await self.connection.fetch("SELECT note FROM seal.keys")]
        firsts = [keychain.parse_announcement(note.text).first_checkpoint for note in announced]
        edge, previous = Edge(), NO_HASH
        leaves = await self.connection.fetch(
            "SELECT shard, batch, head FROM seal.leaves JOIN ledger.batches USING (shard, batch) ORDER BY leaf"
        )
        for row in await self.connection.fetch("SELECT number, size, note FROM seal.checkpoints ORDER BY number"):
            while edge.size < row["size"]:
                edge.append(batch_leaf(*leaves[edge.size]))
            generation = sum(first <= row["number"] for first in firsts)
            signer = signers[generation - 1]
            was = notes.parse(row["note"])
            made = change(dataclasses.replace(checkpoints.parse(was.text), root=edge.root(), previous=previous))
            if signer is not None and isinstance(signer, MemoryKey):
                made = dataclasses.replace(made, key=notes.key_hash(signer.public))
            signed = was.signatures if signer is None else (notes.sign(made.text(), made.origin, signer),)
            await self.connection.execute(
                "UPDATE seal.checkpoints SET note = $1 WHERE number = $2", str(Note(made.text(), signed)), row["number"]
            )
            previous = made.hash


Tamper = Callable[[Superuser], Awaitable[None]]


def statements(*texts: str) -> Tamper:
    async def tamper(superuser: Superuser) -> None:
        await superuser.run(*texts)

    return tamper


# A lie that balances: account 1000 has 7 more of what account 1001 has less.
MOVE_MONEY = (
    "UPDATE ledger.entries SET leg_available[5] = leg_available[5] + 7, leg_available[6] = leg_available[6] - 7 "
    "WHERE shard = 'main' AND seq = 8",
    "UPDATE ledger.balances SET available = available + 7 WHERE shard = 'main' AND account = 1000 AND asset = 'USDT'",
    "UPDATE ledger.balances SET available = available - 7 WHERE shard = 'main' AND account = 1001 AND asset = 'USDT'",
)
SWAP_SEQS = (
    "UPDATE ledger.entries SET seq = 1000 WHERE shard = 'main' AND seq = 10",
    "UPDATE ledger.entries SET seq = 10 WHERE shard = 'main' AND seq = 11",
    "UPDATE ledger.entries SET seq = 11 WHERE shard = 'main' AND seq = 1000",
)
INSERT_AT = (
    "INSERT INTO ledger.entries (shard, seq, index, epoch, kind, symbol, occurred_at_us, correlation_id, leg_accounts, "
    "leg_assets, leg_available, leg_hold) VALUES ('main', {seq}, 0, 1, 'funds_credited', '', 1, '', "
    "'{{2,1000}}', '{{USDT,USDT}}', '{{-7,7}}', '{{0,0}}')",
    "UPDATE ledger.balances SET available = available + CASE account WHEN 2 THEN -7 ELSE 7 END "
    "WHERE shard = 'main' AND account IN (2, 1000) AND asset = 'USDT'",
)


async def rewrite(superuser: Superuser) -> None:
    await superuser.run(*MOVE_MONEY)
    await superuser.rehash()


async def rewrite_unsigned(superuser: Superuser) -> None:
    await rewrite(superuser)
    await superuser.reseal([None, None])


async def rewrite_with_another_key(superuser: Superuser) -> None:
    await rewrite(superuser)
    await superuser.reseal([MemoryKey(), MemoryKey()])


async def rewrite_with_other_keys_announced(superuser: Superuser) -> None:
    await rewrite(superuser)
    signers = [MemoryKey(), MemoryKey()]
    origin, known = superuser.history.token.settings.origin, None
    for generation, signer in enumerate(signers, start=1):
        before = (keychain.parse_announcement(known.text), signers[0]) if known else None
        known = keychain.announce(origin, generation, signer, before, 1 if before is None else 3)
        await superuser.connection.execute(
            "UPDATE seal.keys SET note = $1 WHERE generation = $2", str(known), generation
        )
    await superuser.reseal([*signers])


async def rewrite_with_the_rotated_key(superuser: Superuser) -> None:
    await superuser.run("UPDATE ledger.entries SET symbol = 'X' WHERE shard = 'main' AND seq = 14")
    await superuser.rehash()
    token = Token(superuser.history.token.settings)
    first = token.key(1)
    assert first is not None
    # It says of itself whose key it is.
    await superuser.reseal([first, first])
    for row in await superuser.connection.fetch("SELECT number, note FROM seal.checkpoints WHERE number >= 3"):
        made = dataclasses.replace(checkpoints.parse(notes.parse(row["note"]).text), key=notes.key_hash(first.public))
        signed = Note(made.text(), (notes.sign(made.text(), made.origin, first),))
        await superuser.connection.execute(
            "UPDATE seal.checkpoints SET note = $1 WHERE number = $2", str(signed), row["number"]
        )
    token.close()


async def rewrite_with_the_real_keys(superuser: Superuser) -> None:
    await rewrite(superuser)
    token = Token(superuser.history.token.settings)
    await superuser.reseal([token.key(1), token.key(2)])
    token.close()


async def sign_totals_that_are_not_the_books(superuser: Superuser) -> None:
    """Traders are owed 7 less than they have, and the fees are 7 more."""

    def owe_less(made: Checkpoint) -> Checkpoint:
        less = [dataclasses.replace(t, available=t.available - 7, fees=t.fees + 7) for t in made.totals]
        return dataclasses.replace(made, totals=tuple(less)) if made.number == 2 else made

    token = Token(superuser.history.token.settings)
    await superuser.reseal([token.key(1), token.key(2)], owe_less)
    token.close()


async def sign_one_checkpoint_again(superuser: Superuser) -> None:
    """With another time, by the key whose turn it was; the ones after it are as they were."""
    token = Token(superuser.history.token.settings)
    key = token.key(1)
    row = await superuser.connection.fetchrow("SELECT note FROM seal.checkpoints WHERE number = 2")
    assert key is not None and row is not None
    was = checkpoints.parse(notes.parse(row["note"]).text)
    made = dataclasses.replace(was, time_us=was.time_us - 1)
    note = Note(made.text(), (notes.sign(made.text(), made.origin, key),))
    await superuser.connection.execute("UPDATE seal.checkpoints SET note = $1 WHERE number = 2", str(note))
    token.close()


async def cut_off_all_since(superuser: Superuser) -> None:
    """As if the last two checkpoints had never been: batches, entries and balances are those of before."""
    row = await superuser.connection.fetchrow("SELECT note, size FROM seal.checkpoints WHERE number = 2")
    assert row is not None
    for end in checkpoints.parse(notes.parse(row["note"]).text).shards:
        await superuser.run(
            "UPDATE ledger.balances AS b SET available = b.available - m.available, hold = b.hold - m.hold FROM "
            "(SELECT account, asset, sum(available) AS available, sum(hold) AS hold FROM ledger.legs "
            f"WHERE shard = '{end.shard}' AND seq > {end.seq} GROUP BY 1, 2) AS m "
            f"WHERE b.shard = '{end.shard}' AND b.account = m.account AND b.asset = m.asset",
            f"DELETE FROM ledger.entries WHERE shard = '{end.shard}' AND seq > {end.seq}",
            f"DELETE FROM ledger.batches WHERE shard = '{end.shard}' AND batch > {end.batch}",
        )
    await superuser.connection.execute("DELETE FROM ledger.checkpoints WHERE seq > 12")
    await superuser.run(
        "DELETE FROM seal.checkpoints WHERE number > 2", f"DELETE FROM seal.leaves WHERE leaf >= {row['size']}"
    )


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
        statements("UPDATE ledger.entries SET leg_available[5] = leg_available[5] + 7 WHERE seq = 10"),
        "shard main, batch 3, entries, seq 10 index 0: its legs of USDT sum to 7",
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
    await connection.execute(_ALL_OFF)
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
    await connection.execute(_ALL_OFF)
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
