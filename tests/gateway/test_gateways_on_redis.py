"""Two gateway processes in front of one engine and one Redis: limits hold over both, and orders go on without Redis."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from fixtures.gateways import FUNDS, Trader, Venue, two_gateways
from fixtures.redises import RunningRedis, running_redis, within_one_window
from fixtures.websocket_apis import connected, of_secret
from openbourse.contracts.component import Component
from openbourse.gateway.redis import link

pytestmark = pytest.mark.server

ORDERS_PER_10S = 50
LIMITS = "--orders-per-10s", str(ORDERS_PER_10S), "--weight-per-minute", "2000"
# What a request may wait for a Redis that is away, and what an order takes on this machine when it is busy.
SLOWEST_S = link.REPLY_S + link.GRACE_S + 0.5


def far_below(number: int) -> tuple[str, str, str]:
    return "BUY", "0.001", str(1_000 + number)


async def test_orders_over_two_gateways_are_let_through_exactly_to_the_limit(
    venue: Venue, tls_material: Mapping[Component, Path], tmp_path: Path
) -> None:
    """Beside it: what each answer says of the limits."""
    with (
        running_redis(tmp_path / "redis", "secret-of-redis") as redis,
        two_gateways(
            venue,
            tls_material,
            tmp_path,
            redis.environment,
            "--orders-per-10s",
            str(ORDERS_PER_10S),
            "--weight-per-minute",
            "2000",
        ) as gateways,
    ):
        async with (
            httpx.AsyncClient(base_url=gateways[0].url, timeout=20) as one,
            httpx.AsyncClient(base_url=gateways[1].url, timeout=20) as two,
        ):
            at_one = await venue.trader(one, FUNDS)
            both = at_one, Trader(two, at_one.key)
            await within_one_window(60, 10)
            await within_one_window(10, 6)
            answers = await asyncio.gather(*(both[n % 2].place(*far_below(n)) for n in range(2 * ORDERS_PER_10S)))
            assert Counter(answer.status_code for answer in answers) == {200: ORDERS_PER_10S, 429: ORDERS_PER_10S}
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert refused.json()["code"] == -1015
            assert 1 <= int(refused.headers["Retry-After"]) <= 10
            counts = sorted(int(answer.headers["X-MBX-ORDER-COUNT-10S"]) for answer in answers)
            assert counts == list(range(1, 2 * ORDERS_PER_10S + 1))

            # What each call has in its headers: weight, orders of ten seconds, of the day.
            used = 2 * ORDERS_PER_10S
            table = []
            for client, method, path in (
                (one, "GET", "/api/v3/ping"),
                (two, "GET", "/api/v3/ping?bad=1"),
                (one, "PUT", "/api/v3/ping"),
                (two, "GET", "/api/v3/exchangeInfo"),
                (one, "GET", "/api/v3/nothing"),
            ):
                table.append((await client.request(method, path)).headers)
            table.append((await both[1].call("GET", "/api/v3/rateLimit/order")).headers)
            assert [
                [headers.get(f"X-MBX-{name}") for name in ("USED-WEIGHT-1M", "USED-WEIGHT", "ORDER-COUNT-10S")]
                for headers in table
            ] == [[str(used + more), str(used + more), None] for more in (1, 2, 3, 23, 24, 64)]

            async with connected(gateways[1].address) as api:
                answer = await api.signed(of_secret(at_one.key), "order.place", symbol="NOSUCH")
                limits = {limit["intervalNum"]: limit["count"] for limit in answer["rateLimits"]}
                assert limits[1] == used + 64 + 2 + 1
            # With weight beyond its limit nothing else is looked at, whichever gateway it is.
            for _ in range(24):
                await one.get("/api/v3/openOrders")
            beyond = await two.get("/api/v3/exchangeInfo?symbol=NOSUCH")
            assert (beyond.status_code, beyond.json()["code"]) == (429, -1003)
            assert 1 <= int(beyond.headers["Retry-After"]) <= 60
        assert all(gateway.status()["redis"]["there"] for gateway in gateways)
        assert not any("secret-of-redis" in gateway.log.read_text() for gateway in gateways)


@pytest.mark.alone
async def test_orders_go_on_while_redis_is_frozen_killed_and_started_again(
    venue: Venue, tls_material: Mapping[Component, Path], tmp_path: Path, redis: RunningRedis
) -> None:
    with two_gateways(venue, tls_material, tmp_path, redis.environment) as gateways:
        async with (
            httpx.AsyncClient(base_url=gateways[0].url, timeout=20) as one,
            httpx.AsyncClient(base_url=gateways[1].url, timeout=20) as two,
        ):
            at_one = await venue.trader(one, FUNDS)
            traders = at_one, Trader(two, at_one.key)
            took_s: list[float] = []
            going_on = True

            async def trade(number: int) -> None:
                for count in range(1_000_000):
                    if not going_on:
                        break
                    began_s = time.monotonic()
                    placed = await traders[number % 2].place(*far_below(count))
                    assert placed.status_code == 200, placed.text
                    took_s.append(time.monotonic() - began_s)
                    order_id = placed.json()["orderId"]
                    canceled = await traders[number % 2].call(
                        "DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=order_id
                    )
                    assert canceled.status_code == 200, canceled.text
                    await asyncio.sleep(0.02)

            async def both_say(there: bool) -> None:
                for gateway in gateways:
                    await asyncio.to_thread(
                        gateway.wait_for, "of Redis", lambda status: status["redis"]["there"] is there
                    )

            async with asyncio.TaskGroup() as tasks:
                for number in range(4):
                    tasks.create_task(trade(number))
                await asyncio.sleep(0.3)
                with redis.frozen():
                    await both_say(False)
                    await asyncio.sleep(0.5)
                await both_say(True)
                redis.kill()
                await both_say(False)
                before = len(took_s)
                await asyncio.sleep(0.5)
                assert len(took_s) > before
                await asyncio.to_thread(redis.start)
                await both_say(True)
                await asyncio.sleep(0.2)
                going_on = False
            assert max(took_s) < SLOWEST_S
            assert int(redis.cli("GET", f"openbourse:ordersday:{at_one.key.account}")) > 0


def test_an_address_of_redis_that_is_none_ends_the_gateway_with_a_sentence() -> None:
    nowhere = ["--shard", "s", "--engine", "127.0.0.1:1", "--ledger", "https://127.0.0.1:1", "--keys", "none"]
    ports = ["--listen", "127.0.0.1:1", "--status", "127.0.0.1:2", "--tls", "none"]
    ended = subprocess.run(
        [sys.executable, "-m", "openbourse.gateway", *nowhere, *ports],
        env=os.environ | {"OPENBOURSE_REDIS": "postgres://:hunter2@host"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    assert "OPENBOURSE_REDIS: it begins with neither redis:// nor rediss://" in ended.stderr
    assert "hunter2" not in ended.stderr
