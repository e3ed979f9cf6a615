"""Every batch that moved the seq is a link of its shard's chain, over the very bytes that an export holds."""

import asyncio
import hashlib
import struct
from collections.abc import Iterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.ledger import chain, copy_rows, queries, store
from openbourse.ledger.chain import SECTIONS, BatchRow, Link, SectionHash
from openbourse.ledger.database import Connection
from openbourse.ledger.migrate import migrate

# A batch of each kind of row, and one without any.
BATCHES = [
    "asset USDT 2\nasset BTC 8\nsymbol BTC USDT",
    "credit 1000 USDT 500\ncredit 1001 BTC 50",
    "asset ETH 8\nasset USDT 2\nhold 1000 USDT 200\nhold 1001 BTC 20\nprevent 1000 USDT 50 and 1001 BTC 5",
    "nothing",
    "trade 1001 sells 10 BTC for 100 USDT to 1000, fees 2 1\ncheckpoint abcd",
]
QUERIES = queries.load("chain.sql")
LEGS = "SELECT seq, index, account, asset, available, hold FROM ledger.legs ORDER BY seq, index, account, asset"


async def settle_all(dsn: str) -> list[Link]:
    connection, watermark = await store.open_settlement(dsn, SHARD)
    links = []
    for text in BATCHES:
        parts = deliveries(text, first_seq=watermark.seq + 1)
        await record_transfers(connection, parts)
        settled = await store.settle(connection, SHARD, parts)
        watermark = settled.watermark
        links.append(settled.link)
    await connection.close()
    return links


def tuples(exported: bytes) -> Iterator[tuple[int, bytes]]:
    """Each tuple of a binary COPY with the seq that it begins with, found without knowing any column."""
    at = len(chain.COPY_HEADER)
    while (fields := struct.unpack_from(">h", exported, at)[0]) >= 0:
        start, at = at, at + 2
        (seq,) = struct.unpack_from(">q", exported, at + 4)
        for _ in range(fields):
            at += 4 + max(0, struct.unpack_from(">i", exported, at)[0])
        yield seq, exported[start:at]
    assert exported[at:] == chain.COPY_TRAILER


async def export(connection: Connection) -> dict[str, list[tuple[int, bytes]]]:
    sections = {}
    for name in SECTIONS:
        parts: list[bytes] = []

        async def feed(data: bytes, parts: list[bytes] = parts) -> None:
            parts.append(data)

        await connection.copy_from_query(QUERIES[name], SHARD, 0, 2**62, output=feed, format="binary")
        sections[name] = list(tuples(b"".join(parts)))
    return sections


async def check_chain(connection: Connection) -> list[BatchRow]:
    """Computes the whole chain again from what an export has; the batches, if that is what the database says."""
    sections = await export(connection)
    rows = []
    previous, next_seq, hashed = chain.NO_HEAD, 1, dict.fromkeys(SECTIONS, 0)
    for row in await connection.fetch(
        "SELECT shard, batch, session_epoch, first_seq, last_seq, entries, settled_at_us, content, head "
        "FROM ledger.batches ORDER BY batch"
    ):
        rows.append(BatchRow(*list(row)[:-1]))
        assert row["first_seq"] == next_seq
        of_batch = {}
        for name in SECTIONS:
            first = 0 if row["batch"] == 1 else row["first_seq"]
            chosen = [data for seq, data in sections[name] if first <= seq <= row["last_seq"]]
            of_batch[name] = b"".join(chosen)
            hashed[name] += len(chosen)
            assert name != "entries" or len(chosen) == row["entries"]
        assert chain.content(of_batch) == row["content"]
        assert chain.head(previous, rows[-1]) == row["head"]
        previous, next_seq = row["head"], row["last_seq"] + 1
    assert hashed == {name: len(section) for name, section in sections.items()}
    mark = await connection.fetchrow("SELECT seq, batch, head FROM ledger.watermarks")
    assert mark is not None and tuple(mark) == (next_seq - 1, len(rows), previous)
    return rows


