"""Counts that all gateways share, in Redis: everything that came while one round trip was under way is the next batch.

One batch is one script with one increment for each counter, however many requests it has: the busier, the cheaper, and
each request still has its own place in the count. A batch without a reply is counted by the gateway itself.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.rules import BANS_S, REFUSED_MOST, Kind
from openbourse.gateway.limits.windows import Counts
from openbourse.gateway.redis.link import RedisAway, RedisLink, RedisRefused, sha_of

log = logging.getLogger(__name__)

# What comes when so many wait is counted here.
WAITING_MOST = 50_000
# Counters of one batch: a script of more would let the others wait.
COUNTERS_MOST = 2_000

_COUNT, _BAN = ((Path(__file__).parent / f"{name}.lua").read_text() for name in ("count", "ban"))
SCRIPTS = (_COUNT, _BAN)
_COUNT_SHA, _BAN_SHA = sha_of(_COUNT), sha_of(_BAN)
_BANS_MS = tuple(seconds * 1000 for seconds in BANS_S)


def _key(kind: Kind, name: object) -> str:
    return f"openbourse:{kind.title}:{name}"


_WEIGHT, _REFUSED, _REQUESTS = (_key(kind, "") for kind in (Kind.WEIGHT, Kind.REFUSED, Kind.REQUESTS))
_ORDERS_10S, _ORDERS_DAY = (_key(kind, "") for kind in (Kind.ORDERS_10S, Kind.ORDERS_DAY))
_WEIGHT_MS, _REFUSED_MS, _REQUESTS_MS = (kind.seconds * 1000 for kind in (Kind.WEIGHT, Kind.REFUSED, Kind.REQUESTS))
# The place of a counter that a request does not have: what a list has there, its last, is not used.
_NOWHERE = -1
_ORDERS_10S_MS, _ORDERS_DAY_MS = Kind.ORDERS_10S.seconds * 1000, Kind.ORDERS_DAY.seconds * 1000

# With why it was too much.
Then = Callable[[TooMany | None], None]
# Of a charge that was counted.
Judge = Callable[[Charge], TooMany | None]


class _Batch:
    """Counters with what this batch adds to them, and of each request its places in them."""

    def __init__(self) -> None:
        # With the numbers of its counters, and the amounts up to it in these.
        self.charges: list[tuple[Charge, Then, tuple[int, ...], tuple[int, ...]]] = []
        # Counters of an address, a key and an account: of weight, of requests, of ten seconds, of the day.
        self._counters: dict[tuple[str, str, int], tuple[int, ...]] = {}
        self._numbers: dict[str, int] = {}
        self.amounts: list[int] = []
        self.windows_ms: list[int] = []
        self.refused: dict[str, int] = {}

    def _number(self, key: str, window_ms: int) -> int:
        """Of a counter."""
        number = self._numbers.get(key)
        if number is None:
            self._numbers[key] = number = len(self.amounts)
            self.amounts.append(0)
            self.windows_ms.append(window_ms)
        return number

    def _counters_of(self, address: str, api_key: str, account: int) -> tuple[int, ...]:
        """Each has its own place; without a key, or an account, theirs are nowhere."""
        weight = self._number(_WEIGHT + address, _WEIGHT_MS)
        requests = self._number(_REQUESTS + api_key, _REQUESTS_MS) if api_key else _NOWHERE
        if not account:
            return weight, requests, _NOWHERE, _NOWHERE
        in_10s = self._number(_ORDERS_10S + str(account), _ORDERS_10S_MS)
        return weight, requests, in_10s, self._number(_ORDERS_DAY + str(account), _ORDERS_DAY_MS)

    def add(self, charge: Charge, then: Then) -> None:
        of = charge.address, charge.api_key, charge.account
        counters = self._counters.get(of)
        if counters is None:
            counters = self._counters[of] = self._counters_of(*of)
        amounts = self.amounts
        weight, requests, in_10s, in_day = counters
        amounts[weight] += charge.weight
        if in_10s != _NOWHERE:
            amounts[in_10s] += 1
            amounts[in_day] += 1
        if requests != _NOWHERE:
            amounts[requests] += 1
        up_to = amounts[weight], amounts[requests], amounts[in_10s], amounts[in_day]
        self.charges.append((charge, then, counters, up_to))

    def add_refused(self, address: str, times: int) -> None:
        self.refused[address] = number = self._number(_REFUSED + address, _REFUSED_MS)
        self.amounts[number] += times

    def words(self) -> list[str | int]:
        words: list[str | int] = ["EVALSHA", _COUNT_SHA, len(self.amounts), *self._numbers]
        for pair in zip(self.amounts, self.windows_ms, strict=True):
            words += pair
        return words

    def note(self, reply: list[int]) -> None:
        """What each request's windows held with it and with those before it."""
        now_ms = reply[0]
        # Before this batch.
        before = [used - amount for used, amount in zip(reply[1:], self.amounts, strict=True)]
        for charge, _, (weight, requests, in_10s, in_day), up_to in self.charges:
            charge.now_ms = now_ms
            if reply[weight + 1] < 0:
                charge.banned_until_ms = -reply[weight + 1]
            else:
                charge.weight_used = before[weight] + up_to[0]
            if requests != _NOWHERE:
                charge.requests_used = before[requests] + up_to[1]
            if in_10s != _NOWHERE:
                charge.orders_10s = before[in_10s] + up_to[2]
                charge.orders_day = before[in_day] + up_to[3]
            charge.counted = True


