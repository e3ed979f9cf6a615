"""The one object that counts what requests use, whoever counts for it, and refuses what is too much.

Counted in this process, a request never waits; with a Redis, for one round trip to it.
"""

import asyncio

from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits import charges
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.file import RulesOfFile
from openbourse.gateway.limits.rules import Limits
from openbourse.gateway.limits.shared import SharedCounts, Then
from openbourse.gateway.limits.windows import Counts
from openbourse.gateway.redis.link import RedisLink


class Usage:
    """All limits of one gateway. A request is a `Charge` of `begin`, filled in, and given to `settle` once."""

    def __init__(self, limits: Limits | RulesOfFile, link: RedisLink | None = None) -> None:
        """`link`: to the Redis that counts for all gateways; without it, this one counts for itself."""
        self._file = limits if isinstance(limits, RulesOfFile) else RulesOfFile(limits)
        self._counts = Counts()
        self._shared = None if link is None else SharedCounts(link, self._counts, self._judged)

    @property
    def limits(self) -> Limits:
        """The exchange's own."""
        return self._file.rules.defaults

    def begin(self, address: str, now_us: int) -> Charge:
        """Of a request that came just now. Its `check_ban` says whether the rest of it need be read."""
        address, now_ms = charges.counted_as(address), now_us // 1000
        until_ms = self._counts.bans.until_ms(address, now_ms)
        if until_ms and self._file.rules.is_known(address):
            until_ms = 0
        return Charge(address, now_ms, banned_until_ms=until_ms)

    def count(self, charge: Charge, then: Then) -> None:
        """Counts it in all its windows, also what is refused, and calls `then` with the refusal, if there is one.

        At once when it is counted here, else from the event loop, within a bound that `redis.link` states.
        """
        if self._shared is None:
            self._counts.count(charge)
            then(self._judged(charge))
        else:
            self._shared.count(charge, then)

    async def settle(self, charge: Charge) -> None:
        """As `count`. Raises TooMany."""
        charge.check_ban()
        if self._shared is None:
            self._counts.count(charge)
            refused = self._judged(charge)
        else:
            judged: asyncio.Future[TooMany | None] = asyncio.get_running_loop().create_future()
            # Who asked may have gone away meanwhile.
            self.count(charge, lambda refused: None if judged.done() else judged.set_result(refused))
            refused = await judged
        if refused is not None:
            raise refused

    async def orders_as_json(self, account: int, now_us: int) -> list[dict[str, object]]:
        """What the account has used of its limits of orders."""
        return self._file.rules.of("", "", account).orders_as_json(await self.orders(account, now_us))

    async def orders(self, account: int, now_us: int) -> tuple[int, int]:
        """What the account has used of ten seconds and of the day."""
        now_s = now_us // 1_000_000
        return (
            self._counts.orders(account, now_s) if self._shared is None else await self._shared.orders(account, now_s)
        )

    def _judged(self, charge: Charge) -> TooMany | None:
        rules, counts = self._file.rules, self._shared or self._counts
        charge.limits = rules.of(charge.address, charge.api_key, charge.account)
        is_known = rules.overrides > 0 and rules.is_known(charge.address)
        if charge.banned_until_ms and is_known:
            counts.pardon(charge)
        refused = charges.refusal(charge)
        if refused is not None and charges.leads_to_a_ban(refused) and not is_known:
            counts.add_refused(charge.address, charge.now_ms)
        return refused
