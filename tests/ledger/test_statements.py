"""A statement has every movement of an account and asset once, in whatever pages, and its balances add up."""

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.ledger import store
from openbourse.ledger.books import Books, open_books
from openbourse.ledger.errors import Invalid
from openbourse.ledger.statements import Cursor, Line, Movement, Statement, page

LISTED = "asset USDT 2\nasset BTC 8\nasset ETH 8\nsymbol BTC USDT\nsymbol ETH USDT\nsymbol BTC USDT"
MOVED = """
    credit 1000 USDT 5000
    credit 1001 BTC 500
    credit 1002 ETH 500
    hold 1000 USDT 2000
    hold 1001 BTC 200
    hold 1002 ETH 100
    trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1
    trade 1002 sells 10 ETH for 100 USDT to 1000, fees 1 0
    trade 1000 buys 5 BTC for 50 USDT from 1001, fees 1 1
    prevent 1000 USDT 50 and 1001 BTC 5
    transfer 1001 20 BTC for 200 USDT to 1000
    hold 1000 BTC 2
    trade 1000 sells 2 BTC for 20 USDT to 1000, fees 1 1
    credit 1000 USDT 1
    release 1000 USDT 30
"""


def movement(seq: int, available: int, hold: int = 0) -> Movement:
    return Movement(seq, 0, "k", "", "", 0, available, hold)


def test_a_page_counts_back_from_the_balance_and_the_last_one_ends_at_nothing() -> None:
    moves = [movement(9, -3, 3), movement(5, 4), movement(2, 6)]
    first = page(moves[:3], 7, 3, 2)
    assert first == Statement([Line(moves[0], 7, 3), Line(moves[1], 10, 0)], Cursor(5, 0, 6, 0))
    assert page(moves[2:], 6, 0, 2) == Statement([Line(moves[2], 6, 0)], None)
    with pytest.raises(Invalid, match="does not begin at nothing but at 1 available"):
        page(moves[2:], 7, 0, 2)
    assert page([], 0, 0, 2) == Statement([], None)


def test_a_cursor_is_read_as_it_is_written_and_nothing_else_is() -> None:
    cursor = Cursor(2**63 - 1, 3, -5, 2)
    assert Cursor.parse(str(cursor)) == cursor
    for text in ("", "1.2.3", "1.2.3.4.5", "-1.2.3.4", "9223372036854775808.0.0.0", "1.2.3.x", "\u0661.0.0.0"):
        with pytest.raises(Invalid, match="is no cursor"):
            Cursor.parse(text)


async def whole(books: Books, account: int, asset: str, limit: int) -> list[Line]:
    """All pages."""
    lines: list[Line] = []
    before = None
    for _ in range(100):
        statement = await books.statement(account, asset, before, limit)
        assert len(statement.lines) == limit or statement.next is None
        lines += statement.lines
        before = statement.next
        if before is None:
            return lines
    raise AssertionError("a statement without an end")


@pytest.mark.server
async def test_every_movement_is_there_once_in_pages_of_any_size(ledger_database: LedgerDatabase) -> None:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, deliveries(LISTED))
    parts = deliveries(MOVED, first_seq=7)
    (held,) = parts[5].events
    held.symbol = "ETHUSDT"
    # Two entries of one seq: a page may end between them.
    again = deliveries("release 1000 USDT 30", first_seq=parts[-1].last_seq)[0].events[0]
    again.index = 1
    parts[-1].events.append(again)
    await record_transfers(connection, parts)
    await store.settle(connection, SHARD, parts)
    await connection.close()
    owner = await asyncpg.connect(ledger_database.owner)
    accounts = [row["account"] for row in await owner.fetch("SELECT DISTINCT account FROM ledger.balances")]
    assert sorted(accounts) == [1, 2, 1000, 1001, 1002]
    async with open_books(ledger_database.application, SHARD) as books:
        for account in accounts:
            for asset in ("USDT", "BTC", "ETH"):
                legs = await owner.fetch(
                    "SELECT seq, index, sum(available)::bigint, sum(hold)::bigint FROM ledger.legs "
                    "WHERE account = $1 AND asset = $2 GROUP BY seq, index ORDER BY seq, index",
                    *(account, asset),
                )
                expected, available, hold = [], 0, 0
                for seq, index, more_available, more_hold in legs:
                    available, hold = available + more_available, hold + more_hold
                    expected.append((seq, index, more_available, more_hold, available, hold))
                for limit in range(1, len(expected) + 2):
                    lines = await whole(books, account, asset, limit)
                    assert [
                        *((m.seq, m.event_index, m.available, m.hold, a, h) for m, a, h in map(_parts, reversed(lines)))
                    ] == expected, (account, asset, limit)
        (line, *_) = (await books.statement(1002, "USDT", None, 1)).lines
        assert (line.movement.kind, line.movement.symbol, line.movement.correlation_id) == (
            *("trade_executed", "ETHUSDT", "request-14"),
        )
    await owner.close()


def _parts(line: Line) -> tuple[Movement, int, int]:
    return line.movement, line.available_after, line.hold_after
