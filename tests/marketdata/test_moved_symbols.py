"""Market data of a symbol that comes from another shard: its book is the kernel's from the first delta on, and its
trades go on.
"""

import uuid
from pathlib import Path

import pytest

from openbourse.contracts import v1
from openbourse.engine._core import Kernel
from openbourse.marketdata import publish
from openbourse.marketdata.accounts import key_of
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.sqlite_history import SqliteHistory

SYMBOL, BUY, SELL = "BTCUSDT", v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
MOVE, BACK = bytes(range(16)), bytes(range(16, 32))


class Played:
    """A kernel, and the market data that hears it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.kernel, self.seq, self.name = Kernel(name), 0, name
        self.path = folder / f"{name}.sqlite"
        self.history = SqliteHistory(self.path)
        self.shard: Shard = self.history.load(name)

    def send(self, **body: object) -> v1.Reply:
        self.seq += 1
        command = v1.Command(command_id=uuid.uuid4().bytes, **body)  # type: ignore[arg-type]
        reply, data = self.kernel.step(self.seq, 1, 1_700_000_000_000_000 + self.seq, command.SerializeToString())
        events = v1.Events.FromString(data).events
        self.shard.apply(v1.Events(epoch=1, first_seq=self.seq, last_seq=self.seq, events=events))
        return v1.Reply.FromString(reply)

    def restart(self) -> None:
        self.history.write(self.name, self.shard.take_batch())
        self.history.close()
        self.history = SqliteHistory(self.path)
        self.shard = self.history.load(self.name)

    def place(self, account: int, side: v1.Side.ValueType, price: int, lots: int, symbol: str = SYMBOL) -> v1.Reply:
        placed = v1.PlaceOrder(account=account, symbol=symbol, side=side, type=1, time_in_force=1)  # type: ignore[arg-type]
        placed.price_ticks, placed.quantity_lots, placed.client_order_id = price, lots, f"o-{self.name}-{self.seq}"
        return self.send(place_order=placed)

    def ask(self, **body: object) -> v1.Answer:
        query = v1.Query(**body)  # type: ignore[arg-type]
        return v1.Answer.FromString(self.kernel.answer(1, query.SerializeToString()))

    def check(self) -> None:
        depth = self.ask(depth=v1.DepthQuery(symbol=SYMBOL, limit=5000)).depth
        book = self.shard.markets[SYMBOL].book
        assert book.update_id == depth.last_update_id
        for levels, told in ((book.bids, depth.bids), (book.asks, depth.asks)):
            assert levels.top(len(levels)) == [(level.price_ticks, level.quantity_lots) for level in told]


def two_shards(folder: Path) -> tuple[Played, Played]:
    """The symbol is in the first one."""
    main, second = Played("main", folder), Played("second", folder)
    for played in (main, second):
        played.send(change_version=v1.ChangeVersion(version=3))
        for asset in ("BTC", "USDT"):
            played.send(define_asset=v1.DefineAsset(asset=asset))
            for account in (1000, 1001):
                credit = v1.CreditFunds(transfer_id="t", account=account, asset=asset, amount=10**6)
                played.send(credit_funds=credit)
    terms = v1.SymbolDefinition(symbol=SYMBOL, base_asset="BTC", quote_asset="USDT", tick_units=1, lot_units=1)
    terms.max_price_ticks = terms.max_quantity_lots = 1_000
    main.send(define_symbol=v1.DefineSymbol(definition=terms))
    return main, second


def arrive(move_id: bytes, here: Played, there: Played) -> None:
    here.send(freeze_symbol=v1.FreezeSymbol(move_id=move_id, symbol=SYMBOL, to_shard=there.name))
    first = here.ask(symbol_record=v1.SymbolRecordQuery(move_id=move_id)).symbol_record
    for number in range(first.parts):
        part = here.ask(symbol_record=v1.SymbolRecordQuery(move_id=move_id, part=number)).symbol_record
        moved = v1.ImportSymbol(move_id=move_id, from_shard=here.name, part=number, parts=first.parts)
        moved.record, moved.record_sha256 = part.record.SerializeToString(), part.record_sha256
        assert there.send(import_symbol=moved).HasField("done")


def depart(move_id: bytes, here: Played) -> None:
    assert here.send(complete_move=v1.CompleteMove(move_id=move_id)).HasField("done")


def test_a_symbol_that_arrives_has_its_book_and_trades_on(tmp_path: Path) -> None:
    main, second = two_shards(tmp_path)
    # Of another symbol, with the ids of those that arrive.
    terms = v1.SymbolDefinition.FromString(main.shard.markets[SYMBOL].definition.SerializeToString())
    terms.symbol = "BTCEUR"
    second.send(define_symbol=v1.DefineSymbol(definition=terms))
    there = [second.place(1000, BUY, 50 + number, 1, "BTCEUR").order.order for number in range(5)]
    for price in (98, 99, 99, 100):
        main.place(1000, BUY, price, 5)
    main.place(1001, SELL, 100, 2)
    arrive(MOVE, main, second)
    second.check()
    second.restart()
    second.check()
    assert [fill.trade_id for fill in second.place(1001, SELL, 99, 6).order.fills] == [2, 3]
    second.check()
    main.restart()
    # Of what changed before it leaves its shard tells yet, and of what it has no more nothing.
    main.shard.markets[SYMBOL].fast_changes.add(v1.BookDelta(update_id=6, side=BUY, price_ticks=98))
    depart(MOVE, main)
    assert len(main.shard.markets[SYMBOL].book.bids) == 0
    assert [stream for stream, *_ in publish.fast(main.shard.markets[SYMBOL], 1)] == ["btcusdt@depth@100ms"]
    assert "btcusdt@depth5@100ms" in {stream for stream, *_ in publish.fast(second.shard.markets[SYMBOL], 1)}
    assert not main.shard.accounts.open_orders
    here = second.ask(open_orders=v1.OpenOrdersQuery(account=1000)).orders.orders
    assert {order.order_id for order in there} & {order.order_id for order in here if order.symbol == SYMBOL}
    for _ in range(2):
        kept = second.shard.accounts.open_orders
        assert {key: record.order for key, record in kept.items()} == {key_of(order): order for order in here}
        second.restart()
    main.restart()
    assert not main.shard.accounts.open_orders
    for order in there:
        found = second.history.order(1000, "BTCEUR", order.order_id, "")
        assert found is not None
        assert found.order == order
    assert len(main.shard.markets[SYMBOL].book.bids) == 0


@pytest.mark.parametrize("restarted", [(), ("home",), ("away",), ("home", "away", "back")], ids=" ".join)
def test_a_symbol_that_comes_back_trades_on_and_all_ids_rise(tmp_path: Path, restarted: tuple[str, ...]) -> None:
    main, second = two_shards(tmp_path)
    ids: dict[str, list[int]] = {"trades": [], "aggregates": []}

    def trade(at: Played, *prices: int) -> None:
        for price in prices:
            at.place(1000, BUY, price, 1)
        at.place(1001, SELL, min(prices), len(prices))
        of = at.shard.markets[SYMBOL].take_told()
        ids["trades"] += [each.trade_id for each in of.trades]
        ids["aggregates"] += [each.aggregate_id for each in of.aggregates]

    def restart(when: str, played: Played) -> None:
        if when in restarted:
            played.restart()

    trade(main, 100, 100, 99)
    arrive(MOVE, main, second)
    restart("home", second)
    trade(second, 100, 99)
    depart(MOVE, main)
    restart("away", main)
    assert "btcusdt@depth5" not in {stream for stream, *_ in publish.slow(main.shard.markets[SYMBOL], 1)}
    arrive(BACK, second, main)
    restart("back", main)
    assert main.shard.markets[SYMBOL].last_trade is None
    trade(main, 99, 98)
    main.restart()
    trade(main, 99)
    main.check()
    # What it heard is stored.
    main.restart()
    assert ids["trades"] == list(range(1, 9))
    assert ids["aggregates"] == sorted(set(ids["aggregates"]))
    assert [each.trade_id for each in main.history.trades(SYMBOL, 10, None)] == [1, 2, 3, 6, 7, 8]
