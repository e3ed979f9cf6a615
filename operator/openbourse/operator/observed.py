"""One exchange as it was found: values with everything that `plan` and `conditions` need, the time among them."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Symbol
from openbourse.contracts.resources.meta import Stored

# A fact that is older is none.
FACT_AGE_MAX = datetime.timedelta(seconds=30)


class SafetyFacts(Stored):
    """What the engine's lag made of its shard, and why."""

    level: str = "NORMAL"
    why: str = ""


class FailoverFacts(Stored):
    """How long the engine's take-over took; None of what has not come to pass."""

    at: datetime.datetime
    epoch: int
    detect_ms: int | None = None
    led_ms: int | None = None
    committed_ms: int | None = None
    acknowledged_ms: int | None = None
    in_flight: int | None = None
    resent: int | None = None


class EngineFacts(Stored):
    """What an engine says of itself on its status port."""

    role: str | None = None
    # The id of its volume; of one that leads, also those in sync.
    member: str = ""
    in_sync: tuple[str, ...] = ()
    ready: bool = False
    stopped: str = ""
    # Why it cannot read or write the leadership record.
    record: str = ""
    last_failover: FailoverFacts | None = None
    epoch: int | None = None
    committed_seq: int | None = None
    checkpoint: int | None = Field(default=None, validation_alias="last_checkpoint_seq")
    state_hash: str | None = None
    safety: SafetyFacts = Field(default_factory=SafetyFacts)


class SealFacts(Stored):
    """What the sealer says of itself on its status port."""

    state: str = ""
    reason: str = ""
    checkpoint: int = 0
    leaves: int = 0
    time_us: int = 0
    key: str = ""
    lag_ms: int = 0
    witnessed_leaves: int = 0
    archive_trouble: str = ""
    witness_trouble: str = ""


@dataclass(frozen=True, slots=True)
class HeardSealer:
    facts: SealFacts
    at: datetime.datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """Facts of a shard's engine, and when they were heard."""

    shard: str
    facts: EngineFacts
    at: datetime.datetime


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate without its key. `authority` is the fingerprint of what signed it (of itself, for an authority)."""

    fingerprint: str
    authority: str
    component: str
    hosts: frozenset[str]
    not_before: datetime.datetime
    not_after: datetime.datetime

    def renew_at(self) -> datetime.datetime:
        """With a third of its life left, so that a broken operator is noticed long before a broken exchange."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A Secret without its values."""

    keys: frozenset[str]
    # Why there is none, for a Secret that should hold one.
    certificate: CertificateFacts | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """`exchange` is None when there is none (any more); shards, symbols and halts are those that name it."""

    now: datetime.datetime
    namespace: str
    name: str
    exchange: Exchange | None
    shards: tuple[EngineShard, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    halts: tuple[Halt, ...] = ()
    # By kind and name: all objects with the exchange's label.
    children: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    # By pod.
    engines: Mapping[str, Heard] = field(default_factory=dict)
    sealer: HeardSealer | None = None
    # By shard, whose Lease is there: whether somebody has led.
    founded: Mapping[str, bool] = field(default_factory=dict)
    # What the API server refused of the last plan.
    refusals: tuple[str, ...] = ()

    def child(self, resource: Resource, name: str) -> Object | None:
        return self.children.get((resource.kind, name))

    def of_kind(self, resource: Resource) -> list[Object]:
        return [child for (kind, _), child in sorted(self.children.items()) if kind == resource.kind]

    def members(self, shard: str) -> dict[str, EngineFacts]:
        """By pod, what the shard's engines said lately."""
        return {
            pod: heard.facts
            for pod, heard in sorted(self.engines.items())
            if heard.shard == shard and self.now - heard.at <= FACT_AGE_MAX
        }

    def seal(self) -> SealFacts | None:
        """What the sealer said lately."""
        heard = self.sealer
        return heard.facts if heard is not None and self.now - heard.at <= FACT_AGE_MAX else None

    def leader(self, shard: str) -> tuple[str, EngineFacts] | None:
        """The pod that leads and what it says. An old leader may not know better yet: the highest epoch counts."""
        leaders = [(pod, facts) for pod, facts in self.members(shard).items() if facts.role == "leader"]
        return max(leaders, key=lambda leader: leader[1].epoch or 0, default=None)
