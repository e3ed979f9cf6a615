"""An exception from the limits of traders: for an account, an API key or a network, for good or until a time."""

import datetime
import hashlib
import re

from pydantic import ConfigDict, Field

from openbourse.contracts.rate_limits import Override, RateLimits
from openbourse.contracts.resources.meta import AGE, Column, CustomResource, Status, Stored, kind, rule, rules
from openbourse.contracts.units import FIRST_TRADER

_SUBJECTS = ("account", "apiKey", "address")
_LIMITS = {
    "account": ("ordersPer10s", "ordersPerDay"),
    "apiKey": ("requestsPer5m",),
    "address": ("weightPerMinute",),
}
_ALL = tuple(limit for limits in _LIMITS.values() for limit in limits)
_LIMIT_MOST = 10**12


def _any(fields: tuple[str, ...]) -> str:
    return " || ".join(f"has(self.{field})" for field in fields)


def _limit(description: str, alias: str | None = None) -> int | None:
    field: int | None = Field(
        default=None, ge=0, le=_LIMIT_MOST, alias=alias, description=f"{description}; 0: nothing is let through"
    )
    return field


class TradingLimitSpec(Stored):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                " + ".join(f"(has(self.{subject}) ? 1 : 0)" for subject in _SUBJECTS) + " == 1",
                "give exactly one of account, apiKey and address",
            ),
            *(
                rule(
                    f"!has(self.{subject}) || (({_any(limits)}) && "
                    f"!({_any(tuple(limit for limit in _ALL if limit not in limits))}))",
                    f"a limit of {subject} says {' or '.join(limits)}, and nothing else",
                )
                for subject, limits in _LIMITS.items()
            ),
            *(
                rule(
                    f"has(self.{subject}) == has(oldSelf.{subject}) && "
                    f"(!has(self.{subject}) || self.{subject} == oldSelf.{subject})",
                    "what a TradingLimit is for never changes: make another one, and delete this one",
                )
                for subject in _SUBJECTS
            ),
        )
    )

    exchange: str = Field(
        min_length=1,
        max_length=20,
        json_schema_extra=rules(rule("self == oldSelf", "a TradingLimit stays with its exchange")),
    )
    account: int | None = Field(default=None, ge=FIRST_TRADER, description="an account")
    api_key: str | None = Field(
        default=None, pattern="^[A-Za-z0-9]{16,64}$", description="an API key, which is no secret"
    )
    address: str | None = Field(
        default=None,
        min_length=2,
        max_length=49,
        description="an address, or each of a network: 192.0.2.0/24. Of IPv6, a network of at most 64 bits",
        json_schema_extra=rules(
            rule(
                "isIP(self) ? ip(self).family() == 4 : isCIDR(self) && cidr(self) == cidr(self).masked() && "
                "(cidr(self).ip().family() == 4 || cidr(self).prefixLength() <= 64)",
                "must be an address such as 192.0.2.7, or a network such as 192.0.2.0/24 or 2001:db8::/64, without "
                "bits behind its prefix, and of IPv6 of at most 64 bits",
            )
        ),
    )
    weight_per_minute: int | None = _limit("of all requests of an address")
    requests_per_5m: int | None = _limit("signed requests of an API key", "requestsPer5m")
    orders_per_10s: int | None = _limit("of an account", "ordersPer10s")
    orders_per_day: int | None = _limit("of an account")
    reason: str = Field(
        min_length=1,
        max_length=200,
        description="why, for whoever lists it",
        json_schema_extra=rules(rule("self.matches('[^ ]')", "reason must say why, in 1 to 200 characters")),
    )
    until: datetime.datetime | None = Field(
        default=None, description="then it is over, such as 2026-12-01T00:00:00Z; none: it stands until it is deleted"
    )

    def override(self) -> Override:
        """As gateways read it. Raises ValidationError."""
        fields = ("account", "api_key", "address", *RateLimits.model_fields, "reason", "until")
        return Override.model_validate({field: getattr(self, field) for field in fields})


class TradingLimitStatus(Status):
    subject: str | None = Field(default=None, max_length=128, description="what it is for")
    limits: str | None = Field(default=None, max_length=128, description="what it allows")


class TradingLimit(CustomResource):
    """What one account, API key or network may use, in place of what everybody may."""

    spec: TradingLimitSpec
    status: TradingLimitStatus = Field(default_factory=TradingLimitStatus)

    resource = kind("tradinglimits", "TradingLimit")
    short_names = ("tlim",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        Column(name="For", type="string", json_path=".status.subject"),
        Column(name="Limits", type="string", json_path=".status.limits"),
        Column(name="Applied", type="string", json_path='.status.conditions[?(@.type=="Applied")].status'),
        Column(name="Until", type="string", json_path=".spec.until"),
        Column(name="Reason", type="string", json_path=".spec.reason"),
        AGE,
    )


def object_name(exchange: str, subject: tuple[str, str]) -> str:
    """Of the one that `kubectl bourse limit` makes for a subject: two people who mean the same write the same."""
    what, value = subject
    if what == "api_key":
        # Its letters are of two kinds, and names of objects have one.
        value = hashlib.sha256(value.encode()).hexdigest()[:16]
    return f"{exchange}-{what.replace('_', '-')}-{re.sub('[^a-z0-9]+', '-', value.lower()).strip('-')}"
