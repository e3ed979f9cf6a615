"""Section *state hash*, versions 2 and 3. Every digest is computed from scratch."""

import hashlib
from collections.abc import Iterable

from kernel.twin.encoding import counted, i64, text, u8, u32, u64, u128
from kernel.twin.state import BUY, SELL, Book, Chain, State
from kernel.twin.state_hash_v1 import encoded_fills

from openbourse.contracts import v1


def state_hash(state: State) -> bytes:
    encoded = text(f"openbourse.state.v{state.version}") + text(state.shard)
    encoded += counted((text(asset) + u32(scale)) for asset, scale in sorted(state.assets.items()))
    encoded += counted(encoded_book(book) for book in state.books_by_name())
    encoded += sum_of_digests(encoded_account(state, account) for account in state.accounts())
    encoded += counted(
        text(name)
        + u8(halt.state)
        + counted(text(symbol) for symbol in halt.symbols)
        + text(halt.reason)
        + u64(halt.seq)
        + u64(halt.epoch)
        for name, halt in sorted(state.halts.items())
    )
    encoded += counted(
        u64(account) + text(symbol) + i64(end_us) + (u8(guard) if state.version > 2 else b"")
        for (account, symbol, guard), end_us in sorted(state.countdowns.items())
    )
    for limits in (state.safety.settlement_lag_ms, state.safety.unpublished_commands):
        encoded += u64(limits.throttle) + u64(limits.cancel_only) + u64(limits.halt)
    encoded += u32(state.safety.throttled_orders_per_second)
    encoded += u64(state.lag.settlement_lag_ms) + u64(state.lag.unpublished_commands) + u8(state.safety_level)
    second, orders = state.throttle
    encoded += i64(second) + u32(orders)
    encoded += u64(state.remembered_commands) + encoded_chain(state.replies_chain)
    encoded += u64(state.remembered_orders) + encoded_chain(state.closed_chain)
    encoded += u64(state.remembered_client_order_ids) + encoded_chain(state.closed_ids_chain)
    encoded += u64(state.closed_ids_forgotten)
    if state.version > 2:
        encoded += encoded_moves(state)
    return hashlib.sha256(encoded).digest()


def encoded_moves(state: State) -> bytes:
    from kernel.twin.moves import digest  # noqa: PLC0415 (it encodes what it moves as this module does)

    encoded = u64(state.order_ids_ahead)
    encoded += counted(
        text(book.symbol)
        + (
            u8(1) + book.frozen.move_id + text(book.frozen.to_shard) + book.frozen.record_sha256
            if book.frozen
            else u8(2) + (book.departed or (b"", ""))[0] + text((book.departed or (b"", ""))[1])
        )
        for book in state.books_by_name()
        if book.away
    )
    arriving = state.arriving
    encoded += u8(arriving is not None)
    if arriving is not None:
        encoded += arriving.move_id + text(arriving.from_shard) + u32(arriving.next_part) + u32(arriving.parts)
        encoded += arriving.record_sha256 + digest(arriving.record)
    return encoded + counted(move_id + u8(end) for move_id, end in state.moves_over.items())


def encoded_book(book: Book) -> bytes:
    encoded = encoded_definition(book.definition) + u8(book.phase) + i64(book.phase_end_us) + u8(book.state)
    encoded += u64(book.trades) + u64(book.prevented_matches) + u64(book.updates)
    encoded += i64(book.last_trade_price) + i64(book.auction_price)
    encoded += counted(i64(minute) + u128(value) + u128(lots) for minute, (value, lots) in sorted(book.minutes.items()))
    encoded += counted(u32(fees.maker_ppm) + u32(fees.taker_ppm) + u8(fees.charge) for fees in book.schedules)
    encoded += b"".join(i64(value) for value in book.indicated) + i64(book.uncross_price)
    for side in (BUY, SELL):
        orders = book.side(side)
        encoded += sum_of_digests(map(encoded_resting, orders, [None, *orders]))
    return encoded


