"""Section *moves*: a symbol that goes to another shard, and one that comes from there."""

import hashlib

from kernel.twin import well_formed
from kernel.twin.encoding import counted, i64, text, u8, u32, u64, u128
from kernel.twin.fees import schedule_of
from kernel.twin.ids import is_recent, take_over
from kernel.twin.risk import held_asset, needed
from kernel.twin.state import (
    BUY,
    EXTERNAL,
    INT64_MAX,
    SELL,
    TRADING,
    Arriving,
    Book,
    FeeSchedule,
    Frozen,
    Refused,
    State,
    copied,
)
from kernel.twin.state_hash import encoded_definition, encoded_order, encoded_reply
from kernel.twin.symbol_state import UNCROSSING, update_state

from openbourse.contracts import v1

ORDERS_MOST, REPLIES_MOST, CLOSED_IDS_MOST = 50_000, 20_000, 100_000
ORDERS_OF_PART, IDS_OF_PART, REPLIES_OF_PART, FILLS_OF_PART = 2_000, 5_000, 1_000, 10_000
DEPARTED, UNDONE, IMPORTED, ABANDONED = 1, 2, 3, 4
IS_OVER = "move_id: is that of a move that is over"
NOT_FROZEN = "move_id: is of no symbol that is frozen"
NO_ROOM = "amount: all deposits together would leave the range of a signed 64-bit integer"


def refuse(what: str) -> None:
    raise Refused("MOVE_REFUSED", what)


def frozen_book(state: State, move_id: bytes) -> Book | None:
    for book in state.books.values():
        if book.frozen is not None and book.frozen.move_id == move_id:
            return book
    return None


def end_move(state: State, move_id: bytes, end: int) -> None:
    state.moves_over[move_id] = end
    if len(state.moves_over) > 1_000:
        del state.moves_over[next(iter(state.moves_over))]


def is_done(state: State, move_id: bytes, end: int) -> bool:
    """Whether it ended like that. Raises Refused where it ended otherwise."""
    over = state.moves_over.get(move_id)
    if over not in (None, end):
        refuse(IS_OVER)
    return over is not None


# At the shard that it leaves


def freeze_symbol(state: State, freeze: v1.FreezeSymbol) -> None:
    well_formed.move_id(freeze.move_id)
    well_formed.symbol(freeze.symbol)
    well_formed.shard(freeze.to_shard, "to_shard")
    if is_done(state, freeze.move_id, DEPARTED):
        return
    book = state.book(freeze.symbol)
    if book.frozen is not None and (book.frozen.move_id, book.frozen.to_shard) == (freeze.move_id, freeze.to_shard):
        return
    book.check_here()
    well_formed.check(freeze.to_shard != state.shard, "to_shard: must be another shard")
    if book.uncross_price:
        raise Refused("INVALID_TRANSITION", UNCROSSING)
    orders = [*book.side(BUY), *book.side(SELL)]
    if len(orders) > ORDERS_MOST:
        refuse("symbol: has more open orders than can move, 50000")
    if frozen_book(state, freeze.move_id) is not None:
        refuse("move_id: is that of another symbol's move")
    record = record_of(state, book, orders)
    told = v1.SymbolFrozen(
        move_id=freeze.move_id,
        to_shard=freeze.to_shard,
        record_sha256=digest(record),
        open_orders=len(orders),
        last_update_id=book.updates,
    )
    state.happened(book.symbol, told)
    for order in orders:
        move_hold(state, book, order, out=True)
        state.happened(book.symbol, v1.OrderDeparted(move_id=freeze.move_id, order=order))
    book.frozen = Frozen(freeze.move_id, freeze.to_shard, record, told.record_sha256)


def undo_freeze(state: State, undo: v1.UndoFreeze) -> None:
    well_formed.move_id(undo.move_id)
    if is_done(state, undo.move_id, UNDONE):
        return
    book = frozen_book(state, undo.move_id)
    if book is not None:
        for order in [*book.side(BUY), *book.side(SELL)]:
            move_hold(state, book, order, out=False)
            state.happened(book.symbol, v1.OrderReturned(move_id=undo.move_id, order=order))
        book.frozen = None
        state.happened(book.symbol, v1.SymbolUnfrozen(move_id=undo.move_id))
    end_move(state, undo.move_id, UNDONE)


