"""Balances again from the engine's own log: the same as the ledger's at the same seq, or the first bad one is named."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fixtures.commands import ALICE, BOB, BTC, USDT, buy, credit, sell
from fixtures.databases import LedgerDatabase
from fixtures.engines import LISTINGS
from fixtures.logs import SEGMENT_BYTES, segments, sequence
from fixtures.streams import SHARD, record_transfers
from openbourse.cli.journal import FolderJournal
from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.contracts.listings import Listings
from openbourse.engine import _core
from openbourse.engine.journal import roots, snapshots
from openbourse.ledger import store

pytestmark = pytest.mark.server

ORDERS = 120
# Who may give which command.
SENDERS = {"define_asset": _core.ITSELF, "define_symbol": _core.ITSELF, "credit_funds": 7, "place_order": 8}


def commands() -> Iterator[v1.Command]:
    dice = random.Random(1)  # noqa: S311
    for definition in Listings.model_validate(LISTINGS).definitions():
        command = v1.Command(command_id=dice.randbytes(16))
        match definition:
            case v1.DefineAsset():
                command.define_asset.CopyFrom(definition)
            case v1.DefineSymbol():
                command.define_symbol.CopyFrom(definition)
        yield command
    for account in (ALICE, BOB):
        for asset, amount in (("USDT", 10_000_000 * USDT), ("BTC", 1000 * BTC)):
            funded = credit(account, asset, amount)
            funded.credit_funds.transfer_id = str(uuid.UUID(bytes=dice.randbytes(16)))
            yield funded
    for _ in range(ORDERS):
        make = dice.choice((buy, sell))
        yield make(50_000_00 + dice.randrange(-5, 5), dice.randrange(10_000, 90_000), dice.choice((ALICE, BOB)))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an engine that has ended."""
    folder = tmp_path_factory.mktemp("engine") / "wal"
    engine = _core.Engine(folder, SHARD, segment_bytes=SEGMENT_BYTES)
    engine.lead(3)
    engine.commit(engine.durable_seq())
    engine.welcome()
    for connection in SENDERS.values():
        if connection != _core.ITSELF:
            engine.connect(connection, "ledger" if connection == SENDERS["credit_funds"] else "gateway")
            engine.receive(connection, encode(v1.ClientFrame(hello=v1.Hello(shard=SHARD))))
    for number, command in enumerate(commands(), start=1):
        connection = SENDERS[str(command.WhichOneof("body"))]
        assert engine.receive(connection, encode(v1.ClientFrame(command=command))) is None
        while (frames := engine.collect()) is None:
            engine.commit(engine.durable_seq())
            # A command that a full segment has no room for waits for the next.
            engine.begin(1_000_000 + number)
        assert frames
    return folder


@pytest.fixture
async def settled(log: Path, ledger_database: LedgerDatabase) -> tuple[LedgerDatabase, int]:
    """A ledger that has settled the whole log, and through which seq."""
    journal = FolderJournal(log, SHARD, 1 << 60)
    stream = list(journal.deliveries(journal.last_seq))
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    listed = v1.Events(epoch=stream[0].epoch, first_seq=1, last_seq=5)
    listed.events.extend(event for event in stream[0].events if event.seq <= listed.last_seq)
    await store.settle(connection, SHARD, [listed])
    await record_transfers(connection, stream)
    await store.settle(connection, SHARD, stream)
    await connection.close()
    return ledger_database, journal.last_seq


def run(of: LedgerDatabase, folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("openbourse")), "ledger", "rebuild", "--from-wal", str(folder), *arguments],
        env=os.environ | {"OPENBOURSE_DATABASE": of.application},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


async def change(of: LedgerDatabase, statement: str) -> None:
    """As a superuser does who turns the guards off."""
    owner = await asyncpg.connect(of.owner)
    for table in ("entries", "balances"):
        await owner.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
    await owner.execute(statement)
    await owner.close()


async def test_a_log_makes_the_balances_that_are_kept(log: Path, settled: tuple[LedgerDatabase, int]) -> None:
    database, last_seq = settled
    code, output, errors = run(database, log)
    assert (code, output) == (0, f"equal at seq {last_seq}: 8 balances from the engine's log\n"), errors
    owner = await asyncpg.connect(database.owner)
    assert await owner.fetchval("SELECT count(*) FROM ledger.entries WHERE trade_id IS NOT NULL") > 10
    await owner.close()


async def test_a_ledger_that_is_behind_is_compared_where_it_is(log: Path, ledger_database: LedgerDatabase) -> None:
    journal = FolderJournal(log, SHARD, 1 << 60)
    listed = next(journal.deliveries(5))
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, [listed])
    await connection.close()
    code, output, errors = run(ledger_database, log)
    assert code == 0 and output.startswith("equal at seq 5: "), errors


async def test_a_balance_that_was_changed_is_named(log: Path, settled: tuple[LedgerDatabase, int]) -> None:
    database, last_seq = settled
    await change(
        database, f"UPDATE ledger.balances SET available = available - 7 WHERE account = {ALICE} AND asset = 'USDT'"
    )
    code, output, errors = run(database, log)
    assert code == 1 and output.startswith(f"account {ALICE} USDT: kept ("), output
    assert f"DIFFERENT at seq {last_seq}: 1 of 8 balances" in output
    assert "every entry is the log's: the balances themselves were changed; rebuild --swap makes them again" in errors


