"""One replica's feeds end at any byte, and another's go on: who hears a stream hears every message once, in its order.

Two replicas follow one stream, each in deliveries and at a pace of its own; the gateway changes over between them.
"""

import asyncio
import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from fixtures.local_books import LocalBook
from fixtures.market_streams import SHARD, START_MS, Stream
from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.gateway.continuity import Gap, sequel
from openbourse.gateway.feeds import Feed as HeardFeed
from openbourse.gateway.feeds import MarketFeed
from openbourse.gateway.user_data.feed import AccountFeed
from openbourse.marketdata import publish
from openbourse.marketdata.feed import Feed, Pace, mark_frame, mark_line
from openbourse.marketdata.market import Market
from openbourse.marketdata.shard import Shard

BUY, SELL = v1.Side.SIDE_BUY, v1.Side.SIDE_SELL
COMMANDS = 60


def committed(random_: random.Random) -> list[v1.Events]:
    """A delivery for each command, over some minutes: trades, levels, and commands that nobody hears of."""
    stream, at_ms = Stream(), START_MS
    for _ in range(COMMANDS):
        at_ms += random_.randint(1, 20_000)
        if random_.random() < 0.2:
            stream.nothing()
            continue
        trades = [(random_.randint(90, 110), random_.randint(1, 9)) for _ in range(random_.randint(0, 3))]
        sides = [(side, random_.randint(90, 110)) for side in (BUY, SELL) if random_.random() < 0.7]
        stream.happen(at_ms, trades=trades, levels=[(side, ticks, random_.randint(0, 9)) for side, ticks in sides])
    return stream.deliveries


