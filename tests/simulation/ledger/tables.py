"""What a shard's books hold and what each statement of a settlement does to them, as PostgreSQL would. Pure.

The guards that the settler relies on are here too: unique keys, balances that are not negative, a watermark that only
goes forward and only with its batch. `tests/ledger/test_simulated_postgres.py` holds all of it against a real server.
"""

import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg

from openbourse.ledger import chain, copy_rows, queries

SQL = queries.load("settle.sql")
# The database has its own.
HEAD = chain.head
COPY_ENTRIES = "COPY ledger.entries"

_ENTRY = (
    *("seq", "index", "epoch", "kind", "symbol", "occurred_at_us", "correlation_id", "account", "counter_account"),
    *("asset", "available", "hold", "counter_available", "counter_hold", "fees"),
    *("other_asset", "other_available", "other_hold", "other_counter_available", "other_counter_hold", "other_fees"),
    *("trade_id", "price_ticks", "quantity_lots", "quote_units", "taker_is_buyer"),
    *("maker_order_id", "maker_fee_units", "maker_fee_asset", "taker_order_id", "taker_fee_units", "taker_fee_asset"),
)
_TEXTS = frozenset(copy_rows.COLUMNS[25:])
_FUNDS = ("funds_credited", "funds_debited")


class Row(tuple[Any, ...]):
    """Values by place, and by name where they have one."""

    names: tuple[str, ...]

    def __new__(cls, names: Sequence[str], values: Sequence[Any]) -> "Row":
        row = super().__new__(cls, values)
        row.names = tuple(names)
        return row

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement says: its rows, or how many it wrote; and what the server adds to that."""

    rows: list[Row] = field(default_factory=list)
    status: str = ""
    warning: str = ""


class Mark(NamedTuple):
    """The watermark's row."""

    session_epoch: int
    seq: int
    batch: int
    head: bytes
    trades: int


class Transfer(NamedTuple):
    """One that somebody asked for; `decided` is the seq and index that posted it."""

    direction: str
    account: int
    asset: str
    amount: int
    state: str
    reason: str = ""
    decided: tuple[int, int] | None = None


@dataclass
class Tables:
    """The books of one shard at one moment."""

    mark: Mark | None = None
    entries: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    symbols: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    assets: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    balances: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    transfers: dict[uuid.UUID, Transfer] = field(default_factory=dict)
    batches: dict[int, chain.BatchRow] = field(default_factory=dict)

    def copy(self) -> "Tables":
        parts = (self.entries, self.symbols, self.checkpoints, self.assets, self.balances, self.transfers, self.batches)
        return Tables(self.mark, *(dict(part) for part in parts))  # type: ignore[arg-type]


def refused(sqlstate: str, sentence: str) -> asyncpg.PostgresError:
    """As the driver raises what the server says."""
    error: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": sqlstate, "M": sentence})
    return error


def _check(table: str, name: str) -> asyncpg.PostgresError:
    return refused("23514", f'new row for relation "{table}" violates check constraint "{name}"')


def _require_new(tables: Tables, table: str, seqs: Sequence[int]) -> None:
    mark = tables.mark
    assert mark is not None
    if seqs and min(seqs) <= mark.seq:
        raise refused("OB005", f"a row of ledger.{table} at seq {min(seqs)}, which is settled through {mark.seq}")


def _insert(tables: Tables, name: str, rows: Sequence[tuple[Any, ...]]) -> Answer:
    table: dict[tuple[int, int], tuple[Any, ...]] = getattr(tables, name)
    for row in rows:
        if row[:2] in table:
            raise refused("23505", f'duplicate key value violates unique constraint "{name}_pkey"')
        table[row[:2]] = row
    _require_new(tables, name, [row[0] for row in rows])
    return Answer(status=f"INSERT 0 {len(rows)}")


def begin_watermark(tables: Tables, shard: str) -> Answer:
    if tables.mark is not None:
        return Answer(status="INSERT 0 0")
    tables.mark = Mark(0, 0, 0, chain.NO_HEAD, 0)
    return Answer(status="INSERT 0 1")


def lock_watermark(tables: Tables, shard: str) -> Answer:
    names = ("session_epoch", "seq", "batch", "head")
    return Answer([] if tables.mark is None else [Row(names, tables.mark[:4])])


