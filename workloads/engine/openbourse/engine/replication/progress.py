"""How far followers are, and what follows from it: the commit rule, and who is caught up."""

from openbourse.engine.replication.member import Leader, Member, Progress


def committed(member: Member, leader: Leader, durable: int) -> int:
    """The commit index: durable on every counted member, here through `durable`; if the record has members enough."""
    if len(leader.held.record.in_sync) < member.settings.min_in_sync:
        return member.commit
    lowest = durable
    me = member.me.member
    for counted in leader.counted:
        if counted != me:
            lowest = min(lowest, matched(leader.progress, counted))
    return max(lowest, member.commit)


def matched(progress: tuple[Progress, ...], member: str) -> int:
    """0 for one that never joined this epoch."""
    for known in progress:
        if known.member == member:
            return known.matched
    return 0


def is_caught_up(member: Member, leader: Leader, follower: Progress) -> bool:
    """Through everything that may be committed: a new leader's commit index says less than its log at take-over."""
    return follower.matched >= max(member.commit, leader.base.end)
