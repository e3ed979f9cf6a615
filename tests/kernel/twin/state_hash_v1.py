"""The state hash of version 1, and what its chains are made of."""

import hashlib

from kernel.twin.encoding import counted, i64, text, u8, u32, u64
from kernel.twin.state import BUY, SELL, Book, State

from openbourse.contracts import v1


def state_hash(state: State) -> bytes:
    encoded = text("openbourse.state.v1") + text(state.shard)
    encoded += counted((text(asset) + u32(scale)) for asset, scale in sorted(state.assets.items()))
    encoded += counted(encoded_book(book) for book in state.books_by_name())
    encoded += counted(
        u64(account) + text(asset) + i64(available) + i64(hold)
        for (account, asset), (available, hold) in sorted(state.balances.items())
    )
    encoded += counted(
        text(name)
        + u8(halt.state)
        + counted(text(symbol) for symbol in halt.symbols)
        + text(halt.reason)
        + u64(halt.seq)
        + u64(halt.epoch)
        for name, halt in sorted(state.halts.items())
    )
    encoded += u64(state.remembered_commands) + u64(state.replies_chain.count) + state.replies_chain.head
    encoded += u64(state.remembered_orders) + u64(state.closed_chain.count) + state.closed_chain.head
    return hashlib.sha256(encoded).digest()


def encoded_book(book: Book) -> bytes:
    terms = book.definition
    encoded = text(terms.symbol) + text(terms.base_asset) + text(terms.quote_asset)
    encoded += i64(terms.tick_units) + i64(terms.lot_units) + i64(terms.max_price_ticks)
    encoded += i64(terms.max_quantity_lots) + i64(terms.min_notional_units)
    encoded += u32(terms.maker_fee_ppm) + u32(terms.taker_fee_ppm)
    encoded += u8(book.state) + u64(book.trades) + u64(book.updates)
    return encoded + b"".join(counted(map(encoded_order, book.side(side))) for side in (BUY, SELL))


def encoded_order(order: v1.Order) -> bytes:
    encoded = u64(order.order_id) + text(order.client_order_id) + u64(order.account) + text(order.symbol)
    encoded += u8(order.side) + u8(order.time_in_force) + i64(order.price_ticks) + i64(order.quantity_lots)
    encoded += i64(order.executed_lots) + i64(order.executed_quote_units) + u8(order.status)
    return encoded + i64(order.created_at_us) + i64(order.updated_at_us)


def encoded_reply(reply: v1.Reply) -> bytes:
    entry = reply.command_id + u64(reply.seq) + u64(reply.epoch) + i64(reply.occurred_at_us)
    if reply.HasField("order"):
        return entry + u8(1) + encoded_order(reply.order.order) + encoded_fills(reply.order)
    if reply.HasField("rejection"):
        return entry + u8(2) + u32(reply.rejection.reason) + text(reply.rejection.detail)
    return entry + u8(3)


def encoded_fills(result: v1.OrderResult) -> bytes:
    return counted(
        u64(fill.trade_id)
        + i64(fill.price_ticks)
        + i64(fill.quantity_lots)
        + i64(fill.quote_units)
        + i64(fill.fee_units)
        + text(fill.fee_asset)
        for fill in result.fills
    )
