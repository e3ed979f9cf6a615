"""Certificates are renewed, and the authority behind them rotated, under load: no process starts again, no request
fails, no stream is interrupted. Real processes and real TLS."""

import asyncio
import contextlib
import datetime
import functools
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from fixtures.commands import TIMEOUT_S, sell
from fixtures.databases import PostgresServer
from fixtures.engines import RunningEngine, fund
from fixtures.exchanges import Exchange, running_exchange
from fixtures.figures import Show
from fixtures.gateways import Trader
from fixtures.heard import until_quiet
from fixtures.members import make_shard
from fixtures.processes import RunningProcess
from fixtures.renewals import Renewable, an_authority
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession
from openbourse.contracts.tls_material import RENEWED_WITHIN_S, Material

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

# All that dialed have dialed again by then.
ANEW_S = RENEWED_WITHIN_S + 5.0
# Of one request, on a machine that may be busy with other tests.
PAUSE_MOST_S = 5.0


@pytest.fixture
def renewable(tmp_path: Path) -> Renewable:
    return Renewable.made(tmp_path / "tls")


@pytest.fixture
def exchange(renewable: Renewable, tmp_path: Path, postgres: PostgresServer) -> Iterator[Exchange]:
    engine = RunningEngine(tmp_path / "exchange", renewable.folders)
    engine.folder.mkdir()
    with running_exchange(engine, postgres, "renewed", 4) as running:
        yield running


async def adopted(processes: Sequence[RunningProcess], renewable: Renewable) -> None:
    """All of them say that they have in use what their folder has."""
    for process in processes:
        wanted = Material.load(renewable.folders[process.component]).as_json()
        await asyncio.to_thread(process.wait_for, "it has the new certificate", functools.partial(has, wanted))


def has(tls: dict[str, object], status: dict[str, Any]) -> bool:
    return bool(status["tls"] == tls)


