"""Whatever an API server answers to whichever call, the operator comes to the exchange that it would have made.

`make test` has each verb and kind go wrong once in each way, and a sample of single calls. `make soak` (FAULT_STEP) has
every n-th call of a start go wrong in each way, and the process killed at it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fixtures.apiservers import OPERATOR_TOKEN, RunningApiServer
from fixtures.faulty_apiservers import OF_CALLS, Fault, FaultyApiServer, Rule, faulty_api_server
from fixtures.figures import Show
from fixtures.operator_processes import SYSTEM, Operator, an_operator, install_rights
from fixtures.stored_worlds import World, make_world, shape, started
from openbourse.contracts.apiserver import ApiServer, Credentials
from openbourse.operator.leader import LEASE, LEASE_NAME

pytestmark = pytest.mark.server

CONVERGED_S = 30.0
# Of the calls of a start, each so many-th goes wrong.
FAULT_STEP = int(os.environ.get("FAULT_STEP", "800"))
KILL_STEP = int(os.environ.get("KILL_STEP", "800"))


@pytest.fixture
async def api(api_server: RunningApiServer, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        await install_rights(api_server, api, tmp_path)
        yield api


@pytest.fixture
async def proxy(api_server: RunningApiServer) -> AsyncIterator[FaultyApiServer]:
    async with faulty_api_server(api_server) as proxy:
        proxy.delay_s = 0.1
        yield proxy


@pytest.fixture
async def faulty(proxy: FaultyApiServer) -> AsyncIterator[ApiServer]:
    """What the operator asks, with its rights."""
    async with ApiServer.connect(Credentials(proxy.url, None, OPERATOR_TOKEN)) as through:
        yield through


async def test_each_kind_of_call_goes_wrong_once_in_each_way_and_nothing_is_different_in_the_end(
    api: ApiServer, http: aiohttp.ClientSession, proxy: FaultyApiServer, faulty: ApiServer, show: Show
) -> None:
    whole = await make_world(api, http)
    await started(whole, faulty, CONVERGED_S)
    expected, rights = shape(await whole.children()), sorted({call.right for call in proxy.calls})
    worst_s = 0.0
    for fault in OF_CALLS:
        world = await make_world(api, http)
        proxy.rules = [Rule(fault, *right, world.namespace) for right in rights]
        worst_s = max(worst_s, await started(world, faulty, CONVERGED_S))
        assert [rule for rule in proxy.rules if rule.left] == []
        assert shape(await world.children()) == expected, fault
    count = f"{len(rights)} verbs and kinds x {len(OF_CALLS)} faults"
    show(f"the operator's rounds, {count}: converged, all {len(rights)} of a fault within {worst_s:.1f} s")


@pytest.mark.soak
@pytest.mark.timeout(func_only=True, timeout=3600)
async def test_every_so_many_th_call_of_a_start_goes_wrong_in_each_way(
    api: ApiServer, http: aiohttp.ClientSession, proxy: FaultyApiServer, faulty: ApiServer, show: Show
) -> None:
    whole = await make_world(api, http)
    await started(whole, faulty, CONVERGED_S)
    expected, calls = shape(await whole.children()), len(proxy.calls)
    worst_s, count = 0.0, 0
    for number in range((FAULT_STEP + 1) // 2, calls + 1, FAULT_STEP):
        for fault in OF_CALLS:
            world = await make_world(api, http)
            proxy.rules = [Rule(fault, namespace=world.namespace, number=number)]
            worst_s = max(worst_s, await started(world, faulty, CONVERGED_S))
            count += 1
            assert not proxy.rules[0].left
            assert shape(await world.children()) == expected, (number, fault)
    which = f"each {FAULT_STEP}th of the {calls} calls of a start x {len(OF_CALLS)} faults"
    show(f"the operator's rounds, {which}: {count} converged, the worst after {worst_s:.1f} s")


async def ready(world: World, operator: Operator, expected: object, timeout_s: float = CONVERGED_S) -> float:
    """Seconds until the exchange is the one that is expected, the controllers running meanwhile."""
    began = time.monotonic()
    while shape(await world.children()) != expected:
        assert operator.process.poll() is None, operator.log()[-4000:]
        assert time.monotonic() - began < timeout_s, operator.log()[-4000:]
        await world.controllers_run()
        await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.soak
@pytest.mark.timeout(func_only=True, timeout=7200)
async def test_the_process_killed_at_every_so_many_th_call_and_started_again_makes_the_same_exchange(
    api_server: RunningApiServer,
    api: ApiServer,
    http: aiohttp.ClientSession,
    proxy: FaultyApiServer,
    faulty: ApiServer,
    tmp_path: Path,
    show: Show,
) -> None:
    rounds, whole = await make_world(api, http), await make_world(api, http)
    await started(rounds, faulty, CONVERGED_S)
    expected = shape(await rounds.children())
    with an_operator(api_server, tmp_path / "whole.log", proxy.url, whole.namespace) as operator:
        await ready(whole, operator, expected)
        assert await asyncio.to_thread(operator.stop) == 0
    calls = sum(call.namespace == whole.namespace for call in proxy.calls)
    await api.delete(LEASE, SYSTEM, LEASE_NAME)
    worst_s, count = 0.0, 0
    for number in range((KILL_STEP + 1) // 2, calls + 1, KILL_STEP):
        for fault in (Fault.KILL, Fault.KILL_AFTER):
            world = await make_world(api, http)
            with an_operator(api_server, tmp_path / "killed.log", proxy.url, world.namespace) as operator:
                proxy.kill = operator.process.kill
                proxy.rules = [Rule(fault, namespace=world.namespace, number=number)]
                began = time.monotonic()
                while operator.process.poll() is None and time.monotonic() - began < CONVERGED_S:
                    await world.controllers_run()
                    await asyncio.sleep(0.02)
                # Two starts are not the same to a call: what is seen at once in one takes two rounds in another.
                came = operator.process.poll() is not None
                assert came or shape(await world.children()) == expected, f"call {number} never came"
            if not came:
                continue
            count += 1
            # As if its Lease had run out: how long that takes is looked at elsewhere.
            await api.delete(LEASE, SYSTEM, LEASE_NAME)
            with an_operator(api_server, tmp_path / "again.log", proxy.url, world.namespace) as operator:
                worst_s = max(worst_s, await ready(world, operator, expected))
                assert await asyncio.to_thread(operator.stop) == 0
    assert count
    which = f"each {KILL_STEP}th of {calls} calls, before and after it"
    show(f"the operator killed at {which}: {count} converged, the worst {worst_s:.1f} s after the next start")
