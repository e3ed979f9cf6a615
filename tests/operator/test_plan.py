"""From every small world the plans lead to a running exchange, and no prefix of them harms the one that runs."""

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fixtures.operator_checks import State, check, edited, settled_safely, without
from fixtures.operator_worlds import (
    NOW,
    a_certificate,
    a_shard,
    a_symbol,
    an_empty_world,
    carried_out,
    controllers_have_run,
    settled,
    the_authority,
)
from openbourse.contracts.apiserver import Object
from openbourse.operator.manifests import ledger
from openbourse.operator.manifests.certificates import needs
from openbourse.operator.manifests.names import hosts
from openbourse.operator.observed import Observed, SecretFacts
from openbourse.operator.plan import (
    Apply,
    Delete,
    plan,
)

ENGINE = ("StatefulSet", "demo-engine-main")
LEDGER = ("Deployment", "demo-ledger-main")
GATEWAY = ("Deployment", "demo-gateway")
ROLE = ("Role", "demo-engine-main")
LISTINGS = ("ConfigMap", "demo-engine-main-listings")


@pytest.fixture(scope="module")
def running() -> dict[int, Observed]:
    """By number of shards: the world in which all is as it should be."""
    return {shards: settled(an_empty_world(shards))[0] for shards in (1, 2)}


def test_an_empty_world_becomes_a_running_exchange_in_the_order_of_a_start() -> None:
    world, plans = settled(an_empty_world())
    assert [step.phase for step in plans] == [
        "adoption",
        "authority",
        "certificates",
        "access",
        "network",
        "listings",
        "records",
        "records",
        "engines",
        "migration",
        "gateways",
        "engines",
        "ledgers",
        "pods",
        "pods",
    ]
    assert {ENGINE, LEDGER, GATEWAY, LISTINGS} <= world.children.keys()


def with_secret(name: str, facts: SecretFacts | None) -> State:
    def change(world: Observed) -> Observed:
        rest = {k: v for k, v in world.secrets.items() if k != name}
        return replace(world, secrets=rest if facts is None else rest | {name: facts})

    return change


def the_job(status: dict[str, Any] | None) -> State:
    def change(world: Observed) -> Observed:
        assert world.exchange is not None
        key = ("Job", ledger.migration_name(world.exchange))
        if status is None:
            return without(key)(world)
        return edited(key, lambda job: job.update(status=status))(world)

    return change


def same(world: Observed) -> Observed:
    return world


OF_ANOTHER = a_certificate("engine", hosts("demo-engine-main", "trading"), authority="another")
FOREIGN = SecretFacts(frozenset({"tls.crt"}), OF_ANOTHER)
OLD = SecretFacts(
    frozenset({"tls.crt"}), a_certificate("engine", ["demo-engine-main"], authority="authority-1", days_old=80)
)
BROKEN = SecretFacts(frozenset({"tls.crt"}), None, "ValueError not PEM")
FAILED_LONG_AGO = (NOW - datetime.timedelta(hours=1)).isoformat()

