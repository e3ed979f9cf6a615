"""The operator's rounds against a real API server: what they make is taken, stays as it is, and is mended."""

import asyncio
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fixtures.apiservers import RunningApiServer
from fixtures.operator_processes import install_rights
from fixtures.stored_worlds import World, make_world, running, shape
from openbourse.contracts.apiserver import ApiServer, Credentials, Object, Resource, Unavailable
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Symbol
from openbourse.operator import reconcile, watches
from openbourse.operator.errors import WatchIsDead
from openbourse.operator.health import Health
from openbourse.operator.manifests import kinds, ledger, sealer
from openbourse.operator.metrics import Metrics
from openbourse.operator.reconcile import converge


@pytest.fixture
async def world(api: ApiServer, http: aiohttp.ClientSession) -> World:
    return await make_world(api, http)


def condition(owner: Any, name: str) -> tuple[str, str, str]:
    (found,) = [entry for entry in owner.status.conditions if entry.type == name]
    return found.status, found.reason, found.message


@pytest.mark.server
@pytest.mark.parametrize("standbys", [0, 1])
async def test_what_is_made_is_taken_and_a_second_time_changes_nothing(
    api: ApiServer, http: aiohttp.ClientSession, standbys: int
) -> None:
    world = await make_world(api, http, standbys=standbys)
    observed = await running(world)
    assert observed.exchange is not None
    assert condition(observed.exchange, "Ready")[:2] == ("True", "Serving")
    assert observed.exchange.status.observed_generation == 1
    before = await world.children()
    assert {kind for kind, _ in before} == {resource.kind for resource in (*kinds.LISTED, kinds.SECRET)} - {
        "Pod",
        "PersistentVolumeClaim",
    }
    versions = {key: child["metadata"]["resourceVersion"] for key, child in before.items()}
    exchange = observed.exchange.metadata.resource_version
    # Without a memory of its own: another process would find the same.
    again = await world.converge()
    after = {key: child["metadata"]["resourceVersion"] for key, child in (await world.children()).items()}
    assert after == versions
    assert again.exchange is not None
    assert again.exchange.metadata.resource_version == exchange


@pytest.mark.server
async def test_to_apply_it_all_again_is_no_change_for_the_api_server(world: World) -> None:
    await running(world)
    for (kind, name), child in (await world.children()).items():
        resource = next(r for r in (*kinds.LISTED, kinds.SECRET) if r.kind == kind)
        owned = [e for e in child["metadata"]["managedFields"] if e["manager"] == "openbourse-operator"]
        assert [entry["operation"] for entry in owned] == ["Apply"], (kind, name, resource)


@pytest.mark.server
@pytest.mark.parametrize(
    ("resource", "name", "edit"),
    [
        (kinds.STATEFUL_SET, "demo-engine-main", lambda live: live["spec"].update(replicas=3)),
        (kinds.DEPLOYMENT, "demo-gateway", lambda live: live["spec"].update(replicas=0)),
        (kinds.SERVICE, "demo-engine-main", lambda live: live["spec"]["ports"].pop()),
        (kinds.ROLE, "demo-engine-main", lambda live: live.update(rules=[])),
        (kinds.CONFIG_MAP, "demo-engine-main-listings", lambda live: live.update(data={})),
        (kinds.SECRET, "demo-gateway-api-keys", lambda live: live.update(data={"keys.json": "e30="})),
        (kinds.NETWORK_POLICY, "demo-engine-main", lambda live: live["spec"].update(ingress=[{}])),
        (kinds.DISRUPTION_BUDGET, "demo-engine-main", lambda live: live["spec"].update(maxUnavailable=2)),
    ],
)
async def test_what_somebody_changed_is_put_right(
    world: World, resource: Resource, name: str, edit: Callable[[Object], object]
) -> None:
    await running(world)
    live = await world.api.get(resource, world.namespace, name)
    assert live is not None
    wanted = copy.deepcopy({key: live.get(key) for key in ("spec", "rules", "data")})
    edit(live)
    await world.api.replace(resource, live)
    await world.converge()
    mended = await world.api.get(resource, world.namespace, name)
    assert mended is not None
    assert {key: mended.get(key) for key in ("spec", "rules", "data")} == wanted


@pytest.mark.server
async def test_what_somebody_deleted_is_made_again_with_the_same_names(world: World) -> None:
    await running(world)
    before = await world.children()
    for kind, name in before:
        resource = next(r for r in (*kinds.LISTED, kinds.SECRET) if r.kind == kind)
        await world.api.delete(resource, world.namespace, name)
    # No garbage collector runs here: what waits for its dependents is gone at once.
    await running(world)
    assert (await world.children()).keys() == before.keys()


