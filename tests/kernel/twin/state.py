"""What a shard remembers, and the three things that every rule does with it: refuse, move money, tell an event.

No rule is here; each is in the module with the name of its section.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from google.protobuf.message import Message
from kernel.twin.encoding import text, u64

from openbourse.contracts import v1

INT64_MAX = 2**63 - 1
MILLION = 1_000_000
FEES, EXTERNAL = 1, 2

BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
OTHER = {BUY: SELL, SELL: BUY}
LIMIT, MARKET = v1.OrderType.ORDER_TYPE_LIMIT, v1.OrderType.ORDER_TYPE_MARKET
LIMIT_MAKER = v1.OrderType.ORDER_TYPE_LIMIT_MAKER
GTC, IOC = v1.TimeInForce.TIME_IN_FORCE_GTC, v1.TimeInForce.TIME_IN_FORCE_IOC
FOK = v1.TimeInForce.TIME_IN_FORCE_FOK

TRADING, AUCTION = v1.SymbolState.SYMBOL_STATE_TRADING, v1.SymbolState.SYMBOL_STATE_AUCTION
POST_ONLY, HALT = v1.SymbolState.SYMBOL_STATE_POST_ONLY, v1.SymbolState.SYMBOL_STATE_HALT
CANCEL_ONLY = v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY

NEW, PARTIALLY_FILLED = v1.OrderStatus.ORDER_STATUS_NEW, v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED
FILLED, CANCELED = v1.OrderStatus.ORDER_STATUS_FILLED, v1.OrderStatus.ORDER_STATUS_CANCELED
EXPIRED = v1.OrderStatus.ORDER_STATUS_EXPIRED
EXPIRED_IN_MATCH = v1.OrderStatus.ORDER_STATUS_EXPIRED_IN_MATCH
OPEN = (NEW, PARTIALLY_FILLED)

RECEIVED, IN_QUOTE = v1.FeeCharge.FEE_CHARGE_RECEIVED, v1.FeeCharge.FEE_CHARGE_QUOTE

EVENT_NAMES: dict[object, str] = {
    body.message_type: body.name for body in v1.Event.DESCRIPTOR.oneofs_by_name["body"].fields
}


class Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.rejection = v1.Rejection(reason=v1.RejectReason.Value(f"REJECT_REASON_{reason}"), detail=detail)
        self.is_not_remembered = reason in ("SYMBOL_MOVING", "SYMBOL_MOVED")


class Diverged(Exception):
    pass


@dataclass(frozen=True)
class FeeSchedule:
    maker_ppm: int
    taker_ppm: int
    charge: v1.FeeCharge.ValueType


@dataclass(frozen=True)
class Frozen:
    move_id: bytes
    to_shard: str
    record: v1.SymbolRecord
    record_sha256: bytes


@dataclass
class Arriving:
    move_id: bytes
    from_shard: str
    parts: int
    record_sha256: bytes
    next_part: int = 0
    record: v1.SymbolRecord = field(default_factory=v1.SymbolRecord)


@dataclass
class Book:
    """One symbol: its definition, its phase and state, and its open orders."""

    definition: v1.SymbolDefinition
    # What one lot costs at a price of one tick.
    u: int
    schedules: list[FeeSchedule]
    phase: v1.SymbolState.ValueType = TRADING
    phase_end_us: int = 0
    state: v1.SymbolState.ValueType = TRADING
    trades: int = 0
    prevented_matches: int = 0
    updates: int = 0
    # Of trades only: neither stands for the reference of the definition. 0: none.
    last_trade_price: int = 0
    auction_price: int = 0
    # minute -> [sum of price x lots, sum of lots]
    minutes: dict[int, list[int]] = field(default_factory=dict)
    indicated: tuple[int, int, int] = (0, 0, 0)
    # Of an uncross that is not finished.
    uncross_price: int = 0
    orders: list[v1.Order] = field(default_factory=list)
    frozen: Frozen | None = None
    # The move, and the shard that it is in.
    departed: tuple[bytes, str] | None = None

    @property
    def symbol(self) -> str:
        return self.definition.symbol

    @property
    def away(self) -> bool:
        return self.frozen is not None or self.departed is not None

    def check_here(self) -> None:
        if self.frozen is not None:
            raise Refused("SYMBOL_MOVING", f"the symbol is moving to shard {self.frozen.to_shard}")
        if self.departed is not None:
            raise Refused("SYMBOL_MOVED", f"the symbol has moved to shard {self.departed[1]}")

    def side(self, side: int) -> list[v1.Order]:
        """In the order in which they would trade. Order ids grow with time."""
        sign = -1 if side == BUY else 1
        return sorted(
            (order for order in self.orders if order.side == side),
            key=lambda order: (sign * order.price_ticks, order.order_id),
        )

    def best(self, side: int) -> int | None:
        orders = self.side(side)
        return orders[0].price_ticks if orders else None

    def quantity_at(self, side: int, price: int) -> int:
        return sum(leaves(order) for order in self.orders if order.side == side and order.price_ticks == price)

    def levels(self, side: int) -> list[v1.Level]:
        prices = dict.fromkeys(order.price_ticks for order in self.side(side))
        return [v1.Level(price_ticks=price, quantity_lots=self.quantity_at(side, price)) for price in prices]

    def notional(self, price: int, lots: int) -> int:
        return price * lots * self.u


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
    pending: bytearray = field(default_factory=bytearray)

    def add(self, version: int, entry: bytes) -> None:
        self.count += 1
        self.pending += entry
        if version == 1 or len(self.pending) >= 1_048_576:
            self.head = hashlib.sha256(self.head + self.pending).digest()
            self.pending.clear()


def leaves(order: v1.Order) -> int:
    return order.quantity_lots - order.executed_lots - order.prevented_lots


def copied(order: v1.Order) -> v1.Order:
    copy = v1.Order()
    copy.CopyFrom(order)
    return copy


@dataclass
class State:
    shard: str
    remembered_commands: int
    remembered_orders: int
    remembered_client_order_ids: int
    # In one command.
    matches_most: int
    cancels_most: int
    version: int = 1
    seq: int = 0
    epoch: int = 0
    time_us: int = 0

    assets: dict[str, int] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    # (account, asset) -> [available, hold]
    balances: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    # (symbol, order id) -> what it holds, of open orders
    holds: dict[tuple[str, int], int] = field(default_factory=dict)
    configurations: dict[int, v1.ConfigureAccount] = field(default_factory=dict)
    # account -> number of the interval and orders accepted in it
    order_rates: dict[int, tuple[int, int]] = field(default_factory=dict)
    kill_switches: dict[int, bool] = field(default_factory=dict)
    halts: dict[str, Halt] = field(default_factory=dict)
    # (account, symbol, whether it is the guard's) -> end
    countdowns: dict[tuple[int, str, bool], int] = field(default_factory=dict)
    safety: v1.ConfigureSafety = field(default_factory=v1.ConfigureSafety)
    lag: v1.ReportLag = field(default_factory=v1.ReportLag)
    safety_level: v1.SafetyLevel.ValueType = v1.SafetyLevel.SAFETY_LEVEL_NORMAL
    # Second and orders accepted in it, while THROTTLED.
    throttle: tuple[int, int] = (0, 0)

    replies: dict[bytes, v1.Reply] = field(default_factory=dict)
    # Of which symbol alone its command was, and from which shard it came with which seq; empty otherwise.
    reply_symbols: dict[bytes, str] = field(default_factory=dict)
    replies_chain: Chain = field(default_factory=Chain)
    closed: list[v1.Order] = field(default_factory=list)
    closed_chain: Chain = field(default_factory=Chain)
    # (account, client order id, closed at, symbol), in the order in which they came
    closed_ids: list[tuple[int, str, int, str]] = field(default_factory=list)
    closed_ids_chain: Chain = field(default_factory=Chain)
    closed_ids_forgotten: int = 0
    checkpoint: tuple[int, bytes] | None = None
    order_ids_ahead: int = 0
    arriving: Arriving | None = None
    # How a move ended, by its id, in the order of their ends.
    moves_over: dict[bytes, int] = field(default_factory=dict)
    # The encoding of a reply in the chain, which knows more of the state than this module.
    encoded_reply: Callable[[int, v1.Reply], bytes] = lambda _version, _reply: b""

    # Of the command at hand.
    command: v1.Command = field(default_factory=v1.Command)
    events: list[v1.Event] = field(default_factory=list)
    moved: list[v1.Movement] = field(default_factory=list)

    def book(self, symbol: str) -> Book:
        if symbol not in self.books:
            raise Refused("UNKNOWN_SYMBOL", f"symbol {symbol} is not listed")
        return self.books[symbol]

    def books_by_name(self) -> list[Book]:
        return [book for _, book in sorted(self.books.items())]

    def open_orders(self, account: int) -> list[v1.Order]:
        """By order id."""
        orders = [order for book in self.books.values() for order in book.orders if order.account == account]
        return sorted(orders, key=lambda order: order.order_id)

    def configuration(self, account: int) -> v1.ConfigureAccount:
        return self.configurations.get(account, v1.ConfigureAccount(account=account))

    def available(self, account: int, asset: str) -> int:
        return self.balances.get((account, asset), [0, 0])[0]

    def accounts(self) -> list[int]:
        """That ever had a balance, a configuration or a kill switch."""
        return sorted({account for account, _ in self.balances} | set(self.configurations) | set(self.kill_switches))

    def remember(self, reply: v1.Reply, symbol: str = "", origin: tuple[str, int] = ("", 0)) -> None:
        """An answer, of whose command `symbol` says that it was of that one alone."""
        if self.version < 3:
            symbol = ""
        self.replies[reply.command_id] = reply
        self.reply_symbols[reply.command_id] = symbol
        if len(self.replies) > self.remembered_commands:
            oldest = next(iter(self.replies))
            del self.replies[oldest], self.reply_symbols[oldest]
        entry = self.encoded_reply(self.version, reply)
        if self.version >= 3:
            entry += text(symbol) + text(origin[0]) + u64(origin[1])
        self.replies_chain.add(self.version, entry)

    def move(self, account: int, asset: str, available: int, hold: int) -> None:
        """A movement of the event that is told next."""
        if available == 0 and hold == 0:
            return
        balance = self.balances.setdefault((account, asset), [0, 0])
        balance[0] += available
        balance[1] += hold
        self.moved.append(v1.Movement(account=account, asset=asset, available_change=available, hold_change=hold))

    def happened(self, symbol: str, body: Message) -> None:
        index = len(self.events)
        event = v1.Event(
            event_id=f"{self.shard}/{self.seq}/{index}",
            event_version=1,
            symbol=symbol,
            seq=self.seq,
            occurred_at_us=self.time_us,
            correlation_id=self.command.correlation_id,
            causation_id=self.command.causation_id,
            # One of another length is none.
            traceparent=self.command.traceparent if len(self.command.traceparent.encode()) == 55 else "",
            shard=self.shard,
            epoch=self.epoch,
            index=index,
            movements=self.moved,
        )
        field_of_body = getattr(event, EVENT_NAMES[body.DESCRIPTOR])
        field_of_body.SetInParent()
        field_of_body.CopyFrom(body)
        self.events.append(event)
        self.moved = []

    def book_changed(self, book: Book, side: v1.Side.ValueType, prices: Iterable[int]) -> None:
        """One BookDelta for each of the prices, in the order in which they first come."""
        for price in dict.fromkeys(prices):
            book.updates += 1
            quantity = book.quantity_at(side, price)
            delta = v1.BookDelta(update_id=book.updates, side=side, price_ticks=price, quantity_lots=quantity)
            self.happened(book.symbol, delta)
