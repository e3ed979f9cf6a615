"""The operator as a process, with the chart's rights and no others: makes an exchange, gives way, stops cleanly."""

import asyncio
import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fixtures.apiservers import OPERATOR_TOKEN, RunningApiServer, cluster_binary
from openbourse.contracts.apiserver import ApiServer, Object, Resource
from openbourse.contracts.resources import EngineShard, Exchange, Symbol
from openbourse.operator.leader import LEASE, LEASE_NAME
from openbourse.operator.manifests import kinds, names

CHART = Path(__file__).parents[2] / "charts" / "openbourse"
SYSTEM = "openbourse-system"
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.fixture
async def chart(api_server: RunningApiServer, api: ApiServer, tmp_path: Path) -> list[Object]:
    """The chart's rights, and the Lease free."""
    homes = {f"HELM_{name}_HOME": str(tmp_path) for name in ("CACHE", "CONFIG", "DATA")}
    helm = [str(cluster_binary("helm")), "template", "openbourse", str(CHART), "--namespace", SYSTEM]
    text = await asyncio.to_thread(subprocess.check_output, helm, env={**os.environ, **homes}, text=True)
    objects = [document for document in yaml.safe_load_all(text) if document]
    rights = tmp_path / "rights.yaml"
    rights.write_text(yaml.safe_dump_all([o for o in objects if "rbac" in o["apiVersion"]]))
    await api.apply(NAMESPACES, {"metadata": {"name": SYSTEM}}, "test")
    await asyncio.to_thread(api_server.kubectl_apply, rights)
    await api.delete(LEASE, SYSTEM, LEASE_NAME)
    return objects


