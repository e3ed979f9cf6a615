"""Section *risk*: what an order holds, and how trades and prevented matches move money and holds."""

from kernel.twin.fees import fee, schedule
from kernel.twin.state import BUY, FEES, IN_QUOTE, MARKET, OPEN, Book, State, leaves

from openbourse.contracts import v1


def held_asset(book: Book, order: v1.Order) -> str:
    return book.definition.quote_asset if order.side == BUY else book.definition.base_asset


def needed(state: State, book: Book, order: v1.Order) -> int:
    """What an order holds that is new with the leaves that it has now. Not of a MARKET buy."""
    if order.side != BUY:
        return leaves(order) * book.definition.lot_units
    notional = book.notional(order.price_ticks, leaves(order))
    terms = schedule(state, book, order)
    if terms.charge == IN_QUOTE:
        return notional + fee(notional, max(terms.maker_ppm, terms.taker_ppm))
    return notional


def change_hold(state: State, book: Book, order: v1.Order, spent: int = 0) -> int:
    """Sets what the order holds now that it spent that much of it, and says by how much its hold changed."""
    before = state.holds[order.symbol, order.order_id]
    if order.status not in OPEN:
        after = 0
    elif order.side == BUY and order.type == MARKET:
        after = before - spent
    else:
        after = needed(state, book, order)
    state.holds[order.symbol, order.order_id] = after
    return after - before


def release(state: State, book: Book, order: v1.Order) -> None:
    """Gives back what the order does not need any more: all of it, when it has ended."""
    change = change_hold(state, book, order)
    state.move(order.account, held_asset(book, order), -change, change)


def exchange(
    state: State,
    book: Book,
    buyer: v1.Order,
    seller: v1.Order,
    price: int,
    lots: int,
    buyer_fee: tuple[int, str],
    seller_fee: tuple[int, str],
) -> None:
    """Lots from the seller against quote from the buyer, and the fees."""
    base, quote = book.definition.base_asset, book.definition.quote_asset
    received, paid = lots * book.definition.lot_units, book.notional(price, lots)
    base_fee, quote_fee = 0, 0
    if buyer_fee[1] == base:
        base_fee = buyer_fee[0]
    else:
        quote_fee = buyer_fee[0]
    spent = paid + quote_fee
    change = change_hold(state, book, buyer, spent)
    state.move(buyer.account, quote, -change - spent, change)
    state.move(buyer.account, base, received - base_fee, 0)
    change = change_hold(state, book, seller)
    state.move(seller.account, base, -change - received, change)
    state.move(seller.account, quote, paid - seller_fee[0], 0)
    state.move(FEES, base, base_fee, 0)
    state.move(FEES, quote, quote_fee + seller_fee[0], 0)
