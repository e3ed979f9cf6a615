"""What runs rehearsals, against a real API server: what it holds, whom it lets go first, what a dead one leaves."""

import asyncio
import base64
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from fixtures.apiservers import RunningApiServer
from fixtures.rehearsal_facts import good, report
from fixtures.tokens import PIN, SoftHsm
from openbourse.contracts.apiserver import ApiServer, Object, Refused, Resource
from openbourse.contracts.resources import EngineShard, Exchange, Phase, Rehearsal, RehearsalSchedule, Symbol, Verdict
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals import keeping
from openbourse.operator.rehearsals.keeping import Keeper
from openbourse.operator.rehearsals.report import NOTHING_BEFORE, Report, Sealed, chain_problems, check
from openbourse.operator.rehearsals.seals import store
from openbourse.operator.rehearsals.signing import Signing
from openbourse.operator.rehearsals.striking import House

pytestmark = pytest.mark.server

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SPEC: dict[str, Any] = {
    "exchange": "demo",
    "scenario": "EngineCrash",
    "load": {"keysSecret": "keys", "symbol": "BTCUSDT"},
}
_count = itertools.count()


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.fixture
async def namespace(api: ApiServer) -> str:
    """Where an exchange is, and beside it a house for rehearsals; but no pods, so nobody leads."""
    name = f"rehearsals-{next(_count)}"
    for each in (name, f"{name}-house"):
        await api.create(NAMESPACES, {"metadata": {"name": each}})
    pin = {"name": "openbourse-rehearsals-pin", "namespace": f"{name}-house"}
    await api.create(kinds.SECRET, {"metadata": pin, "stringData": {"pin": PIN}})
    metadata = {"namespace": name}
    spec = {
        "assets": [{"name": "BTC", "scale": 8}, {"name": "USDT", "scale": 8}],
        "image": "openbourse:dev",
        "ledger": {"databaseSecret": "database"},
        "gateway": {"keysSecret": "keys"},
    }
    symbol = {"exchange": "demo", "base": "BTC", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.001"}
    await api.create(Exchange.resource, {"metadata": metadata | {"name": "demo"}, "spec": spec})
    await api.create(EngineShard.resource, {"metadata": metadata | {"name": "main"}, "spec": {"exchange": "demo"}})
    await api.create(Symbol.resource, {"metadata": metadata | {"name": "btcusdt"}, "spec": symbol})
    return name


async def rehearsal(api: ApiServer, namespace: str, name: str, status: Object | None = None, **spec: Any) -> None:
    manifest = {"metadata": {"name": name, "namespace": namespace}, "spec": SPEC | spec}
    await api.create(Rehearsal.resource, manifest)
    if status is not None:
        await api.apply(Rehearsal.resource, {"metadata": manifest["metadata"], "status": status}, "test", "status")


async def read(api: ApiServer, namespace: str, name: str) -> Rehearsal:
    return Rehearsal.model_validate(await api.get(Rehearsal.resource, namespace, name))


async def until(api: ApiServer, namespace: str, name: str, reason: str) -> Rehearsal:
    """Its condition has this reason."""
    async with asyncio.timeout(20):
        while True:
            found = await read(api, namespace, name)
            if reason in {condition.reason for condition in found.status.conditions}:
                return found
            await asyncio.sleep(0.1)


@asynccontextmanager
async def kept(api: ApiServer, namespace: str, token: SoftHsm, identity: str = "pod-a/1") -> AsyncIterator[None]:
    stop = asyncio.Event()
    signing = Signing(api, f"{namespace}-house", token.environment)
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
        keeper = Keeper(
            api,
            http,
            House(f"{namespace}-house", "openbourse:dev", "openbourse-system"),
            identity,
            (namespace,),
            signing,
        )
        tasks.create_task(keeper.run(stop))
        try:
            yield
        finally:
            stop.set()


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with _changed("PERIOD_S", 0.1):
        yield


@contextmanager
def _changed(name: str, value: float) -> Iterator[None]:
    before = getattr(keeping, name)
    setattr(keeping, name, value)
    try:
        yield
    finally:
        setattr(keeping, name, before)


async def test_what_may_not_begin_is_held_with_a_reason_and_looked_at_again(
    api: ApiServer, namespace: str, soft_hsm: SoftHsm
) -> None:
    await rehearsal(api, namespace, "crash")
    await rehearsal(api, namespace, "nowhere", exchange="another")
    await rehearsal(api, namespace, "strange", windows=[{"from": "01:00", "to": "02:00", "timezone": "No/Where"}])
    async with kept(api, namespace, soft_hsm):
        found = await until(api, namespace, "crash", "NoKeys")
        assert found.status.phase is Phase.HELD
        keys = '{"keys": [{"api_key": "a", "secret": "s"}]}'
        secret = {"metadata": {"name": "keys", "namespace": f"{namespace}-house"}, "stringData": {"keys.json": keys}}
        await api.create(kinds.SECRET, secret)
        found = await until(api, namespace, "crash", "ShardIsDegraded")
        assert "there is no leadership record" in found.status.conditions[0].message
        await until(api, namespace, "nowhere", "NoExchange")
        refused = await until(api, namespace, "strange", "BadWindow")
        assert refused.status.phase is Phase.REFUSED
        version = (await read(api, namespace, "crash")).metadata.resource_version
        await asyncio.sleep(1)
        assert (await read(api, namespace, "crash")).metadata.resource_version == version, (
            "nothing new, nothing written"
        )


async def test_what_a_dead_process_left_is_inconclusive_sealed_and_cleared_up(
    api: ApiServer, namespace: str, soft_hsm: SoftHsm
) -> None:
    house = f"{namespace}-house"
    running = {"phase": "Running", "runner": "pod-gone/7", "startedAt": "2026-11-29T03:00:00Z"}
    for name in ("first", "second"):
        await rehearsal(api, namespace, name, running)
    uid = (await read(api, namespace, "first")).metadata.uid
    container = {"name": "node", "image": "i"}
    left = {"metadata": {"name": "strike", "namespace": house, "labels": {"openbourse.dev/rehearsal": uid}}}
    await api.create(kinds.POD, left | {"spec": {"containers": [container]}})
    async with kept(api, namespace, soft_hsm):
        found = [await until(api, namespace, name, "Aborted") for name in ("first", "second")]
    texts = []
    for each in found:
        assert (each.status.phase, each.status.verdict) == (Phase.FINISHED, Verdict.INCONCLUSIVE)
        assert each.status.report is not None
        stored = await api.get(kinds.CONFIG_MAP, namespace, each.status.report.config_map)
        assert stored is not None
        assert stored["metadata"]["ownerReferences"][0]["uid"] == each.metadata.uid
        texts.append(stored["data"]["report.json"])
    checked = [
        check(text, each.status.report.key) for text, each in zip(texts, found, strict=True) if each.status.report
    ]
    assert [each.problems for each in checked] == [(), ()]
    assert chain_problems(checked) == ()
    assert sorted(each.report.number for each in checked if each.report) == [1, 2]
    assert [each.report.previous for each in checked if each.report and each.report.number == 1] == [NOTHING_BEFORE]
    live = await api.get(kinds.POD, house, "strike")
    assert live is None or "deletionTimestamp" in live["metadata"]
    secret = await api.get(kinds.SECRET, house, f"reports-{namespace}-demo")
    assert secret is not None
    assert base64.b64decode(secret["data"]["number"]) == b"2"


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_symbol_that_a_dead_process_left_in_another_shard_is_had_back(
    api: ApiServer, namespace: str, soft_hsm: SoftHsm, is_deleted: bool
) -> None:
    """Also when nobody knows the rehearsal any more. One that a person moved on since is left where it is wanted."""
    await rehearsal(api, namespace, "moves", {"phase": "Running", "runner": "pod-gone/7"}, scenario="SymbolMove")
    uid = (await read(api, namespace, "moves")).metadata.uid
    eth = {"exchange": "demo", "base": "ETH", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.001"}
    names = {"name": "ethusdt", "namespace": namespace}
    await api.create(Symbol.resource, {"metadata": names, "spec": eth})
    for name, shard in (("btcusdt", "second"), ("ethusdt", "third")):
        mark = {"openbourse.dev/rehearsal-to": "second", "openbourse.dev/rehearsal-from": "main"}
        marked = {"name": name, "namespace": namespace, "labels": {"openbourse.dev/rehearsal": uid}}
        manifest = {"metadata": marked | {"annotations": mark}, "spec": {"shard": shard}}
        await api.merge(Symbol.resource, manifest, "test")
    if is_deleted:
        await api.delete(Rehearsal.resource, namespace, "moves")

    async def symbols() -> dict[str, Symbol]:
        items, _ = await api.list(Symbol.resource, namespace)
        return {item["metadata"]["name"]: Symbol.model_validate(item) for item in items}

    async with kept(api, namespace, soft_hsm):
        async with asyncio.timeout(20):
            while True:
                if not any(each.metadata.labels for each in (await symbols()).values()):
                    break
                await asyncio.sleep(0.1)
        if not is_deleted:
            found = await until(api, namespace, "moves", "Aborted")
            assert "BTCUSDT is wanted in shard main" in found.status.conditions[0].message
    found_symbols = await symbols()
    assert {name: each.spec.shard for name, each in found_symbols.items()} == {"btcusdt": "main", "ethusdt": "third"}
    assert all(not each.metadata.annotations for each in found_symbols.values())


async def test_two_processes_that_store_at_once_make_one_chain(
    api: ApiServer, namespace: str, soft_hsm: SoftHsm
) -> None:
    running = {"phase": "Running", "runner": "pod-gone/7"}
    names = [f"r-{number}" for number in range(4)]
    for name in names:
        await rehearsal(api, namespace, name, running)
    stored = [await read(api, namespace, name) for name in names]
    unsealed = [report(good()).model_copy(update={"uid": each.metadata.uid}) for each in stored]

    house = f"{namespace}-house"
    signing = Signing(api, house, soft_hsm.environment)

    async def until_stored(each: Rehearsal, wanted: Report) -> Sealed:
        while True:
            with contextlib.suppress(Refused):
                return await store(api, signing, house, each, wanted)

    sealed = await asyncio.gather(*(until_stored(*pair) for pair in zip(stored, unsealed, strict=True)))
    checked = [check(each.text) for each in sealed]
    assert sorted(each.report.number for each in checked if each.report) == [1, 2, 3, 4]
    assert chain_problems(checked) == ()


async def test_a_chain_of_before_keys_were_in_a_token_goes_on_in_one_and_its_key_is_not_kept(
    api: ApiServer, namespace: str, soft_hsm: SoftHsm
) -> None:
    await rehearsal(api, namespace, "next", {"phase": "Running", "runner": "pod-gone/7"})
    each, house = await read(api, namespace, "next"), f"{namespace}-house"
    earlier = Path(__file__).with_name("report_of_2026_11_29.json").read_text()
    metadata = {"name": f"reports-{namespace}-demo", "namespace": house}
    fields = {"key": "c2VjcmV0", "number": "1", "head": check(earlier).sha256}
    await api.create(kinds.SECRET, {"metadata": metadata, "stringData": fields})
    unsealed = report(good()).model_copy(update={"uid": each.metadata.uid})
    sealed = await store(api, Signing(api, house, soft_hsm.environment), house, each, unsealed)
    stored = await api.get(kinds.SECRET, house, metadata["name"])
    assert stored is not None
    assert set(stored["data"]) == {"number", "head"}
    checked = [check(text, check(earlier).key, sealed.key) for text in (earlier, sealed.text)]
    assert [problem for one in checked for problem in one.problems] == []
    assert chain_problems(checked) == ()


async def test_one_whose_process_lives_is_left_to_it(api: ApiServer, namespace: str, soft_hsm: SoftHsm) -> None:
    metadata = {"name": "pod-alive", "namespace": f"{namespace}-house"}
    await api.create(kinds.POD, {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    await rehearsal(api, namespace, "theirs", {"phase": "Running", "runner": "pod-alive/7"})
    async with kept(api, namespace, soft_hsm):
        await asyncio.sleep(1)
    assert (await read(api, namespace, "theirs")).status.phase is Phase.RUNNING


async def test_a_schedule_makes_none_of_a_shard_that_is_not_whole_and_says_so(
    api: ApiServer, namespace: str, soft_hsm: SoftHsm
) -> None:
    house = f"{namespace}-house"
    keys = '{"keys": [{"api_key": "a", "secret": "s"}]}'
    await api.create(
        kinds.SECRET, {"metadata": {"name": "keys", "namespace": house}, "stringData": {"keys.json": keys}}
    )
    # All of the week but for a minute a day.
    windows = [{"from": "00:00", "to": "23:59"}]
    spec = {name: SPEC[name] for name in ("exchange", "load")} | {"scenarios": ["EngineCrash"], "windows": windows}
    metadata = {"name": "nightly", "namespace": namespace}
    await api.create(RehearsalSchedule.resource, {"metadata": metadata, "spec": spec})

    async def said() -> RehearsalSchedule:
        async with asyncio.timeout(20):
            while True:
                found = RehearsalSchedule.model_validate(
                    await api.get(RehearsalSchedule.resource, namespace, "nightly")
                )
                if found.status.conditions:
                    return found
                await asyncio.sleep(0.1)

    async with kept(api, namespace, soft_hsm):
        found = await said()
        assert found.status.conditions[0].reason in {"ShardIsDegraded", "OutsideWindow"}
        assert found.status.last_rehearsal is None
        made, _ = await api.list(Rehearsal.resource, namespace)
        assert made == []


async def test_the_example_is_taken(api: ApiServer, namespace: str) -> None:
    models = {model.resource.kind: model for model in (Rehearsal, RehearsalSchedule)}
    example = Path(__file__).parents[2] / "gitops/exchange/rehearsal.yaml"
    for document in yaml.safe_load_all(example.read_text()):
        document["metadata"]["namespace"] = namespace
        await api.create(models[document["kind"]].resource, document)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"scenario": "DiskStolen"}, "Unsupported value"),
    ({"load": {"keysSecret": "k", "symbol": "btcusdt"}}, "must be the name of a symbol"),
    ({"load": {"keysSecret": "k", "symbol": "BTCUSDT", "haltedSymbol": "BTCUSDT"}}, "must be another symbol"),
    ({"load": {"keysSecret": "k", "symbol": "BTCUSDT", "price": "1.5"}}, "price must be a whole number such as 10000"),
    ({"load": {"keysSecret": "k", "symbol": "BTCUSDT", "seconds": 5}}, "greater than or equal to 10"),
    ({"timeoutSeconds": 5}, "greater than or equal to 60"),
    ({"windows": [{"from": "04:00", "to": "02:00"}]}, "a window ends later on the same day than it begins"),
    ({"windows": [{"from": "4:00", "to": "05:00"}]}, "from must be a time of day such as 02:30"),
    ({"windows": [{"from": "02:00", "to": "03:00", "days": ["Sunday"]}]}, "Unsupported value"),
    ({"unknown": 1}, "unknown field"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED)
async def test_what_makes_no_sense_is_refused_with_a_sentence(
    api: ApiServer, namespace: str, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence.replace("(", "[(]")):
        await rehearsal(api, namespace, "bad", **change)


async def test_one_never_changes_but_for_suspend(api: ApiServer, namespace: str) -> None:
    await rehearsal(api, namespace, "fixed")
    metadata = {"name": "fixed", "namespace": namespace}
    suspended = {"metadata": metadata, "spec": SPEC | {"suspend": True}}
    await api.apply(Rehearsal.resource, suspended, "test")
    for change in ({"scenario": "EngineFreeze"}, {"suspend": False, "scenario": "EngineFreeze"}):
        with pytest.raises(Refused, match="a Rehearsal never changes, but for suspend"):
            await api.apply(Rehearsal.resource, {"metadata": metadata, "spec": SPEC | change}, "test")
