"""What people may do, asked of a real API server: their roles, who lifts a Halt that takes two, what is recorded."""

import asyncio
import itertools
import re
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fixtures.apiservers import (
    ADMIN_TOKEN,
    PERSON,
    PERSON_TOKEN,
    TOKENS_OF_PEOPLE,
    RunningApiServer,
    cluster_binary,
    delete_policies,
)
from openbourse.contracts.apiserver import ApiServer, Object, Refused, Resource
from openbourse.contracts.resources import Exchange, Halt
from openbourse.operator.manifests import kinds

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
ANN, BOB, EVE = PERSON, "bob@example.com", "eve@example.com"
ROLES = ("viewer", "operator", "admin", "break-glass")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
OURS = "openbourse.dev"

# Who may what: the first role in order that may, or nobody. What docs/people.md says in words.
MAY: list[tuple[str, str, str, str | None]] = [
    ("get", OURS, "halts", "viewer"),
    ("list", OURS, "rehearsals", "viewer"),
    ("inspect", OURS, "exchanges", "viewer"),
    ("get", "", "pods/log", "viewer"),
    ("get", "coordination.k8s.io", "leases", "viewer"),
    ("create", OURS, "halts", "operator"),
    ("operate", OURS, "exchanges", "operator"),
    ("create", "", "pods/portforward", "operator"),
    ("delete", OURS, "halts", "admin"),
    ("administer", OURS, "exchanges", "admin"),
    ("patch", OURS, "engineshards", "admin"),
    ("create", OURS, "rehearsals", "admin"),
    ("update", OURS, "symbols", "admin"),
    ("list", OURS, "tradinglimits", "viewer"),
    ("create", OURS, "tradinglimits", "admin"),
    ("delete", OURS, "tradinglimits", "admin"),
    ("list", OURS, "apikeys", "viewer"),
    ("delete", OURS, "apikeys", "admin"),
    ("create", OURS, "apikeys", "break-glass"),
    ("patch", OURS, "apikeys", "break-glass"),
    ("patch", OURS, "apikeys/status", None),
    ("get", "", "secrets", "break-glass"),
    ("create", "", "pods/exec", "break-glass"),
    ("delete", "", "pods", "break-glass"),
    ("update", "coordination.k8s.io", "leases", "break-glass"),
    ("list", "", "secrets", None),
    ("patch", OURS, "halts/status", None),
    ("patch", OURS, "symbols/status", None),
    ("deletecollection", OURS, "halts", None),
    ("delete", "", "persistentvolumeclaims", None),
    ("delete", "coordination.k8s.io", "leases", None),
]


@dataclass(slots=True)
class Place:
    """A namespace with the chart's roles and policies, and everybody's way to the API server."""

    server: RunningApiServer
    namespace: str
    admin: ApiServer
    people: dict[str, ApiServer]

    async def bind(self, person: str, role: str) -> None:
        """With a name of the role's own: somebody may have several."""
        group = "rbac.authorization.k8s.io"
        name = f"{role}-{secrets.token_hex(3)}"
        binding = {
            "metadata": {"name": name, "namespace": self.namespace},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": f"openbourse-people-{role}"},
            "subjects": [{"kind": "User", "name": person, "apiGroup": group}],
        }
        await self.admin.create(kinds.ROLE_BINDING, binding)

    async def may(self, person: str, verb: str, group: str, resource: str) -> bool:
        kind, _, part = resource.partition("/")
        attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": kind, "subresource": part}
        review = await self.admin.create(
            REVIEWS, {"metadata": {}, "spec": {"user": person, "resourceAttributes": attributes}}
        )
        return bool(review["status"]["allowed"])

    async def until_may(self, person: str, verb: str, group: str, resource: str) -> None:
        """A right holds some time after it was given."""
        deadline = time.monotonic() + 10
        while not await self.may(person, verb, group, resource):
            assert time.monotonic() < deadline, (person, verb, resource)
            await asyncio.sleep(0.05)

    async def halt(self, person: str, **spec: Any) -> str:
        name = f"halt-{secrets.token_hex(3)}"
        metadata = {"name": name, "namespace": self.namespace, **spec.pop("metadata", {})}
        spec = {"exchange": "demo", "reason": "funds differ", "untilLifted": True, "requester": person} | spec
        wanted = {key: value for key, value in spec.items() if value}
        await self.people[person].create(Halt.resource, {"metadata": metadata, "spec": wanted})
        return name

    async def lift(self, person: str, name: str) -> None:
        await self.people[person].delete(Halt.resource, self.namespace, name)


