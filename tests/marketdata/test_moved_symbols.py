"""Market data of a symbol that comes from another shard: its book is the kernel's from the first delta on, and its
trades go on.
"""

import uuid
from pathlib import Path

from openbourse.contracts import v1
from openbourse.engine._core import Kernel
from openbourse.marketdata import publish
from openbourse.marketdata.accounts import key_of
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.sqlite_history import SqliteHistory

SYMBOL, BUY, SELL = "BTCUSDT", v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
MOVE = bytes(range(16))


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


def test_a_symbol_that_arrives_has_its_book_and_trades_on(tmp_path: Path) -> None:
    main, second = Played("main", tmp_path), Played("second", tmp_path)
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
    # Of another symbol, with the ids of those that arrive.
    terms.symbol = "BTCEUR"
    second.send(define_symbol=v1.DefineSymbol(definition=terms))
    there = [second.place(1000, BUY, 50 + number, 1, "BTCEUR").order.order for number in range(5)]
    for price in (98, 99, 99, 100):
        main.place(1000, BUY, price, 5)
    main.place(1001, SELL, 100, 2)
    main.send(freeze_symbol=v1.FreezeSymbol(move_id=MOVE, symbol=SYMBOL, to_shard="second"))
    first = main.ask(symbol_record=v1.SymbolRecordQuery(move_id=MOVE)).symbol_record
    for number in range(first.parts):
        part = main.ask(symbol_record=v1.SymbolRecordQuery(move_id=MOVE, part=number)).symbol_record
        moved = v1.ImportSymbol(move_id=MOVE, from_shard="main", part=number, parts=first.parts)
        moved.record, moved.record_sha256 = part.record.SerializeToString(), part.record_sha256
        assert second.send(import_symbol=moved).HasField("done")
    second.check()
    second.restart()
    second.check()
    assert [fill.trade_id for fill in second.place(1001, SELL, 99, 6).order.fills] == [2, 3]
    second.check()
    main.restart()
    # Of what changed before it leaves its shard tells yet, and of what it has no more nothing.
    main.shard.markets[SYMBOL].fast_changes.add(v1.BookDelta(update_id=6, side=BUY, price_ticks=98))
    assert main.send(complete_move=v1.CompleteMove(move_id=MOVE)).HasField("done")
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