@pytest.mark.server
async def test_a_shard_that_gets_standbys_leaves_its_pods_to_the_plan(
    api: ApiServer, http: aiohttp.ClientSession
) -> None:
    """The API server takes no `rollingUpdate` beside OnDelete, and it has filled one in."""
    world = await make_world(api, http, standbys=0)
    await running(world)

    async def strategy() -> Object:
        live = await api.get(kinds.STATEFUL_SET, world.namespace, "demo-engine-main")
        assert live is not None
        found: Object = live["spec"]["updateStrategy"]
        return found

    assert (await strategy())["rollingUpdate"]["partition"] == 0
    shard = await api.get(EngineShard.resource, world.namespace, "main")
    assert shard is not None
    shard["spec"]["standbys"] = 1
    await api.replace(EngineShard.resource, shard)
    observed = await running(world)
    assert observed.refusals == ()
    assert await strategy() == {"type": "OnDelete"}


@pytest.mark.server
async def test_an_autoscaler_changes_the_number_of_gateways_and_nobody_fights_it(world: World) -> None:
    await running(world)
    path = Exchange.resource.path(world.namespace, "demo", "scale")
    scale = await world.api.call("GET", path)
    assert scale["status"]["selector"] == "openbourse.dev/exchange=demo,app.kubernetes.io/component=gateway"
    await world.api.call("PUT", path, body=scale | {"spec": {"replicas": 3}})
    for _ in range(2):
        await world.converge()
        gateways = await world.api.get(kinds.DEPLOYMENT, world.namespace, "demo-gateway")
        assert gateways is not None
        assert gateways["spec"]["replicas"] == 3
        assert (await world.api.call("GET", path))["spec"]["replicas"] == 3


@pytest.mark.server
async def test_a_record_is_made_once_and_noted_and_never_made_again(world: World) -> None:
    observed = await running(world)
    (shard,) = observed.shards
    assert shard.status.record == "demo-engine-main"
    stateful_set = await world.api.get(kinds.STATEFUL_SET, world.namespace, "demo-engine-main")
    assert stateful_set is not None
    assert stateful_set["spec"]["replicas"] == 2
    await world.api.delete(LEASE, world.namespace, "demo-engine-main")
    observed = await running(world)
    assert await world.api.get(LEASE, world.namespace, "demo-engine-main") is None
    status, reason, message = condition(observed.shards[0], "InSync")
    assert (status, reason) == ("False", "RecordLost")
    assert "is gone" in message
    assert observed.shards[0].status.record == "demo-engine-main"


@pytest.mark.server
async def test_a_record_outlives_its_shard_and_is_found_again(world: World) -> None:
    await running(world)
    before = await world.api.get(LEASE, world.namespace, "demo-engine-main")
    assert before is not None
    assert "ownerReferences" not in before["metadata"]
    await world.api.delete(EngineShard.resource, world.namespace, "main")
    metadata = {"name": "main", "namespace": world.namespace}
    await world.api.create(EngineShard.resource, {"metadata": metadata, "spec": {"exchange": "demo"}})
    observed = await running(world)
    assert observed.shards[0].status.record == "demo-engine-main"
    after = await world.api.get(LEASE, world.namespace, "demo-engine-main")
    assert after == before


