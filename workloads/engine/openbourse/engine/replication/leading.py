"""A leader's side of its sessions: offer, send, count acknowledgements, commit."""

from dataclasses import replace

from openbourse.engine.replication import hand_over
from openbourse.engine.replication.effects import NOTHING, Effects, Send, Write
from openbourse.engine.replication.history import History
from openbourse.engine.replication.in_sync import adjusted
from openbourse.engine.replication.member import Leader, Member, Progress, Winner
from openbourse.engine.replication.messages import Ack, Append, Joined, Offer, Refuse
from openbourse.engine.replication.progress import committed


def lead(member: Member, winner: Winner) -> tuple[Member, Effects]:
    """The promise is durable: from here on the member acts under its epoch."""
    record = winner.held.record
    leader = Leader(winner.held, member.history, frozenset(), record.in_sync, ())
    said = f"leads epoch {record.epoch} from entry {member.history.end + 1} on, in sync {sorted(record.in_sync)}"
    member = replace(member, role=leader, suspected=frozenset())
    offers = tuple(Send(place, _offer(member, leader)) for place in member.settings.places)
    member, commit = moved(member, leader)
    return member, Effects(send=offers, commit=commit, said=(said,))


def linked(member: Member, leader: Leader, place: str) -> tuple[Member, Effects]:
    return member, Effects(send=(Send(place, _offer(member, leader)),))


def unlinked(member: Member, leader: Leader, place: str) -> tuple[Member, Effects]:
    """What a follower acknowledged stays acknowledged; nothing is sent to it any more."""
    progress = tuple(replace(known, place=None) if known.place == place else known for known in leader.progress)
    leader, said = hand_over.still(member, replace(leader, progress=progress))
    return replace(member, role=leader), Effects(said=said) if said else NOTHING


def accepts(member: Member) -> bool:
    """Whether seqs are given: by a leader whose record has members enough in sync, and who is not handing over."""
    role = member.role
    return isinstance(role, Leader) and role.successor is None and has_enough(member, role)


def has_enough(member: Member, leader: Leader) -> bool:
    """Whether as many members are in sync as must be."""
    return len(leader.held.record.in_sync) >= member.settings.min_in_sync


def propose(member: Member, leader: Leader, last: int) -> tuple[Member, Effects]:
    """One batch: to the log and to every follower that is not behind, at the same time."""
    end = member.history.end
    assert last > end, f"a batch must end behind {end}, the end of the log; this one ends at {last}"
    send: tuple[Send, ...] = ()
    progress = []
    for known in leader.progress:
        follower, append = _fed(member, leader, known, last)
        progress.append(follower)
        send += append
    history = member.history.extended(leader.epoch, last)
    member = _with(member, history, member.durable, member.commit, leader, tuple(progress))
    return member, Effects(write=Write(end + 1, last), send=send)


def joined(member: Member, leader: Leader, place: str, message: Joined) -> tuple[Member, Effects]:
    """A follower begins: where it is, all of that on a new link."""
    if message.epoch != leader.epoch:
        return member, NOTHING
    if message.matched > member.history.end:
        said = f"refuses {place}: its log ends at {message.matched}, and this leader's at {member.history.end}"
        return member, Effects(send=(Send(place, Refuse(leader.epoch, member.promise)),), said=(said,))
    others = []
    matched = message.matched
    for known in leader.progress:
        if known.member == message.member:
            if known.place not in {place, None}:
                said = f"refuses {place}: {known.place} is linked as member {known.member} too, one volume is a copy"
                return member, Effects(send=(Send(place, Refuse(leader.epoch, member.promise)),), said=(said,))
            matched = max(matched, known.matched)
        elif known.place != place:
            others.append(known)
    follower, send = _fed(member, leader, Progress(message.member, place, matched, message.matched), member.history.end)
    progress = tuple(sorted((*others, follower), key=lambda known: known.member))
    member = replace(member, role=replace(leader, progress=progress))
    member, effects = settled(member)
    return member, replace(effects, send=send + effects.send)