@pytest.fixture(scope="module")
def chart(api_server: RunningApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Object]]:
    """Its roles and policies are there, and hold."""
    command = [str(cluster_binary("helm")), "template", "openbourse", str(ROOT / "charts/openbourse")]
    rendered = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    cluster_wide = ("ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    objects = [document for document in yaml.safe_load_all(rendered) if document and document["kind"] in cluster_wide]
    file = tmp_path_factory.mktemp("people") / "chart.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    api_server.kubectl_apply(file)
    yield objects
    delete_policies(api_server)


@pytest.fixture
async def place(api_server: RunningApiServer, chart: list[Object]) -> AsyncIterator[Place]:
    tokens = {ANN: PERSON_TOKEN, **TOKENS_OF_PEOPLE}
    async with AsyncExitStack() as stack:

        async def as_(token: str) -> ApiServer:
            return await stack.enter_async_context(ApiServer.connect(api_server.credentials(token)))

        admin = await as_(ADMIN_TOKEN)
        people = {person: await as_(token) for person, token in tokens.items()}
        namespace = f"people-{secrets.token_hex(4)}"
        await admin.create(NAMESPACES, {"metadata": {"name": namespace}})
        place = Place(api_server, namespace, admin, people)
        for person, role in ((ANN, "admin"), (BOB, "admin"), (EVE, "break-glass")):
            await place.bind(person, role)
            await place.until_may(person, "get", OURS, "halts")
        await _policies_hold(place)
        yield place


async def _policies_hold(place: Place) -> None:
    """A policy is in force some time after it was made."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            name = await place.halt(ANN, requester="somebody else")
        except Refused as error:
            if "spec.requester is" in str(error):
                return
        else:
            await place.lift(ANN, name)
        await asyncio.sleep(0.2)
    raise AssertionError("the admission policy is not in force")


async def test_each_role_may_what_it_should_and_nothing_more(place: Place) -> None:
    for role in (*ROLES, "keys"):
        await place.bind(f"a {role}", role)
        await place.until_may(f"a {role}", "get", OURS, "apikeys")
    for (verb, group, resource, first), role in itertools.product(MAY, ROLES):
        allowed = first is not None and ROLES.index(role) >= ROLES.index(first)
        assert await place.may(f"a {role}", verb, group, resource) == allowed, (role, verb, resource)
    for verb, group, resource, _ in MAY:
        assert await place.may("a keys", verb, group, resource) == (resource == "apikeys"), (verb, resource)


def test_the_page_has_a_row_for_each_role_that_the_chart_makes(chart: list[Object]) -> None:
    page = (ROOT / "docs/people.md").read_text()
    made = {o["metadata"]["name"] for o in chart if o["metadata"]["name"].startswith("openbourse-people-")}
    assert set(re.findall(r"`(openbourse-people-[a-z-]+)`", page)) == made


async def test_nobody_asks_for_a_halt_in_somebody_elses_name(place: Place) -> None:
    await place.halt(ANN)
    await place.halt(ANN, requester=None)
    with pytest.raises(Refused, match=f"spec.requester is {BOB}, and you are {ANN}: give your own name") as refused:
        await place.halt(ANN, requester=BOB)
    assert refused.value.status == 403
    with pytest.raises(Refused, match="says who asks for it"):
        await place.halt(ANN, requester=None, twoPerson=True)


async def test_a_halt_that_takes_two_is_lifted_by_the_second_person_alone(place: Place) -> None:
    name = await place.halt(ANN, twoPerson=True)
    with pytest.raises(
        Refused, match=f"this Halt takes two people: {ANN} asked for it, so another user has to lift it"
    ):
        await place.lift(ANN, name)
    assert await place.admin.get(Halt.resource, place.namespace, name) is not None
    await place.lift(BOB, name)
    assert await place.admin.get(Halt.resource, place.namespace, name) is None
    # One that takes one person is lifted by whoever may.
    await place.lift(ANN, await place.halt(ANN))


async def test_it_is_not_lifted_by_its_owner_nor_with_all_the_others(place: Place) -> None:
    spec = {"assets": [{"name": "BTC", "scale": 8}], "image": "x", "ledger": {"databaseSecret": "d"}}
    owner = await place.people[ANN].create(
        Exchange.resource,
        {"metadata": {"name": "demo", "namespace": place.namespace}, "spec": spec | {"gateway": {"keysSecret": "k"}}},
    )
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": "Exchange",
        "name": "demo",
        "uid": owner["metadata"]["uid"],
    }
    with pytest.raises(Refused, match="a Halt with twoPerson has no owner"):
        await place.halt(ANN, twoPerson=True, metadata={"ownerReferences": [reference]})
    name = await place.halt(ANN, twoPerson=True)
    identity = {"name": name, "namespace": place.namespace}
    with pytest.raises(Refused, match="a Halt with twoPerson has no owner"):
        await place.people[ANN].apply(
            Halt.resource, {"metadata": identity | {"ownerReferences": [reference]}}, "ann", force=True
        )
    # All at once is one by one for the policy; it takes a right that no role of the chart has.
    rule = {"apiGroups": [OURS], "resources": ["halts"], "verbs": ["deletecollection"]}
    role = {"metadata": {"name": "all", "namespace": place.namespace}}
    await place.admin.create(kinds.ROLE, role | {"rules": [rule]})
    group = "rbac.authorization.k8s.io"
    bound = {"roleRef": {"apiGroup": group, "kind": "Role", "name": "all"}}
    subjects = [{"kind": "User", "name": ANN, "apiGroup": group}]
    await place.admin.create(kinds.ROLE_BINDING, role | bound | {"subjects": subjects})
    await place.until_may(ANN, "deletecollection", OURS, "halts")
    with pytest.raises(Refused, match="takes two people"):
        await place.people[ANN].call("DELETE", Halt.resource.path(place.namespace))
    assert await place.admin.get(Halt.resource, place.namespace, name) is not None


async def test_who_breaks_the_glass_lifts_alone_and_is_warned_counted_and_recorded(place: Place) -> None:
    before = await breaks(place)
    name = await place.halt(EVE, twoPerson=True)
    await place.lift(EVE, name)
    assert await breaks(place) >= before + 2
    body = {
        "apiVersion": Halt.resource.api_version,
        "kind": "Halt",
        "metadata": {"name": f"halt-{secrets.token_hex(3)}"},
        "spec": {"exchange": "demo", "reason": "why", "duration": "1m"},
    }
    async with http(place, TOKENS_OF_PEOPLE[EVE]) as client:
        answer = await client.post(Halt.resource.path(place.namespace), json=body)
    assert answer.status_code == 201, answer.text
    assert f"the glass is broken by {EVE}" in answer.headers["Warning"]
    recorded = await eventually(lambda: calls(place, EVE, "create"))
    assert "validation.policy.admission.k8s.io/validation_failure" in recorded[-1]["annotations"]


async def test_the_audit_log_says_who_did_what_when_and_why(place: Place) -> None:
    name = await place.halt(ANN, reason="the feed is wrong")
    await place.lift(BOB, name)
    made = (await eventually(lambda: [c for c in calls(place, ANN, "create") if named(c) == name]))[0]
    lifted = (await eventually(lambda: [c for c in calls(place, BOB, "delete") if named(c) == name]))[0]
    for call, who in ((made, ANN), (lifted, BOB)):
        assert call["user"]["username"] == who
        assert call["objectRef"]["resource"] == "halts"
        assert call["requestReceivedTimestamp"]
    assert made["requestObject"]["spec"]["reason"] == "the feed is wrong"
    # What nobody is allowed to is recorded too.
    with pytest.raises(Refused):
        await place.halt(ANN, requester=BOB)
    assert await eventually(lambda: [c for c in calls(place, ANN, "create") if c["responseStatus"]["code"] == 403])


def calls(place: Place, user: str, verb: str) -> list[dict[str, Any]]:
    return [
        call
        for call in place.server.calls_of(user)
        if call["verb"] == verb and call["objectRef"].get("namespace") == place.namespace
    ]


def named(call: dict[str, Any]) -> str:
    return str(call["objectRef"].get("name") or call["requestObject"]["metadata"]["name"])


async def eventually(found: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if values := found():
            return values
        await asyncio.sleep(0.05)
    raise AssertionError("it was not recorded")


def http(place: Place, token: str) -> httpx.AsyncClient:
    """For what our own calls leave away: headers of answers, and metrics."""
    context = place.server.credentials().context
    assert context is not None
    return httpx.AsyncClient(
        base_url=place.server.url, verify=context, headers={"Authorization": f"Bearer {token}"}, timeout=10
    )


async def breaks(place: Place) -> float:
    """As the alert counts them."""
    async with http(place, ADMIN_TOKEN) as client:
        text = (await client.get("/metrics")).text
    lines = re.findall(r"^apiserver_validating_admission_policy_check_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    return sum(
        float(value) for labels, value in lines if 'policy="openbourse-break-glass"' in labels and _bites(labels)
    )


def _bites(labels: str) -> bool:
    return re.search(r'enforcement_action="(warn|audit)"', labels) is not None
