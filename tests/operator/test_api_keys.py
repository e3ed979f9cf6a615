"""What gateways are told of ApiKeys, and when each of those says that it is ready."""

import base64
import datetime
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from fixtures.operator_checks import settled_safely
from fixtures.operator_worlds import NOW, an_empty_world
from fixtures.websocket_apis import ed25519, public_pem, rsa_key
from openbourse.contracts.api_key_bounds import PERMISSIONS
from openbourse.contracts.api_keys import api_key_of, names_in
from openbourse.contracts.component import Component
from openbourse.contracts.documents import digest
from openbourse.contracts.resources import ApiKey
from openbourse.gateway.key_text import Key, KeyText
from openbourse.operator import api_keys
from openbourse.operator.conditions import statuses
from openbourse.operator.manifests import gateway, names
from openbourse.operator.observed import GatewayFacts, Observed, SecretFacts
from openbourse.operator.plan import plan

MINUTE = datetime.timedelta(minutes=1)
PODS = ("demo-gateway-a", "demo-gateway-b")
PEM, OTHER = (public_pem(ed25519()) for _ in range(2))
NAME = "k" * 20


def a_key(name: str, *, age: int = 0, gone: bool = False, **spec: Any) -> ApiKey:
    """As the API server would give it; `age` in minutes."""
    made = NOW - age * MINUTE
    metadata = {"name": name, "namespace": "trading", "uid": f"{name}-uid", "generation": 1, "creationTimestamp": made}
    whole = {"exchange": "demo", "account": 1001, "publicKey": PEM, "apiKey": NAME, **spec}
    return ApiKey.model_validate({"metadata": metadata | ({"deletionTimestamp": NOW} if gone else {}), "spec": whole})


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
    return GatewayFacts(keys_in_use={gateway.API_KEYS: digest(api_keys.document(world))}, keys_trouble=trouble)


def told(world: Observed) -> list[Key]:
    """As a gateway reads it."""
    return KeyText.parse(api_keys.document(world)).all()


def ready(world: Observed) -> dict[str, tuple[bool | None, str]]:
    return {key.metadata.name: (fact.holds, fact.reason) for key, _, (fact,) in api_keys.facts(world)}


def why(world: Observed, name: str) -> str:
    (message,) = [fact.message for key, _, (fact,) in api_keys.facts(world) if key.metadata.name == name]
    return message


def test_gateways_are_told_by_a_secret_of_their_own_and_see_its_change_at_once(running: Observed) -> None:
    world = with_gateways(replace(running, api_keys=(a_key("bot"),)), GatewayFacts())
    seen = []
    while (step := plan(world)).actions:
        seen += [(step.phase, action.reason) for action in step.actions]
        world = settled_safely(world)
    assert seen == [
        ("gateways", "Secret demo-gateway-api-keys is not as desired at metadata.annotations.openbourse.dev/plan")
    ]
    stored = base64.b64decode(world.children["Secret", "demo-gateway-api-keys"]["data"]["keys.json"])
    assert stored == api_keys.document(world)
    annotations = world.children["Pod", PODS[0]]["metadata"]["annotations"]
    assert annotations[names.API_KEYS_ANNOTATION] == digest(stored)
    assert names.LIMITS_ANNOTATION in annotations
    # Once it is deleted no gateway has it.
    (after,) = plan(replace(world, api_keys=())).actions
    assert "Secret demo-gateway-api-keys is not as desired" in after.reason
    assert told(replace(world, api_keys=())) == []


def test_what_somebody_else_put_into_the_secret_is_taken_out(running: Observed) -> None:
    child = running.children["Secret", "demo-gateway-api-keys"]
    edited = child | {"data": {"keys.json": base64.b64encode(b'{"keys": [1]}').decode()}}
    world = replace(running, children={**running.children, ("Secret", "demo-gateway-api-keys"): edited})
    (action,) = plan(world).actions
    assert action.reason == "Secret demo-gateway-api-keys is not as desired at data.keys.json"