def complete_move(state: State, complete: v1.CompleteMove) -> None:
    well_formed.move_id(complete.move_id)
    if is_done(state, complete.move_id, DEPARTED):
        return
    book = frozen_book(state, complete.move_id)
    if book is None:
        raise Refused("MOVE_REFUSED", NOT_FROZEN)
    assert book.frozen is not None
    for order in book.orders:
        del state.holds[order.symbol, order.order_id]
    book.orders = []
    book.phase, book.phase_end_us, book.state, book.indicated = TRADING, 0, TRADING, (0, 0, 0)
    book.departed, book.frozen = (complete.move_id, book.frozen.to_shard), None
    for key in [key for key in state.countdowns if key[1] == book.symbol]:
        del state.countdowns[key]
    state.happened(book.symbol, v1.SymbolDeparted(move_id=complete.move_id, to_shard=book.departed[1]))
    end_move(state, complete.move_id, DEPARTED)


# At the shard that it comes to


def abandon_import(state: State, abandon: v1.AbandonImport) -> None:
    well_formed.move_id(abandon.move_id)
    if is_done(state, abandon.move_id, ABANDONED):
        return
    if state.arriving is not None and state.arriving.move_id == abandon.move_id:
        state.arriving = None
    end_move(state, abandon.move_id, ABANDONED)


def import_symbol(state: State, part: v1.ImportSymbol) -> None:
    well_formed.move_id(part.move_id)
    well_formed.shard(part.from_shard, "from_shard")
    well_formed.check(len(part.record_sha256) == 32, "record_sha256: must be 32 bytes")
    if is_done(state, part.move_id, IMPORTED):
        return
    in_range = 1 <= part.parts <= 1_000 and part.part < part.parts
    well_formed.check(in_range, "part: must be below parts, which are 1 to 1000")
    whose = part.move_id, part.from_shard, part.parts, part.record_sha256
    arriving = state.arriving
    if arriving is None:
        if part.part:
            refuse("part: must be the next one")
        arriving = Arriving(*whose)
    elif whose != (arriving.move_id, arriving.from_shard, arriving.parts, arriving.record_sha256):
        refuse("move_id: another symbol is arriving")
    elif part.part > arriving.next_part:
        refuse("part: must be the next one")
    record = v1.SymbolRecord.FromString(part.record)
    well_formed.check(record.HasField("terms") == (part.part == 0), "record: must have terms in the first part alone")
    if part.part == arriving.next_part:
        arriving.record.MergeFrom(record)
        arriving.next_part += 1
    state.arriving = arriving
    if arriving.next_part == arriving.parts:
        state.arriving = None
        settle_in(state, arriving)
        end_move(state, part.move_id, IMPORTED)


def settle_in(state: State, arriving: Arriving) -> None:
    record, terms = arriving.record, arriving.record.terms
    definition = terms.definition
    check_record(state, arriving)
    u = definition.tick_units * definition.lot_units // 10 ** state.assets[definition.base_asset]
    fresh = Book(definition, u, [])
    book = state.books.setdefault(definition.symbol, fresh)
    book.definition, book.departed, book.state = definition, None, TRADING
    book.schedules = [
        FeeSchedule(fees.maker_fee_ppm, fees.taker_fee_ppm, fees.fee_charge) for fees in terms.fee_schedules
    ]
    book.phase, book.phase_end_us = terms.phase, terms.phase_ends_at_us
    book.trades, book.prevented_matches, book.updates = terms.trades, terms.prevented_matches, terms.updates
    book.last_trade_price, book.auction_price = terms.last_price_ticks, terms.auction_price_ticks
    book.minutes = {
        minute.minute: [
            (minute.price_lots_high << 64) + minute.price_lots_low,
            (minute.lots_high << 64) + minute.lots_low,
        ]
        for minute in terms.minutes
    }
    book.indicated = (0, 0, 0)
    state.order_ids_ahead = max(state.order_ids_ahead, terms.last_order_id - state.seq)
    state.happened(book.symbol, v1.SymbolDefined(definition=definition, fee_schedule=len(book.schedules)))
    imported = v1.SymbolImported(
        move_id=arriving.move_id,
        from_shard=arriving.from_shard,
        record_sha256=arriving.record_sha256,
        open_orders=len(record.orders),
        last_update_id=terms.updates,
        last_trade_id=terms.trades,
        last_prevented_match_id=terms.prevented_matches,
        last_order_id=state.seq + state.order_ids_ahead,
    )
    state.happened(book.symbol, imported)
    for sent in record.orders:
        order = copied(sent)
        state.holds[order.symbol, order.order_id] = needed(state, book, order)
        move_hold(state, book, order, out=False)
        state.happened(book.symbol, v1.OrderArrived(move_id=arriving.move_id, order=order))
        book.orders.append(order)
    remember_all(state, arriving, book)
    update_state(state, book, f"moved from shard {arriving.from_shard}")
    for side in (BUY, SELL):
        state.book_changed(book, side, [order.price_ticks for order in book.side(side)])


