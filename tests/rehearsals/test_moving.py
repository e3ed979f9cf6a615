"""A symbol that a rehearsal moves away and back, on a real API server; who moves it is played."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable

import pytest

from fixtures.apiservers import RunningApiServer
from fixtures.operator_processes import NAMESPACES
from fixtures.rehearsal_worlds import moves_played
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.resources import MoveState, Rehearsal, Symbol
from openbourse.operator.rehearsals import moving
from openbourse.operator.rehearsals.moving import AWAY_ANNOTATION, HOME_ANNOTATION, Mover
from openbourse.operator.rehearsals.pods import REHEARSAL_LABEL
from openbourse.operator.rehearsals.striking import Aborted

pytestmark = pytest.mark.server

WITHIN_S = 10
_count = itertools.count()


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.fixture
async def namespace(api: ApiServer) -> str:
    name = f"moving-{next(_count)}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    symbol = {"exchange": "demo", "base": "BTC", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.001"}
    await api.create(Symbol.resource, {"metadata": {"name": "btcusdt", "namespace": name}, "spec": symbol})
    return name


def mover(api: ApiServer, namespace: str, heed: Callable[[], None] = lambda: None) -> Mover:
    spec = {"exchange": "demo", "scenario": "SymbolMove", "load": {"keysSecret": "keys", "symbol": "BTCUSDT"}}
    metadata = {"name": "move", "namespace": namespace, "uid": "6f0c"}
    rehearsal = Rehearsal.model_validate({"metadata": metadata, "spec": spec})
    began_s = time.monotonic()
    return Mover(api, rehearsal, "main", "second", lambda: int((time.monotonic() - began_s) * 1000), heed)


async def symbol_of(api: ApiServer, namespace: str) -> Symbol:
    return Symbol.model_validate(await api.get(Symbol.resource, namespace, "btcusdt"))


async def set_by_a_person(api: ApiServer, namespace: str, shard: str) -> None:
    metadata = {"name": "btcusdt", "namespace": namespace}
    await api.merge(Symbol.resource, {"metadata": metadata, "spec": {"shard": shard}}, "a person")


async def test_it_is_marked_while_it_is_away_and_as_it_was_when_it_is_back(api: ApiServer, namespace: str) -> None:
    moves = mover(api, namespace)
    async with moves_played(api, namespace) as played:
        away = await moves.away(WITHIN_S)
        there = await symbol_of(api, namespace)
        assert there.metadata.labels == {REHEARSAL_LABEL: "6f0c"}
        assert there.metadata.annotations == {AWAY_ANNOTATION: "second", HOME_ANNOTATION: "main"}
        lifted_there = moves.bite.lifted
        back = await moves.back(WITHIN_S)
    assert played == [("main", "second"), ("second", "main")]
    assert [(each.from_shard, each.to_shard, each.state) for each in (away, back)] == [
        ("main", "second", "Completed"),
        ("second", "main", "Completed"),
    ]
    assert [(each.move, each.paused_ms) for each in moves.done] == [("move-1", 57), ("move-2", 57)]
    here = await symbol_of(api, namespace)
    assert (here.spec.shard, here.metadata.labels, here.metadata.annotations) == ("main", {}, {})
    assert (lifted_there, moves.bite.lifted) == (False, True)
    assert await moves.restore() == ""
    assert len(moves.done) == 2, "nothing is left to have back"


async def test_one_that_was_aborted_has_it_back(api: ApiServer, namespace: str) -> None:
    """At each point: on its way, there, asked back."""
    stop = asyncio.Event()

    def heed() -> None:
        if stop.is_set():
            raise Aborted("the Rehearsal was suspended")

    on_its_way = mover(api, namespace, heed)
    stop.set()
    with pytest.raises(Aborted, match="suspended"):
        await on_its_way.away(WITHIN_S)
    assert (await symbol_of(api, namespace)).spec.shard == "second"
    # Nobody had taken it up yet.
    assert await on_its_way.restore() == ""
    assert on_its_way.bite.lifted
    stop.clear()
    async with moves_played(api, namespace) as played:
        there = mover(api, namespace, heed)
        await there.away(WITHIN_S)
        assert await there.restore() == ""
        asked_back = mover(api, namespace, heed)
        await asked_back.away(WITHIN_S)
        stop.set()
        with pytest.raises(Aborted, match="suspended"):
            await asked_back.back(WITHIN_S)
        assert await asked_back.restore() == ""
        assert len(asked_back.done) == 2, "asked for once"
    assert played == [("main", "second"), ("second", "main")] * 2
    here = await symbol_of(api, namespace)
    assert (here.spec.shard, here.metadata.labels) == ("main", {})


async def test_a_move_that_is_undone_or_that_nobody_takes_up_ends_the_rehearsal(api: ApiServer, namespace: str) -> None:
    moves = mover(api, namespace)
    with pytest.raises(Aborted, match="BTCUSDT was not in shard second within 1 s"):
        await moves.away(1)
    assert await moves.restore() == ""
    again = mover(api, namespace)
    async with moves_played(api, namespace, MoveState.UNDONE):
        with pytest.raises(Aborted, match="did not go to shard second: its move is Undone"):
            await again.away(WITHIN_S)
        assert await again.restore() == ""
    assert [each.state for each in again.done][:1] == ["Undone"]
    assert (await symbol_of(api, namespace)).spec.shard == "main"


async def test_what_a_person_says_meanwhile_goes_before_the_rehearsal(
    api: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "BACK_WITHIN_S", 1.0)
    moves = mover(api, namespace)
    async with moves_played(api, namespace):
        await moves.away(WITHIN_S)
        await set_by_a_person(api, namespace, "third")
        with pytest.raises(Aborted, match=r"somebody else set spec\.shard of BTCUSDT to third"):
            await moves.back(WITHIN_S)
        assert "moved on by somebody else, to shard third" in await moves.restore()
        here = await symbol_of(api, namespace)
        assert (here.spec.shard, here.metadata.labels, here.metadata.annotations) == ("third", {}, {})
        with pytest.raises(Aborted, match="wanted in shard third, not in main"):
            await mover(api, namespace).away(WITHIN_S)
