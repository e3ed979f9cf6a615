"""A planned switchover, the leader's side: it gives no more seqs, and lets a follower in sync that has everything lead.

It decides nothing that a suspicion does not decide: the follower takes over by compare-and-set, and only by that. What
is gained is the time of the suspicion, of a read of the record, and of what would be on its way. Until the record names
another, the leader leads; the shell ends the waiting with LeadOn. Nothing here decides when a switchover is wanted.
"""

from dataclasses import replace

from openbourse.engine.replication.effects import NOTHING, Effects, Send
from openbourse.engine.replication.member import Leader, Member, Progress
from openbourse.engine.replication.messages import Release


def unfit(member: Member, leader: Leader, to: str) -> str:
    """Why `to` cannot be handed the lead; empty: it can."""
    in_sync = leader.held.record.in_sync
    if to == member.me.member:
        return f"{to} leads already"
    # Nobody else is waited for by every commit that is still to come.
    if to not in in_sync:
        return f"{to} is not in sync"
    if _linked(leader, to) is None:
        return f"{to} is not linked"
    if to in member.suspected:
        return f"{to} is suspected"
    if len(in_sync) - 1 < member.settings.min_in_sync:
        return f"{len(in_sync) - 1} would be in sync without the old leader, {member.settings.min_in_sync} are needed"
    return ""


def fittest(member: Member, leader: Leader) -> str | None:
    """Who has most of the log, of those that can be handed the lead; None: nobody can."""
    fit = [known for known in leader.progress if not unfit(member, leader, known.member)]
    return max(fit, key=lambda known: (known.matched, known.member)).member if fit else None


def begin(member: Member, leader: Leader, to: str) -> tuple[Member, Effects]:
    """From here on no seqs are given. The Release goes out once all that was given is committed."""
    if why := unfit(member, leader, to):
        return member, Effects(said=(f"does not hand over epoch {leader.epoch}: {why}",))
    leader = replace(leader, successor=to)
    member = replace(member, role=leader)
    return member, Effects(send=released(member, leader), said=(f"hands over epoch {leader.epoch} to {to}",))


def lead_on(member: Member, leader: Leader) -> tuple[Member, Effects]:
    """It did not come to pass in time. A Release that is still read is a suspicion like any other."""
    if leader.successor is None:
        return member, NOTHING
    said = f"leads on in epoch {leader.epoch}: {leader.successor} did not take over"
    return replace(member, role=replace(leader, successor=None)), Effects(said=(said,))


def still(member: Member, leader: Leader) -> tuple[Leader, tuple[str, ...]]:
    """Leads on at once where the successor went meanwhile."""
    if leader.successor is None or not (why := unfit(member, leader, leader.successor)):
        return leader, ()
    return replace(leader, successor=None), (f"leads on in epoch {leader.epoch}: {why}",)


def released(member: Member, leader: Leader) -> tuple[Send, ...]:
    """To the successor, once it has all that there is and the record is settled. Said again with every beat."""
    to = leader.successor
    if to is None or leader.unsettled or member.commit != member.history.end:
        return ()
    follower = _linked(leader, to)
    if follower is None or follower.place is None or follower.matched != member.history.end:
        return ()
    held = leader.held
    return (Send(follower.place, Release(leader.epoch, member.history.end, held.record.in_sync, held.version)),)


def _linked(leader: Leader, to: str) -> Progress | None:
    return next((known for known in leader.progress if known.member == to and known.place is not None), None)
