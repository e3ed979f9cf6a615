"""Section *orders*: the checks of a PlaceOrder, its acceptance, and what becomes of it."""

from kernel.twin import account_limits, safety, well_formed
from kernel.twin.bands import check_price_band, reference_price
from kernel.twin.ids import check_client_order_id, close
from kernel.twin.matching import End, Reach, cost, lots_for_amount, match, reach, trades_in_full
from kernel.twin.risk import held_asset, needed, release
from kernel.twin.state import (
    AUCTION,
    BUY,
    EXPIRED,
    FOK,
    GTC,
    LIMIT_MAKER,
    MARKET,
    NEW,
    OPEN,
    OTHER,
    TRADING,
    Book,
    Refused,
    State,
    leaves,
)
from kernel.twin.symbol_state import begin_phase, check_new_order, would_trade_at

from openbourse.contracts import v1


def place_order(state: State, place: v1.PlaceOrder) -> v1.OrderResult:
    well_formed.place_order(place, state.version)
    order = v1.Order(
        order_id=state.seq + state.order_ids_ahead,
        client_order_id=place.client_order_id,
        account=place.account,
        symbol=place.symbol,
        side=place.side,
        type=place.type,
        time_in_force=place.time_in_force,
        price_ticks=place.price_ticks,
        quantity_lots=place.quantity_lots,
        quote_units=place.quote_units,
        self_trade_prevention=place.self_trade_prevention,
        status=NEW,
        created_at_us=state.time_us,
        updated_at_us=state.time_us,
    )
    try:
        return accept(state, order)
    except Refused as refused:
        if refused.is_not_remembered:
            raise
        rejected = v1.OrderRejected(
            account=order.account,
            client_order_id=order.client_order_id,
            reason=refused.rejection.reason,
            detail=refused.rejection.detail,
        )
        state.happened(order.symbol if order.symbol in state.books else "", rejected)
        raise


def accept(state: State, order: v1.Order) -> v1.OrderResult:
    book = state.book(order.symbol)
    book.check_here()
    check_new_order(state, book, order)
    if state.version > 1:
        account_limits.check_kill_switch(state, order.account)
        safety.check_throttle(state)
        account_limits.check_order_rate(state, order.account)
        order.fee_schedule = len(book.schedules)
    check_price(state, book, order)
    check_quantity(book, order)
    check_notional(state, book, order)
    check_client_order_id(state, order.account, order.client_order_id)
    if state.version > 1:
        if order.time_in_force == GTC:
            account_limits.check_open_orders(state, book, order)
        check_takes_nothing(book, order)

    within = Reach([], End.SIDE)
    if book.state == TRADING:
        within = reach(state, book, order)
    used_up = True
    if order.quote_units:
        order.quantity_lots, used_up = lots_for_amount(state, book, order, within)
    hold(state, book, order, within)
    if state.version > 1:
        account_limits.count_order(state, order.account)
        safety.count_order(state)
    state.happened(book.symbol, v1.OrderAccepted(order=order))
    if order.time_in_force == FOK and not trades_in_full(order, within):
        expire(state, book, order)
        return v1.OrderResult(order=order)
    return carry_out(state, book, order, within, used_up=used_up)


def carry_out(state: State, book: Book, order: v1.Order, within: Reach, *, used_up: bool) -> v1.OrderResult:
    fills, prices = match(state, book, order, within, used_up=used_up)
    interrupted = within.end == End.BANDS and (leaves(order) > 0 or not used_up)
    rests = leaves(order) > 0 and order.time_in_force == GTC and within.end != End.MATCHES
    if rests:
        book.orders.append(order)
    elif order.status in OPEN:
        expire(state, book, order)
    elif (order.symbol, order.order_id) in state.holds:
        close(state, book, order)
    if interrupted:
        begin_phase(state, book, AUCTION, book.definition.volatility_auction_ms, "volatility interruption")
    state.book_changed(book, OTHER[order.side], prices)
    if rests:
        state.book_changed(book, order.side, [order.price_ticks])
    return v1.OrderResult(order=order, fills=fills)


def hold(state: State, book: Book, order: v1.Order, within: Reach) -> None:
    if order.type != MARKET or order.side != BUY:
        units = needed(state, book, order)
    elif order.quote_units:
        units = order.quote_units
    else:
        units = cost(state, book, order, within)
    asset = held_asset(book, order)
    available = state.available(order.account, asset)
    if available < units:
        raise Refused("INSUFFICIENT_FUNDS", f"needs {units} min-units of {asset}, {available} are available")
    state.holds[order.symbol, order.order_id] = units
    state.move(order.account, asset, -units, units)


def expire(state: State, book: Book, order: v1.Order) -> None:
    order.status = EXPIRED
    order.updated_at_us = state.time_us
    release(state, book, order)
    close(state, book, order)
    state.happened(book.symbol, v1.OrderExpired(order=order))


def check_price(state: State, book: Book, order: v1.Order) -> None:
    if order.type == MARKET:
        return
    least, most = max(book.definition.min_price_ticks, 1), book.definition.max_price_ticks
    if not least <= order.price_ticks <= most:
        raise Refused("PRICE_OUT_OF_RANGE", f"price_ticks: must be {least} to {most}")
    check_price_band(state, book, order)


def check_quantity(book: Book, order: v1.Order) -> None:
    if order.quote_units:
        return
    terms = book.definition
    least, most = max(terms.min_quantity_lots, 1), terms.max_quantity_lots
    if order.type == MARKET:
        most = terms.market_max_quantity_lots or most
    if not least <= order.quantity_lots <= most:
        raise Refused("QUANTITY_OUT_OF_RANGE", f"quantity_lots: must be {least} to {most}")


def check_notional(state: State, book: Book, order: v1.Order) -> None:
    if order.quote_units:
        notional = order.quote_units
    else:
        price = reference_price(state, book) if order.type == MARKET else order.price_ticks
        if price is None:
            return
        notional = book.notional(price, order.quantity_lots)
    least, most = book.definition.min_notional_units, book.definition.max_notional_units
    if notional < least:
        raise Refused("NOTIONAL_TOO_SMALL", f"price times quantity must be at least {least} quote min-units")
    if most != 0 and notional > most:
        raise Refused("NOTIONAL_TOO_LARGE", f"price times quantity must be at most {most} quote min-units")


def check_takes_nothing(book: Book, order: v1.Order) -> None:
    price = would_trade_at(book, order)
    if order.type == LIMIT_MAKER and price is not None:
        raise Refused("WOULD_TAKE", f"the order would trade at {price}")
