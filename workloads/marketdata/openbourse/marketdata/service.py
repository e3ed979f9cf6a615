"""Reads a shard's committed stream, stores what it makes of it, and tells the feed. Decides nothing about numbers.

Memory is ahead of the history by at most BACKLOG_EVENTS; a start goes on at the history's watermark.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.contracts.session import NotKept
from openbourse.marketdata import publish
from openbourse.marketdata.errors import Behind, Diverged
from openbourse.marketdata.feed import Feed, Pace, mark_frame, mark_line
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
# Further behind, the wall clock says nothing about where the stream is, and gateways ask another replica.
BEHIND_MS = 5_000
# A question about what a gateway was told already waits so long for the stream to come by.
HEARD_TIMEOUT_S = 2.0
# Another member of the shard may lead before long, and have more of the log: asked so often, and then no more.
NOT_KEPT_TRIES = 12
NOT_KEPT_PAUSE_S = 5.0
# What only a person can put right.
DIVERGED, TOO_OLD = PROBLEMS = "Diverged", "HistoryIsTooOld"

Source = Callable[[Watermark], AsyncIterator[v1.Events]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Service:
    def __init__(self, shard: Shard, history: History, source: Source) -> None:
        self.shard = shard
        seq = shard.watermark.seq
        self.feed = Feed(mark_line, Pace, seq)
        self.account_feed = Feed(mark_frame, [Pace.AT_ONCE], seq)
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
        # What was committed when the stream that is read began.
        self._goal_seq: int | None = None
        self._has_come = False
        # Since when nobody is connected who leads.
        self._alone_s: float | None = self._heard_s
        # One of PROBLEMS.
        self.problem = ""
        # Since the start, and how old the last one was when it was heard.
        self.events = 0
        self.heard_delay_ms = 0

    async def run(self) -> None:
        """Until cancelled. Stops reading for good where the stream contradicts what is stored, and says so."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._tell())
            tasks.create_task(self._keep_storing())

    def begin(self, pieces: Sequence[v1.StateBefore]) -> None:
        """What the log begins with. Raises Diverged."""
        self.shard.begin(pieces)
        for feed in (self.feed, self.account_feed):
            feed.begin(self.shard.watermark.seq)
        log.warning("shard %s: what was before seq %d is not in its history", self.shard.name, self.shard.begins_seq)

    def connected(self, committed_seq: int | None) -> None:
        """Whoever leads, who has committed so much; None: nobody any more."""
        if committed_seq is None:
            self._alone_s = time.monotonic()
        else:
            self._alone_s, self._goal_seq = None, committed_seq
            self._note_come()

    def _note_come(self) -> None:
        self._has_come |= self._goal_seq is not None and self.shard.watermark.seq >= self._goal_seq

    async def _read(self) -> None:
        self._trouble = ""
        try:
            for _ in range(NOT_KEPT_TRIES):
                try:
                    await self._read_on()
                except NotKept as error:
                    self.problem, self._trouble = TOO_OLD, _too_old(self.shard.watermark.seq, error)
                    log.error("shard %s: %s", self.shard.name, self._trouble)
                await asyncio.sleep(NOT_KEPT_PAUSE_S)
        except Diverged as error:
            self.problem, self._trouble = DIVERGED, str(error)
        log.error("shard %s: market data stopped: %s", self.shard.name, self._trouble)

    async def _read_on(self) -> None:
        """Never ends. Raises NotKept and Diverged."""
        async for delivery in self._source(self.shard.watermark):
            self.problem = self._trouble = ""
            self.shard.accounts.listened = self._is_told
            touched = self.shard.apply(delivery)
            for market in touched:
                self._changed_fast[market.symbol] = self._changed_slow[market.symbol] = market
            self._publish(Pace.AT_ONCE, publish.at_once, touched, now_ms())
            updates = self.shard.accounts.take_told()
            if self._is_told:
                self.account_feed.put(Pace.AT_ONCE, delivery.last_seq, b"".join(map(encode, updates)), len(updates))
            else:
                self.account_feed.begin(delivery.last_seq)
            self._note(delivery)
            async with self._heard:
                self._heard.notify_all()
            if self.shard.events_not_stored >= BACKLOG_EVENTS:
                await self.store()

    def _publish(
        self, pace: Pace, told: Callable[[Market, int], Iterator[publish.Message]], markets: Iterable[Market], now: int
    ) -> None:
        self._tell_feed(pace, [message for market in markets for message in told(market, now)])

    def _tell_feed(self, pace: Pace, messages: list[publish.Message]) -> None:
        seq = self.shard.watermark.seq
        if self._is_told:
            self.feed.publish(pace, seq, messages)
        else:
            self.feed.begin(seq)

    @property
    def _is_told(self) -> bool:
        """While it catches up nobody comes from another replica, so without a reader nothing is encoded."""
        return self._has_come or bool(self.feed.readers or self.account_feed.readers)

    def _note(self, delivery: v1.Events) -> None:
        self._heard_s = time.monotonic()
        self.events += len(delivery.events)
        if delivery.events:
            self.heard_delay_ms = max(now_ms() - delivery.events[-1].occurred_at_us // 1000, 0)
        self._note_come()

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
            self._publish(Pace.FAST, publish.fast, _taken(self._changed_fast), now)
            if turn % FAST_TURNS_A_SECOND == 0:
                self._tell_slow(now)

    def _tell_slow(self, now: int) -> None:
        self._advance(now)
        changed = _taken(self._changed_slow)
        messages = [message for market in changed for message in publish.slow(market, now)]
        if now // MINUTE_MS != self._minute:
            # A minute has left every window.
            self._minute = now // MINUTE_MS
            changed = list(self.shard.markets.values())
        messages += publish.tickers_of(changed, now)
        self._tell_feed(Pace.SLOW, messages)

    def _advance(self, now: int) -> None:
        """Where nothing happens, the wall clock closes candles, a little later than their end."""
        quiet = time.monotonic() - self._heard_s > GRACE_MS / 1000
        if not quiet and now - self.shard.watermark.time_us // 1000 > BEHIND_MS:
            return
        self.shard.advance(now - GRACE_MS)
        closed = [market for market in self.shard.markets.values() if market.told.closed]
        for market in closed:
            self._changed_slow[market.symbol] = market
        self._publish(Pace.AT_ONCE, publish.at_once, closed, now)

    @property
    def _stopped(self) -> bool:
        return self.problem == DIVERGED

    @property
    def begins_seq(self) -> int:
        """The first command that the history is of."""
        return self.shard.begins_seq

    def why_not_ready(self) -> str:
        """Until it has caught up once since the start, or when a person has to do something."""
        return self._trouble or ("" if self._has_come else self._why_behind(time.monotonic()) or "nothing read yet")

    def why_behind(self) -> str:
        """Than another replica may be; empty: it is level with the shard, as far as it can know."""
        return self._trouble or self._why_behind(time.monotonic())

    def _why_behind(self, now_s: float) -> str:
        seq, goal_seq = self.shard.watermark.seq, self._goal_seq
        if self._alone_s is not None:
            alone_ms = (now_s - self._alone_s) * 1000
            return f"nobody leads shard {self.shard.name} as far as it knows" if alone_ms > BEHIND_MS else ""
        if goal_seq is not None and seq < goal_seq:
            return f"catches up: seq {seq} of {goal_seq}"
        # Where nothing comes any more, everything has come, however late.
        if self.heard_delay_ms > BEHIND_MS and (now_s - self._heard_s) * 1000 < BEHIND_MS and seq != goal_seq:
            return f"hears what is {self.heard_delay_ms} ms old"
        return ""

    def standing(self) -> dict[str, object]:
        """For gateways, that choose among replicas."""
        return {"seq": self.shard.watermark.seq, "beginsSeq": self.begins_seq, "behind": self.why_behind()}

    def as_json(self) -> dict[str, object]:
        return {
            "component": "marketdata",
            "shard": self.shard.name,
            "ready": not (why := self.why_not_ready()),
            "reason": why,
            "behind": self.why_behind(),
            "seq": self.shard.watermark.seq,
            "storedSeq": self.stored.seq,
            "highestEpoch": self.shard.watermark.session_epoch,
            "problem": self.problem,
            "beginsSeq": self.begins_seq,
            "symbols": sorted(self.shard.markets),
        }


def _too_old(seq: int, error: NotKept) -> str:
    return f"the history ends with seq {seq}, and {error}: stop the process, remove the history and start it again"


def _taken(changed: dict[str, Market]) -> list[Market]:
    markets = list(changed.values())
    changed.clear()
    return markets
