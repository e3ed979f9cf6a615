"""A follower's side of a session: promise, cut back, join, append. It acknowledges what is matched and durable only."""

from dataclasses import replace

from openbourse.engine.replication import in_sync
from openbourse.engine.replication.effects import NOTHING, Effects, Send, Write
from openbourse.engine.replication.history import History
from openbourse.engine.replication.member import Joining, Leader, Member, Standby, Stopped, Winner
from openbourse.engine.replication.messages import Ack, Append, Differs, Joined, Offer, Refuse, Snapshot
from openbourse.engine.replication.promise import admits, may_act
from openbourse.engine.replication.record import Record


def offered(member: Member, place: str, offer: Offer) -> tuple[Member, Effects]:
    """A leader says that it leads `offer.epoch`."""
    if not admits(member.promise, offer.epoch):
        return member, Effects(send=(Send(place, Refuse(offer.epoch, member.promise)),))
    match member.role:
        case Joining(offer=current) if current == offer:
            return replace(member, role=Joining(place, offer)), NOTHING
        case Standby(offer=current) as standby if current == offer:
            member = replace(member, role=replace(standby, place=place))
            return member, Effects(send=(_joined(member, place, offer),))
        case Leader(held=held) | Winner(held=held) if held.record.epoch == offer.epoch:
            return _stopped(member, f"stopped: {offer.leader} and {member.me} both lead epoch {offer.epoch}")
        case Joining(offer=current) | Standby(offer=current) if current.epoch == offer.epoch:
            return _stopped(member, f"stopped: {offer.leader} and {current.leader} both lead epoch {offer.epoch}")
        case _:
            pass
    said = f"joins {offer.leader}, leader of epoch {offer.epoch}"
    joining = Joining(place, offer)
    member = replace(member, promise=offer.epoch, role=joining, suspected=frozenset(), waiting=None)
    if not may_act(member.promised, offer.epoch):
        return member, Effects(promise=offer.epoch, said=(said,))
    return cut_back(member, joining, said)


def cut_back(member: Member, joining: Joining, *said: str) -> tuple[Member, Effects]:
    """Whatever the epoch: what the leader does not have is cut off, durably, before anything is acknowledged."""
    common = matching(member.history, joining.offer)
    if common < member.commit:
        why = (
            f"stopped: the log is committed through {member.commit}, but {joining.offer.leader}, leader of epoch "
            f"{joining.offer.epoch}, has another entry at {common + 1}"
        )
        return _stopped(member, *said, why)
    if common < member.history.end:
        cut = f"cuts its log from {member.history.end} to {common}, where it is the leader's"
        member = replace(
            member, history=member.history.cut(common), durable=min(member.durable, common), cutting=True, role=joining
        )
        return member, Effects(cut=common, said=(*said, cut))
    if member.cutting:
        return member, Effects(said=said)
    return join(member, joining, *said)


def join(member: Member, joining: Joining, *said: str) -> tuple[Member, Effects]:
    """The log is a prefix of the leader's, and no crash can make it anything else."""
    member = replace(member, role=Standby(joining.place, joining.offer))
    return member, Effects(send=(_joined(member, joining.place, joining.offer),), said=said)


def matching(history: History, offer: Offer) -> int:
    """The end of the longest prefix that is the leader's too.

    What follows the leader's base under its own epoch is its own, sent after the Offer was made: a leader cuts nothing.
    """
    theirs = offer.base
    if history.end > theirs.end:
        theirs = theirs.extended(offer.epoch, history.end)
    return history.shared(theirs)


def appended(member: Member, standby: Standby, append: Append) -> tuple[Member, Effects]:
    """Entries and the commit index from the leader. What is here already is skipped; a gap is left to the next link."""
    if append.epoch != standby.offer.epoch:
        return member, NOTHING
    end = member.history.end
    history = member.history
    write = None
    if append.after <= end < append.last:
        write = Write(end + 1, append.last)
        history = _through(standby.offer, append.last)
        end = append.last
    commit = min(append.commit, end)
    if commit <= member.commit:
        if write is None:
            return member, NOTHING
        return _with_log(member, history, member.commit), Effects(write=write)
    return _with_log(member, history, commit), Effects(write=write, commit=commit)


def differs(member: Member, standby: Standby, message: Differs) -> tuple[Member, Effects]:
    """The pairs are the leader's and the entries are not."""
    if message.epoch != standby.offer.epoch:
        return member, NOTHING
    return _stopped(
        member,
        f"stopped: the log has another chain at entry {message.matched} than that of {standby.offer.leader}, leader of "
        f"epoch {message.epoch}: it is a copy of another log",
    )


def arrived(member: Member, standby: Standby, snapshot: Snapshot) -> tuple[Member, Effects]:
    """What the record says now decides whether this volume may begin anew."""
    if not is_ahead(member, standby, snapshot):
        return member, Effects(said=(f"a snapshot at {snapshot.last} of epoch {snapshot.epoch} came too late",))
    return in_sync.reread(replace(member, role=replace(standby, arrived=snapshot.last)))


def is_ahead(member: Member, standby: Standby, snapshot: Snapshot) -> bool:
    """Of the session's own epoch, and of more than the log has."""
    return snapshot.epoch == standby.offer.epoch and snapshot.last > member.history.end


def renewed(member: Member, standby: Standby, record: Record) -> tuple[Member, Effects]:
    """The record was read after the snapshot came."""
    last = standby.arrived
    member = replace(member, role=replace(standby, arrived=0))
    if not may_renew(member, standby, record):
        return member, Effects(said=(f"does not begin anew from the snapshot at {last}: the record says {record}",))
    return member, Effects(renew=last, said=(f"begins anew, as a new member, from the leader's snapshot at {last}",))


def may_renew(member: Member, standby: Standby, record: Record) -> bool:
    """Nothing that this member acknowledged counts, nor will: only the leader of its session could add it."""
    offer = standby.offer
    led = (record.epoch, record.leader) == (offer.epoch, offer.leader)
    return led and member.me.member not in record.in_sync and standby.arrived > member.history.end


def acknowledge(member: Member, standby: Standby) -> Effects:
    ack = Ack(standby.offer.epoch, member.me.member, member.durable)
    return Effects(send=(Send(standby.place, ack),))


def _stopped(member: Member, *said: str) -> tuple[Member, Effects]:
    return replace(member, role=Stopped(said[-1])), Effects(said=said)


def _joined(member: Member, place: str, offer: Offer) -> Send:
    return Send(place, Joined(offer.epoch, member.me.member, member.durable))


def _through(offer: Offer, last: int) -> History:
    """The leader's log up to `last`."""
    if last <= offer.base.end:
        return offer.base.cut(last)
    return offer.base.extended(offer.epoch, last)


def _with_log(member: Member, history: History, commit: int) -> Member:
    # As replace() does, in a third of the time: this runs for every batch.
    return Member(
        member.me,
        member.settings,
        member.promise,
        member.promised,
        history,
        member.durable,
        member.cutting,
        commit,
        member.suspected,
        member.waiting,
        member.role,
    )
