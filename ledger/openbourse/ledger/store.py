"""Settles batches in PostgreSQL: one transaction for rows, balances, transfers, the link of the chain, the watermark.

`settlement.settle` decides; this reads what it needs under the shard's lock and writes what it says. There is no
time-out on a settlement: with a synchronous standby away a cancelled commit is done here and nowhere else, and its
outcome would be taken for settled. A lost connection leaves an unknown outcome: settle the same deliveries again on
a new one, the watermark knows.
"""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import asyncpg

from openbourse.contracts import v1
from openbourse.ledger import chain, copy_rows, database, queries, settlement
from openbourse.ledger.chain import BatchRow, Link, SectionHash
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged, Unavailable
from openbourse.ledger.migrate import require_migrated
from openbourse.ledger.reading import Delivery
from openbourse.ledger.rows import AssetRow, CheckpointRow, Entry, Legs, Posting, Rows, SymbolRow, Trade, Voiding
from openbourse.ledger.settlement import Batch, Watermark

_SQL = queries.load("settle.sql")
_SECTIONS = queries.load("chain.sql")

# Every statement of a settlement goes by primary key. A plan made while a table was small would scan it for ever.
_SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What one committed transaction did. `total_trades` counts all that the shard ever settled."""

    watermark: Watermark
    trades: int
    total_trades: int
    # The end of the shard's chain: the batch that this was, unless nothing was new.
    link: Link


async def open_settlement(dsn: str, shard: str) -> tuple[Connection, Watermark]:
    """The settling connection of a shard and where to go on. Raises Unavailable."""
    connection = await connect(dsn)
    return connection, await begin(connection, shard)


async def connect(dsn: str) -> Connection:
    """A connection that settles once it has begun. Raises Unavailable."""
    return await database.connect(dsn, _SETTINGS)


async def begin(connection: Connection, shard: str) -> Watermark:
    """Where to go on. It is on the standby too: what was committed here alone is waited for, however long it takes.

    Raises Unavailable, and ends the connection.
    """
    try:
        await require_migrated(connection)
        await database.require_durable(connection)
        await connection.execute(_SQL["begin_watermark"], shard)
        # The lock is written, so that its commit waits for the standby: a watermark that is here alone is not said.
        async with database.replicated_transaction(connection):
            watermark, link = await _lock_watermark(connection, shard)
            if watermark.seq > 0 and link.batch == 0:
                await _begin_chain(connection, shard, watermark)
        return watermark
    except database.CONNECTION_ERRORS as error:
        connection.terminate()
        raise database.as_ledger_error(error) from error
    except BaseException:
        connection.terminate()
        raise


async def settle(connection: Connection, shard: str, deliveries: Sequence[v1.Events | Delivery]) -> Settled:
    """Settles consecutive deliveries, all or nothing. Returning means committed.

    Raises StaleSession or Diverged (nothing was written), or Unavailable: nothing is known.
    """
    parts = [part if isinstance(part, Delivery) else Delivery(part) for part in deliveries]
    try:
        async with database.replicated_transaction(connection):
            watermark, link = await _lock_watermark(connection, shard)
            batch = settlement.settle(shard, watermark, parts)
            if batch.replayed_range is not None:
                await _compare(connection, shard, batch)
            moved = batch.watermark
            if moved.seq == watermark.seq:
                total = await connection.fetchval(_SQL["touch_watermark"], shard, moved.session_epoch)
            else:
                content = chain.content(await _post(connection, shard, batch))
                row = BatchRow(
                    shard=shard,
                    batch=link.batch + 1,
                    session_epoch=moved.session_epoch,
                    first_seq=watermark.seq + 1,
                    last_seq=moved.seq,
                    entries=len(batch.new.entries),
                    settled_at_us=time.time_ns() // 1000,
                    content=content,
                )
                link, total = await _close_batch(connection, link, row, batch.trades)
    except database.CONNECTION_ERRORS as error:
        meant = database.as_ledger_error(error)
        if isinstance(meant, Diverged):
            meant = Diverged(f"seq {parts[0].message.first_seq} to {parts[-1].message.last_seq}: {meant}")
        raise meant from error
    return Settled(moved, batch.trades, total, link)


async def _lock_watermark(connection: Connection, shard: str) -> tuple[Watermark, Link]:
    row = await connection.fetchrow(_SQL["lock_watermark"], shard)
    assert row is not None, f"shard {shard} has no watermark row"
    return Watermark(row["session_epoch"], row["seq"]), Link(row["batch"], row["head"])


async def _close_batch(connection: Connection, link: Link, row: BatchRow, trades: int) -> tuple[Link, int]:
    """The new end of the chain, and how many trades the shard ever settled."""
    head = chain.head(link.head, row)
    total = await connection.fetchval(_SQL["close_batch"], *astuple(row), head, trades)
    return Link(row.batch, head), total


async def _begin_chain(connection: Connection, shard: str, watermark: Watermark) -> None:
    """What was settled before there was a chain is its first batch, read once and never held as a whole."""
    sections: dict[str, tuple[int, bytes]] = {}
    for name in chain.SECTIONS:
        section = SectionHash()

        async def feed(data: bytes, section: SectionHash = section) -> None:
            section.feed(data)

        await connection.copy_from_query(_SECTIONS[name], shard, 0, watermark.seq, output=feed, format="binary")
        sections[name] = section.length, section.digest()
    row = BatchRow(
        shard=shard,
        batch=1,
        session_epoch=watermark.session_epoch,
        first_seq=1,
        last_seq=watermark.seq,
        entries=await connection.fetchval(_SQL["count_entries"], shard, watermark.seq),
        settled_at_us=time.time_ns() // 1000,
        content=chain.content_of_digests(sections),
    )
    await _close_batch(connection, Link(0, chain.NO_HEAD), row, 0)


async def _compare(connection: Connection, shard: str, batch: Batch) -> None:
    """Raises Diverged when what came again is not what was settled."""
    assert batch.replayed_range is not None
    first, last = batch.replayed_range
    entries = await connection.fetch(_SQL["settled_entries"], shard, first, last)
    symbols = await connection.fetch(_SQL["settled_symbols"], shard, first, last)
    checkpoints = await connection.fetch(_SQL["settled_checkpoints"], shard, first, last)
    stored = Rows(
        entries=[_entry(row) for row in entries],
        symbols=[SymbolRow(*row) for row in symbols],
        checkpoints=[CheckpointRow(*row) for row in checkpoints],
        assets=await _assets(connection, shard, batch.replayed),
    )
    if difference := settlement.contradiction(batch.replayed, stored):
        raise Diverged(f"a duplicate with other content: {difference}")


def _entry(row: asyncpg.Record) -> Entry:
    seq, index, epoch, kind, symbol, at_us, correlation_id, account, counter_account, *rest = row
    legs, other_legs, trade = rest[:6], rest[6:12], rest[12:]
    return Entry(
        seq,
        index,
        epoch,
        kind,
        symbol,
        at_us,
        correlation_id,
        account,
        counter_account,
        Legs(*legs),
        None if other_legs[0] is None else Legs(*other_legs),
        None if trade[0] is None else Trade(*trade),
    )


async def _assets(connection: Connection, shard: str, rows: Rows) -> dict[str, AssetRow]:
    """The assets of `rows` as they are settled."""
    if not rows.assets:
        return {}
    settled = await connection.fetch(_SQL["settled_assets"], shard, list(rows.assets))
    return {row["asset"]: AssetRow(*row) for row in settled}


async def _post(connection: Connection, shard: str, batch: Batch) -> dict[str, bytes]:
    """Writes all that is new; the tuples of each section that it wrote, for the chain."""
    new = batch.new
    sections: dict[str, bytes] = {}
    if new.assets:
        await connection.execute(_SQL["define_assets"], shard, *_columns(list(new.assets.values())))
        settled = await _assets(connection, shard, new)
        for name, row in new.assets.items():
            if settled[name].scale != row.scale:
                raise Diverged(f"seq {row.seq}: asset {name} gets scale {row.scale}, it was settled with another scale")
        # One that was there before was not written again.
        sections["assets"] = copy_rows.assets(shard, set(settled.values()) & set(new.assets.values()))
    if new.symbols:
        await connection.execute(_SQL["define_symbols"], shard, *_columns(new.symbols))
        sections["symbols"] = copy_rows.symbols(shard, new.symbols)
    if new.checkpoints:
        await connection.execute(_SQL["record_checkpoints"], shard, *_columns(new.checkpoints))
        sections["checkpoints"] = copy_rows.checkpoints(shard, new.checkpoints)
    if new.entries:
        sections["entries"] = batch.tuples
        await _copy_entries(connection, batch.tuples)
    if batch.deltas:
        accounts, assets, available, hold = _columns(batch.deltas)
        deltas = (_int8s(accounts), assets, _int8s(available), _int8s(hold))
        await _move_balances(connection, shard, deltas, len(batch.deltas))
    if new.postings:
        sections["transfers"] = await _post_transfers(connection, shard, new.postings)
    if new.voidings:
        await _void_transfers(connection, shard, new.voidings)
    return sections


async def _move_balances(connection: Connection, shard: str, deltas: tuple[object, ...], count: int) -> None:
    """Raises Unavailable when somebody who does not hold the shard's lock wrote balances meanwhile."""
    done = _rows(await connection.execute(_SQL["move_balances"], shard, *deltas))
    if done < count:
        done += _rows(await connection.execute(_SQL["open_balances"], shard, *deltas))
    if done != count:
        raise Unavailable(f"{count - done} of {count} balances were written by somebody else during the settlement")