@pytest.mark.server
async def test_a_symbol_that_does_not_fit_says_why_and_the_others_are_listed(world: World) -> None:
    metadata = {"name": "ethusdt", "namespace": world.namespace}
    spec = {"exchange": "demo", "base": "ETH", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.0001"}
    await world.api.create(Symbol.resource, {"metadata": metadata, "spec": spec})
    observed = await running(world)
    btc, eth = observed.symbols
    assert condition(btc, "Listed")[:2] == ("True", "Listed")
    assert (btc.status.shard, btc.status.state) == ("main", "TRADING")
    said = condition(eth, "Listed")
    assert said[:2] == ("False", "DoesNotFit")
    assert "asset ETH is not listed (listed: BTC, USDT)" in said[2]


@pytest.mark.server
async def test_a_halt_is_summed_up_and_shown_on_its_symbols(world: World) -> None:
    await running(world)
    metadata = {"name": "stop", "namespace": world.namespace}
    spec = {"exchange": "demo", "reason": "price feed is wrong", "duration": "15m"}
    await world.api.create(Halt.resource, {"metadata": metadata, "spec": spec})
    await world.converge()
    (halt,) = (await world.converge()).halts
    assert condition(halt, "Acknowledged") == ("False", "Waiting", "no answer yet from main")
    entry = {"shard": "main", "epoch": 1, "seq": 12, "state": "Halted", "at": "2026-01-01T00:00:00Z"}
    status = {"acknowledgements": [entry]}
    await world.api.apply(Halt.resource, {"metadata": metadata, "status": status}, "openbourse-engine-main", "status")
    await world.converge()
    observed = await world.converge()
    (halt,) = observed.halts
    assert condition(halt, "Acknowledged") == ("True", "Halted", "by main")
    assert condition(halt, "Expired")[0] == "False"
    assert halt.status.by("main") is not None, "the operator leaves the engines' entries alone"
    (symbol,) = observed.symbols
    assert symbol.status.state == "HALT"
    assert "HALT by Halt/stop: price feed is wrong" in condition(symbol, "Listed")[2]


@pytest.mark.server
async def test_what_is_missing_is_named_with_what_to_do(world: World) -> None:
    await world.api.delete(kinds.SECRET, world.namespace, "database")
    await world.converge()
    observed = await world.converge()
    assert observed.exchange is not None
    message = "Secret database with dsn and owner-dsn is needed"
    assert condition(observed.exchange, "Ready") == ("False", "SecretMissing", message)
    assert condition(observed.exchange, "Stalled") == ("True", "SecretMissing", message)
    assert ("StatefulSet", "demo-engine-main") in await world.children()
    orphan = await converge(world.api, world.http, world.namespace, "nobody")
    assert orphan.exchange is None


@pytest.mark.server
async def test_what_the_api_server_refuses_is_a_condition_with_its_sentence(world: World) -> None:
    found = await world.api.get(Exchange.resource, world.namespace, "demo")
    assert found is not None
    found["spec"]["gateway"]["service"] = {"type": "NodePort", "nodePort": 80}
    await world.api.replace(Exchange.resource, found)
    await world.converge()
    observed = await world.converge()
    assert observed.exchange is not None
    status, reason, message = condition(observed.exchange, "Stalled")
    assert (status, reason) == ("True", "Refused")
    assert "provided port is not in the valid range" in message
    assert "change what is named where it is said" in message
    again = await running(world)
    assert again.exchange is not None
    assert condition(again.exchange, "Ready")[:2] == ("True", "Serving")
    assert condition(again.exchange, "Stalled")[:2] == ("True", "Refused")
    children = (await world.children()).keys()
    assert {("StatefulSet", "demo-engine-main"), ("Deployment", "demo-ledger-main")} <= children
    assert ("Deployment", "demo-gateway") in children
    assert ("Service", "demo-gateway") not in children


class Killed(Exception):
    """The operator's process ends here."""


class MortalApiServer(ApiServer):
    """A real connection whose owner is killed at a chosen write: before it is sent, or after it was carried out."""

    writes_left = 1_000_000
    dies_after = False
    writes = 0

    async def call(self, method: str, path: str, *args: Any, **kwargs: Any) -> Object:
        if method == "GET":
            return await super().call(method, path, *args, **kwargs)
        self.writes += 1
        self.writes_left -= 1
        if self.writes_left < 0 and not self.dies_after:
            raise Killed
        result = await super().call(method, path, *args, **kwargs)
        if self.writes_left < 0:
            raise Killed
        return result


@pytest.mark.server
@pytest.mark.timeout(300)
async def test_killed_at_any_write_and_restarted_it_comes_to_the_same_exchange(
    api_server: RunningApiServer, api: ApiServer, http: aiohttp.ClientSession
) -> None:
    credentials = api_server.credentials()
    whole = await make_world(api, http)
    async with MortalApiServer.connect(credentials) as counting:
        await running(World(counting, http, whole.namespace))
        writes = counting.writes
    expected = shape(await whole.children())
    assert writes > 20
    for dies_after in (False, True):
        # One world is killed at its first write, at the second after the restart, and so on: every write once.
        world = await make_world(api, http)
        deaths = 0
        for _ in range(3 * writes):
            if await _lives(credentials, http, world, dies_after=dies_after):
                break
            deaths += 1
            await world.controllers_run()
        await running(world)
        assert deaths > 20
        assert shape(await world.children()) == expected


async def _lives(credentials: Credentials, http: aiohttp.ClientSession, world: World, *, dies_after: bool) -> bool:
    """One life of an operator that dies at its second write, or its first when that was carried out."""
    async with MortalApiServer.connect(credentials) as mortal:
        mortal.dies_after = dies_after
        mortal.writes_left = 0 if dies_after else 1
        lives = True
        try:
            await converge(mortal, http, world.namespace, "demo")
        except* Killed:
            lives = False
        return lives


@pytest.mark.server
async def test_two_operators_that_work_at_once_make_the_same_exchange(world: World) -> None:
    """As for a moment, when a leader that was frozen comes back."""
    for _ in range(5):
        await asyncio.gather(world.converge(), world.converge())
        await world.controllers_run()
    await running(world)
    alone = await make_world(world.api, world.http)
    await running(alone)
    assert shape(await world.children()) == shape(await alone.children())
    versions = {key: child["metadata"]["resourceVersion"] for key, child in (await world.children()).items()}
    await asyncio.gather(world.converge(), world.converge())
    after = {key: child["metadata"]["resourceVersion"] for key, child in (await world.children()).items()}
    assert after == versions, "neither takes back what the other made"


@pytest.mark.server
async def test_every_pod_is_one_that_the_restricted_standard_takes(
    api_server: RunningApiServer, world: World, tmp_path: Path
) -> None:
    """Those of an exchange that has everything, and the operator's own."""
    more = {"seal": {"origin": "demo.example", "pinSecret": "pin"}, "databaseSecret": "database"}
    exchange = {
        "metadata": {"name": "demo", "namespace": world.namespace},
        "spec": {
            "ledger": more,
            "gateway": {"keysSecret": "keys", "redisSecret": "redis", "limitsConfigMap": "limits"},
            "telemetry": {"traces": {"endpoint": "http://collector.observability:4318"}},
        },
    }
    for name, data in (
        ("pin", {sealer.PIN_KEY: "1"}),
        ("redis", {"url": "rediss://redis", "ca.crt": "x"}),
        ("database", {"dsn": "x", "owner-dsn": "x", ledger.SEALER_KEY: "x"}),
    ):
        metadata = {"name": name, "namespace": world.namespace}
        await world.api.apply(kinds.SECRET, {"metadata": metadata, "stringData": data}, "ann")
    await world.api.apply(Exchange.resource, exchange, "ann")
    await running(world)
    templates = {
        name: child["spec"]["template"]["spec"]
        | {"claims": [claim["metadata"]["name"] for claim in child["spec"].get("volumeClaimTemplates", ())]}
        for (kind, name), child in (await world.children()).items()
        if kind in ("StatefulSet", "Deployment", "Job")
    }
    chart = await install_rights(api_server, world.api, tmp_path)
    templates |= {o["metadata"]["name"]: o["spec"]["template"]["spec"] for o in chart if o["kind"] == "Deployment"}
    for name, template in templates.items():
        spec = dict(template)
        claims = [{"name": claim, "emptyDir": {}} for claim in spec.pop("claims", ())]
        spec["volumes"] = [*spec["volumes"], *claims]
        # The namespace enforces the standard: the API server is the judge.
        await world.api.create(kinds.POD, {"metadata": {"name": name, "namespace": world.namespace}, "spec": spec})
    migrations = {name for name in templates if name.startswith("demo-ledger-migration-")}
    assert migrations
    assert templates.keys() - migrations == {
        *("demo-engine-main", "demo-ledger-main", "demo-marketdata-main", "demo-gateway", "demo-sealer"),
        "openbourse-operator",
    }


@pytest.mark.server
async def test_a_watch_that_says_nothing_ends_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Time enough to make an exchange on a machine that does more.
    monkeypatch.setattr(watches, "UNTOLD_MAX_S", 10.0)
    monkeypatch.setattr(reconcile, "PERIOD_S", 0.1)
    monkeypatch.setattr(reconcile, "DISCOVER_S", 0.1)
    health = Health("test")
    reconciler = reconcile.Reconciler(world.api, (world.namespace,), health, Metrics(health))
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.timeout(40):
            await reconciler.run()
    assert group.group_contains(WatchIsDead, match="no event of exchanges demo")
    assert ("StatefulSet", "demo-engine-main") in await world.children(), "a dead watch is found by the list"


@pytest.mark.server
async def test_an_api_server_that_is_away_is_said_so(api_server: RunningApiServer, world: World) -> None:
    credentials = api_server.credentials()
    credentials.url = "https://127.0.0.1:1"
    async with ApiServer.connect(credentials) as nowhere:
        with pytest.raises(Unavailable):
            await converge(nowhere, world.http, world.namespace, "demo")
