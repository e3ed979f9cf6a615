"""Several gateways count in one real Redis: limits hold exactly over all of them, and none waits for one that is away.

Of each gateway this has what counts; `test_gateways_on_redis` has the gateways themselves.
"""

import asyncio
import logging
import random
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures.processes import free_address
from fixtures.redises import RunningRedis, linked, running_redis, until, within_one_window
from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.rules import BANS_S, REFUSED_MOST, Kind, Limits
from openbourse.gateway.limits.shared import SCRIPTS
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.redis import link as links
from openbourse.gateway.redis.address import AddressInvalid, RedisAddress, from_environment
from openbourse.gateway.redis.link import RedisLink

pytestmark = pytest.mark.server

# What a request may wait for a Redis that is away, and what this machine may add when it is busy.
BOUND_S = links.REPLY_S + links.GRACE_S
BUSY_S = 0.3


class Gateway(NamedTuple):
    """What one has of limits."""

    usage: Usage
    link: RedisLink

    @property
    def is_shared(self) -> bool:
        return self.link.is_there


@asynccontextmanager
async def gateway(redis: RunningRedis, limits: Limits, address: RedisAddress | None = None) -> AsyncIterator[Gateway]:
    """One that has tried to reach Redis."""
    async with linked(address or redis.known_as, SCRIPTS) as link:
        yield Gateway(Usage(limits, link), link)


