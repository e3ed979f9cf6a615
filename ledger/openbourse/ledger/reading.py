"""From one delivery of the stream to the rows that it leaves in the books, and their bytes. Pure.

Most of what a settlement costs outside of the database is here, and none of it needs to know how far the shard is
settled: a delivery can be read while those before it are on their way.
"""

import struct
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.contracts.units import FEES_ACCOUNT
from openbourse.ledger import copy_rows, netting
from openbourse.ledger.accounts import kind_of
from openbourse.ledger.errors import Diverged
from openbourse.ledger.netting import Changes
from openbourse.ledger.rows import AssetRow, CheckpointRow, Entry, Legs, Posting, Rows, SymbolRow, Trade, Voiding
from openbourse.ledger.transfers import Direction, reason

_BUY = v1.Side.SIDE_BUY
# Of one entry.
ASSETS_MOST = 2

# Events as the books call them: by their name in the contract, but that a prevented match which made a transfer has a
# name of its own. These move money between accounts, and never come without doing so.
# Of a symbol that goes to another shard or comes from there: between a trader's hold and what is outside of the shard.
_OF_SYMBOLS_THAT_MOVE = frozenset({"order_departed", "order_returned", "order_arrived"})
MONEY_KINDS = _OF_SYMBOLS_THAT_MOVE | {"trade_executed", "match_transferred", "funds_credited", "funds_debited"}
# These move only what is an account's own, between available and hold. All others move nothing.
HOLD_KINDS = frozenset({"order_accepted", "order_amended", "order_canceled", "order_expired", "match_prevented"})


# Events between two pauses of a reading, in which whoever waits for the database goes on.
EVENTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run of events leaves in the books. `tuples`: its entries, as a binary COPY has them."""

    rows: Rows
    tuples: bytes
    changes: Changes


class Delivery:
    """One delivery of the stream. It is read once, ahead of its turn or in it."""

    __slots__ = ("_reading", "message")

    def __init__(self, message: v1.Events) -> None:
        self.message = message
        self._reading: Reading | None = None

    def ahead(self, shard: str) -> Iterator[None]:
        """Reads it, with a pause after every few events. What cannot be read is refused when its turn has come."""
        try:
            self._reading = yield from _read(shard, self.message, 0, self.message.last_seq)
        except Diverged:
            return

    def read(self, shard: str) -> Reading:
        """All of it. Raises Diverged."""
        if self._reading is None:
            self._reading = _at_once(_read(shard, self.message, 0, self.message.last_seq))
        return self._reading

    def split(self, shard: str, seq: int) -> tuple[Reading, Reading]:
        """Through `seq`, and after it. Raises Diverged."""
        message = self.message
        return _at_once(_read(shard, message, 0, seq)), _at_once(_read(shard, message, seq, message.last_seq))


def _at_once(reading: Generator[None, None, Reading]) -> Reading:
    while True:
        try:
            next(reading)
        except StopIteration as end:
            read: Reading = end.value
            return read


def _read(shard: str, message: v1.Events, after: int, through: int) -> Generator[None, None, Reading]:
    """The events of a delivery from behind `after` through `through`."""
    rows = Rows()
    tuples: list[bytes] = []
    changes: Changes = {}
    done = 0
    first_seq, last_seq = message.first_seq, message.last_seq
    last = (first_seq, -1)
    for number, event in enumerate(message.events, start=1):
        key = (event.seq, event.index)
        if event.shard != shard or key <= last or event.seq > last_seq:
            raise Diverged(f"event {event.event_id!r} does not belong between {last} and seq {last_seq + 1}")
        last = key
        if after < event.seq <= through:
            _record(event, rows)
        if number % EVENTS_AT_ONCE == 0:
            _finish(shard, rows.entries[done:], tuples, changes)
            done = len(rows.entries)
            yield
    _finish(shard, rows.entries[done:], tuples, changes)
    return Reading(rows, b"".join(tuples), changes)


def _finish(shard: str, entries: Sequence[Entry], tuples: list[bytes], changes: Changes) -> None:
    tuples.append(_packed(shard, entries))
    netting.add(changes, entries)


def _packed(shard: str, entries: Sequence[Entry]) -> bytes:
    try:
        return copy_rows.entries(shard, entries)
    except struct.error as error:
        for entry in entries:
            for account in (entry.account, entry.counter_account):
                if account is not None and kind_of(account) is None:
                    raise Diverged(f"seq {entry.seq}: account {account} cannot exist") from error
        raise Diverged(f"seq {entries[0].seq} to {entries[-1].seq}: a number out of range: {error}") from error


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
