"""Who is in the record's in-sync set: wanted, asked for, settled. Only a leader changes it, by compare-and-set."""

from dataclasses import replace

from openbourse.engine.replication.effects import NOTHING, Effects
from openbourse.engine.replication.member import Leader, Member, Stopped, Unknown
from openbourse.engine.replication.progress import is_caught_up
from openbourse.engine.replication.record import CompareAndSet, Held, Read, Record, counted


def wanted(member: Member, leader: Leader) -> frozenset[str]:
    """Less the suspected, if enough are left; with those that are caught up and not suspected."""
    confirmed = leader.held.record.in_sync
    ready = {
        follower.member
        for follower in leader.progress
        if follower.place is not None
        and follower.member not in member.suspected
        and is_caught_up(member, leader, follower)
    }
    fewer = (confirmed - member.suspected) | ready | {member.me.member}
    return fewer if len(fewer) >= member.settings.min_in_sync else confirmed | ready


def adjusted(member: Member, leader: Leader) -> tuple[Member, CompareAndSet | None, tuple[str, ...]]:
    """Asks for the wanted set, or once more to settle what is not. The asked set counts from here on."""
    if member.waiting is not None:
        return member, None, ()
    want = wanted(member, leader)
    confirmed = leader.held.record.in_sync
    if want == confirmed and not leader.unsettled:
        return member, None, ()
    ask = CompareAndSet(leader.held.version, Record(leader.epoch, member.me, want))
    unsettled = leader.unsettled | {ask}
    leader = replace(leader, unsettled=unsettled, counted=counted(confirmed, unsettled))
    return replace(member, role=leader, waiting=ask), ask, (_why(confirmed, want),)


def _why(confirmed: frozenset[str], want: frozenset[str]) -> str:
    removed, added = sorted(confirmed - want), sorted(want - confirmed)
    parts = [f"removes {', '.join(removed)}: suspected"] if removed else []
    parts += [f"adds {', '.join(added)}: caught up"] if added else []
    return f"in-sync set: {'; '.join(parts) or 'asks again, to know what became of the last change'}"


def confirmed(member: Member, leader: Leader, ask: CompareAndSet, version: str) -> Member:
    """The write landed, so no other that was asked for can land any more."""
    held = Held(ask.record, version)
    return replace(member, role=replace(leader, held=held, unsettled=frozenset(), counted=ask.record.in_sync))


def seen(member: Member, leader: Leader, held: Held | None) -> tuple[Member, Effects, bool]:
    """The record as a leader finds it after a conflict or a hint; whether it leads on."""
    if held is None:
        return member, Effects(said=("the record is gone: leads on with the set as it is, until a recovery",)), True
    if held.version == leader.held.version:
        return member, NOTHING, True
    record = held.record
    if (record.epoch, record.leader) != (leader.epoch, member.me):
        return _stood_down(member, f"stands down from epoch {leader.epoch}: the record says {record}")
    if record.in_sync not in {leader.held.record.in_sync, *(ask.record.in_sync for ask in leader.unsettled)}:
        why = f"stopped: somebody edited the record of epoch {leader.epoch}, it says {record}"
        return replace(member, role=Stopped(why)), Effects(said=(why,)), False
    leader = replace(leader, held=held, unsettled=frozenset(), counted=record.in_sync)
    return replace(member, role=leader), NOTHING, True


def _stood_down(member: Member, said: str) -> tuple[Member, Effects, bool]:
    return replace(member, role=Unknown(), suspected=frozenset(), waiting=None), Effects(said=(said,)), False


def reread(member: Member) -> tuple[Member, Effects]:
    """Asks for the record, unless an answer is on its way."""
    if member.waiting is not None:
        return member, NOTHING
    return replace(member, waiting=Read()), Effects(ask=Read())
