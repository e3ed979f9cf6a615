"""Cancel-on-disconnect before a real engine: however a connection ends, and when its gateway is killed, orders go."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets

from fixtures.gateways import FUNDS, GatewayProcess, Trader, Venue, running_gateway
from fixtures.websocket_apis import Api, Signer, connected, ed25519, of_secret, signer
from openbourse.contracts.component import Component
from openbourse.gateway.guards.guards import HOLD_MS, RENEW_EVERY_MS

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]
GUARD = "session.cancelOnDisconnect"
# After its time: the engine's tick, and the question that sees it.
LATE_S = 3.0
# A client that says nothing, not even pong, is noticed within this.
SILENT_S = 15.0


async def until_open(trader: Trader, count: int, within_s: float) -> float:
    """How long it took."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while len(await trader.open_orders()) != count:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def stay_open(trader: Trader, count: int, for_s: float) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert len(await trader.open_orders()) == count
        await asyncio.sleep(0.25)


@asynccontextmanager
async def guarding(address: object, by: Signer, **asked: object) -> AsyncIterator[Api]:
    async with connected(address) as api:
        answer = await api.result(by, GUARD, **asked)
        assert answer["enabled"] is True
        yield api


async def place_one_of_each(trader: Trader) -> None:
    for symbol, price in (("BTCUSDT", "20000"), ("ETHUSDT", "2000")):
        assert (await trader.place("BUY", "0.1", price, symbol=symbol)).status_code == 200


async def test_orders_go_with_the_connection_after_its_grace_and_others_orders_stay(
    venue: Venue, traders: Pair
) -> None:
    trader, other = traders
    by = of_secret(trader.key)
    await other.place("BUY", "0.1", "20000")
    await place_one_of_each(trader)
    async with connected(venue.gateway.address) as api:
        answer = await api.result(by, GUARD, symbols='["BTCUSDT"]', graceTime=0)
        assert answer == {"enabled": True, "symbols": ["BTCUSDT"], "graceTime": 0, "gatewayLostTime": HOLD_MS}
        await stay_open(trader, 2, 0.5)
    await until_open(trader, 1, LATE_S)
    async with guarding(venue.gateway.address, by, graceTime=1500):
        pass
    took_s = await until_open(trader, 0, 1.5 + LATE_S)
    assert took_s > 1.0
    assert len(await other.open_orders()) == 1


async def test_a_connection_that_is_reset_takes_its_orders_along(venue: Venue, traders: Pair) -> None:
    await place_one_of_each(traders[0])
    with contextlib.suppress(Exception):
        async with guarding(venue.gateway.address, of_secret(traders[0].key), graceTime=0) as api:
            api.socket.transport.abort()
    await until_open(traders[0], 0, LATE_S)


async def test_who_asks_for_it_and_leaves_before_the_answer_is_cancelled_for(venue: Venue, traders: Pair) -> None:
    await place_one_of_each(traders[0])
    async with connected(venue.gateway.address) as api:
        await api.send(GUARD, of_secret(traders[0].key).query({"graceTime": 0}))
    await until_open(traders[0], 0, LATE_S)


async def test_who_comes_again_within_the_grace_keeps_the_orders(venue: Venue, traders: Pair) -> None:
    trader, by = traders[0], of_secret(traders[0].key)
    await place_one_of_each(trader)
    async with guarding(venue.gateway.address, by, graceTime=2000):
        pass
    await asyncio.sleep(0.5)
    async with guarding(venue.gateway.address, by, graceTime=0):
        await stay_open(trader, 2, 2.5)
    await until_open(trader, 0, LATE_S)


async def test_orders_go_with_the_last_of_several_connections(venue: Venue, traders: Pair) -> None:
    trader, by = traders[0], of_secret(traders[0].key)
    await place_one_of_each(trader)
    async with guarding(venue.gateway.address, by, graceTime=0):
        async with guarding(venue.gateway.address, by, graceTime=0):
            pass
        await stay_open(trader, 2, 0.7)
    await until_open(trader, 0, LATE_S)


async def test_what_is_turned_off_or_asked_for_anew_is_guarded_no_more(venue: Venue, traders: Pair) -> None:
    trader, by = traders[0], of_secret(traders[0].key)
    await place_one_of_each(trader)
    async with guarding(venue.gateway.address, by, graceTime=0) as api:
        assert await api.result(by, GUARD, enabled="false") == {"enabled": False}
    await stay_open(trader, 2, 0.7)
    async with guarding(venue.gateway.address, by, graceTime=0) as api:
        await api.result(by, GUARD, symbols='["ETHUSDT"]', graceTime=0)
    await until_open(trader, 1, LATE_S)
    await stay_open(trader, 1, 0.5)


