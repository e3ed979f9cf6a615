"""The parts of a leadership record as text, strictly: what nobody of us would have written is a ValueError.

Nothing here knows where a record is kept.
"""

import re
from collections.abc import Iterable

from openbourse.engine.replication.record import Session

# A member's id or a boot's nonce.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def epoch_of(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,18}", text):
        raise ValueError(f"{text[:80]!r} is no epoch")
    return int(text)


def session_of(text: str) -> Session:
    member, _, boot = text.partition("/")
    return Session(name_of(member), name_of(boot))


def in_sync_of(names: Iterable[str]) -> frozenset[str]:
    """There is always somebody in sync: whoever leads, or was named to lead."""
    members = [name_of(name) for name in names]
    if not members or len(set(members)) != len(members):
        raise ValueError(f"{members} is no set of members")
    return frozenset(members)


def name_of(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no id of a member or boot")
    return text