class Operator:
    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self._port = port
        self._log = log

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def leads(self) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._port}/status", timeout=1).json()
        except httpx.HTTPError:
            return False
        return bool(answer["leads"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextmanager
def an_operator(server: RunningApiServer, log: Path) -> Iterator[Operator]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig(OPERATOR_TOKEN))}
    environment.pop("KUBERNETES_SERVICE_HOST", None)
    command = [sys.executable, "-m", "openbourse.operator", "--namespace", SYSTEM, "--status", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield Operator(process, port, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


async def eventually(holds: Callable[[], Awaitable[bool]], operator: Operator, timeout_s: float = 60) -> float:
    began = time.monotonic()
    while not await holds():
        assert operator.process.poll() is None, operator.log()[-4000:]
        assert time.monotonic() - began < timeout_s, operator.log()[-4000:]
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def an_exchange(api: ApiServer) -> str:
    namespace = f"process-{os.urandom(4).hex()}"
    await api.create(NAMESPACES, {"metadata": {"name": namespace}})

    async def create(resource: Resource, name: str, **body: Any) -> None:
        await api.create(resource, {"metadata": {"name": name, "namespace": namespace}, **body})

    await create(kinds.SECRET, "database", stringData={"dsn": "x", "owner-dsn": "x"})
    await create(kinds.SECRET, "keys", stringData={"keys.json": "{}"})
    assets = [{"name": "BTC", "scale": 8}, {"name": "USDT", "scale": 6}]
    spec = {"assets": assets, "image": "x", "ledger": {"databaseSecret": "database"}, "gateway": {"keysSecret": "keys"}}
    await create(Exchange.resource, "demo", spec=spec)
    await create(EngineShard.resource, "main", spec={"exchange": "demo"})
    symbol = {"exchange": "demo", "base": "BTC", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.0001"}
    await create(Symbol.resource, "btcusdt", spec=symbol)
    return namespace


async def is_there(api: ApiServer, resource: Resource, namespace: str, name: str) -> bool:
    return await api.get(resource, namespace, name) is not None


@pytest.mark.server
async def test_it_makes_an_exchange_and_stops_cleanly(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path
) -> None:
    with an_operator(api_server, tmp_path / "operator.log") as operator:
        await eventually(lambda: asyncio.to_thread(operator.leads), operator)
        namespace = await an_exchange(api)
        await eventually(lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main"), operator)
        # An event, not the period, brings the next look: three repairs in a row take less than one period.
        times = []
        for _ in range(3):
            await api.delete(kinds.STATEFUL_SET, namespace, "demo-engine-main")
            repaired = lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main")  # noqa: E731
            times.append(await eventually(repaired, operator))
        assert sorted(times)[1] < 3, times
        assert operator.stop() == 0, operator.log()[-4000:]
    assert "Traceback" not in operator.log()
    lease = await api.get(LEASE, SYSTEM, LEASE_NAME)
    assert lease is not None
    assert not lease["spec"].get("holderIdentity")


@pytest.mark.server
async def test_two_replicas_have_one_leader_and_the_other_takes_over(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(an_operator(api_server, tmp_path / f"{name}.log")) for name in ("first", "second")
        )

        async def one_leads() -> bool:
            return first.leads() or second.leads()

        await eventually(one_leads, first)
        leader, other = (first, second) if first.leads() else (second, first)
        assert not other.leads()
        assert leader.stop() == 0
        assert await eventually(lambda: asyncio.to_thread(other.leads), other) < 10
        # Somebody takes the Lease: the one who held it ends, and says why.
        lease = await api.get(LEASE, SYSTEM, LEASE_NAME)
        assert lease is not None
        lease["spec"]["holderIdentity"] = "another"
        await api.replace(LEASE, lease)
        assert await asyncio.to_thread(other.process.wait, 15) == 3
        assert "LeadershipLost: the lease is held by another" in other.log()


@pytest.mark.server
async def test_the_rights_granted_are_the_rights_used(
    api_server: RunningApiServer, api: ApiServer, chart: list[Object], tmp_path: Path
) -> None:
    with an_operator(api_server, tmp_path / "operator.log") as operator:
        namespace = await an_exchange(api)
        await eventually(lambda: is_there(api, kinds.STATEFUL_SET, namespace, "demo-engine-main"), operator)
        await _let_everything_happen_once(api, namespace, operator)
        assert operator.stop() == 0
    used: set[tuple[str, str, str]] = set()
    refused: set[tuple[str, str, str]] = set()
    for call in api_server.calls_of_the_operator():
        target = call.get("objectRef")
        if target is None or "resource" not in target:
            continue
        name = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
        right = (target.get("apiGroup", ""), name, call["verb"])
        status = call["responseStatus"]["code"]
        (refused if status == 403 else used).add(right)
        if call["verb"] == "patch" and status == 201:
            used.add((*right[:2], "create"))
    assert not refused
    roles = [item for item in chart if item["kind"] in ("ClusterRole", "Role")]
    granted = {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    # The engines' right to acknowledge is passed on; the operator itself writes the conditions of a Halt.
    assert granted - used == set()
    assert used - granted == set()


async def _let_everything_happen_once(api: ApiServer, namespace: str, operator: Operator) -> None:
    """A Halt to sum up, a pod to touch, a failed migration to clear away, a ledger to start."""
    halt = {"exchange": "demo", "reason": "test", "untilLifted": True}
    halts = Resource("openbourse.dev", "v1alpha1", "halts", "Halt")
    await api.create(halts, {"metadata": {"name": "stop", "namespace": namespace}, "spec": halt})
    stateful_set = await api.get(kinds.STATEFUL_SET, namespace, "demo-engine-main")
    assert stateful_set is not None
    template = stateful_set["spec"]["template"]
    pod = {"name": "demo-engine-main-0", "namespace": namespace, "labels": template["metadata"]["labels"]}
    # As the StatefulSet's controller does it, but for the claim.
    volumes = [*template["spec"]["volumes"], {"name": "wal", "emptyDir": {}}]
    await api.create(kinds.POD, {"metadata": pod, "spec": template["spec"] | {"volumes": volumes}})

    async def is_touched() -> bool:
        found = await api.get(kinds.POD, namespace, "demo-engine-main-0")
        return found is not None and names.LISTINGS_ANNOTATION in found["metadata"].get("annotations", {})

    async def job() -> Object | None:
        items, _ = await api.list(kinds.JOB, namespace)
        return items[0] if items else None

    async def there_is_a_job() -> bool:
        return await job() is not None

    async def halt_is_summed_up() -> bool:
        found = await api.get(halts, namespace, "stop")
        return found is not None and bool(found.get("status", {}).get("conditions"))

    await eventually(there_is_a_job, operator)
    await eventually(halt_is_summed_up, operator)
    first = await job()
    assert first is not None
    at = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fact = {"status": "True", "lastTransitionTime": at, "lastProbeTime": at, "reason": "BackoffLimitExceeded"}
    failed = {"conditions": [{"type": kind, **fact} for kind in ("FailureTarget", "Failed")], "startTime": at}
    metadata = {"name": first["metadata"]["name"], "namespace": namespace}
    await api.apply(kinds.JOB, {"metadata": metadata, "status": failed}, "controllers", "status")

    async def is_another() -> bool:
        found = await job()
        return found is not None and found["metadata"]["uid"] != first["metadata"]["uid"]

    await eventually(is_another, operator)
    await eventually(is_touched, operator)