def settled_entries(tables: Tables, shard: str, first: int, last: int) -> Answer:
    rows = sorted((key, row) for key, row in tables.entries.items() if first <= key[0] <= last)
    return Answer([Row(_ENTRY, [row[name] for name in _ENTRY]) for _, row in rows])


def _between(name: str) -> Callable[..., Answer]:
    def select(tables: Tables, shard: str, first: int, last: int) -> Answer:
        return Answer([Row((), row) for key, row in sorted(getattr(tables, name).items()) if first <= key[0] <= last])

    return select


def settled_assets(tables: Tables, shard: str, names: list[str]) -> Answer:
    found = [tables.assets[name] for name in names if name in tables.assets]
    return Answer([Row(("seq", "asset", "scale"), row) for row in found])


def define_assets(tables: Tables, shard: str, *columns: tuple[Any, ...]) -> Answer:
    added = [row for row in zip(*columns, strict=True) if row[1] not in tables.assets]
    for row in added:
        tables.assets[row[1]] = row
    _require_new(tables, "assets", [row[0] for row in added])
    return Answer(status=f"INSERT 0 {len(added)}")


def copy_entries(tables: Tables, shard: str, data: bytes) -> Answer:
    rows = decode(data)
    for row in rows:
        legs = [[row[p + n] or 0 for n in _LEGS] for p in ("", "other_")]
        if any(map(sum, legs)):
            raise _check("entries", "entries_are_balanced")
        key = (row["seq"], row["index"])
        if key in tables.entries:
            raise refused("23505", 'duplicate key value violates unique constraint "entries_pkey"')
        tables.entries[key] = row
    _require_new(tables, "entries", [row["seq"] for row in rows])
    return Answer(status=f"COPY {len(rows)}")


_LEGS = ("available", "hold", "counter_available", "counter_hold", "fees")


def _deltas(accounts: str, assets: tuple[str, ...], available: str, hold: str) -> list[tuple[int, str, int, int]]:
    numbers = [[int(n) for n in text.strip("{}").split(",")] for text in (accounts, available, hold)]
    return list(zip(numbers[0], assets, numbers[1], numbers[2], strict=True))


def _keep(tables: Tables, account: int, asset: str, available: int, hold: int) -> None:
    if hold < 0 or (available < 0 and account != 2):
        raise _check("balances", "balances_are_not_negative")
    tables.balances[account, asset] = (available, hold)


def move_balances(tables: Tables, shard: str, *columns: Any) -> Answer:
    moved = 0
    for account, asset, available, hold in _deltas(*columns):
        kept = tables.balances.get((account, asset))
        if kept is not None:
            _keep(tables, account, asset, kept[0] + available, kept[1] + hold)
            moved += 1
    return Answer(status=f"UPDATE {moved}")


def open_balances(tables: Tables, shard: str, *columns: Any) -> Answer:
    new = [delta for delta in _deltas(*columns) if delta[:2] not in tables.balances]
    for delta in new:
        _keep(tables, *delta)
    # References are looked at when the statement is over.
    if any(asset not in tables.assets for _, asset, _, _ in new):
        raise refused("23503", 'insert on table "balances" violates foreign key constraint "balances_shard_asset_fkey"')
    return Answer(status=f"INSERT 0 {len(new)}")


def post_transfers(tables: Tables, shard: str, *columns: tuple[Any, ...]) -> Answer:
    rows = []
    for transfer_id, account, asset, amount, seq, index, direction in zip(*columns, strict=True):
        known = tables.transfers.get(transfer_id)
        if known is None or known[:5] != (str(direction), account, asset, amount, "pending"):
            continue
        tables.transfers[transfer_id] = known._replace(state="posted", decided=(seq, index))
        rows.append(Row(("transfer_id", "requested_by"), (transfer_id, "test")))
    return Answer(rows)


def void_transfers(tables: Tables, shard: str, *columns: tuple[Any, ...]) -> Answer:
    rows = []
    for transfer_id, account, asset, amount, reason in zip(*columns, strict=True):
        known = tables.transfers.get(transfer_id)
        if known is None or known[:4] != ("withdrawal", account, asset, amount) or known.state == "posted":
            continue
        if known.state == "pending":
            tables.transfers[transfer_id] = known._replace(state="voided", reason=reason)
        rows.append(Row(("transfer_id",), (transfer_id,)))
    return Answer(rows)