UPSTREAM: list[list[State]] = [
    [same, with_secret("demo-authority", None), with_secret("demo-authority", the_authority(days_old=80))],
    [same, *(with_secret("demo-engine-main-tls", facts) for facts in (FOREIGN, None, OLD, BROKEN))],
    [same, without(LISTINGS), edited(LISTINGS, lambda live: live.update(data={"listings.json": "{}"}))],
    [same, without(ENGINE), edited(ENGINE, lambda live: live["spec"].update(replicas=3))],
    [
        same,
        without(("Role", "demo-engine-main")),
        edited(("Role", "demo-engine-main"), lambda live: live.update(rules=[])),
    ],
    [same, lambda world: replace(world, shards=tuple(a_shard(s.metadata.name, adopted=False) for s in world.shards))],
]
DOWNSTREAM: list[list[State]] = [
    [same, with_secret("database", None), with_secret("database", SecretFacts(frozenset({"dsn"})))],
    [same, with_secret("keys", None)],
    [
        same,
        the_job(None),
        the_job({}),
        the_job({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": FAILED_LONG_AGO}]}),
    ],
    [same, without(LEDGER), edited(LEDGER, lambda live: live["spec"].update(replicas=2))],
    [same, without(GATEWAY), edited(GATEWAY, lambda live: live["spec"]["template"]["spec"].update(containers=[]))],
    [same, with_secret("demo-gateway-tls", FOREIGN)],
]


def every(parts: list[list[State]], world: Observed) -> Iterator[Observed]:
    for changes in itertools.product(*parts):
        changed = world
        for change in changes:
            changed = change(changed)
        yield changed


@pytest.mark.parametrize(
    ("parts", "shards", "worlds"),
    [
        (UPSTREAM, 1, 810),
        (DOWNSTREAM, 1, 432),
        # Beside a second shard: all is well with a part, or it is as bad as it gets.
        ([[states[0], states[1]] for states in UPSTREAM], 2, 64),
        ([[states[0], states[1]] for states in DOWNSTREAM], 2, 64),
    ],
    ids=["engine", "ledger and gateway", "one of two engines", "one of two ledgers"],
)
def test_every_small_world_is_repaired_and_no_step_does_harm(
    running: dict[int, Observed], parts: list[list[State]], shards: int, worlds: int
) -> None:
    count = 0
    as_it_should_be = running[shards]
    for world in every(parts, as_it_should_be):
        count += 1
        after = settled_safely(world)
        given = all(world.secrets.get(name) == as_it_should_be.secrets[name] for name in ("database", "keys"))
        # The engines never wait for anybody's Secret.
        wanted = as_it_should_be.children.keys() if given else {ENGINE, LISTINGS}
        assert wanted <= after.children.keys()
        for key in wanted:
            assert after.children[key].get("spec", {}).get("replicas", 1) == (2 if key[0] == "StatefulSet" else 1)
        assert after.children[LISTINGS]["data"] == as_it_should_be.children[LISTINGS]["data"]
        _check_certificates(after)
    assert count == worlds


def _check_certificates(world: Observed) -> None:
    """Each workload has one of the present authority, for its own names, with time left."""
    assert world.exchange is not None
    authority = world.secrets["demo-authority"].certificate
    assert authority is not None
    for need in needs(world.exchange, world.shards):
        held = world.secrets[need.secret].certificate
        assert held is not None
        assert held.authority == authority.fingerprint
        assert (held.component, held.hosts) == (need.component, frozenset(need.hosts))
        assert held.renew_at() > world.now


def test_what_others_added_is_left_alone(running: dict[int, Observed]) -> None:
    def others(live: Object) -> None:
        live["metadata"]["labels"]["theirs"] = "yes"
        live["metadata"].setdefault("annotations", {})["theirs"] = "yes"
        live["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
        live["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "x"})

    assert not plan(edited(ENGINE, others)(running[1])).actions


def test_a_field_that_only_an_earlier_version_set_is_taken_back(running: dict[int, Observed]) -> None:
    def earlier(live: Object) -> None:
        live["metadata"]["annotations"]["openbourse.dev/plan"] = "of an earlier version"

    (action,) = plan(edited(ENGINE, earlier)(running[1])).actions
    assert action.reason == "StatefulSet demo-engine-main is not as desired at metadata.annotations.openbourse.dev/plan"


def test_an_exchange_that_is_deleted_is_left_alone(running: dict[int, Observed]) -> None:
    world = running[1]
    assert world.exchange is not None
    metadata = world.exchange.metadata.model_copy(update={"deletion_timestamp": NOW})
    gone = replace(world, exchange=world.exchange.model_copy(update={"metadata": metadata}), children={})
    assert not plan(gone).actions
    assert not plan(replace(gone, exchange=None)).actions


def test_a_new_image_migrates_before_the_ledger_changes(running: dict[int, Observed]) -> None:
    world = running[1]
    assert world.exchange is not None
    spec = world.exchange.spec.model_copy(update={"image": "openbourse:next"})
    world = replace(world, exchange=world.exchange.model_copy(update={"spec": spec}))
    phases = []
    for _ in range(20):
        step = plan(world)
        phases += [step.phase] if step.actions else []
        for action in step.actions:
            check(world, action)
            world = carried_out(world, action)
        world = controllers_have_run(world) if not step.actions else world
    assert phases.index("migration") < phases.index("ledgers")
    assert phases[-1] == "leftovers"
    assert len([key for key in world.children if key[0] == "Job"]) == 1
    images = {
        c["image"]
        for key in (ENGINE, LEDGER, GATEWAY)
        for c in world.children[key]["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"openbourse:next"}


def test_a_failed_migration_is_tried_again_but_not_at_once(running: dict[int, Observed]) -> None:
    def failed(seconds_ago: int) -> Observed:
        at = (NOW - datetime.timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return the_job({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": at}]})(running[1])

    assert not plan(failed(10)).actions
    (action,) = plan(failed(61)).actions
    assert isinstance(action, Delete)


def test_a_changed_listing_reaches_the_engine_and_touches_its_pod(running: dict[int, Observed]) -> None:
    world = replace(running[1], symbols=(a_symbol(), a_symbol("USDT", "BTC", tickSize="0.00000001", lotSize="1")))
    assert plan(world).phase == "listings"
    (apply,) = plan(world).actions
    after = carried_out(world, apply)
    step = plan(after)
    assert step.phase == "pods"
    for member, touch in enumerate(step.actions):
        assert isinstance(touch, Apply)
        assert touch.manifest["metadata"]["name"] == f"demo-engine-main-{member}"
        assert set(touch.manifest["metadata"]) == {"name", "namespace", "uid", "annotations"}
        after = carried_out(after, touch)
    assert member == 1
    assert not plan(after).actions


def test_a_symbol_that_does_not_fit_keeps_no_other_from_being_listed(running: dict[int, Observed]) -> None:
    world = replace(running[1], symbols=(a_symbol(), a_symbol("ETH"), a_symbol("BTC", "BTC")))
    assert not plan(world).actions


def test_a_renewed_certificate_restarts_its_workload_alone(running: dict[int, Observed]) -> None:
    world = with_secret("demo-gateway-tls", None)(running[1])
    _, plans = settled(world)
    changed = [a.manifest["metadata"]["name"] for p in plans for a in p.actions if isinstance(a, Apply)]
    assert changed in ([], ["demo-gateway"])
