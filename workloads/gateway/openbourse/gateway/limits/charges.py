"""What one request uses, what its windows hold with it, and what that makes of it. No clock; it counts nothing itself.

What is said first: a ban, then the address's weight, the key's requests, the account's orders.
"""

import functools
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address

from openbourse.gateway import errors
from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits.rules import Kind, Limits

DEFAULT = Limits()


@dataclass(slots=True, eq=False)
class Charge:
    """Filled in while the request is read, then counted once."""

    address: str
    # When the request came; once it is counted, the time on the clock of whoever counted.
    now_ms: int
    weight: int = 1
    # The key that signed, when that is proven: nobody uses up another's limit.
    api_key: str = ""
    # Of a request that counts as an order; no account is 0.
    account: int = 0
    limits: Limits = field(default=DEFAULT)

    counted: bool = False
    # Of each window, this request included; None where it was not counted.
    weight_used: int | None = None
    requests_used: int = 0
    orders_10s: int = 0
    orders_day: int = 0
    banned_until_ms: int = 0

    def check_ban(self) -> None:
        """Raises TooMany."""
        if self.banned_until_ms:
            raise _banned(self.banned_until_ms, self.now_ms)

    def as_json(self) -> list[dict[str, object]]:
        """As answers of the WebSocket API have it, once it was counted."""
        of_orders = self.limits.orders_as_json((self.orders_10s, self.orders_day)) if self.account else []
        return [*of_orders, *self.limits.weight_as_json(self.weight_used or 0)]


def refusal(charge: Charge) -> TooMany | None:
    """Of a charge that was counted."""
    limits = charge.limits
    if charge.banned_until_ms:
        return _banned(charge.banned_until_ms, charge.now_ms)
    if (charge.weight_used or 0) > limits.weight_per_minute:
        return _too_many(errors.TOO_MUCH_WEIGHT, limits.weight_per_minute, "1 MINUTE", Kind.WEIGHT, charge)
    if charge.requests_used > limits.requests_per_5m:
        return _too_many(errors.TOO_MANY_REQUESTS, limits.requests_per_5m, "5 MINUTE", Kind.REQUESTS, charge)
    if charge.orders_10s > limits.orders_per_10s:
        return _too_many(errors.TOO_MANY_ORDERS, limits.orders_per_10s, "10 SECOND", Kind.ORDERS_10S, charge)
    if charge.orders_day > limits.orders_per_day:
        return _too_many(errors.TOO_MANY_ORDERS, limits.orders_per_day, "1 DAY", Kind.ORDERS_DAY, charge)
    return None


@functools.lru_cache(maxsize=10_000)
def counted_as(address: str) -> str:
    """Of an IPv6 address the network of 64 bits that whoever has it was given: all of it is theirs to send from."""
    if ":" not in address:
        return address
    parsed = ip_address(address)
    assert isinstance(parsed, IPv6Address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))


def leads_to_a_ban(refused: TooMany) -> bool:
    """Whether going on after it gets the address banned. Too many orders do not: they are an account's."""
    return refused.code == errors.TOO_MUCH_WEIGHT.code and refused.status != errors.BANNED.status


def _banned(until_ms: int, now_ms: int) -> TooMany:
    return TooMany(errors.BANNED, until_ms, retry_after_s=max(1, -(-(until_ms - now_ms) // 1000)))


def _too_many(word: errors.Word, most: int, interval: str, kind: Kind, charge: Charge) -> TooMany:
    rest_s = kind.seconds - charge.now_ms // 1000 % kind.seconds
    return TooMany(word, most, interval, retry_after_s=rest_s)
