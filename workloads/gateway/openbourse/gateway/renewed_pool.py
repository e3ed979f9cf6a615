"""HTTP connections to our own listeners, made anew when a certificate was renewed, and before one ends.

A request is answered on the connection that it went out on; the next one may go out on a new one.
"""

import ssl
import time
from collections.abc import AsyncIterator, Callable

import httpx

from openbourse.contracts.tls_material import FollowingContext, InUse

# No request begins on a connection of an older pool. A certificate is renewed weeks before its end.
POOL_AGE_MOST_S = 600.0


class RenewedPool(httpx.AsyncBaseTransport):
    """At most `connections` at once, twice as many while an older pool is in use."""

    def __init__(self, tls: ssl.SSLContext, connections: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._tls = tls
        self._limits = httpx.Limits(max_connections=connections)
        self._clock = clock
        self._pool: _Pool | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pool = await self._present()
        pool.users += 1
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            await pool.left()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, pool)
        return response

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.transport.aclose()

    async def _present(self) -> "_Pool":
        in_use = self._tls.material.in_use if isinstance(self._tls, FollowingContext) else None
        pool = self._pool
        if pool is not None and pool.in_use is in_use and self._clock() - pool.began_s < POOL_AGE_MOST_S:
            return pool
        # Never by way of a proxy that the environment names.
        transport = httpx.AsyncHTTPTransport(verify=self._tls, limits=self._limits, trust_env=False)
        self._pool = _Pool(transport, in_use, self._clock())
        if pool is not None:
            await pool.retire()
        return self._pool


class _Pool:
    def __init__(self, transport: httpx.AsyncHTTPTransport, in_use: InUse | None, began_s: float) -> None:
        self.transport = transport
        self.in_use = in_use
        self.began_s = began_s
        self.users = 0
        self._is_retired = False

    async def retire(self) -> None:
        """Closed when nobody is answered on it any more."""
        self._is_retired = True
        if not self.users:
            await self.transport.aclose()

    async def left(self) -> None:
        self.users -= 1
        if self._is_retired and not self.users:
            await self.transport.aclose()


class _Counted(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, pool: _Pool) -> None:
        self._stream = stream
        self._pool: _Pool | None = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        try:
            await self._stream.aclose()
        finally:
            if pool is not None:
                await pool.left()
