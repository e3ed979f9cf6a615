"""The answers to queries, out of the state and without changing it."""

from collections.abc import Iterable

from kernel.twin import moves, well_formed
from kernel.twin.cancel import find
from kernel.twin.state import AUCTION, BUY, EXTERNAL, SELL, Book, Refused, State
from kernel.twin.symbol_state import why

from openbourse.contracts import v1


def answer(state: State, epoch: int, query: v1.Query) -> v1.Answer:
    answered = v1.Answer(query_id=query.query_id, shard=state.shard, epoch=epoch, seq=state.seq)
    try:
        match query.WhichOneof("body"):
            case "depth":
                answered.depth.CopyFrom(depth(state, query.depth))
            case "account":
                answered.balances.CopyFrom(balances(state, [query.account.account]))
            case "order":
                answered.orders.orders.append(find_order(state, query.order))
            case "open_orders":
                answered.orders.CopyFrom(open_orders(state, query.open_orders))
            case "listings":
                answered.listings.CopyFrom(listings(state))
            case "balances":
                answered.balances.CopyFrom(balances(state, {account for account, _ in state.balances}))
            case "totals":
                answered.totals.CopyFrom(totals(state))
            case "account_safety":
                answered.account_safety.CopyFrom(account_safety(state, query.account_safety.account))
            case "symbol_record":
                answered.symbol_record.CopyFrom(moves.answer(state, query.symbol_record))
            case None:
                raise Refused("INVALID", "body: must be a query that this version knows")
    except Refused as refused:
        answered.refused.reason = refused.rejection.reason
        answered.refused.detail = refused.rejection.detail
    return answered


def depth(state: State, asked: v1.DepthQuery) -> v1.DepthAnswer:
    well_formed.symbol(asked.symbol)
    well_formed.check(1 <= asked.limit <= 5000, "limit: must be 1 to 5000")
    book = state.book(asked.symbol)
    if book.departed is not None:
        book.check_here()
    bids, asks = (book.levels(side)[: asked.limit] for side in (BUY, SELL))
    return v1.DepthAnswer(last_update_id=book.updates, bids=bids, asks=asks)


def find_order(state: State, asked: v1.OrderQuery) -> v1.Order:
    """An open one first, then the last that closed."""
    well_formed.account(asked.account)
    well_formed.symbol(asked.symbol)
    well_formed.target(asked)
    book = state.book(asked.symbol)
    closed = [order for order in reversed(state.closed) if order.symbol == asked.symbol]
    return find(asked, [*book.orders, *closed])


def open_orders(state: State, asked: v1.OpenOrdersQuery) -> v1.OrdersAnswer:
    well_formed.account(asked.account)
    orders = sorted(state.open_orders(asked.account), key=lambda order: (order.symbol, order.order_id))
    if asked.symbol:
        well_formed.symbol(asked.symbol)
        state.book(asked.symbol)
        orders = [order for order in orders if order.symbol == asked.symbol]
    return v1.OrdersAnswer(orders=orders)


def listings(state: State) -> v1.ListingsAnswer:
    assets = [v1.DefineAsset(asset=asset, scale=scale) for asset, scale in sorted(state.assets.items())]
    return v1.ListingsAnswer(assets=assets, symbols=[listing(state, book) for book in state.books_by_name()])


def listing(state: State, book: Book) -> v1.SymbolListing:
    listed = v1.SymbolListing(
        definition=book.definition,
        state=book.state,
        reason=why(state, book),
        last_price_ticks=book.last_trade_price,
        moving_to=book.frozen.to_shard if book.frozen else "",
        moved_to=book.departed[1] if book.departed else "",
    )
    if book.state == AUCTION:
        price, volume, surplus = book.indicated
        indicated = v1.AuctionIndicated(price_ticks=price, quantity_lots=volume, surplus_lots=surplus)
        listed.indicated.CopyFrom(indicated)
        listed.indicated.SetInParent()
    return listed


def balances(state: State, accounts: Iterable[int]) -> v1.BalancesAnswer:
    answered = v1.BalancesAnswer()
    for (account, asset), (available, hold) in sorted(state.balances.items()):
        if account in accounts:
            answered.balances.add(account=account, asset=asset, available=available, hold=hold)
    return answered


def totals(state: State) -> v1.TotalsAnswer:
    answered = v1.TotalsAnswer()
    for asset in sorted(state.assets):
        rows = [row for (account, its), row in state.balances.items() if its == asset and account != EXTERNAL]
        answered.totals.add(
            asset=asset,
            available=sum(available for available, _ in rows),
            hold=sum(hold for _, hold in rows),
            deposited=-state.available(EXTERNAL, asset),
        )
    return answered


def account_safety(state: State, account: int) -> v1.AccountSafetyAnswer:
    well_formed.account(account)
    countdowns = sorted(
        (symbol, guard, end_us) for (its, symbol, guard), end_us in state.countdowns.items() if its == account
    )
    return v1.AccountSafetyAnswer(
        account=account,
        killed=state.kill_switches.get(account, False),
        open_orders=len(state.open_orders(account)),
        countdowns=[v1.Countdown(symbol=symbol, guard=guard, end_us=end_us) for symbol, guard, end_us in countdowns],
    )
