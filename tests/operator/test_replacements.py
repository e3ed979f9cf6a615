"""Engines that run are replaced one at a time, in the order that costs least, and not where it would cost more."""

import datetime
from collections import Counter
from dataclasses import replace

import pytest

from fixtures.figures import Show
from fixtures.operator_worlds import NOW
from fixtures.shard_worlds import Asked, Engine, Pod, World, after, every_world, observed
from openbourse.contracts.resources import Exchange
from openbourse.contracts.resources.definitions import definition
from openbourse.operator import governor
from openbourse.operator.conditions import shard_facts, statuses
from openbourse.operator.facts import Fact
from openbourse.operator.observed import Observed
from openbourse.operator.replacements import Replace, Step, SwitchOver, Wait, next_step

OLD, NEW = Engine(False, Pod.IN_SYNC), Engine(True, Pod.IN_SYNC)
ROUNDS_MAX = 30


def step_of(world: World) -> Step | None:
    seen = observed(world)
    assert seen.exchange is not None
    return next_step(seen, seen.exchange, seen.shards[0])


def index_of(pod: str) -> int:
    return int(pod.rpartition("-")[2])


def fact(world: World, name: str) -> Fact:
    seen = observed(world)
    return next(found for found in shard_facts(seen, seen.shards[0]) if found.type == name)


def check(world: World, step: Step | None) -> None:
    """What holds of every single step."""
    match step:
        case Replace(_, pod):
            index = index_of(pod["metadata"]["name"])
            each = world.engines[index]
            assert not each.is_new, "what is of the present template is left alone"
            if each.state is not Pod.IN_SYNC:
                return
            assert all(other.state not in {Pod.GOING, Pod.MISSING} for other in world.engines), "two are away"
            if len(world.engines) > 1:
                assert world.leader is not None
                assert all(other.state is Pod.IN_SYNC for other in world.engines if other.is_new), "a new one first"
                assert world.in_sync - 1 >= world.min_in_sync, "below minInSync by our own hand"
            if index == world.leader and len(world.engines) > 1:
                assert world.asked is Asked.LONG_AGO, "a leader hands over before"
                others = [other for at, other in enumerate(world.engines) if at != index]
                assert any(other == NEW for other in others)
        case SwitchOver(_, request):
            index = index_of(request.to)
            assert world.engines[index].state is Pod.IN_SYNC
            assert index != world.leader
            assert request.epoch == world.epoch
            assert world.leader is not None
            assert world.in_sync - 1 >= world.min_in_sync
            assert all(each.state is Pod.IN_SYNC for at, each in enumerate(world.engines) if at != world.leader)
            is_old = not world.engines[world.leader].is_new
            assert world.leader_cordoned or (is_old and world.engines[index].is_new), "for a reason"
        case Wait(reason, message):
            assert reason
            assert message
        case None:
            assert all(each.is_new or each.state is Pod.MISSING for each in world.engines)


@pytest.mark.parametrize(("count", "worlds"), [(1, 44), (2, 912), (3, 15_552)])
def test_in_every_small_world_a_step_does_no_harm(count: int, worlds: int, show: Show) -> None:
    steps: Counter[str] = Counter()
    for world in every_world(count):
        step = step_of(world)
        check(world, step)
        steps[type(step).__name__] += 1
    show(f"engines replaced: {sum(steps.values()):,} worlds of {count} engines, steps {dict(steps)}")
    assert sum(steps.values()) == worlds
    assert steps["Replace"] > 0


def settled(world: World) -> tuple[World, list[Step]]:
    steps: list[Step] = []
    for _ in range(ROUNDS_MAX):
        step = step_of(world)
        check(world, step)
        match step:
            case Replace(_, pod):
                steps.append(step)
                world = after(world, replaced=index_of(pod["metadata"]["name"]))
            case SwitchOver(_, request):
                steps.append(step)
                world = after(world, asked_to=index_of(request.to))
            case _:
                following = after(world)
                if following == world:
                    return world, steps
                world = following
    raise AssertionError(f"it does not come to an end: {world}, {steps[-3:]}")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_small_world_comes_to_an_end_with_the_new_template_or_says_why_not(count: int) -> None:
    for world in every_world(count, (Asked.NOTHING,) if count == 3 else (Asked.NOTHING, Asked.LONG_AGO)):
        end, _ = settled(world)
        if all(each == NEW for each in end.engines) and not end.leader_cordoned:
            continue
        step = step_of(end)
        assert isinstance(step, Wait)
        assert step.is_held, (end, step)
        assert step.reason == "TooFewInSync" or end.leader is None
        assert step.reason != "TooFewInSync" or count <= max(world.min_in_sync, 1)


