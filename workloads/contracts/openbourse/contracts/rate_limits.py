"""What operators say of limits: the exchange's own, and exceptions for an account, an API key or an address.

It is a file of a gateway (`--limits`), and part of an Exchange. What is not said stays as it was.
"""

import datetime
import ipaddress
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from openbourse.contracts.documents import Document
from openbourse.contracts.networks import Network
from openbourse.contracts.units import FIRST_TRADER

# 0: nothing is let through.
Limit = Annotated[int, Field(ge=0, le=10**12)]

OVERRIDES_MOST = 10_000
# Shorter than that no address of IPv6 is told from its neighbours.
IPV6_BITS = 64


class RateLimits(Document):
    """None: as the gateway has it."""

    weight_per_minute: Limit | None = Field(default=None, description="of all requests of an address")
    requests_per_5m: Limit | None = Field(
        default=None, alias="requestsPer5m", description="signed requests of an API key"
    )
    orders_per_10s: Limit | None = Field(default=None, alias="ordersPer10s", description="of an account")
    orders_per_day: Limit | None = Field(default=None, description="of an account")

    def said(self) -> dict[str, int]:
        """Those that are, by name."""
        return {name: value for name in RateLimits.model_fields if (value := getattr(self, name)) is not None}


class Override(RateLimits):
    """For one account, one API key, or the addresses of one network."""

    account: Annotated[int, Field(ge=FIRST_TRADER, lt=2**63)] | None = None
    api_key: Annotated[str, Field(pattern="^[A-Za-z0-9]{16,64}$")] | None = None
    address: str | None = Field(
        default=None, max_length=64, description="an address, or a network such as 192.0.2.0/24"
    )
    reason: str = Field(min_length=1, max_length=200)
    until: datetime.datetime | None = Field(default=None, description="then it is over; none: it stands")

    @field_validator("address")
    @classmethod
    def _network(cls, address: str | None) -> str | None:
        return None if address is None else str(network(address))

    @field_validator("until")
    @classmethod
    def _of_some_zone(cls, until: datetime.datetime | None) -> datetime.datetime | None:
        if until is not None and until.tzinfo is None:
            raise ValueError("it says no zone: give a time such as 2026-12-01T00:00:00Z")
        return until

    @model_validator(mode="after")
    def _fits(self) -> Self:
        of = [name for name in ("account", "api_key", "address") if getattr(self, name) is not None]
        if len(of) != 1:
            raise ValueError("an override is for exactly one of account, apiKey and address")
        allowed = _LIMITS_OF[of[0]]
        if not self.said().keys() <= set(allowed) or not self.said():
            shown = " or ".join(RateLimits.model_fields[name].alias or name for name in allowed)
            raise ValueError(f"an override for {of[0]} says {shown}, and nothing else")
        return self

    def holds(self, now: datetime.datetime) -> bool:
        return self.until is None or now < self.until

    @property
    def subject(self) -> tuple[str, str]:
        """What it is for: no other override is."""
        return next((name, str(value)) for name in _LIMITS_OF if (value := getattr(self, name)) is not None)


_LIMITS_OF = {
    "account": ("orders_per_10s", "orders_per_day"),
    "api_key": ("requests_per_5m",),
    "address": ("weight_per_minute",),
}


class LimitsDocument(Document):
    defaults: RateLimits = RateLimits()
    overrides: tuple[Override, ...] = Field(default=(), max_length=OVERRIDES_MOST)

    @field_validator("overrides")
    @classmethod
    def _each_once(cls, overrides: tuple[Override, ...]) -> tuple[Override, ...]:
        seen: set[tuple[str, str]] = set()
        for override in overrides:
            if override.subject in seen:
                raise ValueError("{} {} is there twice".format(*override.subject))
            seen.add(override.subject)
        return overrides


def network(text: str) -> Network:
    """Raises ValueError, which says what is allowed."""
    try:
        parsed = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no address or network such as 192.0.2.7 or 192.0.2.0/24: {error}") from None
    if parsed.version == 6 and parsed.prefixlen > IPV6_BITS:
        around = parsed.supernet(new_prefix=IPV6_BITS)
        raise ValueError(f"an address of IPv6 is counted with its network of {IPV6_BITS} bits: say {around}")
    return parsed
