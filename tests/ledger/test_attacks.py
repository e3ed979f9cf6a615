"""What the books refuse, whoever asks: the application's own role, and the owner of the tables."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from fixtures.attacks import refusal
from fixtures.databases import LedgerDatabase
from fixtures.figures import Show
from fixtures.streams import ONE_TRADE, SHARD, deliveries, record_transfers, transfer_id
from openbourse.contracts.units import EXTERNAL_ACCOUNT, FEES_ACCOUNT, FIRST_TRADER, INT64_MAX
from openbourse.ledger import rebuild, store
from openbourse.ledger.accounts import ADJUSTMENT_ACCOUNT, MAY_BE_NEGATIVE, SUSPENSE_ACCOUNT, AccountKind, kind_of
from openbourse.ledger.database import Connection

pytestmark = pytest.mark.server

STREAM = deliveries(f"{ONE_TRADE}\ncheckpoint abcd")
POSTED, VOIDED, PENDING = transfer_id(4), transfer_id(100), transfer_id(101)
# Pending too: a deposit that asks for what POSTED asked for, and a withdrawal.
AGAIN, WITHDRAWAL = transfer_id(102), transfer_id(103)


def entry(**columns: Any) -> str:
    """One that may be posted, a deposit of 1 USDT, in all but what is said."""
    row = {
        **{"shard": "'main'", "seq": 1000, "index": 0, "epoch": 1, "kind": "'funds_credited'", "symbol": "''"},
        **{"occurred_at_us": 1, "correlation_id": "''", "account": 2, "counter_account": 1000, "asset": "'USDT'"},
        **{"available": -1, "hold": 0, "counter_available": 1, "counter_hold": 0, "fees": 0, **columns},
    }
    return f"INSERT INTO ledger.entries ({', '.join(row)}) VALUES ({', '.join(str(row[name]) for name in row)})"


OTHER: dict[str, Any] = {
    **{"other_asset": "'BTC'", "other_available": 0, "other_hold": 0},
    **{"other_counter_available": 0, "other_counter_hold": 0, "other_fees": 0},
}
TERMS: dict[str, Any] = {
    **{"trade_id": 100, "price_ticks": 1, "quantity_lots": 1, "quote_units": 1, "taker_is_buyer": "true"},
    **{"maker_order_id": 1, "maker_fee_units": 0, "maker_fee_asset": "'BTC'"},
    **{"taker_order_id": 1, "taker_fee_units": 0, "taker_fee_asset": "'BTC'"},
}
TRADE: dict[str, Any] = {
    "kind": "'trade_executed'",
    "symbol": "'BTCUSDT'",
    "account": 1000,
    "counter_account": 1001,
    **TERMS,
    **OTHER,
}


MATCH = "'match_transferred'"
OF_5: dict[str, Any] = {"seq": 10, "available": 5, "counter_available": -5, "kind": "'funds_debited'"}
CREDIT_OF_5 = entry(seq=10, available=-5, counter_available=5)
DEBIT_OF_5 = entry(**OF_5)


def post(transfer: uuid.UUID, seq: int) -> str:
    return (
        f"UPDATE ledger.transfers SET state = 'posted', decided_at = now(), posted_seq = {seq}, posted_index = 0 "
        f"WHERE transfer_id = '{transfer}'"
    )


def batch(
    *,
    shard: str = "w.shard",
    number: str = "w.batch + 1",
    first_seq: str = "w.seq + 1",
    last_seq: str = "w.seq + 1",
    entries: int = 0,
    previous: str = "w.head",
    head: str | None = None,
) -> str:
    """The next batch after the watermark `w`, right in all but what is said."""
    row = f"{number}, 1::bigint, {first_seq}, {last_seq}, {entries}::bigint, 7::bigint, {shard}, sha256('c')"
    return (
        "INSERT INTO ledger.batches (batch, session_epoch, first_seq, last_seq, entries, settled_at_us, shard, content,"
        f" head) SELECT {row}, {head or f'ledger.head_of({previous}, ROW({row}, NULL)::ledger.batches)'} "
        "FROM ledger.watermarks AS w WHERE w.shard = 'main'"
    )


MOVE = (
    "UPDATE ledger.watermarks AS w SET seq = b.last_seq, batch = b.batch, head = b.head, trades = 2 "
    "FROM ledger.batches AS b WHERE b.batch = w.batch + 1"
)

# Of everybody: the tables' owner is refused too.
FOR_ALL = {
    "change an entry": "UPDATE ledger.entries SET symbol = 'X'",
    "change no entry": "UPDATE ledger.entries SET symbol = 'X' WHERE false",
    "change a trade through its view": "UPDATE ledger.trades SET price_ticks = 1",
    "delete an entry": "DELETE FROM ledger.entries WHERE seq = 8",
    "delete a trade through its view": "DELETE FROM ledger.trades",
    "empty the entries": "TRUNCATE ledger.entries",
    "empty the entries and what refers to them": "TRUNCATE ledger.entries CASCADE",
    "change an asset's scale": "UPDATE ledger.assets SET scale = 3",
    "delete an asset": "DELETE FROM ledger.assets",
    "empty the assets": "TRUNCATE ledger.assets CASCADE",
    "change a symbol": "UPDATE ledger.symbols SET maker_fee_ppm = 0",
    "delete a symbol": "DELETE FROM ledger.symbols",
    "change a checkpoint": "UPDATE ledger.checkpoints SET state_hash = '\\x00'",
    "delete a checkpoint": "DELETE FROM ledger.checkpoints",
    "empty the checkpoints": "TRUNCATE ledger.checkpoints",
    "overwrite an entry by an upsert": entry(seq=4) + " ON CONFLICT (shard, seq, index) DO UPDATE SET symbol = 'X'",
    "post the same event twice": entry(seq=4),
    "post another entry into what is settled": entry(seq=4, index=1),
    "post an entry of a shard that nobody settles": entry(shard="'other'"),
    "list an asset in what is settled": "INSERT INTO ledger.assets (shard, asset, scale) VALUES ('main', 'DOGE', 2)",
    "add a checkpoint to what is settled": "INSERT INTO ledger.checkpoints VALUES ('main', 5, 0, 1, 1, 'x')",
    "redefine a symbol in what is settled": "INSERT INTO ledger.symbols SELECT shard, 5, 0, symbol, base_asset, "
    "quote_asset, 2, 2, 2, 2, 2, 0, 0 FROM ledger.symbols",
    "post a transfer by an old entry": "UPDATE ledger.transfers SET state = 'posted', decided_at = now(), "
    f"posted_seq = 5, posted_index = 0 WHERE transfer_id = '{PENDING}'",
    "post legs that do not sum to zero": entry(counter_available=2),
    "post a hold that does not sum to zero": entry(counter_hold=1),
    "post fees out of nothing": entry(fees=1),
    "post a second asset that does not sum to zero": entry(**OTHER | {"other_hold": 1}),
    "post fees of a second asset out of nothing": entry(**OTHER | {"other_fees": 1}),
    "post legs that sum to zero over two assets only": entry(available=-2, **OTHER | {"other_available": 1}),
    "post half of a second asset": entry(other_asset="'BTC'", other_available=5),
    "post amounts of no second asset": entry(**OTHER | {"other_asset": "NULL"}),
    "post the same asset twice": entry(**OTHER | {"other_asset": "'USDT'"}),
    "post amounts of no second account": entry(counter_account="NULL"),
    "post amounts of a second asset of no second account": entry(
        **{"counter_account": "NULL", "available": 0, "counter_available": 0}
        | OTHER
        | {"other_available": -1, "other_counter_hold": 1}
    ),
    "post fees as an account beside fees": entry(account=1),
    "post fees as the other account beside fees": entry(counter_account=1),
    "post a leg without an amount": entry(available="NULL"),
    "post a leg without an asset": entry(asset="NULL"),
    "post a leg without an account": entry(account="NULL"),
    "post legs over the range": entry(available=INT64_MAX, hold=1, counter_available=-INT64_MAX, counter_hold=-1),
    "post a trade without its terms": entry(**TRADE | dict.fromkeys(TERMS, "NULL")),
    "post a trade without its price": entry(**TRADE | {"price_ticks": "NULL"}),
    "post a trade without its maker": entry(
        **TRADE | {"counter_account": "NULL", "available": 0, "counter_available": 0}
    ),
    "post the terms of a trade beside a deposit": entry(**TERMS),
    "give a trade's id again": entry(**TRADE | {"trade_id": 8}),
    "take more than a trader has": "UPDATE ledger.balances SET available = available - 301 "
    "WHERE account = 1000 AND asset = 'USDT'",
    "take more than is on hold": "UPDATE ledger.balances SET hold = hold - 1 WHERE account = 1000 AND asset = 'USDT'",
    "take fees below zero": "UPDATE ledger.balances SET available = -1 WHERE account = 1",
    "put the outside on hold below zero": "UPDATE ledger.balances SET hold = -1 WHERE account = 2",
    "open a balance below zero": "INSERT INTO ledger.balances VALUES (1002, -1, 0, 'main', 'USDT')",
    "open a balance of an unknown asset": "INSERT INTO ledger.balances VALUES (1002, 1, 0, 'main', 'DOGE')",
    "open a balance of an account between": "INSERT INTO ledger.balances VALUES (5, 1, 0, 'main', 'USDT')",
    "delete a balance": "DELETE FROM ledger.balances",
    "empty the balances": "TRUNCATE ledger.balances",
    "move the watermark back": "UPDATE ledger.watermarks SET seq = 8",
    "take settled trades back": "UPDATE ledger.watermarks SET trades = 0",
    "settle from an older epoch": "UPDATE ledger.watermarks SET session_epoch = 0, seq = 100",
    "move the watermark without a batch": "UPDATE ledger.watermarks SET seq = 10, trades = 2",
    "move the watermark to a batch that is not there": "UPDATE ledger.watermarks SET seq = 10, batch = batch + 1",
    "give the watermark another head": "UPDATE ledger.watermarks SET head = sha256('x')",
    "take the watermark to an earlier batch": "UPDATE ledger.watermarks AS w SET batch = b.batch, head = b.head "
    "FROM ledger.batches AS b WHERE b.batch = 1",
    "begin a watermark in the middle": "INSERT INTO ledger.watermarks (shard, seq) VALUES ('other', 5)",
    "add a batch and leave the watermark": "SET CONSTRAINTS ALL IMMEDIATE; " + batch(),
    "leave a gap before a batch": batch(first_seq="w.seq + 2", last_seq="w.seq + 3"),
    "settle a seq in two batches": batch(first_seq="w.seq"),
    "leave out a batch": batch(number="w.batch + 2"),
    "add a batch of a shard that nobody settles": batch(shard="'other'"),
    "add a batch with another head": batch(head="sha256('x')"),
    "add a batch that follows an earlier head": batch(previous="sha256('x')"),
    "leave out an entry of a batch": entry(seq=10) + ";" + batch(),
    "count an entry that is not there": batch(entries=1),
    "change a batch": "UPDATE ledger.batches SET settled_at_us = 0",
    "delete a batch": "DELETE FROM ledger.batches WHERE batch = 2",
    "empty the batches": "TRUNCATE ledger.batches",
    "delete the watermark": "DELETE FROM ledger.watermarks",
    "empty the watermarks": "TRUNCATE ledger.watermarks",
    "post a transfer again": f"UPDATE ledger.transfers SET posted_seq = 5 WHERE transfer_id = '{POSTED}'",
    "make a posted transfer pending": "UPDATE ledger.transfers SET state = 'pending', posted_seq = NULL, "
    f"posted_index = NULL, decided_at = NULL WHERE transfer_id = '{POSTED}'",
    "void a posted transfer": "UPDATE ledger.transfers SET state = 'voided', posted_seq = NULL, posted_index = NULL, "
    f"reason = 'x' WHERE transfer_id = '{POSTED}'",
    "post a voided transfer": "UPDATE ledger.transfers SET state = 'posted', reason = '', posted_seq = 4, "
    f"posted_index = 0 WHERE transfer_id = '{VOIDED}'",
    "void without a reason": "UPDATE ledger.transfers SET state = 'voided', decided_at = now() "
    f"WHERE transfer_id = '{PENDING}'",
    "post without an entry": post(PENDING, 999),
    "post a deposit with the entry of another": post(PENDING, 4),
    "post two deposits with one entry": post(AGAIN, 4),
    "post a withdrawal with a deposit": f"{CREDIT_OF_5}; {post(WITHDRAWAL, 10)}",
    "post a deposit with a withdrawal": f"{DEBIT_OF_5}; {post(PENDING, 10)}",
    "post a withdrawal of another account": entry(**OF_5 | {"counter_account": 1001}) + f"; {post(WITHDRAWAL, 10)}",
    "post a withdrawal of what is on hold": entry(**OF_5 | {"counter_available": 0, "counter_hold": -5})
    + f"; {post(WITHDRAWAL, 10)}",
    "post a withdrawal that pays a fee": entry(**OF_5 | {"available": 4, "fees": 1}) + f"; {post(WITHDRAWAL, 10)}",
    "let money in that nobody asked for": f"{CREDIT_OF_5}; SET CONSTRAINTS ALL IMMEDIATE",
    "let money out that nobody asked for": f"{DEBIT_OF_5}; SET CONSTRAINTS ALL IMMEDIATE",
    "make a withdrawal of a deposit": f"UPDATE ledger.transfers SET direction = 'withdrawal', state = 'voided', "
    f"reason = 'x', decided_at = now() WHERE transfer_id = '{PENDING}'",
    "make a withdrawal that is posted from the start": "INSERT INTO ledger.transfers (transfer_id, shard, direction, "
    "account, asset, amount, requested_by, state, posted_seq, posted_index, decided_at) VALUES "
    "(gen_random_uuid(), 'main', 'withdrawal', 1000, 'USDT', 1, 'x', 'posted', 5, 0, now())",
    "make a transfer that is posted from the start": "INSERT INTO ledger.transfers (transfer_id, shard, account, "
    "asset, amount, requested_by, state, posted_seq, posted_index, decided_at) VALUES "
    "(gen_random_uuid(), 'main', 1000, 'USDT', 1, 'x', 'posted', 4, 0, now())",
    "delete a transfer": "DELETE FROM ledger.transfers",
    "empty the transfers": "TRUNCATE ledger.transfers",
}

# Of the application's role: what its work never needs, it has no right to.
FOR_APPLICATION = {
    "move a balance to another account": "UPDATE ledger.balances SET account = 1005 WHERE account = 1000",
    "rename the shard of a watermark": "UPDATE ledger.watermarks SET shard = 'other'",
    "begin a watermark ahead": "INSERT INTO ledger.watermarks (shard, seq) VALUES ('other', 5)",
    "change a transfer's amount": f"UPDATE ledger.transfers SET amount = 1 WHERE transfer_id = '{PENDING}'",
    "change a transfer's direction": "UPDATE ledger.transfers SET direction = 'deposit' "
    f"WHERE transfer_id = '{WITHDRAWAL}'",
    "turn the guards off": "ALTER TABLE ledger.entries DISABLE TRIGGER ALL",
    "drop a guard": "DROP TRIGGER append_only ON ledger.entries",
    "drop a check": "ALTER TABLE ledger.entries DROP CONSTRAINT entries_are_balanced",
    "drop an index that keeps something once": "DROP INDEX ledger.entries_trade_ids",
    "replace the function that computes a head": "CREATE OR REPLACE FUNCTION ledger.head_of(previous bytea, "
    "batch ledger.batches) RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT batch.head'",
    "pretend to be a replica": "SET session_replication_role = replica",
    "create a table": "CREATE TABLE ledger.mine (x int)",
    "create a function elsewhere": "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "become the owner": "SET ROLE postgres",
    "rewrite the history of migrations": "DELETE FROM public.openbourse_ledger_migrations",
}


@pytest.fixture(params=["as settled", "rebuilt and swapped"])
def state(request: pytest.FixtureRequest) -> str:
    """Of the balances that are attacked."""
    name: str = request.param
    return name


@pytest.fixture
async def settled(ledger_database: LedgerDatabase, state: str) -> LedgerDatabase:
    """A ledger with trades, and transfers in each state; and the same after its balances were swapped."""
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, STREAM[:3])
    await record_transfers(connection, STREAM)
    await store.settle(connection, SHARD, STREAM[3:])
    for pending, direction, amount in (
        (VOIDED, "deposit", 5),
        (PENDING, "deposit", 5),
        (AGAIN, "deposit", 500),
        (WITHDRAWAL, "withdrawal", 5),
    ):
        await connection.execute(
            "INSERT INTO ledger.transfers (transfer_id, shard, account, asset, direction, amount, requested_by) "
            "VALUES ($1, 'main', 1000, 'USDT', $2::text::ledger.transfer_direction, $3, 'test')",
            *(pending, direction, amount),
        )
    await connection.execute(
        "UPDATE ledger.transfers SET state = 'voided', reason = 'no', decided_at = now() WHERE transfer_id = $1", VOIDED
    )
    if state == "rebuilt and swapped":
        await connection.execute("UPDATE ledger.balances SET available = available + 7 WHERE account IN (1, 1001)")
        found = await rebuild.rebuild(ledger_database.owner, SHARD, swap=True)
        assert found.swapped == 4
    await connection.close()
    return ledger_database


@pytest.fixture
async def application(settled: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(settled.application)
    yield connection
    await connection.close()


@pytest.fixture
async def owner(settled: LedgerDatabase) -> AsyncIterator[Connection]:
    """The owner, who here is a superuser too."""
    connection = await asyncpg.connect(settled.owner)
    yield connection
    await connection.close()


async def test_the_application_is_refused(application: Connection, state: str, show: Show) -> None:
    attacks = {**FOR_ALL, **FOR_APPLICATION}
    came_through = {name for name, attack in attacks.items() if await refusal(application, attack) == "00000"}
    refused = len(attacks) - len(came_through)
    show(f"attacks on the books, {state}, by the application refused: {refused} of {len(attacks)}")
    assert came_through == set()


SETTLEMENTS = (
    entry(),
    entry(kind="'order_accepted'", account=1000, counter_account="NULL", available=-1, hold=1, counter_available=0),
    entry(**TRADE),
    "UPDATE ledger.balances SET available = available - 300 WHERE account = 1000 AND asset = 'USDT'",
    "UPDATE ledger.watermarks SET session_epoch = 2, moved_at = now()",
    f"{batch()}; {MOVE}; SET CONSTRAINTS ALL IMMEDIATE",
    f"{entry(seq=10, kind=MATCH)}; {batch(entries=1)}; {MOVE}; SET CONSTRAINTS ALL IMMEDIATE",
    f"{CREDIT_OF_5}; {post(PENDING, 10)}; {batch(entries=1)}; {MOVE}; SET CONSTRAINTS ALL IMMEDIATE",
    f"{DEBIT_OF_5}; {post(WITHDRAWAL, 10)}; {batch(entries=1)}; {MOVE}; SET CONSTRAINTS ALL IMMEDIATE",
)
VOID = (
    f"UPDATE ledger.transfers SET state = 'voided', reason = 'no', decided_at = now() WHERE transfer_id = '{PENDING}'"
)


async def test_what_a_settlement_writes_is_not_refused(application: Connection) -> None:
    for work in (*SETTLEMENTS, VOID):
        assert await refusal(application, work) == "00000", work


async def test_who_speaks_for_people_is_refused_and_cannot_settle(
    application: Connection, state: str, show: Show
) -> None:
    await application.execute("SET ROLE openbourse_coordinator")
    attacks = {**FOR_ALL, **FOR_APPLICATION}
    came_through = {name for name, attack in attacks.items() if await refusal(application, attack) == "00000"}
    show(
        f"attacks on the books, {state}, by who speaks for people refused: "
        f"{len(attacks) - len(came_through)} of {len(attacks)}"
    )
    assert came_through == set()
    # For want of a privilege, whatever the rules of the tables would say.
    for work in (*SETTLEMENTS, post(PENDING, 10)):
        assert await refusal(application, work) == "42501", work
    assert await refusal(application, VOID) == "00000"


async def test_the_owner_is_refused(owner: Connection, state: str, show: Show) -> None:
    states = {name: await refusal(owner, attack) for name, attack in FOR_ALL.items()}
    refused = sum(state != "00000" for state in states.values())
    show(f"attacks on the books, {state}, by the tables' owner refused: {refused} of {len(states)}")
    assert {name for name, state in states.items() if state == "00000"} == set()
    # Not for want of a privilege: an owner has them all.
    assert {name for name, state in states.items() if state == "42501"} == set()


async def test_it_is_the_chain_that_refuses_what_would_break_it(owner: Connection) -> None:
    attacks = [
        name
        for name in FOR_ALL
        if any(word in name for word in ("batch", "settled", "old entry"))
        and not name.startswith(("change", "delete", "empty", "take"))
    ]
    states = {name: await refusal(owner, FOR_ALL[name]) for name in attacks}
    assert len(states) >= 15
    assert set(states.values()) == {"OB005"}, states


async def test_the_guards_hold_in_a_session_that_says_it_replicates(owner: Connection) -> None:
    await owner.execute("SET session_replication_role = replica")
    attacks = [name for name in FOR_ALL if name.startswith(("change", "delete", "move the watermark", "void a posted"))]
    assert len(attacks) > 10
    assert {name for name in attacks if await refusal(owner, FOR_ALL[name]) == "00000"} == set()


async def test_nothing_else_in_the_schema_can_be_changed_by_the_application(owner: Connection) -> None:
    granted = await owner.fetch(
        "SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges "
        "WHERE grantee = 'openbourse_ledger' AND privilege_type NOT IN ('SELECT', 'INSERT') ORDER BY 1, 2"
    )
    assert [tuple(row) for row in granted] == [
        ("balances", "available", "UPDATE"),
        ("balances", "hold", "UPDATE"),
        ("moves", "decided_at", "UPDATE"),
        ("moves", "reason", "UPDATE"),
        ("moves", "state", "UPDATE"),
        ("transfers", "decided_at", "UPDATE"),
        ("transfers", "posted_index", "UPDATE"),
        ("transfers", "posted_seq", "UPDATE"),
        ("transfers", "reason", "UPDATE"),
        ("transfers", "state", "UPDATE"),
        ("watermarks", "batch", "UPDATE"),
        ("watermarks", "head", "UPDATE"),
        ("watermarks", "moved_at", "UPDATE"),
        ("watermarks", "seq", "UPDATE"),
        ("watermarks", "session_epoch", "UPDATE"),
        ("watermarks", "trades", "UPDATE"),
    ]
    whole = await owner.fetch(
        "SELECT table_name, privilege_type FROM information_schema.table_privileges "
        "WHERE grantee = 'openbourse_ledger' AND privilege_type NOT IN ('SELECT', 'INSERT')"
    )
    assert whole == []


async def test_who_speaks_for_people_may_write_nothing_of_the_books(owner: Connection) -> None:
    granted = await owner.fetch(
        "SELECT DISTINCT table_name::text, privilege_type::text FROM information_schema.column_privileges "
        "WHERE grantee = 'openbourse_coordinator' AND privilege_type <> 'SELECT' ORDER BY 1, 2"
    )
    assert [tuple(row) for row in granted] == [
        ("manual_decisions", "INSERT"),
        ("manual_entries", "INSERT"),
        ("moves", "INSERT"),
        ("moves", "UPDATE"),
        ("symbol_move_funds", "INSERT"),
        ("symbol_move_parts", "INSERT"),
        ("symbol_moves", "INSERT"),
        ("symbol_moves", "UPDATE"),
        ("transfers", "INSERT"),
        ("transfers", "UPDATE"),
        # When it was locked last.
        ("watermarks", "UPDATE"),
    ]


async def test_the_database_and_the_code_allow_the_same_accounts_and_signs(owner: Connection) -> None:
    # What manual entries alone may move is guarded by one more rule (test_manual_attacks.py).
    await owner.execute("ALTER TABLE ledger.balances DISABLE TRIGGER balance_is_of_manual_entries")
    for account in (0, 1, 2, 3, 4, 5, 999, 1000, 1001, INT64_MAX, -1):
        kind = kind_of(account)
        for available in (1, -1):
            state = await refusal(
                owner,
                f"INSERT INTO ledger.balances VALUES ({account}, {available}, 0, 'main', 'USDT') "
                "ON CONFLICT (shard, account, asset) DO NOTHING",
            )
            allowed = kind is not None and (available > 0 or account in MAY_BE_NEGATIVE)
            assert (state == "00000") is allowed, (account, available, state)
    accounts = (FEES_ACCOUNT, EXTERNAL_ACCOUNT, SUSPENSE_ACCOUNT, ADJUSTMENT_ACCOUNT, FIRST_TRADER)
    assert tuple(map(kind_of, accounts)) == tuple(AccountKind)
