"""The kernel and the naive engine give the same bytes for the same commands."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel.twin.kernel import Diverged, Twin
from kernel.workload import ACCOUNTS, SYMBOLS, Workload

from openbourse.contracts import v1
from openbourse.engine._core import Kernel


class Pair:
    """A kernel and its twin, held to the same bytes at every step."""

    def __init__(self, *, remembered_commands: int = 100_000, remembered_orders: int = 100_000) -> None:
        windows = {"remembered_commands": remembered_commands, "remembered_orders": remembered_orders}
        self.kernel, self.twin = Kernel("main", **windows), Twin("main", **windows)
        self.seq = 0

    def step(self, command: v1.Command) -> tuple[v1.Reply, list[v1.Event]]:
        self.seq += 1
        epoch, time_us = 1 + self.seq // 500, 1_700_000_000_000_000 + self.seq
        reply, events = self.kernel.step(self.seq, epoch, time_us, command.SerializeToString())
        twin_reply, twin_events = self.twin.step(self.seq, epoch, time_us, command)
        assert v1.Reply.FromString(reply) == twin_reply, command
        assert list(v1.Events.FromString(events).events) == twin_events, command
        assert reply == twin_reply.SerializeToString()
        assert events == v1.Events(events=twin_events).SerializeToString()
        return twin_reply, twin_events

    def ask(self, query: v1.Query) -> v1.Answer:
        answer = v1.Answer.FromString(self.kernel.answer(7, query.SerializeToString()))
        assert answer == self.twin.answer(7, query), query
        return answer

    def compare_states(self) -> None:
        assert self.kernel.state_hash() == self.twin.state_hash()
        self.ask(v1.Query(query_id=1, listings=v1.ListingsQuery()))
        self.ask(v1.Query(query_id=2, balances=v1.BalancesQuery()))
        for symbol in (*SYMBOLS, "XRPBTC", "", "nope"):
            for limit in (0, 1, 3, 5000, 5001):
                self.ask(v1.Query(query_id=3, depth=v1.DepthQuery(symbol=symbol, limit=limit)))
        for account in (*ACCOUNTS, 1, 2, 5555):
            self.ask(v1.Query(query_id=4, account=v1.AccountQuery(account=account)))
            for symbol in ("", *SYMBOLS, "XRPBTC", "?"):
                self.ask(v1.Query(query_id=5, open_orders=v1.OpenOrdersQuery(account=account, symbol=symbol)))
        self.ask(v1.Query(query_id=6))

    def ask_for_orders(self, workload: Workload) -> None:
        for seq, order in workload.placed[-120:]:
            for symbol in SYMBOLS:
                asked = v1.OrderQuery(account=order.account, symbol=symbol)
                asked.order_id = seq
                self.ask(v1.Query(query_id=7, order=asked))
                asked.client_order_id = order.client_order_id
                self.ask(v1.Query(query_id=8, order=asked))


@pytest.mark.parametrize("seed", range(6))
def test_a_long_stream_gives_the_same_replies_events_and_hashes(seed: int) -> None:
    pair, workload = Pair(remembered_commands=150, remembered_orders=80), Workload(seed)
    trades = 0
    for command in workload.commands(1_500):
        _, events = pair.step(command)
        trades += sum(event.HasField("trade_executed") for event in events)
        if pair.seq % 100 == 0:
            pair.compare_states()
            pair.ask_for_orders(workload)
    assert trades > 100, "the stream is to make trades"


def test_the_stream_visits_every_rule() -> None:
    reasons: set[int] = set()
    happenings: set[str | None] = set()
    for seed in range(6):
        twin, workload = Twin("main"), Workload(seed)
        for seq, command in enumerate(workload.commands(1_500), start=1):
            reply, events = twin.step(seq, 1, seq, command)
            reasons.add(reply.rejection.reason)
            happenings.update(event.WhichOneof("body") for event in events)
    assert reasons == set(v1.RejectReason.values())
    assert happenings == {body.name for body in v1.Event.DESCRIPTOR.oneofs_by_name["body"].fields}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(18, 120))
def test_any_short_stream_gives_the_same_hash(seed: int, count: int) -> None:
    pair = Pair(remembered_commands=7, remembered_orders=3)
    for command in Workload(seed).commands(count):
        pair.step(command)
        assert pair.kernel.state_hash() == pair.twin.state_hash()


def test_a_checkpoint_of_another_state_is_refused_by_both() -> None:
    pair = Pair()
    _, (first,) = pair.step(v1.Command(command_id=bytes(16), checkpoint=v1.Checkpoint()))
    recorded = v1.Checkpoint(previous_seq=1, previous_state_hash=first.engine_checkpoint.state_hash)
    assert first.engine_checkpoint.state_hash == pair.kernel.state_hash()
    pair.step(v1.Command(command_id=b"second checkpoin", checkpoint=recorded))
    # By now the last checkpoint is at seq 2, and its hash is another.
    for checkpoint in (recorded, v1.Checkpoint(previous_seq=2, previous_state_hash=bytes(32))):
        command = v1.Command(command_id=b"third checkpoint", checkpoint=checkpoint)
        with pytest.raises(RuntimeError, match="had another state"):
            pair.kernel.step(3, 1, 0, command.SerializeToString())
        with pytest.raises(Diverged):
            Twin("main").step(1, 1, 0, command)


def test_a_seq_that_is_not_the_next_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="seq must be 1"):
        Kernel("main").step(2, 1, 0, b"")
