"""What gateways are told of TradingLimits, and when each of those says that it is applied."""

import datetime
import json
from dataclasses import replace
from typing import Any

import pytest

from fixtures.operator_checks import settled_safely
from fixtures.operator_worlds import NOW, an_empty_world, an_exchange
from openbourse.contracts.component import Component
from openbourse.contracts.documents import digest
from openbourse.contracts.resources import TradingLimit
from openbourse.operator import limits
from openbourse.operator.conditions import statuses
from openbourse.operator.manifests import gateway, names
from openbourse.operator.observed import GatewayFacts, Observed, SecretFacts
from openbourse.operator.plan import plan

MINUTE = datetime.timedelta(minutes=1)
PODS = ("demo-gateway-a", "demo-gateway-b")


def a_limit(name: str, *, age: int = 0, **spec: Any) -> TradingLimit:
    made = NOW - age * MINUTE
    metadata = {"name": name, "namespace": "trading", "uid": f"{name}-uid", "generation": 1, "creationTimestamp": made}
    subject = {} if {"apiKey", "address", "account"} & set(spec) else {"account": 1001, "ordersPer10s": 5}
    return TradingLimit.model_validate(
        {"metadata": metadata, "spec": {"exchange": "demo", "reason": "why", **subject, **spec}}
    )


@pytest.fixture(scope="module")
def running() -> Observed:
    return settled_safely(an_empty_world())


def with_gateways(world: Observed, *said: GatewayFacts | None) -> Observed:
    """Pods of the gateway, and what each says; None: nothing."""
    assert world.exchange is not None
    labels = names.labels(world.exchange, Component.GATEWAY)
    pods = {
        ("Pod", pod): {"metadata": {"name": pod, "namespace": "trading", "uid": pod, "labels": labels}}
        for pod, _ in zip(PODS, said, strict=False)
    }
    heard = {pod: facts for pod, facts in zip(PODS, said, strict=False) if facts is not None}
    return replace(world, children={**world.children, **pods}, gateways=heard)


def in_use(world: Observed, trouble: str = "") -> GatewayFacts:
    text = limits.document(world).encode()
    return GatewayFacts(limits_in_use={gateway.TRADING_LIMITS: digest(text)}, limits_trouble=trouble)


def told(world: Observed) -> list[dict[str, Any]]:
    overrides: list[dict[str, Any]] = json.loads(limits.document(world))["overrides"]
    return overrides


def applied(world: Observed) -> dict[str, tuple[bool | None, str]]:
    return {limit.metadata.name: (fact.holds, fact.reason) for limit, _, (fact,) in limits.facts(world)}


def test_gateways_are_told_by_a_config_map_of_their_own_and_see_its_change_at_once(running: Observed) -> None:
    world = with_gateways(replace(running, limits=(a_limit("maker"),)), GatewayFacts())
    seen = []
    while (step := plan(world)).actions:
        seen += [(step.phase, action.reason) for action in step.actions]
        world = settled_safely(world)
    assert seen == [
        ("gateways", "ConfigMap demo-gateway-limits is not as desired at metadata.annotations.openbourse.dev/plan")
    ]
    stored = json.loads(world.children["ConfigMap", "demo-gateway-limits"]["data"]["limits.json"])
    assert stored["overrides"] == [{"account": 1001, "ordersPer10s": 5, "reason": "why"}]
    pod = world.children["Pod", PODS[0]]["metadata"]["annotations"]
    assert pod[names.LIMITS_ANNOTATION] == digest(limits.document(world).encode())


def test_one_is_applied_when_every_gateway_has_it_in_use(running: Observed) -> None:
    world = replace(running, limits=(a_limit("maker"),))
    now, before = in_use(world), in_use(running)
    for said, expected in (
        ((), (False, "NoGateway")),
        ((before, now), (False, "Waiting")),
        ((now, None), (None, "GatewaySilent")),
        ((now, GatewayFacts()), (False, "Waiting")),
        ((now, now), (True, "InUse")),
    ):
        assert applied(with_gateways(world, *said)) == {"maker": expected}
    (_, _, (fact,)) = next(limits.facts(with_gateways(world, replace_trouble(before))))
    assert fact.message == f"{PODS[0]} has not taken it yet: the disk is gone"