@pytest.mark.server
async def test_the_chain_is_computed_again_from_an_export(ledger_database: LedgerDatabase) -> None:
    links = await settle_all(ledger_database.application)
    owner = await asyncpg.connect(ledger_database.owner)
    rows = await check_chain(owner)
    assert [link.batch for link in links] == [row.batch for row in rows] == [1, 2, 3, 4, 5]
    assert [(row.first_seq, row.last_seq, row.entries) for row in rows] == [
        *((1, 3, 0), (4, 5, 2), (6, 10, 3)),
        *((11, 11, 0), (12, 13, 1)),
    ]
    sections = await export(owner)
    assert {name: len(section) for name, section in sections.items()} == {
        **{"entries": 6, "assets": 3, "symbols": 1, "checkpoints": 1, "transfers": 2}
    }
    await owner.close()


@pytest.mark.server
async def test_what_comes_again_makes_no_batch_and_an_overlap_covers_only_what_is_new(
    ledger_database: LedgerDatabase,
) -> None:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    parts = deliveries("asset USDT 2\nasset BTC 8\nsymbol BTC USDT\nnothing\ncheckpoint ab\nasset ETH 3")
    first = await store.settle(connection, SHARD, parts[:4])
    assert (await store.settle(connection, SHARD, parts[:4])).link == first.link
    assert (await store.settle(connection, SHARD, parts[1:])).link.batch == 2
    rows = await check_chain(connection)
    assert [(row.first_seq, row.last_seq) for row in rows] == [(1, 4), (5, 6)]
    await connection.close()


@pytest.mark.server
async def test_the_database_computes_the_same_head(ledger_database: LedgerDatabase) -> None:
    connection = await asyncpg.connect(ledger_database.owner)
    row = BatchRow("Schächte 1", 7, 2**62, 2**60, 2**61, 5, 1_700_000_000_000_000, hashlib.sha256(b"c").digest())
    previous = hashlib.sha256(b"p").digest()
    assert chain.head(previous, row) == await connection.fetchval(
        "SELECT ledger.head_of($1, ($3, $4, $5, $6, $7, $8, $2, $9, NULL)::ledger.batches)",
        previous,
        *(row.shard, row.batch, row.session_epoch, row.first_seq, row.last_seq, row.entries, row.settled_at_us),
        row.content,
    )
    await connection.close()


