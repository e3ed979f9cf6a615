"""Rows as the tuples of PostgreSQL's binary COPY: what is sent for entries, and what the chain hashes of everything.

A driver that encodes arrays element by element spends more on a trade than the server does; this packs a row in a
few calls. Integers out of range raise struct.error, before anything is sent. Pure: rows in, bytes out.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from openbourse.ledger.chain import COPY_HEADER, COPY_TRAILER
from openbourse.ledger.settlement import AssetRow, CheckpointRow, Entry, Posting, SymbolRow, Trade

# In the order in which `entries` writes them, which is that of the query `entries` in sql/chain.sql.
COLUMNS = (
    *("seq", "epoch", "occurred_at_us", "index"),
    *("kind", "shard", "symbol", "correlation_id"),
    *("leg_accounts", "leg_assets", "leg_available", "leg_hold"),
    *("trade_id", "price_ticks", "quantity_lots", "quote_units"),
    *("maker_account", "maker_order_id", "maker_fee_units"),
    *("taker_account", "taker_order_id", "taker_fee_units"),
    *("taker_is_buyer", "maker_fee_asset", "taker_fee_asset"),
)

# A field is its length and its bytes; a length of -1 is NULL.
_KEY = struct.Struct(">h" + "iq" * 3 + "ii")
_TERMS = struct.Struct(">" + "iq" * 10 + "i?")
_NO_TERMS = struct.pack(">i", -1) * len(Trade._fields)
_INT8_OID, _TEXT_OID = 20, 25


def entries(shard: str, rows: Sequence[Entry]) -> bytes:
    """All rows, as `COPY ledger.entries (COLUMNS) FROM STDIN (FORMAT binary)` takes them between header and trailer.

    Raises struct.error.
    """
    parts: list[bytes] = []
    for row in rows:
        parts += (
            _KEY.pack(len(COLUMNS), 8, row.seq, 8, row.epoch, 8, row.occurred_at_us, 4, row.event_index),
            _name(row.kind),
            _name(shard),
            _name(row.symbol),
            _text(row.correlation_id),
            _int8_array(row.accounts),
            _text_array(row.assets),
            _int8_array(row.available),
            _int8_array(row.hold),
            _NO_TERMS if row.trade is None else _terms(row.trade),
        )
    return b"".join(parts)


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


def _terms(t: Trade) -> bytes:
    return (
        _TERMS.pack(
            *(8, t.trade_id, 8, t.price_ticks, 8, t.quantity_lots, 8, t.quote_units),
            *(8, t.maker_account, 8, t.maker_order_id, 8, t.maker_fee_units),
            *(8, t.taker_account, 8, t.taker_order_id, 8, t.taker_fee_units),
            *(1, t.taker_is_buyer),
        )
        + _name(t.maker_fee_asset)
        + _name(t.taker_fee_asset)
    )


def _text(text: str) -> bytes:
    return _field(text.encode())


# Names are few and come again and again.
_name = lru_cache(maxsize=1024)(_text)


@lru_cache(maxsize=64)
def _int8_array_format(length: int) -> struct.Struct:
    """Bytes of the whole, dimensions, no NULL, type, length, lower bound; then each element as a field."""
    return struct.Struct(">iiiIii" + "iq" * length)


def _int8_array(values: tuple[int, ...]) -> bytes:
    length = len(values)
    elements = [8] * (2 * length)
    elements[1::2] = values
    return _int8_array_format(length).pack(20 + 12 * length, 1, 0, _INT8_OID, length, 1, *elements)


@lru_cache(maxsize=1024)
def _text_array(texts: tuple[str, ...]) -> bytes:
    elements = b"".join(map(_text, texts))
    return struct.pack(">iiiIii", 20 + len(elements), 1, 0, _TEXT_OID, len(texts), 1) + elements
