"""A listen key that was asked for at one gateway is known at the others, through a real Redis that may lose all."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import websockets

from fixtures.gateways import FUNDS, Trader, Venue, two_gateways
from fixtures.listen_keys import heard, keyed, listen_key
from fixtures.redises import RunningRedis, linked, until
from openbourse.contracts.component import Component
from openbourse.gateway.errors import Invalid, Unavailable
from openbourse.gateway.redis.link import RedisLink
from openbourse.gateway.user_data import shared_listen_keys
from openbourse.gateway.user_data.listen_keys import VALID_S
from openbourse.gateway.user_data.shared_listen_keys import SCRIPTS, SharedListenKeys

pytestmark = pytest.mark.server

MINE = 1001, "api", "192.0.2.1"


@asynccontextmanager
async def gateways(redis: RunningRedis) -> AsyncIterator[tuple[SharedListenKeys, SharedListenKeys, RedisLink]]:
    """What two of them know, and the link of the first."""
    async with linked(redis.known_as, SCRIPTS) as one, linked(redis.known_as, SCRIPTS) as two:
        yield SharedListenKeys(one), SharedListenKeys(two), one


async def test_a_key_is_the_accounts_one_whichever_gateway_is_asked(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, _):
        key = await one.create(*MINE, 0)
        assert await two.create(1001, "another", "192.0.2.2", 0) == key
        assert await two.create(1002, "api", "192.0.2.1", 0) != key


async def test_a_key_made_elsewhere_is_found_with_whose_it_is_and_nothing_else_is(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, _):
        key = await one.create(*MINE, 0)
        await two.find(["btcusdt@trade", key, secrets.token_hex(32)], 5)
        assert two.known.all() == [key]
        known = two.known.get(key)
        assert known is not None
        assert (known.account, known.api_key, known.address) == MINE


async def test_a_key_extended_at_one_lasts_at_the_other_and_one_that_ended_ends_at_both(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, _):
        key = await one.create(*MINE, 0)
        await two.find([key], 0)
        redis.cli("PEXPIRE", f"openbourse:listen:{key}", "60000")
        assert await two.look(0) == []
        soon = two.known.get(key)
        assert soon is not None
        assert 50 < soon.until_s <= 60
        await one.extend(key, 1001, 0)
        assert await two.look(0) == []
        assert soon.until_s > VALID_S - 10
        await one.end(key, 1001, 0)
        assert one.known.all() == []
        assert await two.look(0) == [key]
        for at in (one, two):
            with pytest.raises(Invalid):
                await at.extend(key, 1001, 0)
            await at.find([key], 0)
            assert at.known.all() == []
        assert await two.create(*MINE, 0) != key


async def test_a_key_that_expired_is_valid_nowhere(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, _):
        key = await one.create(*MINE, 0)
        await two.find([key], 0)
        redis.cli("DEL", f"openbourse:listen:{key}")
        assert await one.look(VALID_S + 1) == await two.look(VALID_S + 1) == [key]


async def test_a_key_is_changed_by_its_account_alone(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, _):
        key = await one.create(*MINE, 0)
        for at in (one, two):
            for account in (1002, 100, 10011):
                with pytest.raises(Invalid):
                    await at.extend(key, account, 0)
                with pytest.raises(Invalid):
                    await at.end(key, account, 0)
        assert await one.look(0) == []


async def test_with_redis_away_known_keys_go_on_and_others_are_refused(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, link):
        key = await one.create(*MINE, 0)
        redis.kill()
        await until(lambda: not link.is_there)
        assert await one.look(0) == []
        assert await one.create(*MINE, 1_000) == key
        await one.extend(key, 1001, 2_000)
        await one.find([key], 0)
        for refused in (
            two.create(*MINE, 0),
            two.extend(key, 1001, 0),
            one.end(key, 1001, 0),
            two.find([key], 0),
            one.create(1002, "api", "192.0.2.1", 0),
        ):
            with pytest.raises(Unavailable) as away:
                await refused
            assert (away.value.code, away.value.status) == (-1001, 503)
        # As long as it would have been.
        assert await one.look(2_000 + VALID_S - 1) == []
        assert await one.look(2_000 + VALID_S + 1) == [key]


async def test_a_redis_that_lost_all_gets_the_keys_back_and_learns_what_was_extended(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, two, link):
        key = await one.create(*MINE, 0)
        redis.kill()
        await until(lambda: not link.is_there)
        redis.start()
        await until(lambda: link.is_there)
        assert await one.look(100) == []
        assert 0 < int(redis.cli("PTTL", f"openbourse:listen:{key}")) <= (VALID_S - 100) * 1000
        # The other one is not there for a moment yet.
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await two.create(*MINE, 0) == key
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        redis.cli("FLUSHALL")
        await one.extend(key, 1001, 100)
        assert int(redis.cli("PTTL", f"openbourse:listen:{key}")) > (VALID_S - 10) * 1000


async def test_what_was_extended_while_redis_was_away_is_said_when_it_is_there(redis: RunningRedis) -> None:
    async with gateways(redis) as (one, _, link):
        key = await one.create(*MINE, 0)
        with redis.frozen():
            with pytest.raises(Unavailable):
                await one.create(1002, "api", "192.0.2.1", 0)
            await one.extend(key, 1001, 1_000)
        await until(lambda: link.is_there)
        redis.cli("PEXPIRE", f"openbourse:listen:{key}", "1000")
        assert await one.look(1_000) == []
        assert int(redis.cli("PTTL", f"openbourse:listen:{key}")) > (VALID_S - 10) * 1000


async def test_more_keys_than_one_look_compares_are_all_looked_at(
    redis: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_listen_keys, "COMPARED_MOST", 10)
    monkeypatch.setattr(shared_listen_keys, "COMPARED_AT_ONCE", 4)
    async with gateways(redis) as (one, two, _):
        keys = [await one.create(1001 + number, "api", "192.0.2.1", 0) for number in range(25)]
        for number, key in enumerate(keys):
            await two.end(key, 1001 + number, 0)
        ended = [key for _ in range(4) for key in await one.look(0)]
        assert sorted(ended) == sorted(keys)


async def test_an_account_is_heard_at_one_gateway_by_the_key_of_another(
    venue: Venue, tls_material: Mapping[Component, Path], tmp_path: Path, redis: RunningRedis
) -> None:
    with two_gateways(venue, tls_material, tmp_path, redis.environment) as (first, second):
        async with (
            httpx.AsyncClient(base_url=first.url, timeout=20) as one,
            httpx.AsyncClient(base_url=second.url, timeout=20) as two,
        ):
            trader = await venue.trader(one, FUNDS)
            at_two = Trader(two, trader.key)
            key = await listen_key(trader)
            assert await listen_key(at_two) == key
            base = f"ws://{second.address}"
            async with (
                websockets.connect(f"{base}/ws/{key}", proxy=None) as bare,
                websockets.connect(f"{base}/ws", proxy=None) as later,
            ):
                await later.send(f'{{"method":"SUBSCRIBE","params":["{key}"],"id":1}}')
                assert '"id":1' in str(await later.recv()).replace(" ", "")
                placed = (await trader.place("BUY", "0.1", "100")).json()
                for socket in (bare, later):
                    assert (await heard(socket, "executionReport"))["i"] == placed["orderId"]
                # Redis goes, and comes back empty: who listens hears on.
                redis.kill()
                placed = (await at_two.place("BUY", "0.1", "101")).json()
                assert (await heard(bare, "executionReport"))["i"] == placed["orderId"]
                await asyncio.to_thread(redis.start)
                await until(lambda: redis.cli("EXISTS", f"openbourse:listen:{key}") == "1")
                placed = (await trader.place("BUY", "0.1", "102")).json()
                assert (await heard(bare, "executionReport"))["i"] == placed["orderId"]
                # Ended at the one, it ends at the other.
                await asyncio.to_thread(first.wait_for, "of Redis", lambda status: bool(status["redis"]["there"]))
                assert (await keyed(trader, "DELETE", listenKey=key)).json() == {}
                assert (await heard(bare, "listenKeyExpired"))["listenKey"] == key
                with pytest.raises(websockets.ConnectionClosedError):
                    await bare.recv()
            # What cannot be looked up is not listened to in silence.
            redis.kill()
            await asyncio.to_thread(second.wait_for, "of Redis", lambda status: not status["redis"]["there"])
            with pytest.raises(websockets.InvalidStatus):
                async with websockets.connect(f"{base}/ws/{'0' * 64}", proxy=None):
                    pass
