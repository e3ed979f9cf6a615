"""Books are followed while others trade and their connections fail in every way that makes a gap, again and again.

The witness is the engine's committed stream: what a client has is held against the book at exactly that update id, at
hundreds of moments during the load. `make test` does each fault once; with SOAK_S seconds it goes on for so long.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import httpx
import pytest

from fixtures.busy_markets import Crowd, trading
from fixtures.figures import Show
from fixtures.gap_links import Fault, GapLink, gap_link
from fixtures.gateways import Venue, credit
from fixtures.lasting_clients import Book, Follower, OfOwnBook, of_ccxt_pro, of_python_binance, until
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import committed_events

SOAK_S = float(os.environ.get("SOAK_S", "0"))
pytestmark = [
    pytest.mark.server,
    pytest.mark.soak,
    pytest.mark.timeout(SOAK_S * 2 + 240),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SYMBOL = "BTCUSDT"
FUNDS = {"BTC": "1000", "USDT": "100000000"}
TICKS, LOTS = 100, 100_000
# Some two thousand times at each client in a long run.
LOOK_EVERY_S = max(0.05, SOAK_S / 2000)
# Between one fault and the next, at least.
GOES_ON_S = 1.0
# Of those who trade, between two rounds of some ten orders.
PAUSE_S = 0.03
# Twice a second, that they are to end.
TOLD_MOST = 40


@dataclass
class Witness:
    """Every change of the book, from the first one on."""

    deltas: list[v1.BookDelta] = field(default_factory=list)

    async def listen(self, venue: Venue) -> None:
        """Until cancelled."""
        tls = venue.engine.client_tls(Component.LEDGER)
        async for events in committed_events(venue.engine.shard, [venue.engine.address], tls, "test", 1):
            for event in events.events:
                if event.symbol == SYMBOL and event.HasField("book_delta"):
                    assert event.book_delta.update_id == len(self.deltas) + 1
                    self.deltas.append(event.book_delta)

    def books(self, update_ids: Iterable[int]) -> dict[int, Book]:
        """As the engine's book was at each of them."""
        wanted, made = set(update_ids), {}
        bids, asks = dict[int, int](), dict[int, int]()
        for delta in self.deltas:
            side = bids if delta.side == v1.Side.SIDE_BUY else asks
            if delta.quantity_lots:
                side[delta.price_ticks] = delta.quantity_lots
            else:
                side.pop(delta.price_ticks, None)
            if delta.update_id in wanted:
                levels = [
                    [[price / TICKS, of[price] / LOTS] for price in sorted(of, reverse=of is bids)]
                    for of in (bids, asks)
                ]
                made[delta.update_id] = Book(delta.update_id, levels[0], levels[1])
        return made


@contextlib.asynccontextmanager
async def following(followers: list[Follower], seen: dict[str, list[Book]]) -> AsyncIterator[None]:
    """Each follows until the end of the block; what it has is looked at again and again."""

    async def look() -> None:
        while True:
            for each in followers:
                book, before = each.book(), seen[each.name]
                if book is not None and not (before and before[-1].update_id == book.update_id):
                    before.append(book)
            await asyncio.sleep(LOOK_EVERY_S)

    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(work) for work in (look(), *(each.follow_book() for each in followers))]
        try:
            yield
        finally:
            await ended(working)


async def ended(working: list[asyncio.Task[None]]) -> None:
    """A client may take being cancelled for a lost connection, and go on: it is told again."""
    for _ in range(TOLD_MOST):
        for task in working:
            task.cancel()
        _, going_on = await asyncio.wait(working, timeout=0.5)
        if not going_on:
            return
    raise AssertionError(f"they do not end: {[task for task in working if not task.done()]}")


@contextlib.asynccontextmanager
async def others_trade(venue: Venue, crowd: Crowd) -> AsyncIterator[None]:
    market = trading(venue.gateway.url, crowd, (SYMBOL,), PAUSE_S)
    await asyncio.to_thread(market.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(market.__exit__, None, None, None)


async def engines_id(http: httpx.AsyncClient) -> int:
    asked = await http.get("/api/v3/depth", params={"symbol": SYMBOL, "limit": 5})
    update_id: int = asked.raise_for_status().json()["lastUpdateId"]
    return update_id


async def goes_wrong_and_right_again(
    fault: Fault, link: GapLink, followers: list[Follower], http: httpx.AsyncClient
) -> float:
    """How long until all of them have noticed and follow again."""
    before, began_s = [each.books_anew for each in followers], time.monotonic()
    link.fail(fault)

    def noticed() -> list[bool]:
        return [each.books_anew > count for each, count in zip(followers, before, strict=True)]

    await until(lambda: all(noticed()), f"all notice: {fault.value}; {noticed()}")
    begins_id = await engines_id(http)
    await until(lambda: all(each.is_past(begins_id) for each in followers), f"all follow again: {fault.value}")
    return time.monotonic() - began_s


async def test_every_book_is_the_engines_at_every_update_id_that_was_looked_at(venue: Venue, show: Show) -> None:
    chance = random.Random(5)  # noqa: S311
    keys = [venue.unused.pop() for _ in range(5)]
    for key in keys:
        await credit(venue.engine, key.account, FUNDS)
    witness, until_s = Witness(), time.monotonic() + SOAK_S
    slowest_s = dict.fromkeys(Fault, 0.0)
    faults = 0
    async with (
        gap_link(venue.gateway.address) as (link, address),
        of_ccxt_pro(venue.gateway, keys[0], streams=address, ping_s=1) as first,
        of_python_binance(venue.gateway, keys[1], streams=address, ping_s=1) as second,
        httpx.AsyncClient(base_url=venue.gateway.url, timeout=20, trust_env=False) as http,
        asyncio.TaskGroup() as tasks,
    ):
        followers: list[Follower] = [first, second, OfOwnBook("own", http=http, streams=address, ping_s=1)]
        seen: dict[str, list[Book]] = {each.name: [] for each in followers}
        listening = tasks.create_task(witness.listen(venue))
        async with others_trade(venue, Crowd(*keys[2:])), following(followers, seen):
            await until(lambda: all(each.book() for each in followers), "all follow")
            while faults < len(Fault) or time.monotonic() < until_s:
                for fault in chance.sample(list(Fault), len(Fault)):
                    took_s = await goes_wrong_and_right_again(fault, link, followers, http)
                    slowest_s[fault] = max(slowest_s[fault], took_s)
                    faults += 1
                    await asyncio.sleep(GOES_ON_S)
        last_id = max(book.update_id for books in seen.values() for book in books)
        await until(lambda: len(witness.deltas) >= last_id, "the witness has heard it all")
        listening.cancel()
    engines = witness.books(book.update_id for books in seen.values() for book in books)
    for name, books in seen.items():
        wrong = [book for book in books if not is_same(book, engines[book.update_id])]
        assert [book.update_id for book in wrong if not book.begins_anew] == [], name
        assert len(books) > 30
        right = f"{len(books) - len(wrong)} of {len(books)} books the engine's at their update id"
        show(f"books under load, {name}: {right}, the others while it began anew; {faults} faults")
    show(
        "books under load, until all three followed again: "
        + ", ".join(f"{fault.value} {s:.1f} s" for fault, s in slowest_s.items())
    )


def is_same(book: Book, other: Book) -> bool:
    return (book.bids, book.asks) == (other.bids, other.asks)
