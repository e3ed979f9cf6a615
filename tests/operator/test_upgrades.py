"""Objects that were stored under earlier definitions stay good under today's, and a rollback loses nothing of them.

`crds_of_2026_11_28` are the definitions of that day, as they were released. They never change.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.apiservers import RunningApiServer, install_definitions
from openbourse.contracts.apiserver import ApiServer, Object, Resource
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Symbol
from openbourse.contracts.resources.definitions import MODELS

EARLIER = Path(__file__).parent / "crds_of_2026_11_28"
TODAY = Path(__file__).parents[2] / "crds"
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")

# Everything that could be said on that day, said.
STORED: dict[Resource, tuple[str, Object, Object]] = {
    Exchange.resource: (
        "demo",
        {
            "assets": [{"name": "BTC", "scale": 8}, {"name": "USDT", "scale": 6}],
            "image": "openbourse:dev",
            "ledger": {"databaseSecret": "database"},
            "gateway": {"keysSecret": "keys", "replicas": 3, "shard": "main", "service": {"type": "ClusterIP"}},
            "safety": {"settlementLag": {"throttleSeconds": 5, "cancelOnlySeconds": 10, "haltSeconds": 60}},
        },
        {"observedGeneration": 1},
    ),
    EngineShard.resource: (
        "main",
        {
            "exchange": "demo",
            "standbys": 2,
            "minInSync": 2,
            "storage": {"size": "2Gi", "storageClassName": "fast"},
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
        },
        {"record": "demo-engine-main", "epoch": 7},
    ),
    Symbol.resource: (
        "btcusdt",
        {
            **{"exchange": "demo", "shard": "main", "base": "BTC", "quote": "USDT", "tickSize": "0.01"},
            **{"lotSize": "0.0001", "takerFee": "0.0005", "feeCharge": "Quote", "maxNotional": "5000000"},
            **{"bidBand": {"lowest": "0.2", "highest": "5"}, "volatilityAuction": "2m", "dynamicBand": "0.1"},
        },
        {"shard": "main", "state": "TRADING"},
    ),
    Halt.resource: (
        "stop",
        {
            **{"exchange": "demo", "symbols": ["BTCUSDT"], "mode": "CANCEL_ONLY", "reason": "the feed is wrong"},
            **{"duration": "15m", "reopen": {"mode": "AUCTION", "seconds": 30}},
        },
        {
            "acknowledgements": [
                {"shard": "main", "epoch": 7, "seq": 12, "state": "Halted", "at": "2026-11-28T12:00:00Z"}
            ]
        },
    ),
}


def schema(folder: Path, resource: Resource) -> Object:
    definition = yaml.safe_load((folder / f"{resource.plural}.yaml").read_text())
    (version,) = [each for each in definition["spec"]["versions"] if each["name"] == resource.version]
    assert version["served"]
    assert version["storage"]
    found: Object = version["schema"]["openAPIV3Schema"]
    return found


def narrowed(earlier: Object, today: Object | None, path: str) -> Iterator[str]:
    """Where something that was taken under the earlier schema is not under today's, as far as a schema shows it."""
    if today is None:
        yield f"{path} is gone"
        return
    if earlier.get("type") != today.get("type"):
        yield f"{path} is {today.get('type')}, and was {earlier.get('type')}"
    if "enum" in today and not set(earlier.get("enum", ())) <= set(today["enum"]):
        yield f"{path} takes fewer values"
    for limit, sign in (("maximum", 1), ("maxLength", 1), ("maxItems", 1), ("minimum", -1), ("minLength", -1)):
        if limit in today and (limit not in earlier or sign * today[limit] < sign * earlier[limit]):
            yield f"{path}.{limit} is {today[limit]}, and was {earlier.get(limit, 'none')}"
    for required in set(today.get("required", ())) - set(earlier.get("required", ())):
        yield f"{path}.{required} is required now"
    for name, part in earlier.get("properties", {}).items():
        yield from narrowed(part, today.get("properties", {}).get(name), f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in earlier:
            yield from narrowed(earlier[inner], today.get(inner), f"{path}.{inner}")


@pytest.mark.parametrize("resource", STORED, ids=lambda resource: resource.plural)
def test_what_the_earlier_definitions_took_todays_take(resource: Resource) -> None:
    assert list(narrowed(schema(EARLIER, resource), schema(TODAY, resource), resource.kind)) == []


def test_a_definition_that_takes_less_is_found() -> None:
    earlier = schema(EARLIER, Symbol.resource)
    for path, change in (
        ("tickSize", {"maxLength": 3}),
        ("feeCharge", {"enum": ["Quote"]}),
        ("averageMinutes", {"type": "string"}),
    ):
        today = yaml.safe_load(yaml.safe_dump(earlier))
        today["properties"]["spec"]["properties"][path] |= change
        assert [each for each in narrowed(earlier, today, "Symbol") if path in each]
    del today["properties"]["spec"]["properties"]["lotSize"]
    today["properties"]["spec"]["required"].append("averageMinutes")
    found = list(narrowed(earlier, today, "Symbol"))
    assert "Symbol.spec.lotSize is gone" in found
    assert "Symbol.spec.averageMinutes is required now" in found


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api
    install_definitions(api_server, TODAY)


_count = itertools.count()


async def serves(api: ApiServer, namespace: str, resource: Resource, name: str, path: str, *, wanted: bool) -> Object:
    """Waits until the API server serves an object by the definitions that were applied."""
    for _ in range(200):
        found = await api.get(resource, namespace, name)
        assert found is not None
        if (path in found["spec"]) is wanted:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{resource.plural} with {path}: not {wanted} for 10 s")


@pytest.mark.server
async def test_stored_objects_live_through_an_upgrade_a_rollback_and_another_upgrade(
    api_server: RunningApiServer, api: ApiServer
) -> None:
    namespace = f"upgrades-{next(_count)}"
    await api.create(NAMESPACES, {"metadata": {"name": namespace}})
    install_definitions(api_server, EARLIER)
    await _until_pruned(api, namespace)
    before: dict[Resource, Object] = {}
    for resource, (name, spec, status) in STORED.items():
        metadata = {"name": name, "namespace": namespace}
        await api.create(resource, {"metadata": metadata, "spec": spec})
        before[resource] = await api.apply(resource, {"metadata": metadata, "status": status}, "earlier", "status")

    install_definitions(api_server, TODAY)
    await serves(api, namespace, EngineShard.resource, "main", "marketData", wanted=True)
    for model in [model for model in MODELS if model.resource in STORED]:
        name, spec, status = STORED[model.resource]
        stored = await api.get(model.resource, namespace, name)
        assert stored is not None
        assert holds(stored["spec"], spec) and holds(stored["status"], status)
        read = model.model_validate(stored).model_dump(mode="json", by_alias=True)
        assert holds(read["spec"], spec), "today's models read all of it"
        # It is written again as it is, with a label, and its status by today's operator.
        stored["metadata"]["labels"] = {"upgraded": "yes"}
        stored = await api.replace(model.resource, stored)
        assert holds(stored["spec"], spec) and holds(stored["status"], status)
        assert stored["metadata"]["uid"] == before[model.resource]["metadata"]["uid"]
    await api.apply(
        EngineShard.resource,
        {
            "metadata": {"name": "main", "namespace": namespace},
            "spec": {"exchange": "demo", "marketData": {"enabled": False}},
        },
        "person",
    )

    install_definitions(api_server, EARLIER)
    await serves(api, namespace, EngineShard.resource, "main", "marketData", wanted=False)
    for resource, (name, spec, status) in STORED.items():
        stored = await api.get(resource, namespace, name)
        assert stored is not None
        assert holds(stored["spec"], spec) and holds(stored["status"], status)

    install_definitions(api_server, TODAY)
    shard = await serves(api, namespace, EngineShard.resource, "main", "marketData", wanted=True)
    assert shard["spec"]["marketData"]["enabled"] is False, "nobody wrote it meanwhile, so nothing of it is lost"


async def _until_pruned(api: ApiServer, namespace: str) -> None:
    """The earlier definitions judge: a field of today is not kept."""
    metadata = {"name": "probe", "namespace": namespace}
    for _ in range(200):
        body: dict[str, Any] = {"metadata": metadata, "spec": {"exchange": "demo"}}
        made = await api.create(EngineShard.resource, body)
        await api.delete(EngineShard.resource, namespace, "probe")
        if "marketData" not in made["spec"]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the earlier definitions are not in force after 10 s")


def holds(stored: Any, given: Any) -> bool:
    """Whether all that was given is there, whatever was added."""
    if isinstance(given, dict):
        return isinstance(stored, dict) and all(holds(stored.get(key), value) for key, value in given.items())
    if isinstance(given, list):
        return isinstance(stored, list) and len(stored) == len(given) and all(map(holds, stored, given))
    return bool(stored == given)