class SharedCounts:
    """Of one gateway: it adds to what the others add to. `own` counts when Redis is away, and knows bans; `judge` says
    what a charge that was counted is too much of."""

    def __init__(self, link: RedisLink, own: Counts, judge: Judge) -> None:
        self._link = link
        self._own = own
        self._judge = judge
        self._waiting: list[tuple[Charge, Then]] = []
        self._refused: dict[str, int] = {}
        self._under_way = False

    def count(self, charge: Charge, then: Then) -> None:
        """Calls `then` when it is counted: at once, when Redis is away."""
        if not self._link.is_there or len(self._waiting) >= WAITING_MOST:
            self._own.count(charge)
            then(self._judge(charge))
            return
        self._waiting.append((charge, then))
        if len(self._waiting) == 1 and not self._under_way:
            # With those that come in the same turn of the loop.
            asyncio.get_running_loop().call_soon(self._send)

    def add_refused(self, address: str, now_ms: int) -> None:
        """Goes with the next batch."""
        if self._link.is_there:
            self._refused[address] = self._refused.get(address, 0) + 1
        else:
            self._own.add_refused(address, now_ms)

    def pardon(self, charge: Charge) -> None:
        """It was found to be banned, and is not to be: its count begins anew with it."""
        self._own.pardon(charge)
        charge.weight_used = charge.weight
        # Without a reply its next request does it.
        self._link.send(("DEL", _WEIGHT + charge.address), lambda reply: None)

    async def orders(self, account: int, now_s: int) -> tuple[int, int]:
        """What the account has used of ten seconds and of the day, without counting."""
        try:
            reply = await self._link.ask("MGET", _key(Kind.ORDERS_10S, account), _key(Kind.ORDERS_DAY, account))
        except (RedisAway, RedisRefused):
            return self._own.orders(account, now_s)
        assert isinstance(reply, list)
        return int(reply[0] or 0), int(reply[1] or 0)

    def _send(self) -> None:
        if self._under_way or not self._waiting:
            return
        batch = _Batch()
        taken = 0
        for charge, then in self._waiting:
            if len(batch.amounts) >= COUNTERS_MOST:
                break
            batch.add(charge, then)
            taken += 1
        self._waiting = self._waiting[taken:]
        while self._refused and len(batch.amounts) < COUNTERS_MOST:
            batch.add_refused(*self._refused.popitem())
        self._under_way = True
        self._link.send(batch.words(), lambda reply: self._counted(batch, reply))

    def _counted(self, batch: _Batch, reply: object) -> None:
        self._under_way = False
        if isinstance(reply, list):
            # First, so that Redis does not wait for us.
            self._send()
            batch.note(reply)
            for address, number in batch.refused.items():
                if reply[number + 1] > REFUSED_MOST:
                    self._ban(address, reply[0])
        else:
            if isinstance(reply, RedisRefused):
                self._link.give_up(f"it refuses to count: {reply}")
            for charge, *_ in batch.charges:
                self._own.count(charge)
            waiting, self._waiting = self._waiting, []
            for charge, then in waiting:
                self._own.count(charge)
                then(self._judge(charge))
        judge = self._judge
        for charge, then, _, _ in batch.charges:
            if charge.banned_until_ms:
                self._own.bans.learn(charge.address, charge.banned_until_ms, charge.now_ms)
            then(judge(charge))

    def _ban(self, address: str, now_ms: int) -> None:
        def then(until_ms: object) -> None:
            # Without a reply its next refused request bans it.
            if isinstance(until_ms, int):
                self._own.bans.learn(address, until_ms, now_ms)

        keys = _key(Kind.WEIGHT, address), f"openbourse:bans:{address}"
        self._link.send(("EVALSHA", _BAN_SHA, len(keys), *keys, *_BANS_MS), then)
