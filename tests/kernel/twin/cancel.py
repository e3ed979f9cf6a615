"""Section *cancel*: one order, all orders, countdowns."""

from kernel.twin import well_formed
from kernel.twin.ids import close
from kernel.twin.risk import release
from kernel.twin.state import BUY, CANCELED, HALT, SELL, Book, Refused, State
from kernel.twin.symbol_state import check_cancel

from openbourse.contracts import v1

Reason = v1.CancelReason


def cancel_order(state: State, cancel: v1.CancelOrder, reason: Reason.ValueType) -> v1.Order:
    book = state.book(cancel.symbol)
    book.check_here()
    check_cancel(state, book)
    order = find(cancel, book.orders)
    if cancel.restriction == v1.CancelRestriction.CANCEL_RESTRICTION_ONLY_NEW and order.executed_lots > 0:
        raise Refused("CANCEL_RESTRICTED", "the order was executed in part")
    if cancel.restriction == v1.CancelRestriction.CANCEL_RESTRICTION_ONLY_PARTIALLY_FILLED and order.executed_lots == 0:
        raise Refused("CANCEL_RESTRICTED", "the order was not executed")
    carry_out(state, book, order, reason)
    return order


def find(asked: v1.CancelOrder | v1.AmendOrder | v1.OrderQuery, orders: list[v1.Order]) -> v1.Order:
    """The first of the account's orders that has the id asked for."""
    target = asked.WhichOneof("target")
    for order in orders:
        if order.account == asked.account and target and getattr(order, target) == getattr(asked, target):
            return order
    raise Refused("UNKNOWN_ORDER", "the account has no such order")


def carry_out(state: State, book: Book, order: v1.Order, reason: Reason.ValueType) -> None:
    book.orders.remove(order)
    order.status = CANCELED
    order.updated_at_us = state.time_us
    release(state, book, order)
    close(state, book, order)
    told = reason if state.version > 1 else Reason.CANCEL_REASON_UNSPECIFIED
    state.happened(book.symbol, v1.OrderCanceled(order=order, reason=told))
    state.book_changed(book, order.side, [order.price_ticks])


def cancel_all_orders(state: State, cancel: v1.CancelAllOrders) -> v1.CancelAllResult:
    well_formed.cancel_all_orders(cancel)
    if cancel.symbol:
        book = state.book(cancel.symbol)
        book.check_here()
        if cancel.account:
            check_cancel(state, book)
    in_every_state = cancel.account == 0
    return cancel_all(state, cancel.account, cancel.symbol, cancel.reason, in_every_state=in_every_state)


def cancel_all(
    state: State, account: int, symbol: str, reason: Reason.ValueType, *, in_every_state: bool
) -> v1.CancelAllResult:
    """Of an account by order id; of all accounts by symbol, bids and then asks as they would trade."""
    if account:
        orders = state.open_orders(account)
    else:
        orders = [order for book in state.books_by_name() for side in (BUY, SELL) for order in book.side(side)]
    wanted = []
    for order in orders:
        book = state.books[order.symbol]
        stays = book.state == HALT or book.uncross_price != 0
        if symbol in ("", order.symbol) and (in_every_state or not stays) and not book.away:
            wanted.append((book, order))
    for book, order in wanted[: state.cancels_most]:
        carry_out(state, book, order, reason)
    canceled = min(len(wanted), state.cancels_most)
    return v1.CancelAllResult(canceled=canceled, remaining=len(wanted) - canceled)


def set_countdown(state: State, countdown: v1.SetCountdown) -> None:
    well_formed.set_countdown(countdown)
    if countdown.symbol:
        state.book(countdown.symbol).check_here()
    key = countdown.account, countdown.symbol, countdown.guard and state.version > 2
    if countdown.countdown_ms:
        state.countdowns[key] = state.time_us + countdown.countdown_ms * 1000
    else:
        state.countdowns.pop(key, None)


def end_due_countdowns(state: State) -> None:
    due = sorted((end_us, *key) for key, end_us in state.countdowns.items() if end_us <= state.time_us)
    for _, account, symbol, guard in due:
        reason = Reason.CANCEL_REASON_COUNTDOWN
        result = cancel_all(state, account, symbol, reason, in_every_state=True)
        if result.remaining:
            continue
        if any(symbol in ("", order.symbol) for order in state.open_orders(account)):
            # Of a symbol that is moving.
            state.countdowns[account, symbol, guard] = state.time_us + 1_000_000
        else:
            del state.countdowns[account, symbol, guard]
