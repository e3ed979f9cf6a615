"""Which of several market data a gateway asks, over real sockets: one that does not answer keeps nobody waiting."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from fixtures.processes import free_address
from openbourse.gateway.errors import Unavailable
from openbourse.gateway.marketdata import MarketData
from openbourse.gateway.replicas import COMPANY_AFTER_S, Replicas

NEVER_S = 60.0
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Peer:
    """Market data as a gateway sees them: each answer after `delay_s`."""

    def __init__(self) -> None:
        self.address = free_address()
        self.status, self.body, self.delay_s = 200, b"{}", 0.0
        self.standing: dict[str, object] = {"seq": 1, "beginsSeq": 1, "behind": ""}
        # Questions, without those about how it stands.
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._serve, self.address.host, self.address.port):
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                status, body = 200, json.dumps(self.standing).encode()
                if b"/v1/standing" not in head:
                    self.asked += 1
                    await asyncio.sleep(self.delay_s)
                    status, body = self.status, self.body
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def two(
    change: Callable[[Peer, Peer], None] = lambda _one, _other: None, *, one_serves: bool = True
) -> AsyncIterator[tuple[Peer, Peer, Replicas]]:
    one, other = Peer(), Peer()
    one.body, other.body = b'"one"', b'"other"'
    change(one, other)
    replicas = Replicas([one.url, other.url], TLS)
    try:
        async with other.serving():
            if one_serves:
                async with one.serving():
                    yield one, other, replicas
                    await replicas.close()
            else:
                yield one, other, replicas
    finally:
        await replicas.close()


async def answer(replicas: Replicas) -> object:
    return (await replicas.get("/v1/trades", {}, {})).json()


async def look(replicas: Replicas) -> None:
    for replica in replicas.all:
        await replica.look()


async def test_one_that_answers_is_asked_alone() -> None:
    async with two() as (one, other, replicas):
        assert await answer(replicas) == "one"
        assert (one.asked, other.asked) == (1, 0)


def silent(one: Peer, _other: Peer) -> None:
    one.delay_s = NEVER_S


async def test_one_that_is_silent_gets_company() -> None:
    async with two(silent) as (one, other, replicas):
        began_s = time.monotonic()
        assert await answer(replicas) == "other"
        assert COMPANY_AFTER_S <= time.monotonic() - began_s < COMPANY_AFTER_S + 2
        assert (one.asked, other.asked) == (1, 1)


async def test_one_that_is_not_there_is_passed_over_at_once_and_not_asked_again_until_it_is() -> None:
    async with two(one_serves=False) as (one, _, replicas):
        began_s = time.monotonic()
        assert await answer(replicas) == "other"
        assert time.monotonic() - began_s < COMPANY_AFTER_S
        assert [replica.url for replica in replicas.in_order()] != [one.url, one.url]
        assert replicas.in_order()[0].url != one.url
        async with one.serving():
            await look(replicas)
            assert await answer(replicas) == "one"
            await replicas.close()


@pytest.mark.parametrize(
    ("one_stands", "first"),
    [
        ({"beginsSeq": 1, "behind": ""}, "one"),
        ({"beginsSeq": 1, "behind": "catches up: seq 1 of 9"}, "other"),
        ({"beginsSeq": 700, "behind": ""}, "other"),
        ({"nonsense": 1}, "other"),
    ],
)
async def test_who_is_level_and_has_everything_goes_first(one_stands: dict[str, object], first: str) -> None:
    async with two() as (one, _, replicas):
        one.standing = one_stands
        await look(replicas)
        assert await answer(replicas) == first


async def test_when_none_is_level_the_first_is_asked_all_the_same() -> None:
    async with two() as (one, other, replicas):
        one.standing = other.standing = {"beginsSeq": 1, "behind": "nobody leads"}
        await look(replicas)
        assert await answer(replicas) == "one"
        assert not replicas.is_outdone(replicas.all[0])
        other.standing = {"beginsSeq": 1, "behind": ""}
        await look(replicas)
        assert replicas.is_outdone(replicas.all[0])


async def test_what_one_refuses_another_may_answer() -> None:
    def refusing(one: Peer, _other: Peer) -> None:
        one.status, one.body = 503, b'{"reason":"NotHere"}'

    async with two(refusing) as (_, other, replicas):
        assert await answer(replicas) == "other"
        other.status = 500
        with pytest.raises(httpx.HTTPStatusError):
            await answer(replicas)


async def test_a_query_waits_for_market_data_as_long_as_it_may_and_no_longer() -> None:
    peer = Peer()
    marketdata = MarketData([peer.url], TLS)

    async def came() -> None:
        await asyncio.sleep(0.7)
        async with peer.serving():
            await asyncio.sleep(5)
            await marketdata.close()

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(marketdata.replicas.run())
        with pytest.raises(Unavailable):
            await marketdata.get("trades", "", patience_s=0.3)
        coming = tasks.create_task(came())
        assert (await marketdata.get("trades", "", patience_s=8.0)).status_code == 200
        assert peer.asked == 1
        # What will not be otherwise later is not waited for.
        peer.status, peer.body = 503, b'{"reason":"NotHere"}'
        began_s = time.monotonic()
        with pytest.raises(Unavailable):
            await marketdata.get("trades", "", patience_s=8.0)
        assert time.monotonic() - began_s < 2
        looking.cancel()
        coming.cancel()
    await marketdata.close()
