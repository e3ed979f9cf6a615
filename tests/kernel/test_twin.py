"""The kernel and its naive twin give the same bytes for the same commands, and both keep what the auditor asks for."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel.pair import Pair
from kernel.twin.kernel import Diverged, Twin
from kernel.workload import MIXES, Workload

from openbourse.contracts import v1
from openbourse.engine._core import Kernel

COMMANDS = int(os.environ.get("SOAK_COMMANDS", "20000"))
COMMANDS_A_SEED = 10_000
# The log says it, before a command has a seq.
NOT_OF_THE_KERNEL = {v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE}
# What a symbol that moves brings is for test_moves.
OF_MOVES = {
    v1.RejectReason.REJECT_REASON_SYMBOL_MOVING,
    v1.RejectReason.REJECT_REASON_SYMBOL_MOVED,
    v1.RejectReason.REJECT_REASON_MOVE_REFUSED,
}
EVENTS_OF_MOVES = {
    *("symbol_frozen", "symbol_unfrozen", "symbol_departed", "symbol_imported"),
    *("order_departed", "order_returned", "order_arrived"),
}


@pytest.mark.soak
@pytest.mark.timeout(120 + COMMANDS // 20)
@pytest.mark.parametrize("mix", MIXES)
def test_streams_give_the_same_replies_events_and_hashes(mix: str) -> None:
    """20,000 commands in `make test`, 1,000,000 in `make soak`."""
    left = count = COMMANDS // len(MIXES)
    matches = 0
    for seed in range(1, 2 + left // COMMANDS_A_SEED):
        matches += stream(mix, seed, min(left, COMMANDS_A_SEED))
        left -= COMMANDS_A_SEED
    assert matches > count // 100, "orders are to meet"


def stream(mix: str, seed: int, count: int) -> int:
    """Returns how many matches there were."""
    pair = Pair(remembered_commands=150, remembered_orders=80, remembered_client_order_ids=60 + seed % 2 * 2_000)
    workload = Workload(seed, mix)
    matches = 0
    for time_us, command in workload.commands(count):
        _, events = pair.step(time_us, command)
        matches += sum(event.HasField("trade_executed") or event.HasField("match_prevented") for event in events)
        if pair.seq % 100 == 0:
            pair.compare_states()
        if pair.seq % 500 == 0:
            pair.compare_answers(workload)
    return matches


def test_the_streams_visit_every_reason_and_every_event() -> None:
    reasons: set[int] = set()
    happenings: set[str | None] = set()
    for mix in MIXES:
        twin = Twin("main")
        for seq, (time_us, command) in enumerate(Workload(0, mix).commands(1_200), start=1):
            reply, events = twin.step(seq, 1, time_us, command)
            reasons |= {reply.rejection.reason, reply.replaced.place_rejection.reason}
            happenings.update(event.WhichOneof("body") for event in events)
    assert reasons == set(v1.RejectReason.values()) - NOT_OF_THE_KERNEL - OF_MOVES
    assert happenings == {body.name for body in v1.Event.DESCRIPTOR.oneofs_by_name["body"].fields} - EVENTS_OF_MOVES


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), mix=st.sampled_from(sorted(MIXES)), count=st.integers(18, 160))
def test_any_short_stream_gives_the_same_hash(seed: int, mix: str, count: int) -> None:
    pair = Pair(remembered_commands=7, remembered_orders=3, remembered_client_order_ids=5)
    for time_us, command in Workload(seed, mix).commands(count):
        pair.step(time_us, command)
        assert pair.kernel.state_hash() == pair.twin.state_hash()


@pytest.mark.parametrize(("at", "version"), [(1, 2), (5, 3), (18, 2), (19, 3), (40, 2), (200, 3)])
def test_a_version_may_change_anywhere_in_a_stream(at: int, version: int) -> None:
    pair, versions = Pair(), []
    for time_us, command in Workload(at, "everything").commands(290):
        if pair.seq == at:
            change = v1.Command(command_id=b"change of versio", change_version=v1.ChangeVersion(version=version))
            versions.append(pair.step(time_us, change)[1])
        pair.step(time_us, command)
        assert pair.kernel.state_hash() == pair.twin.state_hash()
    assert [len(events) for events in versions] == [1]


@pytest.mark.parametrize("mix", ["balanced", "one_group"])
def test_a_storm_of_resends_changes_nothing(mix: str) -> None:
    """Every command comes again, and all that are remembered again and again."""
    pair, remembered = Pair(), []
    for time_us, command in Workload(3, mix).commands(400):
        reply, _ = pair.step(time_us, command)
        if len(command.command_id) != 16:
            continue
        remembered.append((command, reply))
        state_hash = pair.twin.state_hash()
        for again, first in remembered[-3:]:
            assert pair.step(time_us, again) == (first, [])
        assert pair.kernel.state_hash() == pair.twin.state_hash() == state_hash
    for again, first in remembered:
        assert pair.step(time_us, again) == (first, [])
    assert pair.kernel.state_hash() == pair.twin.state_hash() == state_hash


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_checkpoint_of_another_state_is_refused_by_both(version: int) -> None:
    pair = Pair()
    pair.step(0, v1.Command(command_id=bytes(16), change_version=v1.ChangeVersion(version=version)))
    _, (first,) = pair.step(0, v1.Command(command_id=b"first checkpoint", checkpoint=v1.Checkpoint()))
    recorded = v1.Checkpoint(previous_seq=2, previous_state_hash=first.engine_checkpoint.state_hash)
    assert first.engine_checkpoint.state_hash == pair.kernel.state_hash()
    pair.step(0, v1.Command(command_id=b"second checkpoin", checkpoint=recorded))
    # By now the last checkpoint is at seq 3, and its hash is another.
    for checkpoint in (recorded, v1.Checkpoint(previous_seq=3, previous_state_hash=bytes(32))):
        command = v1.Command(command_id=b"third checkpoint", checkpoint=checkpoint)
        with pytest.raises(RuntimeError, match="had another state"):
            pair.kernel.step(4, 1, 0, command.SerializeToString())
        with pytest.raises(Diverged):
            Twin("main").step(1, 1, 0, command)


def test_a_seq_that_is_not_the_next_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="seq must be 1"):
        Kernel("main").step(2, 1, 0, b"")
