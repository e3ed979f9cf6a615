"""From committed events to one batch of rows and net balance changes. Pure: events and a watermark in, a Batch out.

The engine decides what moves; this decides what is new, what was settled before, and what cannot be true. What is
in range, balanced and not negative is for the database to enforce, whatever this says.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from openbourse.contracts import v1
from openbourse.contracts.units import FEES_ACCOUNT, INT64_MAX
from openbourse.ledger.accounts import kind_of
from openbourse.ledger.errors import Diverged, StaleSession
from openbourse.ledger.transfers import Direction, reason

_BUY = v1.Side.SIDE_BUY
# Of one entry.
ASSETS_MOST = 2

# Events as the books call them: by their name in the contract, but that a prevented match which made a transfer has a
# name of its own. These move money between accounts, and never come without doing so.
MONEY_KINDS = frozenset({"trade_executed", "match_transferred", "funds_credited", "funds_debited"})
# These move only what is an account's own, between available and hold. All others move nothing.
HOLD_KINDS = frozenset({"order_accepted", "order_amended", "order_canceled", "order_expired", "match_prevented"})


@dataclass(frozen=True, slots=True)
class Watermark:
    """All events up to `seq` are settled; `session_epoch` is the newest leader that any of them came from."""

    session_epoch: int
    seq: int


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


class Delta(NamedTuple):
    """Net change of one balance over a whole batch."""

    account: int
    asset: str
    available: int
    hold: int


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


@dataclass(frozen=True, slots=True)
class Batch:
    """One transaction's worth: `new` is to be posted, `replayed` must be there already with equal content."""

    watermark: Watermark
    new: Rows
    deltas: list[Delta]
    trades: int
    replayed: Rows
    # First and last seq of what was delivered again; None when all is new.
    replayed_range: tuple[int, int] | None


def settle(shard: str, watermark: Watermark, deliveries: Sequence[v1.Events]) -> Batch:
    """The batch for consecutive deliveries of the stream, which may begin at or before the watermark.

    Raises StaleSession, or Diverged with the seq at which the stream and the books part.
    """
    new, replayed = Rows(), Rows()
    session_epoch = watermark.session_epoch
    next_seq = deliveries[0].first_seq
    if next_seq > watermark.seq + 1:
        raise Diverged(f"gap: settled through seq {watermark.seq}, but the stream goes on at {next_seq}")
    for delivery in deliveries:
        if delivery.epoch < session_epoch:
            raise StaleSession(f"events of epoch {delivery.epoch} after events of epoch {session_epoch}")
        session_epoch = delivery.epoch
        if delivery.first_seq != next_seq or delivery.last_seq < delivery.first_seq:
            raise Diverged(f"gap: expected seq {next_seq}, got {delivery.first_seq} to {delivery.last_seq}")
        next_seq = delivery.last_seq + 1
        last = (delivery.first_seq, -1)
        for event in delivery.events:
            key = (event.seq, event.index)
            if event.shard != shard or key <= last or event.seq >= next_seq:
                raise Diverged(f"event {event.event_id!r} does not belong between {last} and seq {next_seq}")
            last = key
            _record(event, new if event.seq > watermark.seq else replayed)
    first, final = deliveries[0].first_seq, next_seq - 1
    return Batch(
        watermark=Watermark(session_epoch, max(watermark.seq, final)),
        new=new,
        deltas=net(new.entries),
        trades=sum(entry.trade is not None for entry in new.entries),
        replayed=replayed,
        replayed_range=(first, min(final, watermark.seq)) if first <= watermark.seq else None,
    )


def _record(event: v1.Event, rows: Rows) -> None:
    kind = _kind(event)
    if event.movements:
        if kind not in MONEY_KINDS:
            _require_only_holds(event, kind)
        rows.entries.append(_entry(event, kind))
    elif kind in MONEY_KINDS:
        raise Diverged(f"seq {event.seq}: {kind} without a movement")
    match kind:
        case "funds_credited":
            rows.postings.append(_posting(event, event.funds_credited, Direction.DEPOSIT))
        case "funds_debited":
            rows.postings.append(_posting(event, event.funds_debited, Direction.WITHDRAWAL))
        case "funds_debit_rejected":
            rows.voidings.append(_voiding(event))
        case "asset_defined":
            asset = event.asset_defined
            first = rows.assets.setdefault(asset.asset, AssetRow(event.seq, asset.asset, asset.scale))
            if first.scale != asset.scale:
                raise Diverged(f"seq {event.seq}: asset {asset.asset} changes its scale")
        case "symbol_defined":
            rows.symbols.append(_symbol(event))
        case "engine_checkpoint":
            rows.checkpoints.append(
                CheckpointRow(
                    event.seq, event.index, event.epoch, event.occurred_at_us, event.engine_checkpoint.state_hash
                )
            )


def _kind(event: v1.Event) -> str:
    body = event.WhichOneof("body")
    if body is None:
        raise Diverged(f"seq {event.seq}: an event that this ledger does not know; upgrade it")
    if body == "match_prevented" and event.match_prevented.transferred_lots:
        return "match_transferred"
    return body


def _require_only_holds(event: v1.Event, kind: str) -> None:
    if kind not in HOLD_KINDS:
        raise Diverged(f"seq {event.seq}: {kind} moves money, which this ledger does not know of; upgrade it")
    for movement in event.movements:
        if movement.available_change + movement.hold_change:
            raise Diverged(f"seq {event.seq}: {kind} moves {movement.asset} out of or into account {movement.account}")


