"""A symbol that moves between shards: kernel and twin give the same bytes, no money is made or lost on the way, and
what was moved trades on as what was not.
"""

import random
from collections import defaultdict

import pytest
from kernel.pair import Pair
from kernel.workload import ACCOUNTS, ASSETS, Workload

from openbourse.contracts import v1
from openbourse.engine._core import Kernel

SYMBOL = "BTCUSDT"
Body = v1.FreezeSymbol | v1.ImportSymbol | v1.CompleteMove | v1.UndoFreeze | v1.AbandonImport
FIELDS = {
    v1.FreezeSymbol: "freeze_symbol",
    v1.ImportSymbol: "import_symbol",
    v1.CompleteMove: "complete_move",
    v1.UndoFreeze: "undo_freeze",
    v1.AbandonImport: "abandon_import",
}


class Moves:
    """One pair that takes part in moves, at its workload's time."""

    def __init__(self, pair: Pair, workload: Workload) -> None:
        self.pair, self.workload = pair, workload
        self.said: set[str] = set()
        self.reasons: set[int] = set()

    def carry_out(self, body: Body) -> v1.Reply:
        command = v1.Command(command_id=self.workload.random.randbytes(16))
        getattr(command, FIELDS[type(body)]).CopyFrom(body)
        return self.step(self.workload.time_us, command)

    def step(self, time_us: int, command: v1.Command) -> v1.Reply:
        reply, events = self.pair.step(time_us, command)
        self.said.update(event.WhichOneof("body") or "" for event in events)
        self.reasons.add(reply.rejection.reason)
        return reply

    def record(self, move_id: bytes) -> list[v1.SymbolRecordAnswer]:
        parts = [self.part(move_id, 0)]
        parts += [self.part(move_id, number) for number in range(1, parts[0].parts)]
        return parts

    def part(self, move_id: bytes, number: int) -> v1.SymbolRecordAnswer:
        query = v1.SymbolRecordQuery(move_id=move_id, part=number)
        answer = self.pair.ask(v1.Query(query_id=1, symbol_record=query))
        assert answer.HasField("symbol_record"), answer
        return answer.symbol_record

    def take(self, move_id: bytes, from_shard: str, parts: list[v1.SymbolRecordAnswer]) -> v1.Reply:
        for number, part in enumerate(parts):
            reply = self.carry_out(imported(move_id, from_shard, number, part))
            self.pair.compare_states()
        return reply


def imported(move_id: bytes, from_shard: str, number: int, part: v1.SymbolRecordAnswer) -> v1.ImportSymbol:
    return v1.ImportSymbol(
        move_id=move_id,
        from_shard=from_shard,
        part=number,
        parts=part.parts,
        record_sha256=part.record_sha256,
        record=part.record.SerializeToString(),
    )


@pytest.mark.parametrize("mix", ["everything", "balanced", "auctions", "mostly_cancels", "huge", "flash_crash"])
def test_a_stream_through_moves_gives_the_same_replies_events_and_hashes(mix: str) -> None:
    """It leaves, and comes back as another shard would give it back; or it was never meant to leave."""
    workload = Workload(7, mix)
    moves = Moves(Pair(remembered_commands=150, remembered_orders=80, remembered_client_order_ids=90), workload)
    pick = random.Random(mix)  # noqa: S311
    state, move_id, parts = "here", b"", []
    ends = 0
    for time_us, command in workload.commands(900):
        moves.step(time_us, command)
        if workload.in_force < 3 or pick.random() > 0.06:
            continue
        if state == "here":
            move_id = pick.randbytes(16)
            reply = moves.carry_out(v1.FreezeSymbol(move_id=move_id, symbol=SYMBOL, to_shard="second"))
            if reply.HasField("done"):
                state, parts = "frozen", moves.record(move_id)
        elif state == "frozen":
            assert parts == moves.record(move_id), "what leaves does not change any more"
            if pick.random() < 0.4:
                assert moves.carry_out(v1.UndoFreeze(move_id=move_id)).HasField("done")
                state = "here"
            else:
                assert moves.carry_out(v1.CompleteMove(move_id=move_id)).HasField("done")
                state = "away"
        else:
            reply = moves.take(pick.randbytes(16), "second", parts)
            if reply.HasField("done"):
                state, ends = "here", ends + 1
        moves.pair.compare_states()
        moves.pair.compare_answers(workload)
    assert ends > 1
    assert {v1.RejectReason.REJECT_REASON_SYMBOL_MOVING, v1.RejectReason.REJECT_REASON_SYMBOL_MOVED} <= moves.reasons
    of_moves = {"symbol_frozen", "symbol_unfrozen", "symbol_departed", "symbol_imported"}
    assert moves.said >= of_moves | {"order_departed", "order_returned", "order_arrived"}


