"""Who hears which account, and the feeds of accounts that they hear it from: one of each shard.

Nothing is lost within a connection: where an update may be missing, everyone who hears any account is let go, to come
again and to ask how things are.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.gateway import errors
from openbourse.gateway.calls import Security, check_permission
from openbourse.gateway.errors import Invalid, Refused, Unavailable
from openbourse.gateway.feeds import Following
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.markets import Markets
from openbourse.gateway.redis.link import RedisLink
from openbourse.gateway.shards import Shard, Shards
from openbourse.gateway.sockets import RESTART, written
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.user_data.events import events, is_known
from openbourse.gateway.user_data.feed import AccountFeed
from openbourse.gateway.user_data.holdings import Holdings
from openbourse.gateway.user_data.shared_listen_keys import SharedListenKeys

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
# So long a subscription waits for the feed.
COMES_WITHIN_S = 2.0
# Accounts of which it is asked what they have in each shard.
ASKED_AT_ONCE = 100
ASK_AGAIN_S = 0.2
ANEW = "user data begin anew"
REVOKED = "the API key may not hear this any more"


@dataclass(eq=False, frozen=True, slots=True)
class Subscription:
    """`tell` is given each event as JSON; `end` is called with a reason when no more come."""

    account: int
    api_key: str
    # From where it was asked for.
    address: str
    microseconds: bool
    tell: Callable[[str], None]
    end: Callable[[str], None]


class UserData:
    def __init__(self, shards: Shards, streams: Streams, keys: KeyRing, redis: RedisLink | None) -> None:
        self._shards = shards
        self._key_ring = keys
        self._streams = streams
        self._hearers: defaultdict[int, dict[Subscription, None]] = defaultdict(dict)
        # By shard.
        self.following = {shard.name: Following() for shard in shards}
        # Of accounts that somebody hears, where there are several shards; what changed while one did not say what an
        # account has there.
        self._holdings: dict[int, Holdings] = {}
        self._not_told: dict[int, v1.AccountUpdate] = {}
        self._is_untold = asyncio.Event()
        self.keys = SharedListenKeys(redis)
        streams.are_known = self.keys.are_known
        streams.find = self._find
        streams.may_hear = self._may_listen

    @property
    def is_there(self) -> bool:
        """False: this gateway has no market data, and so no user data."""
        return any(shard.marketdata.is_there for shard in self._shards)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for shard in self._shards:
                # Where a feed begins, who came while it was away does not know what happened there before.
                feed = AccountFeed(functools.partial(self._publish, shard), begins=self._lost)
                following = self.following[shard.name]
                tasks.create_task(shard.marketdata.follow("accounts/feed", feed, self._lost, following))
            tasks.create_task(self._keep_asking())
            tasks.create_task(self._keep_looking())
            tasks.create_task(self._streams.run())

    async def come(self) -> None:
        """Whoever subscribes next hears everything that happens from now on. Waits for that a little.

        Raises Unavailable. Clients do not expect a refusal here: of ccxt.pro the caller gets a KeyError.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMES_WITHIN_S):
                for shard in self._shards:
                    if shard.marketdata.is_there:
                        await self.following[shard.name].wait()
        self._check_there()

    def _check_there(self) -> None:
        """Of a shard whose feed is not there nothing is heard; when it comes, everybody begins anew."""
        if not any(following.now for following in self.following.values()):
            raise Unavailable(errors.DISCONNECTED, detail="user data are not there now")

    def add(self, subscription: Subscription) -> None:
        """Raises Unavailable: see `come`."""
        self._check_there()
        self._hearers[subscription.account][subscription] = None

    def remove(self, subscription: Subscription) -> None:
        hearers = self._hearers[subscription.account]
        hearers.pop(subscription, None)
        if not hearers:
            del self._hearers[subscription.account]

    async def _publish(self, shard: Shard, update: v1.AccountUpdate) -> None:
        if not self._is_heard(update.account):
            self._holdings.pop(update.account, None)
            return
        markets = await self._markets_of(shard, update)
        self._tell(self._of_all_shards(shard, update) if len(self._shards) > 1 else update, markets)

    def _is_heard(self, account: int) -> bool:
        return bool(self._hearers.get(account)) or any(map(self._streams.is_heard, self.keys.known.of(account)))

    def _of_all_shards(self, shard: Shard, update: v1.AccountUpdate) -> v1.AccountUpdate:
        """With the sums of all shards for balances. Where these are not known yet, they are told when they are."""
        if not update.balances:
            return update
        account = update.account
        holdings = self._holdings.get(account)
        if holdings is None:
            holdings = self._holdings[account] = Holdings(account, [each.name for each in self._shards])
        told = v1.AccountUpdate()
        told.CopyFrom(update)
        del told.balances[:]
        told.balances.extend(holdings.changed(shard.name, update.seq, update.balances))
        if holdings.untold:
            self._not_told[account] = v1.AccountUpdate(account=account, occurred_at_us=update.occurred_at_us)
            self._is_untold.set()
        return told

    async def _keep_asking(self) -> None:
        """What accounts have in each shard, until cancelled. A shard that is away is asked when it is back."""
        while True:
            await self._is_untold.wait()
            accounts = list(itertools.islice(self._not_told, ASKED_AT_ONCE))
            await asyncio.gather(*map(self._ask, accounts))
            if self._not_told:
                await asyncio.sleep(ASK_AGAIN_S)
            else:
                self._is_untold.clear()

    async def _ask(self, account: int) -> None:
        holdings, update = self._holdings.get(account), self._not_told.pop(account)
        if holdings is None:
            # Nobody hears it any more, or everybody begins anew.
            return
        try:
            for name in holdings.unheard:
                answer = await self._shards[name].engine.ask(v1.Query(account=v1.AccountQuery(account=account)))
                holdings.answered(name, answer.seq, answer.balances.balances)
        except Refused as error:
            log.info("what account %d has is told later: %s", account, error.detail or error)
            self._not_told.setdefault(account, update)
        else:
            update.balances.extend(holdings.take_untold())
            self._tell(update, await self._shards.markets())

    def _tell(self, update: v1.AccountUpdate, markets: Markets) -> None:
        now_us = time.time_ns() // 1000

        @functools.cache
        def texts(microseconds: bool) -> list[str]:
            """In the one unit or the other, made when somebody wants it."""
            clock = int if microseconds else _milliseconds
            return [written(event) for event in events(update, markets, clock, now_us)]

        for subscription in list(self._hearers.get(update.account, ())):
            for text in texts(subscription.microseconds):
                subscription.tell(text)
        for key in filter(self._streams.is_heard, list(self.keys.known.of(update.account))):
            for milli, micro in zip(texts(False), texts(True), strict=True):
                self._streams.publish(key, milli, microseconds=micro)

    async def _markets_of(self, shard: Shard, update: v1.AccountUpdate) -> Markets:
        """That know all that the update names. Raises ValueError: then it cannot be told."""
        try:
            markets = await self._shards.markets()
            if not is_known(update, markets):
                await shard.engine.refresh()
                markets = await self._shards.markets()
        except Refused as error:
            raise ValueError(f"what is listed is not known: {error.detail or error}") from error
        if not is_known(update, markets):
            raise ValueError(f"seq {update.seq} names what is not listed")
        return markets

    def _lost(self) -> None:
        self._holdings.clear()
        for hearers in self._hearers.values():
            for subscription in list(hearers):
                subscription.end(ANEW)
        self._streams.end_hearers(self.keys.known.all(), RESTART, ANEW)

    async def _keep_looking(self) -> None:
        """For listen keys that expired, and for API keys that are not good any more: they hear nothing more."""
        version = self._key_ring.version
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._end_keys(await self.keys.look(time.monotonic()))
            if (now := self._key_ring.version) != version:
                version = now
                self._end_revoked()

    def _end_revoked(self) -> None:
        self._end_keys(self.keys.known.take_revoked(self._may_hear))
        self._streams.end_unheard(self.keys.known.all(), RESTART, REVOKED)
        for hearers in list(self._hearers.values()):
            for subscription in list(hearers):
                if not self._may_hear(subscription.api_key, subscription.address):
                    subscription.end(REVOKED)

    def _end_keys(self, keys: list[str]) -> None:
        for key in keys:
            self.end_key(key, "listenKeyExpired")

    def _may_hear(self, api_key: str, address: str) -> bool:
        try:
            holder = self._key_ring.holder(api_key, address, time.time_ns() // 1000)
            check_permission(holder, Security.USER_STREAM)
        except Invalid:
            return False
        return True

    async def _find(self, streams: Iterable[str]) -> None:
        """Raises Unavailable."""
        await self.keys.find(streams, time.monotonic())

    def _may_listen(self, stream: str, address: str) -> bool:
        """To a stream, which may be a listen key: that is heard from where its API key is good."""
        api_key = self.keys.known.api_key_of(stream)
        return api_key is None or self._may_hear(api_key, address)

    def end_key(self, key: str, event: str) -> None:
        """Says so to whoever hears it, and nothing more comes."""
        text = written({"e": event, "E": time.time_ns() // 1_000_000, "listenKey": key})
        self._streams.publish(key, text)
        self._streams.end_hearers([key], RESTART, "the listen key is not valid any more")


def _milliseconds(time_us: int) -> int:
    return time_us // 1000
