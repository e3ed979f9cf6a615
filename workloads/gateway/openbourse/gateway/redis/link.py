"""One connection to Redis: commands out, replies in the same order, and given up as soon as a reply is late.

Nothing waits for a Redis that is away: `is_there` says so at once, and only `run` tries to reach it again. No command
is sent twice: of one whose reply did not come it is not known whether it was carried out.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import hiredis

from openbourse.gateway.redis.address import RedisAddress

log = logging.getLogger(__name__)

# A reply that is not there by then is not waited for, and the connection is given up.
REPLY_S = 0.09
# Once more, for a reply that came in the same moment. A process that was itself stopped longer than this gives all of
# REPLY_S again: it was not Redis that was late.
GRACE_S = 0.01
# What is slower than that when it is reached, at its best of a few replies, is as good as away.
PROBE_S = 0.05
PROBES = 3
CONNECT_S = 2.0
RETRY_S = 1.0
# At start, when nobody waits for it yet, it is tried so often, one try soon after the other.
FIRST_TRIES = 5
FIRST_RETRY_S = 0.1
WAITING_MOST = 10_000

Word = str | bytes | int
# Of a reply, or of the error that there is in place of one.
Then = Callable[[object], None]


class RedisAway(Exception):
    """There is no reply, and may never be one."""


class RedisRefused(Exception):
    """Redis answered with an error."""


def sha_of(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class _Wire(asyncio.Protocol):
    """Of one connection, until it is lost; `lost` is told once."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[Then, float]] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one, and does not say so.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, words: Sequence[Word], then: Then) -> None:
        if self._transport is None or self._ended or len(self._waiting) >= WAITING_MOST:
            then(RedisAway("no connection"))
            return
        self._waiting.append((then, self._loop.time() + REPLY_S))
        # Its stub knows tuples of one.
        self._transport.write(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]
        if self._timer is None:
            self._timer = self._loop.call_later(REPLY_S, self._look, self._loop.time() + REPLY_S)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False and self._waiting:
                then, _ = self._waiting.popleft()
                then(RedisRefused(str(reply)) if isinstance(reply, hiredis.ReplyError) else reply)
        except hiredis.ProtocolError as error:
            self.end(f"what it says is not Redis's protocol: {error}")

    def _look(self, due_s: float | None) -> None:
        """At the oldest that waits; `due_s`: when this was to be, None for the second look at a late one."""
        self._timer = None
        if not self._waiting:
            return
        now_s = self._loop.time()
        rest_s = self._waiting[0][1] - now_s
        if rest_s > 0:
            self._timer = self._loop.call_later(rest_s, self._look, now_s + rest_s)
        elif due_s is not None:
            stopped = now_s - due_s > GRACE_S
            self._timer = self._loop.call_later(REPLY_S if stopped else GRACE_S, self._look, None)
        else:
            self.end(f"no reply within {REPLY_S * 1000:g} ms")

    def connection_lost(self, error: Exception | None) -> None:
        self.end(str(error or "it ended the connection"))

    def end(self, why: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._lost(why)
        waiting, self._waiting = self._waiting, deque()
        for then, _ in waiting:
            then(RedisAway(why))


class RedisLink:
    """`scripts` are known to the Redis whenever `is_there`."""

    def __init__(self, address: RedisAddress, scripts: Sequence[str]) -> None:
        """Raises OSError for certificates that are not there."""
        self.address = address
        self.is_there = False
        # Why it is not.
        self.reason = "not reached yet"
        self._scripts = scripts
        self._tls = address.context()
        self._wire: _Wire | None = None
        self._lost = asyncio.Event()
        # Said once, until it is there again.
        self._said_away = False
        # Set once it was reached, or the first tries failed.
        self.tried = asyncio.Event()

    def send(self, words: Sequence[Word], then: Then) -> None:
        """`then` is called with the reply, or with a RedisAway or RedisRefused; once, within REPLY_S and GRACE_S."""
        if self._wire is None:
            then(RedisAway(self.reason))
        else:
            self._wire.send(words, then)

    async def ask(self, *words: Word) -> object:
        """Raises RedisAway and RedisRefused."""
        if self._wire is None:
            raise RedisAway(self.reason)
        return await _asked(self._wire, words)

    def give_up(self, why: str) -> None:
        """It answers, but not as it should: away until it is reached anew."""
        if self._wire is not None:
            self._wire.end(why)

    async def run(self) -> None:
        """Reaches it, again and again, until cancelled."""
        failed = 0
        try:
            while True:
                self._lost.clear()
                try:
                    await self._reach()
                except (OSError, TimeoutError, RedisAway, RedisRefused) as error:
                    self._away(str(error) or f"not reached within {CONNECT_S:g} s")
                else:
                    await self._lost.wait()
                failed += 1
                if failed >= FIRST_TRIES and not self.tried.is_set():
                    self.tried.set()
                    self._away(self.reason)
                await asyncio.sleep(RETRY_S if self.tried.is_set() else FIRST_RETRY_S)
        finally:
            # Nothing to say of it any more.
            self._said_away = True
            self.give_up("the gateway stops")

    async def _reach(self) -> None:
        loop, address = asyncio.get_running_loop(), self.address
        async with asyncio.timeout(CONNECT_S):
            _, wire = await loop.create_connection(lambda: _Wire(self._away), address.host, address.port, ssl=self._tls)
        try:
            if address.password:
                await _asked(wire, ("AUTH", *((address.user,) if address.user else ()), address.password))
            await _asked(wire, ("SELECT", address.database))
            for script in self._scripts:
                await _asked(wire, ("SCRIPT", "LOAD", script))
            took_s = float("inf")
            for _ in range(PROBES):
                began_s = loop.time()
                # One that may only be read, or is full, says so here.
                await _asked(wire, ("SET", "openbourse:probe", 1, "PX", 1000))
                took_s = min(took_s, loop.time() - began_s)
            if took_s > PROBE_S:
                raise RedisAway(f"a reply takes {took_s * 1000:.0f} ms, more than {PROBE_S * 1000:g}")
        except (RedisAway, RedisRefused) as error:
            wire.end(str(error))
            raise
        except asyncio.CancelledError:
            wire.end("the gateway stops")
            raise
        self._wire, self.is_there, self.reason, self._said_away = wire, True, "", False
        self.tried.set()
        log.info("Redis at %s is there", address)

    def _away(self, why: str) -> None:
        if self.tried.is_set() and not self._said_away:
            self._said_away = True
            log.error("Redis at %s is away, and tried again every %g s: %s", self.address, RETRY_S, why)
        self._wire, self.is_there, self.reason = None, False, why
        self._lost.set()


async def _asked(wire: _Wire, words: Sequence[Word]) -> object:
    replied: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def then(reply: object) -> None:
        if replied.done():
            return
        if isinstance(reply, (RedisAway, RedisRefused)):
            replied.set_exception(reply)
        else:
            replied.set_result(reply)

    wire.send(words, then)
    return await replied
