"""From every small world the plans lead to a running exchange, and no prefix of them harms the one that runs."""

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fixtures.figures import Show
from fixtures.operator_checks import State, check, edited, settled_safely, without
from fixtures.operator_worlds import (
    NOW,
    a_certificate,
    a_halt,
    a_shard,
    a_symbol,
    an_empty_world,
    an_exchange,
    carried_out,
    controllers_have_run,
    settled,
    the_authority,
)
from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import EngineShard, Halt, Symbol
from openbourse.contracts.resources.exchange import Telemetry, TraceExport
from openbourse.operator.conditions import exchange_facts
from openbourse.operator.manifests import ledger
from openbourse.operator.manifests.certificates import needs
from openbourse.operator.manifests.names import hosts
from openbourse.operator.observed import Observed, SecretFacts
from openbourse.operator.plan import (
    Apply,
    Delete,
    Merge,
    plan,
)

ENGINE = ("StatefulSet", "demo-engine-main")
LEDGER = ("Deployment", "demo-ledger-main")
GATEWAY = ("Deployment", "demo-gateway")
MARKET_DATA = ("StatefulSet", "demo-marketdata-main")
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
        "market data",
        "migration",
        "gateways",
        "engines",
        "ledgers",
        "pods",
        "pods",
    ]
    assert {ENGINE, LEDGER, GATEWAY, LISTINGS, MARKET_DATA} <= world.children.keys()


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
BESIDE: list[list[State]] = [
    [same, without(MARKET_DATA), edited(MARKET_DATA, lambda live: live["spec"].update(replicas=2))],
    [same, with_secret("demo-marketdata-main-tls", FOREIGN), with_secret("demo-marketdata-main-tls", None)],
    [same, without(("Service", "demo-marketdata-main")), without(("NetworkPolicy", "demo-marketdata-main"))],
    [same, with_secret("database", None)],
    [same, without(GATEWAY)],
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
        (BESIDE, 1, 108),
        # Beside a second shard: all is well with a part, or it is as bad as it gets.
        ([[states[0], states[1]] for states in UPSTREAM], 2, 64),
        ([[states[0], states[1]] for states in DOWNSTREAM], 2, 64),
    ],
    ids=["engine", "ledger and gateway", "market data", "one of two engines", "one of two ledgers"],
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
        # The engines and market data never wait for anybody's Secret.
        wanted = as_it_should_be.children.keys() if given else {ENGINE, LISTINGS, MARKET_DATA}
        assert wanted <= after.children.keys()
        for key in wanted:
            replicas = after.children[key].get("spec", {}).get("replicas", 1)
            # Two engines, and with them two market data.
            assert replicas == (2 if key[0] == "StatefulSet" else 1)
        assert after.children[LISTINGS]["data"] == as_it_should_be.children[LISTINGS]["data"]
        _check_certificates(after)
    assert count == worlds


def test_no_plan_of_any_small_world_touches_a_halt_or_a_symbol_or_is_another_because_of_one(
    running: dict[int, Observed], show: Show
) -> None:
    halted = [("main", "Halted")]
    halts = (
        a_halt("all", halted),
        a_halt("some", halted, symbols=["BTCUSDT"], mode="CANCEL_ONLY", duration="15m"),
        a_halt("waiting", mode="POST_ONLY"),
        a_halt("over", [("main", "Lifted")], duration="1s"),
    )
    count = 0
    for parts in (UPSTREAM, DOWNSTREAM, BESIDE):
        for world in every(parts, running[1]):
            count += 1
            step = plan(replace(world, halts=halts))
            assert step == plan(world)
            for action in step.actions:
                assert not isinstance(action, Apply | Delete) or action.resource.plural not in ("halts", "symbols")
    show(f"the operator's plans, {count} small worlds with and without halts: the same, and none touches a halt")


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


def words(world: Observed, key: tuple[str, str]) -> list[str]:
    (container,) = world.children[key]["spec"]["template"]["spec"]["containers"]
    command: list[str] = container["command"]
    return command


