"""How much each address and each account has used of its window. Counts and times in, no clock of its own.

Windows are fixed (this minute, these ten seconds, this day), as Binance counts them. They live in this process: with
several gateways each has its own.
"""

from dataclasses import dataclass, field

from openbourse.gateway import errors
from openbourse.gateway.errors import TooMany

# Beyond so many in one window, those who come later share one count: a flood of addresses costs no memory.
COUNTED_MOST = 100_000
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a window holds. The defaults are generous: they stop a runaway client, not a busy one."""

    weight_per_minute: int = 600_000
    orders_per_10s: int = 100_000
    orders_per_day: int = 50_000_000

    def as_json(self) -> list[dict[str, object]]:
        return [self._of_weight(), *self._of_orders()]

    def weight_as_json(self, used: int) -> list[dict[str, object]]:
        return [{**self._of_weight(), "count": used}]

    def orders_as_json(self, used: tuple[int, int]) -> list[dict[str, object]]:
        return [{**limit, "count": count} for limit, count in zip(self._of_orders(), used, strict=True)]

    def _of_weight(self) -> dict[str, object]:
        return _limit("REQUEST_WEIGHT", "MINUTE", 1, self.weight_per_minute)

    def _of_orders(self) -> list[dict[str, object]]:
        return [
            _limit("ORDERS", "SECOND", 10, self.orders_per_10s),
            _limit("ORDERS", "DAY", 1, self.orders_per_day),
        ]


def _limit(kind: str, interval: str, number: int, most: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": most}


@dataclass(slots=True)
class Window:
    """Counts by key in one interval after the other."""

    seconds: int
    most: int
    _began: int = 0
    _used: dict[object, int] = field(default_factory=dict)

    def add(self, key: object, amount: int, now_s: int) -> int:
        """Counts `amount` more, also beyond the limit, and returns what is used."""
        began = now_s - now_s % self.seconds
        if began != self._began:
            self._began = began
            self._used.clear()
        if key not in self._used and len(self._used) >= COUNTED_MOST:
            key = _OTHERS
        used = self._used.get(key, 0) + amount
        if amount:
            self._used[key] = used
        return used

    def used(self, key: object, now_s: int) -> int:
        """Without counting."""
        return self.add(key, 0, now_s)

    def rest_s(self, now_s: int) -> int:
        """Until the next window."""
        return self.seconds - now_s % self.seconds


class Usage:
    """All windows of one gateway."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._weight = Window(60, limits.weight_per_minute)
        self._orders_10s = Window(10, limits.orders_per_10s)
        self._orders_day = Window(86_400, limits.orders_per_day)

    def add_weight(self, address: str, weight: int, now_s: int) -> int:
        """What the address has used in this minute, this request included. Raises nothing: see `check_weight`."""
        return self._weight.add(address, weight, now_s)

    def weight(self, address: str, now_s: int) -> int:
        """What the address has used in this minute."""
        return self._weight.used(address, now_s)

    def check_weight(self, used: int, now_s: int) -> None:
        """Raises TooMany."""
        if used > self._weight.most:
            raise TooMany(
                errors.TOO_MUCH_WEIGHT, self._weight.most, "1 MINUTE", retry_after_s=self._weight.rest_s(now_s)
            )

    def add_order(self, account: int, now_s: int) -> tuple[int, int]:
        """Counts an order and returns the account's counts of ten seconds and of the day. Raises TooMany."""
        counts: list[int] = []
        for window, name in ((self._orders_10s, "10 SECOND"), (self._orders_day, "1 DAY")):
            used = window.add(account, 1, now_s)
            if used > window.most:
                raise TooMany(errors.TOO_MANY_ORDERS, window.most, name, retry_after_s=window.rest_s(now_s))
            counts.append(used)
        return counts[0], counts[1]

    def orders(self, account: int, now_s: int) -> tuple[int, int]:
        """What the account has used of ten seconds and of the day."""
        return self._orders_10s.used(account, now_s), self._orders_day.used(account, now_s)
