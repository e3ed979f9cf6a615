"""Examples of the rules worked out by hand: what the kernel and its twin must say, whatever they compute it from.

One symbol, AB for Q, where a lot is one A, a tick is one Q and nothing is rounded but fees.
"""

from typing import Any

import pytest
from kernel.auditor import Auditor
from kernel.twin.kernel import Twin

from openbourse.contracts import v1
from openbourse.engine._core import Kernel

MAKER, TAKER = 1000, 1001
Modes = v1.SelfTradePrevention
EXPIRE_MAKER, EXPIRE_TAKER = Modes.SELF_TRADE_PREVENTION_EXPIRE_MAKER, Modes.SELF_TRADE_PREVENTION_EXPIRE_TAKER
EXPIRE_BOTH, DECREMENT = Modes.SELF_TRADE_PREVENTION_EXPIRE_BOTH, Modes.SELF_TRADE_PREVENTION_DECREMENT
TRANSFER = Modes.SELF_TRADE_PREVENTION_TRANSFER


class Shard:
    """Kernel and twin with the symbol, two rich accounts, and orders said in few words.

    The twin goes alone where a limit of one command is lowered: the kernel's are fixed.
    """

    def __init__(self, *, lowered: dict[str, int] | None = None, **terms: Any) -> None:
        self.twin = Twin("main", **(lowered or {}))
        self.kernel = None if lowered else Kernel("main")
        self.auditor = Auditor()
        self.time_us = 0
        self.events: list[v1.Event] = []
        self.terms = terms
        self.send(change_version=v1.ChangeVersion(version=2))
        for asset in ("A", "Q"):
            self.send(define_asset=v1.DefineAsset(asset=asset))
        self.define(**terms)
        for account in (MAKER, TAKER):
            for asset in ("A", "Q"):
                self.send(credit_funds=v1.CreditFunds(transfer_id="t", account=account, asset=asset, amount=1_000_000))

    def send(self, **body: Any) -> v1.Reply:
        seq = self.twin.state.seq + 1
        command = v1.Command(command_id=seq.to_bytes(16, "big"), **body)
        reply, self.events = self.twin.step(seq, 1, self.time_us, command)
        if self.kernel is not None:
            of_kernel, events = self.kernel.step(seq, 1, self.time_us, command.SerializeToString())
            assert v1.Reply.FromString(of_kernel) == reply
            assert list(v1.Events.FromString(events).events) == self.events
            assert self.kernel.state_hash() == self.twin.state_hash()
        self.auditor.saw(self.events)
        self.auditor.check_answers(lambda query: self.twin.answer(1, query))
        return reply

    def define(self, **terms: Any) -> v1.Reply:
        fields: dict[str, Any] = {"max_price_ticks": 1_000, "max_quantity_lots": 1_000, **terms}
        definition = v1.SymbolDefinition(
            symbol="AB", base_asset="A", quote_asset="Q", tick_units=1, lot_units=1, **fields
        )
        return self.send(define_symbol=v1.DefineSymbol(definition=definition))

    def order(self, words: str, account: int = TAKER, prevention: int = 0) -> v1.Order:
        """`buy 5 at 100`, `sell 5 at 100 ioc`, `buy 5`, `buy for 500`, `sell 5 at 100 maker`."""
        reply = self.tried(words, account, prevention)
        assert reply.HasField("order"), reply.rejection
        return reply.order.order

    def refusal(self, words: str, account: int = TAKER) -> str:
        reply = self.tried(words, account, 0)
        return v1.RejectReason.Name(reply.rejection.reason).removeprefix("REJECT_REASON_")

    def tried(self, words: str, account: int, prevention: int) -> v1.Reply:
        side, *rest = words.split()
        place = v1.PlaceOrder(account=account, symbol="AB", client_order_id=f"o{self.twin.state.seq}")
        place.side = v1.Side.Value(f"SIDE_{side.upper()}")
        place.self_trade_prevention = prevention  # type: ignore[assignment]
        place.type, place.time_in_force = v1.OrderType.ORDER_TYPE_MARKET, v1.TimeInForce.TIME_IN_FORCE_IOC
        if rest[0] == "for":
            place.quote_units = int(rest[1])
        else:
            place.quantity_lots = int(rest[0])
        if "at" in rest:
            place.price_ticks = int(rest[2])
            kind = rest[3] if len(rest) > 3 else "gtc"
            place.type = v1.OrderType.ORDER_TYPE_LIMIT_MAKER if kind == "maker" else v1.OrderType.ORDER_TYPE_LIMIT
            force = "GTC" if kind == "maker" else kind.upper()
            place.time_in_force = v1.TimeInForce.Value(f"TIME_IN_FORCE_{force}")
        return self.send(place_order=place)

    def book(self, words: str) -> None:
        """Resting orders of the maker: `sell 5 at 100, sell 3 at 101`."""
        for order in words.split(","):
            assert leaves(self.order(order.strip(), MAKER)) > 0

    def phase(self, state: str, duration_ms: int = 0) -> v1.Reply:
        change = v1.ChangeSymbolState(symbol="AB", duration_ms=duration_ms, reason="asked")
        change.state = v1.SymbolState.Value(f"SYMBOL_STATE_{state}")
        return self.send(change_symbol_state=change)

    def tick(self, time_us: int) -> None:
        self.time_us = time_us
        self.send(tick=v1.Tick())

    def balance(self, account: int, asset: str) -> tuple[int, int]:
        available, hold = self.twin.state.balances[account, asset]
        return available - 1_000_000 if account >= 1000 else available, hold

    def told(self, name: str) -> list[Any]:
        return [getattr(event, name) for event in self.events if event.HasField(name)]  # type: ignore[arg-type]

    def state(self) -> str:
        return v1.SymbolState.Name(self.twin.state.books["AB"].state).removeprefix("SYMBOL_STATE_")


