"""What gateways are told of TradingLimits, and what each of those says of itself. What was observed in, values out.

One whose time is over is left out; gateways end it by their own clocks all the same, also while the operator is away.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from openbourse.contracts.documents import digest
from openbourse.contracts.rate_limits import OVERRIDES_MOST, LimitsDocument, Override, RateLimits
from openbourse.contracts.resources import TradingLimit
from openbourse.operator import in_use
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import gateway
from openbourse.operator.observed import Observed

APPLIED = "Applied"
# A ConfigMap holds a mebibyte, with everything around.
BYTES_MOST = 900 * 1024


@dataclass(frozen=True, slots=True)
class _Judged:
    """A limit as gateways read it, or why they are not told of it."""

    limit: TradingLimit
    override: Override | None
    why_not: Fact | None = None


def document(observed: Observed) -> str:
    """The gateways' file."""
    overrides = tuple(one.override for one in _judged(observed) if one.override is not None and one.why_not is None)
    return LimitsDocument(overrides=overrides).model_dump_json(by_alias=True, exclude_none=True)


def facts(observed: Observed) -> Iterator[tuple[TradingLimit, dict[str, str], list[Fact]]]:
    """Of each limit what its status says, for people too, and whether every gateway has it in use."""
    wanted = digest(document(observed).encode())
    waiting = in_use.why_not(
        observed,
        APPLIED,
        wanted,
        lambda said: (said.limits_in_use.get(gateway.TRADING_LIMITS), said.limits_trouble),
        "limits",
    )
    for one in _judged(observed):
        applied = Fact(APPLIED, True, "InUse", "every gateway has it in use")
        yield one.limit, _in_words(one.override), [one.why_not or waiting or applied]


def _judged(observed: Observed) -> Iterator[_Judged]:
    """Of two for the same the older one counts, and so it does where there is no room for all."""
    taken: dict[tuple[str, str], str] = {}
    bytes_left = BYTES_MOST
    for limit in sorted(observed.limits, key=lambda limit: (limit.metadata.creation_timestamp, limit.metadata.name)):
        try:
            override = limit.spec.override()
        except ValidationError as error:
            yield _Judged(limit, None, Fact(APPLIED, False, "NotUnderstood", str(error.errors()[0]["msg"])))
            continue
        if not override.holds(observed.now):
            over = f"it was over at {override.until:%Y-%m-%d %H:%M:%S} UTC"
            yield _Judged(limit, override, Fact(APPLIED, False, "TimeIsOver", over))
        elif limit.metadata.deletion_timestamp is not None:
            yield _Judged(limit, override, Fact(APPLIED, False, "Deleted", "it is being deleted"))
        elif (other := taken.setdefault(override.subject, limit.metadata.name)) != limit.metadata.name:
            older = f"TradingLimit {other} is older and for the same: delete one of the two"
            yield _Judged(limit, override, Fact(APPLIED, False, "SaidTwice", older))
        elif (bytes_left := bytes_left - _size(override)) < 0 or len(taken) > OVERRIDES_MOST:
            none_left = "there are as many as gateways can be told of: make one of a network of several, delete others"
            yield _Judged(limit, override, Fact(APPLIED, False, "NoRoom", none_left))
        else:
            yield _Judged(limit, override)


def _size(override: Override) -> int:
    """In the document, with what stands between two, and escaped as in a ConfigMap's JSON."""
    return len(json.dumps(override.model_dump_json(by_alias=True, exclude_none=True)))


def _in_words(override: Override | None) -> dict[str, str]:
    if override is None:
        return {}
    said = (f"{RateLimits.model_fields[name].alias} {value}" for name, value in override.said().items())
    return {"subject": " ".join(override.subject), "limits": ", ".join(said)}
