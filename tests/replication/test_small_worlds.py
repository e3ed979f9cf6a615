"""Every world within some bounds: nothing acknowledged is lost, and each of them heals.

`SMALL_WORLDS=all` walks the large ones too, some minutes on one core; they are what docs/replication.md states.
"""

import os
from dataclasses import dataclass, replace

import pytest
from replication.explorer import Explored, explore
from replication.healing import Healing
from replication.parts import Bounds
from replication.worlds import Worlds

from fixtures.figures import Show
from openbourse.engine.replication.member import State
from openbourse.engine.replication.transitions import TRANSITIONS

EVERYTHING = os.environ.get("SMALL_WORLDS") == "all"


@dataclass(frozen=True, slots=True)
class Walk:
    """`depth`: how far; None: to the end. `heals`: whether every world there is must heal, too."""

    name: str
    bounds: Bounds
    depth: int | None = None
    is_long: bool = False
    heals: bool = True


# Nothing that a leader sent arrives after its end, followers hear of a commit with the next command, and a member is
# trusted again only once the record is settled. Without, there are three times as many worlds.
TIGHT = Bounds(ghosts=False, beats=False, hasty=False)
SMALL = replace(TIGHT, epochs=2, commands=1)
# Of two members, where nothing else is said.
UNSYNCED_THREE = replace(SMALL, places=3, power=True, symmetric=True)

WALKS = (
    Walk("2 epochs, 1 command, in any order", Bounds(epochs=2, commands=1, symmetric=True)),
    Walk("unsynced disks", replace(SMALL, power=True), depth=10),
    Walk("a volume lost", replace(SMALL, losses=1), depth=9),
    Walk("the record lost", replace(TIGHT, commands=1, recoveries=1), depth=10),
    Walk("3 epochs, 2 commands, and answers", replace(TIGHT, downstream=True), depth=8),
    Walk("late reads of the record", replace(SMALL, slow_reads=True), depth=12),
    Walk("snapshots for those behind", replace(TIGHT, epochs=2, snapshots=True), depth=11),
    Walk("planned switchovers", replace(SMALL, hand_overs=True), depth=14),
    Walk("three members", replace(SMALL, places=3), depth=6),
    Walk("3 epochs, 2 commands", replace(TIGHT, symmetric=True), is_long=True),
    Walk("unsynced disks", replace(SMALL, power=True), is_long=True),
    Walk("a volume lost", replace(SMALL, losses=1, symmetric=True), depth=18, is_long=True),
    Walk("the record lost", replace(TIGHT, commands=1, recoveries=1), depth=15, is_long=True),
    Walk("late reads of the record", replace(SMALL, slow_reads=True), is_long=True),
    Walk("snapshots for those behind", replace(TIGHT, snapshots=True, symmetric=True), depth=16, is_long=True),
    Walk("snapshots, unsynced disks", replace(TIGHT, epochs=2, snapshots=True, power=True), depth=9, is_long=True),
    Walk("planned switchovers", replace(SMALL, hand_overs=True, symmetric=True), is_long=True),
    Walk("planned switchovers", replace(TIGHT, hand_overs=True, symmetric=True), depth=16, is_long=True),
    Walk("planned switchovers, unsynced disks", replace(SMALL, hand_overs=True, power=True), depth=12, is_long=True),
    Walk(
        "three members, planned switchovers",
        replace(SMALL, places=3, hand_overs=True, symmetric=True),
        depth=9,
        is_long=True,
    ),
    Walk("three members", replace(SMALL, places=3, symmetric=True), depth=11, is_long=True),
    Walk("three members", replace(SMALL, places=3, symmetric=True), is_long=True, heals=False),
    Walk("three members, unsynced disks", UNSYNCED_THREE, depth=9, is_long=True),
    Walk("three members, unsynced disks", UNSYNCED_THREE, depth=15, is_long=True, heals=False),
)


@pytest.mark.timeout(3_000)
@pytest.mark.parametrize(
    "walk",
    [walk for walk in WALKS if EVERYTHING or not walk.is_long],
    ids=lambda walk: f"{walk.name}/{walk.depth or 'all'}",
)
def test_nothing_acknowledged_is_lost_and_every_world_heals(walk: Walk, show: Show) -> None:
    explored = explore(Worlds(walk.bounds), depth_max=walk.depth or 1_000)
    assert explored.broken is None, explored.told()
    assert explored.exhausted or walk.depth is not None
    healing = Healing(explored.worlds)
    for world in explored.states if walk.heals else ():
        healing.heal(world)
    healed = f"all heal but {healing.hopeless} without a volume" if walk.heals else "whether they heal was not asked"
    show(f"small worlds, {walk.name}: {summary(explored)}; {healed}")


def test_every_change_of_state_is_in_the_table_and_all_of_the_table_happens() -> None:
    """But for what only a person's edit, a wrong disk or the record's watch can cause: `test_members` has those."""
    happened = set()
    for bounds, depth in (
        (SMALL, 12),
        (replace(SMALL, power=True), 9),
        (replace(TIGHT, commands=1, recoveries=1), 9),
        (replace(SMALL, slow_reads=True), 8),
    ):
        explored = explore(Worlds(bounds), depth_max=depth)
        assert explored.broken is None, explored.told()
        happened |= {(before, after) for before, after, _ in explored.worlds.changes}
    table = {(row.before, row.after) for row in TRANSITIONS}
    assert len(table) == len(TRANSITIONS)
    assert happened <= table
    missing = {row for row in table - happened if not {State.STOPPED, State.IN_SYNC} & set(row)}
    assert missing == {(State.JOINING, State.SEALED)}, "a seal while a disk is slow: deeper than these worlds go"


def summary(explored: Explored) -> str:
    reach = "exhausted at" if explored.exhausted else "to"
    return (
        f"{len(explored.states):,} worlds, {explored.transitions:,} transitions, {reach} depth {explored.depth}, "
        f"{explored.worlds.steps:,} different steps of a member, {explored.elapsed_s:.0f} s of CPU"
    )