def leaves(order: v1.Order) -> int:
    return order.quantity_lots - order.executed_lots - order.prevented_lots


def status(order: v1.Order) -> str:
    return v1.OrderStatus.Name(order.status).removeprefix("ORDER_STATUS_")


def auctioned(orders: str, **terms: Any) -> tuple[int, int, int]:
    shard = Shard(**terms)
    shard.phase("AUCTION")
    indicated = (0, 0, 0)
    for order in orders.split(","):
        shard.order(order.strip(), MAKER)
        for told in shard.told("auction_indicated"):
            indicated = (told.price_ticks, told.quantity_lots, told.surplus_lots)
    shard.phase("TRADING")
    trades = shard.told("trade_executed")
    assert {trade.price_ticks for trade in trades} <= {indicated[0]}
    assert sum(trade.quantity_lots for trade in trades) == indicated[1]
    assert shard.state() == "TRADING"
    return indicated


@pytest.mark.parametrize(
    ("orders", "reference", "indicated"),
    [
        # A book that does not cross has no price.
        ("buy 5 at 99, sell 5 at 100", 0, (0, 0, 0)),
        # The largest volume: 7 at 101, 5 at 100.
        ("buy 7 at 101, sell 5 at 100, sell 4 at 101", 0, (101, 7, -2)),
        # Both 5; the surplus is 0 at 101 and 3 at 100.
        ("buy 5 at 101, buy 3 at 100, sell 5 at 100", 0, (101, 5, 0)),
        # Both 5, with a surplus of 2 bids: the highest.
        ("buy 7 at 102, sell 5 at 100", 100, (102, 5, 2)),
        # Both 5, with a surplus of 2 asks: the lowest.
        ("buy 5 at 102, sell 7 at 100", 102, (100, 5, -2)),
        # 2 bids over at 101 and 2 asks over at 102: the nearest to the reference.
        ("buy 5 at 102, buy 2 at 101, sell 5 at 101, sell 2 at 102", 101, (101, 5, 2)),
        ("buy 5 at 102, buy 2 at 101, sell 5 at 101, sell 2 at 102", 110, (102, 5, -2)),
        # Balanced at 100 and 104, equally near: the higher. Without a reference the lowest.
        ("buy 5 at 104, sell 5 at 100", 102, (104, 5, 0)),
        ("buy 5 at 104, sell 5 at 100", 101, (100, 5, 0)),
        ("buy 5 at 104, sell 5 at 100", 0, (100, 5, 0)),
    ],
)
def test_an_auctions_price(orders: str, reference: int, indicated: tuple[int, int, int]) -> None:
    assert auctioned(orders, reference_price_ticks=reference) == indicated


