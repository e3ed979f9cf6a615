"""TradingLimits as `kubectl bourse limit` writes them: one for an account, API key or network, in place of the last."""

from collections.abc import Iterable

from openbourse.cli.bourse.cluster import read_all
from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.apiserver import ApiServer, Object, Refused
from openbourse.contracts.rate_limits import Override, RateLimits
from openbourse.contracts.resources import GROUP, TradingLimit
from openbourse.contracts.resources.trading_limit import object_name

# For people. The API server's audit log is who knows.
SET_BY = f"{GROUP}/set-by"
TRIES = 5

Subject = tuple[str, str]


async def read(api: ApiServer, namespace: str, exchange: str) -> list[TradingLimit]:
    """Of one exchange, by name. Raises ApiError."""
    return [limit for limit in await read_all(api, TradingLimit, namespace) if limit.spec.exchange == exchange]


async def put(api: ApiServer, namespace: str, exchange: str, override: Override, who: str) -> None:
    """In place of the one for the same, whatever its name, by compare-and-set. Raises NotDone and ApiError."""
    spec = {"exchange": exchange} | override.model_dump(mode="json", by_alias=True, exclude_none=True)
    for _ in range(TRIES):
        same = _of(await read(api, namespace, exchange), override.subject)
        try:
            if same:
                stored = await api.get(TradingLimit.resource, namespace, same[0].metadata.name)
                if stored is not None:
                    await api.replace(TradingLimit.resource, _said_by(stored, who) | {"spec": spec})
                    return
            else:
                new = {"metadata": {"name": object_name(exchange, override.subject), "namespace": namespace}}
                await api.create(TradingLimit.resource, _said_by(new, who) | {"spec": spec})
                return
        except Refused as error:
            # Somebody else's was first: this one comes in its place.
            if not error.is_conflict:
                raise
    raise NotDone(f"others changed it {TRIES} times meanwhile: ask again")


async def take_away(api: ApiServer, namespace: str, exchange: str, subject: Subject) -> bool:
    """Whether there was one. Raises ApiError."""
    found = _of(await read(api, namespace, exchange), subject)
    for limit in found:
        await api.delete(TradingLimit.resource, namespace, limit.metadata.name, limit.metadata.uid)
    return bool(found)


def listed(limits: Iterable[TradingLimit]) -> list[str]:
    """For people, a line each."""
    lines = []
    for limit in limits:
        override = limit.spec.override()
        said = "  ".join(f"{RateLimits.model_fields[name].alias} {value}" for name, value in override.said().items())
        until = "" if override.until is None else f"  until {override.until:%Y-%m-%d %H:%M:%S} UTC"
        by = limit.metadata.annotations.get(SET_BY, "")
        lines.append(
            "{} {}  {}{}  {}  ({}, {}{})".format(
                *override.subject,
                said,
                until,
                limit.spec.reason,
                limit.metadata.name,
                _state(limit),
                by and f", by {by}",
            )
        )
    return lines


def documents(limits: Iterable[TradingLimit]) -> list[Object]:
    """For programs."""
    return [
        {"name": limit.metadata.name, "applied": _state(limit)}
        | limit.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        for limit in limits
    ]


def _state(limit: TradingLimit) -> str:
    """In one word: applied, or why not."""
    for condition in limit.status.conditions:
        if condition.type == "Applied" and condition.observed_generation == limit.metadata.generation:
            return "applied" if condition.status == "True" else condition.reason
    return "not seen by the operator yet"


def _of(limits: Iterable[TradingLimit], subject: Subject) -> list[TradingLimit]:
    """Those for `subject`, the one that counts first."""
    same = [limit for limit in limits if limit.spec.override().subject == subject]
    return sorted(same, key=lambda limit: (limit.metadata.creation_timestamp, limit.metadata.name))


def _said_by(stored: Object, who: str) -> Object:
    metadata = stored["metadata"]
    return stored | {"metadata": metadata | {"annotations": (metadata.get("annotations") or {}) | {SET_BY: who}}}