async def test_of_an_entry_that_was_changed_the_seq_account_and_asset_are_named(
    log: Path, settled: tuple[LedgerDatabase, int]
) -> None:
    database, _ = settled
    owner = await asyncpg.connect(database.owner)
    # The entry and the balances, as somebody does who wants nothing to be seen.
    row = await owner.fetchrow(
        "SELECT seq, account FROM ledger.entries WHERE kind = 'order_accepted' AND asset = 'USDT' ORDER BY seq LIMIT 1"
    )
    assert row is not None
    seq, account = row
    await owner.close()
    await change(
        database,
        f"UPDATE ledger.entries SET available = available + 1, hold = hold - 1 "
        f"WHERE seq = {seq} AND kind = 'order_accepted'",
    )
    await change(
        database,
        f"UPDATE ledger.balances SET available = available + 1, hold = hold - 1 "
        f"WHERE account = {account} AND asset = 'USDT'",
    )
    code, output, errors = run(database, log)
    assert code == 1 and "DIFFERENT at seq" in output
    assert f"first bad seq {seq}: account {account} USDT: entry (" in errors, errors


async def test_a_log_whose_first_segments_are_recycled_begins_with_a_snapshot(
    log: Path, settled: tuple[LedgerDatabase, int], tmp_path: Path
) -> None:
    database, last_seq = settled
    copy = tmp_path / "recycled"
    shutil.copytree(log, copy)
    roots.sign_finished(copy, roots.FileKey.load(tmp_path / "signing-key.pem"), 2**63)
    snapshots.make(copy, SHARD, 60)
    assert _core.retain(copy, 61)
    code, output, errors = run(database, copy)
    assert (code, output) == (0, f"equal at seq {last_seq}: 8 balances from the engine's log\n"), errors
    assert "its first segments are recycled: from the snapshot of seq 60 on" in errors
    for snapshot in [file for file in copy.rglob("*60*") if "snap" in file.name]:
        snapshot.unlink()
    code, _, errors = run(database, copy)
    assert code == 1 and "takes a good snapshot of seq" in errors, errors


async def test_a_log_that_is_torn_or_spoiled_is_compared_as_far_as_it_is_good(
    log: Path, settled: tuple[LedgerDatabase, int], tmp_path: Path
) -> None:
    database, last_seq = settled
    torn = tmp_path / "torn"
    shutil.copytree(log, torn)
    newest = segments(torn)[-1]
    content = newest.read_bytes()
    end = content.rstrip(b"\0")
    newest.write_bytes(end[:-20] + bytes(len(content) - len(end) + 20))
    code, output, errors = run(database, torn)
    assert code == 1 and output.startswith(f"equal at seq {last_seq - 1}: "), (output, errors)
    assert f"the log is good up to seq {last_seq - 1} (" in errors and f"settled is seq {last_seq}" in errors, errors
    spoiled = tmp_path / "spoiled"
    shutil.copytree(log, spoiled)
    second = segments(spoiled)[1]
    content = second.read_bytes()
    second.write_bytes(content[:4200] + bytes([content[4200] ^ 1]) + content[4201:])
    code, output, errors = run(database, spoiled)
    assert code == 1 and output.startswith("equal at seq "), (output, errors)
    assert "but not beyond: " in errors and second.name in errors, errors


async def test_what_is_no_log_of_the_shard_is_refused_with_what_is_allowed(
    log: Path, settled: tuple[LedgerDatabase, int], tmp_path: Path
) -> None:
    database, _ = settled
    (tmp_path / "empty").mkdir()
    code, _, errors = run(database, tmp_path / "empty")
    assert code == 1 and "name the folder that an engine has as --wal" in errors, errors
    code, _, errors = run(database, tmp_path / "nowhere")
    assert code == 2 and "does not exist" in errors, errors
    code, _, errors = run(database, log, "--shard", "hot")
    assert code == 1 and "it is the log of shard 'main', not of 'hot'" in errors, errors
    code, _, errors = run(database, log, "--swap")
    assert code == 2 and "compared and never written" in errors, errors
    another = tmp_path / "another"
    engine = _core.Engine(another, "hot", segment_bytes=SEGMENT_BYTES)
    engine.lead(3)
    sequence(engine, next(commands()))
    code, _, errors = run(database, another)
    assert code == 1 and "it is the log of shard 'hot', not of 'main'" in errors, errors


async def test_ctrl_c_ends_it_and_nothing_is_left(log: Path, settled: tuple[LedgerDatabase, int]) -> None:
    database, _ = settled
    owner, watcher = await asyncpg.connect(database.owner), await asyncpg.connect(database.owner)
    # The proof waits for it.
    async with owner.transaction():
        await owner.execute("LOCK TABLE ledger.balances IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(  # noqa: ASYNC220 - likewise
            [str(Path(sys.executable).with_name("openbourse")), "ledger", "rebuild", "--from-wal", str(log)],
            env=os.environ | {"OPENBOURSE_DATABASE": database.application},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 30
        while not await watcher.fetchval(waiting):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)  # noqa: ASYNC251 - nobody else is on this loop
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=9)
    assert process.returncode == 1 and not output
    assert "interrupted: nothing is written by this, so everything is as it was" in errors
    assert "Traceback" not in errors
    await owner.close()
    await watcher.close()
