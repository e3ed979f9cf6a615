"""Seeded streams of commands that visit every rule: several mixes, each with one kind of market in mind.

The same mix and seed give the same stream. Units are small, so that amounts are rounded all the time.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kernel.spoiled import spoil

from openbourse.contracts import v1

ACCOUNTS = (1000, 1001, 1002, 2**64 - 1)
SYMBOLS = ("BTCUSDT", "ETHBTC")
ASSETS = {"BTC": 8, "ETH": 2, "USDT": 6}
HALTS = ("night", "audit", "exchange/all")
FIRST_TIME_US = 1_700_000_000_000_000
MIDDLE = 100

BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
LIMIT, MARKET = v1.OrderType.ORDER_TYPE_LIMIT, v1.OrderType.ORDER_TYPE_MARKET
LIMIT_MAKER = v1.OrderType.ORDER_TYPE_LIMIT_MAKER
GTC, IOC = v1.TimeInForce.TIME_IN_FORCE_GTC, v1.TimeInForce.TIME_IN_FORCE_IOC
FOK = v1.TimeInForce.TIME_IN_FORCE_FOK
State = v1.SymbolState
PHASES = (State.SYMBOL_STATE_TRADING, State.SYMBOL_STATE_POST_ONLY, State.SYMBOL_STATE_AUCTION)
HALT_STATES = (State.SYMBOL_STATE_HALT, State.SYMBOL_STATE_CANCEL_ONLY, State.SYMBOL_STATE_POST_ONLY)


@dataclass(frozen=True)
class Mix:
    """Of each kind of command so many; and what orders and definitions look like."""

    weights: dict[str, int]
    accounts: tuple[int, ...] = ACCOUNTS
    # Of each asset, for each account.
    funds: int = 400_000
    lots: tuple[int, ...] = (1, 2, 3, 5, 8, 13)
    # Where orders' prices are, and how far from there.
    middle: int = MIDDLE
    width: int = 3
    # How the middle moves with each order.
    drift: tuple[int, ...] = (0,)
    terms: dict[str, int] = field(default_factory=dict)
    group: bool = False
    # Version 2 begins after so many commands, and version 3 so many later.
    version_2_from: int = 20
    version_3_after: int = 30


TRADING = {"place": 60, "cancel": 22, "amend": 6, "replace": 5, "tick": 2, "credit": 2, "resend": 2}
RARE = {"checkpoint": 1, "nonsense": 4}
MIXES = {
    "version_1": Mix(
        {"place": 60, "cancel": 22, "resend": 4, "credit": 3, "redefine": 2, "halt": 1, "lift": 8, "amend": 1, **RARE},
        version_2_from=1_000_000,
    ),
    "everything": Mix(
        {
            **{"place": 60, "cancel": 10, "amend": 6, "replace": 6, "cancel_all": 3, "countdown": 2, "credit": 3},
            **{"debit": 2, "redefine": 3, "halt": 1, "lift": 5, "phase": 3, "configure": 2, "kill": 1, "revive": 6},
            **{"safety": 1, "lag": 3, "tick": 8, "version": 1, "resend": 4, "checkpoint": 1, "nonsense": 5},
        },
        version_2_from=300,
    ),
    "balanced": Mix({**TRADING, **RARE, "redefine": 1}),
    "mostly_cancels": Mix(
        {
            **TRADING,
            **RARE,
            "place": 45,
            "cancel": 40,
            "cancel_all": 4,
            "countdown": 5,
            "kill": 1,
            "revive": 2,
            "tick": 9,
        },
        width=6,
    ),
    "flash_crash": Mix(
        {**TRADING, "phase": 2, "tick": 6, "cancel_all": 1},
        drift=(-1, -1, 0, 0, 0, 1),
        terms={
            **{"market_collar_ppm": 50_000, "static_band_ppm": 150_000, "dynamic_band_ppm": 40_000},
            **{"volatility_auction_ms": 400, "average_minutes": 2, "reference_price_ticks": MIDDLE},
        },
    ),
    "huge": Mix(
        {**TRADING, "debit": 1, "cancel_all": 1, "redefine": 1},
        accounts=(1000, 1001),
        funds=2**61,
        lots=(1, 2**17, 2**18, 2**19 - 1, 2**19),
        middle=2**40 - 4,
        terms={"max_price_ticks": 2**40, "max_quantity_lots": 2**19},
    ),
    "one_price": Mix({**TRADING, "cancel_all": 1}, width=0),
    "one_account": Mix({**TRADING, "redefine": 2, "cancel_all": 1}, accounts=(1000,)),
    "one_group": Mix({**TRADING, "redefine": 2, "cancel_all": 1, "configure": 1}, accounts=(1000, 1001), group=True),
    "auctions": Mix(
        {**TRADING, "cancel": 10, "phase": 12, "tick": 10, "halt": 1, "lift": 3, "redefine": 1, "cancel_all": 1},
        terms={"static_band_ppm": 30_000, "dynamic_band_ppm": 15_000, "volatility_auction_ms": 200},
    ),
    "safety_and_limits": Mix(
        {
            **TRADING,
            **{"safety": 1, "lag": 6, "configure": 5, "kill": 1, "revive": 5, "tick": 4, "debit": 2, "redefine": 1},
        },
    ),
}


def definition(symbol: str) -> v1.SymbolDefinition:
    """As version 1 knew it."""
    if symbol == "BTCUSDT":
        return v1.SymbolDefinition(
            symbol=symbol,
            base_asset="BTC",
            quote_asset="USDT",
            tick_units=1_000_000,
            lot_units=700,
            max_price_ticks=1_000,
            max_quantity_lots=500,
            min_notional_units=100,
            maker_fee_ppm=900,
            taker_fee_ppm=1_700,
        )
    return v1.SymbolDefinition(
        symbol=symbol,
        base_asset="ETH",
        quote_asset="BTC",
        tick_units=100,
        lot_units=3,
        max_price_ticks=2**40,
        max_quantity_lots=2**20,
        maker_fee_ppm=0,
        taker_fee_ppm=99_999,
    )


class Workload:
    """Remembers what it sent, so that it can cancel, repeat and resend."""

    def __init__(self, seed: int, mix: str = "everything") -> None:
        self.random = random.Random(f"{mix}/{seed}")  # noqa: S311
        self.mix = MIXES[mix]
        self.time_us = FIRST_TIME_US
        self.seq = 0
        self.middle = self.mix.middle
        self.sent: list[v1.Command] = []
        self.in_force = 1
        self.placed: list[tuple[int, v1.PlaceOrder]] = []
        self.kinds: dict[str, Callable[[], v1.Command]] = {name: getattr(self, name) for name in self.mix.weights}

    def commands(self, count: int) -> Iterator[tuple[int, v1.Command]]:
        """Each with its time. Each is numbered by its place in the stream, as an engine would from seq 1."""
        setup = self.listings()
        while self.seq < count:
            self.seq += 1
            self.time_us += self.passes()
            command = next(setup, None) or self.next()
            if not command.command_id:
                command.command_id = self.random.randbytes(16)
                command.correlation_id = f"request-{self.seq}"
                command.causation_id = self.random.choice(["", "cause"])
                traced = f"00-{self.seq:032x}-{self.seq:016x}-01"
                command.traceparent = self.random.choice(["", "", traced, "cut short", traced * 20])
            if self.random.random() < 0.003:
                command.command_id = self.random.randbytes(self.random.choice([0, 1, 15, 17]))
            self.sent.append(command)
            del self.sent[:-200]
            yield self.time_us, command

    def passes(self) -> int:
        """Microseconds until the next command: often none, seldom minutes."""
        most = self.random.choices([0, 1_000, 200_000, 3_000_000, 400_000_000], [20, 40, 35, 4, 0.3])[0]
        return self.random.randint(0, most)

    def listings(self) -> Iterator[v1.Command]:
        """Two symbols that share an asset; every account has some of everything."""
        for asset, scale in ASSETS.items():
            yield v1.Command(define_asset=v1.DefineAsset(asset=asset, scale=scale))
        for symbol in SYMBOLS:
            yield v1.Command(define_symbol=v1.DefineSymbol(definition=definition(symbol)))
        for account in self.mix.accounts:
            for asset in ASSETS:
                credit = v1.CreditFunds(transfer_id=f"{account}/{asset}", account=account, asset=asset)
                credit.amount = self.mix.funds
                yield v1.Command(credit_funds=credit)
        while self.seq < self.mix.version_2_from:
            yield self.next()
        yield v1.Command(change_version=v1.ChangeVersion(version=2))
        self.in_force = 2
        for symbol in SYMBOLS:
            yield v1.Command(define_symbol=v1.DefineSymbol(definition=self.terms(symbol)))
        if self.mix.group:
            for account in self.mix.accounts:
                yield v1.Command(configure_account=v1.ConfigureAccount(account=account, trade_group=7))
        until = self.seq + self.mix.version_3_after
        while self.seq < until:
            yield self.next()
        yield v1.Command(change_version=v1.ChangeVersion(version=3))
        self.in_force = 3

    def terms(self, symbol: str) -> v1.SymbolDefinition:
        terms = definition(symbol)
        for name, value in self.mix.terms.items():
            setattr(terms, name, value)
        if symbol == "ETHBTC":
            terms.fee_charge = v1.FeeCharge.FEE_CHARGE_QUOTE
        return terms

    def next(self) -> v1.Command:
        (kind,) = self.random.choices(list(self.kinds.values()), list(self.mix.weights.values()))
        return kind()

    # Orders

    def place(self) -> v1.Command:
        order = self.order()
        self.placed.append((self.seq, order))
        del self.placed[:-120]
        return v1.Command(place_order=order)

    def order(self) -> v1.PlaceOrder:
        pick = self.random
        self.middle += pick.choice(self.mix.drift)
        if self.middle < MIDDLE // 4:
            self.middle = MIDDLE
        order = v1.PlaceOrder(
            account=pick.choice(self.mix.accounts),
            symbol=pick.choice(SYMBOLS),
            side=pick.choice([BUY, SELL]),
            type=LIMIT,
            time_in_force=pick.choices([GTC, IOC, FOK], [8, 2, 1])[0],
            quantity_lots=pick.choice(self.mix.lots),
            client_order_id=f"o-{self.seq}" if pick.random() < 0.9 else f"p-{pick.randint(1, 30)}",
            self_trade_prevention=pick.choice(v1.SelfTradePrevention.values()),
        )
        away = min(self.mix.width, 1) * (-1 if order.side == BUY else 1)
        order.price_ticks = self.middle + away + pick.randint(-self.mix.width, self.mix.width)
        if self.mix.group and pick.random() < 0.5:
            order.self_trade_prevention = v1.SelfTradePrevention.SELF_TRADE_PREVENTION_TRANSFER
        kind = pick.random()
        if self.seq > self.mix.version_2_from:
            if kind < 0.15:
                self.make_market(order)
            elif kind < 0.3:
                order.type, order.time_in_force = LIMIT_MAKER, GTC
        if pick.random() < 0.03:
            order.price_ticks = pick.choice([0, -1, 1, 999, 1_000, 1_001, 2**63 - 1, -(2**63)])
        if pick.random() < 0.03:
            order.quantity_lots = pick.choice([0, -1, 60, 499, 500, 501, 2**63 - 1, -(2**63)])
        if pick.random() < 0.01:
            order.symbol = "XRPBTC"
        return order

    def make_market(self, order: v1.PlaceOrder) -> None:
        pick = self.random
        order.type, order.time_in_force, order.price_ticks = MARKET, IOC, 0
        if pick.random() < 0.6:
            order.quantity_lots = 0
            notional = (
                self.middle * (7 if order.symbol == "BTCUSDT" else 3) * pick.choice(self.mix.lots) * pick.randint(1, 4)
            )
            with_fee = notional + notional * 99_999 // 1_000_000
            amounts = [1, 99, 100, 500, notional, notional + pick.randint(-2, 2), with_fee]
            order.quote_units = min(pick.choice(amounts), 2**63 - 1)

    def known(self) -> tuple[int, v1.PlaceOrder]:
        """Mostly one that may still be open."""
        if not self.placed:
            self.place()
        resting = [placed for placed in self.placed if placed[1].time_in_force == GTC]
        return self.random.choice((resting or self.placed)[-12:] if self.random.random() < 0.9 else self.placed)

    def cancellation(self) -> v1.CancelOrder:
        pick = self.random
        seq, order = self.known()
        cancel = v1.CancelOrder(account=order.account, symbol=order.symbol)
        if pick.random() < 0.5:
            cancel.order_id = seq
        else:
            cancel.client_order_id = order.client_order_id
        if pick.random() < 0.1:
            cancel.account = pick.choice(ACCOUNTS)
        if pick.random() < 0.1:
            cancel.symbol = pick.choice(SYMBOLS)
        if pick.random() < 0.2:
            cancel.restriction = pick.choice(v1.CancelRestriction.values())
        return cancel

    def cancel(self) -> v1.Command:
        return v1.Command(cancel_order=self.cancellation())

    def amend(self) -> v1.Command:
        pick = self.random
        seq, order = self.known()
        amend = v1.AmendOrder(account=order.account, symbol=order.symbol, order_id=seq)
        amend.quantity_lots = pick.choice([max(order.quantity_lots - 1, 1), 1, 2, 4, 7, 600])
        if pick.random() < 0.3:
            amend.client_order_id = order.client_order_id
        if pick.random() < 0.3:
            amend.new_client_order_id = pick.choice([order.client_order_id, f"a-{pick.randint(1, 30)}"])
        return v1.Command(amend_order=amend)

    def replace(self) -> v1.Command:
        pick = self.random
        replace = v1.ReplaceOrder(cancel=self.cancellation(), place=self.order())
        if pick.random() < 0.95:
            replace.place.account, replace.place.symbol = replace.cancel.account, replace.cancel.symbol
        replace.mode = pick.choice([1, 2])  # type: ignore[assignment]
        self.placed.append((self.seq, replace.place))
        return v1.Command(replace_order=replace)

    def cancel_all(self) -> v1.Command:
        pick = self.random
        cancel = v1.CancelAllOrders(account=pick.choice([0, *self.mix.accounts, *self.mix.accounts]))
        cancel.symbol = pick.choice(["", *SYMBOLS])
        cancel.reason = pick.choice([1, 3, 6])  # type: ignore[assignment]
        return v1.Command(cancel_all_orders=cancel)

    def countdown(self) -> v1.Command:
        pick = self.random
        countdown = v1.SetCountdown(account=pick.choice(self.mix.accounts), symbol=pick.choice(["", *SYMBOLS]))
        countdown.countdown_ms = pick.choice([0, 1, 100, 900, 5_000, 86_400_000])
        countdown.guard = pick.random() < 0.3
        return v1.Command(set_countdown=countdown)

    def resend(self) -> v1.Command:
        again = v1.Command()
        again.CopyFrom(self.random.choice(self.sent))
        if self.random.random() < 0.2:
            # The same id decides, whatever else changed.
            again.place_order.quantity_lots = 7
        return again

    # Funds and listings

    def credit(self) -> v1.Command:
        pick = self.random
        amount = pick.choice([0, -1, 1, 7, 10_000, 100_000, 2**63 - 1])
        credit = v1.CreditFunds(transfer_id="t", account=pick.choice(self.mix.accounts), amount=amount)
        credit.asset = pick.choice(["BTC", "ETH", "USDT", "DOGE"])
        return v1.Command(credit_funds=credit)

    def debit(self) -> v1.Command:
        pick = self.random
        debit = v1.DebitFunds(transfer_id="t", account=pick.choice(self.mix.accounts))
        debit.amount = pick.choice([0, 1, 7, 5_000, 2**63 - 1])
        debit.asset = pick.choice([*ASSETS, "DOGE"])
        return v1.Command(debit_funds=debit)

    def redefine(self) -> v1.Command:
        pick = self.random
        if pick.random() < 0.1:
            asset = v1.DefineAsset(asset=pick.choice(["BTC", "USDT", "DOGE"]), scale=pick.choice([6, 8, 19]))
            return v1.Command(define_asset=asset)
        terms = self.terms(pick.choice(SYMBOLS))
        choices: dict[str, list[int]] = {
            "taker_fee_ppm": [0, 1, 1_700, 33_333, 100_000],
            "maker_fee_ppm": [0, 2_500, 99_999],
            "max_price_ticks": [110, 1_000, 2**40],
            "fee_charge": [0, 1, 2],
            "min_price_ticks": [0, 1, 98],
            "min_quantity_lots": [0, 1, 2],
            "market_max_quantity_lots": [0, 4, 20],
            "max_notional_units": [0, 4_000, 9_000],
            "self_trade_prevention": list(v1.SelfTradePrevention.values()),
            "average_minutes": [0, 1, 3, 60],
            "market_collar_ppm": [0, 10_000, 999_999],
            "reference_price_ticks": [0, 99, 104],
        }
        for name, values in choices.items():
            if pick.random() < 0.3:
                setattr(terms, name, pick.choice(values))
        if pick.random() < 0.3:
            for band in (terms.bid_band, terms.ask_band):
                band.lowest_ppm, band.highest_ppm = pick.choice([0, 970_000]), pick.choice([0, 1_020_000])
        if pick.random() < 0.3:
            terms.static_band_ppm = pick.choice([0, 10_000, 40_000])
            terms.dynamic_band_ppm = pick.choice([0, 10_000, 40_000])
            terms.volatility_auction_ms = 300 if terms.static_band_ppm or terms.dynamic_band_ppm else 0
        if pick.random() < 0.1:
            terms.symbol = pick.choice(["XRPBTC", "LTCBTC"])
        if pick.random() < 0.1:
            name = pick.choice(["tick_units", "lot_units", "max_price_ticks", "max_quantity_lots", "average_minutes"])
            setattr(terms, name, pick.choice([0, 101, 2**31]) if name[0] == "a" else pick.choice([-1, 0, 101, 2**62]))
        return v1.Command(define_symbol=v1.DefineSymbol(definition=terms))

    # States, limits, time

    def halt(self) -> v1.Command:
        pick = self.random
        impose = v1.ImposeHalt(
            halt=pick.choice(HALTS),
            symbols=pick.choice([[], ["BTCUSDT"], ["ETHBTC", "BTCUSDT", "ETHBTC"], ["XRPBTC"]]),
            state=pick.choice(HALT_STATES),
            reason=pick.choice(["", "maintenance", "Prüfung"]),
        )
        return v1.Command(impose_halt=impose)

    def lift(self) -> v1.Command:
        lift = v1.LiftHalt(halt=self.random.choice(HALTS), reason="over")
        lift.reopen = self.random.choice([State.SYMBOL_STATE_UNSPECIFIED, *PHASES])
        lift.reopen_ms = self.random.choice([1, 500]) if lift.reopen in PHASES[1:] else 0
        return v1.Command(lift_halt=lift)

    def phase(self) -> v1.Command:
        change = v1.ChangeSymbolState(symbol=self.random.choice(SYMBOLS), reason="asked")
        change.state = self.random.choice([PHASES[0], *PHASES])
        change.duration_ms = self.random.choice([0, 1, 300]) if change.state in PHASES[1:] else 0
        return v1.Command(change_symbol_state=change)

    def configure(self) -> v1.Command:
        pick = self.random
        configure = v1.ConfigureAccount(account=pick.choice(self.mix.accounts))
        if self.mix.group or pick.random() < 0.3:
            configure.trade_group = 7
        configure.reuse_client_order_ids = pick.random() < 0.3
        if pick.random() < 0.4:
            configure.max_open_orders = pick.choice([1, 3, 20])
        if pick.random() < 0.4:
            for asset in pick.sample(["USDT", "BTC", "ETH"], pick.randint(1, 3)):
                configure.max_open_notional.add(asset=asset, amount=pick.choice([0, 3_000, 30_000]))
        if pick.random() < 0.3:
            configure.max_orders_per_interval, configure.interval_ms = pick.choice([1, 3]), pick.choice([500, 5_000])
        return v1.Command(configure_account=configure)

    def kill(self) -> v1.Command:
        switch = v1.SetKillSwitch(account=self.random.choice(self.mix.accounts), on=True, reason="risk")
        return v1.Command(set_kill_switch=switch)

    def revive(self) -> v1.Command:
        return v1.Command(set_kill_switch=v1.SetKillSwitch(account=self.random.choice(self.mix.accounts)))

    def safety(self) -> v1.Command:
        pick = self.random
        safety = v1.ConfigureSafety(throttled_orders_per_second=pick.choice([1, 2]))
        for limits in (safety.settlement_lag_ms, safety.unpublished_commands):
            limits.throttle, limits.cancel_only, limits.halt = (pick.choice([0, most]) for most in (10, 21, 40))
        return v1.Command(configure_safety=safety)

    def lag(self) -> v1.Command:
        lag = v1.ReportLag(settlement_lag_ms=self.random.choice([0, 0, 0, 4, 5, 9, 10, 12, 25, 41]))
        lag.unpublished_commands = self.random.choice([0, 0, 0, 0, 0, 4, 10, 20])
        return v1.Command(report_lag=lag)

    def tick(self) -> v1.Command:
        return v1.Command(tick=v1.Tick())

    def version(self) -> v1.Command:
        """That changes nothing: the stream's own change comes at its time."""
        known = [self.in_force] if self.in_force > 1 else []
        return v1.Command(change_version=v1.ChangeVersion(version=self.random.choice([0, 1, 4, *known])))

    def checkpoint(self) -> v1.Command:
        return v1.Command(checkpoint=v1.Checkpoint())

    def nonsense(self) -> v1.Command:
        """A sound command with one field spoiled."""
        sound = [kind for name, kind in self.kinds.items() if name not in ("nonsense", "resend", "checkpoint", "tick")]
        command = self.random.choice(sound)()
        spoil(self.random, command)
        return command
