"""Settlement in a real PostgreSQL: rows, balances and watermark move together, once, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import SHARD, deliveries, joined, record_transfers, transfer_id
from openbourse.contracts import v1
from openbourse.ledger import store
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged, StaleSession, Unavailable
from openbourse.ledger.settlement import Watermark

pytestmark = pytest.mark.server

LISTED = """
    asset USDT 2
    asset BTC 8
    symbol BTC USDT
"""
FUNDED = (
    LISTED
    + """
    credit 1000 USDT 500
    credit 1001 BTC 50
    hold 1000 USDT 200
    hold 1001 BTC 20
"""
)
STREAM = deliveries(
    FUNDED
    + """
    trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1
    nothing
    checkpoint abcd
    """
)
BALANCES_AFTER_STREAM = [
    (1, "BTC", 1, 0),
    (1, "USDT", 2, 0),
    (2, "BTC", -50, 0),
    (2, "USDT", -500, 0),
    (1000, "BTC", 19, 0),
    (1000, "USDT", 300, 0),
    (1001, "BTC", 30, 0),
    (1001, "USDT", 198, 0),
]


@pytest.fixture
async def settling(ledger_database: LedgerDatabase) -> AsyncIterator[Connection]:
    """The settling connection on a fresh ledger that knows of the deposits of STREAM."""
    connection, watermark = await store.open_settlement(ledger_database.application, SHARD)
    assert watermark == Watermark(0, 0)
    yield connection
    await connection.close()


async def settle(connection: Connection, parts: Sequence[v1.Events]) -> store.Settled:
    return await store.settle(connection, SHARD, parts)


async def settle_with_transfers(connection: Connection, parts: Sequence[v1.Events]) -> store.Settled:
    """First the definitions, which transfers refer to, then the transfers, then the rest."""
    listed = LISTED.strip().count("\n") + 1
    await settle(connection, parts[:listed])
    await record_transfers(connection, parts)
    return await settle(connection, parts[listed:])


async def balances(connection: Connection) -> list[tuple[int, str, int, int]]:
    rows = await connection.fetch("SELECT account, asset, available, hold FROM ledger.balances ORDER BY account, asset")
    return [tuple(row) for row in rows]


async def books(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """All that settlement writes, but for the time at which it did."""
    tables = {
        "entries": "SELECT * FROM ledger.entries ORDER BY shard, seq, index",
        "assets": "SELECT * FROM ledger.assets ORDER BY shard, asset",
        "symbols": "SELECT * FROM ledger.symbols ORDER BY shard, seq, index",
        "checkpoints": "SELECT * FROM ledger.checkpoints ORDER BY shard, seq, index",
        "balances": "SELECT * FROM ledger.balances ORDER BY shard, account, asset",
        "batches": "SELECT * FROM ledger.batches ORDER BY shard, batch",
        "watermarks": "SELECT shard, session_epoch, seq, trades, batch, head FROM ledger.watermarks ORDER BY shard",
        "transfers": "SELECT transfer_id, state, reason, posted_seq, posted_index FROM ledger.transfers ORDER BY 1",
    }
    return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in tables.items()}


async def test_a_stream_becomes_rows_balances_and_a_watermark(settling: Connection) -> None:
    settled = await settle_with_transfers(settling, STREAM)
    assert (settled.watermark, settled.trades, settled.total_trades) == (Watermark(1, 10), 1, 1)
    assert await balances(settling) == BALANCES_AFTER_STREAM
    row = await settling.fetchrow("SELECT * FROM ledger.trades")
    assert row is not None
    assert (row["symbol"], row["trade_id"], row["maker_account"], row["taker_account"]) == ("BTCUSDT", 8, 1001, 1000)
    assert (row["maker_fee_units"], row["maker_fee_asset"], row["taker_fee_asset"]) == (2, "USDT", "BTC")
    assert await settling.fetchval("SELECT state_hash FROM ledger.checkpoints") == bytes.fromhex("abcd")
    assert await settling.fetchval("SELECT correlation_id FROM ledger.entries WHERE seq = 8") == "request-8"
    states = await settling.fetch(
        "SELECT transfer_id, state::text, posted_seq FROM ledger.transfers ORDER BY posted_seq"
    )
    assert [tuple(state) for state in states] == [(transfer_id(4), "posted", 4), (transfer_id(5), "posted", 5)]


async def test_what_amendments_and_prevented_matches_move_is_settled(settling: Connection) -> None:
    changes = """
        amend 1000 USDT 50
        prevent 1000 USDT 50 and 1001 BTC 5
        transfer 1001 10 BTC for 100 USDT to 1000
    """
    parts = deliveries(FUNDED + changes)
    await settle_with_transfers(settling, parts)
    kinds = await settling.fetch("SELECT kind::text, trade_id FROM ledger.entries ORDER BY seq DESC LIMIT 3")
    assert [tuple(row) for row in kinds] == [
        ("match_transferred", None),
        ("match_prevented", None),
        ("order_amended", None),
    ]
    settled = await balances(settling)
    assert settled[2:] == [(1000, "BTC", 10, 0), (1000, "USDT", 400, 0), (1001, "BTC", 35, 5), (1001, "USDT", 100, 0)]
    assert (await settle(settling, parts)).trades == 0
    assert await balances(settling) == settled


async def test_a_withdrawal_is_posted_or_voided_by_what_the_engine_says(settling: Connection) -> None:
    parts = deliveries(FUNDED + "debit 1000 USDT 120\nrefuse 1000 USDT 181")
    await settle_with_transfers(settling, parts)
    assert (await balances(settling))[1:3] == [(2, "USDT", -380, 0), (1000, "USDT", 180, 200)]
    states = await settling.fetch(
        "SELECT state::text, reason, posted_seq FROM ledger.transfers WHERE direction = 'withdrawal' ORDER BY state"
    )
    assert [tuple(row) for row in states] == [("posted", "", 8), ("voided", "INSUFFICIENT_FUNDS: too little", None)]
    before = await books(settling)
    await settle(settling, parts)
    # The refusal once more, of the same command and with another seq: the engine had forgotten it.
    again = deliveries("refuse 1000 USDT 181", first_seq=10)
    again[0].events[0].funds_debit_rejected.transfer_id = str(transfer_id(9))
    await settle(settling, again)
    assert (await books(settling))["transfers"] == before["transfers"]


async def test_the_same_deliveries_again_change_nothing_but_are_written_again(settling: Connection) -> None:
    await settle_with_transfers(settling, STREAM)
    before = await books(settling)
    moved_at = await settling.fetchval("SELECT moved_at FROM ledger.watermarks")
    again = await settle(settling, STREAM)
    assert (again.watermark, again.trades, again.total_trades) == (Watermark(1, 10), 0, 1)
    assert await books(settling) == before
    # A commit that writes nothing would not wait for a synchronous standby.
    assert await settling.fetchval("SELECT moved_at FROM ledger.watermarks") > moved_at


async def test_what_overlaps_the_watermark_is_settled_from_there_on(settling: Connection) -> None:
    await settle_with_transfers(settling, STREAM[:7])
    assert (await settle(settling, [joined(STREAM[2:9])])).watermark == Watermark(1, 9)
    await settle(settling, [joined(STREAM)])
    assert await balances(settling) == BALANCES_AFTER_STREAM


@pytest.mark.parametrize(
    ("seq", "line"),
    [
        (8, "trade 1001 sells 20 BTC for 201 USDT to 1000, fees 2 1"),
        (8, "trade 1001 sells 20 BTC for 200 USDT to 1000, fees 1 1"),
        (7, "hold 1001 BTC 21"),
        (6, "nothing"),
        (9, "hold 1000 USDT 1"),
        (10, "checkpoint abce"),
        (3, "symbol ETH USDT"),
        (2, "asset BTC 7"),
    ],
)
async def test_a_duplicate_with_other_content_stops_and_changes_nothing(
    settling: Connection, seq: int, line: str
) -> None:
    await settle_with_transfers(settling, STREAM)
    before = await books(settling)
    changed = [*STREAM[: seq - 1], *deliveries(line, first_seq=seq), *STREAM[seq:]]
    with pytest.raises(Diverged, match="a duplicate with other content"):
        await settle(settling, [*changed, *deliveries("hold 1000 USDT 1", first_seq=len(STREAM) + 1)])
    assert await books(settling) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hold 1000 USDT 501", "balances_are_not_negative"),
        ("release 1000 USDT 201", "balances_are_not_negative"),
        ("legs match_transferred 1000:USDT:-5:4 1001:USDT:0:0", "entries_are_balanced"),
        ("legs match_transferred 1000:USDT:-5:0 1000:BTC:5:0", "entries_are_balanced"),
        ("legs match_transferred 2:ETH:-5:0 1000:ETH:5:0", "is not present in table"),
        ("asset USDT 3", "another scale"),
        ("symbol ETH USDT", "is not present in table"),
        (
            "credit 1000 USDT 7",
            "carried out a deposit of 7 USDT, account 1000, for transfer .* which is not pending here",
        ),
        ("debit 1000 USDT 7", "carried out a withdrawal of 7 USDT, account 1000, for transfer .* which is not pending"),
        ("refuse 1000 USDT 7", "refused a withdrawal of 7 USDT, account 1000, for transfer .* which is not pending"),
        (f"legs match_transferred 1000:USDT:{2**62}:{2**62} 1001:USDT:-{2**62}:-{2**62}", "out of range"),
    ],
)
async def test_what_the_books_do_not_allow_is_refused_as_a_whole(settling: Connection, line: str, words: str) -> None:
    await settle_with_transfers(settling, STREAM[:7])
    before = await books(settling)
    with pytest.raises(Diverged, match=words):
        await settle(settling, deliveries(f"nothing\nhold 1001 BTC 1\n{line}", first_seq=8))
    assert await books(settling) == before


@pytest.mark.parametrize("asked", ["credit 1000 USDT 5", "debit 1000 USDT 5"])
@pytest.mark.parametrize(
    "said",
    [
        *("credit 1000 USDT 6", "credit 1001 USDT 5", "credit 1000 BTC 5", "credit 1000 USDT 5"),
        *("debit 1000 USDT 6", "debit 1001 USDT 5", "debit 1000 BTC 5", "debit 1000 USDT 5"),
        *("refuse 1000 USDT 6", "refuse 1001 USDT 5", "refuse 1000 BTC 5", "refuse 1000 USDT 5"),
    ],
)
async def test_only_what_was_asked_for_is_posted_or_voided(settling: Connection, asked: str, said: str) -> None:
    await settle_with_transfers(settling, STREAM[:8])
    await record_transfers(settling, deliveries(asked, first_seq=9))
    deposit = asked.startswith("credit")
    if asked.split()[1:] == said.split()[1:] and deposit == said.startswith("credit"):
        await settle(settling, deliveries(said, first_seq=9))
        return
    before = await books(settling)
    with pytest.raises(Diverged, match="which is not pending here"):
        await settle(settling, deliveries(said, first_seq=9))
    assert await books(settling) == before


async def test_a_posted_withdrawal_cannot_be_refused_nor_a_voided_one_carried_out(settling: Connection) -> None:
    await settle_with_transfers(settling, deliveries(FUNDED + "debit 1000 USDT 5\nrefuse 1000 USDT 5"))
    for line, seq in (("refuse 1000 USDT 5", 8), ("debit 1000 USDT 5", 9), ("debit 1000 USDT 5", 8)):
        parts = deliveries(line, first_seq=10)
        body = parts[0].events[0]
        getattr(body, body.WhichOneof("body") or "").transfer_id = str(transfer_id(seq))
        with pytest.raises(Diverged, match="which is not pending here"):
            await settle(settling, parts)


async def test_what_moves_is_what_the_transfer_asked_for_or_the_books_refuse_it(settling: Connection) -> None:
    await settle_with_transfers(settling, deliveries(FUNDED))
    parts = deliveries("debit 1000 USDT 5", first_seq=8)
    await record_transfers(settling, parts)
    for leg, change in zip(parts[0].events[0].movements, (-6, 6), strict=True):
        leg.available_change = change
    with pytest.raises(Diverged, match="the entry at seq 8 index 0 is not this withdrawal"):
        await settle(settling, parts)


async def test_a_session_of_an_older_epoch_settles_nothing(settling: Connection) -> None:
    await settle(settling, deliveries(LISTED, session_epoch=5))
    with pytest.raises(StaleSession):
        await settle(settling, deliveries("nothing", first_seq=4, session_epoch=4))
    settled = await settle(settling, deliveries("nothing", first_seq=4, session_epoch=5))
    assert settled.watermark == Watermark(5, 4)


async def test_two_settlers_of_a_shard_settle_everything_once(
    settling: Connection, ledger_database: LedgerDatabase
) -> None:
    await settle_with_transfers(settling, STREAM[:7])
    other, _ = await store.open_settlement(ledger_database.application, SHARD)
    tail = deliveries("hold 1000 USDT 1\n" * 40, first_seq=8)

    async def run(connection: Connection, step: int) -> None:
        at = 0
        while at < len(tail):
            # Each begins again with one that it had, as after a reconnect.
            await settle(connection, tail[max(0, at - 1) : at + step])
            at += step

    try:
        await asyncio.gather(run(settling, 3), run(other, 7))
    finally:
        await other.close()
    assert (await balances(settling))[2] == (1000, "USDT", 500 - 240, 240)
    assert await settling.fetchval("SELECT count(*) FROM ledger.entries WHERE seq >= 8") == 40


async def test_balances_that_somebody_writes_without_the_lock_are_settled_again_from_what_they_are(
    settling: Connection, ledger_database: LedgerDatabase
) -> None:
    await settle_with_transfers(settling, STREAM[:7])
    more = deliveries("hold 1000 USDT 1", first_seq=8)
    owner = await asyncpg.connect(ledger_database.owner)
    try:
        async with owner.transaction():
            await owner.execute("UPDATE ledger.balances SET available = available WHERE account = 1000")
            settled = asyncio.create_task(settle(settling, more))
            for _ in range(1_000):
                if await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    break
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="1 of 1 balances were written by somebody else"):
            await settled
    finally:
        await owner.close()
    assert (await settle(settling, more)).watermark.seq == 8
    assert (await balances(settling))[2] == (1000, "USDT", 500 - 201, 201)


async def test_settlement_does_not_start_on_a_server_that_could_forget(ledger_database: LedgerDatabase) -> None:
    owner = await asyncpg.connect(ledger_database.owner)
    await owner.execute(f"ALTER DATABASE {ledger_database.name} SET synchronous_commit = off")
    await owner.close()
    with pytest.raises(Unavailable, match="synchronous_commit is off"):
        await store.open_settlement(ledger_database.application, SHARD)


async def test_an_account_and_an_asset_of_any_size_and_letters_fit(settling: Connection) -> None:
    stream = deliveries(f"asset X 0\nlegs match_transferred 2:X:-7:0 {2**63 - 1}:X:7:0")
    odd = 'A"B\\,{} NULL'
    stream[0].events[0].asset_defined.asset = odd
    for leg in stream[1].events[0].movements:
        leg.asset = odd
    await settle(settling, stream)
    await settle(settling, stream)
    row = await settling.fetchrow("SELECT account, counter_account, asset, other_asset FROM ledger.entries")
    assert row is not None
    assert tuple(row) == (2, 2**63 - 1, odd, None)
    assert await balances(settling) == [(2, odd, -7, 0), (2**63 - 1, odd, 7, 0)]