def _rows(status: str) -> int:
    """Of a statement's status, such as `INSERT 0 3`."""
    return int(status.rpartition(" ")[2])


async def _post_transfers(connection: Connection, shard: str, postings: list[Posting]) -> bytes:
    rows = await connection.fetch(_SQL["post_transfers"], shard, *_columns(postings))
    requested_by = {row["transfer_id"]: row["requested_by"] for row in rows}
    for posting in postings:
        if posting.transfer_id not in requested_by:
            raise Diverged(
                f"seq {posting.seq}: the engine carried out a {posting.direction} of {posting.amount} {posting.asset}, "
                f"account {posting.account}, for transfer {posting.transfer_id}, which is not pending here for that"
            )
    return copy_rows.transfers(shard, [(posting, requested_by[posting.transfer_id]) for posting in postings])


async def _void_transfers(connection: Connection, shard: str, voidings: list[Voiding]) -> None:
    ids, accounts, assets, amounts, _, reasons = _columns(voidings)
    rows = await connection.fetch(_SQL["void_transfers"], shard, ids, accounts, assets, amounts, reasons)
    voided = {row["transfer_id"] for row in rows}
    for voiding in voidings:
        if voiding.transfer_id not in voided:
            raise Diverged(
                f"seq {voiding.seq}: the engine refused a withdrawal of {voiding.amount} {voiding.asset}, account "
                f"{voiding.account}, for transfer {voiding.transfer_id}, which is not pending here for that"
            )


def _columns(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return list(zip(*rows, strict=True))


async def _copy_entries(connection: Connection, tuples: bytes) -> None:
    await connection.copy_to_table(
        "entries",
        schema_name="ledger",
        columns=copy_rows.COLUMNS,
        # In one piece: between two, the driver would wait for ever for a server that has died.
        source=memoryview(copy_rows.framed(tuples)),  # type: ignore[arg-type]  # its stubs know no buffers
        format="binary",
    )


def _int8s(values: tuple[object, ...]) -> str:
    """As PostgreSQL writes an array: for the driver a text is one value, a list is a value each."""
    return "{" + ",".join(map(str, values)) + "}"