def acknowledged(member: Member, leader: Leader, ack: Ack) -> tuple[Member, Effects]:
    if ack.epoch != leader.epoch:
        return member, NOTHING
    progress = []
    send: tuple[Send, ...] = ()
    news = False
    for known in leader.progress:
        if known.member == ack.member and known.matched < ack.matched:
            news = True
            follower = Progress(known.member, known.place, ack.matched, max(known.sent, ack.matched))
            follower, send = _fed(member, leader, follower, member.history.end)
            progress.append(follower)
        else:
            progress.append(known)
    if not news:
        return member, NOTHING
    leader = Leader(leader.held, leader.base, leader.unsettled, leader.counted, tuple(progress), leader.successor)
    commit = committed(member, leader, member.durable)
    moved_to = commit if commit != member.commit else None
    member = _with(member, member.history, member.durable, commit, leader, leader.progress)
    member, ask, said = adjusted(member, leader)
    return member, Effects(send=send + _released(member), ask=ask, commit=moved_to, said=said)


def beat(member: Member, leader: Leader) -> tuple[Member, Effects]:
    """For followers that no batch tells how far the log is committed."""
    send = tuple(
        Send(follower.place, Append(leader.epoch, member.commit, member.commit, member.commit))
        for follower in leader.progress
        if follower.place is not None
    )
    return member, Effects(send=send + _released(member))


def settled(member: Member) -> tuple[Member, Effects]:
    """After news of a follower or of the record: the commit index, the in-sync set, then who is handed the lead."""
    assert isinstance(member.role, Leader)
    member, commit = moved(member, member.role)
    assert isinstance(member.role, Leader)
    member, ask, said = adjusted(member, member.role)
    assert isinstance(member.role, Leader)
    leader, leads_on = hand_over.still(member, member.role)
    if leads_on:
        member = replace(member, role=leader)
    send = hand_over.released(member, leader)
    if commit is None and ask is None and not said and not leads_on and not send:
        return member, NOTHING
    return member, Effects(send=send, ask=ask, commit=commit, said=said + leads_on)


def moved(member: Member, leader: Leader) -> tuple[Member, int | None]:
    """The commit index, if it moved."""
    commit = committed(member, leader, member.durable)
    if commit == member.commit:
        return member, None
    return _with(member, member.history, member.durable, commit, leader, leader.progress), commit


def durable(member: Member, leader: Leader, last: int) -> tuple[Member, Effects]:
    """The leader's own disk is one of those that a commit waits for."""
    commit = committed(member, leader, last)
    moved_to = commit if commit != member.commit else None
    member = _with(member, member.history, last, commit, leader, leader.progress)
    send = _released(member)
    return member, NOTHING if moved_to is None and not send else Effects(send=send, commit=moved_to)


def _released(member: Member) -> tuple[Send, ...]:
    leader = member.role
    assert isinstance(leader, Leader)
    return () if leader.successor is None else hand_over.released(member, leader)


def _offer(member: Member, leader: Leader) -> Offer:
    return Offer(leader.epoch, member.me, leader.base)


def _fed(member: Member, leader: Leader, follower: Progress, end: int) -> tuple[Progress, tuple[Send, ...]]:
    """Sends what there is through `end`, but no more than a window ahead of what the follower acknowledged."""
    last = min(end, follower.matched + member.settings.window)
    if follower.place is None or follower.sent >= last:
        return follower, ()
    append = Append(leader.epoch, follower.sent, last, member.commit)
    return Progress(follower.member, follower.place, follower.matched, last), (Send(follower.place, append),)


def _with(  # noqa: PLR0917
    member: Member, history: History, durable: int, commit: int, leader: Leader, progress: tuple[Progress, ...]
) -> Member:
    # As replace() does, in a third of the time: this runs for every batch.
    if progress is not leader.progress:
        leader = Leader(leader.held, leader.base, leader.unsettled, leader.counted, progress, leader.successor)
    return Member(
        member.me,
        member.settings,
        member.promise,
        member.promised,
        history,
        durable,
        member.cutting,
        commit,
        member.suspected,
        member.waiting,
        leader,
    )