def test_the_gateways_have_the_file_before_the_one_with_secrets_from_the_start(running: Observed) -> None:
    pod = running.children["Deployment", "demo-gateway"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = container["command"]
    given = [words[index + 1] for index, word in enumerate(words) if word == "--keys"]
    assert given == ["/etc/openbourse/api-keys/keys.json", "/etc/openbourse/keys/keys.json"]
    assert {"name": "api-keys", "mountPath": "/etc/openbourse/api-keys", "readOnly": True} in container["volumeMounts"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "api-keys"]
    assert volume["secret"]["secretName"] == "demo-gateway-api-keys"
    assert told(running) == []


def test_a_gateway_reads_what_the_object_says(running: Observed) -> None:
    said: dict[str, Any] = {
        **{"permissions": ["TRADE"], "addresses": ["192.0.2.7", "2001:db8::/32"], "label": "desk ü 7"},
        "expires": "2027-01-01T01:00:00+01:00",
    }
    world = replace(running, api_keys=(a_key("bot", age=2, **said), a_key("plain", apiKey=None, account=1002)))
    bot, plain = told(world)
    assert (bot.api_key, bot.account, bot.public_key, bot.label) == (NAME, 1001, PEM, "desk ü 7")
    assert (bot.permissions, bot.addresses) == (("TRADE",), ("192.0.2.7/32", "2001:db8::/32"))
    assert (bot.expires, bot.created) == ("2027-01-01T00:00:00Z", "2025-12-31T23:58:00Z")
    assert (plain.api_key, plain.permissions) == (api_key_of("demo", 1002, PEM), PERMISSIONS)
    assert (plain.addresses, plain.expires) == ((), "")


def test_what_a_key_is_called_is_the_same_each_time_and_another_for_another() -> None:
    of = [("demo", 1001, PEM), ("demo", 1002, PEM), ("live", 1001, PEM), ("demo", 1001, OTHER)]
    made = {api_key_of(*each) for each in of}
    assert len(made) == 4
    assert api_key_of("demo", 1001, PEM) == api_key_of("demo", 1001, PEM.replace("\n", "\r\n"))
    assert all(len(name) == 64 for name in made)


def test_one_is_ready_when_every_gateway_has_it_in_use(running: Observed) -> None:
    world = replace(running, api_keys=(a_key("bot"),))
    now, before = in_use(world), in_use(running)
    for said, expected in (
        ((), (False, "NoGateway")),
        ((before, now), (False, "Waiting")),
        ((now, None), (None, "GatewaySilent")),
        ((now, GatewayFacts()), (False, "Waiting")),
        ((now, now), (True, "InUse")),
    ):
        assert ready(with_gateways(world, *said)) == {"bot": expected}
    troubled = with_gateways(world, before.model_copy(update={"keys_trouble": "the disk is gone"}))
    assert why(troubled, "bot") == f"{PODS[0]} has not taken it yet: the disk is gone"
    of_before = with_gateways(world, GatewayFacts())
    assert "of a version that knows no ApiKeys, give the Exchange a newer spec.image" in why(of_before, "bot")
    assert ready(replace(world, exchange=None)) == {"bot": (False, "NoExchange")}


@pytest.mark.parametrize(
    ("keys", "reasons"),
    [
        ([a_key("bad", publicKey=public_pem(rsa_key(1024)))], ["NotUnderstood"]),
        ([a_key("bad", publicKey=PEM.replace("MCow", "MCox"))], ["NotUnderstood"]),
        ([a_key("bad", apiKey=None, publicKey="-----BEGIN PUBLIC KEY-----")], ["NotUnderstood"]),
        ([a_key("bad", addresses=["192.0.2.1/24"])], ["NotUnderstood"]),
        ([a_key("over", expires=NOW)], ["Expired"]),
        ([a_key("soon", expires=NOW + MINUTE)], ["InUse"]),
        ([a_key("gone", gone=True)], ["Deleted"]),
        ([a_key("of-secret", apiKey="s" * 20)], ["NameTaken"]),
        ([a_key("older", age=1), a_key("a-younger", account=1002, publicKey=OTHER)], ["InUse", "NameTaken"]),
        ([a_key("a"), a_key("b", publicKey=OTHER)], ["InUse", "NameTaken"]),
        # One that is not used takes no name.
        ([a_key("over", age=1, expires=NOW), a_key("b", publicKey=OTHER)], ["Expired", "InUse"]),
        ([a_key("gone", age=1, gone=True), a_key("b", publicKey=OTHER)], ["Deleted", "InUse"]),
        ([a_key("a", apiKey=None), a_key("b", apiKey=None, account=1002)], ["InUse", "InUse"]),
        ([a_key("a", apiKey=None), a_key("b", apiKey=api_key_of("demo", 1001, PEM))], ["InUse", "NameTaken"]),
    ],
)
def test_one_that_cannot_be_used_says_why_and_keeps_no_other_from_it(
    running: Observed, keys: list[ApiKey], reasons: list[str]
) -> None:
    good = a_key("good", age=9, apiKey="g" * 20)
    secrets = {**running.secrets, "keys": replace(running.secrets["keys"], api_keys=frozenset({"s" * 20}))}
    world = replace(running, api_keys=(good, *keys), secrets=secrets)
    world = with_gateways(world, in_use(world))
    found = {name: reason for name, (_, reason) in ready(world).items()}
    assert found == {"good": "InUse", **{key.metadata.name: reason for key, reason in zip(keys, reasons, strict=True)}}
    assert [key.api_key for key in told(world)] == [
        "g" * 20,
        *(
            key.spec.api_key or api_key_of("demo", key.spec.account, PEM)
            for key, reason in zip(keys, reasons, strict=True)
            if reason == "InUse"
        ),
    ]


def test_a_refusal_says_what_to_do(running: Observed) -> None:
    secrets = {**running.secrets, "keys": SecretFacts(frozenset({"keys.json"}), api_keys=frozenset({"s" * 20}))}
    keys = (
        a_key("older", age=1),
        a_key("younger"),
        a_key("of-secret", apiKey="s" * 20),
        a_key("small", apiKey="r" * 20, publicKey=public_pem(rsa_key(1024))),
        a_key("bad", apiKey="b" * 20, addresses=["192.0.2.1/24"]),
    )
    world = replace(running, api_keys=keys, secrets=secrets)
    assert why(world, "younger") == f"ApiKey older is older and is called {NAME} too: delete one of the two"
    assert why(world, "of-secret") == (
        f"Secret keys has a key {'s' * 20} already: revoke it there (`openbourse keys revoke`), or make another ApiKey "
        "with another spec.apiKey"
    )
    assert "a public key is Ed25519, or RSA of 2048 to 4096 bits; make another ApiKey" in why(world, "small")
    assert why(world, "bad").startswith("addresses.0: '192.0.2.1/24' is no address or network such as 192.0.2.7")


def test_as_many_as_there_is_room_for_are_told_and_the_others_say_so(
    running: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tuple(a_key(f"k{number}", age=9 - number, apiKey=f"{number}" * 20) for number in range(5))
    world = replace(running, api_keys=many)
    monkeypatch.setattr(api_keys, "BYTES_MOST", len(api_keys.document(world)) * 3 // 5)
    assert [key.api_key[0] for key in told(world)] == ["0", "1", "2"]
    world = with_gateways(world, in_use(world))
    assert list(ready(world).values()) == [(True, "InUse")] * 3 + [(False, "NoRoom")] * 2


def test_the_status_says_what_the_key_is_called_and_which_public_key_it_has(running: Observed) -> None:
    world = replace(running, api_keys=(a_key("bot", apiKey=None),))
    (written,) = [each.manifest for each in statuses(world) if each.resource == ApiKey.resource]
    status = written["status"]
    assert status["apiKey"] == api_key_of("demo", 1001, PEM)
    der = base64.b64decode("".join(PEM.splitlines()[1:-1]))
    assert status["fingerprint"] == hashlib.sha256(der).hexdigest()
    assert [condition["type"] for condition in status["conditions"]] == ["Ready"]


def test_the_keys_of_a_file_are_known_by_name_however_it_is_laid_out() -> None:
    for content in (b'{"keys": [\n{"api_key":"%s","secret":"x"}\n]}', b'{"keys":[{"secret":"x", "api_key" :\n "%s"}]}'):
        assert names_in(content % (b"n" * 20)) == {"n" * 20}
    assert names_in(b"{") == frozenset()