def test_a_halted_symbol_is_never_opened_by_a_plan(running: dict[int, Observed]) -> None:
    """A Halt, in force or to be, changes no plan, and no plan has anything to do with a Halt or a Symbol."""
    halts = (a_halt("stop", [("main", "Halted")]), a_halt("new", symbols=("BTCUSDT",)))
    for world in every(UPSTREAM, running[1]):
        made = plan(replace(world, halts=halts))
        assert made == plan(world)
        for action in made.actions:
            assert getattr(action, "resource", None) not in {Halt.resource, Symbol.resource}


def test_without_market_data_gateways_and_the_log_do_not_ask_for_them_and_the_volume_stays(
    running: dict[int, Observed],
) -> None:
    market_data = [word for n in range(2) for word in ("--marketdata", f"https://demo-marketdata-main-{n}:7200")]
    reader = ["--reader", "marketdata", "--reader", "marketdata-1"]
    for market_data_are in (True, False):
        start = running[1] if market_data_are else an_empty_world()
        (shard,) = start.shards
        off = replace(start, shards=(with_market_data(shard, enabled=False),))
        after = settled_safely(off)
        assert set(market_data) & set(words(after, GATEWAY)) == set()
        assert set(reader) & set(words(after, ENGINE)) == set()
        assert (MARKET_DATA in after.children) is market_data_are
        if market_data_are:
            assert after.children[MARKET_DATA]["spec"]["replicas"] == 0
            assert ("PersistentVolumeClaim", "history-demo-marketdata-main-0") in after.children
        again = settled_safely(replace(after, shards=(with_market_data(after.shards[0], enabled=True),)))
        assert [word for word in words(again, GATEWAY) if word in set(market_data)] == market_data
        assert [word for word in words(again, ENGINE) if word in set(reader)] == reader
        assert again.children[MARKET_DATA]["spec"]["replicas"] == 2


def test_gateways_serve_all_shards_whichever_was_made_first(running: dict[int, Observed]) -> None:
    (main,) = running[1].shards
    alone = words(running[1], GATEWAY)
    both = [words(settled_safely(replace(running[1], shards=pair)), GATEWAY) for pair in _in_any_order(main)]
    assert both[0] == both[1]
    assert [word for word, before in zip(both[0][1:], both[0], strict=False) if before == "--shard"] == ["hot", "main"]
    of_hot = [word.replace("main", "hot") for word in alone[1 : alone.index("--keys")]]
    assert both[0][1 : 1 + len(of_hot)] == of_hot, "what follows a --shard is of that one"
    assert words(settled_safely(replace(running[1], shards=(main,))), GATEWAY) == alone


def _in_any_order(main: EngineShard) -> list[tuple[EngineShard, EngineShard]]:
    return [(main, a_shard("hot")), (a_shard("hot"), main)]


def with_market_data(shard: EngineShard, *, enabled: bool) -> EngineShard:
    market_data = shard.spec.market_data.model_copy(update={"enabled": enabled})
    return shard.model_copy(update={"spec": shard.spec.model_copy(update={"market_data": market_data})})


def test_gateways_count_together_once_the_secret_of_their_redis_is_there(running: dict[int, Observed]) -> None:
    def wanted(*keys: str) -> Observed:
        world = running[1]
        assert world.exchange is not None
        spec = world.exchange.spec.gateway.model_copy(update={"redis_secret": "redis"})
        spec_of_all = world.exchange.spec.model_copy(update={"gateway": spec})
        secrets = {**world.secrets, **({"redis": SecretFacts(frozenset(keys))} if keys else {})}
        return replace(world, exchange=world.exchange.model_copy(update={"spec": spec_of_all}), secrets=secrets)

    def gateway(world: Observed) -> Object:
        (container,) = world.children[GATEWAY]["spec"]["template"]["spec"]["containers"]
        found: Object = container
        return found

    for without_url in (wanted(), wanted("ca.crt")):
        assert not plan(without_url).actions, "those that serve go on as they are"
        blocked = exchange_facts(without_url, an_exchange(gateway={"keysSecret": "keys", "redisSecret": "redis"}))[0]
        assert (blocked.reason, blocked.message) == ("SecretMissing", "Secret redis with url is needed")
    url = {"name": "OPENBOURSE_REDIS", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}}
    plain, encrypted = gateway(settled_safely(wanted("url"))), gateway(settled_safely(wanted("url", "ca.crt")))
    assert plain["env"][:-1] == [url]
    authority = {"name": "OPENBOURSE_REDIS_CA", "value": "/etc/openbourse/redis/ca.crt"}
    assert encrypted["env"][:-1] == [url, authority]
    assert {"name": "redis", "mountPath": "/etc/openbourse/redis", "readOnly": True} in encrypted["volumeMounts"]


