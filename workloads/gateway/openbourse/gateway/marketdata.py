"""The gateway's side of one shard's market data: their HTTP API and their feeds, over mutual TLS.

Answers come in Binance's words and go on as they are; nothing here knows a price.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus

import httpx

from openbourse.gateway import errors
from openbourse.gateway.continuity import Gap
from openbourse.gateway.errors import Unavailable
from openbourse.gateway.feed_reader import FeedReader
from openbourse.gateway.feeds import Feed, Following, MarketFeed, Publish
from openbourse.gateway.replicas import Replica, Replicas

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0
# Replicas keep what they told for 15 s. Whoever hears a stream meanwhile hears nothing, and then all of it.
GOES_ON_WITHIN_S = 5.0


class NotKnown(Unavailable):
    """Nothing of that symbol was heard there."""


class MarketData:
    """`urls` of all its replicas; without any this gateway has none, and says so to who asks."""

    def __init__(self, urls: Sequence[str], tls: ssl.SSLContext) -> None:
        self.replicas = Replicas(urls, tls)
        self._tls = tls
        self.is_there = bool(urls)
        self.following = Following()

    async def run(self, publish: Publish, lost: Callable[[], None]) -> None:
        """Keeps looking how each replica stands, and follows the feed of the market, until cancelled.

        `publish` is given each message: stream, payload, and microseconds beyond its time; `lost` see `follow`.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.replicas.run())
            tasks.create_task(self.follow("feed", MarketFeed(publish), lost, self.following))

    async def ask(self, what: str, request_id: str, **wanted: object) -> object:
        """What was asked for, without what is None. Raises Unavailable."""
        answer = await self.get(what, request_id, 0, **wanted)
        try:
            return answer.json()
        except ValueError as error:
            raise _not_given(what, error) from error

    async def get(self, what: str, request_id: str, patience_s: float = 0, **wanted: object) -> httpx.Response:
        """Where nobody can answer yet, asked again for as long as the asker has patience. Raises Unavailable."""
        if not self.is_there:
            raise Unavailable(errors.DISCONNECTED, detail="this gateway was started without market data")
        sent = {name: _text(value) for name, value in wanted.items() if value is not None}
        until_s = time.monotonic() + patience_s
        while True:
            try:
                return await self.replicas.get(f"/v1/{what}", sent, {"X-Request-Id": request_id})
            except httpx.HTTPError as error:
                left_s = until_s - time.monotonic()
                if not _may_be_answered_later(error) or not await self.replicas.come(left_s):
                    raise _not_given(what, error) from error

    async def follow(self, path: str, feed: Feed, lost: Callable[[], None], following: Following) -> None:
        """A feed until cancelled; `following` says if it is heard, `lost` is called where messages may be missing.

        When a replica ends it, or is behind, the next one goes on with it.
        """
        if not self.is_there:
            return
        retry_s, ended_s = RETRY_FIRST_S, 0.0
        # Whoever heard it waits for it to go on.
        is_waited_for = False
        while True:
            replica = self.replicas.in_order()[0]
            why = ""
            try:
                await self._hear(replica, path, feed, following)
            except Gap as gap:
                why = str(gap)
            except (httpx.HTTPError, ValueError) as error:
                log.warning("the %s of market data at %s: %s", path, replica.url, error or type(error).__name__)
            replica.leave(f"its {path} ended")
            if following.now:
                following.end()
                is_waited_for, ended_s, retry_s = True, time.monotonic(), RETRY_FIRST_S
            if not why and time.monotonic() - ended_s > GOES_ON_WITHIN_S:
                why = f"nobody went on with it within {GOES_ON_WITHIN_S:g} s"
            if is_waited_for and (why or not feed.behind):
                log.warning("the %s of market data begins anew: %s", path, why or "it did not say how far it is")
                is_waited_for = False
                feed.forget()
                lost()
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    async def _hear(self, replica: Replica, path: str, feed: Feed, following: Following) -> None:
        """Until it ends, or another one is to be heard. Raises httpx.HTTPError, ValueError and Gap."""
        log.info("the %s of market data is asked of %s", path, replica.url)

        async def until_outdone(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for data in chunks:
                yield data
                # What it is behind was said first, so nothing is missing.
                following.begin()
                if self.replicas.is_outdone(replica):
                    return

        reader = FeedReader(replica.http, self._tls, path, feed.behind)
        async with contextlib.aclosing(reader.chunks()) as chunks:
            await feed.read(until_outdone(chunks))

    async def close(self) -> None:
        await self.replicas.close()


def _may_be_answered_later(error: httpx.HTTPError) -> bool:
    """Nobody was there, or whoever was has not read so far yet."""
    if not isinstance(error, httpx.HTTPStatusError):
        return True
    return error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and '"Behind"' in error.response.text


def _not_given(what: str, error: Exception) -> Unavailable:
    is_unknown = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == HTTPStatus.NOT_FOUND
    kind = NotKnown if is_unknown else Unavailable
    return kind(errors.DISCONNECTED, detail=f"the market data did not give {what}: {type(error).__name__}")


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return ",".join(value)
        case _:
            return str(value)
