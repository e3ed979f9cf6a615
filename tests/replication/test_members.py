"""What a single member does with what the small worlds leave out: edits, copies, limits, foreign histories."""

from dataclasses import replace

import pytest

from openbourse.engine.replication import Effects, Input, Member, Settings, State, accepts, boot, state, step
from openbourse.engine.replication.effects import Send, Statement
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import (
    CutIsDurable,
    Found,
    Linked,
    LogIsDurable,
    Look,
    PromiseIsDurable,
    Propose,
    Received,
    Seal,
    Seen,
    Succeeded,
    Suspect,
    Trust,
    Unlinked,
    Unsettled,
)
from openbourse.engine.replication.messages import Ack, Append, Differs, Joined, Offer, Refuse, Snapshot
from openbourse.engine.replication.record import CompareAndSet, Held, Read, Record, Session
from openbourse.engine.replication.recovery import recovered, seal_epoch
from openbourse.engine.replication.sessions import Admitted, Refused, admit
from openbourse.engine.replication.transitions import TRANSITIONS

A, B = Session("A1", "1"), Session("B1", "1")
SETTINGS = Settings(("B", "C"), window=10)


def after(member: Member, *events: Input) -> tuple[Member, Effects]:
    effects = Effects()
    for event in events:
        member, effects = step(member, event)
    return member, effects


def a_leader(*in_sync: str, settings: Settings = SETTINGS) -> Member:
    """A1 leads epoch 2 over a durable log of five entries, the record has `in_sync`."""
    member, _ = boot(A, settings, History(((1, 5),)), 1, 0)
    record = Record(1, Session("A1", "0"), frozenset(in_sync))
    member, effects = after(member, LogIsDurable(5), Seen(Held(record, "7")))
    assert isinstance(effects.ask, CompareAndSet)
    member, _ = after(member, Succeeded(effects.ask, "8"), PromiseIsDurable(2))
    assert state(member) is State.LEADER
    return member


def a_standby() -> Member:
    """B1 follows A1 in epoch 2, over a durable log of five entries."""
    member, _ = boot(B, Settings(("A",)), History(((1, 5),)), 2, 0)
    member, effects = after(member, LogIsDurable(5), Received("A", Offer(2, A, History(((1, 5),)))))
    assert effects.send == (Send("A", Joined(2, "B1", 5)),)
    return member


def test_a_batch_goes_to_the_log_and_to_every_follower_at_the_same_time() -> None:
    leader, _ = after(a_leader("A1", "B1"), Received("B", Joined(2, "B1", 5)))
    leader, effects = step(leader, Propose(8))
    assert effects.write is not None
    assert (effects.write.first, effects.write.last) == (6, 8)
    assert effects.send == (Send("B", Append(2, 5, 8, 5)),)
    leader, effects = step(leader, Received("B", Ack(2, "B1", 8)))
    assert effects.commit is None
    leader, effects = step(leader, LogIsDurable(8))
    assert effects.commit == 8


def test_a_follower_is_sent_a_window_at_a_time() -> None:
    leader, _ = after(a_leader("A1"), Propose(100), LogIsDurable(100))
    leader, effects = step(leader, Received("B", Joined(2, "B1", 0)))
    assert effects.send == (Send("B", Append(2, 0, 10, 100)),)
    leader, effects = step(leader, Propose(101))
    assert effects.send == ()
    leader, effects = step(leader, Received("B", Ack(2, "B1", 10)))
    assert effects.send == (Send("B", Append(2, 10, 20, 100)),)


def test_a_batch_that_is_larger_than_the_window_is_sent_in_parts() -> None:
    leader, _ = after(a_leader("A1"), Received("B", Joined(2, "B1", 5)))
    leader, effects = step(leader, Propose(30))
    assert effects.send == (Send("B", Append(2, 5, 15, 5)),)
    leader, effects = step(leader, Received("B", Ack(2, "B1", 15)))
    assert effects.send == (Send("B", Append(2, 15, 25, 5)),)


def test_without_enough_members_in_sync_nothing_is_accepted_or_committed() -> None:
    settings = replace(SETTINGS, min_in_sync=2)
    leader, _ = after(a_leader("A1", "B1", settings=settings), Received("B", Joined(2, "B1", 5)))
    assert accepts(leader)
    leader, effects = after(leader, Suspect("B1"))
    assert effects.ask is None, "B1 stays in the set: with less than two nothing could be committed"
    alone = a_leader("A1", settings=settings)
    assert not accepts(alone)
    alone, effects = after(alone, Propose(6), LogIsDurable(6))
    assert effects.commit is None
    alone, effects = after(alone, Received("B", Joined(2, "B1", 5)))
    assert isinstance(effects.ask, CompareAndSet)
    alone, effects = after(alone, Succeeded(effects.ask, "9"), Received("B", Ack(2, "B1", 6)))
    assert effects.commit == 6
    assert accepts(alone)


