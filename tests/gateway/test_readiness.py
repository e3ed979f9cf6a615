"""When a gateway says that it is ready, and what it says: each situation, and a real one around market data."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from fixtures.gateways import FUNDS, Trader, Venue, credit, running_gateway
from fixtures.marketdatas import RunningMarketData
from fixtures.processes import free_address
from fixtures.websocket_apis import connected, of_secret
from openbourse.contracts.component import Component
from openbourse.gateway.readiness import HEARD_WITHIN_S, Readiness, Situation, readiness

BOTH = ("market", "accounts")
MAIN, TWO = ("main",), ("main", "hot")


@pytest.mark.parametrize(
    ("of", "found"),
    [
        (Situation(0, MAIN), Readiness(True)),
        (Situation(60, MAIN, shards_unheard=MAIN, stopping=True), Readiness(False, "stopping")),
        (Situation(60, MAIN, shards_unheard=MAIN), Readiness(False, "nothing heard from shard main yet")),
        (Situation(60, MAIN, shards_away=MAIN), Readiness(False, "not connected to shard main")),
        (Situation(60, MAIN, redis_untried="redis:6379"), Readiness(False, "Redis at redis:6379 not tried yet")),
        # Of several shards one is enough, once it was waited for the others.
        (Situation(60, TWO, shards_unheard=TWO), Readiness(False, "nothing heard from shards main, hot yet")),
        (Situation(60, TWO, shards_away=TWO), Readiness(False, "not connected to shards main, hot")),
        (
            Situation(9.9, TWO, shards_unheard=("hot",), shards_away=("hot",)),
            Readiness(False, "nothing heard from shard hot yet: waited for until 10 s after the start"),
        ),
        (
            Situation(10, TWO, shards_unheard=("hot",), shards_away=("hot",)),
            Readiness(True, "ready for orders; not connected to shard hot"),
        ),
        (Situation(1, TWO, shards_away=MAIN), Readiness(True, "ready for orders; not connected to shard main")),
        (
            Situation(60, TWO, shards_away=MAIN, feeds_away=("market of main",)),
            Readiness(True, "ready for orders; not connected to shard main; market data are not heard: market of main"),
        ),
        (
            Situation(9.9, MAIN, feeds_unheard=BOTH, feeds_away=BOTH),
            Readiness(False, "market data not heard yet (market, accounts): waited for until 10 s after the start"),
        ),
        (
            Situation(0, MAIN, feeds_unheard=("accounts",), feeds_away=("accounts",)),
            Readiness(False, "market data not heard yet (accounts): waited for until 10 s after the start"),
        ),
        # Then it takes orders without them, and it goes on with that when it loses them later.
        (
            Situation(10, MAIN, feeds_unheard=BOTH, feeds_away=BOTH),
            Readiness(True, "ready for orders; market data are not heard: market, accounts"),
        ),
        (
            Situation(1, MAIN, feeds_away=("accounts",)),
            Readiness(True, "ready for orders; market data are not heard: accounts"),
        ),
        # However long it was up, not without any engine.
        (
            Situation(60, MAIN, shards_away=MAIN, feeds_unheard=BOTH, feeds_away=BOTH),
            Readiness(False, "not connected to shard main"),
        ),
    ],
)
def test_a_gateway_is_ready_when_its_engine_is_there_and_its_market_data_came_or_were_waited_for(
    of: Situation, found: Readiness
) -> None:
    assert readiness(of) == found


@pytest.mark.server
async def test_a_gateway_waits_for_market_data_so_long_and_then_takes_orders_without_them(
    venue: Venue, tmp_path: Path, tls_material: Mapping[Component, Path]
) -> None:
    """Then they come: whoever subscribes meanwhile waits a little, and hears."""
    late = RunningMarketData(tmp_path, tls_material, venue.engine.address, address=free_address())
    key = venue.key()
    await credit(venue.engine, key.account, FUNDS)
    began_s = time.monotonic()
    with running_gateway(
        tmp_path / "gateway",
        tls_material[Component.GATEWAY],
        venue.engine.address,
        *("--marketdata", late.url),
        accounts=0,
        keys_of=venue.gateway,
    ) as (gateway, _):
        unheard = "market data not heard yet (market, accounts): waited for until 10 s after the start"
        status = await asyncio.to_thread(gateway.wait_for, unheard, lambda found: found["reason"] == unheard)
        assert (status["ready"], status["feeds"]) == (False, {"market": False, "accounts": False})
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
            assert (await http.get(f"{gateway.status_url}/readyz")).status_code == 503
            await asyncio.to_thread(gateway.wait_until_ready)
            # It began to count a little after the process was launched.
            assert time.monotonic() - began_s > HEARD_WITHIN_S
            answer = await http.get(f"{gateway.status_url}/readyz")
            says = "ready for orders; market data are not heard: market, accounts"
            assert (answer.status_code, answer.json()) == (200, says)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as traders:
                trader = Trader(traders, key)
                assert (await trader.place("BUY", "0.1", "100")).status_code == 200
                async with connected(gateway.address) as api:
                    refused = await api.signed(of_secret(key), "userDataStream.subscribe.signature")
                    assert refused["error"]["code"] == -1001
                    try:
                        await asyncio.to_thread(late.start)
                        # It is given as long as the gateway needs to hear them, which tries once a second.
                        await api.result(of_secret(key), "userDataStream.subscribe.signature")
                        await asyncio.to_thread(gateway.wait_for, "hears", lambda found: all(found["feeds"].values()))
                        assert (await http.get(f"{gateway.status_url}/readyz")).json() == "ok"
                        await trader.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
                        await api.heard("executionReport", x="CANCELED")
                    finally:
                        if late.process is not None:
                            await asyncio.to_thread(late.stop)


@pytest.mark.server
async def test_who_subscribes_as_soon_as_a_gateway_is_ready_hears(
    venue: Venue, tmp_path: Path, tls_material: Mapping[Component, Path]
) -> None:
    key = venue.key()
    await credit(venue.engine, key.account, FUNDS)
    with running_gateway(
        tmp_path / "gateway",
        tls_material[Component.GATEWAY],
        venue.engine.address,
        *("--marketdata", venue.marketdata.url),
        accounts=0,
        keys_of=venue.gateway,
    ) as (gateway, _):
        await asyncio.to_thread(gateway.wait_until_ready)
        async with connected(gateway.address) as api:
            await api.result(of_secret(key), "userDataStream.subscribe.signature")
