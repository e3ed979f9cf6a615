"""A reader that goes on over another connection misses nothing and hears nothing twice."""

import asyncio
from collections.abc import AsyncIterator

from openbourse.marketdata.feed import Feed, Pace


def a_feed() -> Feed:
    """Whose marks are left away."""
    return Feed(lambda _pace, _seq: b"", [Pace.AT_ONCE], 0)


async def collected(reading: AsyncIterator[bytes]) -> bytes:
    return b"".join([data async for data in reading])


async def begun(feed: Feed, name: str, instead: str = "") -> AsyncIterator[bytes]:
    reading = feed.read(name, instead)
    assert await anext(reading) == b""
    return reading


async def test_the_new_connection_begins_where_the_old_one_ends() -> None:
    feed = a_feed()
    old = await begun(feed, "a")
    feed.put(Pace.AT_ONCE, 1, b"1", 1)
    feed.put(Pace.AT_ONCE, 2, b"2", 1)
    new = await begun(feed, "b", "a")
    feed.put(Pace.AT_ONCE, 3, b"3", 1)
    async with asyncio.timeout(5):
        assert await collected(old) == b"12"
    assert feed.readers == 1
    newest = await begun(feed, "c", "b")
    feed.put(Pace.AT_ONCE, 4, b"4", 1)
    async with asyncio.timeout(5):
        assert (await collected(new), await anext(newest)) == (b"3", b"4")
        feed.end()
        assert await collected(newest) == b""
    assert feed.readers == 0


async def test_nothing_is_read_instead_of_what_has_ended() -> None:
    feed = a_feed()
    old = await begun(feed, "a")
    assert await collected(feed.read("b", "unknown")) == b""
    feed.end()
    assert await collected(feed.read("b", "a")) == b""
    assert await collected(old) == b""
    assert await collected(feed.read("b", "a")) == b""
    assert feed.readers == 0
