"""A symbol moves because its spec says so: a real API server, two engines, their ledgers on PostgreSQL. Of the cluster
only the kubelet is played, which brings listings to engines and says where pods are.
"""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fixtures.apiservers import OPERATOR_TOKEN, RunningApiServer
from fixtures.commands import ALICE, TIMEOUT_S, sell
from fixtures.databases import LedgerDatabase
from fixtures.engines import EngineFactory, RunningEngine
from fixtures.figures import Show
from fixtures.ledgers import LedgerFactory, RunningLedger, deposit
from fixtures.operator_processes import install_rights
from fixtures.stored_worlds import World, make_world, running
from openbourse.contracts import tls, v1
from openbourse.contracts.apiserver import ApiServer, Object, Refused
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange, MoveState, Symbol
from openbourse.operator.act import act, write_statuses
from openbourse.operator.conditions import statuses
from openbourse.operator.ledgers import asked
from openbourse.operator.manifests import engine, kinds
from openbourse.operator.observe import observe
from openbourse.operator.observed import Observed
from openbourse.operator.plan import plan
from openbourse.operator.status_pages import NoAnswer

pytestmark = [pytest.mark.server, pytest.mark.timeout(func_only=True, timeout=240)]

MAIN, SECOND = "main", "second"
SETTLED_S = 60.0


@dataclass
class Moving:
    world: World
    # With the operator's account.
    api: ApiServer
    engines: dict[str, RunningEngine]
    ledgers: dict[str, RunningLedger]
    tls_material: Mapping[Component, Path]
    before: Observed | None = None
    phases: list[str] = field(default_factory=list)

    async def round(self) -> bool:
        """One of the operator's, and what the kubelet makes of it. Whether there is something left to do."""

        async def ask(pod: Object, port: int) -> bytes:
            shard = pod["metadata"]["name"].split("-")[2]
            if port != engine.STATUS_PORT:
                raise NoAnswer("it does not run")
            return json.dumps(await asyncio.to_thread(self.engines[shard].status)).encode()

        async def ask_ledger(
            _: Exchange, shard: str, method: str, path: str, body: Object | None
        ) -> tuple[int, Object]:
            context = tls.client_context(self.tls_material[Component.OPERATOR])
            return await asked(self.world.http, context, method, self.ledgers[shard].url + path, body)

        now = datetime.datetime.now(datetime.UTC)
        api, namespace = self.api, self.world.namespace
        seen = await observe(api, ask, namespace, "demo", now=now, before=self.before, ask_ledger=ask_ledger)
        self.before = seen
        step = plan(seen)
        refusals = await act(api, step, now, ask_ledger)
        assert refusals == ()
        self.phases += [step.phase] if step.actions else []
        await write_statuses(api, statuses(seen, goes_on=bool(step.actions)))
        await self.bring_listings()
        return bool(step.actions)

    async def bring_listings(self) -> None:
        for shard, running_engine in self.engines.items():
            stored = await self.world.api.get(kinds.CONFIG_MAP, self.world.namespace, f"demo-engine-{shard}-listings")
            assert stored is not None
            document = stored["data"][engine.LISTINGS_FILE]
            if not running_engine.listings.exists() or running_engine.listings.read_text() != document:
                running_engine.listings.write_text(document)

    async def symbol(self) -> Symbol:
        return Symbol.model_validate(await self.world.api.get(Symbol.resource, self.world.namespace, "btcusdt"))

    async def wanted_in(self, shard: str) -> None:
        metadata = {"name": "btcusdt", "namespace": self.world.namespace}
        await self.world.api.merge(Symbol.resource, {"metadata": metadata, "spec": {"shard": shard}}, "a person")

    async def until(self, state: MoveState) -> Symbol:
        """Rounds until that is noted and nothing is left to do."""
        async with asyncio.timeout(SETTLED_S):
            while True:
                goes_on = await self.round()
                symbol = await self.symbol()
                if not goes_on and symbol.status.move is not None and symbol.status.move.state is state:
                    return symbol
                await asyncio.sleep(0.02)

    async def listed_in(self) -> list[str]:
        found = []
        for shard in self.engines:
            stored = await self.world.api.get(kinds.CONFIG_MAP, self.world.namespace, f"demo-engine-{shard}-listings")
            assert stored is not None
            assert set(stored["data"]) == {engine.LISTINGS_FILE}, "nothing is expected any more"
            found += [shard] if '"BTCUSDT"' in stored["data"][engine.LISTINGS_FILE] else []
        return found

    async def open_orders(self, shard: str) -> list[str]:
        query = v1.Query(open_orders=v1.OpenOrdersQuery(account=ALICE))
        async with self.engines[shard].session(Component.GATEWAY) as session:
            answer = await session.query(query, TIMEOUT_S)
        return [order.client_order_id for order in answer.orders.orders]


