"""What runs rehearsals may do what it does, and nothing else: all of it once, with the rights that the chart grants."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.apiservers import REHEARSALS_NAMESPACE, REHEARSALS_TOKEN, REHEARSALS_USER, RunningApiServer
from fixtures.operator_processes import SYSTEM, install_rights
from fixtures.rehearsal_facts import KEY, good, report
from fixtures.rehearsal_worlds import HALTED, clients, moves_played, rehearsed_shard
from fixtures.rights import compared, granted
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.resources import Phase, Rehearsal, RehearsalSchedule
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals import conduct, keeping, pods, seals, settling, striking
from openbourse.operator.rehearsals.keeping import Keeper
from openbourse.operator.rehearsals.report import seal
from openbourse.operator.rehearsals.schedule import SCHEDULE_LABEL
from openbourse.operator.rehearsals.signing import Signing
from openbourse.operator.rehearsals.striking import House

pytestmark = pytest.mark.server

LOAD = {"keysSecret": "demo-keys", "symbol": "BTCUSDT", "haltedSymbol": HALTED, "ordersPerSecond": 200}


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pod starts here, so nobody waits for one."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    for module, names in {
        conduct: ("STEADY_S", "HALTED_WITHIN_S"),
        striking: ("STRUCK_WITHIN_S",),
        settling: ("IN_SYNC_WITHIN_S", "EQUAL_WITHIN_S", "STATUS_WITHIN_S"),
        pods: ("AUDIT_S",),
        keeping: ("PERIOD_S",),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, 1)


async def test_its_account_may_do_what_it_does_and_nothing_else(
    api_server: RunningApiServer, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = await install_rights(api_server, api, tmp_path, "rehearsals.enabled=true")
    namespace = f"rehearsed-{os.urandom(4).hex()}"
    token = tmp_path / "token"
    monkeypatch.setenv("SOFTHSM2_CONF", str(token / "softhsm2.conf"))
    environment = dict(os.environ) | {
        "OPENBOURSE_PKCS11_MODULE": "/usr/lib/softhsm/libsofthsm2.so",
        "OPENBOURSE_PKCS11_TOKEN": "rehearsals",
        "OPENBOURSE_TOKEN_FOLDER": str(token),
    }
    keys = {"keys.json": '{"keys": [{"api_key": "a", "secret": "s"}]}'}
    metadata = {"name": "demo-keys", "namespace": REHEARSALS_NAMESPACE}
    await api.apply(kinds.SECRET, {"metadata": metadata, "stringData": keys}, "test")
    async with (
        rehearsed_shard(api, namespace),
        ApiServer.connect(api_server.credentials(REHEARSALS_TOKEN)) as own,
        clients() as http,
        asyncio.TaskGroup() as tasks,
    ):
        house, stop = House(REHEARSALS_NAMESPACE, "x", SYSTEM), asyncio.Event()
        signing = Signing(own, REHEARSALS_NAMESPACE, environment)
        tasks.create_task(Keeper(own, http, house, "pod-a/1", (namespace,), signing).run(stop))
        try:
            await let_everything_happen_once(api, namespace)
        finally:
            stop.set()
        await meet_a_report_that_is_in_no_chain(api, own, namespace, signing)
    calls = api_server.calls_of(REHEARSALS_USER)
    assert [call for call in calls if call["responseStatus"]["code"] == 403] == []
    roles = [item for item in chart if item["kind"] in ("ClusterRole", "Role")]
    own_roles = [role for role in roles if role["metadata"]["name"].startswith("openbourse-rehearsals")]
    assert len(own_roles) == 3
    unused, ungranted = compared(granted(own_roles), calls)
    assert ungranted == set()
    assert unused == set()


async def let_everything_happen_once(api: ApiServer, namespace: str) -> None:
    """One that a dead process left, one of a schedule that forgets others; a cut, an operator, a move, an upgrade."""
    await rehearsal(api, namespace, "left", "EngineCrash")
    left = {"phase": "Running", "runner": "pod-gone/7"}
    await write(api, namespace, "left", left)
    await until_over(api, namespace, "left")
    for name in ("old-1", "old-2"):
        await rehearsal(api, namespace, name, "EngineCrash", labels={SCHEDULE_LABEL: "nightly"}, suspend=True)
        await write(api, namespace, name, {"phase": "Finished"})
    windows = [{"from": "00:00", "to": "23:59"}]
    spec = {"exchange": "demo", "scenarios": ["PartitionFromBoth"], "load": LOAD, "windows": windows, "keep": 1}
    await api.create(RehearsalSchedule.resource, {"metadata": metadata(namespace, "nightly"), "spec": spec})
    made = await until_made(api, namespace)
    found = await until_over(api, namespace, made)
    assert "did not say in time what became of the fault" in found.status.conditions[0].message
    await rehearsal(api, namespace, "operator", "OperatorKilledDuringFailover")
    await until_over(api, namespace, "operator")
    await rehearsal(api, namespace, "move", "SymbolMove", load=LOAD | {"seconds": 10})
    async with moves_played(api, namespace) as moves:
        found = await until_over(api, namespace, "move")
    assert moves == [("main", "second"), ("second", "main")]
    assert found.status.conditions[0].reason == "FaultUnproved", "no log was read here"
    assert "the logs of both shards do not say" in found.status.conditions[0].message
    await rehearsal(api, namespace, "upgrade", "RollingUpgrade")
    await until_restarted(api, namespace)
    await api.apply(
        Rehearsal.resource,
        {"metadata": metadata(namespace, "upgrade"), "spec": spec_of("RollingUpgrade") | {"suspend": True}},
        "ann",
    )
    await until_over(api, namespace, "upgrade")


async def meet_a_report_that_is_in_no_chain(api: ApiServer, own: ApiServer, namespace: str, signing: Signing) -> None:
    """Another process stored one under the number that the chain is at: it is taken away."""
    await rehearsal(api, namespace, "second", "EngineCrash", suspend=True)
    second = Rehearsal.model_validate(await api.get(Rehearsal.resource, namespace, "second"))
    chain = await seals.chain_of(api, REHEARSALS_NAMESPACE, second)
    unsealed = report(good()).model_copy(update={"uid": second.metadata.uid, "number": chain.number})
    config_map = {"metadata": metadata(namespace, seals.report_name(second))}
    await api.create(kinds.CONFIG_MAP, config_map | {"data": {seals.REPORT_FILE: seal(unsealed, KEY).text}})
    sealed = await seals.store(own, signing, REHEARSALS_NAMESPACE, second, unsealed)
    assert sealed.report.number == chain.number + 1


def metadata(namespace: str, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace}


def spec_of(scenario: str) -> dict[str, Any]:
    return {"exchange": "demo", "scenario": scenario, "load": LOAD}


async def rehearsal(
    api: ApiServer, namespace: str, name: str, scenario: str, labels: dict[str, str] | None = None, **spec: Any
) -> None:
    manifest = {"metadata": metadata(namespace, name) | {"labels": labels or {}}, "spec": spec_of(scenario) | spec}
    await api.create(Rehearsal.resource, manifest)


async def write(api: ApiServer, namespace: str, name: str, status: dict[str, Any]) -> None:
    await api.apply(Rehearsal.resource, {"metadata": metadata(namespace, name), "status": status}, "test", "status")


async def until_over(api: ApiServer, namespace: str, name: str) -> Rehearsal:
    async with asyncio.timeout(60):
        while True:
            found = Rehearsal.model_validate(await api.get(Rehearsal.resource, namespace, name))
            if found.status.phase is Phase.FINISHED and found.status.report is not None:
                return found
            await asyncio.sleep(0.1)


async def until_made(api: ApiServer, namespace: str) -> str:
    """The name of what the schedule made."""
    async with asyncio.timeout(30):
        while True:
            stored = await api.get(RehearsalSchedule.resource, namespace, "nightly")
            made = RehearsalSchedule.model_validate(stored).status.last_rehearsal
            if made is not None:
                return made
            await asyncio.sleep(0.1)


async def until_restarted(api: ApiServer, namespace: str) -> None:
    async with asyncio.timeout(60):
        while True:
            found = await api.get(kinds.STATEFUL_SET, namespace, "demo-engine-main")
            assert found is not None
            if striking.RESTART_ANNOTATION in found["spec"]["template"]["metadata"].get("annotations", {}):
                return
            await asyncio.sleep(0.1)