async def asked(
    at: Gateway, *, address: str = "192.0.2.1", weight: int = 1, api_key: str = "", account: int = 0
) -> tuple[Charge, TooMany | None]:
    charge = at.usage.begin(address, time.time_ns() // 1000)
    charge.weight, charge.api_key, charge.account = weight, api_key, account
    try:
        await at.usage.settle(charge)
    except TooMany as refused:
        return charge, refused
    return charge, None


async def test_over_all_gateways_exactly_the_limit_is_let_through_and_each_has_its_own_place(
    redis: RunningRedis,
) -> None:
    await within_one_window(10, 4)
    limits = Limits(orders_per_10s=500)
    async with gateway(redis, limits) as one, gateway(redis, limits) as two:
        chance = random.Random(1)  # noqa: S311
        places: list[int] = []
        passed = 0

        async def trader() -> None:
            nonlocal passed
            for _ in range(30):
                charge, refused = await asked(chance.choice((one, two)), account=1001)
                places.append(charge.orders_10s)
                passed += refused is None
                await asyncio.sleep(chance.random() * 0.01)

        await asyncio.gather(*(trader() for _ in range(40)))
        assert passed == 500
        assert sorted(places) == list(range(1, 1201))
        # Each gateway says what all of them used.
        assert await one.usage.orders(1001, 0) == await two.usage.orders(1001, 0) == (1200, 1200)


async def test_many_requests_at_once_are_few_round_trips(redis: RunningRedis) -> None:
    async with gateway(redis, Limits()) as one:
        await asyncio.gather(*(asked(one, api_key=f"key{n % 3}", account=n % 7 + 1) for n in range(2_000)))
        stats = redis.cli("INFO", "commandstats")
        calls = int(stats.split("cmdstat_evalsha:calls=")[1].split(",")[0])
        assert calls <= 3


async def test_more_counters_than_one_batch_has_are_counted_as_well(redis: RunningRedis) -> None:
    async with gateway(redis, Limits()) as one:
        results = await asyncio.gather(*(asked(one, address=f"192.0.2.{n % 5_000}") for n in range(10_000)))
        assert Counter(charge.weight_used for charge, _ in results) == {1: 5_000, 2: 5_000}


async def test_each_kind_is_counted_by_its_own_and_everything_expires(redis: RunningRedis) -> None:
    await within_one_window(10, 2)
    async with gateway(redis, Limits()) as one:
        first, _ = await asked(one, weight=20, api_key="k", account=7)
        second, _ = await asked(one, weight=5, api_key="k", account=8, address="192.0.2.2")
        assert (first.weight_used, first.requests_used, first.orders_10s, first.orders_day) == (20, 1, 1, 1)
        assert (second.weight_used, second.requests_used, second.orders_10s, second.orders_day) == (5, 2, 1, 1)
        lasting_ms = {key: int(redis.cli("PTTL", key)) for key in redis.cli("KEYS", "*").split()}
        lasting_ms.pop("openbourse:probe", None)
        assert len(lasting_ms) == 7
        seconds = {kind.title: kind.seconds for kind in Kind}
        for key, left_ms in lasting_ms.items():
            assert 0 < left_ms <= seconds[key.split(":")[1]] * 1000, key


async def test_windows_begin_anew_on_the_clock_of_redis(redis: RunningRedis) -> None:
    async with gateway(redis, Limits(orders_per_10s=1)) as one:
        await within_one_window(10, 1)
        assert (await asked(one, account=1))[1] is None
        refused = (await asked(one, account=1))[1]
        assert refused is not None
        rest_s = 10 - time.time() % 10
        assert rest_s - 1 <= refused.retry_after_s <= rest_s + 1
        await asyncio.sleep(rest_s + 0.1)
        assert (await asked(one, account=1))[1] is None


async def test_who_goes_on_at_one_gateway_is_banned_at_all_and_longer_the_next_time(redis: RunningRedis) -> None:
    await within_one_window(60, 6)
    limits = Limits(weight_per_minute=1)

    async def banned(*gateways: Gateway) -> TooMany:
        for number in range(10 * REFUSED_MOST):
            _, refused = await asked(gateways[number % 2])
            if refused is not None and refused.status == 418:
                return refused
        raise AssertionError("never banned")

    async with gateway(redis, limits) as one, gateway(redis, limits) as two:
        first = await banned(one, two)
        assert first.retry_after_s in (BANS_S[0], BANS_S[0] - 1)
        for either in (one, two):
            charge, refused = await asked(either)
            assert refused is not None
            assert (refused.status, charge.weight_used) == (418, None)
            assert (await asked(either, address="192.0.2.2"))[0].weight_used is not None
        assert abs(int(redis.cli("PTTL", "openbourse:weight:192.0.2.1")) - BANS_S[0] * 1000) < 5_000
    # Once it is over.
    redis.cli("DEL", "openbourse:weight:192.0.2.1", "openbourse:refused:192.0.2.1")
    async with gateway(redis, limits) as one, gateway(redis, limits) as two:
        second = await banned(one, two)
        assert second.retry_after_s in (BANS_S[1], BANS_S[1] - 1)


async def test_all_addresses_of_one_network_of_ipv6_are_one(redis: RunningRedis) -> None:
    async with gateway(redis, Limits()) as one:
        for count, address in enumerate(("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"), 1):
            assert (await asked(one, address=address))[0].weight_used == count
        assert (await asked(one, address="2001:db8:0:1::1"))[0].weight_used == 1
        assert [(await asked(one, address=name))[0].weight_used for name in ("::ffff:192.0.2.9", "192.0.2.9")] == [
            1,
            2,
        ]


Fault = Callable[[RunningRedis], Awaitable[None]]


async def _killed(redis: RunningRedis) -> None:
    redis.kill()


async def _frozen(redis: RunningRedis) -> None:
    assert redis.process is not None
    with redis.frozen():
        await asyncio.sleep(1.5)
    redis.kill()


@pytest.mark.alone
@pytest.mark.parametrize("fault", [_killed, _frozen], ids=["killed", "frozen"])
async def test_redis_away_lets_nobody_wait_and_started_again_empty_it_counts_again(
    redis: RunningRedis, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openbourse.gateway.redis")
    limits = Limits(orders_per_10s=1_000_000)
    async with gateway(redis, limits) as one:
        slowest_s, count, going_on = 0.0, 0, True

        async def trader() -> None:
            nonlocal slowest_s, count
            while going_on:
                began_s = time.monotonic()
                _, refused = await asked(one, account=1001)
                slowest_s = max(slowest_s, time.monotonic() - began_s)
                count += 1
                assert refused is None
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(trader())
            await asyncio.sleep(0.2)
            await fault(redis)
            await until(lambda: not one.is_shared)
            before = count
            await asyncio.sleep(0.5)
            assert count > before + 100
            await asyncio.to_thread(redis.start)
            await until(lambda: one.is_shared)
            await asyncio.sleep(0.2)
            going_on = False
        assert slowest_s < BOUND_S + BUSY_S
        # It began anew, and it is counted there.
        assert 0 < int(redis.cli("GET", "openbourse:ordersday:1001")) < count
    said = [record.getMessage() for record in caplog.records]
    assert [("away" in line, "is there" in line) for line in said] == [(False, True), (True, False), (False, True)]


async def test_a_gateway_that_was_stopped_itself_does_not_take_redis_for_late(redis: RunningRedis) -> None:
    async with gateway(redis, Limits()) as one:
        with redis.frozen():
            asking = asyncio.create_task(asked(one, account=1))
            # It is sent, and then nothing here runs for longer than a reply may take.
            await asyncio.sleep(0.02)
            time.sleep(2 * BOUND_S)  # noqa: ASYNC251
            await asyncio.sleep(2 * links.GRACE_S)
        charge, _ = await asking
        assert one.is_shared
        assert charge.orders_day == int(redis.cli("GET", "openbourse:ordersday:1")) == 1


async def test_its_own_limits_hold_while_redis_is_away(redis: RunningRedis) -> None:
    await within_one_window(10, 3)
    async with gateway(redis, Limits(orders_per_10s=3)) as one:
        redis.kill()
        await until(lambda: not one.is_shared)
        outcomes = [(await asked(one, account=1))[1] for _ in range(5)]
        assert [refused and refused.status for refused in outcomes] == [None, None, None, 429, 429]
        assert await one.usage.orders(1, time.time_ns() // 1000) == (5, 5)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (("SCRIPT", "FLUSH"), "NOSCRIPT"),
        (("CONFIG", "SET", "maxmemory", "1"), "OOM"),
        (("REPLICAOF", "127.0.0.1", "9"), "READONLY"),
    ],
    ids=["scripts forgotten", "full", "a replica"],
)
async def test_a_redis_that_answers_but_does_not_count_is_as_good_as_away(
    redis: RunningRedis, break_it: tuple[str, ...], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(redis, Limits()) as one:
        assert redis.cli(*break_it) == "OK"
        charge, refused = await asked(one, account=1)
        assert refused is None
        assert charge.orders_day == 1
        assert said in caplog.text
        redis.cli("CONFIG", "SET", "maxmemory", "0")
        redis.cli("REPLICAOF", "NO", "ONE")
        await until(lambda: one.is_shared)
        assert (await asked(one, account=1))[0].orders_day == 1
        assert (await asked(one, account=1))[0].orders_day == 2


async def test_a_password_is_asked_for_and_never_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running_redis(tmp_path / "redis", "right-secret") as redis:
        async with gateway(redis, Limits()) as one:
            assert one.is_shared
        wrong = from_environment({"OPENBOURSE_REDIS": f"redis://:wrong-secret@{redis.address}/2"})
        assert wrong is not None
        async with gateway(redis, Limits(), wrong) as one:
            assert not one.is_shared
            assert (await asked(one))[1] is None
    assert "WRONGPASS" in caplog.text
    assert "secret" not in caplog.text + repr(wrong) + str(wrong)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with two that know nothing of each other."""
    for name in ("ours", "another"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.crt")]
        subprocess.run([*command, *files], check=True, capture_output=True)
    return tmp_path


async def test_tls_is_checked_against_the_certificates_that_are_named(certificates: Path, redis: RunningRedis) -> None:
    # Beside the port without.
    port = free_address().port
    files = "tls-key-file", str(certificates / "ours.key"), "tls-cert-file", str(certificates / "ours.crt")
    of_clients = "tls-auth-clients", "no", "tls-ca-cert-file", str(certificates / "ours.crt")
    assert redis.cli("CONFIG", "SET", *files, *of_clients, "tls-port", str(port)) == "OK"
    for name, there in (("ours", True), ("another", False)):
        ca = {"OPENBOURSE_REDIS_CA": str(certificates / f"{name}.crt")}
        address = from_environment({"OPENBOURSE_REDIS": f"rediss://127.0.0.1:{port}", **ca})
        async with gateway(redis, Limits(), address) as one:
            assert one.is_shared is there
            assert (await asked(one))[1] is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost:6379", "neither redis:// nor rediss://"),
        ("http://localhost", "neither redis:// nor rediss://"),
        ("redis://", "has no host"),
        ("redis://user:hunter2@", "has no host"),
        ("redis://:hunter2@host:port", "is no URL"),
        ("redis://:hunter2@host/first", "is no number"),
        ("redis://host/0?ssl=1", "more than"),
    ],
)
def test_an_address_that_is_none_is_refused_with_a_sentence_and_without_its_password(text: str, why: str) -> None:
    with pytest.raises(AddressInvalid, match=why) as refused:
        from_environment({"OPENBOURSE_REDIS": text})
    assert "hunter2" not in str(refused.value)


def test_an_address_is_read_in_all_its_parts() -> None:
    assert from_environment({}) is None
    read = from_environment({"OPENBOURSE_REDIS": "rediss://me:p%40ss@[::1]:7000/3", "OPENBOURSE_REDIS_CA": "ca.crt"})
    assert read == RedisAddress("::1", 7000, 3, "me", "p@ss", True, "ca.crt")
    assert str(read) == "[::1]:7000"
    with pytest.raises(AddressInvalid, match="TLS is rediss"):
        from_environment({"OPENBOURSE_REDIS": "redis://host", "OPENBOURSE_REDIS_CA": "ca.crt"})
