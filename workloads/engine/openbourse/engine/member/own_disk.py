"""When a leader leaves because its own disk takes nothing, though others could go on. No clock and no disk.

To leave is to end as a crash does, which is safe at any moment. It is left to those that have everything: whoever is
alone with its disk waits for it.
"""

from openbourse.engine.replication.member import Leader, Member

# As long as a follower may take for one batch.
PATIENCE_MS = 1_000


class OwnDisk:
    def __init__(self) -> None:
        self._bad_since_ms: int | None = None

    def leaves(self, member: Member, trouble: str | None, syncing_ms: int, now_ms: int) -> str | None:
        """Why this member leaves the lead. `trouble`: what the disk said; `syncing_ms`: how long one sync has taken."""
        if trouble is None and syncing_ms < PATIENCE_MS:
            self._bad_since_ms = None
            return None
        if self._bad_since_ms is None:
            self._bad_since_ms = now_ms
        if trouble is not None and now_ms - self._bad_since_ms < PATIENCE_MS:
            return None
        heirs = _heirs(member)
        if not heirs:
            return None
        why = trouble or f"one sync takes longer than {PATIENCE_MS} ms"
        return f"the disk takes nothing ({why}), and {' and '.join(heirs)} can go on without this member"


def _heirs(member: Member) -> list[str]:
    """Followers in sync that are there and well."""
    role = member.role
    if not isinstance(role, Leader):
        return []
    in_sync = role.held.record.in_sync - member.suspected
    return [known.member for known in role.progress if known.place is not None and known.member in in_sync]
