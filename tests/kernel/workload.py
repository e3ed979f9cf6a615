"""A seeded stream of commands that visits every rule: mostly orders that meet, the rest something of everything."""

import random
from collections.abc import Iterator

from openbourse.contracts import v1

ACCOUNTS = (1000, 1001, 1002, 2**64 - 1)
SYMBOLS = ("BTCUSDT", "ETHBTC")
HALTS = ("night", "audit", "exchange/all")
ENUMERATION_NUMBERS = (0, 1, 2, 3, 99, -1)


def listings() -> Iterator[v1.Command]:
    """Two symbols that share an asset; every account has some of everything."""
    assets = {"BTC": 8, "ETH": 2, "USDT": 6}
    for asset, scale in assets.items():
        yield v1.Command(define_asset=v1.DefineAsset(asset=asset, scale=scale))
    yield v1.Command(define_symbol=v1.DefineSymbol(definition=definition("BTCUSDT")))
    yield v1.Command(define_symbol=v1.DefineSymbol(definition=definition("ETHBTC")))
    for account in ACCOUNTS:
        for asset in assets:
            credit = v1.CreditFunds(transfer_id=f"{account}/{asset}", account=account, asset=asset, amount=400_000)
            yield v1.Command(credit_funds=credit)


def definition(symbol: str) -> v1.SymbolDefinition:
    """Small units, so that fees are rounded all the time."""
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
    """Remembers what it sent, so that it can cancel, repeat and resend. The same seed gives the same stream."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.sent: list[v1.Command] = []
        self.placed: list[tuple[int, v1.PlaceOrder]] = []

    def commands(self, count: int) -> Iterator[v1.Command]:
        """The first are the listings. Each is numbered by its place in the stream, as an engine would from seq 1."""
        setup = listings()
        for seq in range(1, count + 1):
            command = next(setup, None) or self.next()
            if not command.command_id:
                command.command_id = self.random.randbytes(16)
                command.correlation_id = f"request-{seq}"
                command.causation_id = self.random.choice(["", "cause"])
            if self.random.random() < 0.004:
                command.command_id = self.random.randbytes(self.random.choice([0, 1, 15, 17]))
            if command.HasField("place_order"):
                self.placed.append((seq, command.place_order))
            self.sent.append(command)
            yield command

    def next(self) -> v1.Command:
        kinds = {
            self.place: 60,
            self.cancel: 22,
            self.resend: 4,
            self.credit: 3,
            self.redefine: 2,
            self.halt: 1,
            self.lift: 8,
            self.checkpoint: 1,
            self.nonsense: 4,
        }
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        return kind()

    def place(self) -> v1.Command:
        pick = self.random
        symbol = pick.choice(SYMBOLS)
        order = v1.PlaceOrder(
            account=pick.choice(ACCOUNTS),
            symbol=symbol,
            side=pick.choice([v1.Side.SIDE_BUY, v1.Side.SIDE_SELL]),
            type=v1.OrderType.ORDER_TYPE_LIMIT,
            time_in_force=pick.choices([1, 2], [4, 1])[0],  # type: ignore[arg-type]
            price_ticks=pick.randint(97, 103),
            quantity_lots=pick.choice([1, 2, 3, 5, 8]),
            client_order_id=f"o-{pick.randint(1, 60)}",
        )
        if pick.random() < 0.03:
            order.price_ticks = pick.choice([0, -1, 1, 999, 1_000, 1_001, 2**63 - 1, -(2**63)])
        if pick.random() < 0.01:
            order.symbol = "XRPBTC"
        if pick.random() < 0.03:
            order.quantity_lots = pick.choice([0, -1, 499, 500, 501, 2**63 - 1, -(2**63)])
        return v1.Command(place_order=order)

    def cancel(self) -> v1.Command:
        if not self.placed:
            return self.place()
        seq, order = self.random.choice(self.placed[-40:])
        cancel = v1.CancelOrder(account=order.account, symbol=order.symbol)
        if self.random.random() < 0.5:
            cancel.order_id = seq
        else:
            cancel.client_order_id = order.client_order_id
        if self.random.random() < 0.1:
            cancel.account = self.random.choice(ACCOUNTS)
        if self.random.random() < 0.1:
            cancel.symbol = self.random.choice(SYMBOLS)
        return v1.Command(cancel_order=cancel)

    def resend(self) -> v1.Command:
        again = v1.Command()
        again.CopyFrom(self.random.choice(self.sent[-200:]))
        if self.random.random() < 0.2:
            # The same id decides, whatever else changed.
            again.place_order.quantity_lots = 7
        return again

    def credit(self) -> v1.Command:
        amount = self.random.choice([0, -1, 1, 7, 10_000, 2**63 - 1])
        credit = v1.CreditFunds(transfer_id="t", account=self.random.choice(ACCOUNTS), asset="BTC", amount=amount)
        credit.asset = self.random.choice(["BTC", "ETH", "USDT", "DOGE"])
        return v1.Command(credit_funds=credit)

    def redefine(self) -> v1.Command:
        if self.random.random() < 0.3:
            asset = v1.DefineAsset(
                asset=self.random.choice(["BTC", "USDT", "DOGE"]), scale=self.random.choice([6, 8, 19])
            )
            return v1.Command(define_asset=asset)
        terms = definition(self.random.choice(SYMBOLS))
        if self.random.random() < 0.7:
            terms.taker_fee_ppm = self.random.choice([0, 1, 1_700, 33_333, 100_000])
            terms.max_price_ticks = self.random.choice([100, 1_000, 2**40])
        if self.random.random() < 0.2:
            terms.symbol = self.random.choice(["XRPBTC", "LTCBTC"])
        if self.random.random() < 0.3:
            name = self.random.choice(["tick_units", "lot_units", "max_price_ticks", "max_quantity_lots"])
            setattr(terms, name, self.random.choice([-1, 0, 101, 2**62, 2**63 - 1]))
        if self.random.random() < 0.1:
            name = self.random.choice(["symbol", "base_asset", "quote_asset"])
            setattr(terms, name, self.random.choice(["", "btc", "BTC", "DOGE", "A" * 40]))
        return v1.Command(define_symbol=v1.DefineSymbol(definition=terms))

    def halt(self) -> v1.Command:
        pick = self.random
        impose = v1.ImposeHalt(
            halt=pick.choice(HALTS),
            symbols=pick.choice([[], ["BTCUSDT"], ["ETHBTC", "BTCUSDT", "ETHBTC"], ["XRPBTC"]]),
            state=pick.choice([v1.SymbolState.SYMBOL_STATE_HALT, v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY]),
            reason=pick.choice(["", "maintenance", "Prüfung"]),
        )
        return v1.Command(impose_halt=impose)

    def lift(self) -> v1.Command:
        return v1.Command(lift_halt=v1.LiftHalt(halt=self.random.choice(HALTS), reason="over"))

    def checkpoint(self) -> v1.Command:
        return v1.Command(checkpoint=v1.Checkpoint())

    def nonsense(self) -> v1.Command:
        """A sound command with one field spoiled."""
        makers = [self.place, self.cancel, self.credit, self.halt, self.lift, self.redefine]
        command = self.random.choice(makers)()
        name = command.WhichOneof("body")
        assert name is not None
        body = getattr(command, name)
        fields = body.DESCRIPTOR.fields
        spoiled = self.random.choice([field for field in fields if not field.is_repeated])
        if spoiled.type == spoiled.TYPE_STRING:
            value = self.random.choice(["", " ", "é", "x" * 37, "X" * 33, "y" * 65, "z" * 254, "w" * 2000])
            setattr(body, spoiled.name, value)
        elif spoiled.type == spoiled.TYPE_ENUM:
            setattr(body, spoiled.name, self.random.choice(ENUMERATION_NUMBERS))
        elif spoiled.type == spoiled.TYPE_MESSAGE:
            body.ClearField(spoiled.name)
        else:
            setattr(body, spoiled.name, self.random.choice([0, 1, 2, 3, 999]))
        if self.random.random() < 0.1:
            command.ClearField(name)
        if self.random.random() < 0.1:
            command.causation_id = "c" * 513
        return command