def test_an_uncross_trades_by_price_and_time_and_the_younger_order_takes() -> None:
    shard = Shard(maker_fee_ppm=0, taker_fee_ppm=100_000)
    shard.phase("AUCTION")
    first, second = shard.order("buy 4 at 101", MAKER), shard.order("buy 4 at 101", MAKER)
    sale = shard.order("sell 6 at 100")
    best = shard.order("buy 1 at 102", MAKER)
    shard.phase("TRADING")
    trades = shard.told("trade_executed")
    assert [(trade.maker.order_id, trade.taker.order_id, trade.quantity_lots) for trade in trades] == [
        (sale.order_id, best.order_id, 1),
        (first.order_id, sale.order_id, 4),
        (second.order_id, sale.order_id, 1),
    ]
    assert {trade.price_ticks for trade in trades} == {101}
    # One tenth of what the takers received: of 1 lot nothing, of 404 and 101 Q.
    assert [trade.taker.fee_units for trade in trades] == [0, 40, 10]
    names = [event.WhichOneof("body") for event in shard.events]
    assert names == [*["trade_executed"] * 3, "symbol_state_changed", *["book_delta"] * 3]
    assert [(delta.price_ticks, delta.quantity_lots) for delta in shard.told("book_delta")] == [
        (102, 0),
        (101, 3),
        (100, 0),
    ]


def test_an_uncross_that_is_too_long_goes_on_with_ticks() -> None:
    shard = Shard(lowered={"matches_most": 2})
    shard.phase("AUCTION")
    shard.book("sell 1 at 100, sell 1 at 100, sell 1 at 100, sell 1 at 100, sell 1 at 101")
    shard.order("buy 5 at 101")
    shard.phase("TRADING")
    assert (len(shard.told("trade_executed")), shard.state()) == (2, "AUCTION")
    assert shard.refusal("buy 1 at 99") == "SYMBOL_AUCTION"
    cancel = v1.CancelAllOrders(account=MAKER, reason=v1.CancelReason.CANCEL_REASON_REQUEST)
    assert shard.send(cancel_all_orders=cancel).canceled_all == v1.CancelAllResult()
    shard.tick(0)
    assert (len(shard.told("trade_executed")), shard.state()) == (2, "AUCTION")
    shard.tick(0)
    assert (len(shard.told("trade_executed")), shard.state()) == (1, "TRADING")
    assert shard.told("trade_executed")[0].price_ticks == 101
    assert shard.told("symbol_state_changed")[0].reason == "the phase is over"


@pytest.mark.parametrize(
    ("book", "order", "quantity", "executed", "ends", "cost"),
    [
        # 2 at 100 cost 200, 2 at 110 cost 220, and 80 buy no third: used up.
        ("sell 2 at 100, sell 9 at 110", "buy for 500", 4, 4, "FILLED", 420),
        # The book ends first: EXPIRED although nothing is left.
        ("sell 2 at 100", "buy for 500", 2, 2, "EXPIRED", 200),
        # Exactly used up at the end of the book.
        ("sell 5 at 100", "buy for 500", 5, 5, "FILLED", 500),
        # It never wants a lot.
        ("sell 2 at 100", "buy for 99", 0, 0, "EXPIRED", 0),
        # Within the collar of a tenth, 110 is the last.
        ("sell 2 at 100, sell 1 at 110, sell 9 at 111", "buy for 900", 3, 3, "EXPIRED", 310),
        # The most lots that a MARKET order may have are as good as used up.
        ("sell 20 at 10", "buy for 900", 12, 12, "FILLED", 120),
    ],
)
def test_market_by_amount_becomes_an_order_by_lots(
    book: str, order: str, quantity: int, executed: int, ends: str, cost: int
) -> None:
    reference = 100 if "111" in book else 0
    shard = Shard(market_collar_ppm=100_000, market_max_quantity_lots=12, reference_price_ticks=reference)
    shard.book(book)
    placed = shard.order(order)
    assert (placed.quantity_lots, placed.executed_lots, status(placed)) == (quantity, executed, ends)
    assert shard.balance(TAKER, "Q") == (-cost, 0)


def test_market_by_amount_pays_the_fee_out_of_the_amount() -> None:
    """4 lots cost 400 and a fee of 40; the fifth would make it 550."""
    shard = Shard(taker_fee_ppm=100_000, fee_charge=v1.FeeCharge.FEE_CHARGE_QUOTE)
    shard.book("sell 9 at 100")
    assert shard.order("buy for 549").executed_lots == 4
    assert shard.balance(TAKER, "Q") == (-440, 0)
    assert shard.order("buy for 550").executed_lots == 5


def test_market_by_amount_counts_the_fee_rounded_down() -> None:
    """A lot costs 100 and of 9.9999 the 9."""
    shard = Shard(taker_fee_ppm=99_999, fee_charge=v1.FeeCharge.FEE_CHARGE_QUOTE)
    shard.book("sell 9 at 100")
    assert shard.order("buy for 108").executed_lots == 0
    assert shard.order("buy for 109").executed_lots == 1


