"""Settles batches in PostgreSQL: one transaction for the rows, the balances, the transfers and the watermark.

`settlement.settle` decides; this reads what it needs under the shard's lock and writes what it says. There is no
time-out on a settlement: with a synchronous standby away a cancelled commit is done here and nowhere else, and its
outcome would be taken for settled. A lost connection leaves an unknown outcome: settle the same deliveries again on
a new one, the watermark knows.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from openbourse.contracts import v1
from openbourse.ledger import copy_rows, database, queries, settlement
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged
from openbourse.ledger.migrate import require_migrated
from openbourse.ledger.settlement import Batch, CheckpointRow, Entry, Rows, SymbolRow, Trade, Watermark

_SQL = queries.load("settle.sql")

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


async def open_settlement(dsn: str, shard: str) -> tuple[Connection, Watermark]:
    """The settling connection of a shard and where to go on. Raises Unavailable."""
    connection = await database.connect(dsn, _SETTINGS)
    try:
        await require_migrated(connection)
        await database.require_durable(connection)
        await connection.execute(_SQL["begin_watermark"], shard)
        async with connection.transaction():
            return connection, await _lock_watermark(connection, shard)
    except database.CONNECTION_ERRORS as error:
        connection.terminate()
        raise database.as_ledger_error(error) from error
    except BaseException:
        connection.terminate()
        raise


async def settle(connection: Connection, shard: str, deliveries: Sequence[v1.Events]) -> Settled:
    """Settles consecutive deliveries, all or nothing. Returning means committed.

    Raises StaleSession or Diverged (nothing was written), or Unavailable: nothing is known.
    """
    try:
        async with connection.transaction():
            batch = settlement.settle(shard, await _lock_watermark(connection, shard), deliveries)
            if batch.replayed_range is not None:
                await _compare(connection, shard, batch)
            await _post(connection, shard, batch)
            moved = batch.watermark
            total = await connection.fetchval(
                _SQL["move_watermark"], shard, moved.session_epoch, moved.seq, batch.trades
            )
    except database.CONNECTION_ERRORS as error:
        raise database.as_ledger_error(error) from error
    return Settled(batch.watermark, batch.trades, total)


async def _lock_watermark(connection: Connection, shard: str) -> Watermark:
    row = await connection.fetchrow(_SQL["lock_watermark"], shard)
    assert row is not None, f"shard {shard} has no watermark row"
    return Watermark(row["session_epoch"], row["seq"])


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
        assets=await _scales(connection, shard, batch.replayed),
    )
    if difference := settlement.contradiction(batch.replayed, stored):
        raise Diverged(f"a duplicate with other content: {difference}")


def _entry(row: asyncpg.Record) -> Entry:
    seq, index, epoch, kind, symbol, at_us, correlation_id, accounts, assets, available, hold, *terms = row
    return Entry(
        seq,
        index,
        epoch,
        kind,
        symbol,
        at_us,
        correlation_id,
        tuple(accounts),
        tuple(assets),
        tuple(available),
        tuple(hold),
        None if terms[0] is None else Trade(*terms),
    )


async def _scales(connection: Connection, shard: str, rows: Rows) -> dict[str, int]:
    if not rows.assets:
        return {}
    settled = await connection.fetch(_SQL["settled_assets"], shard, list(rows.assets))
    return {row["asset"]: row["scale"] for row in settled}


async def _post(connection: Connection, shard: str, batch: Batch) -> None:
    new = batch.new
    if new.assets:
        await connection.execute(_SQL["define_assets"], shard, list(new.assets), list(new.assets.values()))
        if await _scales(connection, shard, new) != new.assets:
            raise Diverged(f"an asset of {', '.join(sorted(new.assets))} was settled with another scale")
    if new.symbols:
        await connection.execute(_SQL["define_symbols"], shard, *_columns(new.symbols))
    if new.checkpoints:
        await connection.execute(_SQL["record_checkpoints"], shard, *_columns(new.checkpoints))
    if new.entries:
        await _copy_entries(connection, shard, new.entries)
    if batch.deltas:
        accounts, assets, available, hold = _columns(batch.deltas)
        deltas = (_int8s(accounts), assets, _int8s(available), _int8s(hold))
        moved = await connection.execute(_SQL["move_balances"], shard, *deltas)
        if moved != f"UPDATE {len(batch.deltas)}":
            await connection.execute(_SQL["open_balances"], shard, *deltas)
    if new.credits:
        posted = {
            row["transfer_id"] for row in await connection.fetch(_SQL["post_transfers"], shard, *_columns(new.credits))
        }
        for credit in new.credits:
            if credit.transfer_id not in posted:
                raise Diverged(
                    f"seq {credit.seq}: the engine credited {credit.amount} {credit.asset} to account {credit.account} "
                    f"for transfer {credit.transfer_id}, which is not pending here for that"
                )


def _columns(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return list(zip(*rows, strict=True))


async def _copy_entries(connection: Connection, shard: str, entries: list[Entry]) -> None:
    try:
        rows = copy_rows.entries(shard, entries)
    except struct.error as error:
        raise Diverged(f"seq {entries[0].seq} to {entries[-1].seq}: a number out of range: {error}") from error
    await connection.copy_to_table(
        "entries", schema_name="ledger", columns=copy_rows.COLUMNS, source=io.BytesIO(rows), format="binary"
    )


def _int8s(values: tuple[object, ...]) -> str:
    """As PostgreSQL writes an array: for the driver a text is one value, a list is a value each."""
    return "{" + ",".join(map(str, values)) + "}"