@pytest.mark.parametrize("count", [2, 3])
def test_an_image_that_does_not_start_costs_one_standby_and_stops_the_upgrade(count: int) -> None:
    for leader in range(count):
        start = World((OLD,) * count, leader, new_runs=False)
        end, steps = settled(start)
        assert len(steps) == 1
        assert end.leader == leader
        assert end.in_sync == count - 1
        held = fact(end, "UpgradeIsHeld")
        assert (held.holds, held.reason) == (True, "NewPodDoesNotRun")
        (broken,) = [at for at, each in enumerate(end.engines) if each.state is Pod.BROKEN]
        assert f"demo-engine-main-{broken} of the new template does not run (ImagePullBackOff: no such" in held.message
        assert fact(end, "Upgrading").holds
        # The image is mended: the pod that does not run is of an earlier template then.
        mended = replace(end, new_runs=True, engines=tuple(replace(each, is_new=False) for each in end.engines))
        end, _ = settled(mended)
        assert end.engines == (NEW,) * count


@pytest.mark.parametrize("leader", [0, 1, 2])
def test_standbys_first_then_the_lead_then_the_old_leader(leader: int) -> None:
    world, steps = settled(World((OLD, OLD, OLD), leader))
    assert world.engines == (NEW, NEW, NEW)
    others = [pod for pod in (2, 1, 0) if pod != leader]
    assert [
        index_of(step.pod["metadata"]["name"]) if isinstance(step, Replace) else "switchover" for step in steps
    ] == [*others, "switchover", leader]
    assert (fact(world, "Upgrading").holds, fact(world, "UpgradeIsHeld").holds) == (False, False)


def test_a_leader_on_a_cordoned_node_hands_over_to_one_that_is_not() -> None:
    world = World((NEW, NEW), 0, leader_cordoned=True)
    step = step_of(world)
    assert isinstance(step, SwitchOver)
    assert step.request.to == "demo-engine-main-1"
    assert (
        step.reason == "demo-engine-main-0 leads on node node-of-demo-engine-main-0, which is cordoned: "
        "demo-engine-main-1 is to lead"
    )
    assert fact(world, "LeaderIsOnACordonedNode").holds
    seen = observed(world)
    assert seen.exchange is not None
    everywhere = replace(seen, cordoned=frozenset({f"node-of-demo-engine-main-{at}" for at in (0, 1)}))
    held = next_step(everywhere, seen.exchange, seen.shards[0])
    assert isinstance(held, Wait)
    assert held.reason == "NobodyToHandOverTo"


def test_what_was_heard_a_round_ago_is_nothing_to_act_on() -> None:
    seen = observed(World((OLD, OLD), 0))
    assert seen.exchange is not None
    later = replace(seen, now=NOW + datetime.timedelta(seconds=5))
    step = next_step(later, seen.exchange, seen.shards[0])
    assert isinstance(step, Wait)
    assert step.reason == "NobodyLeads"


def test_a_pod_without_a_node_is_told_in_the_schedulers_words() -> None:
    world = World((NEW, Engine(True, Pod.SILENT)), 0)
    assert fact(world, "SpreadIsImpossible").holds is False
    seen = observed(world)
    pod = dict(seen.children["Pod", "demo-engine-main-1"])
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes fit"}
    pod["status"] = {"conditions": [unplaced]}
    seen = replace(seen, children={**seen.children, ("Pod", "demo-engine-main-1"): pod})
    (found,) = [found for found in shard_facts(seen, seen.shards[0]) if found.type == "SpreadIsImpossible"]
    assert found.holds
    assert found.message == (
        "demo-engine-main-1 has no node (Unschedulable: 0/1 nodes fit): each engine needs a node of its own, and the "
        "node that its volume is on"
    )


def allowed(seen: Observed) -> list[Replace | SwitchOver]:
    assert seen.exchange is not None
    return list(governor.allowed(seen, seen.exchange))


def on_hold(seen: Observed) -> Fact:
    assert seen.exchange is not None
    return governor.on_hold(seen, seen.exchange)