def test_a_label_on_the_record_changes_nothing() -> None:
    leader = a_leader("A1", "B1")
    held = leader.role.held  # type: ignore[union-attr]
    leader, effects = after(leader, Look(), Seen(Held(held.record, "9")))
    assert state(leader) is State.LEADER
    leader, effects = step(leader, Suspect("B1"))
    assert effects.ask == CompareAndSet("9", Record(2, A, frozenset({"A1"})))


def test_a_leader_whose_set_somebody_edited_stops() -> None:
    leader, effects = after(a_leader("A1"), Look(), Seen(Held(Record(2, A, frozenset({"A1", "C1"})), "9")))
    assert state(leader) is State.STOPPED
    assert "edited" in effects.said[0]
    assert step(leader, Suspect("B1")) == (leader, Effects())


def test_two_leaders_of_one_epoch_are_a_reason_to_stop() -> None:
    leader, effects = after(a_leader("A1"), Received("B", Offer(2, B, History())))
    assert state(leader) is State.STOPPED
    assert effects.said == ("stopped: B1/1 and A1/1 both lead epoch 2",)


def in_sync(member: Member) -> Member:
    return after(member, Look(), Seen(Held(Record(2, A, frozenset({"A1", "B1"})), "8")))[0]


def a_joiner() -> Member:
    return after(a_standby(), Received("C", Offer(3, Session("C1", "1"), History(((1, 5),)))))[0]


def a_winner() -> Member:
    member, effects = after(in_sync(a_standby()), Suspect("A1"), Seen(Held(Record(2, A, frozenset({"B1"})), "8")))
    assert isinstance(effects.ask, CompareAndSet)
    return after(member, Succeeded(effects.ask, "9"))[0]


NEWER = Received("C", Offer(4, Session("C1", "1"), History()))
SET = Held(Record(2, A, frozenset({"A1", "B1"})), "8")


@pytest.mark.parametrize(
    ("member", "events", "becomes"),
    [
        (in_sync(a_standby()), [NEWER], State.JOINING),
        (in_sync(a_standby()), [Suspect("A1"), Seen(SET)], State.CANDIDATE),
        (in_sync(a_standby()), [Seal(3)], State.SEALED),
        (a_joiner(), [Seal(4)], State.SEALED),
        (a_standby(), [Received("C", Offer(2, Session("C1", "1"), History()))], State.STOPPED),
        (in_sync(a_standby()), [Received("C", Offer(2, Session("C1", "1"), History()))], State.STOPPED),
        (a_joiner(), [Received("A", Offer(3, A, History()))], State.STOPPED),
        (a_winner(), [Received("A", Offer(3, A, History()))], State.STOPPED),
        (
            boot(B, SETTINGS, History(((1, 5),)), 2, 5)[0],
            [Received("A", Offer(2, A, History(((1, 4),))))],
            State.STOPPED,
        ),
    ],
)
def test_a_change_of_state_that_no_small_world_has(member: Member, events: list[Input], becomes: State) -> None:
    assert (state(member), becomes) in {(row.before, row.after) for row in TRANSITIONS}
    member, _ = after(member, *events)
    assert state(member) is becomes


def test_a_copy_of_a_volume_is_refused_while_the_other_is_linked() -> None:
    leader, _ = after(a_leader("A1", "B1"), Received("B", Joined(2, "B1", 5)))
    same, effects = step(leader, Received("C", Joined(2, "B1", 5)))
    assert same == leader
    assert effects.send == (Send("C", Refuse(2, 2)),)
    moved, effects = after(leader, Unlinked("B"), Received("C", Joined(2, "B1", 5)), Propose(6))
    assert effects.send == (Send("C", Append(2, 5, 6, 5)),)
    assert moved != leader


def test_a_history_that_differs_below_what_is_committed_stops_with_the_place() -> None:
    standby, _ = after(a_standby(), Received("A", Append(2, 5, 5, 4)))
    standby, effects = after(standby, Received("C", Offer(3, Session("C1", "1"), History(((1, 2), (2, 9))))))
    standby, effects = step(standby, PromiseIsDurable(3))
    assert state(standby) is State.STOPPED
    assert effects.cut is None
    assert effects.said[-1].endswith("committed through 4, but C1/1, leader of epoch 3, has another entry at 3")


