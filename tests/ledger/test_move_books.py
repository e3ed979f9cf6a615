"""Moves in the books of two shards: in every state the database says what the pure rules say, and no money is lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.move_states import ACCOUNT, AMOUNT, ASSET, HAD, MAIN, SECOND, STATES, TwoShards, begin, move_of
from fixtures.streams import deliveries, record_transfers
from openbourse.ledger import moves, store
from openbourse.ledger.books import open_books
from openbourse.ledger.errors import Conflict, Diverged, Invalid
from openbourse.ledger.migrate import migrate
from openbourse.ledger.move_books import MoveBooks
from openbourse.ledger.moves import Move
from openbourse.ledger.transfers import Leg, TransferState

pytestmark = pytest.mark.server

# The last migration that knows of no moves.
BEFORE = 6


@pytest.fixture
async def two(ledger_database: LedgerDatabase) -> AsyncIterator[TwoShards]:
    dsn = ledger_database.application
    connection = await store.connect(dsn)
    async with open_books(dsn, MAIN) as main, open_books(dsn, SECOND) as second:
        yield await begin(connection, {MAIN: main, SECOND: second})
    await connection.close()


async def found(two: TwoShards, move_id: uuid.UUID) -> Move:
    """As both ledgers see it."""
    seen = [await MoveBooks(books).move(move_id) for books in two.books.values()]
    assert seen[0] is not None and seen[0] == seen[1]
    return seen[0]


async def test_the_database_computes_the_same_ids_of_legs(two: TwoShards) -> None:
    for number in (1, 2**127 + 5):
        move_id = uuid.UUID(int=number)
        for leg in Leg:
            assert await two.connection.fetchval("SELECT ledger.leg_id($1, $2)", move_id, leg) == moves.leg_id(
                move_id, leg
            )


async def test_in_every_state_the_database_knows_whose_turn_it_is_and_where_the_money_is(two: TwoShards) -> None:
    for state in STATES:
        await two.make(state)
    said = {
        row["move_id"]: (row["next_shard"], row["in_transit"])
        for row in await two.connection.fetch("SELECT move_id, next_shard, in_transit FROM ledger.moves_now")
    }
    for state in STATES:
        move = await found(two, move_of(state).move_id)
        step = moves.next_step(move)
        assert said[move.request.move_id] == (step.shard if step else None, moves.in_transit(move)), state
        assert moves.where(move)
    listed = {shard: [m.request for m in await MoveBooks(b).to_carry(0, 100)] for shard, b in two.books.items()}
    assert listed == {
        MAIN: [move_of(state) for state in ("new", "debit refused", "refused", "returned")],
        SECOND: [move_of(state) for state in ("out", "in")],
    }
    # The new one is with the request that made it.
    assert move_of("new") not in [m.request for m in await MoveBooks(two.books[MAIN]).to_carry(60, 100)]


async def test_no_money_is_lost_or_made_at_any_step(two: TwoShards) -> None:
    before = await two.connection.fetchval("SELECT world FROM ledger.outside WHERE asset = $1", ASSET)
    assert before == -2 * HAD
    in_transit = 0
    for state, (legs, _) in STATES.items():
        await two.make(state)
        in_transit += AMOUNT if legs in ("posted", "posted pending", "posted voided", "posted voided pending") else 0
        outside = await two.connection.fetchrow("SELECT * FROM ledger.outside WHERE asset = $1", ASSET)
        assert outside is not None
        assert (outside["world"], outside["in_transit"]) == (before, in_transit), state
        owed = await two.connection.fetchval(
            "SELECT sum(available + hold) FROM ledger.balances WHERE account >= 1000 AND asset = $1", ASSET
        )
        assert owed + in_transit == 2 * HAD
        for shard in two.books:
            assert (
                await two.connection.fetchval("SELECT sum(available) FROM ledger.balances WHERE shard = $1", shard) == 0
            )


async def test_the_same_again_changes_nothing_and_something_else_is_a_conflict(two: TwoShards) -> None:
    books = MoveBooks(two.books[MAIN])
    for state in STATES:
        wanted = await two.make(state)
        before = await found(two, wanted.move_id)
        assert await books.record(wanted, "somebody else") == before
        for leg in before.legs:
            shard = moves.shard_of(wanted, leg)
            assert not await two.books[shard].record(moves.leg_request(wanted, leg), "somebody else")
        if before.state is not TransferState.PENDING:
            await books.decide(wanted.move_id, before.state, "something else")
        assert await found(two, wanted.move_id) == before, state
        for other in ({"amount": 6}, {"account": 1001}, {"from_shard": SECOND, "to_shard": MAIN}):
            with pytest.raises(Conflict):
                await books.record(moves.MoveRequest(**{**_fields(wanted), **other}), "test")  # type: ignore[arg-type]


def _fields(wanted: moves.MoveRequest) -> dict[str, object]:
    return {name: getattr(wanted, name) for name in moves.MoveRequest.__dataclass_fields__}


async def test_a_statement_says_in_words_where_money_went_and_where_it_came_from(two: TwoShards) -> None:
    for state in ("done", "back"):
        await two.make(state)
    lines = {
        shard: [
            (line.movement.available, line.movement.about, line.available_after)
            for line in (await books.statement(ACCOUNT, ASSET, None, 10)).lines
        ]
        for shard, books in two.books.items()
    }
    assert lines == {
        MAIN: [
            (5, "moved back: second refused it", 495),
            (-5, "moved to second", 490),
            (-5, "moved to second", 495),
            (500, "", 500),
        ],
        SECOND: [(5, "moved from main", 505), (500, "", 500)],
    }
    outside = await two.books[MAIN].statement(2, ASSET, None, 1)
    assert outside.lines[0].movement.about == "moved back: second refused it"


async def test_a_leg_that_nobody_asked_for_stops_settlement(two: TwoShards) -> None:
    wanted = await two.make("debiting")
    with pytest.raises(Diverged, match="which is not pending here for that"):
        await two.settle(SECOND, f"credit {ACCOUNT} {ASSET} {AMOUNT}", moves.leg_id(wanted.move_id, Leg.CREDIT))


async def test_what_waits_is_counted_with_its_age(two: TwoShards) -> None:
    assert (await two.books[MAIN].waiting()).moves == 0
    for state in ("done", "crediting", "returning", "out"):
        await two.make(state)
    main, second = [await two.books[shard].waiting() for shard in (MAIN, SECOND)]
    assert (main.transfers, main.moves, second.transfers, second.moves) == (1, 3, 1, 3)
    assert 0 < second.transfer_oldest_s <= second.move_oldest_s < 60
    assert 0 < main.transfer_oldest_s < main.move_oldest_s


async def test_the_migration_keeps_what_there_is(postgres: PostgresServer) -> None:
    """With transfers in each state; and afterwards none of them is a leg, and money can be moved."""
    name = f"before_{uuid.uuid4().hex}"
    await asyncio.to_thread(postgres.execute, f"CREATE DATABASE {name}")
    dsn = postgres.dsn(name, "openbourse_ledger")
    await migrate(postgres.dsn(name), to=BEFORE)
    connection = await store.connect(dsn)
    try:
        stream = deliveries("asset USDT 2\ncredit 1000 USDT 500\nrefuse 1000 USDT 900\ndebit 1000 USDT 20")
        await connection.execute("INSERT INTO ledger.watermarks (shard) VALUES ('main')")
        await store.settle(connection, MAIN, stream[:1])
        await record_transfers(connection, [*stream, *deliveries("credit 1000 USDT 7", first_seq=99)])
        await store.settle(connection, MAIN, stream[1:])
        read = "SELECT transfer_id, account, amount, state::text, reason, posted_seq FROM ledger.transfers ORDER BY 1"
        before = await connection.fetch(read)
        assert {row["state"] for row in before} == {"pending", "posted", "voided"}
        assert (await migrate(postgres.dsn(name)))[0] == "0007_pre_moves.sql"
        assert await connection.fetch(read) == before
        assert await connection.fetchval("SELECT count(*) FROM ledger.transfers WHERE move_id IS NOT NULL") == 0
        with pytest.raises(Invalid, match="is not taken back to 0006"):
            await migrate(postgres.dsn(name), to=BEFORE)
        async with open_books(dsn, MAIN) as main, open_books(dsn, SECOND) as second:
            two = TwoShards(connection, {MAIN: main, SECOND: second}, {MAIN: stream[-1].last_seq, SECOND: 0})
            await store.begin(connection, SECOND)
            await two.settle(SECOND, "asset USDT 2")
            assert (await found(two, (await two.make("done")).move_id)).state is TransferState.POSTED
    finally:
        await connection.close()
        await asyncio.to_thread(postgres.execute, f"DROP DATABASE {name} WITH (FORCE)")


async def test_code_of_before_moves_goes_on(two: TwoShards) -> None:
    """What it writes are deposits and withdrawals; it knows nothing of the new columns."""
    transfer_id = uuid.uuid4()
    await two.connection.execute(
        "INSERT INTO ledger.transfers (transfer_id, shard, direction, account, asset, amount, requested_by) "
        "VALUES ($1, 'main', 'deposit', $2, 'USDT', 7, 'before')",
        transfer_id,
        ACCOUNT,
    )
    await two.settle(MAIN, f"credit {ACCOUNT} {ASSET} 7", transfer_id)
    transfer = await two.books[MAIN].transfer(transfer_id)
    assert transfer is not None and transfer.state is TransferState.POSTED and transfer.request.leg_of is None


async def test_two_shards_of_another_scale_are_refused(two: TwoShards) -> None:
    await two.settle(MAIN, "asset DOGE 2")
    await two.settle(SECOND, "asset DOGE 3")
    scales = await MoveBooks(two.books[MAIN]).scales()
    assert scales == {
        MAIN: {"USDT": 2, "BTC": 8, "DOGE": 2},
        SECOND: {"USDT": 2, "BTC": 8, "DOGE": 3},
    }
    wanted = moves.MoveRequest(uuid.uuid4(), ACCOUNT, "DOGE", 5, MAIN, SECOND)
    with pytest.raises(Diverged, match="another scale"):
        await MoveBooks(two.books[MAIN]).record(wanted, "test")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await two.connection.execute(
            "INSERT INTO ledger.moves (move_id, account, amount, from_shard, to_shard, asset, requested_by) "
            "VALUES (gen_random_uuid(), 1000, 5, 'main', 'third', 'USDT', 'test')"
        )
