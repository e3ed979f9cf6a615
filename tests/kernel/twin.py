"""The naive engine: the rules of the kernel in plain lists and dicts, as obvious as can be and far slower.

Written from the rules (the documentation of the crate `matching`), not from the Rust. It shares nothing with the kernel
but the messages, and must give the same replies, events, answers and state hashes. It never searches cleverly: a book
is a list of orders that is sorted whenever somebody looks.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from openbourse.contracts import v1

INT64_MAX = 2**63 - 1
FEES, EXTERNAL, FIRST_TRADER = 1, 2, 1000

BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
LIMIT = v1.OrderType.ORDER_TYPE_LIMIT
GTC, IOC = v1.TimeInForce.TIME_IN_FORCE_GTC, v1.TimeInForce.TIME_IN_FORCE_IOC
TRADING = v1.SymbolState.SYMBOL_STATE_TRADING
CANCEL_ONLY = v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY
HALT = v1.SymbolState.SYMBOL_STATE_HALT
SEVERITY = [TRADING, CANCEL_ONLY, HALT]

SYMBOL, ASSET = "[A-Z0-9]{2,32}", "[A-Z0-9]{1,16}"
ID = "[A-Za-z0-9_.:/-]"


class Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.rejection = v1.Rejection(reason=v1.RejectReason.Value(f"REJECT_REASON_{reason}"), detail=detail)


class Diverged(Exception):
    pass


@dataclass
class Book:
    definition: v1.SymbolDefinition
    tick_lot: int
    state: v1.SymbolState.ValueType = TRADING
    trades: int = 0
    updates: int = 0
    orders: list[v1.Order] = field(default_factory=list)

    def side(self, side: int) -> list[v1.Order]:
        """In the order in which they would trade. Order ids grow with time."""
        sign = -1 if side == BUY else 1
        return sorted(
            (order for order in self.orders if order.side == side),
            key=lambda order: (sign * order.price_ticks, order.order_id),
        )

    def quantity_at(self, side: int, price: int) -> int:
        return sum(leaves(order) for order in self.side(side) if order.price_ticks == price)

    def levels(self, side: int) -> list[v1.Level]:
        prices = dict.fromkeys(order.price_ticks for order in self.side(side))
        return [v1.Level(price_ticks=price, quantity_lots=self.quantity_at(side, price)) for price in prices]

    def held(self, order: v1.Order) -> tuple[str, int]:
        """What an open order must hold."""
        if order.side == BUY:
            return self.definition.quote_asset, order.price_ticks * leaves(order) * self.tick_lot
        return self.definition.base_asset, leaves(order) * self.definition.lot_units


@dataclass
class Halt:
    state: v1.SymbolState.ValueType
    symbols: list[str]
    reason: str
    seq: int
    epoch: int


@dataclass
class Chain:
    count: int = 0
    head: bytes = bytes(32)

    def add(self, entry: bytes) -> None:
        self.head = hashlib.sha256(self.head + entry).digest()
        self.count += 1


def leaves(order: v1.Order) -> int:
    return order.quantity_lots - order.executed_lots


def copied(order: v1.Order) -> v1.Order:
    copy = v1.Order()
    copy.CopyFrom(order)
    return copy


class Twin:
    def __init__(self, shard: str, *, remembered_commands: int = 100_000, remembered_orders: int = 100_000) -> None:
        self.shard = shard
        self.remembered_commands, self.remembered_orders = remembered_commands, remembered_orders
        self.seq = self.epoch = self.time_us = 0
        self.assets: dict[str, int] = {}
        self.books: dict[str, Book] = {}
        # (account, asset) -> [available, hold]
        self.balances: dict[tuple[int, str], list[int]] = {}
        self.halts: dict[str, Halt] = {}
        self.replies: dict[bytes, v1.Reply] = {}
        self.replies_chain = Chain()
        self.closed: list[v1.Order] = []
        self.closed_chain = Chain()
        self.checkpoint: tuple[int, bytes] | None = None
        self.command = v1.Command()
        self.events: list[v1.Event] = []
        self.moved: list[v1.Movement] = []

    # One command

    def step(self, seq: int, epoch: int, time_us: int, command: v1.Command) -> tuple[v1.Reply, list[v1.Event]]:
        self.epoch, self.time_us, self.command, self.events = epoch, time_us, command, []
        assert seq == self.seq + 1
        if command.command_id in self.replies:
            self.seq = seq
            return self.replies[command.command_id], []
        reply = v1.Reply(shard=self.shard, epoch=epoch, seq=seq, occurred_at_us=time_us)
        try:
            check(len(command.command_id) == 16, "command_id: must be 16 bytes")
            reply.command_id = command.command_id
            self.seq = seq
            self.carry_out(command, reply)
        except Refused as refused:
            reply.rejection.CopyFrom(refused.rejection)
        self.seq = seq
        if reply.command_id:
            self.replies[reply.command_id] = reply
            self.replies_chain.add(self.encoded_reply(reply))
            if len(self.replies) > self.remembered_commands:
                del self.replies[next(iter(self.replies))]
        if command.WhichOneof("body") == "checkpoint" and reply.HasField("done"):
            self.checkpoint = seq, self.state_hash()
            self.happened("", engine_checkpoint=v1.EngineCheckpoint(state_hash=self.checkpoint[1]))
        return reply, self.events

    def carry_out(self, command: v1.Command, reply: v1.Reply) -> None:
        check(len(command.correlation_id.encode()) <= 512, "correlation_id: must be at most 512 bytes")
        check(len(command.causation_id.encode()) <= 512, "causation_id: must be at most 512 bytes")
        match command.WhichOneof("body"):
            case "place_order":
                reply.order.CopyFrom(self.place_order(command.place_order))
            case "cancel_order":
                reply.order.order.CopyFrom(self.cancel_order(command.cancel_order))
            case "credit_funds":
                self.credit_funds(command.credit_funds)
                reply.done.SetInParent()
            case "define_asset":
                self.define_asset(command.define_asset)
                reply.done.SetInParent()
            case "define_symbol":
                self.define_symbol(command.define_symbol)
                reply.done.SetInParent()
            case "impose_halt":
                self.impose_halt(command.impose_halt)
                reply.done.SetInParent()
            case "lift_halt":
                self.lift_halt(command.lift_halt)
                reply.done.SetInParent()
            case "checkpoint":
                self.compare(command.checkpoint)
                reply.done.SetInParent()
            case None:
                raise Refused("INVALID", "body: must be a command that this version knows")

    # Orders

    def place_order(self, place: v1.PlaceOrder) -> v1.OrderResult:
        check_trader(place.account)
        check_text(place.symbol, SYMBOL, "symbol: must be 2 to 32 of A-Z 0-9")
        check(place.side in (BUY, SELL), "side: must be BUY or SELL")
        check(place.type == LIMIT, "type: must be LIMIT")
        check(place.time_in_force in (GTC, IOC), "time_in_force: must be GTC or IOC")
        check_client_order_id(place.client_order_id)
        order = v1.Order(
            order_id=self.seq,
            client_order_id=place.client_order_id,
            account=place.account,
            symbol=place.symbol,
            side=place.side,
            type=place.type,
            time_in_force=place.time_in_force,
            price_ticks=place.price_ticks,
            quantity_lots=place.quantity_lots,
            status=v1.OrderStatus.ORDER_STATUS_NEW,
            created_at_us=self.time_us,
            updated_at_us=self.time_us,
        )
        try:
            book = self.check_order(order)
        except Refused as refused:
            rejected = v1.OrderRejected(
                account=order.account,
                client_order_id=order.client_order_id,
                reason=refused.rejection.reason,
                detail=refused.rejection.detail,
            )
            self.happened(order.symbol if order.symbol in self.books else "", order_rejected=rejected)
            raise
        asset, units = book.held(order)
        self.move(order.account, asset, -units, units)
        self.happened(order.symbol, order_accepted=v1.OrderAccepted(order=order))

        result = v1.OrderResult()
        prices = []
        for maker in book.side(SELL if order.side == BUY else BUY):
            crosses = (
                maker.price_ticks <= order.price_ticks if order.side == BUY else maker.price_ticks >= order.price_ticks
            )
            if not crosses or leaves(order) == 0:
                break
            result.fills.append(self.trade(book, maker, order))
            prices.append(maker.price_ticks)

        rests = leaves(order) > 0 and order.time_in_force == GTC
        if rests:
            book.orders.append(order)
        elif leaves(order) > 0:
            order.status = v1.OrderStatus.ORDER_STATUS_EXPIRED
            self.release(book, order)
            self.happened(order.symbol, order_expired=v1.OrderExpired(order=order))
        if not rests:
            self.close(order)
        for price in dict.fromkeys(prices):
            self.book_changed(book, SELL if order.side == BUY else BUY, price)
        if rests:
            self.book_changed(book, order.side, order.price_ticks)
        result.order.CopyFrom(order)
        return result

    def check_order(self, order: v1.Order) -> Book:
        book = self.listed(order.symbol)
        if book.state == HALT:
            raise Refused("SYMBOL_HALTED", self.why_halted(order.symbol))
        if book.state == CANCEL_ONLY:
            raise Refused("SYMBOL_CANCEL_ONLY", self.why_halted(order.symbol))
        terms = book.definition
        if not 1 <= order.price_ticks <= terms.max_price_ticks:
            raise Refused("PRICE_OUT_OF_RANGE", f"price_ticks: must be 1 to {terms.max_price_ticks}")
        if not 1 <= order.quantity_lots <= terms.max_quantity_lots:
            raise Refused("QUANTITY_OUT_OF_RANGE", f"quantity_lots: must be 1 to {terms.max_quantity_lots}")
        least = terms.min_notional_units
        if order.price_ticks * order.quantity_lots * book.tick_lot < least:
            raise Refused("NOTIONAL_TOO_SMALL", f"price times quantity must be at least {least} quote min-units")
        for other in self.open_orders(order.account):
            if other.client_order_id == order.client_order_id:
                detail = f"client_order_id {order.client_order_id} is that of an open order"
                raise Refused("DUPLICATE_CLIENT_ORDER_ID", detail)
        asset, units = book.held(order)
        available, _ = self.balances.get((order.account, asset), [0, 0])
        if available < units:
            detail = f"needs {units} min-units of {asset}, {available} are available"
            raise Refused("INSUFFICIENT_FUNDS", detail)
        return book

    def trade(self, book: Book, maker: v1.Order, taker: v1.Order) -> v1.Fill:
        terms, price = book.definition, maker.price_ticks
        lots = min(leaves(maker), leaves(taker))
        base, quote = lots * terms.lot_units, price * lots * book.tick_lot
        for order in (maker, taker):
            order.executed_lots += lots
            order.executed_quote_units += quote
            order.updated_at_us = self.time_us
            done = leaves(order) == 0
            order.status = v1.OrderStatus.ORDER_STATUS_FILLED if done else v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED
        book.trades += 1
        parties = []
        for order, ppm in ((maker, terms.maker_fee_ppm), (taker, terms.taker_fee_ppm)):
            received, asset = (base, terms.base_asset) if order.side == BUY else (quote, terms.quote_asset)
            parties.append(
                v1.TradeParty(
                    account=order.account,
                    order_id=order.order_id,
                    client_order_id=order.client_order_id,
                    fee_units=received * ppm // 1_000_000,
                    fee_asset=asset,
                    leaves_lots=leaves(order),
                )
            )
        of_maker, of_taker = parties
        buyer, seller = (of_taker, of_maker) if taker.side == BUY else (of_maker, of_taker)
        buy_price = taker.price_ticks if taker.side == BUY else maker.price_ticks
        held = buy_price * lots * book.tick_lot
        self.move(buyer.account, terms.quote_asset, held - quote, -held)
        self.move(buyer.account, terms.base_asset, base - buyer.fee_units, 0)
        self.move(seller.account, terms.base_asset, 0, -base)
        self.move(seller.account, terms.quote_asset, quote - seller.fee_units, 0)
        self.move(FEES, terms.base_asset, buyer.fee_units, 0)
        self.move(FEES, terms.quote_asset, seller.fee_units, 0)
        executed = v1.TradeExecuted(
            trade_id=book.trades,
            price_ticks=price,
            quantity_lots=lots,
            quote_units=quote,
            maker=of_maker,
            taker=of_taker,
            taker_side=taker.side,
        )
        self.happened(terms.symbol, trade_executed=executed)
        if leaves(maker) == 0:
            book.orders.remove(maker)
            self.close(maker)
        return v1.Fill(
            trade_id=book.trades,
            price_ticks=price,
            quantity_lots=lots,
            quote_units=quote,
            fee_units=of_taker.fee_units,
            fee_asset=of_taker.fee_asset,
        )

    def cancel_order(self, cancel: v1.CancelOrder) -> v1.Order:
        check_trader(cancel.account)
        check_text(cancel.symbol, SYMBOL, "symbol: must be 2 to 32 of A-Z 0-9")
        check_target(cancel)
        book = self.listed(cancel.symbol)
        if book.state == HALT:
            raise Refused("SYMBOL_HALTED", self.why_halted(cancel.symbol))
        order = find(cancel, book.orders)
        book.orders.remove(order)
        order.status = v1.OrderStatus.ORDER_STATUS_CANCELED
        order.updated_at_us = self.time_us
        self.close(order)
        self.release(book, order)
        self.happened(order.symbol, order_canceled=v1.OrderCanceled(order=order))
        self.book_changed(book, order.side, order.price_ticks)
        return order

    def release(self, book: Book, order: v1.Order) -> None:
        asset, units = book.held(order)
        self.move(order.account, asset, units, -units)

    def close(self, order: v1.Order) -> None:
        self.closed.append(copied(order))
        self.closed_chain.add(encoded_order(order))
        del self.closed[: -self.remembered_orders]

    def book_changed(self, book: Book, side: v1.Side.ValueType, price: int) -> None:
        book.updates += 1
        delta = v1.BookDelta(
            update_id=book.updates, side=side, price_ticks=price, quantity_lots=book.quantity_at(side, price)
        )
        self.happened(book.definition.symbol, book_delta=delta)

    def open_orders(self, account: int) -> list[v1.Order]:
        books = [book for _, book in sorted(self.books.items())]
        orders = [order for book in books for order in sorted(book.orders, key=lambda order: order.order_id)]
        return [order for order in orders if order.account == account]

    # Funds and listings

    def credit_funds(self, credit: v1.CreditFunds) -> None:
        check_text(credit.transfer_id, ID + "{1,64}", "transfer_id: must be 1 to 64 of A-Z a-z 0-9 _ . : / -")
        check_trader(credit.account)
        check_text(credit.asset, ASSET, "asset: must be 1 to 16 of A-Z 0-9")
        check(credit.amount >= 1, "amount: must be at least 1")
        self.check_asset(credit.asset)
        outside, _ = self.balances.get((EXTERNAL, credit.asset), [0, 0])
        if credit.amount - outside > INT64_MAX:
            raise Refused("OVERFLOW", "amount: all deposits together would leave the range of a signed 64-bit integer")
        self.move(EXTERNAL, credit.asset, -credit.amount, 0)
        self.move(credit.account, credit.asset, credit.amount, 0)
        credited = v1.FundsCredited(
            transfer_id=credit.transfer_id, account=credit.account, asset=credit.asset, amount=credit.amount
        )
        self.happened("", funds_credited=credited)

    def define_asset(self, define: v1.DefineAsset) -> None:
        check_text(define.asset, ASSET, "asset: must be 1 to 16 of A-Z 0-9")
        check(define.scale <= 18, "scale: must be 0 to 18")
        before = self.assets.get(define.asset)
        if before is None:
            self.assets[define.asset] = define.scale
            self.happened("", asset_defined=v1.AssetDefined(asset=define.asset, scale=define.scale))
        elif before != define.scale:
            raise Refused("IMMUTABLE", "scale: cannot change")

    def define_symbol(self, define: v1.DefineSymbol) -> None:
        check(define.HasField("definition"), "definition: must be there")
        terms = v1.SymbolDefinition()
        terms.CopyFrom(define.definition)
        check_text(terms.symbol, SYMBOL, "symbol: must be 2 to 32 of A-Z 0-9")
        check_text(terms.base_asset, ASSET, "base_asset: must be 1 to 16 of A-Z 0-9")
        check_text(terms.quote_asset, ASSET, "quote_asset: must be 1 to 16 of A-Z 0-9")
        check(terms.base_asset != terms.quote_asset, "quote_asset: must differ from base_asset")
        for name in ("tick_units", "lot_units", "max_price_ticks", "max_quantity_lots"):
            check(getattr(terms, name) >= 1, f"{name}: must be at least 1")
        check(terms.min_notional_units >= 0, "min_notional_units: must be at least 0")
        for name in ("maker_fee_ppm", "taker_fee_ppm"):
            check(getattr(terms, name) <= 100_000, f"{name}: must be 0 to 100000")
        self.check_asset(terms.base_asset)
        self.check_asset(terms.quote_asset)
        book = self.books.get(terms.symbol)
        if book is not None:
            for name in ("base_asset", "quote_asset", "tick_units", "lot_units"):
                if getattr(book.definition, name) != getattr(terms, name):
                    raise Refused("IMMUTABLE", f"{name}: cannot change")
        tick_lot, rest = divmod(terms.tick_units * terms.lot_units, 10 ** self.assets[terms.base_asset])
        check(rest == 0, "tick_units: times lot_units must be a multiple of 10^scale of base_asset")
        largest_base = terms.max_quantity_lots * terms.lot_units
        largest_quote = terms.max_price_ticks * terms.max_quantity_lots * tick_lot
        if max(largest_base, largest_quote) > INT64_MAX:
            raise Refused(
                "OVERFLOW", "max_quantity_lots: the largest order would leave the range of a signed 64-bit integer"
            )
        if book is None:
            book = self.books[terms.symbol] = Book(terms, tick_lot)
        elif book.definition == terms:
            return
        book.definition = terms
        self.happened(terms.symbol, symbol_defined=v1.SymbolDefined(definition=terms))
        for name, halt in self.deciding(terms.symbol):
            self.update_state(book, name, halt.reason)

    # Halts

    def impose_halt(self, impose: v1.ImposeHalt) -> None:
        check_text(impose.halt, ID + "{1,253}", "halt: must be 1 to 253 of A-Z a-z 0-9 _ . : / -")
        for symbol in impose.symbols:
            check_text(symbol, SYMBOL, "symbols: must each be 2 to 32 of A-Z 0-9")
        check(impose.state in (HALT, CANCEL_ONLY), "state: must be HALT or CANCEL_ONLY")
        check_reason(impose.reason)
        check(len(impose.symbols) <= 1000, "symbols: must be at most 1000")
        halt = Halt(impose.state, sorted(set(impose.symbols)), impose.reason, self.seq, self.epoch)
        before = self.halts.get(impose.halt)
        if before is not None and (before.state, before.symbols, before.reason) == (
            halt.state,
            halt.symbols,
            halt.reason,
        ):
            return
        self.halts[impose.halt] = halt
        self.update_states(impose.halt, impose.reason)

    def lift_halt(self, lift: v1.LiftHalt) -> None:
        check_text(lift.halt, ID + "{1,253}", "halt: must be 1 to 253 of A-Z a-z 0-9 _ . : / -")
        check_reason(lift.reason)
        if lift.halt not in self.halts:
            raise Refused("UNKNOWN_HALT", f"no halt {lift.halt} is in force")
        del self.halts[lift.halt]
        self.update_states(lift.halt, lift.reason)

    def update_states(self, halt: str, reason: str) -> None:
        for _, book in sorted(self.books.items()):
            self.update_state(book, halt, reason)

    def update_state(self, book: Book, halt: str, reason: str) -> None:
        states = [deciding.state for _, deciding in self.deciding(book.definition.symbol)]
        before, book.state = book.state, states[0] if states else TRADING
        if book.state != before:
            changed = v1.SymbolStateChanged(state=book.state, previous_state=before, halt=halt, reason=reason)
            self.happened(book.definition.symbol, symbol_state_changed=changed)

    def deciding(self, symbol: str) -> list[tuple[str, Halt]]:
        """The halt that decides a symbol's state: of the most restrictive the first by name. None, or one."""
        named = [(name, halt) for name, halt in self.halts.items() if not halt.symbols or symbol in halt.symbols]
        named.sort(key=lambda item: (-SEVERITY.index(item[1].state), item[0]))
        return named[:1]

    def why_halted(self, symbol: str) -> str:
        return "".join(f"halt {name}: {halt.reason}" for name, halt in self.deciding(symbol))

    # What all commands need

    def compare(self, checkpoint: v1.Checkpoint) -> None:
        if checkpoint.previous_seq == 0:
            return
        check(len(checkpoint.previous_state_hash) == 32, "previous_state_hash: must be 32 bytes")
        if self.checkpoint != (checkpoint.previous_seq, checkpoint.previous_state_hash):
            raise Diverged

    def listed(self, symbol: str) -> Book:
        if symbol not in self.books:
            raise Refused("UNKNOWN_SYMBOL", f"symbol {symbol} is not listed")
        return self.books[symbol]

    def check_asset(self, asset: str) -> None:
        if asset not in self.assets:
            raise Refused("UNKNOWN_ASSET", f"asset {asset} is not defined")

    def move(self, account: int, asset: str, available: int, hold: int) -> None:
        if available == 0 and hold == 0:
            return
        balance = self.balances.setdefault((account, asset), [0, 0])
        balance[0] += available
        balance[1] += hold
        self.moved.append(v1.Movement(account=account, asset=asset, available_change=available, hold_change=hold))

    def happened(
        self,
        symbol: str,
        *,
        order_accepted: v1.OrderAccepted | None = None,
        order_rejected: v1.OrderRejected | None = None,
        order_canceled: v1.OrderCanceled | None = None,
        order_expired: v1.OrderExpired | None = None,
        trade_executed: v1.TradeExecuted | None = None,
        book_delta: v1.BookDelta | None = None,
        funds_credited: v1.FundsCredited | None = None,
        symbol_state_changed: v1.SymbolStateChanged | None = None,
        engine_checkpoint: v1.EngineCheckpoint | None = None,
        asset_defined: v1.AssetDefined | None = None,
        symbol_defined: v1.SymbolDefined | None = None,
    ) -> None:
        index = len(self.events)
        event = v1.Event(
            event_id=f"{self.shard}/{self.seq}/{index}",
            event_version=1,
            symbol=symbol,
            seq=self.seq,
            occurred_at_us=self.time_us,
            correlation_id=self.command.correlation_id,
            causation_id=self.command.causation_id,
            shard=self.shard,
            epoch=self.epoch,
            index=index,
            movements=self.moved,
            order_accepted=order_accepted,
            order_rejected=order_rejected,
            order_canceled=order_canceled,
            order_expired=order_expired,
            trade_executed=trade_executed,
            book_delta=book_delta,
            funds_credited=funds_credited,
            symbol_state_changed=symbol_state_changed,
            engine_checkpoint=engine_checkpoint,
            asset_defined=asset_defined,
            symbol_defined=symbol_defined,
        )
        self.events.append(event)
        self.moved = []

    # Questions

    def answer(self, epoch: int, query: v1.Query) -> v1.Answer:
        answer = v1.Answer(query_id=query.query_id, shard=self.shard, epoch=epoch, seq=self.seq)
        try:
            match query.WhichOneof("body"):
                case "depth":
                    answer.depth.CopyFrom(self.depth(query.depth))
                case "account":
                    answer.balances.CopyFrom(self.answered_balances([query.account.account]))
                case "order":
                    answer.orders.orders.append(self.find_order(query.order))
                case "open_orders":
                    answer.orders.CopyFrom(self.answered_open_orders(query.open_orders))
                case "listings":
                    answer.listings.CopyFrom(self.listings())
                case "balances":
                    answer.balances.CopyFrom(self.answered_balances({account for account, _ in self.balances}))
                case None:
                    raise Refused("INVALID", "body: must be a query that this version knows")
        except Refused as refused:
            answer.refused.reason = refused.rejection.reason
            answer.refused.detail = refused.rejection.detail
        return answer

    def depth(self, asked: v1.DepthQuery) -> v1.DepthAnswer:
        check_text(asked.symbol, SYMBOL, "symbol: must be 2 to 32 of A-Z 0-9")
        check(1 <= asked.limit <= 5000, "limit: must be 1 to 5000")
        book = self.listed(asked.symbol)
        bids, asks = (book.levels(side)[: asked.limit] for side in (BUY, SELL))
        return v1.DepthAnswer(last_update_id=book.updates, bids=bids, asks=asks)

    def find_order(self, asked: v1.OrderQuery) -> v1.Order:
        check_trader(asked.account)
        check_text(asked.symbol, SYMBOL, "symbol: must be 2 to 32 of A-Z 0-9")
        check_target(asked)
        book = self.listed(asked.symbol)
        closed = [order for order in reversed(self.closed) if order.symbol == asked.symbol]
        return find(asked, [*book.orders, *closed])

    def answered_open_orders(self, asked: v1.OpenOrdersQuery) -> v1.OrdersAnswer:
        check_trader(asked.account)
        orders = self.open_orders(asked.account)
        if asked.symbol:
            check_text(asked.symbol, SYMBOL, "symbol: must be 2 to 32 of A-Z 0-9")
            self.listed(asked.symbol)
            orders = [order for order in orders if order.symbol == asked.symbol]
        return v1.OrdersAnswer(orders=orders)

    def listings(self) -> v1.ListingsAnswer:
        assets = [v1.DefineAsset(asset=asset, scale=scale) for asset, scale in sorted(self.assets.items())]
        symbols = [
            v1.SymbolListing(definition=book.definition, state=book.state, reason=self.why_halted(symbol))
            for symbol, book in sorted(self.books.items())
        ]
        return v1.ListingsAnswer(assets=assets, symbols=symbols)

    def answered_balances(self, accounts: Iterable[int]) -> v1.BalancesAnswer:
        answer = v1.BalancesAnswer()
        for (account, asset), (available, hold) in sorted(self.balances.items()):
            if account in accounts:
                answer.balances.add(account=account, asset=asset, available=available, hold=hold)
        return answer

    # The state's hash

    def state_hash(self) -> bytes:
        state = text("openbourse.state.v1") + text(self.shard)
        state += counted((text(asset) + u32(scale)) for asset, scale in sorted(self.assets.items()))
        state += counted(encoded_book(book) for _, book in sorted(self.books.items()))
        state += counted(
            u64(account) + text(asset) + i64(available) + i64(hold)
            for (account, asset), (available, hold) in sorted(self.balances.items())
        )
        state += counted(
            text(name)
            + u8(halt.state)
            + counted(text(symbol) for symbol in halt.symbols)
            + text(halt.reason)
            + u64(halt.seq)
            + u64(halt.epoch)
            for name, halt in sorted(self.halts.items())
        )
        state += u64(self.remembered_commands) + u64(self.replies_chain.count) + self.replies_chain.head
        state += u64(self.remembered_orders) + u64(self.closed_chain.count) + self.closed_chain.head
        return hashlib.sha256(state).digest()

    def encoded_reply(self, reply: v1.Reply) -> bytes:
        entry = reply.command_id + u64(reply.seq) + u64(reply.epoch) + i64(reply.occurred_at_us)
        if reply.HasField("order"):
            fills = (
                u64(fill.trade_id)
                + i64(fill.price_ticks)
                + i64(fill.quantity_lots)
                + i64(fill.quote_units)
                + i64(fill.fee_units)
                + text(fill.fee_asset)
                for fill in reply.order.fills
            )
            return entry + u8(1) + encoded_order(reply.order.order) + counted(fills)
        if reply.HasField("rejection"):
            return entry + u8(2) + u32(reply.rejection.reason) + text(reply.rejection.detail)
        return entry + u8(3)


