"""Every order, prevented match and balance of a shard's accounts, from its committed stream. No clock, no I/O.

Private: what is gathered here is told to gateways alone, and by account. What changed and is not stored yet is in an
`AccountsRecord`; what streams tell is in `take_told`, one update for each account that a command touched.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from openbourse.contracts import v1
from openbourse.contracts.units import FIRST_TRADER
from openbourse.marketdata.errors import Diverged

KERNEL_WITH_SCHEDULES = 2
# By name once, not in each event.
ACCEPTED = v1.OrderChange.ORDER_CHANGE_ACCEPTED
TRADED = v1.OrderChange.ORDER_CHANGE_TRADED
PREVENTED = v1.OrderChange.ORDER_CHANGE_PREVENTED
AMENDED = v1.OrderChange.ORDER_CHANGE_AMENDED
CANCELED = v1.OrderChange.ORDER_CHANGE_CANCELED
EXPIRED = v1.OrderChange.ORDER_CHANGE_EXPIRED
NEW = v1.OrderStatus.ORDER_STATUS_NEW
PARTIALLY_FILLED = v1.OrderStatus.ORDER_STATUS_PARTIALLY_FILLED
FILLED = v1.OrderStatus.ORDER_STATUS_FILLED
EXPIRED_IN_MATCH = v1.OrderStatus.ORDER_STATUS_EXPIRED_IN_MATCH
_OPEN = frozenset({NEW, PARTIALLY_FILLED})


# Symbol and order id: of two symbols of which one came from another shard, two orders may have one id.
OrderKey = tuple[str, int]


def key_of(order: v1.Order) -> OrderKey:
    return order.symbol, order.order_id


def is_open(order: v1.Order) -> bool:
    return order.status in _OPEN


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as it was at the watermark: what it is found by, and all of it as an OrderRecord."""

    order_id: int
    account: int
    symbol: str
    client_order_id: str
    updated_us: int
    is_open: bool
    record: bytes

    @classmethod
    def of(cls, record: v1.OrderRecord) -> "OrderRow":
        order = record.order
        return cls(
            order.order_id,
            order.account,
            order.symbol,
            order.client_order_id,
            order.updated_at_us,
            is_open(order),
            record.SerializeToString(),
        )


@dataclass(frozen=True, slots=True)
class AccountsRecord:
    """What happened to accounts since the last time that it was stored: all as it is now."""

    orders: list[OrderRow] = field(default_factory=list)
    prevented: list[v1.PreventedMatch] = field(default_factory=list)
    # (account, asset) -> available, hold.
    balances: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    trade_groups: dict[int, int] = field(default_factory=dict)
    # Symbols whose orders, as far as they were open, are in another shard. `orders` are from after that.
    departed: frozenset[str] = frozenset()


