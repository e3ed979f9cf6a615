"""One exchange as it was found: values with everything that `plan` and `conditions` need, the time among them."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.resources import ApiKey, EngineShard, Exchange, Halt, Symbol, TradingLimit
from openbourse.contracts.resources.meta import Stored

# A fact that is older is none.
FACT_AGE_MAX = datetime.timedelta(seconds=30)


class SafetyFacts(Stored):
    """What the engine's lag made of its shard, and why."""

    level: str = "NORMAL"
    why: str = ""


class MarketFacts(Stored):
    """Symbols of an engine that are in one state for one reason.

    `held_by`: the halt's name as the engine knows it, safety, phase, or nothing in TRADING.
    """

    state: str
    held_by: str = ""
    reason: str = ""
    symbols: tuple[str, ...] = ()


class HaltFacts(Stored):
    """A halt in force in an engine, by the name that it has there."""

    name: str
    # None: all.
    symbols: tuple[str, ...] = ()

    def covers(self, symbol: str) -> bool:
        return not self.symbols or symbol in self.symbols


class FailoverFacts(Stored):
    """How long the engine's take-over took; None of what has not come to pass."""

    at: datetime.datetime
    epoch: int
    planned: bool = False
    detect_ms: int | None = None
    led_ms: int | None = None
    committed_ms: int | None = None
    acknowledged_ms: int | None = None
    in_flight: int | None = None
    resent: int | None = None


class TlsFacts(Stored):
    """The certificate that a process uses, and the authorities that it trusts, by fingerprint."""

    certificate: str = ""
    authorities: tuple[str, ...] = ()
    problem: str = ""


class ProcessFacts(Stored):
    """What any of our processes says of itself on its status port."""

    # None of one that cannot take a renewed certificate while it runs.
    tls: TlsFacts | None = None


class EngineFacts(ProcessFacts):
    """What an engine says of itself on its status port."""

    # By symbol that is delisted: how many of its orders are still open. One that is not in it is still to be halted.
    delisted: dict[str, int] = Field(default_factory=dict)

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
    # All its symbols.
    markets: tuple[MarketFacts, ...] = ()
    halts: tuple[HaltFacts, ...] = ()
    # Symbols that were its own and are another shard's by now, with that shard.
    moved: dict[str, str] = Field(default_factory=dict)


class MoveFacts(Stored):
    """How far a move of a symbol is, as a ledger says it."""

    state: Literal["requested", "willing", "frozen", "imported", "completed", "abandoned", "undone"]
    # Why it was given up.
    reason: str = ""
    undo_asked: bool = False
    paused_ms: int | None = None


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


class MarketDataFacts(ProcessFacts):
    """What a replica of a shard's market data says of itself on its status port."""

    ready: bool = False
    reason: str = ""
    # In one word, what only a person can put right.
    problem: str = ""
    # The first seq that their history is of.
    begins_seq: int = 1


class GatewayFacts(ProcessFacts):
    """What a gateway says of itself on its status port."""

    # By file, the digest of what it has in use; and why that is not what stands there.
    limits_in_use: dict[str, str] = Field(default_factory=dict)
    limits_trouble: str = ""
    # The same of files of public keys. None: it is of a version that knows none.
    keys_in_use: dict[str, str] | None = None
    keys_trouble: str = ""


@dataclass(frozen=True, slots=True)
class HeardMarketData:
    shard: str
    facts: MarketDataFacts
    at: datetime.datetime


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
    # Fingerprints of the authorities that its holder trusts.
    trusted: frozenset[str] = frozenset()

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
    # Of an authority: who signs next, who signed before and is still trusted, the rotation that was asked for last.
    next: CertificateFacts | None = None
    previous: tuple[CertificateFacts, ...] = ()
    rotation: str = ""
    # Of the file of keys: what these are called, where somebody needs to know.
    api_keys: frozenset[str] = frozenset()

    def others(self) -> frozenset[str]:
        """Authorities that are trusted beside the one that signs."""
        also = (self.next,) if self.next is not None else ()
        return frozenset(one.fingerprint for one in (*also, *self.previous))