async def test_a_session_asks_for_it_without_a_signature_and_a_countdown_is_refused_meanwhile(
    venue: Venue, traders: Pair
) -> None:
    trader = traders[0]
    key = signer(venue.gateway.keys, trader.key.account, ed25519())
    await asyncio.sleep(0.6)
    await place_one_of_each(trader)
    countdown = {"countdownTime": 1000}
    async with connected(venue.gateway.address) as api:
        await api.result(key, "session.logon")
        answer = await api.logged_on(key, GUARD, symbols=["BTCUSDT"], graceTime=0)
        assert answer["status"] == 200
        refused = await trader.call("POST", "/api/v3/countdownCancelAll", symbol="BTCUSDT", **countdown)
        assert (refused.status_code, refused.json()["code"]) == (400, -1013)
        assert "session.cancelOnDisconnect" in refused.json()["detail"]
        other = await trader.call("POST", "/api/v3/countdownCancelAll", symbol="ETHUSDT", countdownTime=0)
        assert other.status_code == 200
    await until_open(trader, 1, LATE_S)
    assert (await trader.call("POST", "/api/v3/countdownCancelAll", symbol="BTCUSDT", **countdown)).status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"symbols": '["NONE"]'}, -1121),
        ({"symbols": "[]"}, -1130),
        ({"graceTime": 60_001}, -1102),
        ({"graceTime": "soon"}, -1100),
        ({"enabled": "perhaps"}, -1130),
        ({"enabled": "false", "graceTime": 0}, -1128),
        ({"symbols": str(["BTCUSDT"] * 51).replace("'", '"').replace(" ", "")}, -1101),
        ({"account": 1001}, -1104),
    ],
)
async def test_what_makes_no_sense_is_refused(venue: Venue, traders: Pair, sent: dict[str, object], code: int) -> None:
    async with connected(venue.gateway.address) as api:
        answer = await api.signed(of_secret(traders[0].key), GUARD, **sent)
        assert (answer["status"], answer["error"]["code"]) == (400, code)


async def test_it_takes_a_key_that_may_trade(venue: Venue, traders: Pair) -> None:
    looking = signer(venue.gateway.keys, traders[0].key.account, ed25519(), ("USER_DATA",))
    await asyncio.sleep(0.6)
    async with connected(venue.gateway.address) as api:
        assert (await api.signed(looking, GUARD))["error"]["code"] == -2015
        assert (await api.ask(GUARD))["error"]["code"] == -1102


@asynccontextmanager
async def another_gateway(venue: Venue, folder: Path) -> AsyncIterator[GatewayProcess]:
    tls = venue.engine.tls_material[Component.GATEWAY]
    with running_gateway(folder, tls, venue.engine.address, accounts=0, keys_of=venue.gateway) as (gateway, _):
        await asyncio.to_thread(gateway.wait_until_ready)
        yield gateway


async def test_a_silent_client_and_killed_gateways_are_cancelled_for_in_their_time(
    venue: Venue, traders: Pair, tmp_path: Path
) -> None:
    """All at once, for each takes its time."""
    muted, orphan = traders
    mover = await venue.trader(muted.http, FUNDS)
    for trader in (muted, orphan, mover):
        await place_one_of_each(trader)
    async with another_gateway(venue, tmp_path / "other") as other, contextlib.AsyncExitStack() as open_:
        quiet = await open_.enter_async_context(connected(venue.gateway.address))
        await quiet.result(of_secret(muted.key), GUARD, graceTime=0)
        lost = await open_.enter_async_context(connected(other.address))
        await lost.result(of_secret(orphan.key), GUARD, graceTime=0)
        await lost.result(of_secret(mover.key), GUARD, graceTime=5000)
        async with guarding(venue.gateway.address, of_secret(mover.key), graceTime=5000):
            pass
        quiet.socket.transport.pause_reading()
        muted_gone = asyncio.create_task(until_open(muted, 0, SILENT_S + LATE_S))
        # Longer than what the engine was told first, and than the grace of the connection that left: it was renewed.
        await asyncio.gather(*(stay_open(trader, 2, HOLD_MS / 1000 + 1) for trader in (orphan, mover)))
        other.kill()
        killed_s = await asyncio.gather(*(until_open(trader, 0, HOLD_MS / 1000 + LATE_S) for trader in (orphan, mover)))
        assert min(killed_s) > (HOLD_MS - 2 * RENEW_EVERY_MS) / 1000
        assert await muted_gone > 5
        quiet.socket.transport.abort()


async def test_a_gateway_that_is_stopped_leaves_time_to_come_again(venue: Venue, traders: Pair, tmp_path: Path) -> None:
    trader, by = traders[0], of_secret(traders[0].key)
    await place_one_of_each(trader)
    async with another_gateway(venue, tmp_path / "other") as other, contextlib.AsyncExitStack() as open_:
        api = await open_.enter_async_context(guarding(other.address, by, graceTime=0))
        assert await asyncio.to_thread(other.stop) == 0
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await api.socket.recv()
        await stay_open(trader, 2, 1.5)
        async with guarding(venue.gateway.address, by, graceTime=0):
            await stay_open(trader, 2, 0.5)
    await until_open(trader, 0, LATE_S)