def funds_of(kernel: Kernel) -> dict[str, int]:
    answer = v1.Answer.FromString(kernel.answer(1, v1.Query(totals=v1.TotalsQuery()).SerializeToString()))
    return {total.asset: total.available + total.hold for total in answer.totals.totals}


class Shard:
    """A kernel alone, for what needs no twin."""

    def __init__(self, name: str) -> None:
        self.name, self.kernel, self.seq = name, Kernel(name), 0
        self.trades: list[v1.TradeExecuted] = []
        self.last_update = 0

    def step(self, time_us: int, command: v1.Command) -> tuple[v1.Reply, list[v1.Event]]:
        self.seq += 1
        reply, events = self.kernel.step(self.seq, 1, time_us, command.SerializeToString())
        told = list(v1.Events.FromString(events).events)
        for event in told:
            if event.symbol == SYMBOL and event.HasField("book_delta"):
                assert event.book_delta.update_id == self.last_update + 1
                self.last_update += 1
        self.trades += [event.trade_executed for event in told if event.HasField("trade_executed")]
        return v1.Reply.FromString(reply), told

    def ask(self, query: v1.Query) -> v1.Answer:
        return v1.Answer.FromString(self.kernel.answer(1, query.SerializeToString()))


@pytest.mark.parametrize("seed", range(12))
def test_what_was_moved_trades_on_as_what_was_not(seed: int) -> None:
    """Between two shards, forth and perhaps back, at any time. Both together have what one alone would have."""
    pick = random.Random(seed)  # noqa: S311
    workload = Workload(seed, "balanced")
    alone, here, there = Shard("alone"), Shard("main"), Shard("second")
    for shard in (here, there, alone):
        prepare(shard, workload)
    world = {asset: 2 * units for asset, units in funds_of(there.kernel).items()}
    for time_us, command in orders(workload, 500):
        alone.step(time_us, command)
        here.step(time_us, command)
        if pick.random() < 0.02:
            totals = move(pick, here, there, time_us, world)
            assert totals == world
            here, there = there, here
    assert len(alone.trades) > 20
    assert [told(trade) for trade in here_and_there(here, there)] == [told(trade) for trade in alone.trades]
    depth = v1.Query(depth=v1.DepthQuery(symbol=SYMBOL, limit=5000))
    moved, stayed = here.ask(depth).depth, alone.ask(depth).depth
    assert (list(moved.bids), list(moved.asks)) == (list(stayed.bids), list(stayed.asks))
    for account in ACCOUNTS[:3]:
        query = v1.Query(open_orders=v1.OpenOrdersQuery(account=account, symbol=SYMBOL))
        names = [
            [(order.client_order_id, order.executed_lots, order.status) for order in shard.ask(query).orders.orders]
            for shard in (here, alone)
        ]
        assert names[0] == names[1]


def here_and_there(one: Shard, other: Shard) -> list[v1.TradeExecuted]:
    return sorted([*one.trades, *other.trades], key=lambda trade: trade.trade_id)


def told(trade: v1.TradeExecuted) -> tuple[object, ...]:
    """But for order ids, which each shard gives by its own seq."""
    parties = [
        (party.account, party.client_order_id, party.fee_units, party.fee_asset, party.leaves_lots)
        for party in (trade.maker, trade.taker)
    ]
    return trade.trade_id, trade.price_ticks, trade.quantity_lots, trade.taker_side, *parties


def prepare(shard: Shard, workload: Workload) -> None:
    """Assets and money in every shard, the symbol in all but the second."""
    commands = [v1.Command(change_version=v1.ChangeVersion(version=3))]
    commands += [v1.Command(define_asset=v1.DefineAsset(asset=asset, scale=scale)) for asset, scale in ASSETS.items()]
    if shard.name != "second":
        commands.append(v1.Command(define_symbol=v1.DefineSymbol(definition=workload.terms(SYMBOL))))
    for account in ACCOUNTS:
        for asset in ASSETS:
            credit = v1.CreditFunds(transfer_id="t", account=account, asset=asset, amount=2**55)
            commands.append(v1.Command(credit_funds=credit))
    for number, command in enumerate(commands):
        command.command_id = number.to_bytes(16, "little")
        assert shard.step(workload.time_us, command)[0].HasField("done")


