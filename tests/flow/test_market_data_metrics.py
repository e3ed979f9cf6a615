"""What Prometheus reads of real market data and of the engine that keeps its log for them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.commands import TIMEOUT_S, buy, sell
from fixtures.engines import EngineFactory, fund
from fixtures.marketdatas import RunningMarketData
from fixtures.processes import RunningProcess
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession

pytestmark = pytest.mark.server

Samples = dict[tuple[str, str], float]
PREFIX = "openbourse_marketdata_"


async def read(process: RunningProcess) -> Samples:
    """By name and the label that is not the shard. Of certificates each process says the same, whatever it serves."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://{process.status_address}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        if family.name.startswith("openbourse_tls_"):
            continue
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("shard") == "main"
            found[sample.name, next(iter(labels.values()), "")] = sample.value
    return found


@contextlib.asynccontextmanager
async def a_reader(marketdata: RunningMarketData, tls: ssl.SSLContext) -> AsyncIterator[None]:
    """Of the feed of the market, which takes what comes."""
    async with (
        httpx.AsyncClient(base_url=marketdata.url, verify=tls, trust_env=False) as http,
        http.stream("GET", "/v1/feed") as stream,
    ):
        chunks = stream.aiter_raw()
        await anext(chunks)
        yield


async def trade(session: EngineSession, count: int) -> None:
    for _ in range(count):
        for command in (sell(30_000_00, 5), buy(30_000_00, 5)):
            assert (await session.command(command, TIMEOUT_S)).WhichOneof("result") == "order"


async def test_they_say_how_far_they_are_who_reads_and_the_engine_how_far_they_are_behind(
    engine_factory: EngineFactory, tls_material: Mapping[Component, Path]
) -> None:
    engine = engine_factory("--reader", "marketdata")
    engine.start()
    marketdata = RunningMarketData(engine.folder / "market", tls_material, engine.address)
    marketdata.folder.mkdir()
    marketdata.start()
    try:
        async with engine.session(Component.GATEWAY) as session, engine.session(Component.LEDGER) as ledger:
            await fund(ledger)
            async with a_reader(marketdata, engine.client_tls(Component.GATEWAY)):
                await trade(session, 20)
                seq = engine.status()["committed_seq"]
                await asyncio.to_thread(marketdata.wait_for, "it heard", lambda status: status["storedSeq"] >= seq)
                said = await read(marketdata)
            assert said[f"{PREFIX}ready", ""] == 1
            assert said[f"{PREFIX}seq", ""] >= seq
            assert said[f"{PREFIX}stored_seq", ""] >= seq
            assert said[f"{PREFIX}begins_seq", ""] == 1
            assert 0 <= said[f"{PREFIX}heard_delay_seconds", ""] < 5
            assert said[f"{PREFIX}problem", "HistoryIsTooOld"] == said[f"{PREFIX}problem", "Diverged"] == 0
            assert (said[f"{PREFIX}feed_readers", "market"], said[f"{PREFIX}feed_readers", "accounts"]) == (1, 0)
            assert said[f"{PREFIX}events_total", ""] >= 20 * 4
            # A trade, an aggregate trade and a best price each time, at least.
            assert said[f"{PREFIX}feed_messages_total", "market"] >= 40
            assert said[f"{PREFIX}feed_bytes_total", "market"] > 40 * 50
            assert said[f"{PREFIX}feed_messages_total", "accounts"] == 0
            assert said[f"{PREFIX}feed_readers_let_go_total", "market"] == 0

            await asyncio.to_thread(marketdata.kill)
            await trade(session, 10)
            await asyncio.sleep(1.5)
            lag = await read(engine)
            assert lag["openbourse_engine_consumer_lag_commands", "marketdata"] >= 20
            assert lag["openbourse_engine_consumer_lag_seconds", "marketdata"] >= 1.4
            status = engine.status()
            assert (status["safety"]["level"], status["lag"]["settlement_lag_ms"]) == ("NORMAL", 0)
            await asyncio.to_thread(marketdata.start)
            passed = lambda now: now["lag"]["consumers"][0]["passed_seq"] == now["committed_seq"]  # noqa: E731
            await asyncio.to_thread(engine.wait_for, "it has it all", passed)
            assert (await read(engine))["openbourse_engine_consumer_lag_seconds", "marketdata"] == 0
    finally:
        if marketdata.process is not None:
            marketdata.stop()