def replace_trouble(facts: GatewayFacts) -> GatewayFacts:
    return facts.model_copy(update={"limits_trouble": "the disk is gone"})


def test_of_two_for_the_same_the_older_counts_and_the_other_says_so(running: Observed) -> None:
    both = (
        a_limit("younger", ordersPer10s=9),
        a_limit("older", age=1),
        a_limit("net", address="10.0.0.0/8", weightPerMinute=1),
    )
    world = replace(running, limits=both)
    assert [(each.get("account"), each.get("ordersPer10s")) for each in told(world)] == [(1001, 5), (None, None)]
    world = with_gateways(world, in_use(world))
    assert applied(world) == {"older": (True, "InUse"), "younger": (False, "SaidTwice"), "net": (True, "InUse")}
    without = replace(world, limits=both[:1])
    assert [each["ordersPer10s"] for each in told(without)] == [9]


def test_one_whose_time_is_over_is_left_out_and_says_so(running: Observed) -> None:
    world = replace(running, limits=(a_limit("maker", until=NOW + MINUTE),))
    assert told(world)[0]["until"] == "2026-01-01T00:01:00Z"
    later = replace(world, now=NOW + MINUTE)
    assert told(later) == []
    assert applied(later) == {"maker": (False, "TimeIsOver")}
    # It is not for another one to wait for.
    assert len(told(replace(later, limits=(*world.limits, a_limit("new"))))) == 1


def test_what_a_config_map_has_no_room_for_is_said_and_the_older_ones_hold(
    running: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BYTES_MOST", 200)
    many = tuple(a_limit(f"l-{number}", age=10 - number, account=1001 + number, ordersPer10s=1) for number in range(5))
    world = replace(running, limits=many)
    assert [each["account"] for each in told(world)] == [1001, 1002, 1003]
    assert (
        list(applied(with_gateways(world, in_use(world))).values()) == [(True, "InUse")] * 3 + [(False, "NoRoom")] * 2
    )


def test_the_status_says_for_people_what_it_is_for_and_what_it_allows(running: Observed) -> None:
    world = replace(running, limits=(a_limit("maker", ordersPerDay=7),))
    (written,) = [each.manifest for each in statuses(world) if each.resource == TradingLimit.resource]
    status = written["status"]
    assert (status["subject"], status["limits"]) == ("account 1001", "ordersPer10s 5, ordersPerDay 7")
    assert [condition["type"] for condition in status["conditions"]] == ["Applied"]


def test_gateways_have_the_token_under_which_keys_are_sealed_and_wait_for_its_pin() -> None:
    token = {"module": "/usr/lib/hsm.so", "label": "keys", "pinSecret": "keys-pin"}
    empty = an_empty_world(gateway={"keysSecret": "keys", "keysToken": token})
    assert ("Deployment", "demo-gateway") not in settled_safely(empty).children, "its pod would wait for the Secret"
    world = settled_safely(replace(empty, secrets={**empty.secrets, "keys-pin": SecretFacts(frozenset({"pin"}))}))
    pod = world.children["Deployment", "demo-gateway"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {each["name"]: each.get("value") for each in container["env"]}.items() >= {
        "OPENBOURSE_PKCS11_MODULE": "/usr/lib/hsm.so",
        "OPENBOURSE_PKCS11_TOKEN": "keys",
        "OPENBOURSE_PKCS11_PIN_FILE": "/etc/openbourse/pin/pin",
    }.items()
    assert {"name": "pin", "mountPath": "/etc/openbourse/pin", "readOnly": True} in container["volumeMounts"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "pin"]
    assert volume["secret"]["secretName"] == "keys-pin"


def test_proxies_that_are_trusted_are_told_to_gateways() -> None:
    proxies = {"keysSecret": "keys", "trustedProxies": ["10.0.0.0/8", "192.0.2.1"]}
    world = settled_safely(an_empty_world(gateway=proxies))
    (container,) = world.children["Deployment", "demo-gateway"]["spec"]["template"]["spec"]["containers"]
    words = container["command"]
    assert [words[index + 1] for index, word in enumerate(words) if word == "--trusted-proxy"] == proxies[
        "trustedProxies"
    ]
    assert an_exchange().spec.gateway.trusted_proxies == ()
