"""What a member makes of what it hears of the others: links, heartbeats, acknowledgements owed, and nothing at all."""

from dataclasses import replace

from openbourse.engine.member.watch import Watch
from openbourse.engine.replication import Settings, boot, step
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import (
    Linked,
    LogIsDurable,
    PromiseIsDurable,
    Propose,
    Received,
    Seen,
    Succeeded,
    Suspect,
    Trust,
)
from openbourse.engine.replication.member import Leader, Member
from openbourse.engine.replication.messages import Joined
from openbourse.engine.replication.record import CompareAndSet, Held, Record, Session

A, B = Session("A", "a1"), Session("B", "b1")


def booted(leader: Session | None) -> tuple[Member, Record]:
    member, _ = boot(A, Settings(("b:1",)), History(), 0, 0)
    return member, Record(1, leader, frozenset({"A", "B"}))


def leading() -> Member:
    """A leads with B in its set, which has everything."""
    member, _ = boot(A, Settings(("b:1",)), History(), 0, 0)
    member, effects = step(member, Seen(Held(Record(0, None, frozenset({"A", "B"})), "1")))
    assert isinstance(effects.ask, CompareAndSet)
    member, _ = step(member, Succeeded(effects.ask, "2"))
    member, _ = step(member, PromiseIsDurable(1))
    member, _ = step(member, Linked("b:1"))
    member, _ = step(member, Received("b:1", Joined(1, "B", 0)))
    assert isinstance(member.role, Leader)
    return replace(member, role=replace(member.role, counted=frozenset({"A", "B"})))


def test_a_link_is_all_that_is_known_of_one_without_heartbeats() -> None:
    watch = Watch(0)
    assert watch.linked("B") == (Trust("B"),)
    assert watch.heard("B", 1, 10) == ()
    assert watch.linked("B") == (), "its heartbeats say more"


def test_a_link_that_ends_is_a_suspicion_with_heartbeats_or_without() -> None:
    watch = Watch(0)
    assert watch.unlinked("B", 5) == (Suspect("B"),)
    watch.heard("B", 1, 10)
    assert watch.unlinked("B", 20) == (Suspect("B"),)


def test_one_that_never_sent_a_heartbeat_is_not_taken_for_silent() -> None:
    watch = Watch(0)
    member, _ = booted(B)
    watch.linked("B")
    assert all(watch.tick(member, now_ms) == () for now_ms in range(0, 5_000, 50))


def test_a_heartbeat_is_heard_once() -> None:
    watch = Watch(0)
    member, _ = booted(B)
    said = []
    for now_ms in range(0, 1_000, 50):
        watch.heard("B", 1, 10)
        said += [(now_ms, verdict) for verdict in watch.tick(member, now_ms)]
    assert said[0] == (450, Suspect("B")), "the last one is silence, however often it is looked at"


def test_a_leader_that_was_gone_before_the_start_is_suspected_after_a_second() -> None:
    watch = Watch(0)
    member, record = booted(B)
    assert watch.absent(member, record, linked=(), now_ms=0) == ()
    assert watch.absent(member, record, linked=(), now_ms=1_000) == ()
    assert watch.absent(member, record, linked=(), now_ms=1_500) == (Suspect("B"),)


def test_a_link_in_between_begins_the_second_anew() -> None:
    watch = Watch(0)
    member, record = booted(B)
    watch.absent(member, record, linked=(), now_ms=0)
    assert watch.absent(member, record, linked=("B",), now_ms=900) == ()
    assert watch.absent(member, record, linked=(), now_ms=1_800) == ()


def test_nobody_is_awaited_when_nobody_is_known_to_lead() -> None:
    watch = Watch(0)
    for leader in (None, A):
        member, record = booted(leader)
        assert watch.absent(member, record, linked=(), now_ms=0) == ()
        assert watch.absent(member, record, linked=(), now_ms=9_000) == ()


def test_a_leader_suspects_a_counted_follower_that_acknowledges_too_late_and_no_other() -> None:
    watch = Watch(0)
    member = leading()
    member, _ = step(member, Propose(1))
    member, _ = step(member, LogIsDurable(1))
    watch.proposed(1, 100)
    said = []
    for now_ms in range(100, 1_500, 50):
        watch.heard("B", now_ms, now_ms)
        said += [(now_ms, verdict) for verdict in watch.tick(member, now_ms)]
    assert said[0] == (1_150, Suspect("B"))
    assert isinstance(member.role, Leader)
    alone = replace(member, role=replace(member.role, counted=frozenset({"A"})))
    late = Watch(0)
    late.proposed(1, 100)
    for now_ms in range(100, 1_500, 50):
        late.heard("B", now_ms, now_ms)
        assert late.tick(alone, now_ms) == ()
