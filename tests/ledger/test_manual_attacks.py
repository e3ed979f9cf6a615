"""What the tables of manual entries refuse, whoever asks: the application's own role, and the owner of the tables."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.attacks import refusal, states_of
from fixtures.databases import LedgerDatabase
from fixtures.figures import Show
from fixtures.streams import ONE_TRADE, SHARD, deliveries, record_transfers
from openbourse.ledger import store
from openbourse.ledger.database import Connection

pytestmark = pytest.mark.server

STREAM = deliveries(ONE_TRADE)
# Fees are 1 USDT and 2 BTC, or the other way round: less than 5 of each.
POSTED, PROPOSED, REJECTED, REVERSED, REVERSAL, AGAIN = (uuid.UUID(int=number) for number in range(1, 7))
NEW = "gen_random_uuid()"


def proposal(entry_id: object = NEW, **columns: object) -> str:
    """One of an amount of 5 USDT from adjustment to suspense, in all but what is said."""
    row = {
        **{"entry_id": entry_id if entry_id == NEW else f"'{entry_id}'", "shard": "'main'", "kind": "'adjustment'"},
        **{"asset": "'USDT'", "from_account": 4, "to_account": 3, "amount": 5, "reason": "'a test'"},
        **{"requested_by": "'ann'", **columns},
    }
    return f"INSERT INTO ledger.manual_entries ({', '.join(row)}) VALUES ({', '.join(map(str, row.values()))})"


def decision(entry_id: uuid.UUID, by: str = "bob", to: str = "posted") -> str:
    return f"INSERT INTO ledger.manual_decisions (entry_id, decision, decided_by) VALUES ('{entry_id}', '{to}', '{by}')"


def reversal(of: uuid.UUID, entry_id: object = NEW, **columns: object) -> str:
    mirror = {"kind": "'reversal'", "reverses": f"'{of}'", "from_account": 3, "to_account": 4}
    return proposal(entry_id, **mirror | columns)


FOR_ALL = {
    "approve what oneself proposed": decision(PROPOSED, "ann"),
    "approve without a name": decision(PROPOSED, " "),
    "approve what nobody proposed": decision(uuid.UUID(int=99)),
    "decide something else": decision(PROPOSED, to="voided"),
    "post twice": decision(POSTED, "carl"),
    "post what was rejected": decision(REJECTED, "carl"),
    "reject what was posted": decision(POSTED, "carl", "rejected"),
    "decide again by an upsert": decision(POSTED) + " ON CONFLICT (entry_id) DO UPDATE SET decision = 'rejected'",
    "propose without a reason": proposal(reason="''"),
    "propose with a reason of spaces": proposal(reason="E' \\n'"),
    "propose with no reason at all": proposal(reason="NULL"),
    "propose without a name": proposal(requested_by="''"),
    "propose a negative amount": proposal(amount=-5),
    "propose nothing": proposal(amount=0),
    "propose from a trader's account": proposal(from_account=1000),
    "propose to a trader's account": proposal(to_account=1000),
    "propose an account that cannot exist": proposal(to_account=5),
    "propose from an account to itself": proposal(to_account=4),
    "propose of an asset that is not listed": proposal(asset="'DOGE'"),
    "propose in another shard": proposal(shard="'other'"),
    "propose another kind": proposal(kind="'gift'"),
    "give an id again": proposal(POSTED),
    "change a proposal": f"UPDATE ledger.manual_entries SET amount = 6 WHERE entry_id = '{PROPOSED}'",
    "change a reason afterwards": "UPDATE ledger.manual_entries SET reason = 'x'",
    "overwrite a proposal by an upsert": proposal(POSTED) + " ON CONFLICT (entry_id) DO UPDATE SET amount = 6",
    "change who approved": "UPDATE ledger.manual_decisions SET decided_by = 'x'",
    "change a head": "UPDATE ledger.manual_decisions SET head = sha256('x')",
    "delete a proposal": f"DELETE FROM ledger.manual_entries WHERE entry_id = '{PROPOSED}'",
    "delete a decision": f"DELETE FROM ledger.manual_decisions WHERE entry_id = '{POSTED}'",
    "empty the proposals": "TRUNCATE ledger.manual_entries CASCADE",
    "empty the decisions": "TRUNCATE ledger.manual_decisions",
    "reverse what is not posted": reversal(PROPOSED),
    "reverse what was rejected": reversal(REJECTED),
    "reverse what is not there": reversal(uuid.UUID(int=99)),
    "reverse a reversal": reversal(REVERSAL, from_account=4, to_account=3),
    "reverse twice": decision(AGAIN),
    "reverse more than was posted": reversal(POSTED, amount=6),
    "reverse a part": reversal(POSTED, amount=4),
    "reverse in the same direction": reversal(POSTED, from_account=4, to_account=3),
    "reverse to another account": reversal(POSTED, to_account=2),
    "reverse another asset": reversal(POSTED, asset="'BTC'"),
    "reverse without saying what": proposal(kind="'reversal'"),
    "say what an adjustment reverses": reversal(POSTED, kind="'adjustment'"),
    "take fees below zero": proposal(uuid.UUID(int=50), from_account=1, amount=500) + ";" + decision(uuid.UUID(int=50)),
    "move suspense by hand": "UPDATE ledger.balances SET available = available + 1 WHERE account = 3",
    "move adjustment by hand": "UPDATE ledger.balances SET available = available - 1 WHERE account = 4",
    "put suspense on hold": "UPDATE ledger.balances SET available = available - 1, hold = 1 WHERE account = 3",
    "open suspense by hand": "INSERT INTO ledger.balances VALUES (3, 1, 0, 'main', 'BTC')",
    "open adjustment below zero by hand": "INSERT INTO ledger.balances VALUES (4, -1, 0, 'main', 'BTC')",
    "empty suspense and adjustment by hand": "UPDATE ledger.balances SET available = 0 WHERE account IN (3, 4)",
}

# Of the application's role: what its work never needs, it has no right to.
FOR_APPLICATION = {
    "give a decision a number": "INSERT INTO ledger.manual_decisions (entry_id, decision, decided_by, number) "
    f"VALUES ('{PROPOSED}', 'posted', 'bob', 9)",
    "give a decision a head": "INSERT INTO ledger.manual_decisions (entry_id, decision, decided_by, head) "
    f"VALUES ('{PROPOSED}', 'posted', 'bob', sha256('x'))",
    "date a proposal back": proposal(requested_at_us=1),
    "turn the posting off": "ALTER TABLE ledger.manual_decisions DISABLE TRIGGER ALL",
    "drop the rule of another person": "DROP TRIGGER manual_decision_follows ON ledger.manual_decisions",
    "drop the rule of traders": "ALTER TABLE ledger.manual_entries "
    "DROP CONSTRAINT manual_entries_are_between_house_accounts",
    "drop the index that reverses once": "DROP INDEX ledger.manual_decisions_reverse_once",
}


@pytest.fixture
async def settled(ledger_database: LedgerDatabase) -> LedgerDatabase:
    """A ledger with a trade, and manual entries in each state."""
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, STREAM[:3])
    await record_transfers(connection, STREAM)
    await store.settle(connection, SHARD, STREAM[3:])
    for entry_id in (POSTED, PROPOSED, REJECTED, REVERSED):
        await connection.execute(proposal(entry_id))
    for statement in (
        *(decision(POSTED), decision(REJECTED, to="rejected"), decision(REVERSED)),
        *(reversal(REVERSED, REVERSAL), reversal(REVERSED, AGAIN), decision(REVERSAL)),
    ):
        await connection.execute(statement)
    await connection.close()
    return ledger_database


@pytest.fixture
async def application(settled: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(settled.application)
    yield connection
    await connection.close()


@pytest.fixture
async def owner(settled: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(settled.owner)
    yield connection
    await connection.close()


async def test_the_application_is_refused(application: Connection, show: Show) -> None:
    await states_of(application, {**FOR_ALL, **FOR_APPLICATION}, "manual entries by the application", show)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_the_owner_is_refused(owner: Connection, role: str, show: Show) -> None:
    await owner.execute(f"SET session_replication_role = {role}")
    # What foreign keys refuse is not refused in a session that says it replicates.
    by_key = {"propose of an asset that is not listed", "propose in another shard"} if role == "replica" else set()
    attacks = {name: attack for name, attack in FOR_ALL.items() if name not in by_key}
    states = await states_of(owner, attacks, f"manual entries by the tables' owner ({role})", show)
    # Not for want of a privilege: an owner has them all.
    assert {name for name, state in states.items() if state == "42501"} == set()


async def test_what_people_do_is_notrefused(application: Connection) -> None:
    new = uuid.UUID(int=60)
    for work in (
        proposal(),
        decision(PROPOSED),
        decision(PROPOSED, to="rejected"),
        reversal(POSTED),
        f"{reversal(POSTED, new)}; {decision(new)}",
        f"{proposal(new, from_account=1, to_account=2, amount=1)}; {decision(new)}",
    ):
        assert await refusal(application, work) == "00000", work


async def test_a_posted_entry_has_moved_both_balances(owner: Connection) -> None:
    async def balances() -> dict[int, int]:
        rows = await owner.fetch("SELECT account, available FROM ledger.balances WHERE asset = 'USDT' AND account < 5")
        return {row["account"]: row["available"] for row in rows}

    before = await balances()
    assert (before[3], before[4]) == (5, -5)
    await owner.execute(decision(PROPOSED))
    assert await balances() == before | {3: 10, 4: -10}


async def test_an_owner_gives_a_decision_no_number_and_no_head(owner: Connection) -> None:
    await owner.execute(
        "INSERT INTO ledger.manual_decisions (entry_id, decision, decided_by, number, seq, decided_at_us, shard, head) "
        f"VALUES ('{PROPOSED}', 'posted', 'bob', 99, 99, 1, 'other', sha256('x'))"
    )
    row = await owner.fetchrow(
        "SELECT d.*, ledger.manual_head_of(p.head, e, d) AS made FROM ledger.manual_decisions AS d "
        "JOIN ledger.manual_entries AS e USING (entry_id) "
        "JOIN ledger.manual_decisions AS p ON p.number = d.number - 1 "
        f"WHERE d.entry_id = '{PROPOSED}'"
    )
    assert row is not None
    assert (row["number"], row["seq"], row["shard"]) == (5, 8, "main")
    assert row["decided_at_us"] > 1
    assert row["head"] == row["made"]
