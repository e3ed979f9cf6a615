"""Reads a feed of the market data over mutual TLS, from one connection to the next when certificates want it."""

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Self

import httpx

from openbourse.contracts.tls_material import Lifetime
from openbourse.gateway.replicas import CONNECT_S

log = logging.getLogger(__name__)

# An idle feed says so every second.
SILENCE_MOST_S = 3.0
# A feed that could not go on over another connection stays as it is, and is tried again.
RENEW_AGAIN_S = 5.0


class FeedReader:
    """Reads one feed, over one connection after the other: when the present one is due to be made anew, the next begins
    where it ends. Nothing is missing, and nothing comes twice."""

    def __init__(self, http: httpx.AsyncClient, tls: ssl.SSLContext, feed: str, behind: Mapping[str, int]) -> None:
        """`behind`, by pace: up to which command it was heard elsewhere."""
        self._http = http
        self._tls = tls
        self._feed = feed
        self._behind = {pace: str(seq) for pace, seq in behind.items()}

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Until the feed ends. Raises httpx.HTTPError."""
        async with contextlib.AsyncExitStack() as opened:
            reading = await _Reading.opened(self._http, self._tls, self._feed, opened, self._behind)
            while True:
                following = None
                async for data in reading.chunks:
                    yield data
                    if reading.is_due and following is None:
                        following = await self._next(reading, opened)
                if following is None:
                    return
                await reading.close()
                reading = following

    async def _next(self, reading: "_Reading", opened: contextlib.AsyncExitStack) -> "_Reading | None":
        """None: it goes on as it is, or ends; it is tried again after the next message."""
        try:
            return await _Reading.opened(self._http, self._tls, self._feed, opened, {"instead": reading.name})
        except httpx.HTTPError as error:
            log.warning("the %s of market data goes on as it is: %s", self._feed, error or type(error).__name__)
            reading.try_again()
            return None


class _Reading:
    """One answer of a feed. `name` is what the next one comes instead of."""

    def __init__(self, answer: httpx.Response, name: str, tls: ssl.SSLContext) -> None:
        self.chunks = answer.aiter_raw()
        self.name = name
        self.is_due = False
        self._answer = answer
        self._lifetime = Lifetime(_certificate_of(answer), context=tls, due=self._due, ended=self._due)

    @classmethod
    async def opened(
        cls,
        http: httpx.AsyncClient,
        tls: ssl.SSLContext,
        feed: str,
        resources: contextlib.AsyncExitStack,
        begins: Mapping[str, str],
    ) -> Self:
        """Raises httpx.HTTPError."""
        name = secrets.token_hex(8)
        wanted = {"reader": name, **begins}
        timeout = httpx.Timeout(SILENCE_MOST_S, connect=CONNECT_S)
        answer = await resources.enter_async_context(http.stream("GET", f"/v1/{feed}", params=wanted, timeout=timeout))
        answer.raise_for_status()
        made = cls(answer, name, tls)
        resources.push_async_callback(made.close)
        return made

    def try_again(self) -> None:
        self.is_due = False
        asyncio.get_running_loop().call_later(RENEW_AGAIN_S, self._due)

    async def close(self) -> None:
        self._lifetime.over()
        await self._answer.aclose()

    def _due(self) -> None:
        self.is_due = True


def _certificate_of(answer: httpx.Response) -> Mapping[str, Any] | None:
    tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
    return None if tls is None else tls.getpeercert()
