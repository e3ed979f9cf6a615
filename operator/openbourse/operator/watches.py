"""Whether the watches live: what they have told, held against what lists show. A value store; the time comes in.

A watch can die in silence while everything else goes on: its stream is half open, or it lost events in a gap. A list
shows a version of an object that its watch should have told; when that stays untold for too long, the watch is dead.
That an object is gone is no such sign: a watch that begins anew after a gap never tells it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import ApiKey, EngineShard, Exchange, Halt, Symbol, TradingLimit
from openbourse.operator.manifests import kinds

# Longer than a half-open stream lasts (`handlers.settings`), which is no reason to end the process.
UNTOLD_MAX_S = 30.0
# What names its exchange, and what has its label.
NAMING = (EngineShard, Symbol, Halt, TradingLimit, ApiKey)
CHILDREN = (kinds.POD, kinds.STATEFUL_SET, kinds.DEPLOYMENT, kinds.JOB)
WATCHED = (Exchange.resource, *(model.resource for model in NAMING), *CHILDREN)


@dataclass(frozen=True, slots=True)
class _Untold:
    """The first version that a list showed and the watch had not told."""

    version: int
    namespace: str
    name: str
    since: float


@dataclass(slots=True)
class _OfKind:
    event_at: float
    # By uid, its namespace and the newest version that was told.
    told: dict[str, tuple[str, int]] = field(default_factory=dict)
    untold: dict[str, _Untold] = field(default_factory=dict)


@dataclass(slots=True)
class Watches:
    """All times are of one monotonic clock, in seconds. A kind is known by its plural."""

    began_at: float
    _kinds: dict[str, _OfKind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kinds = {resource.plural: _OfKind(self.began_at) for resource in WATCHED}

    def told(self, plural: str, metadata: Object, now: float, *, gone: bool) -> None:
        """An event came, of an object with this metadata."""
        kind, uid, version = self._kinds[plural], metadata["uid"], int(metadata["resourceVersion"])
        kind.event_at = now
        if gone:
            kind.told.pop(uid, None)
            kind.untold.pop(uid, None)
            return
        kind.told[uid] = (metadata["namespace"], version)
        untold = kind.untold.get(uid)
        if untold is not None and version >= untold.version:
            del kind.untold[uid]

    def listed(
        self, plural: str, namespace: str | None, list_version: str, items: Iterable[Object], now: float
    ) -> list[str]:
        """All objects of a kind, in a namespace or everywhere. Gives the uids of those that are gone, and forgets them.

        What is younger than the list is not in it, and not gone.
        """
        kind, there = self._kinds[plural], set[str]()
        for item in items:
            metadata = item["metadata"]
            uid, version = metadata["uid"], int(metadata["resourceVersion"])
            there.add(uid)
            if kind.told.get(uid, ("", 0))[1] < version:
                kind.untold.setdefault(uid, _Untold(version, metadata["namespace"], metadata["name"], now))
        gone = [
            uid
            for uid, (of, version) in kind.told.items()
            if uid not in there and namespace in (None, of) and version <= int(list_version)
        ]
        for uid in gone:
            del kind.told[uid]
        kind.untold = {
            uid: untold
            for uid, untold in kind.untold.items()
            if uid in there or namespace not in (None, untold.namespace)
        }
        return gone

    def untold_s(self, now: float) -> dict[str, float]:
        """By kind, for how long the oldest change has been untold; 0: all is told."""
        return {
            plural: max((now - untold.since for untold in kind.untold.values()), default=0.0)
            for plural, kind in self._kinds.items()
        }

    def event_age_s(self, now: float) -> dict[str, float]:
        """By kind, since the last event, or since the start."""
        return {plural: now - kind.event_at for plural, kind in self._kinds.items()}

    def why_dead(self, now: float) -> str:
        """The sentence about the first watch that is; empty: all live."""
        for plural, kind in self._kinds.items():
            for untold in kind.untold.values():
                if now - untold.since > UNTOLD_MAX_S:
                    return f"no event of {plural} {untold.name} for {UNTOLD_MAX_S:.0f} s, and it has changed"
        return ""
