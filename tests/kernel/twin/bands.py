"""Section *bands*: the last and the reference price, and how far from them an order or a trade may be."""

from kernel.twin.state import BUY, MARKET, MILLION, OTHER, Book, Refused, State

from openbourse.contracts import v1

MINUTE_US = 60_000_000
MINUTES = 60


def last_price(book: Book) -> int | None:
    return book.last_trade_price or book.definition.reference_price_ticks or None


def static_reference(book: Book) -> int | None:
    return book.auction_price or book.definition.reference_price_ticks or None


def reference_price(state: State, book: Book) -> int | None:
    now = state.time_us // MINUTE_US
    first = now - book.definition.average_minutes + 1
    sums = [sums for minute, sums in book.minutes.items() if first <= minute <= now]
    if not sums:
        return last_price(book)
    return sum(value for value, _ in sums) // sum(lots for _, lots in sums)


def record(state: State, book: Book, price: int, lots: int) -> None:
    """A trade: it is the last one, and counts in its minute."""
    book.last_trade_price = price
    minute = state.time_us // MINUTE_US
    sums = book.minutes.setdefault(minute, [0, 0])
    sums[0] += price * lots
    sums[1] += lots
    book.minutes = {known: sums for known, sums in book.minutes.items() if known > minute - MINUTES}


def check_price_band(state: State, book: Book, order: v1.Order) -> None:
    band = book.definition.bid_band if order.side == BUY else book.definition.ask_band
    reference = reference_price(state, book)
    if reference is None:
        return
    price = order.price_ticks * MILLION
    too_low = band.lowest_ppm != 0 and price < reference * band.lowest_ppm
    too_high = band.highest_ppm != 0 and price > reference * band.highest_ppm
    if too_low or too_high:
        detail = f"price_ticks: must be {band.lowest_ppm} to {band.highest_ppm} ppm of the reference price {reference}"
        raise Refused("PRICE_OUT_OF_BAND", detail)


def reaches(book: Book, order: v1.Order, price: int) -> bool:
    """Whether the order's limit, of MARKET its collar, allows a trade at that price."""
    if order.type != MARKET:
        return price <= order.price_ticks if order.side == BUY else price >= order.price_ticks
    ppm, base = book.definition.market_collar_ppm, last_price(book)
    if base is None:
        base = book.best(OTHER[order.side])
    if ppm == 0 or base is None:
        return True
    if order.side == BUY:
        return price * MILLION <= base * (MILLION + ppm)
    return price * MILLION >= base * (MILLION - ppm)


def interrupts(book: Book, price: int) -> bool:
    """Whether a trade at that price is outside the volatility bands. To be asked before the command's first trade."""
    terms = book.definition
    for ppm, reference in (
        (terms.static_band_ppm, static_reference(book)),
        (terms.dynamic_band_ppm, last_price(book)),
    ):
        if ppm != 0 and reference is not None and abs(price - reference) * MILLION > reference * ppm:
            return True
    return False
