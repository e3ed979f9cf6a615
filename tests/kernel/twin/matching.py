"""Section *matching*: whom an incoming order meets, how far it gets, and a trade."""

from dataclasses import dataclass
from enum import Enum, auto

from kernel.twin.bands import interrupts, reaches, record
from kernel.twin.fees import charged, fee, schedule
from kernel.twin.ids import close
from kernel.twin.risk import exchange
from kernel.twin.self_trade import ENDS_TAKER, EXPIRE_MAKER, NONE, TRANSFER, Mode, applied, prevent
from kernel.twin.state import (
    BUY,
    FILLED,
    IN_QUOTE,
    MILLION,
    OTHER,
    PARTIALLY_FILLED,
    Book,
    State,
    leaves,
)

from openbourse.contracts import v1


class End(Enum):
    """What ends an order's reach."""

    SIDE = auto()
    LIMIT = auto()
    MATCHES = auto()
    PREVENTION = auto()
    BANDS = auto()


@dataclass
class Reach:
    """Whom an order would meet if it were endless, what would happen with each, and what ends it."""

    met: list[tuple[v1.Order, Mode.ValueType]]
    end: End


def reach(state: State, book: Book, taker: v1.Order) -> Reach:
    met: list[tuple[v1.Order, Mode.ValueType]] = []
    for maker in book.side(OTHER[taker.side]):
        if not reaches(book, taker, maker.price_ticks):
            return Reach(met, End.LIMIT)
        if len(met) == state.matches_most and state.version > 1:
            return Reach(met, End.MATCHES)
        mode = applied(state, book, maker, taker)
        if mode in ENDS_TAKER:
            return Reach([*met, (maker, mode)], End.PREVENTION)
        if interrupts(book, maker.price_ticks):
            return Reach(met, End.BANDS)
        met.append((maker, mode))
    return Reach(met, End.SIDE)


def trades_in_full(taker: v1.Order, within: Reach) -> bool:
    """Whether FOK is filled: prevention takes nothing from it, and what it trades is its whole quantity."""
    left = taker.quantity_lots
    for maker, mode in within.met:
        if left == 0 or mode not in (NONE, EXPIRE_MAKER):
            break
        if mode == NONE:
            left -= min(left, leaves(maker))
    return left == 0


def cost(state: State, book: Book, taker: v1.Order, within: Reach) -> int:
    """What the trades and transfers of a MARKET buy by lots will cost."""
    left, total = taker.quantity_lots, 0
    for maker, mode in within.met:
        if left == 0 or mode in ENDS_TAKER:
            break
        lots = min(left, leaves(maker))
        if mode in (NONE, TRANSFER):
            total += price_of(state, book, taker, maker.price_ticks, lots, mode)
        if mode != EXPIRE_MAKER:
            left -= lots
    return total


def price_of(state: State, book: Book, taker: v1.Order, price: int, lots: int, mode: Mode.ValueType) -> int:
    """What these lots take from an amount: the notional, and of a purchase the taker's fee where it is on top."""
    notional = book.notional(price, lots)
    terms = schedule(state, book, taker)
    if mode == NONE and taker.side == BUY and terms.charge == IN_QUOTE:
        return notional + fee(notional, terms.taker_ppm)
    return notional


def lots_for_amount(state: State, book: Book, taker: v1.Order, within: Reach) -> tuple[int, bool]:
    """The lots that a MARKET order by amount becomes, and whether the amount is used up by them."""
    most = book.definition.market_max_quantity_lots or book.definition.max_quantity_lots
    left, lots = taker.quote_units, 0
    for maker, mode in within.met:
        wanted = min(lots_that_pay(state, book, taker, maker.price_ticks, left, mode), most - lots)
        if wanted == 0:
            return lots, True
        if mode in ENDS_TAKER:
            return lots + wanted, False
        if mode != EXPIRE_MAKER:
            taken = min(wanted, leaves(maker))
            lots += taken
            left -= price_of(state, book, taker, maker.price_ticks, taken, mode)
            if wanted < leaves(maker):
                return lots, True
    return lots, left == 0 or lots == most


def lots_that_pay(state: State, book: Book, taker: v1.Order, price: int, left: int, mode: Mode.ValueType) -> int:
    """The most lots at that price that take no more than what is left."""
    lots = left * MILLION // price_of(state, book, taker, price, MILLION, mode)
    while price_of(state, book, taker, price, lots + 1, mode) <= left:
        lots += 1
    return lots


def match(
    state: State, book: Book, taker: v1.Order, within: Reach, *, used_up: bool
) -> tuple[list[v1.Fill], list[int]]:
    """Trades and prevented matches until nothing is left or the reach ends: the fills, and the prices of the levels
    that changed."""
    fills, prices = [], []
    for maker, mode in within.met:
        if leaves(taker) == 0:
            break
        if mode == NONE:
            lots = min(leaves(maker), leaves(taker))
            fills.append(trade(state, book, maker, taker, maker.price_ticks, lots, used_up=used_up))
            prices.append(maker.price_ticks)
        else:
            before = leaves(maker)
            prevent(state, book, maker, taker, mode)
            if leaves(maker) != before:
                prices.append(maker.price_ticks)
    return fills, prices


def trade(
    state: State,
    book: Book,
    maker: v1.Order,
    taker: v1.Order,
    price: int,
    lots: int,
    *,
    used_up: bool = True,
    auction: bool = False,
) -> v1.Fill:
    """The taker of a MARKET order by an amount that will not be used up is not FILLED although nothing is left."""
    notional = book.notional(price, lots)
    for order in (maker, taker):
        order.executed_lots += lots
        order.executed_quote_units += notional
        order.updated_at_us = state.time_us
        done = leaves(order) == 0 and (used_up or order is maker)
        order.status = FILLED if done else PARTIALLY_FILLED
    fees = {order.order_id: charged(state, book, order, price, lots, maker=order is maker) for order in (maker, taker)}
    buyer, seller = (taker, maker) if taker.side == BUY else (maker, taker)
    exchange(state, book, buyer, seller, price, lots, fees[buyer.order_id], fees[seller.order_id])
    book.trades += 1
    if state.version > 1:
        record(state, book, price, lots)
    of_maker, of_taker = (
        v1.TradeParty(
            account=order.account,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            fee_units=fees[order.order_id][0],
            fee_asset=fees[order.order_id][1],
            leaves_lots=leaves(order),
        )
        for order in (maker, taker)
    )
    executed = v1.TradeExecuted(
        trade_id=book.trades,
        price_ticks=price,
        quantity_lots=lots,
        quote_units=notional,
        maker=of_maker,
        taker=of_taker,
        taker_side=taker.side,
        auction=auction,
    )
    state.happened(book.symbol, executed)
    if maker.status == FILLED:
        close(state, book, maker)
    return v1.Fill(
        trade_id=book.trades,
        price_ticks=price,
        quantity_lots=lots,
        quote_units=notional,
        fee_units=of_taker.fee_units,
        fee_asset=of_taker.fee_asset,
    )
