"""Volumes grow one by one and never shrink; they go with their exchange where it says so, and only then."""

import copy
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from fixtures.bourses import Cluster
from fixtures.operator_checks import settled_safely
from fixtures.operator_worlds import an_empty_world, an_exchange
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import EngineShard
from openbourse.operator import volumes
from openbourse.operator.manifests import kinds
from openbourse.operator.observed import Observed, Refusal, Subject
from openbourse.operator.plan import plan
from openbourse.operator.reconcile import converge

WAL = ("PersistentVolumeClaim", "wal-demo-engine-main-0")
REFUSAL = Refusal(
    "volumes",
    Subject("Apply", *WAL),
    403,
    "volume claim wal-demo-engine-main-0: it grows: only dynamically provisioned pvc can be resized",
)


@pytest.fixture
def world() -> Observed:
    return settled_safely(an_empty_world())


def with_size(world: Observed, size: str) -> Observed:
    grown = [
        shard.model_copy(
            update={
                "spec": shard.spec.model_copy(update={"storage": shard.spec.storage.model_copy(update={"size": size})})
            }
        )
        for shard in world.shards
    ]
    return replace(world, shards=tuple(grown))


def with_policy(world: Observed, policy: str) -> Observed:
    return replace(world, exchange=an_exchange(deletionPolicy=policy))


def with_claim(world: Observed, **status: Any) -> Observed:
    claim = copy.deepcopy(world.children[WAL]) | {"status": status | {"phase": "Bound"}}
    return replace(world, children={**world.children, WAL: claim})


def size_of(world: Observed, name: str = WAL[1]) -> str:
    return str(world.children["PersistentVolumeClaim", name]["spec"]["resources"]["requests"]["storage"])


def owners_of(world: Observed) -> set[str]:
    claims = [world.children[key] for key in world.children if key[0] == "PersistentVolumeClaim"]
    assert claims
    return {owner["uid"] for claim in claims for owner in claim["metadata"].get("ownerReferences", ())}


def test_a_raised_size_grows_every_log_and_leaves_the_template_as_it_was(world: Observed) -> None:
    grown = settled_safely(with_size(world, "2Gi"))
    assert {size_of(grown, f"wal-demo-engine-main-{ordinal}") for ordinal in (0, 1)} == {"2Gi"}
    assert size_of(grown, "history-demo-marketdata-main-0") == "1Gi"
    (template,) = grown.children["StatefulSet", "demo-engine-main"]["spec"]["volumeClaimTemplates"]
    assert template["spec"]["resources"]["requests"]["storage"] == "1Gi"


def test_a_claim_that_somebody_made_larger_is_left_alone(world: Observed) -> None:
    larger = copy.deepcopy(world.children[WAL])
    larger["spec"]["resources"]["requests"]["storage"] = "5Gi"
    world = replace(world, children={**world.children, WAL: larger})
    assert plan(world).actions == ()
    assert size_of(settled_safely(with_size(world, "2Gi"))) == "5Gi"


def test_volumes_and_records_stay_unless_the_exchange_says_otherwise_and_then_again(world: Observed) -> None:
    assert owners_of(world) == set()
    goes = settled_safely(with_policy(world, "Delete"))
    assert owners_of(goes) == {"exchange-uid"}
    assert goes.owners_of_records == {"main": frozenset({"exchange-uid"})}
    stays = settled_safely(with_policy(goes, "Retain"))
    assert stays.owners_of_records == {"main": frozenset()}
    assert all("demo" not in str(change) for change in volumes.changes(stays, an_exchange()))


@pytest.mark.parametrize(
    ("status", "refusals", "expected"),
    [
        ({"capacity": {"storage": "2Gi"}}, (), (True, "AsWanted")),
        ({"capacity": {"storage": "1Gi"}}, (), (False, "Growing")),
        ({}, (REFUSAL,), (False, "Refused")),
    ],
)
def test_the_shard_says_how_far_it_is(
    world: Observed, status: Object, refusals: tuple[Refusal, ...], expected: tuple[bool, str]
) -> None:
    wanted = with_size(world, "2Gi")
    asked = replace(wanted, refusals=refusals) if refusals else with_claim(settled_safely(wanted), **status)
    assert asked.exchange is not None
    fact = volumes.grown(asked, asked.exchange, asked.shards[0])
    assert (fact.holds, fact.reason) == expected
    if refusals:
        assert "allowVolumeExpansion: true" in fact.message


@pytest.mark.server
async def test_a_class_that_cannot_grow_says_so_and_nothing_else_waits_for_it(bourse_cluster: Cluster) -> None:
    cluster, labels = bourse_cluster, {"openbourse.dev/exchange": "demo", "openbourse.dev/shard": "main"}
    async with ApiServer.connect(cluster.server.credentials()) as api, aiohttp.ClientSession() as session:

        async def patched(kind: str, name: str, spec: Object) -> list[list[str]]:
            """The claim and the record, after it was said and carried out."""
            cluster.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))
            await converge(api, session, cluster.namespace, "demo")
            found = [
                await api.get(kinds.VOLUME_CLAIM, cluster.namespace, WAL[1]),
                await api.get(LEASE, cluster.namespace, "demo-engine-main"),
            ]
            references = [item["metadata"].get("ownerReferences", []) for item in found if item is not None]
            return [[owner["kind"] for owner in owners] for owners in references]

        await converge(api, session, cluster.namespace, "demo")
        metadata = {"name": WAL[1], "namespace": cluster.namespace, "labels": labels}
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "pv"}
        await api.create(kinds.VOLUME_CLAIM, {"metadata": metadata, "spec": claim})
        bound = {"metadata": metadata, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        await api.apply(kinds.VOLUME_CLAIM, bound, "controllers", "status")
        assert await patched("exchange", "demo", {"deletionPolicy": "Delete"}) == [["Exchange"], ["Exchange"]]
        assert await patched("exchange", "demo", {"deletionPolicy": "Retain"}) == [[], []]
        await patched("engineshard", "main", {"storage": {"size": "2Gi"}})
        shard = await api.get(EngineShard.resource, cluster.namespace, "main")
        assert shard is not None
        (grown,) = [entry for entry in shard["status"]["conditions"] if entry["type"] == "VolumesGrown"]
        assert (grown["status"], grown["reason"]) == ("False", "Refused"), grown
        assert "only dynamically provisioned pvc can be resized" in grown["message"]