def find(asked: v1.CancelOrder | v1.OrderQuery, orders: list[v1.Order]) -> v1.Order:
    """The first of the account's orders that has the id asked for."""
    target = asked.WhichOneof("target")
    for order in orders:
        if order.account == asked.account and target and getattr(order, target) == getattr(asked, target):
            return order
    raise Refused("UNKNOWN_ORDER", "the account has no such order")


def check(kept: bool, rule: str) -> None:
    if not kept:
        raise Refused("INVALID", rule)


def check_text(value: str, pattern: str, rule: str) -> None:
    check(re.fullmatch(pattern, value) is not None, rule)


def check_trader(account: int) -> None:
    check(account >= FIRST_TRADER, "account: must be at least 1000")


def check_client_order_id(value: str) -> None:
    check_text(value, ID + "{1,36}", "client_order_id: must be 1 to 36 of A-Z a-z 0-9 _ . : / -")


def check_target(asked: v1.CancelOrder | v1.OrderQuery) -> None:
    target = asked.WhichOneof("target")
    check(target is not None, "target: must be an order_id or a client_order_id")
    if target == "client_order_id":
        check_client_order_id(asked.client_order_id)


def check_reason(reason: str) -> None:
    check(len(reason.encode()) <= 1024, "reason: must be at most 1024 bytes")