@pytest.fixture
async def moving(
    api_server: RunningApiServer,
    engine_factory: EngineFactory,
    ledger_factory: LedgerFactory,
    ledger_database: LedgerDatabase,
    tls_material: Mapping[Component, Path],
    tmp_path: Path,
) -> AsyncIterator[Moving]:
    async with (
        ApiServer.connect(api_server.credentials()) as api,
        ApiServer.connect(api_server.credentials(OPERATOR_TOKEN)) as operator,
        aiohttp.ClientSession() as http,
    ):
        await install_rights(api_server, api, tmp_path)
        world = await make_world(api, http, standbys=0)
        metadata = {"name": SECOND, "namespace": world.namespace}
        await api.create(EngineShard.resource, {"metadata": metadata, "spec": {"exchange": "demo", "standbys": 0}})
        await running(world)
        engines = {shard: engine_factory(shard=shard) for shard in (MAIN, SECOND)}
        made = Moving(world, operator, engines, {}, tls_material)
        await made.bring_listings()
        for shard, running_engine in engines.items():
            await pod_of(world, shard)
            running_engine.start()
            made.ledgers[shard] = ledger_factory(running_engine, ledger_database)
            made.ledgers[shard].start()
        yield made


async def pod_of(world: World, shard: str) -> None:
    name = f"demo-engine-{shard}-0"
    stateful_set = await world.api.get(kinds.STATEFUL_SET, world.namespace, f"demo-engine-{shard}")
    assert stateful_set is not None
    template = stateful_set["spec"]["template"]
    volumes = [*template["spec"]["volumes"], {"name": "wal", "emptyDir": {}}]
    metadata = {"name": name, "namespace": world.namespace, "labels": template["metadata"]["labels"]}
    await world.api.create(kinds.POD, {"metadata": metadata, "spec": template["spec"] | {"volumes": volumes}})
    await world.set_status(kinds.POD, name, {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]})


def moving_fact(symbol: Symbol) -> tuple[str, str, str]:
    (found,) = [entry for entry in symbol.status.conditions if entry.type == "Moving"]
    return found.status, found.reason, found.message


async def test_a_symbol_moves_with_its_orders_there_and_back(moving: Moving, show: Show) -> None:
    while await moving.round():
        continue
    before = await moving.symbol()
    assert (before.status.shard, before.status.move) == (MAIN, None)
    assert [entry.type for entry in before.status.conditions] == ["Listed"], "nothing is said of what never moved"
    async with moving.ledgers[MAIN].client() as client:
        await deposit(client, ALICE, "BTC", "10")
    async with moving.engines[MAIN].session(Component.GATEWAY) as session:
        placed = await session.command(sell(30_000_00, 1), TIMEOUT_S)
    assert placed.HasField("order"), placed
    pauses = []
    for source, target in ((MAIN, SECOND), (SECOND, MAIN)):
        orders = await moving.open_orders(source)
        assert len(orders) == 1
        await moving.wanted_in(target)
        symbol = await moving.until(MoveState.COMPLETED)
        move = symbol.status.move
        assert move is not None
        assert (move.from_shard, move.to_shard, symbol.status.shard) == (source, target, target)
        assert move.generation == symbol.metadata.generation
        assert move.paused_ms is not None
        pauses.append(move.paused_ms)
        paused = f"it came from shard {source}, after a pause of {move.paused_ms} ms"
        assert moving_fact(symbol) == ("False", "InPlace", paused)
        assert await moving.listed_in() == [target]
        assert (await moving.open_orders(source), await moving.open_orders(target)) == ([], orders)
    told, _ = await moving.world.api.list(kinds.EVENT, moving.world.namespace)
    reasons = sorted(event["reason"] for event in told if event["involvedObject"]["name"] == "btcusdt")
    assert reasons == ["MoveBegun", "MoveBegun", "Moved", "Moved"]
    show(f"a symbol with an order, moved by its spec there and back: paused {' and '.join(map(str, pauses))} ms")


