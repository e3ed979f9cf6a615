"""A request that asks for a trace is followed from the edge through the engine to the ledger, in real processes."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fixtures.collectors import Collector, Received, running_collector
from fixtures.databases import PostgresServer
from fixtures.engines import RunningEngine
from fixtures.exchanges import Exchange, running_exchange
from fixtures.gateways import Trader
from openbourse.contracts.component import Component

pytestmark = pytest.mark.server

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ASKED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced_exchange(
    tmp_path_factory: pytest.TempPathFactory,
    tls_material: Mapping[Component, Path],
    postgres: PostgresServer,
    collector: Collector,
) -> Iterator[Exchange]:
    """Its traces go to the collector, and none that nobody asked for."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        environment.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        engine = RunningEngine(tmp_path_factory.mktemp("traced"), tls_material)
        with running_exchange(engine, postgres, "traced", accounts=4) as exchange:
            yield exchange


async def test_an_order_is_followed_to_the_ledger(traced_exchange: Exchange, collector: Collector) -> None:
    key = traced_exchange.funded({"USDT": "100000"})
    async with httpx.AsyncClient(base_url=traced_exchange.gateway.url, timeout=20) as plain:
        assert (await Trader(plain, key).place("BUY", "0.1", "50000")).status_code == 200
    began_ns = time.time_ns()
    headers = {**ASKED, "X-Request-Id": "edge-7"}
    async with httpx.AsyncClient(base_url=traced_exchange.gateway.url, timeout=20, headers=headers) as http:
        assert (await Trader(http, key).place("BUY", "0.1", "50000")).status_code == 200
    spans = collector.wait_for(lambda spans: len({span.service for span in spans}) == 3)
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"POST /api/v3/order", "commit", "settle"}, spans
    assert len(spans) == 3, "what nobody asked for was followed too"
    edge, commit, settle = by_name["POST /api/v3/order"], by_name["commit"], by_name["settle"]
    assert [span.service for span in (edge, commit, settle)] == [
        "openbourse-gateway",
        "openbourse-engine",
        "openbourse-ledger",
    ]
    assert {span.trace for span in spans} == {TRACE}
    assert edge.parent == PARENT
    assert (commit.parent, settle.parent) == (edge.id, edge.id)
    assert (edge.attributes["openbourse.request_id"], edge.attributes["http.response.status_code"]) == ("edge-7", 200)
    assert commit.attributes["openbourse.seq"] == settle.attributes["openbourse.seq"]
    # A span ends once its answer is on its way: whoever has the answer may be ahead of that.
    assert began_ns <= edge.began_ns <= edge.ended_ns <= time.time_ns()
    # The engine's times are of microseconds.
    assert edge.began_ns - 1_000 <= commit.began_ns <= min(commit.ended_ns, edge.ended_ns)
    assert commit.began_ns <= settle.ended_ns


async def test_a_refused_order_is_no_error_of_ours_and_goes_no_further(
    traced_exchange: Exchange, collector: Collector
) -> None:
    key = traced_exchange.funded({"USDT": "1"})
    refused = "7" * 32
    headers = {"traceparent": f"00-{refused}-{PARENT}-01"}
    async with httpx.AsyncClient(base_url=traced_exchange.gateway.url, timeout=20, headers=headers) as http:
        answer = await Trader(http, key).place("BUY", "0.1", "0.005")
        assert answer.json()["code"] == -1013, answer.text

    def of_it(spans: list[Received]) -> list[Received]:
        return [span for span in spans if span.trace == refused]

    [span] = of_it(collector.wait_for(lambda spans: bool(of_it(spans))))
    assert (span.name, span.attributes["openbourse.code"]) == ("POST /api/v3/order", -1013)


async def test_a_collector_that_is_away_costs_no_order_and_no_stop(
    traced_exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
    key = traced_exchange.funded({"USDT": "100000"})
    with traced_exchange.another_gateway() as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as http:
            for _ in range(50):
                assert (await Trader(http, key).place("BUY", "0.001", "50000")).status_code == 200
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 6.0