@dataclass(frozen=True, slots=True)
class Subject:
    """Which action on which object. `version`: of the object that was decided on, where that matters."""

    action: str
    kind: str
    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server refused of a plan: with its HTTP status, and the sentence for people."""

    phase: str
    subject: Subject
    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Observed:
    """`exchange` is None when there is none (any more); shards, symbols, halts, limits and API keys are those that name
    it."""

    now: datetime.datetime
    namespace: str
    name: str
    exchange: Exchange | None
    shards: tuple[EngineShard, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    halts: tuple[Halt, ...] = ()
    limits: tuple[TradingLimit, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()
    # By kind and name: all objects with the exchange's label.
    children: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    # By pod.
    engines: Mapping[str, Heard] = field(default_factory=dict)
    sealer: HeardSealer | None = None
    # By pod, of those that answered just now.
    gateways: Mapping[str, GatewayFacts] = field(default_factory=dict)
    # By pod, of those that said so in this round.
    tls: Mapping[str, TlsFacts] = field(default_factory=dict)
    # By pod.
    market_datas: Mapping[str, HeardMarketData] = field(default_factory=dict)
    # By shard, whose Lease is there: whether somebody has led.
    founded: Mapping[str, bool] = field(default_factory=dict)
    # Whether the API server holds the lifting of two-person Halts to its two persons. None: not known.
    two_person_held: bool | None = None
    # By shard, whose Lease is there: the uids of its owners.
    owners_of_records: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Whether cert-manager's API is there. None: nobody needs to know.
    cert_manager: bool | None = None
    # Nodes of engines that take no pods. None: who asks may not read nodes.
    cordoned: frozenset[str] | None = frozenset()
    # By id, what the ledgers said of the moves that are under way: None where they know of none, nothing where nobody
    # answered.
    moves: Mapping[str, MoveFacts | None] = field(default_factory=dict)
    # Names of Symbols that are there and cannot be read: they are not deleted.
    unreadable_symbols: frozenset[str] = frozenset()
    # What the API server refused since it was last asked for everything.
    refusals: tuple[Refusal, ...] = ()
    # Each of a thousand symbols asks for it: it follows from the rest.
    _leaders: dict[str, tuple[str, EngineFacts] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def child(self, resource: Resource, name: str) -> Object | None:
        return self.children.get((resource.kind, name))

    def is_refused(self, resource: Resource, name: str) -> bool:
        """Whether anything was refused of this object."""
        return any((refusal.subject.kind, refusal.subject.name) == (resource.kind, name) for refusal in self.refusals)

    def of_kind(self, resource: Resource) -> list[Object]:
        return [child for (kind, _), child in sorted(self.children.items()) if kind == resource.kind]

    def members(self, shard: str) -> dict[str, EngineFacts]:
        """By pod, what the shard's engines said lately."""
        return {
            pod: heard.facts
            for pod, heard in sorted(self.engines.items())
            if heard.shard == shard and self.now - heard.at <= FACT_AGE_MAX
        }

    def market_data(self, shard: str) -> dict[str, MarketDataFacts]:
        """By pod, what the replicas of the shard's market data said lately."""
        return {
            pod: heard.facts
            for pod, heard in sorted(self.market_datas.items())
            if heard.shard == shard and self.now - heard.at <= FACT_AGE_MAX
        }

    def seal(self) -> SealFacts | None:
        """What the sealer said lately."""
        heard = self.sealer
        return heard.facts if heard is not None and self.now - heard.at <= FACT_AGE_MAX else None

    def leader(self, shard: str) -> tuple[str, EngineFacts] | None:
        """The pod that leads and what it says. An old leader may not know better yet: the highest epoch counts."""
        if shard not in self._leaders:
            leaders = [(pod, facts) for pod, facts in self.members(shard).items() if facts.role == "leader"]
            self._leaders[shard] = max(leaders, key=lambda leader: leader[1].epoch or 0, default=None)
        return self._leaders[shard]
