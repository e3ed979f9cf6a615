"""Section *auction*: the one price, telling it, and the uncross."""

from kernel.twin.bands import last_price
from kernel.twin.ids import close
from kernel.twin.matching import trade
from kernel.twin.state import AUCTION, BUY, FILLED, SELL, Book, State, leaves

from openbourse.contracts import v1


def auction_price(book: Book) -> tuple[int, int, int]:
    """Price, volume and surplus; zeros when the book does not cross."""
    best_bid, best_ask = book.best(BUY), book.best(SELL)
    if best_bid is None or best_ask is None or best_bid < best_ask:
        return 0, 0, 0
    candidates = []
    for price in sorted({order.price_ticks for order in book.orders if best_ask <= order.price_ticks <= best_bid}):
        bids = sum(leaves(order) for order in book.side(BUY) if order.price_ticks >= price)
        asks = sum(leaves(order) for order in book.side(SELL) if order.price_ticks <= price)
        candidates.append((price, min(bids, asks), bids - asks))
    volume = max(volume for _, volume, _ in candidates)
    candidates = [candidate for candidate in candidates if candidate[1] == volume]
    surplus = min(abs(surplus) for _, _, surplus in candidates)
    candidates = [candidate for candidate in candidates if abs(candidate[2]) == surplus]
    if all(surplus > 0 for _, _, surplus in candidates):
        return candidates[-1]
    if all(surplus < 0 for _, _, surplus in candidates):
        return candidates[0]
    reference = last_price(book)
    if reference is None:
        return candidates[0]
    return min(candidates, key=lambda candidate: (abs(candidate[0] - reference), -candidate[0]))


def indicate(state: State, book: Book) -> None:
    if book.departed is not None:
        return
    if book.phase != AUCTION:
        book.indicated = (0, 0, 0)
    elif book.state == AUCTION and not book.uncross_price:
        now = auction_price(book)
        if now != book.indicated:
            book.indicated = now
            price, volume, surplus = now
            told = v1.AuctionIndicated(price_ticks=price, quantity_lots=volume, surplus_lots=surplus)
            state.happened(book.symbol, told)


def uncross(state: State, book: Book) -> tuple[bool, list[int], list[int]]:
    """Trades at the auction's price: whether that is all, and the prices of the bids and of the asks that traded."""
    price = book.uncross_price or auction_price(book)[0]
    bid_prices: list[int] = []
    ask_prices: list[int] = []
    if price == 0:
        return True, bid_prices, ask_prices
    book.uncross_price = book.auction_price = price
    while True:
        bids = [order for order in book.side(BUY) if order.price_ticks >= price]
        asks = [order for order in book.side(SELL) if order.price_ticks <= price]
        if not bids or not asks:
            book.uncross_price = 0
            return True, bid_prices, ask_prices
        if len(bid_prices) == state.matches_most:
            return False, bid_prices, ask_prices
        maker, taker = sorted((bids[0], asks[0]), key=lambda order: order.order_id)
        bid_prices.append(bids[0].price_ticks)
        ask_prices.append(asks[0].price_ticks)
        trade(state, book, maker, taker, price, min(leaves(maker), leaves(taker)), auction=True)
        if taker.status == FILLED:
            close(state, book, taker)
