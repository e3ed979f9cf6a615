"""Two market data of one shard and a gateway that has both: one is killed, or freezes, and traders notice nothing."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from fixtures.gateways import FUNDS, GatewayProcess, Trader, Venue, running_gateway
from fixtures.marketdatas import RunningMarketData
from fixtures.websocket_apis import connected, of_secret
from openbourse.contracts.component import Component

pytestmark = pytest.mark.server

PAIR = {"symbol": "BTCUSDT"}
STREAMS = ("btcusdt@trade", "btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@depth")
# A frozen one is noticed within three seconds.
HEARD_S = 30.0
# One that does not answer is given half a second before the other is asked as well.
ANSWERED_S = 5.0


@pytest.fixture
def both(venue: Venue, tmp_path: Path, tls_material: Mapping[Component, Path]) -> Iterator[list[RunningMarketData]]:
    """Each with a history of its own."""
    replicas = []
    for number in range(2):
        folder = tmp_path / f"marketdata-{number}"
        folder.mkdir()
        replicas.append(RunningMarketData(folder, tls_material, venue.engine.address, replica=number))
    try:
        for replica in replicas:
            replica.start()
        yield replicas
    finally:
        for replica in replicas:
            if replica.process is not None:
                os.kill(replica.process.pid, signal.SIGCONT)
                replica.stop()


@pytest.fixture
def gateway(
    venue: Venue, both: list[RunningMarketData], tmp_path: Path, tls_material: Mapping[Component, Path]
) -> Iterator[GatewayProcess]:
    options = [word for replica in both for word in ("--marketdata", replica.url)]
    with running_gateway(
        tmp_path / "gateway",
        tls_material[Component.GATEWAY],
        venue.engine.address,
        *options,
        accounts=0,
        keys_of=venue.gateway,
    ) as (process, _):
        process.wait_until_ready()
        yield process


@contextlib.asynccontextmanager
async def listening(gateway: GatewayProcess, told: dict[str, list[Any]]) -> AsyncIterator[websockets.ClientConnection]:
    """Gathers what its streams tell."""
    url = f"ws://{gateway.address}/stream?streams={'/'.join(STREAMS)}"

    async def gather(stream: websockets.ClientConnection) -> None:
        async for text in stream:
            message = json.loads(text)
            told[message["stream"]].append(message["data"])

    async with websockets.connect(url, proxy=None, max_size=None) as stream:
        gathering = asyncio.create_task(gather(stream))
        try:
            yield stream
        finally:
            gathering.cancel()
            await asyncio.gather(gathering, return_exceptions=True)


async def trade(pair: tuple[Trader, Trader], price: int) -> int:
    """The taker's order, which is closed by then."""
    placed = [await trader.place(side, "0.001", str(price)) for trader, side in zip(pair, ("SELL", "BUY"), strict=True)]
    assert [answer.status_code for answer in placed] == [200, 200], [answer.text for answer in placed]
    return int(placed[1].json()["orderId"])


async def until(told: dict[str, list[Any]], last_trade: int, last_update: int) -> None:
    deadline = time.monotonic() + HEARD_S
    while True:
        trades, diffs = told["btcusdt@trade"], [told["btcusdt@depth"], told["btcusdt@depth@100ms"]]
        if trades and trades[-1]["t"] >= last_trade and all(of and of[-1]["u"] >= last_update for of in diffs):
            return
        assert time.monotonic() < deadline, (last_trade, last_update, {name: len(of) for name, of in told.items()})
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
async def test_who_hears_streams_and_asks_notices_nothing_when_one_of_two_market_data_is(
    venue: Venue, both: list[RunningMarketData], gateway: GatewayProcess, number: signal.Signals
) -> None:
    told: dict[str, list[Any]] = {name: [] for name in STREAMS}
    async with (
        httpx.AsyncClient(base_url=gateway.url, timeout=20) as http,
        listening(gateway, told) as stream,
        connected(gateway.address) as api,
    ):
        pair = (await venue.trader(http, FUNDS), await venue.trader(http, FUNDS))
        await api.result(of_secret(pair[1].key), "userDataStream.subscribe.signature")
        reports: list[int] = []
        placed: list[int] = []
        for count in range(60):
            if count == 20:
                process = both[0].process
                assert process is not None
                os.kill(process.pid, number)
            placed.append(await trade(pair, 20_000 + count % 7))
            began_s = time.monotonic()
            known = await pair[1].call("GET", "/api/v3/order", **PAIR, orderId=placed[0])
            assert (known.status_code, known.json().get("status")) == (200, "FILLED"), known.text
            candles = await http.get("/api/v3/klines", params={**PAIR, "interval": "1m", "limit": 5})
            assert candles.status_code == 200, candles.text
            assert time.monotonic() - began_s < ANSWERED_S
        trades = (await http.get("/api/v3/trades", params={**PAIR, "limit": 1})).json()
        depth = (await http.get("/api/v3/depth", params={**PAIR, "limit": 1})).json()
        await until(told, trades[-1]["id"], depth["lastUpdateId"])
        for order_id in placed:
            report = await api.heard("executionReport", i=order_id, x="TRADE")
            reports.append(report["i"])
        assert reports == placed
        assert stream.state is websockets.State.OPEN
    for name, first, last in (
        ("btcusdt@trade", "t", "t"),
        ("btcusdt@aggTrade", "f", "l"),
        ("btcusdt@depth", "U", "u"),
        ("btcusdt@depth@100ms", "U", "u"),
    ):
        assert [then[first] - this[last] for this, then in itertools.pairwise(told[name])] == [1] * (
            len(told[name]) - 1
        ), name
    assert len(told["btcusdt@trade"]) == 60
