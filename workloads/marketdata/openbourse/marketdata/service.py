"""Reads a shard's committed stream, stores what it makes of it, and tells the feed. Decides nothing about numbers.

Memory is ahead of the history by at most BACKLOG_EVENTS; a start goes on at the history's watermark.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.marketdata import publish
from openbourse.marketdata.errors import Behind, Diverged
from openbourse.marketdata.feed import IDLE_FRAME, Feed
from openbourse.marketdata.history import History
from openbourse.marketdata.intervals import MINUTE_MS
from openbourse.marketdata.market import Market
from openbourse.marketdata.shard import Shard, Watermark

log = logging.getLogger(__name__)

BACKLOG_EVENTS = 20_000
STORE_EVERY_S = 0.05
FAST_S = 0.1
FAST_TURNS_A_SECOND = 10
# A command that is stamped before a candle's end may be heard so long after it.
GRACE_MS = 1_000
# Further behind, the wall clock says nothing about where the stream is.
BEHIND_MS = 5_000
# A question about what a gateway was told already waits so long for the stream to come by.
HEARD_TIMEOUT_S = 2.0

Source = Callable[[Watermark], AsyncIterator[v1.Events]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Service:
    def __init__(self, shard: Shard, history: History, source: Source) -> None:
        self.shard = shard
        self.feed = Feed()
        self.account_feed = Feed(IDLE_FRAME)
        self.history = history
        self.stored = shard.watermark
        self._source = source
        self._storing = asyncio.Lock()
        self._changed_fast: dict[str, Market] = {}
        self._changed_slow: dict[str, Market] = {}
        self._heard = asyncio.Condition()
        self._heard_s = time.monotonic()
        self._minute = 0
        self._trouble = "nothing read yet"

    async def run(self) -> None:
        """Until cancelled. Stops reading for good where the stream contradicts what is stored, and says so."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._tell())
            tasks.create_task(self._keep_storing())

    async def _read(self) -> None:
        self._trouble = ""
        try:
            async for delivery in self._source(self.shard.watermark):
                self.shard.accounts.listened = self.account_feed.is_read
                for market in self.shard.apply(delivery):
                    self._changed_fast[market.symbol] = self._changed_slow[market.symbol] = market
                    self.feed.publish(publish.at_once(market, now_ms()))
                self.account_feed.put(b"".join(map(encode, self.shard.accounts.take_told())))
                self._heard_s = time.monotonic()
                async with self._heard:
                    self._heard.notify_all()
                if self.shard.events_not_stored >= BACKLOG_EVENTS:
                    await self.store()
        except Diverged as error:
            self._trouble = str(error)
            log.error("shard %s: market data stopped: %s", self.shard.name, error)

    async def _keep_storing(self) -> None:
        while True:
            await asyncio.sleep(STORE_EVERY_S)
            await self.store()

    async def heard(self, seq: int) -> None:
        """Comes back when the stream was read that far, and all of it is in the history. Raises Behind."""
        try:
            async with asyncio.timeout(HEARD_TIMEOUT_S), self._heard:
                await self._heard.wait_for(lambda: self.shard.watermark.seq >= seq)
        except TimeoutError:
            at = self.shard.watermark.seq
            raise Behind(f"the stream of shard {self.shard.name} was read up to {at}, not yet to {seq}") from None
        await self.store()

    async def store(self) -> None:
        """When it returns, everything that was heard before it was called is in the history."""
        async with self._storing:
            if self._stopped or self.stored.seq >= self.shard.watermark.seq:
                return
            batch = self.shard.take_batch()
            await asyncio.to_thread(self.history.write, self.shard.name, batch)
            self.stored = batch.watermark

    async def _tell(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(FAST_S)
            turn += 1
            now = now_ms()
            for market in _taken(self._changed_fast):
                self.feed.publish(publish.fast(market, now))
            if turn % FAST_TURNS_A_SECOND == 0:
                self._tell_slow(now)

    def _tell_slow(self, now: int) -> None:
        self._advance(now)
        changed = _taken(self._changed_slow)
        for market in changed:
            self.feed.publish(publish.slow(market, now))
        if now // MINUTE_MS != self._minute:
            # A minute has left every window.
            self._minute = now // MINUTE_MS
            changed = list(self.shard.markets.values())
        self.feed.publish(publish.tickers_of(changed, now))

    def _advance(self, now: int) -> None:
        """Where nothing happens, the wall clock closes candles, a little later than their end."""
        quiet = time.monotonic() - self._heard_s > GRACE_MS / 1000
        if not quiet and now - self.shard.watermark.time_us // 1000 > BEHIND_MS:
            return
        self.shard.advance(now - GRACE_MS)
        for market in self.shard.markets.values():
            if market.told.closed:
                self._changed_slow[market.symbol] = market
                self.feed.publish(publish.at_once(market, now))

    @property
    def _stopped(self) -> bool:
        return bool(self._trouble)

    def why_not_ready(self) -> str:
        return self._trouble

    def as_json(self) -> dict[str, object]:
        return {
            "component": "marketdata",
            "shard": self.shard.name,
            "ready": not self._trouble,
            "reason": self._trouble,
            "seq": self.shard.watermark.seq,
            "storedSeq": self.stored.seq,
            "highestEpoch": self.shard.watermark.session_epoch,
            "symbols": sorted(self.shard.markets),
        }


def _taken(changed: dict[str, Market]) -> list[Market]:
    markets = list(changed.values())
    changed.clear()
    return markets
