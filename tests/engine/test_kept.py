"""What of the log stays for other members: without end for those that count, up to a bound for the others."""

from dataclasses import replace

import pytest

from openbourse.engine.member.kept import held_from
from openbourse.engine.replication import Settings, boot
from openbourse.engine.replication.history import History
from openbourse.engine.replication.member import Leader, Member, Progress
from openbourse.engine.replication.record import Held, Record, Session

A = Session("a", "1")
COMMIT, KEEP = 1_000, 300


def leader(*progress: Progress, counted: str = "a", places: tuple[str, ...] = ("B", "C")) -> Member:
    member, _ = boot(A, Settings(places), History(((1, COMMIT),)), 1, COMMIT)
    held = Held(Record(1, A, frozenset("a")), "1")
    return replace(member, role=Leader(held, History(), frozenset(), frozenset(counted), progress))


@pytest.mark.parametrize(
    ("member", "first"),
    [
        (leader(Progress("b", "B", 990, 990), Progress("c", "C", 900, 900)), 901),
        (leader(Progress("b", "B", 990, 990), Progress("c", "C", 400, 400)), 701),
        (leader(Progress("b", "B", 990, 990)), 701),
        (leader(Progress("b", "B", 990, 990), Progress("c", None, 990, 990)), 701),
        (leader(Progress("b", None, 500, 500), Progress("c", "C", 990, 990), counted="ab"), 501),
        (leader(Progress("c", "C", 990, 990), counted="ab"), 1),
        (leader(Progress("b", "B", 1_010, 1_010), Progress("c", "C", 1_005, 1_005)), 1_001),
    ],
    ids=[
        "all are linked",
        "one is far behind",
        "one was never there",
        "one is away",
        "one that counts is away",
        "one that counts has not joined yet",
        "all are ahead of the commit index",
    ],
)
def test_a_leader_keeps_what_others_lack(member: Member, first: int) -> None:
    assert held_from(member, KEEP, []) == first


def test_what_is_behind_a_snapshot_on_its_way_stays() -> None:
    member = leader(Progress("b", "B", 990, 990), Progress("c", "C", 400, 400))
    assert held_from(member, KEEP, [650, 800]) == 651


def test_a_standby_keeps_as_much_for_whoever_follows_it_later_and_one_without_others_keeps_nothing() -> None:
    member, _ = boot(A, Settings(("B",)), History(((1, COMMIT),)), 1, COMMIT)
    assert held_from(member, KEEP, []) == 701
    assert held_from(replace(member, settings=Settings(())), KEEP, []) is None