def check_record(state: State, arriving: Arriving) -> None:
    record, terms = arriving.record, arriving.record.terms
    if digest(record) != arriving.record_sha256:
        refuse("record: is not the one that was frozen")
    definition = terms.definition
    for asset in (definition.base_asset, definition.quote_asset):
        if asset not in state.assets:
            raise Refused("UNKNOWN_ASSET", f"asset {asset} is not defined")
    scales = state.assets[definition.base_asset], state.assets[definition.quote_asset]
    if scales != (terms.base_scale, terms.quote_scale):
        refuse("record: an asset has another scale here")
    book = state.books.get(definition.symbol)
    if book is not None and book.departed is None:
        refuse("symbol: is here already")
    last = terms.fee_schedules[-1]
    fees = schedule_of(definition)
    if (last.maker_fee_ppm, last.taker_fee_ppm, last.fee_charge) != (fees.maker_ppm, fees.taker_ppm, fees.charge):
        refuse("record: the last fee schedule is not the definition's")
    book = Book(definition, definition.tick_units * definition.lot_units // 10 ** scales[0], [])
    book.schedules = [
        FeeSchedule(each.maker_fee_ppm, each.taker_fee_ppm, each.fee_charge) for each in terms.fee_schedules
    ]
    held: dict[str, int] = {definition.base_asset: 0, definition.quote_asset: 0}
    for order in record.orders:
        held[held_asset(book, order)] += needed(state, book, order)
    for asset, units in held.items():
        if not can_deposit(state, asset, units):
            raise Refused("OVERFLOW", NO_ROOM)


def remember_all(state: State, arriving: Arriving, book: Book) -> None:
    record = arriving.record
    for closed in record.closed_client_order_ids:
        take_over(state, (closed.account, closed.client_order_id, closed.closed_at_us, book.symbol))
    for sent in record.replies:
        if sent.command_id not in state.replies:
            reply = v1.Reply()
            reply.CopyFrom(sent)
            state.remember(reply, book.symbol, (sent.shard, state.seq))
    for countdown in record.countdowns:
        symbol = "" if countdown.of_all_symbols else book.symbol
        key = countdown.account, symbol, countdown.guard
        if symbol or key not in state.countdowns:
            state.countdowns[key] = countdown.end_us


# The funds behind an order, and the record


def move_hold(state: State, book: Book, order: v1.Order, *, out: bool) -> None:
    asset, units = held_asset(book, order), state.holds[order.symbol, order.order_id]
    change = -units if out else units
    state.move(order.account, asset, 0, change)
    state.move(EXTERNAL, asset, -change, 0)


def can_deposit(state: State, asset: str, amount: int) -> bool:
    """Together with what may come back."""
    away = sum(
        state.holds[order.symbol, order.order_id]
        for book in state.books.values()
        if book.frozen is not None
        for order in book.orders
        if held_asset(book, order) == asset
    )
    return amount + away - state.available(EXTERNAL, asset) <= INT64_MAX


def record_of(state: State, book: Book, orders: list[v1.Order]) -> v1.SymbolRecord:
    definition = book.definition
    terms = v1.SymbolTerms(
        definition=definition,
        base_scale=state.assets[definition.base_asset],
        quote_scale=state.assets[definition.quote_asset],
        phase=book.phase,
        phase_ends_at_us=book.phase_end_us,
        trades=book.trades,
        prevented_matches=book.prevented_matches,
        updates=book.updates,
        last_price_ticks=book.last_trade_price,
        auction_price_ticks=book.auction_price,
        last_order_id=state.seq + state.order_ids_ahead,
    )
    low = 2**64 - 1
    for minute, (price_lots, lots) in sorted(book.minutes.items()):
        terms.minutes.add(
            minute=minute,
            price_lots_high=price_lots >> 64,
            price_lots_low=price_lots & low,
            lots_high=lots >> 64,
            lots_low=lots & low,
        )
    for fees in book.schedules:
        terms.fee_schedules.add(maker_fee_ppm=fees.maker_ppm, taker_fee_ppm=fees.taker_ppm, fee_charge=fees.charge)
    record = v1.SymbolRecord(
        terms=terms, orders=orders, base_asset=definition.base_asset, quote_asset=definition.quote_asset
    )
    closed = [entry for entry in state.closed_ids if entry[3] == book.symbol and is_recent(state, entry)]
    for account, client_order_id, closed_at_us, _ in closed[-CLOSED_IDS_MOST:]:
        record.closed_client_order_ids.add(account=account, client_order_id=client_order_id, closed_at_us=closed_at_us)
    owners = {order.account for order in orders}
    for (account, symbol, guard), end_us in sorted(state.countdowns.items()):
        if symbol == book.symbol or (symbol == "" and account in owners):
            record.countdowns.add(account=account, of_all_symbols=symbol == "", guard=guard, end_us=end_us)
    replies = [reply for id_, reply in state.replies.items() if state.reply_symbols[id_] == book.symbol]
    record.replies.extend(replies[-REPLIES_MOST:])
    return record


def digest(record: v1.SymbolRecord) -> bytes:
    terms = record.terms
    encoded = text("openbourse.symbol.v1") + encoded_definition(terms.definition)
    encoded += u32(terms.base_scale) + u32(terms.quote_scale) + u8(terms.phase) + i64(terms.phase_ends_at_us)
    encoded += u64(terms.trades) + u64(terms.prevented_matches) + u64(terms.updates)
    encoded += i64(terms.last_price_ticks) + i64(terms.auction_price_ticks)
    encoded += counted(
        i64(minute.minute)
        + u128((minute.price_lots_high << 64) + minute.price_lots_low)
        + u128((minute.lots_high << 64) + minute.lots_low)
        for minute in terms.minutes
    )
    encoded += counted(
        u32(fees.maker_fee_ppm) + u32(fees.taker_fee_ppm) + u8(fees.fee_charge) for fees in terms.fee_schedules
    )
    encoded += u64(terms.last_order_id)
    encoded += counted(encoded_order(order) for order in record.orders)
    encoded += counted(
        u64(of.account) + text(of.client_order_id) + i64(of.closed_at_us) for of in record.closed_client_order_ids
    )
    encoded += counted(
        u64(of.account) + u8(of.of_all_symbols) + u8(of.guard) + i64(of.end_us) for of in record.countdowns
    )
    encoded += counted(encoded_reply(reply) + text(reply.shard) for reply in record.replies)
    return hashlib.sha256(encoded).digest()


def parts(record: v1.SymbolRecord) -> list[v1.SymbolRecord]:
    """The terms, and then each list in pieces."""
    cut = [v1.SymbolRecord(terms=record.terms)]
    orders, closed, countdowns = record.orders, record.closed_client_order_ids, record.countdowns
    for begin in range(0, len(orders), ORDERS_OF_PART):
        part = v1.SymbolRecord(orders=orders[begin : begin + ORDERS_OF_PART])
        cut.append(part)
    for begin in range(0, len(closed), IDS_OF_PART):
        part = v1.SymbolRecord(closed_client_order_ids=closed[begin : begin + IDS_OF_PART])
        cut.append(part)
    for begin in range(0, len(countdowns), IDS_OF_PART):
        part = v1.SymbolRecord(countdowns=countdowns[begin : begin + IDS_OF_PART])
        cut.append(part)
    piece: list[v1.Reply] = []
    for reply in record.replies:
        fills = sum(len(each.order.fills) + len(each.replaced.placed.fills) for each in (*piece, reply))
        if piece and (len(piece) == REPLIES_OF_PART or fills > FILLS_OF_PART):
            cut.append(v1.SymbolRecord(replies=piece))
            piece = []
        piece.append(reply)
    if piece:
        cut.append(v1.SymbolRecord(replies=piece))
    for part in cut:
        part.base_asset, part.quote_asset = record.base_asset, record.quote_asset
    return cut


def answer(state: State, asked: v1.SymbolRecordQuery) -> v1.SymbolRecordAnswer:
    well_formed.move_id(asked.move_id)
    book = frozen_book(state, asked.move_id)
    if book is None or book.frozen is None:
        raise Refused("MOVE_REFUSED", NOT_FROZEN)
    cut = parts(book.frozen.record)
    well_formed.check(asked.part < len(cut), "part: must be below the number of parts")
    return v1.SymbolRecordAnswer(record=cut[asked.part], parts=len(cut), record_sha256=book.frozen.record_sha256)
