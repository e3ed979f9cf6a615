"""Where a shard's leadership record is: made once, noted, never made again; and how many engines there are for it."""

import itertools
from dataclasses import replace

import pytest

from fixtures.operator_checks import State, check, command, edited, settled_safely
from fixtures.operator_worlds import a_shard, an_empty_world, carried_out, controllers_have_run, settled
from openbourse.operator.observed import Observed
from openbourse.operator.plan import Action, Apply, plan

ENGINE = ("StatefulSet", "demo-engine-main")


@pytest.fixture(scope="module")
def running() -> Observed:
    """The world in which all is as it should be."""
    return settled(an_empty_world())[0]


def its_record(*, noted: bool, lease: bool | None, volumes: bool, workload: str, standbys: int) -> State:
    """`lease`: None without one, else whether somebody has led. `workload`: the StatefulSet is there, and how."""

    def change(world: Observed) -> Observed:
        shard = a_shard(record="demo-engine-main" if noted else None, standbys=standbys)
        founded = {} if lease is None else {"main": lease}
        children = {k: v for k, v in world.children.items() if volumes or k[0] != "PersistentVolumeClaim"}
        if workload == "absent":
            del children[ENGINE]
        if workload == "alone":
            children[ENGINE] = settled(an_empty_world(standbys=0))[0].children[ENGINE]
        return replace(world, shards=(shard,), founded=founded, children=children)

    return change


@pytest.mark.parametrize("standbys", [0, 1, 2])
def test_whatever_became_of_a_record_no_shard_is_founded_over_members_that_have_a_log(
    running: Observed, standbys: int
) -> None:
    """What must hold of each step is in `check`; here, what comes of it."""
    made = []
    for noted, lease, volumes, workload in itertools.product(
        (False, True), (None, False, True), (False, True), ("absent", "alone", "several")
    ):
        if workload == "several" and not noted:
            continue  # the record is noted before such a StatefulSet is made
        world = its_record(noted=noted, lease=lease, volumes=volumes, workload=workload, standbys=standbys)(running)
        after = settled_safely(world)
        if lease is None and "main" in after.founded:
            made.append((volumes, workload))
        if noted or lease is not None:
            assert "--record-lease" in command(after), "once it has one it keeps it"
            assert after.children[ENGINE]["spec"]["replicas"] == 1 + standbys
    new, gets_standbys = (False, "absent"), [(False, "alone"), (True, "alone")]
    assert made == ([new, *gets_standbys] if standbys else [])


def test_a_shard_of_one_engine_gets_a_standby_once_its_record_is_where_both_see_it() -> None:
    world, plans = settled(an_empty_world(standbys=0))
    assert "records" not in [step.phase for step in plans]
    assert "--record-lease" not in command(world)
    world = replace(world, shards=(a_shard(standbys=1),))
    assert sizes_on_the_way(world) == [1, 2]


def test_a_third_engine_comes_once_both_others_know_of_it(running: Observed) -> None:
    world = replace(running, shards=(a_shard(record="demo-engine-main", standbys=2),))
    assert sizes_on_the_way(world) == [2, 3]


def sizes_on_the_way(world: Observed) -> list[int]:
    """How many engines each version of the StatefulSet has; a new template is on its way until controllers have run."""
    sizes = []
    for _ in range(20):
        step = plan(world)
        for action in step.actions:
            check(world, action)
            world = carried_out(world, action)
            if isinstance(action, Apply) and applied(action) == ENGINE:
                sizes.append(action.manifest["spec"]["replicas"])
                world = edited(ENGINE, lambda live: live["status"].update(updatedReplicas=0))(world)
                assert ENGINE not in [applied(other) for other in plan(world).actions], "nobody would let it in"
        world = world if step.actions else controllers_have_run(world)
    assert command(world)[-2:] == ["--min-in-sync", "1"]
    return sizes


def applied(action: Action) -> tuple[str, str]:
    return (action.resource.kind, action.manifest["metadata"]["name"]) if isinstance(action, Apply) else ("", "")
