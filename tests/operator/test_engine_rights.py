"""What an engine's account may do is what engines do with it: real engines with the Role that the operator made."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
import pytest

from fixtures.apiservers import ENGINE_NAMESPACE, ENGINE_TOKEN, ENGINE_USER, RunningApiServer
from fixtures.engines import EngineFactory, make_tls_material
from fixtures.members import RunningShard
from fixtures.processes import free_address
from fixtures.rights import compared, granted
from fixtures.stored_worlds import make_world
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Halt
from openbourse.contracts.session import Address
from openbourse.contracts.switchovers import SwitchoverRequest, asking
from openbourse.operator.manifests import kinds

pytestmark = pytest.mark.server

HOSTS = ("127.0.0.1", "127.0.0.2")


@pytest.fixture(scope="module")
def tls_material(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Component, Path]:
    """For engines that are told apart by their host, as pods are."""
    return make_tls_material(tmp_path_factory.mktemp("tls"), (*HOSTS, "localhost"))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < 60
        await asyncio.sleep(0.1)


async def test_an_engines_account_may_do_what_engines_do_and_nothing_else(
    api_server: RunningApiServer, api: ApiServer, engine_factory: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aiohttp.ClientSession() as http:
        world = await make_world(api, http, namespace=ENGINE_NAMESPACE)
        await world.converge()
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig(ENGINE_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    places = [Address(host, free_address().port) for host in HOSTS]
    own = ("--halts-namespace", ENGINE_NAMESPACE, "--exchange", "demo")
    lease = f"--record-lease={ENGINE_NAMESPACE}/demo-engine-main"
    shard = RunningShard(
        [
            engine_factory(lease, f"--place={place}", *(f"--peer={o}" for o in places if o != place), *own)
            for place in places
        ]
    )
    await asyncio.to_thread(shard.start)
    leader = await asyncio.to_thread(shard.wait_for_leader, 2)
    halt = {"exchange": "demo", "reason": "test", "untilLifted": True}
    await api.create(Halt.resource, {"metadata": {"name": "stop", "namespace": ENGINE_NAMESPACE}, "spec": halt})

    async def is_acknowledged() -> bool:
        found = await api.get(Halt.resource, ENGINE_NAMESPACE, "stop")
        return found is not None and bool(found.get("status", {}).get("acknowledgements"))

    await until(is_acknowledged)
    (successor,) = (host for host, member in zip(HOSTS, shard.members, strict=True) if member is not leader)
    stored = await api.get(EngineShard.resource, ENGINE_NAMESPACE, "main")
    assert stored is not None
    request = SwitchoverRequest(id=secrets.token_hex(4), epoch=1, to=successor)
    uid = stored["metadata"]["uid"]
    await api.apply(EngineShard.resource, asking(ENGINE_NAMESPACE, "main", uid, request), "ann")

    async def has_switched() -> bool:
        found = await api.get(EngineShard.resource, ENGINE_NAMESPACE, "main")
        return found is not None and found.get("status", {}).get("switchover", {}).get("id") == request.id

    await until(has_switched)
    roles, _ = await api.list(kinds.ROLE, ENGINE_NAMESPACE)
    roles = [role for role in roles if role["metadata"]["name"] == "demo-engine-main"]
    unused, ungranted = compared(granted(roles), api_server.calls_of(ENGINE_USER))
    assert ungranted == set()
    assert unused == set()
    assert [call for call in api_server.calls_of(ENGINE_USER) if call["responseStatus"]["code"] == 403] == []
