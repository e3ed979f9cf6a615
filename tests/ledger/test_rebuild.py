"""The balances again from nothing but the entries: compared, and put right while settlement goes on."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.ledger import queries, rebuild, store
from openbourse.ledger.database import Connection
from openbourse.ledger.differences import Difference
from openbourse.ledger.errors import Diverged, Invalid, Unavailable
from openbourse.ledger.rebuild import Made, Rebuilt

pytestmark = pytest.mark.server

TRADERS = tuple(range(1000, 1008))
ROUNDS = 60
FUNDED = 3 + 2 * len(TRADERS)
# An export's: every column of every row in the order of their keys, as binary COPY.
BALANCES = queries.load("export.sql")["balances"]


def funded() -> Iterator[str]:
    yield from ("asset USDT 2", "asset BTC 8", "symbol BTC USDT")
    for account in TRADERS:
        yield from (f"credit {account} USDT 10000", f"credit {account} BTC 10000")


def traded(rounds: int, seed: int = 1) -> Iterator[str]:
    dice = random.Random(seed)  # noqa: S311
    for _ in range(rounds):
        seller, buyer = dice.sample(TRADERS, 2)
        lots, quote = dice.randint(1, 9), dice.randint(1, 9)
        yield from (
            f"hold {seller} BTC {lots + 1}",
            f"hold {buyer} USDT {quote}",
            "nothing",
            f"trade {seller} sells {lots} BTC for {quote} USDT to {buyer}, fees 1 1",
        )


STREAM = deliveries("\n".join([*funded(), *traded(ROUNDS)]))
ENTRIES = 2 * len(TRADERS) + 3 * ROUNDS


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a shadow has many parts, and one that ends inside what was settled meanwhile."""
    monkeypatch.setattr(rebuild, "PART_ENTRIES", 7)


@pytest.fixture
async def settled(ledger_database: LedgerDatabase) -> LedgerDatabase:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, STREAM[:3])
    await record_transfers(connection, STREAM)
    for at in range(3, len(STREAM), 20):
        await store.settle(connection, SHARD, STREAM[at : at + 20])
    await connection.close()
    return ledger_database


async def execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def kept(of: LedgerDatabase) -> bytes:
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    connection = await asyncpg.connect(of.owner)
    await connection.copy_from_query(BALANCES, output=take, format="binary")
    await connection.close()
    return b"".join(parts)


def move(account: int, asset: str, by: int) -> str:
    return f"UPDATE ledger.balances SET available = available + {by} WHERE account = {account} AND asset = '{asset}'"


REMOVE = (
    "ALTER TABLE ledger.balances DISABLE TRIGGER never_removed",
    "DELETE FROM ledger.balances WHERE account = 1003",
    "ALTER TABLE ledger.balances ENABLE ALWAYS TRIGGER never_removed",
)
FOREIGN = "INSERT INTO ledger.balances VALUES (7777, 5, 1, 'main', 'USDT')"


async def test_what_is_kept_is_what_the_entries_make(settled: LedgerDatabase) -> None:
    parts: list[Made] = []
    before = await kept(settled)
    found = await rebuild.rebuild(settled.owner, SHARD, swap=True, say=parts.append)
    assert (found.seq, found.entries, found.differences, found.swapped) == (len(STREAM), ENTRIES, 0, 0)
    # Traders and the outside in two assets each, fees too.
    assert found.balances == 2 * len(TRADERS) + 4
    assert len(parts) >= ENTRIES // 7
    assert [made.seq for made in parts] == sorted({made.seq for made in parts})
    assert parts[-1] == Made(len(STREAM), len(STREAM), ENTRIES)
    assert await kept(settled) == before


async def test_what_differs_is_named_and_stays_unless_it_is_to_be_swapped(settled: LedgerDatabase) -> None:
    before = await kept(settled)
    await execute(settled.application, move(1005, "BTC", 7), move(1002, "USDT", -3), move(1002, "BTC", 1))
    wrong = await kept(settled)
    found = await rebuild.rebuild(settled.owner, SHARD, swap=False)
    assert [(one.account, one.asset, one.left[0] - one.right[0]) for one in found.first] == [
        (1002, "BTC", 1),
        (1002, "USDT", -3),
        (1005, "BTC", 7),
    ]
    assert (found.differences, found.swapped) == (3, 0)
    assert await kept(settled) == wrong

    swapped = await rebuild.rebuild(settled.owner, SHARD, swap=True)
    assert (swapped.first, swapped.differences, swapped.swapped) == (found.first, 3, 3)
    assert await kept(settled) == before


