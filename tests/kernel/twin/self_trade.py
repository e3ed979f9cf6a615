"""Section *self trade*: when two orders may not trade with each other, and what happens instead."""

from kernel.twin.ids import close
from kernel.twin.risk import exchange, release
from kernel.twin.state import BUY, EXPIRED_IN_MATCH, Book, State, leaves

from openbourse.contracts import v1

Mode = v1.SelfTradePrevention
NONE = Mode.SELF_TRADE_PREVENTION_NONE
EXPIRE_TAKER = Mode.SELF_TRADE_PREVENTION_EXPIRE_TAKER
EXPIRE_MAKER = Mode.SELF_TRADE_PREVENTION_EXPIRE_MAKER
EXPIRE_BOTH = Mode.SELF_TRADE_PREVENTION_EXPIRE_BOTH
DECREMENT = Mode.SELF_TRADE_PREVENTION_DECREMENT
TRANSFER = Mode.SELF_TRADE_PREVENTION_TRANSFER
ENDS_TAKER = (EXPIRE_TAKER, EXPIRE_BOTH)


def asked_for(book: Book, order: v1.Order) -> Mode.ValueType:
    return order.self_trade_prevention or book.definition.self_trade_prevention or NONE


def is_one_party(state: State, one: int, other: int) -> bool:
    group = state.configuration(one).trade_group
    return one == other or (group != 0 and group == state.configuration(other).trade_group)


def applied(state: State, book: Book, maker: v1.Order, taker: v1.Order) -> Mode.ValueType:
    """What happens when these two meet: NONE is a trade."""
    if not is_one_party(state, maker.account, taker.account):
        return NONE
    mode = asked_for(book, taker)
    if mode == TRANSFER and (asked_for(book, maker) != TRANSFER or maker.account == taker.account):
        return DECREMENT
    return mode


def prevent(state: State, book: Book, maker: v1.Order, taker: v1.Order, mode: Mode.ValueType) -> None:
    common = min(leaves(maker), leaves(taker))
    lost_by_maker, lost_by_taker = {
        EXPIRE_TAKER: (0, leaves(taker)),
        EXPIRE_MAKER: (leaves(maker), 0),
        EXPIRE_BOTH: (leaves(maker), leaves(taker)),
        DECREMENT: (common, common),
        TRANSFER: (common, common),
    }[mode]
    lost = [(maker, lost_by_maker), (taker, lost_by_taker)]
    for order, lots in lost:
        if lots:
            order.prevented_lots += lots
            order.updated_at_us = state.time_us
            if leaves(order) == 0:
                order.status = EXPIRED_IN_MATCH
    price = maker.price_ticks
    if mode == TRANSFER:
        buyer, seller = (taker, maker) if taker.side == BUY else (maker, taker)
        free = (0, book.definition.quote_asset)
        exchange(state, book, buyer, seller, price, common, free, free)
    else:
        for order, lots in lost:
            if lots:
                release(state, book, order)
    book.prevented_matches += 1
    of_maker, of_taker = (
        v1.PreventedParty(
            account=order.account,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            prevented_lots=lots,
            leaves_lots=leaves(order),
        )
        for order, lots in lost
    )
    prevented = v1.MatchPrevented(
        prevented_match_id=book.prevented_matches,
        self_trade_prevention=mode,
        price_ticks=price,
        maker=of_maker,
        taker=of_taker,
        taker_side=taker.side,
        transferred_lots=common if mode == TRANSFER else 0,
        transferred_quote_units=book.notional(price, common) if mode == TRANSFER else 0,
    )
    state.happened(book.symbol, prevented)
    for order in (maker, taker):
        if order.status == EXPIRED_IN_MATCH:
            close(state, book, order)
            state.happened(book.symbol, v1.OrderExpired(order=order))