def test_a_notice_of_what_was_written_before_a_cut_says_nothing() -> None:
    member, _ = boot(B, Settings(("A",)), History(((1, 5),)), 2, 0)
    member, effects = step(member, Received("A", Offer(2, A, History(((1, 3),)))))
    assert effects.cut == 3
    member, effects = step(member, LogIsDurable(5))
    assert (member.durable, effects) == (0, Effects())
    member, effects = step(member, CutIsDurable(3))
    assert effects.send == (Send("A", Joined(2, "B1", 3)),)


def test_a_standby_says_whether_the_record_names_it() -> None:
    named = Held(Record(2, A, frozenset({"A1", "B1"})), "8")
    standby, _ = after(a_standby(), Look(), Seen(named))
    assert state(standby) is State.IN_SYNC
    standby, _ = after(standby, Look(), Seen(Held(Record(2, A, frozenset({"A1"})), "9")))
    assert state(standby) is State.STANDBY


def test_a_new_link_gets_an_offer_and_all_that_was_lost_with_the_old_one() -> None:
    leader, _ = after(a_leader("A1", "B1"), Received("B", Joined(2, "B1", 5)), Propose(6))
    leader, effects = step(leader, Linked("B"))
    assert effects.send == (Send("B", Offer(2, A, History(((1, 5),)))),)
    leader, effects = step(leader, Received("B", Joined(2, "B1", 5)))
    assert effects.send == (Send("B", Append(2, 5, 6, 5)),)


def test_a_record_older_than_the_promise_is_left_to_a_recovery() -> None:
    member, _ = boot(A, SETTINGS, History(((3, 5),)), 3, 0)
    member, effects = step(member, Seen(Held(Record(2, None, frozenset({"A1"})), "5")))
    assert state(member) is State.SEALED
    assert effects.ask is None
    member, effects = after(member, Look(), Seen(Held(Record(4, None, frozenset({"A1"})), "6")))
    assert effects.ask == CompareAndSet("6", Record(5, A, frozenset({"A1"})))


@pytest.mark.parametrize("below", [1, 2])
def test_a_seal_below_what_was_promised_is_refused(below: int) -> None:
    leader = a_leader("A1")
    sealed, effects = step(leader, Seal(below))
    assert sealed == leader
    assert effects.sealed is None
    assert "choose above it" in effects.said[0]


def test_a_sealed_volume_testifies_to_what_is_durable_and_only_once_all_of_it_is() -> None:
    leader, _ = after(a_leader("A1"), Propose(6), Seal(3))
    leader, effects = step(leader, PromiseIsDurable(3))
    assert effects.sealed is None
    leader, effects = step(leader, LogIsDurable(6))
    assert effects.sealed == Statement("A1", 3, 2, 6)
    leader, effects = step(leader, Received("B", Offer(2, B, History())))
    assert effects.send == (Send("B", Refuse(2, 3)),)


def test_a_recovery_waits_for_every_volume_that_is_not_proven_to_be_gone() -> None:
    a, b = Statement("A1", 4, 2, 9), Statement("B1", 4, 3, 5)
    volumes = frozenset({"A1", "B1", "C1"})
    assert seal_epoch([1, 3, 2]) == 4
    assert recovered(4, (a, b), frozenset(), volumes) == "not sealed below epoch 4 and not proven to be gone: C1"
    assert recovered(4, (a, b), frozenset({"C1"}), volumes) == Record(4, None, frozenset({"B1"}))
    assert recovered(5, (a, b), volumes, volumes) == "every volume is gone: there is nothing to recover"


def test_a_founder_that_finds_no_record_yet_looks_again_and_leads_once_its_write_has_landed() -> None:
    """Found by the simulation of the shard, seed 9: it stayed a candidate for ever."""
    fresh, _ = boot(A, SETTINGS, History(), 0, 0)
    fresh, effects = after(fresh, Seen(None), Found())
    ask = effects.ask
    assert isinstance(ask, CompareAndSet)
    fresh, _ = after(fresh, Unsettled(ask), Seen(None))
    assert state(fresh) is State.UNKNOWN
    again, effects = after(fresh, Found())
    assert effects.ask == ask
    landed, _ = after(fresh, Look(), Seen(Held(ask.record, "1")), PromiseIsDurable(1))
    assert state(landed) is State.LEADER
    assert state(again) is State.CANDIDATE