async def test_rows_that_are_missing_come_back_and_those_of_nobody_have_nothing(settled: LedgerDatabase) -> None:
    before = await kept(settled)
    await execute(settled.owner, *REMOVE, FOREIGN)
    found = await rebuild.rebuild(settled.owner, SHARD, swap=True)
    assert [(one.account, one.asset) for one in found.first] == [(1003, "BTC"), (1003, "USDT"), (7777, "USDT")]
    assert found.first[0].left == (0, 0)
    assert found.first[2] == Difference(7777, "USDT", (5, 1), (0, 0))
    assert found.swapped == 3
    connection = await asyncpg.connect(settled.owner)
    (row,) = await connection.fetch("SELECT available, hold FROM ledger.balances WHERE account = 7777")
    assert tuple(row) == (0, 0)
    await connection.close()
    assert (await rebuild.rebuild(settled.owner, SHARD, swap=False)).differences == 0
    assert before != await kept(settled)


async def settled_beside(of: LedgerDatabase, work: Awaitable[Rebuilt], first_seq: int) -> tuple[Rebuilt, list[int]]:
    """What the work gave, and where each settlement ended meanwhile and a little after."""
    more = deliveries("\n".join(traded(5_000, seed=first_seq)), first_seq=first_seq)
    connection, _ = await store.open_settlement(of.application, SHARD)
    working = asyncio.ensure_future(work)
    ends: list[int] = []
    for at in range(0, len(more), 40):
        ends.append((await store.settle(connection, SHARD, more[at : at + 40])).watermark.seq)
        if working.done():
            break
    assert working.done(), "settlement ended before the rebuild: nothing was shown"
    at += 40
    ends.append((await store.settle(connection, SHARD, more[at : at + 40])).watermark.seq)
    await connection.close()
    return await working, ends


async def test_settlement_goes_on_while_balances_are_rebuilt_and_swapped(
    settled: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer, and settlement would be faster.
    monkeypatch.setattr(rebuild, "PART_ENTRIES", 200)
    end = len(STREAM)
    for _ in range(5):
        found, ends = await settled_beside(settled, rebuild.rebuild(settled.owner, SHARD, swap=False), end + 1)
        assert (found.differences, found.seq in [end, *ends]) == (0, True), found
        end = ends[-1]

    await execute(settled.application, move(1001, "USDT", 11), FOREIGN)
    found, ends = await settled_beside(settled, rebuild.rebuild(settled.owner, SHARD, swap=True), end + 1)
    # It ends where a settlement ended: neither was in the middle of the other.
    assert found.seq in ends[:-1]
    assert (found.differences, found.swapped) == (2, 2)
    assert found.first[0].left[0] - found.first[0].right[0] == 11
    after = await rebuild.rebuild(settled.owner, SHARD, swap=False)
    assert (after.seq, after.differences) == (ends[-1], 0)


async def test_what_is_settled_while_a_swap_waits_for_the_watermark_is_in_it(settled: LedgerDatabase) -> None:
    await execute(settled.application, move(1001, "USDT", 11))
    more = deliveries("\n".join(traded(10, seed=2)), first_seq=len(STREAM) + 1)
    connection, _ = await store.open_settlement(settled.application, SHARD)
    watcher = await asyncpg.connect(settled.owner)
    async with connection.transaction():
        await connection.execute("SELECT FROM ledger.watermarks FOR UPDATE")
        swapping = asyncio.create_task(rebuild.rebuild(settled.owner, SHARD, swap=True))
        async with asyncio.timeout(rebuild.LOCK_TIMEOUT_S):
            while not await waits_for_lock(watcher):  # noqa: ASYNC110 - a fact of another process
                await asyncio.sleep(0.02)
        await store.settle(connection, SHARD, more)
    found = await swapping
    assert (found.seq, found.differences) == (len(STREAM) + len(more), 1)
    assert (await rebuild.rebuild(settled.owner, SHARD, swap=False)).differences == 0
    await connection.close()
    await watcher.close()


async def test_what_the_entries_make_is_swapped_in_as_a_whole_or_not_at_all(settled: LedgerDatabase) -> None:
    # As nobody can without turning the guards off: two traders, and one of them has less than nothing.
    await execute(
        settled.owner,
        "ALTER TABLE ledger.entries DISABLE TRIGGER ALL",
        "UPDATE ledger.entries SET available = -90000, counter_available = 90000, counter_account = 1000, "
        "account = 1001 WHERE seq = 4",
        "ALTER TABLE ledger.entries ENABLE TRIGGER ALL",
    )
    before = await kept(settled)
    with pytest.raises(Diverged, match="balances_are_not_negative"):
        await rebuild.rebuild(settled.owner, SHARD, swap=True)
    assert await kept(settled) == before


async def test_a_shadow_is_made_of_the_shard_that_was_asked_for(settled: LedgerDatabase) -> None:
    with pytest.raises(Invalid, match=r"shard 'other' was never settled in this database; those that were: main"):
        await rebuild.rebuild(settled.owner, "other", swap=False)
    with pytest.raises(Invalid, match=r"by the owner of ledger\.balances, postgres, and not by openbourse_ledger"):
        await rebuild.rebuild(settled.application, SHARD, swap=False)
    with pytest.raises(Unavailable, match="database"):
        await rebuild.rebuild(settled.server.dsn("nobody_made_it"), SHARD, swap=False)


async def waits_for_lock(connection: Connection) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'openbourse_rebuild' AND wait_event_type = 'Lock')"
        )
    )


