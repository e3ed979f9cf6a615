"""What the API server refuses for ever keeps from being done what stands on it, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.figures import Show
from fixtures.operator_checks import check, without
from fixtures.operator_worlds import an_empty_world, an_exchange, carried_out, controllers_have_run, settled
from fixtures.shard_worlds import Engine, Pod, World, observed
from openbourse.contracts.apiserver import Object
from openbourse.operator.manifests import names
from openbourse.operator.observed import Observed, Refusal, Subject
from openbourse.operator.plan import PHASES, Action, Apply, AskSwitchover, Delete, Plan, plan, subject

Key = tuple[str, str]

WORKLOADS = {
    *(("StatefulSet", f"demo-{part}-{shard}") for part in ("engine", "marketdata") for shard in ("main", "second")),
    *(("Deployment", f"demo-ledger-{shard}") for shard in ("main", "second")),
    ("Deployment", "demo-gateway"),
}
LIMITS = ("ConfigMap", names.trading_limits("demo"))
API_KEYS = ("Secret", names.api_keys("demo"))
ROUNDS_MAX = 80


@pytest.fixture(scope="module")
def running() -> Observed:
    return settled(an_empty_world(2))[0]


def settled_without(world: Observed, is_refused: Callable[[Action], bool]) -> tuple[Observed, Plan]:
    """Rounds as `converge` makes them, each of which asks again for what was refused in the one before; the last plan.

    Nothing is asked for twice in one of them.
    """
    for _ in range(ROUNDS_MAX):
        step = plan(world)
        world = replace(world, refusals=step.refused)
        if not step.actions:
            after = replace(controllers_have_run(world), refusals=())
            if after == replace(world, refusals=()):
                return world, step
            world = after
        for action in step.actions:
            assert action.reason
            of = subject(action)
            assert of not in {refusal.subject for refusal in world.refusals}
            if is_refused(action):
                refusal = Refusal(step.phase, of, 422, action.reason)
                world = replace(world, refusals=(*world.refusals, refusal))
            else:
                check(world, action)
                world = carried_out(world, action)
    raise AssertionError("it does not come to an end")


def same(of: Subject) -> Callable[[Action], bool]:
    """That of this object, whatever version it is of."""
    return lambda action: replace(subject(action), version="") == replace(of, version="")


def stands_on(of: Subject) -> set[Key]:
    """What waits when this is refused for ever, and it is not there."""
    match of:
        case Subject(kind="ServiceAccount" | "Role" | "RoleBinding" | "NetworkPolicy", name=name):
            waits = {workload for workload in WORKLOADS if workload[1] == name}
        case Subject(action="MakeAuthority"):
            waits = set(WORKLOADS)
        case Subject(action="IssueCertificate", name=name):
            waits = {workload for workload in WORKLOADS if names.certificate(workload[1]) == name}
        case Subject(kind="ConfigMap", name=name) if name != LIMITS[1]:
            waits = {("StatefulSet", name.removesuffix("-listings"))}
        case Subject(action="MakeRecord", name=name):
            waits = {("StatefulSet", name)}
        case Subject(action="NoteRecord", name=name):
            waits = {("StatefulSet", f"demo-engine-{name}")}
        case Subject(kind="Job"):
            waits = {workload for workload in WORKLOADS if workload[1].startswith("demo-ledger-")}
        case _:
            waits = set()
    return waits | ({LIMITS, API_KEYS} if ("Deployment", "demo-gateway") in waits else set())


def of_a_start() -> list[Subject]:
    _, plans = settled(an_empty_world(2))
    found = dict.fromkeys(replace(subject(action), version="") for step in plans for action in step.actions)
    return list(found)


def test_whatever_is_refused_of_a_start_the_rest_is_made(running: Observed, show: Show) -> None:
    subjects = of_a_start()
    for of in subjects:
        after, last = settled_without(an_empty_world(2), same(of))
        missing = {
            key
            for key in running.children.keys() - after.children.keys()
            if key[0] not in {"Pod", "PersistentVolumeClaim"}
        }
        itself = {(of.kind, of.name)} & running.children.keys() if of.kind != "Pod" else set()
        assert missing == stands_on(of) | itself, of
        if of.kind != "Pod":
            assert [replace(refusal.subject, version="") for refusal in last.refused] == [of], "and it is still said"
    show(f"the operator's plans, each of {len(subjects)} actions of a start refused for ever: the rest is made")


def test_what_was_taken_away_is_made_again_beside_whatever_is_refused(show: Show) -> None:
    count = 0
    running = settled(an_empty_world())[0]
    keys = [key for key in running.children if key[0] not in {"Pod", "PersistentVolumeClaim"}]
    for key in keys:
        refused = Subject("Apply", *key)
        for workload in sorted((WORKLOADS & running.children.keys()) - {key}):
            count += 1
            world = without(workload)(without(key)(running))
            after, _ = settled_without(world, same(refused))
            assert (workload in after.children) is (workload not in stands_on(refused)), (refused, workload)
            assert key not in after.children
            assert running.children.keys() - after.children.keys() <= {key, workload}, "what runs goes on"
    show(f"the operator's plans, {count} pairs of what is refused and what is to be repaired: it is, or stands on it")


def test_what_is_refused_no_more_is_forgotten_and_what_is_refused_later_remembered(running: Observed) -> None:
    """A round that stops at an early phase knows nothing of what comes later."""
    gone = Refusal("network", Subject("Apply", "Service", "of-another-time"), 422, "it is there")
    later = Refusal("volumes", Subject("Apply", "PersistentVolumeClaim", "wal"), 403, "it does not grow")
    world = replace(running, refusals=(gone, later))
    assert plan(world).refused == ()
    assert plan(without(("Role", "demo-engine-main"))(world)).refused == (gone, later)
    assert plan(without(("StatefulSet", "demo-engine-main"))(world)).refused == (later,)


OLD = Engine(False, Pod.IN_SYNC)


@pytest.mark.parametrize(
    "of",
    [
        Subject("Apply", "Role", "demo-engine-main"),
        Subject("Apply", "ServiceAccount", "demo-engine-main"),
        Subject("Apply", "NetworkPolicy", "demo-engine-main"),
        Subject("Apply", "Service", "demo-engine-main-1"),
        Subject("Apply", "ConfigMap", "demo-engine-main-listings"),
        Subject("Apply", "StatefulSet", "demo-engine-main"),
        Subject("IssueCertificate", "Secret", "demo-engine-main-tls"),
        Subject("NoteRecord", "EngineShard", "main"),
        Subject("Delete", "Pod", "demo-engine-main-1"),
        Subject("AskSwitchover", "EngineShard", "main"),
    ],
    ids=str,
)
def test_engines_that_miss_something_stay_as_they_are_and_the_next_shard_is_upgraded(of: Subject) -> None:
    seen = observed(World((OLD, OLD), 0), World((OLD, OLD), 1, name="second"))
    exchange = an_exchange(disruptions={"atOnce": 1, "distanceSeconds": 10})
    phase = dict(PHASES)["replacements"]
    assert _touched(*phase(seen, exchange)) == {"demo-engine-main-1"}
    refusal = Refusal("before", of, 422, "no")
    assert _touched(*phase(replace(seen, refusals=(refusal,)), exchange)) == {"demo-engine-second-0"}


def _touched(*actions: Action) -> set[str]:
    assert all(isinstance(action, Delete | AskSwitchover) for action in actions)
    return {subject(action).name for action in actions}


ENGINES_OF_MAIN = {"demo-engine-main-0", "demo-engine-main-1"}


@pytest.mark.parametrize(
    ("stored", "label", "pods"),
    [
        (("ConfigMap", "demo-engine-main-listings"), names.LISTINGS_ANNOTATION, ENGINES_OF_MAIN),
        (LIMITS, names.LIMITS_ANNOTATION, {"a-gateway"}),
        (API_KEYS, names.API_KEYS_ANNOTATION, {"a-gateway"}),
    ],
)
def test_a_pod_is_not_told_of_what_is_not_stored(running: Observed, stored: Key, label: str, pods: set[str]) -> None:
    """It would be told again when that is stored, and is marked as told already."""
    labels = running.children["Deployment", "demo-gateway"]["spec"]["template"]["metadata"]["labels"]
    added = {"name": "a-gateway", "namespace": "trading", "uid": "a-gateway-uid", "labels": labels}
    children: dict[Key, Object] = {**running.children, ("Pod", "a-gateway"): {"metadata": added}}
    for key, child in children.items():
        if key[0] == "Pod":
            children[key] = child | {"metadata": child["metadata"] | {"annotations": {}}}
    world = replace(running, children=children)

    def told(world: Observed) -> set[str]:
        applied = [action.manifest["metadata"] for action in plan(world).actions if isinstance(action, Apply)]
        return {metadata["name"] for metadata in applied if label in metadata.get("annotations", {})}

    assert pods <= told(world)
    refusal = Refusal("before", Subject("Apply", *stored), 422, "no")
    assert not pods & told(replace(world, refusals=(refusal,)))
