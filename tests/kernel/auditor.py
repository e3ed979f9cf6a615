"""Holds a kernel to what must be true of any exchange, from its events and answers alone: it knows no rule of matching.

Money is neither made nor lost, holds are what open orders reserve, nobody is passed over in a queue, every number that
counts goes on without a gap, and what the events add up to is what the answers say. It never asks why.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from openbourse.contracts import v1

MILLION = 1_000_000
EXTERNAL = 2
BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
OTHER: dict[v1.Side.ValueType, v1.Side.ValueType] = {BUY: SELL, SELL: BUY}
TRADING = v1.SymbolState.SYMBOL_STATE_TRADING
IN_QUOTE = v1.FeeCharge.FEE_CHARGE_QUOTE
Ask = Callable[[v1.Query], v1.Answer]


def leaves(order: v1.Order) -> int:
    return order.quantity_lots - order.executed_lots - order.prevented_lots


class Market:
    """One symbol, as its events tell it."""

    def __init__(self) -> None:
        self.definition = v1.SymbolDefinition()
        self.schedules: dict[int, v1.SymbolDefinition] = {}
        self.state: int = TRADING
        self.orders: dict[int, v1.Order] = {}
        self.levels: dict[v1.Side.ValueType, dict[int, int]] = {BUY: {}, SELL: {}}
        self.trades = self.prevented_matches = self.updates = 0
        # Frozen: its orders hold nothing here.
        self.is_moving = self.has_departed = False

    def queue(self, side: v1.Side.ValueType) -> list[v1.Order]:
        sign = -1 if side == BUY else 1
        orders = [order for order in self.orders.values() if order.side == side]
        return sorted(orders, key=lambda order: (sign * order.price_ticks, order.order_id))

    def depth(self, side: v1.Side.ValueType) -> dict[int, int]:
        depth: dict[int, int] = {}
        for order in self.queue(side):
            depth[order.price_ticks] = depth.get(order.price_ticks, 0) + leaves(order)
        return depth


class Auditor:
    def __init__(self) -> None:
        self.version = 1
        self.order_ids_ahead = 0
        # Every fee schedule that a symbol had, in whichever shard: for who knows of moves.
        self.schedules: dict[str, dict[int, v1.SymbolDefinition]] = defaultdict(dict)
        # What symbols took along or brought, by asset.
        self.moved_in: dict[str, int] = defaultdict(int)
        self.scales: dict[str, int] = {}
        self.markets: dict[str, Market] = defaultdict(Market)
        self.balances: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        self.deposited: dict[str, int] = defaultdict(int)

    def saw(self, events: Iterable[v1.Event]) -> None:
        """All events of one command."""
        for index, event in enumerate(events):
            assert event.index == index
            self.saw_movements(event)
            name = event.WhichOneof("body")
            assert name is not None
            reader = getattr(self, f"saw_{name}", None)
            if reader is not None:
                reader(event, getattr(event, name))
        for market in self.markets.values():
            # An order by amount without leaves either expired by now or is FILLED.
            market.orders = {
                key: order for key, order in market.orders.items() if leaves(order) or not order.quote_units
            }
        self.check()

    def saw_movements(self, event: v1.Event) -> None:
        sums: dict[str, int] = defaultdict(int)
        for moved in event.movements:
            assert moved.available_change or moved.hold_change
            balance = self.balances[moved.account, moved.asset]
            balance[0] += moved.available_change
            balance[1] += moved.hold_change
            sums[moved.asset] += moved.available_change + moved.hold_change
            assert min(balance) >= 0 or moved.account == EXTERNAL, event
        assert not any(sums.values()), event

    # What events say

    def saw_version_changed(self, _: v1.Event, changed: v1.VersionChanged) -> None:
        self.version = changed.version
        if changed.previous_version > 1:
            return
        for symbol, market in self.markets.items():
            market.schedules = {1: market.definition}
            self.schedules[symbol] = dict(market.schedules)
            for order in market.orders.values():
                order.fee_schedule = 1
                order.self_trade_prevention = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_NONE

    def saw_asset_defined(self, _: v1.Event, defined: v1.AssetDefined) -> None:
        self.scales[defined.asset] = defined.scale

    def saw_symbol_defined(self, event: v1.Event, defined: v1.SymbolDefined) -> None:
        market = self.markets[event.symbol]
        market.definition = defined.definition
        market.schedules.setdefault(defined.fee_schedule, defined.definition)
        self.schedules[event.symbol].setdefault(defined.fee_schedule, defined.definition)
        if self.version == 1:
            market.schedules[0] = defined.definition
        assert max(market.schedules) == defined.fee_schedule

    def saw_symbol_state_changed(self, event: v1.Event, changed: v1.SymbolStateChanged) -> None:
        market = self.markets[event.symbol]
        assert changed.previous_state == market.state != changed.state
        market.state = changed.state

    def saw_funds_credited(self, _: v1.Event, credited: v1.FundsCredited) -> None:
        self.deposited[credited.asset] += credited.amount

    def saw_funds_debited(self, _: v1.Event, debited: v1.FundsDebited) -> None:
        self.deposited[debited.asset] -= debited.amount

    def saw_order_accepted(self, event: v1.Event, accepted: v1.OrderAccepted) -> None:
        order = v1.Order()
        order.CopyFrom(accepted.order)
        assert order.order_id == event.seq + self.order_ids_ahead
        assert order.executed_lots == order.prevented_lots == order.executed_quote_units == 0
        self.markets[event.symbol].orders[order.order_id] = order

    def saw_order_amended(self, event: v1.Event, amended: v1.OrderAmended) -> None:
        order = self.markets[event.symbol].orders[amended.order.order_id]
        assert order.quantity_lots == amended.previous_quantity_lots > amended.order.quantity_lots
        assert order.client_order_id == amended.previous_client_order_id
        order.quantity_lots = amended.order.quantity_lots
        order.client_order_id = amended.order.client_order_id
        order.updated_at_us = amended.order.updated_at_us
        assert order == amended.order
        assert leaves(order) > 0

    def saw_order_canceled(self, event: v1.Event, canceled: v1.OrderCanceled) -> None:
        self.ended(event, canceled.order)

    def saw_order_expired(self, event: v1.Event, expired: v1.OrderExpired) -> None:
        self.ended(event, expired.order)

    def ended(self, event: v1.Event, told: v1.Order) -> None:
        order = self.markets[event.symbol].orders.pop(told.order_id)
        order.status, order.updated_at_us = told.status, told.updated_at_us
        assert order == told
        if order.time_in_force == v1.TimeInForce.TIME_IN_FORCE_FOK:
            assert order.executed_lots == 0, "fill or kill"

    def saw_trade_executed(self, event: v1.Event, trade: v1.TradeExecuted) -> None:
        market = self.markets[event.symbol]
        market.trades += 1
        assert trade.trade_id == market.trades
        maker, taker = (market.orders[party.order_id] for party in (trade.maker, trade.taker))
        self.check_nobody_was_passed_over(market, maker, taker, trade.taker_side, auction=trade.auction)
        assert trade.quote_units == trade.price_ticks * trade.quantity_lots * self.u(market)
        assert trade.auction or trade.price_ticks == maker.price_ticks
        for order, party in ((maker, trade.maker), (taker, trade.taker)):
            if order.price_ticks:
                better = trade.price_ticks <= order.price_ticks
                assert better if order.side == BUY else trade.price_ticks >= order.price_ticks
            order.executed_lots += trade.quantity_lots
            order.executed_quote_units += trade.quote_units
            order.updated_at_us = event.occurred_at_us
            self.check_party(order, party)
            self.check_fee(market, order, trade, party, is_maker=order is maker)
            filled, partly = v1.OrderStatus.ORDER_STATUS_FILLED, v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED
            order.status = partly if leaves(order) else filled
        for order in (maker, taker):
            # An order by amount that was not used up will expire although nothing is left.
            if leaves(order) == 0 and not order.quote_units:
                del market.orders[order.order_id]

    def saw_match_prevented(self, event: v1.Event, prevented: v1.MatchPrevented) -> None:
        market = self.markets[event.symbol]
        market.prevented_matches += 1
        assert prevented.prevented_match_id == market.prevented_matches
        maker, taker = (market.orders[party.order_id] for party in (prevented.maker, prevented.taker))
        assert prevented.price_ticks == maker.price_ticks
        self.check_nobody_was_passed_over(market, maker, taker, prevented.taker_side, auction=False)
        for order, party in ((maker, prevented.maker), (taker, prevented.taker)):
            order.prevented_lots += party.prevented_lots
            if party.prevented_lots:
                order.updated_at_us = event.occurred_at_us
            self.check_party(order, party)

    def saw_book_delta(self, event: v1.Event, delta: v1.BookDelta) -> None:
        market = self.markets[event.symbol]
        market.updates += 1
        assert delta.update_id == market.updates
        level = market.levels[delta.side]
        assert level.get(delta.price_ticks, 0) != delta.quantity_lots, "a delta that changes nothing"
        level[delta.price_ticks] = delta.quantity_lots
        if delta.quantity_lots == 0:
            del level[delta.price_ticks]

    def saw_symbol_frozen(self, event: v1.Event, frozen: v1.SymbolFrozen) -> None:
        market = self.markets[event.symbol]
        market.is_moving = True
        assert (frozen.open_orders, frozen.last_update_id) == (len(market.orders), market.updates)

    def saw_symbol_unfrozen(self, event: v1.Event, _: v1.SymbolUnfrozen) -> None:
        self.markets[event.symbol].is_moving = False

    def saw_symbol_departed(self, event: v1.Event, _: v1.SymbolDeparted) -> None:
        market = Market()
        market.has_departed = True
        self.markets[event.symbol] = market

    def saw_symbol_imported(self, event: v1.Event, imported: v1.SymbolImported) -> None:
        before, market = self.markets[event.symbol], Market()
        # Its SymbolDefined came first; the schedules before the last are in the record.
        market.definition, market.schedules = before.definition, self.schedules[event.symbol] | before.schedules
        market.trades, market.updates = imported.last_trade_id, imported.last_update_id
        market.prevented_matches = imported.last_prevented_match_id
        self.markets[event.symbol] = market
        assert imported.last_order_id >= event.seq + self.order_ids_ahead
        self.order_ids_ahead = imported.last_order_id - event.seq

    def saw_order_departed(self, event: v1.Event, departed: v1.OrderDeparted) -> None:
        assert self.markets[event.symbol].orders[departed.order.order_id] == departed.order
        self.moved(event, departed.order, -1)

    def saw_order_returned(self, event: v1.Event, returned: v1.OrderReturned) -> None:
        assert self.markets[event.symbol].orders[returned.order.order_id] == returned.order
        self.moved(event, returned.order, 1)

    def saw_order_arrived(self, event: v1.Event, arrived: v1.OrderArrived) -> None:
        self.markets[event.symbol].orders[arrived.order.order_id] = arrived.order
        self.moved(event, arrived.order, 1)

    def moved(self, event: v1.Event, order: v1.Order, sign: int) -> None:
        account, asset, units = self.reserved(self.markets[event.symbol], order)
        moved, outside = event.movements
        assert (moved.account, moved.asset, moved.hold_change) == (account, asset, sign * units)
        assert (outside.account, outside.asset, outside.available_change) == (EXTERNAL, asset, -sign * units)
        self.moved_in[asset] += sign * units

    # What must be true

    def check_nobody_was_passed_over(
        self, market: Market, maker: v1.Order, taker: v1.Order, side: v1.Side.ValueType, *, auction: bool
    ) -> None:
        assert taker.side == side != maker.side
        assert market.queue(OTHER[side])[0] is maker
        if auction:
            assert market.queue(side)[0] is taker
            assert maker.order_id < taker.order_id
        else:
            assert taker.order_id == max(market.orders)

    def check_party(self, order: v1.Order, party: v1.TradeParty | v1.PreventedParty) -> None:
        assert (party.account, party.client_order_id) == (order.account, order.client_order_id)
        assert party.leaves_lots == leaves(order) >= 0

    def check_fee(
        self, market: Market, order: v1.Order, trade: v1.TradeExecuted, party: v1.TradeParty, *, is_maker: bool
    ) -> None:
        terms = market.schedules[order.fee_schedule]
        ppm = terms.maker_fee_ppm if is_maker else terms.taker_fee_ppm
        received, asset = trade.quote_units, terms.quote_asset
        if order.side == BUY and terms.fee_charge != IN_QUOTE:
            received, asset = trade.quantity_lots * terms.lot_units, terms.base_asset
        assert party.fee_asset == asset
        assert party.fee_units * MILLION <= received * ppm < (party.fee_units + 1) * MILLION

    def check(self) -> None:
        """Between two commands."""
        holds: dict[tuple[int, str], int] = defaultdict(int)
        for market in self.markets.values():
            bids, asks = market.queue(BUY), market.queue(SELL)
            if market.state == TRADING and bids and asks:
                assert bids[0].price_ticks < asks[0].price_ticks, "the book is crossed"
            for side in (BUY, SELL):
                assert market.depth(side) == market.levels[side], "the deltas are not the depth"
            for order in market.orders.values():
                assert leaves(order) > 0, order
                if market.is_moving:
                    continue
                account, asset, units = self.reserved(market, order)
                holds[account, asset] += units
        held = {key: hold for key, (_, hold) in self.balances.items() if hold}
        assert held == holds, "the holds are not what open orders reserve"

    def reserved(self, market: Market, order: v1.Order) -> tuple[int, str, int]:
        terms = market.schedules[order.fee_schedule]
        if order.side == SELL:
            return order.account, terms.base_asset, leaves(order) * terms.lot_units
        notional = order.price_ticks * leaves(order) * self.u(market)
        if terms.fee_charge == IN_QUOTE:
            notional += notional * max(terms.maker_fee_ppm, terms.taker_fee_ppm) // MILLION
        return order.account, terms.quote_asset, notional

    def u(self, market: Market) -> int:
        terms = market.definition
        return int(terms.tick_units * terms.lot_units // 10 ** self.scales[terms.base_asset])

    def check_answers(self, ask: Ask) -> None:
        """What the events add up to is what the kernel answers."""
        balances = ask(v1.Query(balances=v1.BalancesQuery())).balances.balances
        answered = {(balance.account, balance.asset): [balance.available, balance.hold] for balance in balances}
        assert answered == dict(self.balances)
        for total in ask(v1.Query(totals=v1.TotalsQuery())).totals.totals:
            here = self.deposited[total.asset] + self.moved_in[total.asset]
            assert total.available + total.hold == total.deposited == here
        for listing in ask(v1.Query(listings=v1.ListingsQuery())).listings.symbols:
            market = self.markets[listing.definition.symbol]
            if not market.has_departed:
                assert (listing.state, listing.definition) == (market.state, market.definition)
        for symbol, market in self.markets.items():
            if market.has_departed:
                continue
            depth = ask(v1.Query(depth=v1.DepthQuery(symbol=symbol, limit=5000))).depth
            assert depth.last_update_id == market.updates
            for side, levels in ((BUY, depth.bids), (SELL, depth.asks)):
                assert [(level.price_ticks, level.quantity_lots) for level in levels] == list(
                    market.depth(side).items()
                )
        for account in {account for account, _ in self.balances if account >= 1000}:
            orders = ask(v1.Query(open_orders=v1.OpenOrdersQuery(account=account))).orders.orders
            known = [order for market in self.markets.values() for order in market.orders.values()]
            mine = {order.order_id: order for order in known if order.account == account}
            assert {order.order_id: order for order in orders} == mine