def test_in_every_pair_of_shards_no_more_are_disturbed_at_once_than_may_be() -> None:
    pairs = 0
    second = [replace(world, name="second") for world in every_world(2, (Asked.NOTHING,))]
    for one in every_world(2, (Asked.NOTHING,)):
        for other in second[::31]:
            for at_once in (1, 2):
                pairs += 1
                taken = {step.shard.metadata.name for step in allowed(observed(one, other, at_once=at_once))}
                ill = {world.name for world in (one, other) if world.in_sync < 2 or world.leader is None}
                assert len(taken | (ill if taken else set())) <= at_once
    assert pairs > 3_000


def test_one_shard_after_the_other_with_a_distance() -> None:
    both = (World((OLD, OLD), 0), World((OLD, OLD), 1, name="second"))
    (step,) = allowed(observed(*both))
    assert step.shard.metadata.name == "main"
    assert len(allowed(observed(*both, at_once=2))) == 2
    # A pod that was made some seconds ago.
    seen = observed(*both)
    young = dict(seen.children["Pod", "demo-engine-second-0"])
    at = NOW - datetime.timedelta(seconds=4)
    young["metadata"] = {**young["metadata"], "creationTimestamp": at.isoformat()}
    seen = replace(seen, children={**seen.children, ("Pod", "demo-engine-second-0"): young})
    assert allowed(seen) == []
    (waits,) = [found for found in shard_facts(seen, seen.shards[0]) if found.type == "Upgrading"]
    assert (waits.reason, waits.holds) == ("WaitsItsTurn", True)
    assert waits.message == "2 of 2 engines are of an earlier template: the last one began 4 s ago, 10 s are kept"


def test_nothing_that_runs_is_touched_while_everything_is_ill() -> None:
    seen = observed(World((OLD, OLD), 0), World((OLD, OLD), 1, name="second"))
    assert not on_hold(seen).holds
    silent = replace(seen, engines={})
    assert (on_hold(silent).reason, allowed(silent)) == ("EverybodyIsSilent", [])
    lost = replace(seen, founded={})
    assert (on_hold(lost).reason, allowed(lost)) == ("EveryRecordIsGone", [])
    (held,) = [found for found in shard_facts(lost, lost.shards[0]) if found.type == "UpgradeIsHeld"]
    assert (held.holds, held.reason) == (True, "EveryRecordIsGone")
    assert not on_hold(replace(seen, founded={"main": True})).holds


def test_a_standby_that_is_behind_is_named_with_what_it_lacks() -> None:
    assert fact(World((NEW, NEW), 0), "StandbyIsBehind").holds is False
    behind = fact(World((NEW, Engine(True, Pod.BEHIND)), 0), "StandbyIsBehind")
    assert (behind.holds, behind.message) == (True, "demo-engine-main-1 is standby")
    seen = observed(World((NEW, NEW), 0))
    slow = seen.engines["demo-engine-main-1"]
    facts = slow.facts.model_copy(update={"committed_seq": 100})
    leader = seen.engines["demo-engine-main-0"]
    ahead = leader.facts.model_copy(update={"committed_seq": 20_100})
    engines = {"demo-engine-main-0": replace(leader, facts=ahead), "demo-engine-main-1": replace(slow, facts=facts)}
    seen = replace(seen, engines=engines)
    (found,) = [found for found in shard_facts(seen, seen.shards[0]) if found.type == "StandbyIsBehind"]
    assert found.message == "demo-engine-main-1 has carried out 20,000 commands less than the leader"
    (shown,) = [each.manifest["status"] for each in statuses(seen) if each.resource.kind == "EngineShard"]
    assert shown["lag"] == 20_000


def test_an_autoscaler_finds_the_number_of_gateways_and_their_labels() -> None:
    seen = observed(World((NEW, NEW), 0))
    seen = replace(seen, children={**seen.children, ("Deployment", "demo-gateway"): {"status": {"replicas": 3}}})
    (shown,) = [each.manifest["status"] for each in statuses(seen) if each.resource.kind == "Exchange"]
    assert shown["gatewayReplicas"] == 3
    assert shown["gatewaySelector"] == "openbourse.dev/exchange=demo,app.kubernetes.io/component=gateway"
    (version,) = definition(Exchange)["spec"]["versions"]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.gateway.replicas",
        "statusReplicasPath": ".status.gatewayReplicas",
        "labelSelectorPath": ".status.gatewaySelector",
    }