def orders(workload: Workload, count: int) -> list[tuple[int, v1.Command]]:
    """Of the one symbol, by ids of clients alone, since the other ids are the shard's."""
    found: list[tuple[int, v1.Command]] = []
    while len(found) < count:
        workload.seq += 1
        workload.time_us += workload.passes() % 1_000_000
        kind = workload.random.choice([workload.place, workload.place, workload.cancel, workload.amend])
        command = kind()
        name = command.WhichOneof("body")
        body = getattr(command, name or "")
        body.symbol = SYMBOL
        if name != "place_order" and not body.client_order_id:
            body.client_order_id = f"o-{body.order_id}"
        command.command_id = workload.random.randbytes(16)
        found.append((workload.time_us, command))
    return found


def move(pick: random.Random, here: Shard, there: Shard, time_us: int, world: dict[str, int]) -> dict[str, int]:
    """What both have together in the end. Until then the difference is in transit: what the orders hold."""
    move_id = pick.randbytes(16)

    def send(shard: Shard, body: Body) -> v1.Reply:
        command = v1.Command(command_id=pick.randbytes(16))
        getattr(command, FIELDS[type(body)]).CopyFrom(body)
        reply, _ = shard.step(time_us, command)
        return reply

    before = total(here, there)
    assert before == world
    assert send(here, v1.FreezeSymbol(move_id=move_id, symbol=SYMBOL, to_shard=there.name)).HasField("done")
    transit = {asset: world[asset] - units for asset, units in total(here, there).items()}
    answer = here.ask(v1.Query(symbol_record=v1.SymbolRecordQuery(move_id=move_id))).symbol_record
    held: dict[str, int] = defaultdict(int)
    there.last_update = here.last_update
    for number in range(answer.parts):
        part = here.ask(v1.Query(symbol_record=v1.SymbolRecordQuery(move_id=move_id, part=number))).symbol_record
        command = v1.Command(command_id=pick.randbytes(16))
        command.import_symbol.CopyFrom(imported(move_id, here.name, number, part))
        reply, events = there.step(time_us, command)
        assert reply.HasField("done"), reply
        for event in events:
            for moved in event.movements:
                held[moved.asset] += moved.hold_change
    assert {asset: held[asset] for asset in transit} == transit
    assert total(here, there) == world
    assert send(here, v1.CompleteMove(move_id=move_id)).HasField("done")
    return total(here, there)


def total(*shards: Shard) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for shard in shards:
        for asset, units in funds_of(shard.kernel).items():
            sums[asset] += units
    return dict(sums)


def test_undone_it_goes_on_as_if_it_had_never_been_frozen() -> None:
    workload = Workload(3, "balanced")
    frozen, never = Shard("main"), Shard("main")
    for shard in (frozen, never):
        prepare(shard, workload)
    stream = orders(workload, 400)
    for number, (time_us, command) in enumerate(stream):
        if number == 200:
            before = [shard.ask(v1.Query(balances=v1.BalancesQuery())).balances for shard in (frozen, never)]
            move_id = bytes(16)
            freeze = v1.FreezeSymbol(move_id=move_id, symbol=SYMBOL, to_shard="second")
            frozen.step(time_us, v1.Command(command_id=b"f" * 16, freeze_symbol=freeze))
            frozen.step(time_us, v1.Command(command_id=b"u" * 16, undo_freeze=v1.UndoFreeze(move_id=move_id)))
            for letter in (b"f", b"u"):
                never.step(time_us, v1.Command(command_id=letter * 16, checkpoint=v1.Checkpoint()))
            after = frozen.ask(v1.Query(balances=v1.BalancesQuery())).balances
            assert after == before[0] == before[1]
        assert frozen.step(time_us, command) == never.step(time_us, command)


def test_a_record_that_was_changed_is_no_record() -> None:
    workload = Workload(5, "balanced")
    here, there = Shard("main"), Shard("second")
    for shard in (here, there):
        prepare(shard, workload)
    for time_us, command in orders(workload, 100):
        here.step(time_us, command)
    freeze = v1.FreezeSymbol(move_id=bytes(16), symbol=SYMBOL, to_shard="second")
    here.step(time_us, v1.Command(command_id=b"f" * 16, freeze_symbol=freeze))
    query = v1.Query(symbol_record=v1.SymbolRecordQuery(move_id=bytes(16)))
    parts = here.ask(query).symbol_record.parts
    for number in range(parts):
        query.symbol_record.part = number
        part = here.ask(query).symbol_record
        if part.record.orders:
            part.record.orders[0].quantity_lots += 1
        command = v1.Command(command_id=f"part {number:011}".encode())
        command.import_symbol.CopyFrom(imported(bytes(16), "main", number, part))
        reply, events = there.step(time_us, command)
    assert reply.rejection.detail == "record: is not the one that was frozen"
    assert not events
