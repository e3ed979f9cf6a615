"""Manual entries: posted once by two people or not at all, and counted by everything that counts."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import ONE_TRADE, SHARD, deliveries, record_transfers
from openbourse.contracts import v1
from openbourse.contracts.units import EXTERNAL_ACCOUNT, FEES_ACCOUNT
from openbourse.ledger import manual, rebuild, store
from openbourse.ledger.accounts import ADJUSTMENT_ACCOUNT, SUSPENSE_ACCOUNT
from openbourse.ledger.books import Books, open_books
from openbourse.ledger.errors import Conflict, Invalid, Unavailable
from openbourse.ledger.manual import Decision, ManualEntry, Proposal
from openbourse.ledger.manual_books import ManualBooks
from openbourse.ledger.reconcile import compare
from openbourse.ledger.statements import Line

SCALES = {"USDT": 2, "BTC": 8}
STREAM = deliveries(ONE_TRADE)


def proposal(
    amount: str = "0.05",
    accounts: tuple[int, int] = (ADJUSTMENT_ACCOUNT, SUSPENSE_ACCOUNT),
    asset: str = "USDT",
    reason: str = "a test",
) -> Proposal:
    return manual.propose(
        entry_id=uuid.uuid4(),
        asset=asset,
        from_account=accounts[0],
        to_account=accounts[1],
        amount=amount,
        reason=reason,
        requested_by="ann",
        scales=SCALES,
    )


def test_a_proposal_that_may_not_be_says_what_is_allowed() -> None:
    assert proposal("1.5").amount == 150
    for wanted, said in (
        ({"accounts": (1000, 3)}, r"account 1000 is no house account \(1 fees, 2 external, 3 suspense, 4 adjustment\)"),
        ({"accounts": (3, 1000)}, "only by what the engine sequenced, so use a deposit or a withdrawal"),
        ({"accounts": (3, 3)}, "from and to are both account 3"),
        ({"asset": "DOGE"}, "asset 'DOGE' is not listed"),
        ({"amount": "0"}, "greater than 0"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.001"}, "amount"),
        ({"reason": "  "}, "a reason is needed"),
        ({"reason": "x" * 501}, "at most 500"),
    ):
        with pytest.raises(Invalid, match=said):
            proposal(**wanted)


def test_only_what_is_posted_and_no_reversal_is_reversed_and_exactly() -> None:
    def reversal(entry: ManualEntry) -> Proposal:
        return manual.reverse(entry, entry_id=uuid.uuid4(), reason="a mistake", requested_by="bob")

    wanted = proposal()
    for decision in (None, Decision.REJECTED):
        with pytest.raises(Invalid, match="only a posted one is reversed"):
            reversal(ManualEntry(wanted, decision, None, None))
    mirror = reversal(ManualEntry(wanted, Decision.POSTED, "bob", 1))
    assert (mirror.kind, mirror.reverses, mirror.amount) == ("reversal", wanted.entry_id, wanted.amount)
    assert (mirror.from_account, mirror.to_account) == (wanted.to_account, wanted.from_account)
    with pytest.raises(Invalid, match="is a reversal"):
        reversal(ManualEntry(mirror, Decision.POSTED, "ann", 2))


@pytest.fixture
async def settled(ledger_database: LedgerDatabase) -> LedgerDatabase:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, STREAM[:3])
    await record_transfers(connection, STREAM)
    await store.settle(connection, SHARD, STREAM[3:])
    await connection.close()
    return ledger_database


@pytest.fixture
async def books(settled: LedgerDatabase) -> AsyncIterator[Books]:
    async with open_books(settled.application, SHARD) as books:
        yield books


async def posted(books: Books, wanted: Proposal) -> ManualEntry:
    await ManualBooks(books).propose(wanted)
    return await ManualBooks(books).decide(wanted.entry_id, Decision.POSTED, "bob")


async def available(books: Books, account: int) -> int:
    return {asset: available for asset, available, _ in await books.balances(account)}.get("USDT", 0)


@pytest.mark.server
async def test_the_same_again_is_the_same_answer_and_something_else_a_conflict(books: Books) -> None:
    entries, wanted = ManualBooks(books), proposal()
    first = await entries.propose(wanted)
    assert first == await entries.propose(wanted) == ManualEntry(wanted, None, None, None)
    other = manual.propose(
        entry_id=wanted.entry_id,
        **{"asset": "USDT", "from_account": 4, "to_account": 3, "amount": "9", "reason": "a test"},  # type: ignore[arg-type]
        requested_by="ann",
        scales=SCALES,
    )
    with pytest.raises(Conflict, match="exists with other content"):
        await entries.propose(other)
    with pytest.raises(Invalid, match="another person decides"):
        await entries.decide(wanted.entry_id, Decision.POSTED, "ann")
    done = await entries.decide(wanted.entry_id, Decision.POSTED, "bob")
    assert done == await entries.decide(wanted.entry_id, Decision.POSTED, "bob") == await entries.propose(wanted)
    for decision, person in ((Decision.REJECTED, "bob"), (Decision.POSTED, "carl")):
        with pytest.raises(Conflict, match="is posted by bob already"):
            await entries.decide(wanted.entry_id, decision, person)
    with pytest.raises(Invalid, match="there is no manual entry"):
        await entries.decide(uuid.uuid4(), Decision.POSTED, "bob")
    assert (await available(books, 3), await available(books, 4)) == (5, -5)
    assert await entries.newest(10, undecided=True) == []
    assert await entries.newest(10, undecided=False) == [done]


@pytest.mark.server
async def test_what_is_rejected_moves_nothing(books: Books) -> None:
    entries, wanted = ManualBooks(books), proposal()
    await entries.propose(wanted)
    assert (await entries.decide(wanted.entry_id, Decision.REJECTED, "bob")).decision is Decision.REJECTED
    assert await books.balances(SUSPENSE_ACCOUNT) == []


@pytest.mark.server
async def test_fees_never_go_below_zero(books: Books) -> None:
    has = await available(books, FEES_ACCOUNT)
    assert has > 0
    wanted = proposal(f"0.0{has + 1}", (FEES_ACCOUNT, EXTERNAL_ACCOUNT))
    with pytest.raises(Invalid, match="fees account would be below zero"):
        await posted(books, wanted)
    assert (await ManualBooks(books).entry(wanted.entry_id)).decision is None
    await posted(books, proposal(f"0.0{has}", (FEES_ACCOUNT, EXTERNAL_ACCOUNT)))
    assert await available(books, FEES_ACCOUNT) == 0


@pytest.mark.server
async def test_a_reversal_moves_it_back_once(books: Books) -> None:
    entries = ManualBooks(books)
    done = await posted(books, proposal())
    first, second = (
        manual.reverse(done, entry_id=uuid.uuid4(), reason="a mistake", requested_by="ann") for _ in range(2)
    )
    await entries.propose(second)
    await posted(books, first)
    with pytest.raises(Invalid, match="is reversed already"):
        await entries.decide(second.entry_id, Decision.POSTED, "bob")
    assert (await available(books, 3), await available(books, 4)) == (0, 0)


@pytest.mark.server
async def test_rebuild_reconcile_and_statements_count_them(settled: LedgerDatabase, books: Books) -> None:
    before = await books.snapshot(8)
    engine = [
        v1.Balance(account=account, asset=asset, available=amounts[0], hold=amounts[1])
        for (account, asset), amounts in before.balances.items()
    ]
    for accounts in ((4, 3), (1, 2), (2, 3)):
        await posted(books, proposal("0.01", accounts))
    report = compare(8, engine, await books.snapshot(8))
    assert report.equal, report
    found = await rebuild.rebuild(settled.owner, SHARD, swap=True)
    assert (found.differences, found.swapped) == (0, 0)
    for account in (1, 2, 3, 4):
        statement = await books.statement(account, "USDT", None, 100)
        kinds = [line.movement.kind for line in statement.lines]
        assert "adjustment" in kinds and statement.next is None
        assert statement.lines[0].available_after == await available(books, account)
        # The same in pages of one line.
        lines: list[Line] = []
        cursor = None
        for _ in statement.lines:
            page = await books.statement(account, "USDT", cursor, 1)
            lines, cursor = [*lines, *page.lines], page.next
        assert (lines, cursor) == (statement.lines, None)


@pytest.mark.server
async def test_a_balance_that_was_moved_by_hand_is_found_and_put_right(settled: LedgerDatabase, books: Books) -> None:
    await posted(books, proposal("0.01", (1, 3)))
    owner = await asyncpg.connect(settled.owner)
    await owner.execute("UPDATE ledger.balances SET available = available + 7 WHERE account = 1 AND asset = 'USDT'")
    await owner.close()
    report = compare(8, [], await books.snapshot(8))
    assert [(one.account, one.asset) for one in report.entries] == [(1, "USDT")]
    found = await rebuild.rebuild(settled.owner, SHARD, swap=True)
    assert (found.differences, found.swapped) == (1, 1)


@pytest.mark.server
@pytest.mark.parametrize("lock", ["watermarks", "balances WHERE account = 3", "balances WHERE account = 4"])
async def test_a_posting_whose_connection_dies_at_a_statement_is_not_posted_and_then_once(
    settled: LedgerDatabase, books: Books, lock: str
) -> None:
    await posted(books, proposal())
    wanted = proposal()
    await ManualBooks(books).propose(wanted)
    owner = await asyncpg.connect(settled.owner)
    holder = await asyncpg.connect(settled.owner)
    async with asyncio.TaskGroup() as tasks:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(f"SELECT FROM ledger.{lock} FOR UPDATE")
        posting = tasks.create_task(_outcome(books, wanted))
        # It waits at the statement that needs what is held, and its backend ends there.
        ended = 0
        async with asyncio.timeout(10):
            while not ended:
                ended = await owner.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity, pg_sleep(0.01) "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
        assert await posting == "Unavailable"
        await transaction.rollback()
    assert (await ManualBooks(books).entry(wanted.entry_id)).decision is None
    assert (await available(books, 3), await available(books, 4)) == (5, -5)
    for _ in range(2):
        assert await _outcome(books, wanted) == "posted"
    assert (await available(books, 3), await available(books, 4)) == (10, -10)
    assert await owner.fetchval("SELECT count(*) FROM ledger.manual_decisions") == 2
    for connection in (holder, owner):
        await connection.close()


@pytest.mark.server
async def test_postings_whose_connections_die_at_any_time_are_posted_once(
    settled: LedgerDatabase, books: Books
) -> None:
    owner = await asyncpg.connect(settled.owner)
    outcomes = []
    for moment in range(30):
        wanted = proposal("0.01")
        await ManualBooks(books).propose(wanted)
        posting = asyncio.create_task(_outcome(books, wanted))
        await asyncio.sleep(moment / 10_000)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE '%books'"
        )
        outcomes.append(await posting)
        async with asyncio.timeout(10):
            while await _outcome(books, wanted) != "posted":
                pass
        assert await available(books, 3) == moment + 1
    await owner.close()
    assert "Unavailable" in outcomes


async def _outcome(books: Books, wanted: Proposal) -> str:
    try:
        entry = await ManualBooks(books).decide(wanted.entry_id, Decision.POSTED, "bob")
    except Unavailable:
        return "Unavailable"
    return str(entry.decision)


@pytest.mark.server
async def test_postings_and_rejections_at_once_have_numbers_in_a_row(books: Books) -> None:
    entries, wanted = ManualBooks(books), [proposal("0.01") for _ in range(12)]
    for one in wanted:
        await entries.propose(one)
    async with asyncio.TaskGroup() as tasks:
        for at, one in enumerate(wanted):
            decision = Decision.REJECTED if at % 3 == 0 else Decision.POSTED
            tasks.create_task(entries.decide(one.entry_id, decision, "bob"))
    numbers = sorted(entry.number or 0 for entry in await entries.newest(50, undecided=False))
    assert numbers == list(range(1, 13))
    assert await available(books, 3) == 8
