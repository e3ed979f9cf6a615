"""What addresses, API keys and accounts may use, and how that is told. Values alone: nothing is counted here."""

import functools
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from openbourse.contracts.networks import Network
from openbourse.contracts.rate_limits import LimitsDocument, network

# A ban lasts so long; whoever is banned again within the last of them is banned for the next longer time.
BANS_S = (120, 600, 3_600, 6 * 3_600, 24 * 3_600, 3 * 24 * 3_600)
# So many refused requests of an address in a minute are forgiven: they may have been on their way already.
REFUSED_MOST = 100


class Kind(Enum):
    """What is counted, with the length of its window in seconds. Windows begin at multiples of it since 1970."""

    WEIGHT = "weight", 60
    REFUSED = "refused", 60
    REQUESTS = "requests", 300
    ORDERS_10S = "orders10s", 10
    ORDERS_DAY = "ordersday", 86_400

    def __init__(self, title: str, seconds: int) -> None:
        self.title = title
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What a window holds. The defaults are generous: they stop a runaway client, not a busy one."""

    weight_per_minute: int = 600_000
    requests_per_5m: int = 3_000_000
    orders_per_10s: int = 100_000
    orders_per_day: int = 50_000_000

    def as_json(self) -> list[dict[str, object]]:
        raw = _limit("RAW_REQUESTS", "MINUTE", 5, self.requests_per_5m)
        return [self._of_weight(), *self._of_orders(), raw]

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


class Rules:
    """The limits of everybody: the exchange's, and exceptions. Of two networks the smaller one counts."""

    def __init__(self, limits: Limits, document: LimitsDocument | None = None) -> None:
        """`document` goes before `limits`."""
        document = document or LimitsDocument()
        self.defaults = replace(limits, **document.defaults.said())
        self.overrides = len(document.overrides)
        self._accounts: dict[int, Mapping[str, int]] = {}
        self._api_keys: dict[str, Mapping[str, int]] = {}
        self._networks: list[tuple[Network, Mapping[str, int]]] = []
        for override in document.overrides:
            if override.account is not None:
                self._accounts[override.account] = override.said()
            elif override.api_key is not None:
                self._api_keys[override.api_key] = override.said()
            elif override.address is not None:
                self._networks.append((network(override.address), override.said()))
        self._networks.sort(key=lambda each: -each[0].prefixlen)
        self._of_address = functools.lru_cache(maxsize=16_384)(self._look_up)

    def of(self, address: str, api_key: str, account: int) -> Limits:
        """`address` as it is counted: of IPv6 a network."""
        if not self.overrides:
            return self.defaults
        found = (
            self._of_address(address) if self._networks else None,
            self._api_keys.get(api_key),
            self._accounts.get(account),
        )
        said = {name: value for each in found if each for name, value in each.items()}
        return replace(self.defaults, **said) if said else self.defaults

    def is_known(self, address: str) -> bool:
        """Whether there is an override for it: somebody decided what it may use, so it is not banned."""
        return bool(self._networks) and self._of_address(address) is not None

    def _look_up(self, address: str) -> Mapping[str, int] | None:
        try:
            counted = ipaddress.ip_network(address)
        except ValueError:
            return None
        return next((said for each, said in self._networks if _is_in(counted, each)), None)


def _is_in(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)
