"""Who hears which account, and the feed of accounts that they hear it from.

Nothing is lost within a connection: where an update may be missing, everyone who hears any account is let go, to come
again and to ask how things are.
"""

import asyncio
import functools
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder
from openbourse.gateway import errors
from openbourse.gateway.calls import Security, check_permission
from openbourse.gateway.engines import Engine
from openbourse.gateway.errors import Invalid, Refused, Unavailable
from openbourse.gateway.keys import KeyRing
from openbourse.gateway.marketdata import MarketData
from openbourse.gateway.markets import Markets
from openbourse.gateway.sockets import RESTART, written
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.user_data.events import events, is_known
from openbourse.gateway.user_data.listen_keys import ListenKeys

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
ANEW = "user data begin anew"


@dataclass(eq=False, frozen=True, slots=True)
class Subscription:
    """`tell` is given each event as JSON; `end` is called with a reason when no more come."""

    account: int
    api_key: str
    microseconds: bool
    tell: Callable[[str], None]
    end: Callable[[str], None]


class UserData:
    def __init__(self, engine: Engine, marketdata: MarketData, streams: Streams, keys: KeyRing) -> None:
        self._engine = engine
        self._key_ring = keys
        self._marketdata = marketdata
        self._streams = streams
        self._hearers: defaultdict[int, dict[Subscription, None]] = defaultdict(dict)
        self._following = asyncio.Event()
        self.keys = ListenKeys()

    @property
    def is_there(self) -> bool:
        """False: this gateway has no market data, and so no user data."""
        return self._marketdata.is_there

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._marketdata.follow("accounts/feed", self._read, self._lost, self._following))
            tasks.create_task(self._keep_looking())

    def check_there(self) -> None:
        """Raises Unavailable unless whoever subscribes now hears everything that happens from now on."""
        if not self._following.is_set():
            raise Unavailable(errors.DISCONNECTED, detail="user data are not there now")

    def add(self, subscription: Subscription) -> None:
        """Raises Unavailable."""
        self.check_there()
        self._hearers[subscription.account][subscription] = None

    def remove(self, subscription: Subscription) -> None:
        hearers = self._hearers[subscription.account]
        hearers.pop(subscription, None)
        if not hearers:
            del self._hearers[subscription.account]

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        """Raises ValueError for what is no feed."""
        decoder = Decoder()
        async for data in chunks:
            for body in decoder.feed(data):
                try:
                    update = v1.AccountUpdate.FromString(body)
                except DecodeError as error:
                    raise ValueError("a frame that is no AccountUpdate") from error
                if update.account:
                    await self._publish(update)

    async def _publish(self, update: v1.AccountUpdate) -> None:
        hearers = self._hearers.get(update.account, {})
        key = self.keys.of(update.account)
        key_is_heard = key is not None and self._streams.is_heard(key)
        if not hearers and not key_is_heard:
            return
        markets = await self._markets_of(update)
        now_us = time.time_ns() // 1000

        @functools.cache
        def texts(microseconds: bool) -> list[str]:
            """In the one unit or the other, made when somebody wants it."""
            clock = int if microseconds else _milliseconds
            return [written(event) for event in events(update, markets, clock, now_us)]

        for subscription in list(hearers):
            for text in texts(subscription.microseconds):
                subscription.tell(text)
        if key is not None and key_is_heard:
            for milli, micro in zip(texts(False), texts(True), strict=True):
                self._streams.publish(key, milli, micro)

    async def _markets_of(self, update: v1.AccountUpdate) -> Markets:
        """That know all that the update names. Raises ValueError: then it cannot be told."""
        try:
            markets = await self._engine.markets()
            if not is_known(update, markets):
                markets = await self._engine.newest_markets()
        except Refused as error:
            raise ValueError(f"what is listed is not known: {error.detail or error}") from error
        if not is_known(update, markets):
            raise ValueError(f"seq {update.seq} names what is not listed")
        return markets

    def _lost(self) -> None:
        for hearers in self._hearers.values():
            for subscription in list(hearers):
                subscription.end(ANEW)
        self._streams.end_hearers(self.keys.all(), RESTART, ANEW)

    async def _keep_looking(self) -> None:
        """For listen keys that expired, and for API keys that were revoked: they hear nothing more."""
        version = self._key_ring.version()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._end_keys(self.keys.take_expired(time.monotonic()))
            if (now := self._key_ring.version()) != version:
                version = now
                self._end_revoked()

    def _end_revoked(self) -> None:
        self._end_keys(self.keys.take_revoked(self._may_hear))
        for hearers in list(self._hearers.values()):
            for subscription in list(hearers):
                if not self._may_hear(subscription.api_key):
                    subscription.end("the API key may not hear this any more")

    def _end_keys(self, keys: list[str]) -> None:
        for key in keys:
            self.end_key(key, "listenKeyExpired")

    def _may_hear(self, api_key: str) -> bool:
        try:
            check_permission(self._key_ring.holder(api_key), Security.USER_STREAM)
        except Invalid:
            return False
        return True

    def end_key(self, key: str, event: str) -> None:
        """Says so to whoever hears it, and nothing more comes."""
        text = written({"e": event, "E": time.time_ns() // 1_000_000, "listenKey": key})
        self._streams.publish(key, text)
        self._streams.end_hearers([key], RESTART, "the listen key is not valid any more")


def _milliseconds(time_us: int) -> int:
    return time_us // 1000