def encoded_book(book: Book) -> bytes:
    terms = book.definition
    encoded = text(terms.symbol) + text(terms.base_asset) + text(terms.quote_asset)
    encoded += i64(terms.tick_units) + i64(terms.lot_units) + i64(terms.max_price_ticks)
    encoded += i64(terms.max_quantity_lots) + i64(terms.min_notional_units)
    encoded += u32(terms.maker_fee_ppm) + u32(terms.taker_fee_ppm)
    encoded += u8(book.state) + u64(book.trades) + u64(book.updates)
    return encoded + b"".join(counted(map(encoded_order, book.side(side))) for side in (BUY, SELL))


def encoded_order(order: v1.Order) -> bytes:
    encoded = u64(order.order_id) + text(order.client_order_id) + u64(order.account) + text(order.symbol)
    encoded += u8(order.side) + u8(order.time_in_force) + i64(order.price_ticks) + i64(order.quantity_lots)
    encoded += i64(order.executed_lots) + i64(order.executed_quote_units) + u8(order.status)
    return encoded + i64(order.created_at_us) + i64(order.updated_at_us)


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def i64(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def text(value: str) -> bytes:
    encoded = value.encode()
    return u32(len(encoded)) + encoded


def counted(items: Iterable[bytes]) -> bytes:
    encoded = list(items)
    return u64(len(encoded)) + b"".join(encoded)
