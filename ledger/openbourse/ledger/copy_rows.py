"""Rows as the tuples of PostgreSQL's binary COPY: what is sent for entries, and what the chain hashes of everything.

A driver that encodes value by value spends more on a trade than the server does; this packs a row in a few calls.
Integers out of range raise struct.error, before anything is sent. Pure: rows in, bytes out.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from openbourse.ledger.chain import COPY_HEADER, COPY_TRAILER
from openbourse.ledger.rows import AssetRow, CheckpointRow, Entry, Legs, Posting, SymbolRow, Trade

# In the order in which `entries` writes them, which is that of the query `entries` in sql/chain.sql.
COLUMNS = (
    *("seq", "epoch", "occurred_at_us", "index", "account"),
    *("available", "hold", "counter_available", "counter_hold", "fees", "counter_account"),
    *("other_available", "other_hold", "other_counter_available", "other_counter_hold", "other_fees"),
    *("trade_id", "price_ticks", "quantity_lots", "quote_units"),
    *("maker_order_id", "maker_fee_units", "taker_order_id", "taker_fee_units", "taker_is_buyer"),
    *("kind", "shard", "symbol", "asset", "other_asset", "maker_fee_asset", "taker_fee_asset", "correlation_id"),
)

# A field is its length and its bytes; a length of -1 is NULL.
_KEY = struct.Struct(">h" + "iq" * 3 + "ii" + "iq" * 6)
_OTHER = struct.Struct(">" + "iq" * 5)
_TERMS = struct.Struct(">" + "iq" * 8 + "i?")
_NULL = struct.pack(">i", -1)
_NO_OTHER = _NULL * 5
_NO_TERMS = _NULL * 9


def entries(shard: str, rows: Sequence[Entry]) -> bytes:
    """All rows, as `COPY ledger.entries (COLUMNS) FROM STDIN (FORMAT binary)` takes them between header and trailer.

    Raises struct.error.
    """
    parts: list[bytes] = []
    width = len(COLUMNS)
    for seq, index, epoch, kind, symbol, at_us, correlation_id, account, counter, legs, other, trade in rows:
        asset, available, hold, counter_available, counter_hold, fees = legs
        correlation = correlation_id.encode()
        parts += (
            _KEY.pack(
                *(width, 8, seq, 8, epoch, 8, at_us, 4, index, 8, account, 8, available, 8, hold),
                *(8, counter_available, 8, counter_hold, 8, fees),
            ),
            _NULL if counter is None else _int8(counter),
            _NO_OTHER if other is None else _other(other),
            _NO_TERMS if trade is None else _terms(trade),
            _names(
                *(kind, shard, symbol, asset, None if other is None else other.asset),
                *((None, None) if trade is None else (trade.maker_fee_asset, trade.taker_fee_asset)),
            ),
            len(correlation).to_bytes(4, "big"),
            correlation,
        )
    return b"".join(parts)


def _other(legs: Legs) -> bytes:
    _, available, hold, counter_available, counter_hold, fees = legs
    return _OTHER.pack(8, available, 8, hold, 8, counter_available, 8, counter_hold, 8, fees)


def _terms(t: Trade) -> bytes:
    return _TERMS.pack(
        *(8, t.trade_id, 8, t.price_ticks, 8, t.quantity_lots, 8, t.quote_units),
        *(8, t.maker_order_id, 8, t.maker_fee_units, 8, t.taker_order_id, 8, t.taker_fee_units),
        *(1, t.taker_is_buyer),
    )


@lru_cache(maxsize=4096)
def _names(*names: str | None) -> bytes:
    """Names are few and come again and again."""
    return b"".join(_NULL if name is None else _text(name) for name in names)


def framed(tuples: bytes) -> bytes:
    """Tuples as a whole COPY."""
    return COPY_HEADER + tuples + COPY_TRAILER


def assets(shard: str, rows: Iterable[AssetRow]) -> bytes:
    """In the order of the query `assets`."""
    ordered = sorted((row.seq, row.asset.encode(), row.scale) for row in rows)
    return b"".join(
        _tuple(_int8(seq), _text(shard), _field(asset), _field(struct.pack(">h", scale)))
        for seq, asset, scale in ordered
    )


def symbols(shard: str, rows: Sequence[SymbolRow]) -> bytes:
    return b"".join(
        _tuple(
            *(_int8(row.seq), _int4(row.event_index)),
            *map(_text, (shard, row.symbol, row.base_asset, row.quote_asset)),
            *map(_int8, (row.tick_units, row.lot_units, row.max_price_ticks, row.max_quantity_lots)),
            _int8(row.min_notional_units),
            *map(_int4, (row.maker_fee_ppm, row.taker_fee_ppm)),
        )
        for row in rows
    )


def checkpoints(shard: str, rows: Sequence[CheckpointRow]) -> bytes:
    return b"".join(
        _tuple(
            *(_int8(row.seq), _int4(row.event_index), _text(shard)),
            *(_int8(row.epoch), _int8(row.occurred_at_us), _field(row.state_hash)),
        )
        for row in rows
    )


def transfers(shard: str, rows: Sequence[tuple[Posting, str]]) -> bytes:
    """Posted transfers, each with who had asked for it."""
    return b"".join(
        _tuple(
            *(_int8(row.seq), _int4(row.event_index), _text(shard), _field(row.transfer_id.bytes)),
            *(_int8(row.account), _text(row.asset), _int8(row.amount), _text(requested_by)),
        )
        for row, requested_by in rows
    )


def _tuple(*fields: bytes) -> bytes:
    return struct.pack(">h", len(fields)) + b"".join(fields)


def _field(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _int8(value: int) -> bytes:
    return struct.pack(">iq", 8, value)


def _int4(value: int) -> bytes:
    return struct.pack(">ii", 4, value)


def _text(text: str) -> bytes:
    return _field(text.encode())
