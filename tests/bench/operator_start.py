"""How long a cold operator takes until each of a thousand Symbols says that it is listed, and what it asks when idle.

A real API server with etcd on this machine, an Exchange that nobody has seen yet, and the process from its start: its
imports, its Lease and everything that comes before a listing are counted. The peer is an operator as Kopf's tutorial
writes it: one handler for each object, which says in its status that it was seen, and makes nothing.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from result import RUNS, Result, result, say

sys.path.append(str(Path(__file__).parents[1]))

from fixtures.apiservers import ADMIN_TOKEN, OPERATOR_USER, RunningApiServer, api_server_in, install_definitions
from fixtures.operator_processes import SYSTEM, a_python, an_operator, install_rights
from openbourse.contracts.apiserver import ApiServer, Object, Resource
from openbourse.contracts.resources import EngineShard, Exchange, Symbol
from openbourse.operator.leader import LEASE, LEASE_NAME
from openbourse.operator.manifests import kinds

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
BASES, QUOTES = 200, 5
SYMBOLS = BASES * QUOTES
TARGET_S = 5.0
IDLE_S = 60.0
WITHIN_S = 300
PEER = "Kopf, a handler for each object, which writes its status"


def measure() -> list[Result]:
    with tempfile.TemporaryDirectory() as text, api_server_in(Path(text)) as server:
        install_definitions(server, Path(__file__).parents[2] / "crds")
        return asyncio.run(_measured(server, Path(text)))


async def _measured(server: RunningApiServer, folder: Path) -> list[Result]:
    async with ApiServer.connect(server.credentials()) as api:
        await install_rights(server, api, folder)
        ours: list[float] = []
        peers: list[float] = []
        idle: list[float] = []
        for run in range(RUNS):
            for kind, values in (("ours", ours), ("peer", peers)):
                namespace = f"{kind}-{run}"
                await _make(api, namespace)
                await api.delete(LEASE, SYSTEM, LEASE_NAME)
                began = time.monotonic()
                if kind == "ours":
                    with an_operator(server, folder / "operator.log", watched=namespace):
                        await _told(api, namespace, "Listed")
                        values.append(time.monotonic() - began)
                        idle.append(await _calls_a_minute(server))
                else:
                    peer = [str(Path(__file__).parent / "kopf_peer.py"), namespace]
                    with a_python(server.kubeconfig(ADMIN_TOKEN), folder / "peer.log", *peer):
                        await _told(api, namespace, "Seen")
                        values.append(time.monotonic() - began)
                say(f"{kind}: {values[-1]:.2f} s")
    return [
        result(
            f"operator.cold.seconds.symbols_{SYMBOLS}",
            *(ours, "s", "lower"),
            target=TARGET_S,
            peer=PEER,
            peer_values=peers,
        ),
        result(f"operator.idle.calls_per_minute.symbols_{SYMBOLS}", idle, "1/min", "lower"),
    ]


async def _make(api: ApiServer, namespace: str) -> None:
    async def create(resource: Resource, name: str, **body: Object) -> None:
        await api.create(resource, {"metadata": {"name": name, "namespace": namespace}, **body})

    await api.create(NAMESPACES, {"metadata": {"name": namespace}})
    await create(kinds.SECRET, "database", stringData={"dsn": "x", "owner-dsn": "x"})
    await create(kinds.SECRET, "keys", stringData={"keys.json": "{}"})
    bases, quotes = [f"B{number}" for number in range(BASES)], [f"Q{number}" for number in range(QUOTES)]
    assets = [{"name": name, "scale": 8} for name in (*bases, *quotes)]
    spec = {"assets": assets, "image": "x", "ledger": {"databaseSecret": "database"}, "gateway": {"keysSecret": "keys"}}
    await create(Exchange.resource, "demo", spec=spec)
    await create(EngineShard.resource, "main", spec={"exchange": "demo"})
    lots = {"exchange": "demo", "tickSize": "0.01", "lotSize": "0.0001"}
    left = iter([(base, quote) for base in bases for quote in quotes])

    async def lane() -> None:
        for base, quote in left:
            await create(Symbol.resource, f"{base}{quote}".lower(), spec=lots | {"base": base, "quote": quote})

    async with asyncio.TaskGroup() as lanes:
        for _ in range(16):
            lanes.create_task(lane())


async def _told(api: ApiServer, namespace: str, condition: str) -> None:
    """Each Symbol has this condition, and it is true."""
    items, version = await api.list(Symbol.resource, namespace)
    told = {item["metadata"]["name"] for item in items if _has(item, condition)}
    async with asyncio.timeout(WITHIN_S):
        async for event in api.watch(Symbol.resource, namespace, version, WITHIN_S):
            if _has(event.object, condition):
                told.add(event.object["metadata"]["name"])
            if len(told) == SYMBOLS:
                return
    raise AssertionError(f"{len(told)} of {SYMBOLS} symbols have {condition}")


def _has(symbol: Object, condition: str) -> bool:
    conditions = symbol.get("status", {}).get("conditions", ())
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


async def _calls_a_minute(server: RunningApiServer) -> float:
    """After the last of the start has been done."""
    await asyncio.sleep(10)
    before = len(server.calls_of(OPERATOR_USER))
    await asyncio.sleep(IDLE_S)
    return (len(server.calls_of(OPERATOR_USER)) - before) * 60 / IDLE_S
