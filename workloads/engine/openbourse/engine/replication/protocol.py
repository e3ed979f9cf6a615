"""The protocol: a member and one thing that happened in, the member and its effects out.

Nothing here has a clock, a socket, a file or chance; the same inputs always give the same effects.
"""

from dataclasses import replace
from typing import assert_never

from openbourse.engine.replication import hand_over, in_sync, joining, leading, recovery, take_over
from openbourse.engine.replication.effects import NOTHING, Effects
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import (
    Beat,
    Conflicted,
    CutIsDurable,
    Found,
    HandOver,
    Input,
    LeadOn,
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
from openbourse.engine.replication.member import (
    Joining,
    Leader,
    Member,
    Sealed,
    Settings,
    Standby,
    Stopped,
    Unknown,
    Winner,
)
from openbourse.engine.replication.messages import (
    Ack,
    Append,
    Differs,
    Joined,
    Message,
    Offer,
    Refuse,
    Release,
    Snapshot,
)
from openbourse.engine.replication.record import CompareAndSet, Held, Read, Session


def boot(me: Session, settings: Settings, history: History, promise: int, committed: int) -> tuple[Member, Effects]:
    """A process begins on its volume. What it read of the log counts as durable only once it is synced.

    `committed` is an index that is known to be committed, a snapshot's for example; 0 where nothing is known.
    """
    member = Member(
        me=me,
        settings=settings,
        promise=promise,
        promised=promise,
        history=history,
        durable=read_as_durable(history),
        cutting=False,
        commit=committed,
        suspected=frozenset(),
        waiting=Read(),
        role=Unknown(),
    )
    said = f"boots as {me}: promised epoch {promise}, log {history}"
    return member, Effects(sync=history.end > 0, ask=Read(), said=(said,))


def read_as_durable(history: History) -> int:
    """The page cache may hold what the disk does not, so nothing."""
    del history
    return 0


def step(member: Member, event: Input) -> tuple[Member, Effects]:
    """Carry out the effects, in their order, before the next input."""
    role = member.role
    match event:
        case Received(place, message):
            return _received(member, place, message)
        case LogIsDurable(last):
            return _log_is_durable(member, last)
        case Propose(last):
            assert isinstance(role, Leader), f"only a leader gives seqs, this one is {role}"
            return leading.propose(member, role, last)
        case CutIsDurable(last):
            return _cut_is_durable(member, last)
        case PromiseIsDurable(epoch):
            return _promise_is_durable(member, epoch)
        case _ if isinstance(role, Stopped):
            return member, NOTHING
        case Linked(place):
            return leading.linked(member, role, place) if isinstance(role, Leader) else (member, NOTHING)
        case Unlinked(place):
            return leading.unlinked(member, role, place) if isinstance(role, Leader) else (member, NOTHING)
        case Suspect(suspect):
            return _suspect(member, suspect)
        case Trust(trusted):
            member = replace(member, suspected=member.suspected - {trusted})
            return leading.settled(member) if isinstance(role, Leader) else (member, NOTHING)
        case Beat():
            return leading.beat(member, role) if isinstance(role, Leader) else (member, NOTHING)
        case Look():
            return in_sync.reread(member)
        case Seen(held):
            return _seen(member, held)
        case Succeeded(ask, version):
            return _succeeded(member, ask, version)
        case Conflicted(ask) | Unsettled(ask):
            return _failed(member, event, ask)
        case HandOver(to):
            return hand_over.begin(member, role, to) if isinstance(role, Leader) else (member, NOTHING)
        case LeadOn():
            return hand_over.lead_on(member, role) if isinstance(role, Leader) else (member, NOTHING)
        case Seal(below):
            return recovery.seal(member, below)
        case Found():
            return recovery.found(member)
        case _ as never:
            assert_never(never)


def _received(member: Member, place: str, message: Message) -> tuple[Member, Effects]:
    role = member.role
    match message:
        case Append():
            return joining.appended(member, role, message) if isinstance(role, Standby) else (member, NOTHING)
        case Ack():
            return leading.acknowledged(member, role, message) if isinstance(role, Leader) else (member, NOTHING)
        case Joined():
            return leading.joined(member, role, place, message) if isinstance(role, Leader) else (member, NOTHING)
        case Offer():
            return (member, NOTHING) if isinstance(role, Stopped) else joining.offered(member, place, message)
        case Refuse(epoch=epoch, promise=promise):
            if isinstance(role, Leader) and epoch == role.epoch and promise > epoch:
                return in_sync.reread(member)
            return member, NOTHING
        case Differs():
            return joining.differs(member, role, message) if isinstance(role, Standby) else (member, NOTHING)
        case Snapshot():
            return joining.arrived(member, role, message) if isinstance(role, Standby) else (member, NOTHING)
        case Release():
            return take_over.released(member, role, message) if isinstance(role, Standby) else (member, NOTHING)
        case _ as never:
            assert_never(never)


def _log_is_durable(member: Member, last: int) -> tuple[Member, Effects]:
    """While a cut is on its way the notices are of what was written before it."""
    last = min(last, member.history.end)
    if member.cutting or last <= member.durable:
        return member, NOTHING
    role = member.role
    if isinstance(role, Leader):
        return leading.durable(member, role, last)
    member = replace(member, durable=last)
    match role:
        case Standby():
            return member, joining.acknowledge(member, role)
        case Sealed(asked=True):
            return recovery.testify(member)
        case _:
            return member, NOTHING


def _cut_is_durable(member: Member, last: int) -> tuple[Member, Effects]:
    if not member.cutting or last != member.history.end:
        return member, NOTHING
    return _go_on(replace(member, cutting=False, durable=last))


def _promise_is_durable(member: Member, epoch: int) -> tuple[Member, Effects]:
    if epoch <= member.promised:
        return member, NOTHING
    return _go_on(replace(member, promised=epoch))


def _go_on(member: Member) -> tuple[Member, Effects]:
    """What waited for a promise or a cut to be durable."""
    match member.role:
        case Joining(offer=offer) as joiner if member.promised >= offer.epoch:
            return joining.cut_back(member, joiner)
        case Winner() as winner:
            return take_over.begin(member, winner)
        case Sealed(asked=True):
            return recovery.testify(member)
        case _:
            return member, NOTHING


def _suspect(member: Member, suspect: str) -> tuple[Member, Effects]:
    if isinstance(member.role, Leader):
        if suspect in member.suspected or suspect == member.me.member:
            return member, NOTHING
        return leading.settled(replace(member, suspected=member.suspected | {suspect}))
    if not take_over.suspected(member, suspect):
        return member, NOTHING
    return in_sync.reread(replace(member, suspected=member.suspected | {suspect}))


def _seen(member: Member, held: Held | None) -> tuple[Member, Effects]:
    if member.waiting != Read():
        return member, NOTHING
    member = replace(member, waiting=None)
    if not isinstance(member.role, Leader):
        return (member, NOTHING) if isinstance(member.role, Winner) else take_over.seen(member, held)
    member, effects, leads = in_sync.seen(member, member.role, held)
    if not leads or held is None:
        return member, effects
    return leading.settled(member)


def _succeeded(member: Member, ask: CompareAndSet, version: str) -> tuple[Member, Effects]:
    if member.waiting == ask:
        member = replace(member, waiting=None)
    role = member.role
    if isinstance(role, Leader) and role.epoch == ask.record.epoch:
        if ask not in role.unsettled:
            return member, NOTHING
        return leading.settled(in_sync.confirmed(member, role, ask, version))
    return take_over.succeeded(member, ask, version)


def _failed(member: Member, event: Conflicted | Unsettled, ask: CompareAndSet) -> tuple[Member, Effects]:
    """A conflict is a reason to read; an unknown outcome is settled by asking once more."""
    if member.waiting != ask:
        return member, NOTHING
    member = replace(member, waiting=None)
    if not isinstance(member.role, Leader):
        return take_over.failed(member, ask)
    return in_sync.reread(member) if isinstance(event, Conflicted) else leading.settled(member)
