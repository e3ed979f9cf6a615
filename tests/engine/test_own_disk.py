"""A leader leaves when its own disk takes nothing for long and a follower has everything; else it waits."""

from dataclasses import replace

import pytest

from openbourse.engine.member.own_disk import PATIENCE_MS, OwnDisk
from openbourse.engine.replication.history import History
from openbourse.engine.replication.member import Leader, Member, Progress, Settings, Unknown
from openbourse.engine.replication.protocol import boot
from openbourse.engine.replication.record import Held, Record, Session

ME, OTHER = Session("a" * 16, "1"), "b" * 16


def leader(*, in_sync: tuple[str, ...] = (ME.member, OTHER), place: str | None = "there") -> Member:
    member, _ = boot(ME, Settings(("there",)), History(), 1, 0)
    record = Record(1, ME, frozenset(in_sync))
    progress = (Progress(OTHER, place, 0, 0),)
    return replace(member, role=Leader(Held(record, "1"), History(), frozenset(), record.in_sync, progress))


def test_it_leaves_after_its_patience_and_not_before() -> None:
    disk = OwnDisk()
    assert disk.leaves(leader(), "no room", 0, 5_000) is None
    assert disk.leaves(leader(), "no room", 0, 5_000 + PATIENCE_MS - 1) is None
    why = disk.leaves(leader(), "no room", 0, 5_000 + PATIENCE_MS)
    assert why is not None
    assert "no room" in why
    assert OTHER in why


def test_a_sync_that_takes_too_long_is_a_reason_too() -> None:
    disk = OwnDisk()
    assert disk.leaves(leader(), None, PATIENCE_MS - 1, 0) is None
    why = disk.leaves(leader(), None, PATIENCE_MS, 1)
    assert why is not None
    assert "one sync takes longer" in why


def test_a_disk_that_is_good_again_has_its_whole_time_again() -> None:
    disk = OwnDisk()
    disk.leaves(leader(), "no room", 0, 0)
    disk.leaves(leader(), None, 0, PATIENCE_MS - 1)
    assert disk.leaves(leader(), "no room", 0, PATIENCE_MS) is None


@pytest.mark.parametrize(
    "member",
    [
        leader(in_sync=(ME.member,)),
        leader(place=None),
        replace(leader(), suspected=frozenset({OTHER})),
        replace(leader(), role=Unknown()),
    ],
    ids=["nobody is in sync", "the other is not linked", "the other is suspected", "it does not lead"],
)
def test_whoever_is_alone_with_its_disk_waits_for_it(member: Member) -> None:
    disk = OwnDisk()
    disk.leaves(member, "no room", 0, 0)
    assert disk.leaves(member, "no room", 0, 10 * PATIENCE_MS) is None