def test_market_by_amount_under_self_trade_prevention() -> None:
    shard = Shard()
    shard.book("sell 2 at 100")
    shard.order("sell 3 at 110")
    shard.book("sell 9 at 120")
    # 2 lots for 200 and 4 lots that 470 would pay for at 110 are wanted; the own order ends it.
    taken = shard.order("buy for 670", prevention=EXPIRE_TAKER)
    assert (taken.quantity_lots, taken.executed_lots, taken.prevented_lots) == (6, 2, 4)
    assert status(taken) == "EXPIRED_IN_MATCH"
    assert shard.balance(TAKER, "Q") == (-200, 0)
    # The own 3 lots are decremented for 330 of the 670; 340 pay for 2 lots at 120.
    taken = shard.order("buy for 670", prevention=DECREMENT)
    assert (taken.quantity_lots, taken.executed_lots, taken.prevented_lots) == (5, 2, 3)
    assert status(taken) == "FILLED"
    assert shard.balance(TAKER, "Q") == (-440, 0)


def test_fees_are_rounded_down_on_both_sides() -> None:
    """Of 19 lots for 1,900 Q at 99,999 ppm: 1.89 of A and 189.99 of Q."""
    shard = Shard(maker_fee_ppm=99_999, taker_fee_ppm=99_999)
    shard.book("sell 19 at 100")
    shard.order("buy 19 at 100")
    assert (shard.balance(TAKER, "A"), shard.balance(MAKER, "Q")) == ((18, 0), (1_900 - 189, 0))
    assert (shard.balance(1, "A"), shard.balance(1, "Q")) == ((1, 0), (189, 0))


def test_an_order_keeps_its_fee_schedule_and_holds_by_it() -> None:
    """The bid holds 1,000 and the higher of both fees on top, 50. It trades under schedule 1, the sale under 2."""
    shard = Shard(maker_fee_ppm=10_000, taker_fee_ppm=50_000, fee_charge=v1.FeeCharge.FEE_CHARGE_QUOTE)
    bid = shard.order("buy 10 at 100", MAKER)
    assert shard.balance(MAKER, "Q") == (-1_050, 1_050)
    shard.define(maker_fee_ppm=0, taker_fee_ppm=20_000)
    assert shard.told("symbol_defined")[0].fee_schedule == 2
    sale = shard.order("sell 4 at 100")
    assert (bid.fee_schedule, sale.fee_schedule) == (1, 2)
    # 400 and 4 were paid; 6 lots hold 600 and 30.
    assert shard.balance(MAKER, "Q") == (-404 - 630, 630)
    assert shard.balance(TAKER, "Q") == (392, 0)


@pytest.mark.parametrize(
    ("mode", "maker_prevented", "taker_prevented", "taker_executed", "ends"),
    [
        (EXPIRE_TAKER, 0, 5, 0, "EXPIRED_IN_MATCH"),
        (EXPIRE_MAKER, 3, 0, 4, "PARTIALLY_FILLED"),
        (EXPIRE_BOTH, 3, 5, 0, "EXPIRED_IN_MATCH"),
        (DECREMENT, 3, 3, 2, "FILLED"),
        (TRANSFER, 3, 3, 2, "FILLED"),
    ],
)
def test_self_trade_prevention(
    mode: int, maker_prevented: int, taker_prevented: int, taker_executed: int, ends: str
) -> None:
    """5 wanted, 3 of the own account first, and 4 of another behind."""
    shard = Shard()
    own = shard.order("sell 3 at 100")
    shard.book("sell 4 at 100")
    taker = shard.order("buy 5 at 100", prevention=mode)
    (prevented,) = shard.told("match_prevented")
    assert (prevented.maker.prevented_lots, prevented.taker.prevented_lots) == (maker_prevented, taker_prevented)
    assert prevented.self_trade_prevention == (DECREMENT if mode == TRANSFER else mode)
    assert (taker.executed_lots, taker.prevented_lots, status(taker)) == (taker_executed, taker_prevented, ends)
    expired = {expired.order.order_id for expired in shard.told("order_expired")}
    of_maker = {own.order_id} if mode != EXPIRE_TAKER else set()
    assert expired == of_maker | ({taker.order_id} if mode in (EXPIRE_TAKER, EXPIRE_BOTH) else set())