def _entry(event: v1.Event, kind: str) -> Entry:
    movements = event.movements
    account: int | None
    counter_account: int | None
    if kind == "trade_executed":
        executed = event.trade_executed
        account, counter_account = executed.taker.account, executed.maker.account
        trade = _trade(executed)
    else:
        accounts = sorted({m.account for m in movements} - {FEES_ACCOUNT})
        account, counter_account = (*accounts, None, None)[:2]
        trade = None
    sums: dict[str, list[int]] = {}
    for m in movements:
        amounts = sums.get(m.asset)
        if amounts is None:
            amounts = sums[m.asset] = [0, 0, 0, 0, 0]
        moved = m.account
        if moved == account:
            amounts[0] += m.available_change
            amounts[1] += m.hold_change
        elif moved == counter_account:
            amounts[2] += m.available_change
            amounts[3] += m.hold_change
        elif moved == FEES_ACCOUNT and not m.hold_change:
            amounts[4] += m.available_change
        else:
            raise Diverged(f"seq {event.seq}: {kind} moves {m.asset} of account {moved} in a way that has no column")
    if account is None or len(sums) > ASSETS_MOST:
        raise Diverged(f"seq {event.seq}: {kind} moves {', '.join(sums)} of {account}: more or less than an entry can")
    legs = [Legs(asset, *sums[asset]) for asset in sorted(sums)]
    return Entry(
        event.seq,
        event.index,
        event.epoch,
        kind,
        event.symbol,
        event.occurred_at_us,
        event.correlation_id,
        account,
        counter_account,
        legs[0],
        legs[1] if len(legs) == ASSETS_MOST else None,
        trade,
    )


def _trade(trade: v1.TradeExecuted) -> Trade:
    maker, taker = trade.maker, trade.taker
    return Trade(
        trade.trade_id,
        trade.price_ticks,
        trade.quantity_lots,
        trade.quote_units,
        trade.taker_side == _BUY,
        maker.order_id,
        maker.fee_units,
        maker.fee_asset,
        taker.order_id,
        taker.fee_units,
        taker.fee_asset,
    )


def _posting(event: v1.Event, funds: v1.FundsCredited | v1.FundsDebited, direction: Direction) -> Posting:
    transfer_id = _transfer_id(event, funds.transfer_id)
    return Posting(transfer_id, funds.account, funds.asset, funds.amount, event.seq, event.index, direction)


def _voiding(event: v1.Event) -> Voiding:
    rejected = event.funds_debit_rejected
    transfer_id = _transfer_id(event, rejected.transfer_id)
    why = reason(rejected.reason, rejected.detail)
    return Voiding(transfer_id, rejected.account, rejected.asset, rejected.amount, event.seq, why)


def _transfer_id(event: v1.Event, text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Diverged(
            f"seq {event.seq}: transfer {text[:60]!r} was not made by this ledger, its ids are UUIDs"
        ) from None


def _symbol(event: v1.Event) -> SymbolRow:
    d = event.symbol_defined.definition
    return SymbolRow(
        event.seq,
        event.index,
        d.symbol,
        d.base_asset,
        d.quote_asset,
        d.tick_units,
        d.lot_units,
        d.max_price_ticks,
        d.max_quantity_lots,
        d.min_notional_units,
        d.maker_fee_ppm,
        d.taker_fee_ppm,
    )


def net(entries: Sequence[Entry]) -> list[Delta]:
    """One change for each balance that moves, by account, then asset. Raises Diverged for what cannot be a balance."""
    sums: dict[tuple[int, str], list[int]] = {}

    def add(account: int, asset: str, available: int, hold: int) -> None:
        change = sums.get((account, asset))
        if change is None:
            sums[account, asset] = [available, hold]
        else:
            change[0] += available
            change[1] += hold

    for entry in entries:
        account, counter_account = entry.account, entry.counter_account
        for legs in (entry.legs, entry.other_legs):
            if legs is None:
                continue
            asset, available, hold, counter_available, counter_hold, fees = legs
            add(account, asset, available, hold)
            if counter_account is not None:
                add(counter_account, asset, counter_available, counter_hold)
            if fees:
                add(FEES_ACCOUNT, asset, fees, 0)
    for (account, asset), (available, hold) in sums.items():
        if kind_of(account) is None:
            raise Diverged(f"through seq {entries[-1].seq}: account {account} cannot exist")
        if not -INT64_MAX <= available <= INT64_MAX or not -INT64_MAX <= hold <= INT64_MAX:
            raise Diverged(f"through seq {entries[-1].seq}: {asset} of account {account} leaves the range of 64 bits")
    return [Delta(account, asset, *change) for (account, asset), change in sorted(sums.items()) if any(change)]


def contradiction(expected: Rows, stored: Rows) -> str | None:
    """Where a delivery that came again differs from what was settled the first time, or None."""
    for kind, again, first in (
        ("entry", expected.entries, stored.entries),
        ("definition", expected.symbols, stored.symbols),
        ("checkpoint", expected.checkpoints, stored.checkpoints),
    ):
        if again != first:
            there, here = {row[:2]: row for row in first}, {row[:2]: row for row in again}
            seq, index = min(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
            return f"seq {seq} index {index}: {kind} settled as {there.get((seq, index))}, now {here.get((seq, index))}"
    for asset, again_defined in expected.assets.items():
        settled = stored.assets.get(asset)
        if settled is None or settled.scale != again_defined.scale:
            return f"seq {again_defined.seq}: asset {asset} settled as {settled}, now {again_defined}"
    return None
