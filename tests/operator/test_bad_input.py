"""What makes no sense is refused by the API server with a sentence, or told in a condition: never silence."""

import base64
import json
import subprocess
from typing import Any

import aiohttp
import pytest

from fixtures.bourses import Cluster
from fixtures.websocket_apis import ed25519, public_pem
from openbourse.contracts.api_keys import names_in
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.resources import ApiKey, EngineShard
from openbourse.operator.manifests import kinds
from openbourse.operator.reconcile import converge

pytestmark = pytest.mark.server


def _document(kind: str, name: str, **spec: Any) -> str:
    head = {"apiVersion": "openbourse.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}
    return json.dumps(head | {"spec": spec})


XRP = {"base": "XRP", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.1"}
STOP = {"exchange": "demo", "reason": "why"}


def _refused(cluster: Cluster, document: str) -> str:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        cluster.kubectl("create", "--validate=strict", "-f", "-", input_=document)
    return str(raised.value.stderr)


def test_what_the_api_server_can_see_it_refuses_with_a_sentence(bourse_cluster: Cluster) -> None:
    cases = {
        _document("Symbol", "xrpusdt", exchange="demo", **XRP, tikSize="1"): 'unknown field "spec.tikSize"',
        _document("Symbol", "btcusdt", exchange="other", **(XRP | {"base": "BTC"})): "already exists",
        _document("Symbol", "xrp", exchange="demo", **XRP): "the name of a Symbol is its base and quote in lower case",
        _document("Halt", "stop", **STOP): "untilLifted",
        _document("EngineShard", "second", exchange="demo", minInSync=3, standbys=1): "minInSync may be at most",
        _document("EngineShard", "second", exchange="demo", storage={"size": "big"}): "must be a size such as 10Gi",
    }
    for document, sentence in cases.items():
        assert sentence in _refused(bourse_cluster, document), document
    for spec, sentence in (
        ({"tickSize": "0.5"}, "tickSize never changes once a symbol is listed"),
        ({"exchange": "other"}, "exchange never changes once a symbol is listed"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as raised:
            patch = json.dumps({"spec": spec})
            bourse_cluster.kubectl("patch", "symbol", "btcusdt", "--type=merge", "-p", patch)
        assert sentence in raised.value.stderr


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            {
                "containerStatuses": [
                    {
                        "name": "engine",
                        "image": "x",
                        "imageID": "",
                        "ready": False,
                        "restartCount": 0,
                        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image x"}},
                    }
                ]
            },
            "demo-engine-main-0 ImagePullBackOff: no such image x",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": 'persistentvolumeclaim "wal" has a storage class that is not found',
                    }
                ]
            },
            'demo-engine-main-0 Unschedulable: persistentvolumeclaim "wal" has a storage class that is not found',
        ),
    ],
)
async def test_a_pod_that_does_not_start_is_named_with_its_reason(
    bourse_cluster: Cluster, status: Object, sentence: str
) -> None:
    cluster = bourse_cluster
    async with ApiServer.connect(cluster.server.credentials()) as api, aiohttp.ClientSession() as session:
        await converge(api, session, cluster.namespace, "demo")
        made = await api.get(kinds.STATEFUL_SET, cluster.namespace, "demo-engine-main")
        assert made is not None
        labels = made["spec"]["template"]["metadata"]["labels"]
        metadata = {"name": "demo-engine-main-0", "namespace": cluster.namespace, "labels": labels}
        spec = {"containers": [{"name": "engine", "image": "x"}]}
        await api.create(kinds.POD, {"metadata": metadata, "spec": spec})
        await api.apply(kinds.POD, {"metadata": metadata, "status": status}, "kubelet", "status")
        await converge(api, session, cluster.namespace, "demo")
        shard = await api.get(EngineShard.resource, cluster.namespace, "main")
        assert shard is not None
        conditions = {entry["type"]: entry for entry in shard["status"]["conditions"]}
        assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", "EngineNotReady")
        assert sentence in conditions["Ready"]["message"]


async def test_a_key_whose_name_is_taken_says_so_and_gateways_are_told_of_the_others(bourse_cluster: Cluster) -> None:
    cluster = bourse_cluster
    keys = json.dumps({"keys": [{"api_key": "s" * 20, "secret": "x" * 20, "account": 1001, "created": "2026-11-29"}]})
    cluster.kubectl("create", "secret", "generic", "demo-keys", f"--from-literal=keys.json={keys}")
    for name, called in (("a", "a" * 20), ("b", "a" * 20), ("c", "s" * 20)):
        spec = {"exchange": "demo", "account": 1001, "publicKey": public_pem(ed25519()), "apiKey": called}
        cluster.kubectl("create", "-f", "-", input_=_document("ApiKey", name, **spec))
    async with ApiServer.connect(cluster.server.credentials()) as api, aiohttp.ClientSession() as session:
        await converge(api, session, cluster.namespace, "demo")
        items, _ = await api.list(ApiKey.resource, cluster.namespace)
        told = await api.get(kinds.SECRET, cluster.namespace, "demo-gateway-api-keys")
    found = {item["metadata"]["name"]: item["status"] for item in items}
    assert {name: status["apiKey"][0] for name, status in found.items()} == {"a": "a", "b": "a", "c": "s"}
    ready = {name: status["conditions"][0] for name, status in found.items()}
    assert {name: (each["status"], each["reason"]) for name, each in ready.items()} == {
        **{"a": ("False", "NoGateway"), "b": ("False", "NameTaken"), "c": ("False", "NameTaken")}
    }
    assert "ApiKey a is older" in ready["b"]["message"] and "Secret demo-keys has a key" in ready["c"]["message"]
    assert told is not None and names_in(base64.b64decode(told["data"]["keys.json"])) == {"a" * 20}
    shown = cluster.kubectl("get", "apikeys")
    assert "NameTaken" in shown and '["TRADE","USER_DATA","USER_STREAM"]' in shown and "x" * 20 not in shown


async def test_one_engine_is_allowed_and_warned_of(bourse_cluster: Cluster) -> None:
    cluster = bourse_cluster
    cluster.kubectl("create", "-f", "-", input_=_document("EngineShard", "alone", exchange="demo", standbys=0))
    async with ApiServer.connect(cluster.server.credentials()) as api, aiohttp.ClientSession() as session:
        await converge(api, session, cluster.namespace, "demo")
        shard = await api.get(EngineShard.resource, cluster.namespace, "alone")
        assert shard is not None
    (found,) = [entry for entry in shard["status"]["conditions"] if entry["type"] == "Redundant"]
    assert (found["status"], found["reason"]) == ("False", "OneEngine")
    assert "spec.standbys: 1 adds another" in found["message"]
