"""What the tables of moves refuse, whoever asks: the application's own role, and the owner of the tables."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.attacks import refusal, states_of
from fixtures.databases import LedgerDatabase
from fixtures.figures import Show
from fixtures.move_states import ACCOUNT, ASSET, MAIN, SECOND, STATES, begin, move_of
from openbourse.ledger import moves, store
from openbourse.ledger.books import open_books
from openbourse.ledger.database import Connection
from openbourse.ledger.transfers import Leg

pytestmark = pytest.mark.server

NEW = "gen_random_uuid()"
PLAIN = uuid.uuid5(uuid.NAMESPACE_OID, "a deposit")


def move(**columns: object) -> str:
    """One that may be, in all but what is said."""
    row = {
        **{"move_id": NEW, "account": ACCOUNT, "amount": 5, "from_shard": "'main'", "to_shard": "'second'"},
        **{"asset": "'USDT'", "requested_by": "'x'", **columns},
    }
    return f"INSERT INTO ledger.moves ({', '.join(row)}) VALUES ({', '.join(map(str, row.values()))})"


def leg(state: str, which: str, **columns: object) -> str:
    """The leg of the move in that state, right in all but what is said."""
    wanted = move_of(state)
    row = {
        **{"transfer_id": f"ledger.leg_id('{wanted.move_id}', '{which}')", "account": ACCOUNT, "amount": 5},
        **{"shard": "'second'" if which == "credit" else "'main'", "asset": "'USDT'", "requested_by": "'x'"},
        **{"direction": "'withdrawal'" if which == "debit" else "'deposit'"},
        **{"move_id": f"'{wanted.move_id}'", "leg": f"'{which}'", **columns},
    }
    return f"INSERT INTO ledger.transfers ({', '.join(row)}) VALUES ({', '.join(map(str, row.values()))})"


def decide(state: str, to: str) -> str:
    reason = "'a test'" if to == "voided" else "''"
    at = "NULL" if to == "pending" else "now()"
    return (
        f"UPDATE ledger.moves SET state = '{to}', reason = {reason}, decided_at = {at} "
        f"WHERE move_id = '{move_of(state).move_id}'"
    )


def change(state: str, what: str) -> str:
    """Of a move, with the only decision that it may have, so that this is not what is refused."""
    decided = ", state = 'posted', decided_at = now()" if state == "in" else ""
    return f"UPDATE ledger.moves SET {what}{decided} WHERE move_id = '{move_of(state).move_id}'"


def void(state: str, which: Leg) -> str:
    return (
        "UPDATE ledger.transfers SET state = 'voided', reason = 'a test', decided_at = now() "
        f"WHERE transfer_id = '{moves.leg_id(move_of(state).move_id, which)}'"
    )


# The only decision that each allows.
MAY_BECOME = {"debit refused": "voided", "in": "posted", "returned": "voided"}
# The only leg that each allows.
MAY_GET = {"new": "debit", "out": "credit", "refused": "return"}

FOR_ALL = {
    **{
        f"call a move {to} that is: {state}": decide(state, to)
        for state in STATES
        for to in ("pending", "posted", "voided")
        if MAY_BECOME.get(state) != to
    },
    **{
        f"give a {which} to a move that is: {state}": leg(state, which)
        for state in STATES
        for which in Leg
        if MAY_GET.get(state) != which
    },
    **{
        f"change a move's {what.split()[0]}": change("in", what)
        for what in (
            *("amount = 4", "account = 1001", "asset = 'BTC'", "from_shard = 'second', to_shard = 'main'"),
            *("requested_by = 'y'", "created_at = now()", f"move_id = {NEW}"),
        )
    },
    **{
        f"make the {which} of a move of another {what}": leg(state, which, **{what: value})
        for state, which in MAY_GET.items()
        for what, value in (
            *(("amount", 4), ("account", 1001), ("asset", "'BTC'")),
            *(("shard", "'main'" if which == "credit" else "'second'"), ("transfer_id", NEW), ("leg", "'refund'")),
            *(("direction", "'deposit'" if which == "debit" else "'withdrawal'"), ("leg", "NULL"), ("move_id", NEW)),
        )
    },
    "move nothing": move(amount=0),
    "move less than nothing": move(amount=-5),
    "move what is the house's": move(account=2),
    "move within a shard": move(to_shard="'main'"),
    "move what has another scale there": move(asset="'DOGE'"),
    "begin a move that is posted": move(state="'posted'", decided_at="now()"),
    "begin a move that is voided": move(state="'voided'", reason="'x'", decided_at="now()"),
    "decide a move without saying when": change("done", "decided_at = NULL"),
    "give a posted move a reason": change("done", "reason = 'x'"),
    "void a move without a reason": "UPDATE ledger.moves SET state = 'voided', decided_at = now() "
    f"WHERE move_id = '{move_of('returned').move_id}'",
    "overwrite a move by an upsert": move(move_id=f"'{move_of('done').move_id}'")
    + " ON CONFLICT (move_id) DO UPDATE SET state = 'pending', decided_at = NULL",
    "delete a move": f"DELETE FROM ledger.moves WHERE move_id = '{move_of('done').move_id}'",
    "delete no move": "DELETE FROM ledger.moves WHERE false",
    "empty the moves": "TRUNCATE ledger.moves CASCADE",
    "change a move through its view": "UPDATE ledger.moves_now SET amount = 1",
    "void what goes back": void("returning", Leg.RETURN),
    "void a credit that is posted": void("in", Leg.CREDIT),
    "void a debit that is posted": void("out", Leg.DEBIT),
    "make a leg of a deposit": f"UPDATE ledger.transfers SET move_id = '{move_of('out').move_id}', leg = 'credit', "
    f"state = 'voided', reason = 'x', decided_at = now() WHERE transfer_id = '{PLAIN}'",
    "make a deposit of a leg": "UPDATE ledger.transfers SET move_id = NULL, leg = NULL, state = 'voided', "
    f"reason = 'x', decided_at = now() WHERE move_id = '{move_of('crediting').move_id}' AND leg = 'credit'",
    "post a credit with its own debit": "UPDATE ledger.transfers AS t SET state = 'posted', decided_at = now(), "
    "posted_seq = d.posted_seq, posted_index = d.posted_index FROM ledger.transfers AS d "
    f"WHERE t.move_id = '{move_of('crediting').move_id}' AND t.leg = 'credit' AND d.move_id = t.move_id "
    "AND d.leg = 'debit'",
    "post a credit with the credit of another move": "UPDATE ledger.transfers AS t SET state = 'posted', "
    "decided_at = now(), posted_seq = d.posted_seq, posted_index = d.posted_index FROM ledger.transfers AS d "
    f"WHERE t.move_id = '{move_of('crediting').move_id}' AND t.leg = 'credit' "
    f"AND d.move_id = '{move_of('done').move_id}' AND d.leg = 'credit'",
}

# Of the application's role: what its work never needs, it has no right to.
FOR_APPLICATION = {
    "change a move's amount and no more": "UPDATE ledger.moves SET amount = 1",
    "say when a move was asked for": move(created_at="now()"),
    "turn the guards of moves off": "ALTER TABLE ledger.moves DISABLE TRIGGER ALL",
    "drop the guard of turns": "DROP TRIGGER leg_has_its_turn ON ledger.transfers",
    "drop the rule of ids": "ALTER TABLE ledger.transfers DROP CONSTRAINT transfers_of_moves_have_their_ids",
    "drop the index that has each leg once": "DROP INDEX ledger.transfers_by_move",
    "compute the ids in another way": "CREATE OR REPLACE FUNCTION ledger.leg_id(move_id uuid, leg text) RETURNS uuid "
    "LANGUAGE sql IMMUTABLE AS 'SELECT move_id'",
    "see other money in transit": "CREATE OR REPLACE VIEW ledger.outside AS SELECT 'USDT' AS asset, 0::numeric AS "
    "external, 0::numeric AS in_transit, 0::numeric AS world",
}


@pytest.fixture
async def made(ledger_database: LedgerDatabase) -> LedgerDatabase:
    """Two shards, a move in every state, a deposit that is pending, and an asset with two scales."""
    dsn = ledger_database.application
    connection = await store.connect(dsn)
    async with open_books(dsn, MAIN) as main, open_books(dsn, SECOND) as second:
        two = await begin(connection, {MAIN: main, SECOND: second})
        for state in STATES:
            await two.make(state)
        await two.settle(MAIN, "asset DOGE 2")
        await two.settle(SECOND, "asset DOGE 3")
        await connection.execute(
            "INSERT INTO ledger.transfers (transfer_id, shard, direction, account, asset, amount, requested_by) "
            "VALUES ($1, 'second', 'deposit', $2, $3, 5, 'test')",
            *(PLAIN, ACCOUNT, ASSET),
        )
    await connection.close()
    return ledger_database


@pytest.fixture
async def application(made: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(made.application)
    yield connection
    await connection.close()


@pytest.fixture
async def owner(made: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(made.owner)
    yield connection
    await connection.close()


@pytest.mark.parametrize("role", ["openbourse_ledger", "openbourse_coordinator"])
async def test_the_application_is_refused(application: Connection, role: str, show: Show) -> None:
    await application.execute(f"SET ROLE {role}")
    await states_of(application, {**FOR_ALL, **FOR_APPLICATION}, f"moves by {role}", show)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_the_owner_is_refused(owner: Connection, role: str, show: Show) -> None:
    await owner.execute(f"SET session_replication_role = {role}")
    states = await states_of(owner, FOR_ALL, f"moves by the tables' owner ({role})", show)
    # Not for want of a privilege: an owner has them all.
    assert {name for name, state in states.items() if state == "42501"} == set()


async def test_what_ledgers_do_is_not_refused(application: Connection) -> None:
    await application.execute("SET ROLE openbourse_coordinator")
    for work in (
        move(),
        move(from_shard="'second'", to_shard="'main'"),
        *(leg(state, which) for state, which in MAY_GET.items()),
        *(decide(state, to) for state, to in MAY_BECOME.items()),
        void("debiting", Leg.DEBIT),
        void("crediting", Leg.CREDIT),
    ):
        assert await refusal(application, work) == "00000", work