def command(of: LedgerDatabase, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("openbourse")), "ledger", "rebuild", *arguments],
        env=os.environ | {"OPENBOURSE_DATABASE": of.owner},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_ctrl_c_leaves_everything_as_it_was(settled: LedgerDatabase) -> None:
    await execute(settled.application, move(1001, "USDT", 11))
    before = await kept(settled)
    settler, watcher = await asyncpg.connect(settled.application), await asyncpg.connect(settled.owner)
    async with settler.transaction():
        await settler.execute("SELECT FROM ledger.watermarks FOR UPDATE")
        process = command(settled, "--swap")
        try:
            async with asyncio.timeout(30):
                while not await waits_for_lock(watcher):  # noqa: ASYNC110 - a fact of another process
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output, errors = await asyncio.to_thread(process.communicate, timeout=rebuild.LOCK_TIMEOUT_S - 3)
        finally:
            process.kill()
    assert process.returncode == 1, errors
    assert "Interrupted: interrupted: everything is as it was" in errors and not output
    assert "Traceback" not in errors
    async with asyncio.timeout(10):
        while await watcher.fetchval(  # noqa: ASYNC110 - likewise
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'openbourse_rebuild') "
            "OR EXISTS (SELECT FROM pg_class WHERE relname = 'shadow')"
        ):
            await asyncio.sleep(0.02)
    await settler.close()
    await watcher.close()
    assert await kept(settled) == before


async def test_a_watermark_that_is_held_for_long_is_not_waited_for(
    settled: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(settled.application, move(1001, "USDT", 11))
    before = await kept(settled)
    monkeypatch.setattr(rebuild, "LOCK_TIMEOUT_S", 0.2)
    settler = await asyncpg.connect(settled.application)
    async with settler.transaction():
        await settler.execute("SELECT FROM ledger.watermarks FOR UPDATE")
        with pytest.raises(Unavailable, match="settlement held its watermark"):
            await rebuild.rebuild(settled.owner, SHARD, swap=True)
    await settler.close()
    assert await kept(settled) == before


async def test_the_command_says_what_it_found_and_did(settled: LedgerDatabase) -> None:
    async def run(*arguments: str) -> tuple[int, str, str]:
        process = command(settled, *arguments)
        output, errors = await asyncio.to_thread(process.communicate, timeout=60)
        return process.returncode, output, errors

    code, output, errors = await run()
    assert (code, output) == (0, f"equal at seq {len(STREAM)}: 20 balances from {ENTRIES} entries\n"), errors
    assert errors.endswith(f"seq {len(STREAM)} of {len(STREAM)}, {ENTRIES} entries\n")
    await execute(settled.application, move(1001, "USDT", 11))
    code, output, errors = await run()
    assert code == 1 and output.startswith("account 1001 USDT: kept ("), output
    assert f"DIFFERENT at seq {len(STREAM)}: 1 of 20 balances" in output
    assert "nothing was changed: --swap puts" in errors
    code, output, errors = await run("--swap")
    assert code == 0 and "swapped: 1 balances are what the entries make; settlement waited 0." in output, errors
    assert (await run())[0] == 0