class Replica:
    """As the service tells it, at times of the test's."""

    def __init__(self, log: list[v1.Events]) -> None:
        self.shard = Shard(SHARD)
        self.shard.accounts.listened = True
        self.market_feed = Feed(mark_line, Pace, 0)
        self.account_feed = Feed(mark_frame, [Pace.AT_ONCE], 0)
        self.log = log
        self._changed: dict[Pace, dict[str, Market]] = {Pace.FAST: {}, Pace.SLOW: {}}

    @property
    def seq(self) -> int:
        return self.shard.watermark.seq

    def hear(self, commands: int) -> None:
        """So many more, if there are, in one delivery."""
        found = self.log[self.seq : self.seq + commands]
        if not found:
            return
        events = [event for delivery in found for event in delivery.events]
        touched = self.shard.apply(
            v1.Events(epoch=1, first_seq=found[0].first_seq, last_seq=found[-1].last_seq, events=events)
        )
        for changed in self._changed.values():
            changed |= {market.symbol: market for market in touched}
        self._tell(Pace.AT_ONCE, publish.at_once, touched)
        updates = self.shard.accounts.take_told()
        self.account_feed.put(Pace.AT_ONCE, self.seq, b"".join(map(encode, updates)), len(updates))

    def tell(self, pace: Pace) -> None:
        changed = list(self._changed[pace].values())
        self._changed[pace].clear()
        self._tell(pace, publish.fast if pace is Pace.FAST else publish.slow, changed)

    def close_candles(self, time_ms: int) -> None:
        self.shard.advance(time_ms)
        self._tell(Pace.AT_ONCE, publish.at_once, [m for m in self.shard.markets.values() if m.told.closed])

    def _tell(
        self, pace: Pace, told: Callable[[Market, int], Iterator[publish.Message]], markets: list[Market]
    ) -> None:
        messages = [message for market in markets for message in told(market, START_MS)]
        self.market_feed.publish(pace, self.seq, messages)

    def step(self, random_: random.Random) -> None:
        match random_.randrange(6):
            case 0:
                self.tell(Pace.FAST)
            case 1:
                self.tell(Pace.SLOW)
            case 2:
                # By the wall clock, also while nothing happens.
                self.close_candles(self.shard.watermark.time_us // 1000 + random_.randint(0, 20_000))
            case _:
                self.hear(random_.randint(1, 4))

    def finish(self) -> None:
        self.hear(COMMANDS)
        self.tell(Pace.FAST)
        self.tell(Pace.SLOW)
        self.close_candles(self.shard.watermark.time_us // 1000 + 60_000)


class Wire:
    """A connection: what a feed tells, as it comes, until it is cut."""

    def __init__(self, feed: Feed, heard: HeardFeed) -> None:
        self._behind = {Pace(pace): seq for pace, seq in heard.behind.items()}
        self._told = feed.read(behind=self._behind)
        self._cut: int | None = None
        self.reading = asyncio.create_task(heard.read(self._chunks()))

    async def _chunks(self) -> AsyncIterator[bytes]:
        async for data in self._told:
            if self._cut is not None:
                yield data[: self._cut % (len(data) + 1)]
                return
            yield data

    async def cut(self, byte: int) -> None:
        """In the middle of what comes next. What was told until then is heard."""
        await turns()
        self._cut = byte

    async def end(self) -> None:
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        await self._told.aclose()  # type: ignore[attr-defined]


async def turns() -> None:
    """Whatever can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def changed_over(random_: random.Random, heard: HeardFeed, which: Callable[[Replica], Feed]) -> Replica:
    """Hears it of two replicas in turn, which are at most a few commands apart, to the end of the log."""
    log = committed(random_)
    replicas = [Replica(log), Replica(log)]
    for replica in replicas:
        replica.hear(3)
    follows = 0
    wire = Wire(which(replicas[0]), heard)
    while min(replica.seq for replica in replicas) < len(log):
        for replica in replicas:
            if replica.seq - min(other.seq for other in replicas) < 8:
                replica.step(random_)
        await turns()
        if random_.random() < 0.2:
            await wire.cut(random_.randrange(10_000))
            for _ in range(3):
                replicas[follows].step(random_)
            await turns()
            await wire.end()
            follows = 1 - follows
            for replica in replicas:
                replica.step(random_)
            wire = Wire(which(replicas[follows]), heard)
            await turns()
            assert not (wire.reading.done() and wire.reading.exception()), wire.reading.exception()
    for replica in replicas:
        replica.finish()
    await turns()
    await wire.end()
    return replicas[0]


@pytest.mark.parametrize("seed", range(60))
async def test_every_trade_diff_and_candle_is_heard_once_whichever_replica_tells_it(seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311
    told: defaultdict[str, list[Any]] = defaultdict(list)
    heard = MarketFeed(lambda stream, payload, _: told[stream].append(json.loads(payload)))
    replica = await changed_over(random_, heard, lambda replica: replica.market_feed)
    market = replica.shard.markets["BTCUSDT"]
    trades = [message["t"] for message in told["btcusdt@trade"]]
    assert trades == list(range(trades[0], market.last_trade.trade_id + 1 if market.last_trade else 0))
    aggregates = [message["a"] for message in told["btcusdt@aggTrade"]]
    assert aggregates == list(range(aggregates[0], market.last_aggregate_id + 1))
    for stream in ("btcusdt@depth", "btcusdt@depth@100ms"):
        diffs = told[stream]
        assert all(this["u"] + 1 == then["U"] for this, then in itertools.pairwise(diffs))
        assert diffs[-1]["u"] == market.book.update_id
        book = LocalBook()
        book.last_id = diffs[0]["U"] - 1
        for diff in diffs:
            book.apply(diff)
        for side, levels in (("b", market.book.bids), ("a", market.book.asks)):
            all_levels = {
                market.units.format_price(ticks): market.units.format_quantity(lots)
                for ticks, lots in levels.top(1_000)
            }
            # Those from before the first diff were never told.
            assert book.sides[side].items() <= all_levels.items()
    bests = [message["u"] for message in told["btcusdt@bookTicker"]]
    assert bests == sorted(set(bests))
    closed = [(m["k"]["t"], m["k"]["n"]) for m in told["btcusdt@kline_1m"] if m["k"]["x"]]
    assert closed == sorted(set(closed))
    in_minute = Counter(
        event.occurred_at_us // 60_000_000 * 60_000
        for delivery in replica.log
        for event in delivery.events
        if event.HasField("trade_executed")
    )
    heard_from_ms = told["btcusdt@trade"][0]["T"] // 60_000 * 60_000
    last_words = dict(closed)
    for opened_ms, count in in_minute.items():
        if opened_ms >= heard_from_ms:
            assert last_words[opened_ms] == count, "no minute with trades ends without its last word"


@pytest.mark.parametrize("seed", range(30))
async def test_every_update_of_an_account_is_heard_once(seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311
    told: list[tuple[int, int]] = []

    async def publish_update(update: v1.AccountUpdate) -> None:
        told.append((update.seq, update.account))

    replica = await changed_over(random_, AccountFeed(publish_update, _nothing), lambda replica: replica.account_feed)
    again = Replica(replica.log)
    again.shard.apply(replica.log[0])
    expected = []
    for delivery in replica.log[1:]:
        again.shard.apply(delivery)
        expected += [(update.seq, update.account) for update in again.shard.accounts.take_told()]
    assert told == [update for update in expected if update[0] >= told[0][0]]


async def ended(feed: Feed, heard: HeardFeed) -> BaseException | None:
    wire = Wire(feed, heard)
    await turns()
    if not wire.reading.done():
        await wire.end()
        return None
    return wire.reading.exception()


@pytest.mark.parametrize("which", ["market", "accounts"])
async def test_who_does_not_have_what_is_missing_any_more_is_not_gone_on_with(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = committed(random.Random(1))  # noqa: S311
    one, other = Replica(log), Replica(log)
    heard = MarketFeed(lambda *_: None) if which == "market" else AccountFeed(_ignored, _nothing)
    feeds = [replica.market_feed if which == "market" else replica.account_feed for replica in (one, other)]
    one.hear(5)
    assert await ended(feeds[0], heard) is None
    assert heard.behind["at_once"] == 5
    other.hear(10)
    assert await ended(feeds[1], heard) is None, "all of it is kept"
    monkeypatch.setattr("openbourse.marketdata.feed.BYTES_MOST", 1)
    other.hear(10)
    other.finish()
    assert isinstance(await ended(feeds[1], heard), Gap)
    heard.forget()
    assert await ended(feeds[1], heard) is None, "it begins anew"


async def _ignored(_update: v1.AccountUpdate) -> None:
    pass


def _nothing() -> None:
    pass


def said(**payload: object) -> str:
    return json.dumps(payload, separators=(",", ":"))


def candle(opened: int, trades: int) -> str:
    return said(k={"t": opened, "n": trades, "x": True})


GOES_ON: list[tuple[str, str, str, Mapping[str, object] | None]] = [
    ("x@trade", said(t=4), said(t=4), None),
    ("x@trade", said(t=4), said(t=5), {"t": 5}),
    ("x@aggTrade", said(a=2, f=3, l=4), said(a=2, f=3, l=4), None),
    ("x@aggTrade", said(a=2, f=3, l=4), said(a=3, f=5, l=5), {"a": 3, "f": 5, "l": 5}),
    ("x@bookTicker", said(u=4), said(u=4), None),
    ("x@bookTicker", said(u=4), said(u=9), {"u": 9}),
    ("x@depth", said(U=1, u=4), said(U=2, u=4), None),
    ("x@depth", said(U=1, u=4), said(U=5, u=6), {"U": 5, "u": 6}),
    ("x@depth@100ms", said(U=1, u=4), said(U=3, u=6), {"U": 5, "u": 6}),
    ("x@kline_1m", candle(60, 2), candle(60, 2), None),
    ("x@kline_1m", candle(60, 2), candle(0, 9), None),
    ("x@kline_1m", candle(60, 2), candle(60, 3), {"k": {"t": 60, "n": 3, "x": True}}),
    ("x@kline_1m", candle(60, 2), candle(120, 0), {"k": {"t": 120, "n": 0, "x": True}}),
]


@pytest.mark.parametrize(("stream", "before", "payload", "told"), GOES_ON)
def test_a_message_goes_on_where_its_ids_say_so(
    stream: str, before: str, payload: str, told: Mapping[str, object] | None
) -> None:
    found = sequel(stream, before, payload)
    assert (found and json.loads(found)) == told


@pytest.mark.parametrize(
    ("stream", "before", "payload"),
    [
        ("x@trade", said(t=4), said(t=6)),
        ("x@aggTrade", said(a=2, f=3, l=4), said(a=4, f=6, l=6)),
        # Its history began later, so it counts them otherwise.
        ("x@aggTrade", said(a=9, f=3, l=4), said(a=12, f=5, l=5)),
        ("x@depth", said(U=1, u=4), said(U=6, u=6)),
    ],
)
def test_what_is_missing_is_a_gap(stream: str, before: str, payload: str) -> None:
    with pytest.raises(Gap):
        sequel(stream, before, payload)