class Load:
    """Calls until it is told to end; each answer that is not 200 is kept, and the longest time that one took."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self.longest_s = 0.0
        self.ends = asyncio.Event()

    async def keep(self, name: str, call: Callable[[], Awaitable[httpx.Response]]) -> None:
        while not self.ends.is_set():
            began = time.monotonic()
            answer = await call()
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.answers[name] += 1
            if answer.status_code != 200:
                self.failed.append(f"{name}: {answer.status_code} {answer.text}")
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def loaded(exchange: Exchange) -> AsyncIterator[Load]:
    """Orders, trades of the ledger, candles of the market data, both kinds of streams; judged at the end."""
    load = Load()
    key = exchange.funded({"BTC": "10", "USDT": "1000000"})
    async with httpx.AsyncClient(base_url=exchange.gateway.url, timeout=20) as http:
        trader = Trader(http, key)
        created = await http.post("/api/v3/userDataStream", headers={"X-MBX-APIKEY": key.api_key})
        listen_key = created.raise_for_status().json()["listenKey"]
        where = f"ws://{exchange.gateway.address}/ws"
        async with (
            websockets.connect(f"{where}/{listen_key}", proxy=None, max_queue=None) as own,
            websockets.connect(f"{where}/btcusdt@depth@100ms", proxy=None, max_queue=None) as depth,
        ):
            prices = itertools.cycle(range(30_000, 30_050))
            async with asyncio.TaskGroup() as tasks:
                for side in ("BUY", "SELL"):
                    place = functools.partial(trader.place, side, "0.001", selfTradePreventionMode="NONE")
                    tasks.create_task(load.keep("order", functools.partial(placed, place, prices)))
                trades = functools.partial(trader.call, "GET", "/api/v3/myTrades", symbol="BTCUSDT")
                tasks.create_task(load.keep("trades", trades))
                for path, more in (("klines", {"interval": "1m"}), ("depth", {})):
                    asked = functools.partial(http.get, f"/api/v3/{path}", params={"symbol": "BTCUSDT", **more})
                    tasks.create_task(load.keep(path, asked))
                yield load
                load.ends.set()
            reports = [event async for event in until_quiet(own)]
            diffs = [event async for event in until_quiet(depth)]
    assert not load.failed, load.failed[:5]
    assert min(load.answers.values()) > 20, load.answers
    new = [event for event in reports if event["e"] == "executionReport" and event["x"] == "NEW"]
    assert len(new) == load.answers["order"]
    assert len(diffs) > 20
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in itertools.pairwise(diffs))


async def placed(place: Callable[[str], Awaitable[httpx.Response]], prices: Iterator[int]) -> httpx.Response:
    return await place(str(next(prices)))


async def test_certificates_are_renewed_and_the_authority_rotated_and_no_request_fails(
    exchange: Exchange, renewable: Renewable, show: Show
) -> None:
    processes: list[RunningProcess] = [exchange.engine, exchange.gateway, exchange.marketdata]
    pids = [process.process.pid for process in processes if process.process]
    log_at = exchange.gateway.log.stat().st_size
    async with loaded(exchange) as load:
        renewable.renew()
        await adopted(processes, renewable)
        await asyncio.sleep(ANEW_S)
        old, new = renewable.signing, an_authority()
        renewable.trust(old, new)
        await adopted(processes, renewable)
        renewable.signing = new
        renewable.renew()
        await adopted(processes, renewable)
        renewable.trust(new)
        await adopted(processes, renewable)
        await asyncio.sleep(ANEW_S)
    show(f"certificates renewed twice, the authority rotated: longest request {load.longest_s * 1000:.0f} ms")
    assert load.longest_s < PAUSE_MOST_S
    assert pids == [process.process.pid for process in processes if process.process]
    said = exchange.gateway.log.read_bytes()[log_at:].decode()
    # Two renewals, each followed by connections made anew to the engine.
    assert said.count("connected to shard main") >= 2, said
    assert "of market data ended" not in said


async def test_members_of_a_shard_stay_in_sync_while_their_links_are_renewed(
    renewable: Renewable, tmp_path: Path, show: Show
) -> None:
    made: list[RunningEngine] = []

    def make(*arguments: str) -> RunningEngine:
        folder = tmp_path / f"engine-{len(made)}"
        folder.mkdir()
        made.append(RunningEngine(folder, renewable.folders, arguments=arguments))
        return made[-1]

    shard = make_shard(make, tmp_path, 2)
    try:
        await asyncio.to_thread(shard.start)
        leader = await asyncio.to_thread(shard.wait_for_leader, in_sync=2)
        epoch = leader.status()["epoch"]
        async with shard.session(Component.LEDGER) as ledger:
            await fund(ledger)
        ends = asyncio.Event()
        async with shard.session(Component.GATEWAY) as gateway, asyncio.TaskGroup() as tasks:
            longest = tasks.create_task(orders(gateway, ends))
            for renewals in range(1, 4):
                renewable.renew()
                await adopted(shard.members, renewable)
                await asyncio.sleep(ANEW_S)
                assert [member.log.read_text().count("goes on over another") for member in shard.members] == [
                    renewals
                ] * 2
            ends.set()
        show(f"links of engines renewed three times under orders: longest {longest.result() * 1000:.0f} ms")
        assert longest.result() < PAUSE_MOST_S
        assert leader.status()["epoch"] == epoch
        assert len(leader.status()["in_sync"]) == 2
        for member in shard.members:
            said = member.log.read_text()
            assert "the link to" in said
            assert "has ended" not in said, said[-3000:]
    finally:
        for member in made:
            if member.process is not None:
                member.stop()


async def orders(gateway: EngineSession, ends: asyncio.Event) -> float:
    """Until it is told to end, each acknowledged; the longest time that one took, in seconds."""
    longest_s = 0.0
    while not ends.is_set():
        began = time.monotonic()
        reply = await gateway.command(sell(30_000_00, 1), TIMEOUT_S)
        assert not reply.HasField("rejection"), reply
        longest_s = max(longest_s, time.monotonic() - began)
        # Few enough for one account's open orders.
        await asyncio.sleep(0.02)
    return longest_s


async def test_a_certificate_that_runs_out_ends_its_connections_and_makes_no_new_ones(
    renewable: Renewable, tmp_path: Path
) -> None:
    folder = tmp_path / "engine-alone"
    folder.mkdir()
    engine = RunningEngine(folder, renewable.folders)
    engine.start()
    try:
        async with engine.session(Component.LEDGER) as ledger:
            await fund(ledger)
        renewable.renew([Component.GATEWAY], life=datetime.timedelta(seconds=6))
        async with engine.session(Component.GATEWAY) as gateway:
            assert not (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("rejection")
            await asyncio.sleep(8)
            assert "its certificate has run out" in engine.log.read_text()
            assert not gateway.connected.is_set()
        renewable.renew([Component.GATEWAY])
        async with engine.session(Component.GATEWAY) as gateway:
            assert not (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("rejection")
    finally:
        engine.stop()