def test_a_transfer_moves_lots_without_a_trade_or_a_fee() -> None:
    shard = Shard(taker_fee_ppm=100_000, maker_fee_ppm=100_000, fee_charge=v1.FeeCharge.FEE_CHARGE_QUOTE)
    for account in (MAKER, TAKER):
        shard.send(configure_account=v1.ConfigureAccount(account=account, trade_group=7))
    shard.order("sell 3 at 100", MAKER, prevention=TRANSFER)
    taker = shard.order("buy 5 at 101", prevention=TRANSFER)
    (prevented,) = shard.told("match_prevented")
    assert (prevented.transferred_lots, prevented.transferred_quote_units) == (3, 300)
    assert (taker.executed_lots, taker.prevented_lots) == (0, 3)
    assert (shard.balance(MAKER, "A"), shard.balance(MAKER, "Q")) == ((-3, 0), (300, 0))
    # 2 lots at 101 rest, with a tenth on top.
    assert (shard.balance(TAKER, "A"), shard.balance(TAKER, "Q")) == ((3, 0), (-300 - 222, 222))


@pytest.mark.parametrize(
    ("own_mode", "ends", "trades"),
    [(EXPIRE_MAKER, "FILLED", 1), (DECREMENT, "EXPIRED", 0), (EXPIRE_TAKER, "EXPIRED", 0)],
)
def test_fok_counts_what_prevention_leaves_it(own_mode: int, ends: str, trades: int) -> None:
    shard = Shard()
    shard.order("sell 3 at 100")
    shard.book("sell 4 at 100")
    placed = shard.order("buy 4 at 100 fok", prevention=own_mode)
    assert (status(placed), len(shard.told("trade_executed"))) == (ends, trades)
    assert len(shard.told("match_prevented")) == trades
    assert shard.balance(TAKER, "Q")[1] == 0


def test_a_band_crossed_in_the_middle_of_a_sweep_starts_an_auction() -> None:
    bands: dict[str, Any] = {"dynamic_band_ppm": 20_000, "volatility_auction_ms": 500, "reference_price_ticks": 100}
    shard = Shard(**bands)
    shard.book("sell 1 at 101, sell 1 at 102, sell 1 at 103")
    assert status(shard.order("buy 3 at 103 fok")) == "EXPIRED"
    assert shard.state() == "TRADING"
    taker = shard.order("buy 5 at 103")
    assert (taker.executed_lots, status(taker), shard.state()) == (2, "PARTIALLY_FILLED", "AUCTION")
    names = [event.WhichOneof("body") for event in shard.events]
    deltas = ["book_delta"] * 3
    assert names == ["order_accepted", *["trade_executed"] * 2, "symbol_state_changed", *deltas, "auction_indicated"]
    assert shard.told("auction_indicated")[0] == v1.AuctionIndicated(price_ticks=103, quantity_lots=1, surplus_lots=2)
    shard.tick(499_999)
    assert shard.state() == "AUCTION"
    shard.tick(500_000)
    assert (shard.state(), shard.told("trade_executed")[0].price_ticks) == ("TRADING", 103)
    # The static reference is now 103, and so is the last price.
    assert shard.twin.state.books["AB"].auction_price == 103


def test_a_market_order_that_the_bands_stop_expires_and_interrupts() -> None:
    for words in ("buy 3", "buy for 400"):
        shard = Shard(static_band_ppm=20_000, volatility_auction_ms=500, reference_price_ticks=100)
        shard.book("sell 1 at 102, sell 5 at 103")
        taker = shard.order(words)
        assert (taker.executed_lots, status(taker), shard.state()) == (1, "EXPIRED", "AUCTION")


def test_an_amended_order_keeps_its_place() -> None:
    shard = Shard()
    first, second = shard.order("sell 5 at 100", MAKER), shard.order("sell 5 at 100", MAKER)
    amend = v1.AmendOrder(account=MAKER, symbol="AB", order_id=first.order_id, quantity_lots=2)
    shard.send(amend_order=amend)
    assert shard.balance(MAKER, "A") == (-7, 7)
    shard.order("buy 3 at 100")
    assert [trade.maker.order_id for trade in shard.told("trade_executed")] == [first.order_id, second.order_id]