def close_batch(tables: Tables, shard: str, *values: Any) -> Answer:
    *rest, head, trades = values
    row = chain.BatchRow(shard, *rest)
    mark = tables.mark
    assert mark is not None
    if (row.batch, row.first_seq) != (mark.batch + 1, mark.seq + 1):
        raise refused("OB005", f"batch {row.batch} does not follow batch {mark.batch}, which ends at seq {mark.seq}")
    if head != HEAD(mark.head, row):
        raise refused("OB005", f"batch {row.batch}: its head is not the hash over the head before it and this row")
    found = sum(row.first_seq <= seq <= row.last_seq for seq, _ in tables.entries)
    if row.entries != found:
        raise refused("OB005", f"batch {row.batch} has {row.entries} entries, but its seqs have {found}")
    _move(tables, Mark(row.session_epoch, row.last_seq, row.batch, head, mark.trades + trades))
    tables.batches[row.batch] = row
    assert tables.mark is not None
    return Answer([Row(("trades",), (tables.mark.trades,))])


def touch_watermark(tables: Tables, shard: str, session_epoch: int) -> Answer:
    assert tables.mark is not None
    _move(tables, tables.mark._replace(session_epoch=session_epoch))
    return Answer([Row(("trades",), (tables.mark.trades,))])


def _move(tables: Tables, to: Mark) -> None:
    mark = tables.mark
    assert mark is not None
    if to.seq < mark.seq:
        raise refused("OB002", f"watermark only moves forward: it is at {mark.seq}")
    if to.session_epoch < mark.session_epoch:
        raise refused("OB003", f"was settled from epoch {mark.session_epoch}, not again from epoch {to.session_epoch}")
    tables.mark = to


def committed(tables: Tables) -> None:
    """What is looked at only when a transaction ends."""
    posted = {transfer.decided for transfer in tables.transfers.values()}
    for key, row in tables.entries.items():
        if row["kind"] in _FUNDS and key not in posted:
            raise refused("OB004", f"seq {key[0]} index {key[1]}: {row['kind']} without a transfer that asked for it")
    if tables.batches and tables.mark is not None and max(tables.batches) != tables.mark.batch:
        raise refused("OB005", f"batch {max(tables.batches)} without its watermark")


def decode(data: bytes) -> list[dict[str, Any]]:
    """The rows of a binary COPY of entries."""
    at, rows = len(chain.COPY_HEADER), []
    while (width := struct.unpack_from(">h", data, at)[0]) >= 0:
        at += 2
        row = {}
        for name in copy_rows.COLUMNS[:width]:
            (length,) = struct.unpack_from(">i", data, at)
            at += 4
            value = data[at : at + max(length, 0)]
            at += max(length, 0)
            row[name] = None if length < 0 else _value(name, value)
        rows.append(row)
    return rows


def _value(name: str, value: bytes) -> Any:
    if name in _TEXTS:
        return value.decode()
    return bool(value[0]) if name == "taker_is_buyer" else int.from_bytes(value, "big", signed=True)


Run = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Statement:
    """`locks`: it waits for the watermark's row. `writes`: its commit waits for the standby."""

    run: Run
    locks: bool = False
    writes: bool = True


STATEMENTS: dict[str, Statement] = {
    SQL["begin_watermark"]: Statement(begin_watermark, locks=True),
    SQL["lock_watermark"]: Statement(lock_watermark, locks=True),
    SQL["settled_entries"]: Statement(settled_entries, writes=False),
    SQL["settled_symbols"]: Statement(_between("symbols"), writes=False),
    SQL["settled_checkpoints"]: Statement(_between("checkpoints"), writes=False),
    SQL["settled_assets"]: Statement(settled_assets, writes=False),
    SQL["define_assets"]: Statement(define_assets),
    SQL["define_symbols"]: Statement(lambda t, _, *c: _insert(t, "symbols", list(zip(*c, strict=True)))),
    SQL["record_checkpoints"]: Statement(lambda t, _, *c: _insert(t, "checkpoints", list(zip(*c, strict=True)))),
    COPY_ENTRIES: Statement(copy_entries),
    SQL["move_balances"]: Statement(move_balances),
    SQL["open_balances"]: Statement(open_balances),
    SQL["post_transfers"]: Statement(post_transfers),
    SQL["void_transfers"]: Statement(void_transfers),
    SQL["close_batch"]: Statement(close_batch, locks=True),
    SQL["touch_watermark"]: Statement(touch_watermark, locks=True),
}