async def test_a_change_of_mind_brings_it_back_and_a_third_shard_is_refused_meanwhile(moving: Moving) -> None:
    """The target's ledger is away, so that the move stands where it is."""
    while await moving.round():
        continue
    moving.ledgers[SECOND].stop()
    await moving.wanted_in(SECOND)
    symbol = await moving.until(MoveState.REQUESTED)
    assert moving_fact(symbol)[0] == "True"
    assert symbol.status.shard == MAIN
    with pytest.raises(Refused, match="goes to the one or back to the other: wait until it is there"):
        await moving.wanted_in("third")
    await moving.wanted_in(MAIN)
    # It is asked for before the target goes on with it.
    while await moving.round():
        continue
    moving.ledgers[SECOND].start()
    symbol = await moving.until(MoveState.UNDONE)
    assert moving_fact(symbol) == ("False", "InPlace", f"it did not go to shard {SECOND}: it was asked back")
    assert await moving.listed_in() == [MAIN]
    # What was undone and is wanted again is a new wish.
    await moving.wanted_in(SECOND)
    assert (await moving.until(MoveState.COMPLETED)).status.shard == SECOND


async def test_a_move_that_was_undone_is_not_begun_again_until_the_spec_changes(moving: Moving) -> None:
    while await moving.round():
        continue
    await moving.wanted_in("third")
    while await moving.round():
        continue
    there = "there is no EngineShard third of exchange demo (there are: main, second)"
    said = f"{there}: BTCUSDT stays in main; set spec.shard to one that is there"
    assert moving_fact(await moving.symbol()) == ("False", "NoShard", said)
    moving.ledgers[SECOND].stop()
    await moving.wanted_in(SECOND)
    symbol = await moving.until(MoveState.REQUESTED)
    assert symbol.status.move is not None
    move_id = symbol.status.move.id
    async with moving.ledgers[MAIN].client() as client:
        await client.post(f"/v1/moves/symbols/{move_id}/undo")
    moving.ledgers[SECOND].start()
    symbol = await moving.until(MoveState.UNDONE)
    status, reason, message = moving_fact(symbol)
    assert (status, reason) == ("False", "Undone")
    assert "to try again: kubectl bourse move-symbol btcusdt --to second" in message
    for _ in range(3):
        assert not await moving.round()
    again = (await moving.symbol()).status.move
    assert again is not None
    assert again.id == move_id


async def test_a_person_who_moved_it_by_hand_is_believed(moving: Moving) -> None:
    while await moving.round():
        continue
    body: dict[str, Any] = {"symbol": "BTCUSDT", "from_shard": MAIN, "to_shard": SECOND}
    async with moving.ledgers[MAIN].client() as client:
        assert (await client.post("/v1/moves/symbols", json=body)).json()["state"] == "completed"
    symbol = await moving.until(MoveState.COMPLETED)
    assert symbol.status.shard == SECOND
    why = "it is in shard second, where a person moved it: set spec.shard to second"
    assert moving_fact(symbol) == ("False", "MovedByHand", why)
    assert await moving.listed_in() == [SECOND]
