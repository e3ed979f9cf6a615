"""What committed events leave in the books, as values. Nothing is decided here."""

import uuid
from dataclasses import dataclass, field
from typing import NamedTuple

from openbourse.ledger.transfers import Direction


class Trade(NamedTuple):
    """What a trade has beyond its legs. The entry's account is the taker, its counter account the maker."""

    trade_id: int
    price_ticks: int
    quantity_lots: int
    quote_units: int
    taker_is_buyer: bool
    maker_order_id: int
    maker_fee_units: int
    maker_fee_asset: str
    taker_order_id: int
    taker_fee_units: int
    taker_fee_asset: str


class Legs(NamedTuple):
    """What an entry moves of one asset. They sum to zero."""

    asset: str
    available: int
    hold: int
    counter_available: int
    counter_hold: int
    # Of the shard's account of fees, which has nothing on hold.
    fees: int


class Entry(NamedTuple):
    """One event that moved money or holds, of one or two assets, between at most two accounts and fees."""

    seq: int
    event_index: int
    epoch: int
    kind: str
    symbol: str
    occurred_at_us: int
    correlation_id: str
    account: int
    counter_account: int | None
    legs: Legs
    # By the name of the asset after `legs`.
    other_legs: Legs | None
    trade: Trade | None


class AssetRow(NamedTuple):
    """An asset, and the seq that defined it."""

    seq: int
    asset: str
    scale: int


class SymbolRow(NamedTuple):
    """A symbol's definition as it holds from `seq` on."""

    seq: int
    event_index: int
    symbol: str
    base_asset: str
    quote_asset: str
    tick_units: int
    lot_units: int
    max_price_ticks: int
    max_quantity_lots: int
    min_notional_units: int
    maker_fee_ppm: int
    taker_fee_ppm: int


class CheckpointRow(NamedTuple):
    """The engine's state hash right after `seq`."""

    seq: int
    event_index: int
    epoch: int
    occurred_at_us: int
    state_hash: bytes


class Posting(NamedTuple):
    """A pending transfer that this event posts."""

    transfer_id: uuid.UUID
    account: int
    asset: str
    amount: int
    seq: int
    event_index: int
    direction: Direction


class Voiding(NamedTuple):
    """A pending withdrawal that the engine refused with this event."""

    transfer_id: uuid.UUID
    account: int
    asset: str
    amount: int
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What a run of events leaves in the books, in the order of the events."""

    entries: list[Entry] = field(default_factory=list)
    symbols: list[SymbolRow] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    voidings: list[Voiding] = field(default_factory=list)
    # By name, as first defined. An asset never changes, so how often it was defined does not matter.
    assets: dict[str, AssetRow] = field(default_factory=dict)