def encoded_definition(terms: v1.SymbolDefinition) -> bytes:
    encoded = text(terms.symbol) + text(terms.base_asset) + text(terms.quote_asset)
    encoded += i64(terms.tick_units) + i64(terms.lot_units) + i64(terms.max_price_ticks)
    encoded += i64(terms.max_quantity_lots) + i64(terms.min_notional_units)
    encoded += u32(terms.maker_fee_ppm) + u32(terms.taker_fee_ppm) + u8(terms.fee_charge)
    encoded += i64(terms.min_price_ticks) + i64(terms.min_quantity_lots) + i64(terms.market_max_quantity_lots)
    encoded += i64(terms.max_notional_units) + u8(terms.self_trade_prevention)
    for band in (terms.bid_band, terms.ask_band):
        encoded += u32(band.lowest_ppm) + u32(band.highest_ppm)
    encoded += u32(terms.average_minutes) + u32(terms.market_collar_ppm)
    encoded += u32(terms.static_band_ppm) + u32(terms.dynamic_band_ppm)
    return encoded + i64(terms.volatility_auction_ms) + i64(terms.reference_price_ticks)


def encoded_resting(order: v1.Order, previous: v1.Order | None) -> bytes:
    """Behind the order before it in the queue of its level."""
    is_first = previous is None or previous.price_ticks != order.price_ticks
    return u64(0 if previous is None or is_first else previous.order_id) + encoded_order(order)


def encoded_order(order: v1.Order) -> bytes:
    encoded = u64(order.order_id) + text(order.client_order_id) + u64(order.account) + text(order.symbol)
    encoded += u8(order.side) + u8(order.type) + u8(order.time_in_force) + i64(order.price_ticks)
    encoded += i64(order.quantity_lots) + i64(order.executed_lots) + i64(order.executed_quote_units)
    encoded += u8(order.status) + i64(order.created_at_us) + i64(order.updated_at_us) + i64(order.quote_units)
    return encoded + i64(order.prevented_lots) + u8(order.self_trade_prevention) + u32(order.fee_schedule)


def encoded_account(state: State, account: int) -> bytes:
    configured = state.configuration(account)
    encoded = u64(account)
    encoded += counted(
        text(asset) + i64(available) + i64(hold)
        for (owner, asset), (available, hold) in sorted(state.balances.items())
        if owner == account
    )
    encoded += u64(configured.trade_group) + u32(configured.max_open_orders)
    limits = sorted((limit.asset, limit.amount) for limit in configured.max_open_notional)
    encoded += counted(text(asset) + i64(amount) for asset, amount in limits)
    encoded += u32(configured.max_orders_per_interval) + i64(configured.interval_ms)
    encoded += u8(configured.reuse_client_order_ids)
    interval, orders = state.order_rates.get(account, (0, 0))
    return encoded + i64(interval) + u32(orders) + u8(state.kill_switches.get(account, False))


def encoded_reply(reply: v1.Reply) -> bytes:
    """An entry of the chain of command ids."""
    encoded = reply.command_id + u64(reply.seq) + u64(reply.epoch) + i64(reply.occurred_at_us)
    match reply.WhichOneof("result"):
        case "order":
            return encoded + u8(1) + encoded_result(reply.order)
        case "rejection":
            return encoded + u8(2) + encoded_rejection(reply.rejection)
        case "replaced":
            replaced = reply.replaced
            if replaced.HasField("canceled"):
                encoded += u8(3) + u8(1) + encoded_order(replaced.canceled)
            else:
                encoded += u8(3) + u8(2) + encoded_rejection(replaced.cancel_rejection)
            if replaced.HasField("placed"):
                return encoded + u8(1) + encoded_result(replaced.placed)
            return encoded + u8(2) + encoded_rejection(replaced.place_rejection)
        case "canceled_all":
            return encoded + u8(4) + u32(reply.canceled_all.canceled) + u64(reply.canceled_all.remaining)
        case _:
            return encoded + u8(5)


def encoded_result(result: v1.OrderResult) -> bytes:
    return encoded_order(result.order) + encoded_fills(result)


def encoded_rejection(rejection: v1.Rejection) -> bytes:
    return u32(rejection.reason) + text(rejection.detail)


def encoded_chain(chain: Chain) -> bytes:
    return u64(chain.count) + hashlib.sha256(chain.head + chain.pending).digest()


def sum_of_digests(items: Iterable[bytes]) -> bytes:
    digests = [int.from_bytes(hashlib.sha256(item).digest()[:16], "big") for item in items]
    return u64(len(digests)) + u128(sum(digests) % 2**128)
