"""Orders and balances of accounts are the kernel's own, whatever happened and whenever the process began anew."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel.workload import ACCOUNTS, MIXES, SYMBOLS, Workload

from openbourse.contracts import v1
from openbourse.engine._core import Kernel
from openbourse.marketdata.accounts import Accounts, is_open, key_of
from openbourse.marketdata.errors import Diverged, Invalid, TooOld
from openbourse.marketdata.history import OrdersWanted, PreventedWanted
from openbourse.marketdata.shard import Shard
from openbourse.marketdata.sqlite_history import SqliteHistory

SHARD = "main"
# The candles of amounts that no market has are more than SQLite holds.
MIX = sorted(MIXES.keys() - {"huge"})


EXPIRED_IN_MATCH = v1.OrderStatus.ORDER_STATUS_EXPIRED_IN_MATCH


class Played:
    """A stream of a real kernel, read by a shard of market data and kept in a history."""

    def __init__(self, folder: Path, *, listened: bool = False) -> None:
        self.path = folder / "history.sqlite"
        self.kernel = Kernel(SHARD)
        self.history = SqliteHistory(self.path)
        self.shard = self.history.load(SHARD)
        self.shard.accounts.listened = self.listened = listened
        self.events: list[v1.Event] = []
        self.told: list[v1.AccountUpdate] = []

    def play(self, mix: str, seed: int, count: int, restart: float = 0.0) -> None:
        chance = random.Random(seed)  # noqa: S311
        for seq, (time_us, command) in enumerate(Workload(seed, mix).commands(count), start=1):
            _, data = self.kernel.step(seq, 1, time_us, command.SerializeToString())
            events = v1.Events.FromString(data).events
            self.events += events
            self.shard.apply(v1.Events(epoch=1, first_seq=seq, last_seq=seq, events=events))
            self.told += self.shard.accounts.take_told()
            if chance.random() < restart:
                self.restart()
        self.history.write(SHARD, self.shard.take_batch())

    def restart(self) -> None:
        self.history.write(SHARD, self.shard.take_batch())
        self.history.close()
        self.history = SqliteHistory(self.path)
        self.shard = self.history.load(SHARD)
        self.shard.accounts.listened = self.listened

    def ask(self, query: v1.Query) -> v1.Answer:
        return v1.Answer.FromString(self.kernel.answer(1, query.SerializeToString()))

    def placed(self) -> Iterator[v1.Order]:
        """Every order, as the kernel has it now."""
        for event in self.events:
            if event.HasField("order_accepted"):
                order = event.order_accepted.order
                asked = v1.OrderQuery(account=order.account, symbol=order.symbol, order_id=order.order_id)
                yield self.ask(v1.Query(order=asked)).orders.orders[0]


@given(seed=st.integers(0, 2**32), mix=st.sampled_from(MIX), count=st.integers(18, 500))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_orders_and_balances_are_the_kernels(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mix: str, count: int
) -> None:
    played = Played(tmp_path_factory.mktemp("accounts"))
    played.play(mix, seed, count, restart=0.02)
    accounts, history = played.shard.accounts, played.history
    for order in played.placed():
        record = history.order(order.account, order.symbol, order.order_id, "")
        assert record is not None
        assert record.order == order
        assert (key_of(order) in accounts.open_orders) == is_open(order)
    for account in ACCOUNTS:
        balances = played.ask(v1.Query(account=v1.AccountQuery(account=account))).balances.balances
        assert {of.asset: (of.available, of.hold) for of in balances} == {
            asset: amounts for (whose, asset), amounts in accounts.balances.items() if whose == account
        }
    history.close()


@pytest.mark.parametrize("mix", MIX)
def test_whoever_listens_is_told_all_of_it(tmp_path: Path, mix: str) -> None:
    played = Played(tmp_path, listened=True)
    played.play(mix, 7, 600, restart=0.01)
    orders: dict[int, v1.Order] = {}
    balances: dict[tuple[int, str], tuple[int, int]] = {}
    funds: Counter[tuple[int, str]] = Counter()
    trades: Counter[int] = Counter()
    seqs: dict[int, int] = {}
    for update in played.told:
        assert update.seq > seqs.get(update.account, 0), "one update of a command for an account"
        seqs[update.account] = update.seq
        for change in update.orders:
            assert change.order.account == update.account
            before = orders.get(change.order.order_id)
            # Only what a prevented match took whole ends twice: by the match, and as expired.
            assert before is None or is_open(before) or change.order.status == before.status == EXPIRED_IN_MATCH
            orders[change.order.order_id] = change.order
            trades[change.order.order_id] += change.fill.quantity_lots
        for balance in update.balances:
            balances[balance.account, balance.asset] = balance.available, balance.hold
        for amount in update.funds:
            funds[update.account, amount.asset] += amount.amount
    assert balances == played.shard.accounts.balances
    for order in played.placed():
        told_last = orders[order.order_id]
        # Nobody is told of what a change of the kernel's version gives to an open order.
        told_last.fee_schedule, told_last.self_trade_prevention = order.fee_schedule, order.self_trade_prevention
        assert told_last == order
        assert trades[order.order_id] == order.executed_lots
    moved: Counter[tuple[int, str]] = Counter()
    for event in played.events:
        if event.WhichOneof("body") in ("funds_credited", "funds_debited"):
            for movement in event.movements:
                moved[movement.account, movement.asset] += movement.available_change + movement.hold_change
    assert {key: amount for key, amount in funds.items() if amount} == {
        key: amount for key, amount in moved.items() if amount and key[0] in ACCOUNTS
    }
    played.history.close()


def test_without_a_listener_nothing_is_told(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.play("everything", 1, 200)
    assert played.told == []
    played.history.close()


def test_a_prevented_match_is_found_by_its_id_and_by_either_order(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.play("one_group", 3, 1_500, restart=0.002)
    matches = [event for event in played.events if event.HasField("match_prevented")]
    assert len(matches) > 20
    for event in matches:
        match = event.match_prevented
        for party in (match.maker, match.taker):

            def found(
                symbol: str = event.symbol, account: int = party.account, **wanted: int
            ) -> list[v1.PreventedMatch]:
                return played.history.prevented(PreventedWanted(account, symbol, 1_000, **wanted))

            [by_id] = found(prevented_match_id=match.prevented_match_id)
            assert (by_id.match, by_id.occurred_at_us) == (match, event.occurred_at_us)
            assert by_id in found(order_id=party.order_id)
            assert found(order_id=party.order_id, from_id=match.prevented_match_id)[0] == by_id
            if party.prevented_lots:
                record = played.history.order(party.account, event.symbol, party.order_id, "")
                assert record is not None
                assert record.prevented_match_id >= match.prevented_match_id
        stranger = next(of for of in ACCOUNTS if of not in (match.maker.account, match.taker.account))
        wanted = PreventedWanted(stranger, event.symbol, 10, prevented_match_id=match.prevented_match_id)
        assert played.history.prevented(wanted) == []
    played.history.close()


def naive(orders: list[v1.Order], wanted: OrdersWanted) -> list[int]:
    """From all orders, each time."""
    of_whom = [order for order in orders if (order.account, order.symbol) == (wanted.account, wanted.symbol)]
    within = [
        order
        for order in of_whom
        if order.order_id >= (wanted.from_id or 0)
        and (wanted.start_us or 0) <= order.updated_at_us <= (wanted.end_us or 2**62)
    ]
    if wanted.start_us is not None or wanted.end_us is not None:
        within.sort(key=lambda order: (order.updated_at_us, order.order_id))
    latest = wanted.from_id is None and wanted.start_us is None
    return sorted(order.order_id for order in (within[-wanted.limit :] if latest else within[: wanted.limit]))


def test_orders_are_found_by_id_by_time_and_from_the_end(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.play("balanced", 5, 1_500)
    orders = list(played.placed())
    chance = random.Random(1)  # noqa: S311
    for _ in range(300):
        some, other = chance.choice(orders), chance.choice(orders)
        start_us, end_us = sorted((some.updated_at_us, other.updated_at_us))
        times: dict[str, int] = {"start_us": start_us, "end_us": end_us}
        some_of_them = {name: times[name] for name in chance.sample(sorted(times), chance.randint(0, 2))}
        which = chance.choice([{"from_id": some.order_id}, some_of_them])
        wanted = OrdersWanted(some.account, chance.choice(SYMBOLS), chance.choice([1, 3, 1_000]), **which)
        assert [of.order.order_id for of in played.history.orders(wanted)] == naive(orders, wanted)
    played.history.close()


def test_an_order_is_found_by_the_name_that_it_has_last(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.play("everything", 11, 1_500)
    newest = {(of.account, of.symbol, of.client_order_id): of for of in played.placed()}
    assert len(newest) > 100
    for (account, symbol, name), order in newest.items():
        record = played.history.order(account, symbol, None, name)
        assert record is not None
        assert record.order.order_id == order.order_id
    assert played.history.order(ACCOUNTS[0], SYMBOLS[0], None, "never used") is None
    played.history.close()


def test_no_account_is_shown_anothers_order(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.play("balanced", 5, 300)
    order = next(of for of in played.placed() if of.account == ACCOUNTS[0])
    for account in ACCOUNTS[1:]:
        assert played.history.order(account, order.symbol, order.order_id, "") is None
    played.history.close()


def test_an_event_of_an_order_that_nobody_placed_is_noticed() -> None:
    traded = v1.TradeExecuted(trade_id=1, maker=v1.TradeParty(order_id=5), taker=v1.TradeParty(order_id=6))
    with pytest.raises(Diverged, match="seq 7 is of order 5 of BTCUSDT, which is not open"):
        Accounts().apply([v1.Event(seq=7, symbol="BTCUSDT", trade_executed=traded)])


def test_a_history_from_before_orders_were_kept_is_not_gone_on_with(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.play("balanced", 1, 50)
    played.history._writer.execute("PRAGMA user_version = 0")
    played.history.close()
    with pytest.raises(TooOld, match="is a history of format 0, not 4: remove it"):
        SqliteHistory(played.path)


def test_no_question_about_an_account_is_answered_with_more_than_a_thousand_rows(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "history.sqlite")
    for limit in (0, 1_001):
        with pytest.raises(Invalid, match="limit is 1 to 1000"):
            history.orders(OrdersWanted(1001, "BTCUSDT", limit))
        with pytest.raises(Invalid, match="limit is 1 to 1000"):
            history.prevented(PreventedWanted(1001, "BTCUSDT", limit))
    history.close()


def test_a_shard_has_read_nothing_of_what_it_refused() -> None:
    shard = Shard(SHARD)
    with pytest.raises(Diverged):
        shard.apply(v1.Events(epoch=1, first_seq=2, last_seq=2))
    assert shard.watermark.seq == 0