def test_gateways_take_limits_from_the_config_map_that_is_named(running: dict[int, Observed]) -> None:
    def limited(config_map: str | None) -> Observed:
        assert running[1].exchange is not None
        spec = running[1].exchange.spec
        gateway = spec.gateway.model_copy(update={"limits_config_map": config_map})
        exchange = running[1].exchange.model_copy(update={"spec": spec.model_copy(update={"gateway": gateway})})
        return settled_safely(replace(running[1], exchange=exchange))

    def files(world: Observed) -> list[str]:
        """The first one counts."""
        said = words(world, GATEWAY)
        return [said[index + 1] for index, word in enumerate(said) if word == "--limits"]

    assert files(limited(None)) == ["/etc/openbourse/trading-limits/limits.json"]
    world = limited("who-may-what")
    assert files(world)[1:] == ["/etc/openbourse/limits/limits.json"]
    pod = world.children[GATEWAY]["spec"]["template"]["spec"]
    assert {"name": "limits", "configMap": {"name": "who-may-what"}} in pod["volumes"]
    (container,) = pod["containers"]
    assert {"name": "limits", "mountPath": "/etc/openbourse/limits", "readOnly": True} in container["volumeMounts"]


def test_a_gateway_that_is_to_go_serves_until_nobody_new_is_sent_to_it(running: dict[int, Observed]) -> None:
    pod = running[1].children[GATEWAY]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    leaving_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert leaving_s >= 3
    # Eight seconds for what is under way, and what is said before.
    assert pod["terminationGracePeriodSeconds"] >= leaving_s + 20


def after_word(command: list[str], word: str) -> str:
    return command[command.index(word) + 1]


def test_engines_of_an_earlier_version_are_left_to_the_plan_before_anything_else_of_them_changes(
    running: dict[int, Observed],
) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}
    world = edited(ENGINE, lambda live: live["spec"].update(updateStrategy=rolling, replicas=1))(running[1])
    (action,) = plan(world).actions
    assert isinstance(action, Merge)
    assert action.reason == "StatefulSet demo-engine-main is to leave its pods to the plan"
    after = settled_safely(world)
    assert after.children[ENGINE]["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert after.children[ENGINE]["spec"]["replicas"] == 2


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


def test_every_process_logs_and_traces_as_the_exchange_says_and_no_job_changes(running: dict[int, Observed]) -> None:
    world = running[1]
    assert world.exchange is not None
    traces = TraceExport(endpoint="http://collector.observability:4318", per_thousand=25)
    spec = world.exchange.spec.model_copy(update={"telemetry": Telemetry(logs="json", traces=traces)})
    told = {
        "OPENBOURSE_LOGS": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.observability:4318",
        "OTEL_TRACES_SAMPLER_ARG": "0.025",
    }
    changed, _ = settled(replace(world, exchange=world.exchange.model_copy(update={"spec": spec})))
    jobs = {key: child for key, child in world.children.items() if key[0] == "Job"}
    assert jobs == {key: child for key, child in changed.children.items() if key[0] == "Job"}
    for key in (ENGINE, LEDGER, GATEWAY, MARKET_DATA):
        [container] = changed.children[key]["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert told.items() <= environment.items(), key


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
        for key in (ENGINE, LEDGER, GATEWAY, MARKET_DATA)
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