class Accounts:
    """`apply` takes the events of one command after the other."""

    def __init__(self) -> None:
        self.open_orders: dict[OrderKey, v1.OrderRecord] = {}
        self.balances: dict[tuple[int, str], tuple[int, int]] = {}
        self.trade_groups: dict[int, int] = {}
        # Without a listener nothing is made for one.
        self.listened = False
        self._told: list[v1.AccountUpdate] = []
        self._touched_orders: dict[OrderKey, v1.OrderRecord] = {}
        self._touched_balances: set[tuple[int, str]] = set()
        self._touched_groups: set[int] = set()
        self._prevented: list[v1.PreventedMatch] = []
        self._departed: set[str] = set()
        # Of the command that is applied.
        self._updates: dict[int, v1.AccountUpdate] = {}
        self._changed_orders: dict[OrderKey, v1.OrderRecord] = {}
        self._moved: dict[tuple[int, str], None] = {}

    def begin(self, orders: Iterable[v1.Order], balances: Iterable[v1.Balance]) -> None:
        """With these open orders and balances; of what was before nothing is known, trade groups among it."""
        for order in orders:
            record = v1.OrderRecord(order=order)
            self.open_orders[key_of(order)] = self._touched_orders[key_of(order)] = record
        for balance in balances:
            if balance.account >= FIRST_TRADER:
                key = balance.account, balance.asset
                self.balances[key] = balance.available, balance.hold
                self._touched_balances.add(key)

    def apply(self, events: Sequence[v1.Event]) -> None:
        """Of one command, all of them in their order. Raises Diverged."""
        named = [(event, event.WhichOneof("body")) for event in events]
        # An order by amount that the book could not fill expires behind a trade that left nothing of it.
        expiring = {key_of(event.order_expired.order) for event, body in named if body == "order_expired"}
        for event, body in named:
            for movement in event.movements:
                self._move(movement)
            match body:
                case "order_accepted":
                    record = v1.OrderRecord(order=event.order_accepted.order)
                    self.open_orders[key_of(record.order)] = record
                    self._changed(event, record, ACCEPTED)
                case "order_arrived":
                    self._arrive(event)
                case "symbol_departed":
                    self._depart(event.symbol)
                case "trade_executed":
                    self._trade(event, expiring)
                case "match_prevented":
                    self._prevent(event)
                case "order_amended":
                    self._amend(event)
                case "order_canceled":
                    record = self._replaced(event, event.order_canceled.order)
                    update = self._changed(event, record, CANCELED)
                    if update is not None:
                        update.cancel_reason = event.order_canceled.reason
                case "order_expired":
                    record = self._replaced(event, event.order_expired.order)
                    self._changed(event, record, EXPIRED)
                case "funds_credited":
                    self._fund(event, event.funds_credited, 1)
                case "funds_debited":
                    self._fund(event, event.funds_debited, -1)
                case "account_configured":
                    self._configure(event.account_configured.configuration)
                case "version_changed":
                    self._change_version(event.version_changed)
        self._end_of_command(events)

    def take_record(self) -> AccountsRecord:
        taken = AccountsRecord(
            [OrderRow.of(record) for record in self._touched_orders.values()],
            self._prevented,
            {key: self.balances[key] for key in self._touched_balances},
            {account: self.trade_groups[account] for account in self._touched_groups},
            frozenset(self._departed),
        )
        self._prevented = []
        for touched in (self._touched_orders, self._touched_balances, self._touched_groups, self._departed):
            touched.clear()
        return taken

    def take_told(self) -> list[v1.AccountUpdate]:
        taken, self._told = self._told, []
        return taken

    def _end_of_command(self, events: Sequence[v1.Event]) -> None:
        for key, record in self._changed_orders.items():
            if not is_open(record.order):
                del self.open_orders[key]
        self._touched_orders |= self._changed_orders
        self._touched_balances |= self._moved.keys()
        if self.listened:
            for account, asset in self._moved:
                available, hold = self.balances[account, asset]
                self._update(events[0], account).balances.append(
                    v1.Balance(account=account, asset=asset, available=available, hold=hold)
                )
            self._told += self._updates.values()
        self._updates.clear()
        self._changed_orders.clear()
        self._moved.clear()

    def _move(self, movement: v1.Movement) -> None:
        if movement.account < FIRST_TRADER:
            return
        key = movement.account, movement.asset
        available, hold = self.balances.get(key, (0, 0))
        self.balances[key] = available + movement.available_change, hold + movement.hold_change
        self._moved[key] = None

    def _arrive(self, event: v1.Event) -> None:
        """With a symbol from another shard."""
        order = event.order_arrived.order
        self.open_orders[key_of(order)] = self._changed_orders[key_of(order)] = v1.OrderRecord(order=order)

    def _depart(self, symbol: str) -> None:
        """To another shard: what was open goes on there, under the same ids."""
        for key in [key for key in self.open_orders if key[0] == symbol]:
            del self.open_orders[key]
            self._touched_orders.pop(key, None)
        self._departed.add(symbol)

    def _trade(self, event: v1.Event, expiring: set[OrderKey]) -> None:
        trade = event.trade_executed
        for party, is_maker in ((trade.maker, True), (trade.taker, False)):
            record = self._known(event, party.order_id)
            order = record.order
            order.executed_lots += trade.quantity_lots
            order.executed_quote_units += trade.quote_units
            order.updated_at_us = event.occurred_at_us
            filled = party.leaves_lots == 0 and key_of(order) not in expiring
            order.status = FILLED if filled else PARTIALLY_FILLED
            update = self._changed(event, record, TRADED)
            if update is not None:
                update.maker = is_maker
                update.fill.CopyFrom(
                    v1.Fill(
                        trade_id=trade.trade_id,
                        price_ticks=trade.price_ticks,
                        quantity_lots=trade.quantity_lots,
                        quote_units=trade.quote_units,
                        fee_units=party.fee_units,
                        fee_asset=party.fee_asset,
                    )
                )

    def _prevent(self, event: v1.Event) -> None:
        match = event.match_prevented
        prevented = v1.PreventedMatch(
            symbol=event.symbol,
            match=match,
            trade_group=self.trade_groups.get(match.taker.account, 0),
            occurred_at_us=event.occurred_at_us,
        )
        self._prevented.append(prevented)
        for party in (match.maker, match.taker):
            if party.prevented_lots == 0:
                continue
            record = self._known(event, party.order_id)
            record.prevented_match_id = match.prevented_match_id
            record.order.prevented_lots += party.prevented_lots
            record.order.updated_at_us = event.occurred_at_us
            if party.leaves_lots == 0:
                record.order.status = EXPIRED_IN_MATCH
            update = self._changed(event, record, PREVENTED)
            if update is not None:
                update.prevented.CopyFrom(prevented)

    def _amend(self, event: v1.Event) -> None:
        record = self._replaced(event, event.order_amended.order)
        update = self._changed(event, record, AMENDED)
        if update is not None:
            update.previous_client_order_id = event.order_amended.previous_client_order_id

    def _fund(self, event: v1.Event, funds: v1.FundsCredited | v1.FundsDebited, sign: int) -> None:
        if self.listened and funds.account >= FIRST_TRADER:
            change = v1.AssetAmount(asset=funds.asset, amount=sign * funds.amount)
            self._update(event, funds.account).funds.append(change)

    def _configure(self, configuration: v1.ConfigureAccount) -> None:
        self.trade_groups[configuration.account] = configuration.trade_group
        self._touched_groups.add(configuration.account)

    def _change_version(self, change: v1.VersionChanged) -> None:
        """The first version knew neither fee schedules nor self-trade prevention: open orders get what is in force."""
        if change.previous_version >= KERNEL_WITH_SCHEDULES:
            return
        for key, record in self.open_orders.items():
            record.order.fee_schedule = 1
            record.order.self_trade_prevention = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_NONE
            self._changed_orders[key] = record

    def _known(self, event: v1.Event, order_id: int) -> v1.OrderRecord:
        record = self.open_orders.get((event.symbol, order_id))
        if record is None:
            raise Diverged(f"seq {event.seq} is of order {order_id} of {event.symbol}, which is not open")
        return record

    def _replaced(self, event: v1.Event, order: v1.Order) -> v1.OrderRecord:
        record = self._known(event, order.order_id)
        record.order.CopyFrom(order)
        return record

    def _changed(
        self, event: v1.Event, record: v1.OrderRecord, change: v1.OrderChange.ValueType
    ) -> v1.OrderUpdate | None:
        """What is told of it; None where nobody listens."""
        order = record.order
        self._changed_orders[key_of(order)] = record
        if not self.listened:
            return None
        update = self._update(event, order.account).orders.add()
        update.order.CopyFrom(order)
        update.change, update.index, update.causation_id = change, event.index, event.causation_id
        return update

    def _update(self, event: v1.Event, account: int) -> v1.AccountUpdate:
        update = self._updates.get(account)
        if update is None:
            update = v1.AccountUpdate(account=account, seq=event.seq, occurred_at_us=event.occurred_at_us)
            self._updates[account] = update
        return update
