"""Who may touch a shard's leadership record, asked of a real API server with the chart's policy in force."""

import asyncio
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fixtures.apiservers import (
    ADMIN_TOKEN,
    OPERATOR_TOKEN,
    OPERATOR_USER,
    PERSON,
    TOKENS_OF_PEOPLE,
    RunningApiServer,
    cluster_binary,
    delete_policies,
)
from fixtures.bourses import Cluster, Done
from fixtures.engines import EngineFactory
from fixtures.members import RunningShard, make_shard_of_lease
from openbourse.contracts.apiserver import ApiServer, Object, Refused, Resource
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import EPOCH, IN_SYNC, LEASE, SHARD, unfounded
from openbourse.operator.manifests import kinds

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
EVE = "eve@example.com"
GROUP = "rbac.authorization.k8s.io"
BREAK_GLASS = "openbourse-people-break-glass"
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
RECORD, OTHER = "demo-engine-main", "demo-engine-hot"
FOUNDED = {SHARD: "main", EPOCH: "3", IN_SYNC: "a,b"}
BY_HAND = (
    "this Lease is the leadership record of shard main, which its engines alone change. One that was edited, or whose "
    "engines are gone, is replaced by `kubectl bourse recover main`, as a member of openbourse:break-glass"
)


@dataclass(slots=True)
class Place:
    """A namespace in which everybody has every right on Leases: what is refused, the policy refuses."""

    cluster: Cluster
    admin: ApiServer
    operator: ApiServer
    engine: ApiServer
    engine_token: str
    eve: ApiServer

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    async def record(self, name: str = RECORD, **annotations: str) -> Object:
        """One that somebody has led, made as only who breaks the glass may."""
        metadata = {"name": name, "namespace": self.namespace, "annotations": FOUNDED | annotations}
        spec = {"holderIdentity": "a/b", "leaseTransitions": 3}
        return await self.eve.create(LEASE, {"metadata": metadata, "spec": spec})

    def as_(self, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """kubectl, as a user whom the API server takes the administrator's word for."""
        command = [*self.cluster.server.command(), "-n", self.namespace, f"--as={user}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def policy(api_server: RunningApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the chart, for as long as this module runs: other tests are their own engines and operators."""
    namespace = OPERATOR_USER.split(":")[2]
    command = [str(cluster_binary("helm")), "template", "openbourse", str(ROOT / "charts/openbourse"), "-n", namespace]
    rendered = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    names = ("openbourse-records", BREAK_GLASS)
    objects = [one for one in yaml.safe_load_all(rendered) if one and one["metadata"]["name"] in names]
    assert len(objects) == 3, "a policy, its binding, a role"
    file = tmp_path_factory.mktemp("records") / "policy.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    api_server.kubectl_apply(file)
    yield
    delete_policies(api_server)


@pytest.fixture
async def place(policy: None, bourse_cluster: Cluster) -> AsyncIterator[Place]:
    server, namespace = bourse_cluster.server, bourse_cluster.namespace
    account = bourse_cluster.kubectl("create", "serviceaccount", RECORD, "-o", "name").strip()
    token = bourse_cluster.kubectl("create", "token", account.partition("/")[2]).strip()
    async with AsyncExitStack() as stack:

        async def as_(token: str) -> ApiServer:
            return await stack.enter_async_context(ApiServer.connect(server.credentials(token)))

        admin = await as_(ADMIN_TOKEN)
        rule = {"apiGroups": [LEASE.group], "resources": ["leases"], "verbs": ["*"]}
        await admin.create(kinds.ROLE, {"metadata": {"name": "leases", "namespace": namespace}, "rules": [rule]})
        role = {"apiGroup": GROUP, "kind": "ClusterRole", "name": BREAK_GLASS}
        breaks = {"roleRef": role, "subjects": [{"kind": "User", "name": EVE, "apiGroup": GROUP}]}
        await admin.create(kinds.ROLE_BINDING, {"metadata": {"name": "breaks", "namespace": namespace}} | breaks)
        subjects = [
            {"kind": "ServiceAccount", "name": RECORD, "namespace": namespace},
            *({"kind": "User", "name": user, "apiGroup": GROUP} for user in (OPERATOR_USER, PERSON, EVE)),
        ]
        role = {"apiGroup": GROUP, "kind": "Role", "name": "leases"}
        binding = {"metadata": {"name": "leases", "namespace": namespace}, "roleRef": role, "subjects": subjects}
        await admin.create(kinds.ROLE_BINDING, binding)
        made = Place(
            bourse_cluster, admin, await as_(OPERATOR_TOKEN), await as_(token), token, await as_(TOKENS_OF_PEOPLE[EVE])
        )
        await _in_force(made)
        yield made


async def _in_force(place: Place) -> None:
    """A policy, and a right, hold some time after they were made."""

    async def holds() -> bool:
        try:
            record = await place.record(f"probe-{secrets.token_hex(3)}")
        except Refused:
            return False
        try:
            await place.admin.replace(LEASE, with_annotations(record, EPOCH, "9"))
        except Refused:
            return True
        return False

    await until(holds)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 30
    while not await holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


def with_annotations(lease: Object, key: str, value: str) -> Object:
    return lease | {"metadata": lease["metadata"] | {"annotations": lease["metadata"]["annotations"] | {key: value}}}


@pytest.mark.parametrize(
    "edited",
    [
        lambda lease: with_annotations(lease, EPOCH, "4"),
        lambda lease: with_annotations(lease, IN_SYNC, "a"),
        lambda lease: with_annotations(lease, SHARD, "hot"),
        lambda lease: lease | {"metadata": lease["metadata"] | {"annotations": {}}},
        lambda lease: lease | {"spec": lease["spec"] | {"holderIdentity": "c/d"}},
        lambda lease: lease | {"spec": {}},
    ],
    ids=["its epoch", "its set", "its shard", "all that it says", "its leader", "all of its leader"],
)
async def test_nobody_edits_a_record_by_hand(place: Place, edited: Callable[[Object], Object]) -> None:
    record = await place.record()
    for who in (place.admin, place.operator):
        with pytest.raises(Refused) as refused:
            await who.replace(LEASE, edited(record))
        assert BY_HAND in str(refused.value)
        assert refused.value.status == 403


async def test_its_engines_change_it_and_no_other_shards(place: Place) -> None:
    written = await place.engine.replace(LEASE, with_annotations(await place.record(), EPOCH, "4"))
    assert written["metadata"]["annotations"][EPOCH] == "4"
    with pytest.raises(Refused, match="this Lease is the leadership record of shard hot"):
        await place.engine.replace(LEASE, with_annotations(await place.record(OTHER, **{SHARD: "hot"}), EPOCH, "4"))
    with pytest.raises(Refused, match="without which nobody takes over"):
        await place.engine.delete(LEASE, place.namespace, RECORD)


async def test_what_is_no_part_of_the_record_is_anybodys(place: Place) -> None:
    record = await place.record()
    labelled = record | {"metadata": record["metadata"] | {"labels": {"seen": "yes"}}}
    assert (await place.admin.replace(LEASE, labelled))["metadata"]["labels"] == {"seen": "yes"}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}
    metadata = {"name": RECORD, "namespace": place.namespace, "ownerReferences": [owner]}
    await place.operator.apply(LEASE, {"metadata": metadata}, "openbourse-operator")
    others = {"metadata": {"name": "of-somebody-else", "namespace": place.namespace}, "spec": {"holderIdentity": "me"}}
    made = await place.admin.create(LEASE, others)
    await place.admin.replace(LEASE, made | {"spec": {"holderIdentity": "you"}})
    await place.admin.delete(LEASE, place.namespace, "of-somebody-else")


async def test_the_operator_makes_one_that_nobody_has_led_and_nobody_else_does(place: Place) -> None:
    identity = {"namespace": place.namespace, "name": RECORD}
    new = unfounded("main")
    new |= {"metadata": new["metadata"] | identity}
    founded = {"metadata": identity | {"annotations": FOUNDED}, "spec": {"leaseTransitions": 3}}
    held: Object = new | {"spec": {"leaseTransitions": 0, "holderIdentity": "a/b"}}
    sentence = "the leadership record of shard main is made by the operator, once, before anybody has led"
    for who, lease in (
        *((person, new) for person in (place.admin, place.engine)),
        *((place.operator, wrong) for wrong in (founded, held)),
    ):
        with pytest.raises(Refused, match=sentence):
            await who.create(LEASE, lease)
    await place.operator.create(LEASE, new)


async def test_it_is_deleted_with_its_owners_and_not_by_hand(place: Place) -> None:
    await place.record()
    with pytest.raises(Refused, match="without which nobody takes over: it goes with its namespace"):
        await place.admin.delete(LEASE, place.namespace, RECORD)
    collector = "system:serviceaccount:kube-system:generic-garbage-collector"
    done = place.as_(collector, "delete", "lease", RECORD, "--wait=false")
    assert done.returncode == 0, done.stderr
    await place.record()
    done = place.as_("system:serviceaccount:kube-system:namespace-controller", "delete", "leases", "--all")
    assert done.returncode == 0, done.stderr
    assert await place.admin.get(LEASE, place.namespace, RECORD) is None


async def test_who_breaks_the_glass_does_as_they_must(place: Place) -> None:
    written = await place.eve.replace(LEASE, with_annotations(await place.record(), EPOCH, "9"))
    assert written["metadata"]["annotations"][EPOCH] == "9"
    await place.eve.delete(LEASE, place.namespace, RECORD)


async def test_a_lost_record_is_recovered_by_who_breaks_the_glass_and_else_no_volume_is_sealed(
    place: Place, engine_factory: EngineFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engines have the account of their shard: with the policy in force they found, take over and lead again."""
    monkeypatch.setenv("KUBECONFIG", str(place.cluster.server.kubeconfig(place.engine_token)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    new = unfounded("main")
    await place.operator.create(
        LEASE, new | {"metadata": new["metadata"] | {"namespace": place.namespace, "name": RECORD}}
    )
    shard = make_shard_of_lease(engine_factory, f"{place.namespace}/{RECORD}", 2)
    await asyncio.to_thread(shard.start)
    leader = await asyncio.to_thread(shard.wait_for_leader, in_sync=2)
    leader.kill()
    await asyncio.to_thread(shard.wait_for_leader, but=leader)
    await place.eve.delete(LEASE, place.namespace, RECORD)
    for member in shard.members:
        if member is not leader:
            member.kill()
        await asyncio.to_thread(member.launch, member.command())

    async def all_answer() -> bool:
        """They are up, and not ready: none leads without a record."""
        return len(await asyncio.to_thread(shard.statuses)) == len(shard.members)

    await until(all_answer)
    refused = await asyncio.to_thread(recover, place, shard, ADMIN_TOKEN, tmp_path)
    assert refused.returncode == 2
    assert "the leadership record of shard main is made by the operator" in refused.stderr
    assert not (tmp_path / "audit.jsonl").exists(), "nothing was begun"
    done = await asyncio.to_thread(recover, place, shard, TOKENS_OF_PEOPLE[EVE], tmp_path)
    assert done.returncode == 0, done.stderr
    await asyncio.to_thread(shard.wait_for_leader)


def recover(place: Place, shard: RunningShard, token: str, folder: Path) -> Done:
    links = [
        f"--link={RECORD}-{ordinal}={argument.removeprefix('--place=')}"
        for ordinal, member in enumerate(shard.members)
        for argument in member.arguments
        if argument.startswith("--place=")
    ]
    why = ("--reason", "the Lease was deleted, ticket 4711", "--yes")
    tls = shard.members[0].tls_material[Component.CLI]
    audit = folder / "audit.jsonl"
    return place.cluster.bourse("recover", "main", *links, f"--tls={tls}", f"--audit={audit}", *why, token=token)