@pytest.mark.server
async def test_what_was_settled_before_the_chain_is_its_first_batch(own_postgres: PostgresServer) -> None:
    await asyncio.to_thread(own_postgres.execute, "CREATE DATABASE old")
    dsn = own_postgres.dsn("old")
    await migrate(dsn, to=2)
    owner = await asyncpg.connect(dsn)
    # As the code before this release settled it.
    await owner.execute(
        """
        INSERT INTO ledger.watermarks (shard) VALUES ('main');
        INSERT INTO ledger.assets VALUES ('main', 'USDT', 2), ('main', 'BTC', 8);
        INSERT INTO ledger.transfers (transfer_id, shard, account, asset, amount, requested_by)
            VALUES (gen_random_uuid(), 'main', 1000, 'USDT', 500, 'cli');
        INSERT INTO ledger.entries (shard, seq, index, epoch, kind, symbol, occurred_at_us, correlation_id,
            leg_accounts, leg_assets, leg_available, leg_hold)
        VALUES
            ('main', 3, 0, 1, 'funds_credited', '', 1, 'r', '{2,1000}', '{USDT,USDT}', '{-500,500}', '{0,0}'),
            ('main', 4, 0, 1, 'order_accepted', 'S', 1, 'r', '{1000}', '{USDT}', '{-9}', '{9}'),
            ('main', 4, 1, 1, 'match_prevented', 'S', 1, 'r', '{1001,1000}', '{BTC,USDT}', '{5,4}', '{-5,-4}');
        INSERT INTO ledger.entries (shard, seq, index, epoch, kind, symbol, occurred_at_us, correlation_id,
            trade_id, price_ticks, quantity_lots, quote_units, taker_is_buyer, maker_account, maker_order_id,
            maker_fee_units, maker_fee_asset, taker_account, taker_order_id, taker_fee_units, taker_fee_asset,
            leg_accounts, leg_assets, leg_available, leg_hold)
        VALUES
            ('main', 4, 2, 1, 'trade_executed', 'S', 1, 'r', 1, 1, 20, 200, false, 1000, 1, 1, 'BTC', 1001, 2, 2,
             'USDT', '{1,1000,1001,1,1000,1000,1001}', '{BTC,BTC,BTC,USDT,USDT,USDT,USDT}', '{1,19,0,2,0,7,198}',
             '{0,0,-20,0,-200,-7,0}'),
            ('main', 4, 3, 1, 'trade_executed', 'S', 1, 'r', 2, 1, 2, 8, true, 1000, 1, 0, 'USDT', 1000, 2, 0, 'BTC',
             '{1000,1000,1000,1000}', '{BTC,BTC,USDT,USDT}', '{2,0,0,8}', '{0,-2,-8,0}');
        INSERT INTO ledger.balances VALUES (2, -500, 0, 'main', 'USDT'), (1000, 500, 0, 'main', 'USDT');
        UPDATE ledger.transfers SET state = 'posted', posted_seq = 3, posted_index = 0, decided_at = now();
        UPDATE ledger.watermarks SET seq = 3, session_epoch = 2;
        """
    )
    await migrate(dsn)
    assert [tuple(leg) for leg in await owner.fetch(LEGS)] == [
        *((3, 0, 2, "USDT", -500, 0), (3, 0, 1000, "USDT", 500, 0), (4, 0, 1000, "USDT", -9, 9)),
        *((4, 1, 1000, "USDT", 4, -4), (4, 1, 1001, "BTC", 5, -5)),
        *((4, 2, 1, "BTC", 1, 0), (4, 2, 1, "USDT", 2, 0), (4, 2, 1000, "BTC", 19, 0)),
        *((4, 2, 1000, "USDT", 7, -207), (4, 2, 1001, "BTC", 0, -20), (4, 2, 1001, "USDT", 198, 0)),
        *((4, 3, 1000, "BTC", 2, -2), (4, 3, 1000, "USDT", 8, -8)),
    ]
    trades = await owner.fetch("SELECT trade_id, maker_account, taker_account FROM ledger.trades ORDER BY trade_id")
    assert [tuple(trade) for trade in trades] == [(1, 1000, 1001), (2, 1000, 1000)]
    # Its watermark is free until the new code has come.
    await owner.execute("UPDATE ledger.watermarks SET seq = 4")
    connection, watermark = await store.open_settlement(own_postgres.dsn("old", "openbourse_ledger"), SHARD)
    with pytest.raises(asyncpg.PostgresError, match="moves with a batch only"):
        await owner.execute("UPDATE ledger.watermarks SET seq = 5")
    parts = deliveries("asset BTC 8\nasset ETH 8\nhold 1000 USDT 5", first_seq=watermark.seq + 1, session_epoch=2)
    await store.settle(connection, SHARD, parts)
    await connection.close()
    rows = await check_chain(owner)
    assert [(row.first_seq, row.last_seq, row.entries, row.session_epoch) for row in rows] == [
        (1, 4, 5, 2),
        (5, 7, 1, 2),
    ]
    # A second start finds the chain begun.
    connection, _ = await store.open_settlement(own_postgres.dsn("old", "openbourse_ledger"), SHARD)
    assert await check_chain(connection) == rows
    await connection.close()
    await owner.close()


@pytest.mark.parametrize("step", [1, 2, 3, 19, 20, 21, 1000])
def test_a_section_in_parts_has_the_hash_of_the_whole(step: int) -> None:
    for body in (b"", b"x", bytes(range(256)) * 3):
        whole = copy_rows.framed(body)
        section = SectionHash()
        for at in range(0, len(whole), step):
            section.feed(whole[at : at + step])
        assert (section.length, section.digest()) == (len(body), hashlib.sha256(body).digest())


def test_every_byte_of_a_batch_moves_its_content_and_no_two_sections_can_be_taken_for_each_other() -> None:
    nothing = chain.content({})
    assert len({nothing, *(chain.content({name: b"x"}) for name in SECTIONS)}) == len(SECTIONS) + 1
    assert chain.content({"entries": b"xy"}) != chain.content({"entries": b"x", "assets": b"y"})
    row = BatchRow("main", 1, 2, 3, 4, 5, 6, nothing)
    fields = ("shard", "batch", "session_epoch", "first_seq", "last_seq", "entries", "settled_at_us", "content")
    others = ["mai", 2, 3, 4, 5, 6, 7, bytes(32)]
    heads = {chain.head(chain.NO_HEAD, row), chain.head(nothing, row)}
    for name, other in zip(fields, others, strict=True):
        values = {field: getattr(row, field) for field in fields} | {name: other}
        heads.add(chain.head(chain.NO_HEAD, BatchRow(**values)))
    assert len(heads) == 2 + len(fields)