def test_a_client_order_id_rests_for_300_seconds() -> None:
    shard = Shard()
    place = v1.PlaceOrder(account=TAKER, symbol="AB", client_order_id="mine", side=v1.Side.SIDE_BUY)
    place.type, place.time_in_force = v1.OrderType.ORDER_TYPE_LIMIT, v1.TimeInForce.TIME_IN_FORCE_IOC
    place.price_ticks = place.quantity_lots = 1
    shard.send(place_order=place)
    shard.time_us = 299_999_999
    recent = v1.RejectReason.REJECT_REASON_RECENT_CLIENT_ORDER_ID
    assert shard.send(place_order=place).rejection.reason == recent
    shard.time_us += 1
    assert shard.send(place_order=place).HasField("order")


def test_levels_come_down_below_half_of_their_limits() -> None:
    shard = Shard()
    limits = v1.SafetyLimits(throttle=10, cancel_only=20, halt=40)
    shard.send(configure_safety=v1.ConfigureSafety(settlement_lag_ms=limits, throttled_orders_per_second=2))
    levels = []
    for lag in (9, 10, 5, 4, 41, 20, 19, 9, 4, 0):
        shard.send(report_lag=v1.ReportLag(settlement_lag_ms=lag))
        levels.append(v1.SafetyLevel.Name(shard.twin.state.safety_level).removeprefix("SAFETY_LEVEL_"))
    assert levels == [
        *("NORMAL", "THROTTLED", "THROTTLED", "NORMAL"),
        *("HALT", "HALT", "CANCEL_ONLY", "THROTTLED", "NORMAL", "NORMAL"),
    ]


def test_a_throttled_shard_accepts_so_many_orders_a_second() -> None:
    shard = Shard()
    limits = v1.SafetyLimits(throttle=10)
    shard.send(configure_safety=v1.ConfigureSafety(unpublished_commands=limits, throttled_orders_per_second=2))
    shard.send(report_lag=v1.ReportLag(unpublished_commands=10))
    assert [shard.refusal("buy 1 at 9") for _ in range(3)] == ["UNSPECIFIED", "UNSPECIFIED", "THROTTLED"]
    shard.time_us = 1_000_000
    assert shard.refusal("buy 1 at 9") == "UNSPECIFIED"


def test_a_countdown_and_a_kill_switch_take_as_many_orders_as_one_command_may() -> None:
    shard = Shard(lowered={"cancels_most": 2})
    shard.book("sell 1 at 100, sell 1 at 101, sell 1 at 102, sell 1 at 103, sell 1 at 104")
    shard.send(set_countdown=v1.SetCountdown(account=MAKER, countdown_ms=10))
    shard.tick(9_999)
    assert shard.events == []
    shard.tick(10_000)
    assert [told.order.price_ticks for told in shard.told("order_canceled")] == [100, 101]
    shard.send(set_kill_switch=v1.SetKillSwitch(account=MAKER, on=True))
    assert [told.order.price_ticks for told in shard.told("order_canceled")] == [102, 103]
    shard.tick(10_000)
    assert [told.reason for told in shard.told("order_canceled")] == [v1.CancelReason.CANCEL_REASON_COUNTDOWN]
    assert shard.refusal("sell 1 at 100", MAKER) == "ACCOUNT_KILLED"


def test_a_reach_that_ends_at_the_most_matches_expires_what_is_left() -> None:
    shard = Shard(lowered={"matches_most": 2})
    shard.book("sell 1 at 100, sell 1 at 100, sell 1 at 101")
    taker = shard.order("buy 5 at 100")
    assert (taker.executed_lots, status(taker)) == (2, "PARTIALLY_FILLED")
    shard.book("sell 1 at 102, sell 1 at 103")
    taker = shard.order("buy 5 at 103")
    assert (taker.executed_lots, status(taker)) == (2, "EXPIRED")


def test_a_halt_that_is_lifted_may_reopen_with_an_auction() -> None:
    shard = Shard()
    halt = v1.SymbolState.SYMBOL_STATE_HALT
    shard.send(impose_halt=v1.ImposeHalt(halt="night", state=halt, reason="sleep"))
    assert shard.refusal("buy 1 at 9") == "SYMBOL_HALTED"
    reopen = v1.SymbolState.SYMBOL_STATE_AUCTION
    shard.send(lift_halt=v1.LiftHalt(halt="night", reopen=reopen, reopen_ms=1))
    (changed,) = shard.told("symbol_state_changed")
    assert (changed.halt, changed.previous_state, changed.state) == ("night", halt, reopen)
    assert shard.refusal("buy 1 at 9 ioc") == "SYMBOL_AUCTION"
    shard.tick(1_000)
    assert shard.state() == "TRADING"