def test_only_an_untouched_volume_founds_a_shard() -> None:
    fresh, _ = boot(A, SETTINGS, History(), 0, 0)
    fresh, effects = after(fresh, Seen(None), Found())
    assert effects.ask == CompareAndSet(None, Record(1, A, frozenset({"A1"})))
    for history, promise in ((History(((1, 1),)), 0), (History(), 1)):
        used, _ = boot(A, SETTINGS, history, promise, 0)
        used, effects = after(used, Seen(None), Found())
        assert effects.ask is None
        assert "founds nothing" in effects.said[0]


def test_a_late_success_is_a_reason_to_look_and_no_more() -> None:
    member = a_standby()
    member, effects = after(member, Suspect("A1"), Seen(Held(Record(2, A, frozenset({"A1", "B1"})), "8")))
    ask = effects.ask
    assert isinstance(ask, CompareAndSet)
    member, _ = after(member, Received("A", Offer(2, A, History(((1, 5),)))))
    member, effects = step(member, Succeeded(ask, "9"))
    assert effects.ask == Read()
    member, _ = step(member, Seen(Held(Record(5, None, frozenset({"A1"})), "11")))
    assert state(member) is State.STANDBY


def test_trust_brings_a_member_back_that_was_removed() -> None:
    leader, effects = after(a_leader("A1", "B1"), Received("B", Joined(2, "B1", 5)), Suspect("B1"))
    assert isinstance(effects.ask, CompareAndSet)
    leader, effects = step(leader, Succeeded(effects.ask, "9"))
    assert effects.ask is None
    leader, effects = step(leader, Trust("B1"))
    assert effects.ask == CompareAndSet("9", Record(2, A, frozenset({"A1", "B1"})))


def test_a_downstream_refuses_older_sessions() -> None:
    assert admit(3, 3) == Admitted(3)
    assert admit(3, 4) == Admitted(4)
    assert admit(3, 2) == Refused("refused a session of epoch 2: epoch 3 was seen")


def record_of_a(*in_sync: str, epoch: int = 2, leader: Session = A) -> Held:
    return Held(Record(epoch, leader, frozenset(in_sync)), "9")


def test_a_standby_out_of_sync_begins_anew_from_a_snapshot_once_the_record_says_that_it_is() -> None:
    member, effects = after(a_standby(), Received("A", Snapshot(2, 9)))
    assert (effects.ask, effects.renew) == (Read(), None)
    _, effects = after(member, Seen(record_of_a("A1")))
    assert effects.renew == 9


@pytest.mark.parametrize(
    "held",
    [record_of_a("A1", "B1"), record_of_a("A1", epoch=3), record_of_a("A1", leader=Session("A1", "2"))],
    ids=["it is in sync", "another epoch", "another boot leads"],
)
def test_a_standby_does_not_begin_anew_when_the_record_says_otherwise(held: Held) -> None:
    member, _ = after(a_standby(), Received("A", Snapshot(2, 9)))
    member, effects = after(member, Seen(held))
    assert effects.renew is None
    # Nor later: it takes another snapshot.
    _, effects = after(member, Look(), Seen(record_of_a("A1")))
    assert effects.renew is None


@pytest.mark.parametrize("snapshot", [Snapshot(1, 9), Snapshot(2, 5)], ids=["of an older epoch", "not ahead"])
def test_a_snapshot_that_comes_too_late_changes_nothing(snapshot: Snapshot) -> None:
    member, effects = after(a_standby(), Received("A", snapshot))
    assert effects.ask is None
    _, effects = after(member, Look(), Seen(record_of_a("A1")))
    assert effects.renew is None


def test_a_snapshot_is_dropped_with_the_session_that_it_came_in() -> None:
    member, _ = after(a_standby(), Received("A", Snapshot(2, 9)))
    member, _ = after(member, Received("C", Offer(3, Session("C1", "1"), History(((1, 5),)))))
    member, effects = after(member, PromiseIsDurable(3), Look(), Seen(record_of_a("C1", epoch=3)))
    assert effects.renew is None


def test_a_standby_whose_log_is_a_copy_of_another_stops_with_the_place() -> None:
    member, effects = after(a_standby(), Received("A", Differs(1, 5)))
    assert effects == Effects()
    member, effects = after(member, Received("A", Differs(2, 5)))
    assert state(member) is State.STOPPED
    assert "another chain at entry 5" in effects.said[-1]
