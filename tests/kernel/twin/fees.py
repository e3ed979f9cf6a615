"""Section *fees*: what a trade is charged, and under which schedule."""

from kernel.twin.state import BUY, MILLION, RECEIVED, Book, FeeSchedule, State

from openbourse.contracts import v1


def schedule_of(definition: v1.SymbolDefinition) -> FeeSchedule:
    charge = definition.fee_charge or RECEIVED
    return FeeSchedule(definition.maker_fee_ppm, definition.taker_fee_ppm, charge)


def schedule(state: State, book: Book, order: v1.Order) -> FeeSchedule:
    """That the order trades under. Version 1 takes the fees of the time of the trade."""
    if state.version == 1:
        return schedule_of(book.definition)
    return book.schedules[order.fee_schedule - 1]


def fee(amount: int, ppm: int) -> int:
    return amount * ppm // MILLION


def charged(state: State, book: Book, order: v1.Order, price: int, lots: int, *, maker: bool) -> tuple[int, str]:
    """The fee of a trade for one of its parties, and its asset."""
    terms = schedule(state, book, order)
    ppm = terms.maker_ppm if maker else terms.taker_ppm
    if order.side == BUY and terms.charge == RECEIVED:
        return fee(lots * book.definition.lot_units, ppm), book.definition.base_asset
    return fee(book.notional(price, lots), ppm), book.definition.quote_asset
