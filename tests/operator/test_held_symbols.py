"""What holds a symbol, from a real engine's status page to `status` on a real API server."""

import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fixtures.admins import write
from fixtures.apiservers import RunningApiServer
from fixtures.engines import EXCHANGE, RunningEngine, engines_in
from fixtures.stored_worlds import World, make_world, running
from openbourse.cli.bourse.direct import commands, engine
from openbourse.contracts import v1
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.certificates import issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.market_states import HaltMode, ReopenMode
from openbourse.contracts.resources import Symbol
from openbourse.contracts.resources.halt import Reopening
from openbourse.contracts.roles import Role
from openbourse.operator.act import write_statuses
from openbourse.operator.conditions import statuses
from openbourse.operator.manifests import kinds
from openbourse.operator.observe import observe
from openbourse.operator.status_pages import NoAnswer

ANN = commands.Actor("ann", Role.ADMIN, "root", "desk")


@pytest.fixture
async def world(api_server: RunningApiServer) -> AsyncIterator[World]:
    """An exchange that runs, its pods that of one engine."""
    async with ApiServer.connect(api_server.credentials()) as api, aiohttp.ClientSession() as http:
        world = await make_world(api, http, standbys=0)
        await running(world)
        name = "demo-engine-main-0"
        (stateful_set,) = [
            c
            for (kind, _), c in (await world.children()).items()
            if kind == "StatefulSet" and "engine" in c["metadata"]["name"]
        ]
        template = stateful_set["spec"]["template"]
        volumes = [*template["spec"]["volumes"], {"name": "wal", "emptyDir": {}}]
        metadata = {"name": name, "namespace": world.namespace, "labels": template["metadata"]["labels"]}
        await api.create(kinds.POD, {"metadata": metadata, "spec": template["spec"] | {"volumes": volumes}})
        await world.set_status(kinds.POD, name, {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]})
        yield world


async def held(world: World, running_engine: RunningEngine) -> tuple[str | None, str | None, str]:
    """After a round of the operator: state, what holds it, and the sentence."""

    async def ask(pod: Object, port: int) -> bytes:
        if pod["metadata"]["name"] != "demo-engine-main-0":
            raise NoAnswer("no such pod runs")
        return json.dumps(running_engine.status()).encode()

    now = datetime.datetime.now(datetime.UTC)
    await write_statuses(
        world.api, statuses(await observe(world.api, ask, world.namespace, "demo", now=now, before=None))
    )
    found = Symbol.model_validate(await world.api.get(Symbol.resource, world.namespace, "btcusdt"))
    (listed,) = [c for c in found.status.conditions if c.type == "Listed"]
    return found.status.state, found.status.held_by, listed.message.partition("; ")[2]


@pytest.mark.server
async def test_a_symbol_says_that_a_direct_halt_holds_it_and_then_how_it_reopens(world: World, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = make_authority(EXCHANGE, now)
    certificate = issue(authority, EXCHANGE, Component.ENGINE, ("127.0.0.1",), now)
    person = issue(authority, EXCHANGE, Component.CLI, (), now, person=ANN.name, role=ANN.role)
    tls = engine.context(write(tmp_path / "ann", authority, person))
    with engines_in(tmp_path, {Component.ENGINE: write(tmp_path / "engine", authority, certificate)}) as make:
        one = make()
        one.start()

        async def done(command: v1.Command) -> None:
            reply = await engine.ask("main", [one.address], tls, command, 10)
            assert reply.WhichOneof("result") == "done", reply

        assert await held(world, one) == ("TRADING", None, "")
        wanted = commands.Wanted(("BTCUSDT",), (), HaltMode.CANCEL_ONLY, "the API server is down")
        await done(commands.impose("direct:night", wanted, ANN, "1"))
        said = "CANCEL_ONLY by direct:night: the API server is down"
        assert await held(world, one) == ("CANCEL_ONLY", "direct:night", said)
        reopen = Reopening(mode=ReopenMode.POST_ONLY, seconds=60)
        await done(commands.lift("direct:night", "it is up", reopen, ANN, "1"))
        assert (await held(world, one))[:2] == ("POST_ONLY", "phase")
