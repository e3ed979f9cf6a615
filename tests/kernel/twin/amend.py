"""Section *amend*: the quantity of an open order goes down, and it keeps its place."""

from kernel.twin import well_formed
from kernel.twin.cancel import find
from kernel.twin.ids import check_client_order_id, remember
from kernel.twin.orders import check_notional, check_quantity
from kernel.twin.risk import release
from kernel.twin.state import Refused, State, copied
from kernel.twin.symbol_state import check_amendment

from openbourse.contracts import v1


def amend_order(state: State, amend: v1.AmendOrder) -> v1.OrderResult:
    well_formed.amend_order(amend)
    book = state.book(amend.symbol)
    book.check_here()
    check_amendment(state, book)
    order = find(amend, book.orders)
    done = order.executed_lots + order.prevented_lots
    if not done < amend.quantity_lots < order.quantity_lots:
        detail = f"quantity_lots: must be below {order.quantity_lots} and above {done}"
        raise Refused("QUANTITY_NOT_LOWER", detail)
    amended = copied(order)
    amended.quantity_lots = amend.quantity_lots
    check_quantity(book, amended)
    check_notional(state, book, amended)
    new_id = amend.new_client_order_id or order.client_order_id
    previous_quantity, previous_id = order.quantity_lots, order.client_order_id
    if new_id != previous_id:
        check_client_order_id(state, order.account, new_id)
        remember(state, order.account, previous_id, book.symbol)
    order.quantity_lots = amend.quantity_lots
    order.client_order_id = new_id
    order.updated_at_us = state.time_us
    release(state, book, order)
    told = v1.OrderAmended(order=order, previous_quantity_lots=previous_quantity, previous_client_order_id=previous_id)
    state.happened(book.symbol, told)
    state.book_changed(book, order.side, [order.price_ticks])
    return v1.OrderResult(order=order)
