"""Who may take over, and what a member without a session makes of the record. The compare-and-set decides, no clock."""

from dataclasses import dataclass, replace

from openbourse.engine.replication import joining
from openbourse.engine.replication.effects import NOTHING, Effects
from openbourse.engine.replication.in_sync import reread
from openbourse.engine.replication.leading import lead
from openbourse.engine.replication.member import Candidate, Joining, Member, Sealed, Standby, Unknown, Winner
from openbourse.engine.replication.messages import Release
from openbourse.engine.replication.promise import admits, may_act, may_lead
from openbourse.engine.replication.record import CompareAndSet, Held, Read, Record


@dataclass(frozen=True, slots=True)
class TakeOver:
    ask: CompareAndSet


@dataclass(frozen=True, slots=True)
class Won:
    held: Held


@dataclass(frozen=True, slots=True)
class Wait:
    said: str


@dataclass(frozen=True, slots=True)
class WaitForRecovery:
    said: str


Decision = TakeOver | Won | Wait | WaitForRecovery


def decide(member: Member, held: Held | None) -> Decision:
    """What the record means to a member that does not lead."""
    me = member.me
    if held is None:
        return Wait("there is no record: a new shard is founded, a lost record recovered, by a person")
    record = held.record
    if record.leader == me and may_lead(member.promise, record.epoch):
        return Won(held)
    if not admits(member.promise, record.epoch):
        return WaitForRecovery(
            f"waits for a recovery: the record says {record}, but this volume promised epoch {member.promise}"
        )
    if not in_set(me.member, record):
        return Wait(f"waits to be offered a session: not in sync, the record says {record}")
    leader = record.leader
    if leader is not None and leader.member != me.member and leader.member not in member.suspected:
        return Wait(f"waits for {leader}, leader of epoch {record.epoch}")
    if member.cutting:
        return Wait("waits for its own cut to be durable")
    return TakeOver(CompareAndSet(held.version, Record(record.epoch + 1, me, successors(member, record))))


def released(member: Member, standby: Standby, release: Release) -> tuple[Member, Effects]:
    """The leader wants this member to lead: as a suspicion, with the record as the leader knows it in place of a read.

    Was it changed since, the compare-and-set conflicts, and the record is read.
    """
    offer = standby.offer
    if release.epoch != offer.epoch or release.last != member.history.end:
        return member, NOTHING
    record = Record(release.epoch, offer.leader, release.in_sync)
    member = replace(member, suspected=member.suspected | {offer.leader.member})
    return seen(member, Held(record, release.version))


def in_set(member: str, record: Record) -> bool:
    """Only a member of the set has every committed record."""
    return member in record.in_sync


def successors(member: Member, record: Record) -> frozenset[str]:
    """The old set less the old leader, whose disk may be as dead as it is; never less than the new one."""
    old = {record.leader.member} if record.leader is not None else set()
    return (record.in_sync - old) | {member.me.member}


def seen(member: Member, held: Held | None) -> tuple[Member, Effects]:
    decision = decide(member, held)
    role = member.role
    match decision:
        case TakeOver(ask):
            said = f"asks for epoch {ask.record.epoch}: in sync {sorted(ask.record.in_sync)}"
            return replace(member, role=Candidate(ask), waiting=ask), Effects(ask=ask, said=(said,))
        case Won(won):
            return win(member, won)
        case WaitForRecovery(said):
            if isinstance(role, Candidate | Unknown):
                member = replace(member, role=Sealed(asked=False), suspected=frozenset())
            return member, Effects(said=(said,))
        case Wait(said):
            member = replace(member, suspected=frozenset())
            if isinstance(role, Candidate) or (isinstance(role, Sealed) and held is not None):
                member = replace(member, role=Unknown())
            elif isinstance(role, Standby) and held is not None:
                role = replace(role, in_sync=in_set(member.me.member, held.record))
                member = replace(member, role=role)
                if role.arrived:
                    return joining.renewed(member, role, held.record)
            return member, Effects(said=(said,))


def win(member: Member, held: Held) -> tuple[Member, Effects]:
    """The record names this boot. Nothing is done under the epoch before its promise is durable."""
    epoch = held.record.epoch
    winner = Winner(held)
    member = replace(member, role=winner, promise=epoch)
    said = f"won epoch {epoch}"
    if may_act(member.promised, epoch):
        return begin(member, winner)
    return member, Effects(promise=epoch, said=(said,))


def begin(member: Member, winner: Winner) -> tuple[Member, Effects]:
    if member.cutting or not may_act(member.promised, winner.held.record.epoch):
        return member, NOTHING
    return lead(member, winner)


def succeeded(member: Member, ask: CompareAndSet, version: str) -> tuple[Member, Effects]:
    """Heard late, by one that has given up waiting, it is a reason to look: the record says whether it still holds."""
    if member.role == Candidate(ask):
        return win(member, Held(ask.record, version))
    if may_lead(member.promise, ask.record.epoch):
        return reread(member)
    return member, Effects(said=(f"won epoch {ask.record.epoch} too late: promised epoch {member.promise} since",))


def failed(member: Member, ask: CompareAndSet) -> tuple[Member, Effects]:
    """Lost, or nobody knows: the record says how to go on."""
    if member.role != Candidate(ask):
        return member, NOTHING
    return replace(member, waiting=Read()), Effects(ask=Read())


def suspected(member: Member, suspect: str) -> bool:
    """Whether the suspicion is about whom this member follows, or nobody is known to lead."""
    match member.role:
        case Standby(offer=offer) | Joining(offer=offer):
            return offer.leader.member == suspect
        case Unknown() | Sealed():
            return True
        case _:
            return False
