"""The gateway's side of the market data: their HTTP API and their feeds, over mutual TLS.

Answers come in Binance's words and go on as they are; nothing here knows a price.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from openbourse.gateway import errors
from openbourse.gateway.errors import Unavailable

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
CONNECTIONS_MOST = 20
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0
# An idle feed says so every 5 s.
SILENCE_MOST_S = 12.0
# A line is one message; the longest is a diff or the tickers of all symbols.
LINE_BYTES_MOST = 16 * 1024 * 1024


class MarketData:
    """`url` None: this gateway has none, and says so to who asks."""

    def __init__(self, url: str | None, tls: ssl.SSLContext) -> None:
        self._http = url and httpx.AsyncClient(
            base_url=url,
            verify=tls,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=CONNECTIONS_MOST),
            # Never by way of a proxy that the environment names.
            trust_env=False,
        )
        self.is_there = url is not None
        self.following = asyncio.Event()

    async def ask(self, what: str, request_id: str, **wanted: object) -> object:
        """What was asked for, without what is None. Raises Unavailable."""
        answer = await self.get(what, request_id, **wanted)
        try:
            return answer.json()
        except ValueError as error:
            raise _not_given(what, error) from error

    async def get(self, what: str, request_id: str, **wanted: object) -> httpx.Response:
        """Raises Unavailable."""
        if not self._http:
            raise Unavailable(errors.DISCONNECTED, detail="this gateway was started without market data")
        sent = {name: _text(value) for name, value in wanted.items() if value is not None}
        try:
            answer = await self._http.get(f"/v1/{what}", params=sent, headers={"X-Request-Id": request_id})
            return answer.raise_for_status()
        except httpx.HTTPError as error:
            raise _not_given(what, error) from error

    async def follow(
        self,
        feed: str,
        read: Callable[[AsyncIterator[bytes]], Awaitable[None]],
        lost: Callable[[], None],
        following: asyncio.Event,
    ) -> None:
        """A feed, until cancelled; `following` while it is there, `lost` is called where messages may be missing.

        `read` takes its bytes to their end, and raises ValueError for what is no such feed.
        """
        if not self._http:
            return
        retry_s = RETRY_FIRST_S
        while True:
            try:
                async with self._http.stream("GET", f"/v1/{feed}", timeout=httpx.Timeout(SILENCE_MOST_S)) as answer:
                    answer.raise_for_status()
                    # The first bytes come at once: from then on nothing is missing.
                    await read(_noticed(answer.aiter_raw(), following))
                    log.warning("the %s of market data ended; again in %.2f s", feed, retry_s)
            except (httpx.HTTPError, ValueError) as error:
                log.warning("the %s of market data: %s; again in %.2f s", feed, error or type(error).__name__, retry_s)
            if following.is_set():
                following.clear()
                lost()
                retry_s = RETRY_FIRST_S
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    async def close(self) -> None:
        if self._http:
            await self._http.aclose()


def _not_given(what: str, error: Exception) -> Unavailable:
    return Unavailable(errors.DISCONNECTED, detail=f"the market data did not give {what}: {type(error).__name__}")


async def _noticed(chunks: AsyncIterator[bytes], following: asyncio.Event) -> AsyncIterator[bytes]:
    async for data in chunks:
        following.set()
        yield data


async def read_lines(publish: Callable[[str, str], None], chunks: AsyncIterator[bytes]) -> None:
    """The feed of the market: one message a line. Raises ValueError for what is no feed."""
    rest = b""
    async for data in chunks:
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LINE_BYTES_MOST:
            raise ValueError(f"a line of more than {LINE_BYTES_MOST} bytes")
        for line in lines:
            if line:
                stream, tab, payload = line.decode().partition("\t")
                if not tab:
                    raise ValueError("a line without a tab")
                publish(stream, payload)


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return ",".join(value)
        case _:
            return str(value)
