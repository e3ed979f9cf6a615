"""One life of the operator's process before an API server that fails: each verb and kind once, watches in their ways.

What ends the process is named, and Kubernetes starts it again; whatever else happens, it goes on by itself.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fixtures.apiservers import RunningApiServer
from fixtures.faulty_apiservers import OF_CALLS, Call, Fault, FaultyApiServer, Rule, faulty_api_server
from fixtures.figures import Show
from fixtures.operator_processes import SYSTEM, Operator, an_operator, eventually, install_rights, is_there
from fixtures.stored_worlds import World, make_world, shape, started
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.resources import Halt
from openbourse.operator.handlers import settings
from openbourse.operator.leader import LEASE, LEASE_NAME
from openbourse.operator.manifests import kinds
from openbourse.operator.reconcile import PERIOD_S
from openbourse.operator.watches import WATCHED

pytestmark = [pytest.mark.server, pytest.mark.timeout(1500, func_only=True)]

EXCHANGES = 4
CONVERGED_S = 30.0
# A stream that is half open is left, and one that begins anew tells.
HALF_OPEN_S = float(settings().watching.client_timeout or 0)
LOST = 3
# Of what is asked for all exchanges. What ends the process costs a start each time: all of them in `make soak`.
GENTLE = (Fault.CUT, Fault.CUT_AFTER, Fault.DELAY, Fault.THROTTLED, Fault.BROKEN, Fault.UNAVAILABLE)
OF_SHARED = OF_CALLS if "FAULT_STEP" in os.environ else GENTLE
LIFE_S = 1200 if "FAULT_STEP" in os.environ else 120
UNTOLD = "openbourse_operator_watch_untold_seconds"


@pytest.fixture
async def api(api_server: RunningApiServer, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        await install_rights(api_server, api, tmp_path)
        yield api


@pytest.fixture
async def proxy(api_server: RunningApiServer) -> AsyncIterator[FaultyApiServer]:
    async with faulty_api_server(api_server) as proxy:
        proxy.delay_s = 0.2
        yield proxy


async def made(worlds: list[World], expected: object) -> bool:
    """Whether each is the exchange that is expected, now that its controllers have run."""
    same = True
    for world in worlds:
        if shape(await world.children()) != expected:
            same = False
            await world.controllers_run()
    return same


async def test_each_verb_and_kind_goes_wrong_once_in_one_life_and_every_exchange_is_made(
    api_server: RunningApiServer,
    api: ApiServer,
    http: aiohttp.ClientSession,
    proxy: FaultyApiServer,
    tmp_path: Path,
    show: Show,
) -> None:
    whole = await make_world(api, http)
    await started(whole, api, CONVERGED_S)
    expected = shape(await whole.children())
    with an_operator(api_server, tmp_path / "whole.log", proxy.url) as operator:
        world = await make_world(api, http)
        await eventually(lambda: all_watched(proxy), operator)
        await eventually(lambda: made([world], expected), operator)
        assert await asyncio.to_thread(operator.stop) == 0
    shared = sorted({call.right for call in proxy.calls if call.namespace in ("", SYSTEM)})
    own = sorted({call.right for call in proxy.calls if call.namespace == world.namespace})
    worlds = [await make_world(api, http) for _ in range(EXCHANGES)]
    proxy.add(*(Rule(fault, *right) for right, fault in zip(shared, itertools.cycle(OF_SHARED), strict=False)))
    where = zip(own, itertools.cycle(OF_CALLS), itertools.cycle(worlds), strict=False)
    proxy.add(*(Rule(fault, *right, world.namespace) for right, fault, world in where))
    await api.delete(LEASE, SYSTEM, LEASE_NAME)
    count, starts, began = len(proxy.rules), 0, time.monotonic()
    while True:
        starts += 1
        with an_operator(api_server, tmp_path / "life.log", proxy.url) as operator:
            while operator.process.poll() is None and time.monotonic() - began < LIFE_S:
                if not any(rule.left for rule in proxy.rules) and await made(worlds, expected):
                    break
                await made(worlds, expected)
                await asyncio.sleep(0.1)
            if operator.process.poll() is None:
                assert [(rule.verb, rule.resource) for rule in proxy.rules if rule.left] == []
                assert await made(worlds, expected), operator.log()[-4000:]
                assert await asyncio.to_thread(operator.stop) == 0
                break
            assert operator.process.returncode == LOST, operator.log()[-4000:]
    show(f"one life, {count} verbs and kinds: made after {time.monotonic() - began:.1f} s and {starts} starts")


async def test_a_watch_that_is_half_open_is_left_and_one_that_is_told_of_an_error_ends_the_process(
    api_server: RunningApiServer,
    api: ApiServer,
    http: aiohttp.ClientSession,
    proxy: FaultyApiServer,
    tmp_path: Path,
    show: Show,
) -> None:
    world = await make_world(api, http)
    halt = {"exchange": "demo", "reason": "test", "untilLifted": True}
    with an_operator(api_server, tmp_path / "operator.log", proxy.url) as operator:
        await eventually(lambda: all_watched(proxy), operator)
        await eventually(lambda: is_there(api, kinds.STATEFUL_SET, world.namespace, "demo-engine-main"), operator)
        # What the server no longer keeps is listed again.
        lists = proxy.calls.count(Call("list", "symbols"))
        assert proxy.into_streams("symbols", Fault.EXPIRED) == 1
        await eventually(lambda: was_listed_again(proxy, "symbols", lists), operator)

        assert proxy.into_streams("halts", Fault.SILENT) == 1
        metadata = {"name": "stop", "namespace": world.namespace}
        watches = proxy.calls.count(Call("watch", "halts"))
        began = time.monotonic()
        await api.create(Halt.resource, {"metadata": metadata, "spec": halt})
        seen_s = await eventually(lambda: is_summed_up(api, world.namespace), operator)
        assert seen_s < PERIOD_S + 5, "a list sees what a watch does not tell"
        await eventually(lambda: is_untold(operator, "halts"), operator)
        while proxy.calls.count(Call("watch", "halts")) == watches:
            assert time.monotonic() - began < HALF_OPEN_S + 10
            await asyncio.sleep(0.1)
        left_s = time.monotonic() - began

        assert proxy.into_streams("pods", Fault.ERROR_EVENT) == 1
        began = time.monotonic()
        assert await asyncio.to_thread(operator.process.wait, 20) == LOST
        ended_s = time.monotonic() - began
        assert "WatchIsDead: WatchingError" in operator.log()
    show(
        f"a watch half open: seen by list after {seen_s:.1f} s, left after {left_s:.1f} s; "
        f"an ERROR event: the process ended after {ended_s:.1f} s"
    )


async def all_watched(proxy: FaultyApiServer) -> bool:
    return all(proxy.open_streams(resource.plural) for resource in WATCHED)


async def was_listed_again(proxy: FaultyApiServer, plural: str, before: int) -> bool:
    return proxy.calls.count(Call("list", plural)) > before


async def is_summed_up(api: ApiServer, namespace: str) -> bool:
    found = await api.get(Halt.resource, namespace, "stop")
    return found is not None and bool(found.get("status", {}).get("conditions"))


async def is_untold(operator: Operator, plural: str) -> bool:
    text = await asyncio.to_thread(operator.metrics)
    (line,) = [line for line in text.splitlines() if line.startswith(f'{UNTOLD}{{kind="{plural}"}}')]
    return float(line.split()[1]) > 0
