"""What Prometheus reads of a gateway, by its own parser: of the one that all tests share, and of one alone."""

import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families

from fixtures.gateways import GatewayProcess, Trader, Venue, running_gateway
from openbourse.contracts.component import Component
from openbourse.gateway.requests_counted import Requests

Samples = dict[tuple[str, tuple[str, ...]], float]
CALLS = "openbourse_gateway_requests_total"
SECONDS = "openbourse_gateway_request_seconds"


async def read(gateway: GatewayProcess) -> Samples:
    """By name and the values of the labels, in the order of their names."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{gateway.status_url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(before: Samples, after: Samples, name: str, *labels: str) -> float:
    return after.get((name, labels), 0) - before.get((name, labels), 0)


@pytest.mark.server
async def test_requests_are_counted_by_call_and_answer_and_connections_by_kind(
    venue: Venue, traders: tuple[Trader, Trader]
) -> None:
    alice, _ = traders
    before = await read(venue.gateway)
    address = f"ws://{venue.gateway.address}"
    async with (
        websockets.connect(f"{address}/ws-api/v3", proxy=None) as api,
        websockets.connect(f"{address}/ws/btcusdt@trade", proxy=None),
    ):
        assert (await alice.place("BUY", "0.001", "20000")).status_code == 200
        assert (await alice.place("BUY", "0", "20000")).status_code == 400
        await alice.http.get("/api/v3/nothing")
        for number, method in enumerate(("ping", "nothing.here")):
            await api.send(json.dumps({"id": number, "method": method}))
            await api.recv()
        after = await read(venue.gateway)
        # Labels by name: call, status, way.
        for labels in (
            ("order.place", "200", "rest"),
            ("order.place", "400", "rest"),
            ("?", "404", "rest"),
            ("ping", "200", "websocket"),
            ("?", "400", "websocket"),
        ):
            assert grown(before, after, CALLS, *labels) == 1, labels
        assert grown(before, after, f"{SECONDS}_count", "order.place", "rest") == 2
        assert 0 < grown(before, after, f"{SECONDS}_sum", "order.place", "rest") < 20
        in_time = grown(before, after, f"{SECONDS}_bucket", "order.place", "+Inf", "rest")
        assert in_time == 2
        for kind in ("stream", "websocket_api"):
            assert grown(before, after, "openbourse_gateway_connections", kind) == 1
        assert after["openbourse_gateway_connections", ("http",)] >= 1
        assert after["openbourse_gateway_engine_connected", ("main",)] == 1
        assert after["openbourse_gateway_engine_epoch", ("main",)] >= 1
        assert after["openbourse_gateway_feed_followed", ("market", "main")] == 1
        assert after["openbourse_gateway_feed_followed", ("accounts", "main")] == 1
        assert after["openbourse_gateway_waiting_bytes", ("stream",)] >= 0
        assert ("openbourse_gateway_redis_connected", ()) not in after
        # Somebody who is let go.
        await api.send(b"bytes")
        with pytest.raises(websockets.ConnectionClosed):
            await api.recv()
    let_go = await read(venue.gateway)
    assert grown(after, let_go, "openbourse_gateway_let_go_total", "websocket_api", "requests are text, not bytes") == 1


@pytest.mark.server
async def test_an_engine_that_is_away_is_said(tmp_path: Path, tls_material: Mapping[Component, Path]) -> None:
    with running_gateway(tmp_path / "gateway", tls_material[Component.GATEWAY]) as (gateway, _):
        found = await read(gateway)
    assert found["openbourse_gateway_engine_connected", ("main",)] == 0
    assert found["openbourse_gateway_feed_followed", ("market", "main")] == 0
    assert found["openbourse_gateway_engine_resent_commands_total", ("main",)] == 0


def test_a_request_is_in_the_first_bucket_that_is_not_too_small_for_it() -> None:
    requests = Requests()
    counts = requests.of("rest", "order.place")
    assert requests.of("rest", "order.place") is counts
    for took_ns in (1, 500_000, 500_001, 20_000_000_000):
        counts.note(200, took_ns)
    _, took = requests.families()
    buckets = {s.labels["le"]: s.value for s in took.samples if s.name.endswith("_bucket")}
    assert (buckets["0.0005"], buckets["0.001"], buckets["10.0"], buckets["+Inf"]) == (2, 3, 3, 4)
