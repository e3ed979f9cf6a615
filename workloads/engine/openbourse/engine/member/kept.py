"""What of the log stays because another member may have to be sent it. Values in, values out.

One that lacks more than what stays begins anew from a snapshot.
"""

from collections.abc import Iterable

from openbourse.engine.replication.member import Leader, Member


def held_from(member: Member, keep_commands: int, offered: Iterable[int]) -> int | None:
    """The first seq that stays; None: there is no other member. `offered` are the seqs of snapshots on their way.

    Of those that count nothing is missing. Others, linked or not, are waited for as long as they lack no more than
    `keep_commands`.
    """
    places = member.settings.places
    if not places:
        return None
    kept = max(member.commit - keep_commands, 0)
    role = member.role
    if not isinstance(role, Leader):
        return kept + 1
    matched = {known.member: known.matched for known in role.progress}
    linked = [known.matched for known in role.progress if known.place is not None]
    lacking = min(linked) if len(linked) == len(places) else 0
    counted = [matched.get(name, 0) for name in role.counted if name != member.me.member]
    return min(max(lacking, kept), *counted, *offered, member.commit) + 1
