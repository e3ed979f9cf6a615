"""A rehearsal: one fault, on purpose, in a shard that trades, and whether everything that must hold held.

It runs once. Who runs it is opt-in (`rehearsals.enabled` of the chart); nobody else reads these objects.
"""

import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from openbourse.contracts.documents import SymbolName
from openbourse.contracts.resources.meta import (
    AGE,
    Column,
    CustomResource,
    Status,
    Stored,
    kind,
    list_map,
    rule,
    rules,
)
from openbourse.contracts.resources.window import Window


class Scenario(StrEnum):
    """What is done to the shard. What does not work yet is not offered."""

    ENGINE_CRASH = "EngineCrash"
    ENGINE_FREEZE = "EngineFreeze"
    PARTITION_FROM_STANDBY = "PartitionFromStandby"
    PARTITION_FROM_API_SERVER = "PartitionFromApiServer"
    PARTITION_FROM_BOTH = "PartitionFromBoth"
    STANDBY_LOST = "StandbyLost"
    NODE_KILLED = "NodeKilled"
    SLOW_DISK = "SlowDisk"
    OPERATOR_KILLED_DURING_FAILOVER = "OperatorKilledDuringFailover"
    ROLLING_UPGRADE = "RollingUpgrade"
    SYMBOL_MOVE = "SymbolMove"


class Phase(StrEnum):
    HELD = "Held"
    RUNNING = "Running"
    FINISHED = "Finished"
    REFUSED = "Refused"


class Verdict(StrEnum):
    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class InvariantState(StrEnum):
    HELD = "Held"
    BROKEN = "Broken"
    UNKNOWN = "Unknown"


class RehearsalLoad(Stored):
    """Orders through the gateway while it runs. Both are real: the accounts are funded, the orders trade."""

    keys_secret: str = Field(
        min_length=1,
        max_length=253,
        description="Secret with API keys of accounts that are for rehearsals as `keys.json`, in the namespace of what "
        "runs rehearsals",
    )
    symbol: SymbolName = Field(description="that is traded")
    price: str = Field(
        default="10000",
        max_length=40,
        description="around which orders are placed",
        json_schema_extra=rules(rule("self.matches('^[0-9]{1,19}$')", "price must be a whole number such as 10000")),
    )
    quantity: str = Field(
        default="0.001",
        max_length=40,
        description="of each order",
        json_schema_extra=rules(
            rule("self.matches('^[0-9]{1,19}([.][0-9]{1,18})?$')", "quantity must be a decimal number such as 0.001")
        ),
    )
    orders_per_second: int = Field(default=100, ge=10, le=2_000)
    seconds: int = Field(default=20, ge=10, le=600, description="how long, the fault included")
    halted_symbol: SymbolName | None = Field(
        default=None,
        description="that is halted for the time of the rehearsal, and sent orders that must be refused; none: that a "
        "halt outlives the fault is not looked at",
    )


class AbortWhen(Stored):
    """The fault is taken away at once, and the rehearsal is Inconclusive."""

    longest_pause_seconds: int = Field(default=15, ge=1, le=600, description="no order was acknowledged for so long")
    error_percent: int = Field(
        default=50, ge=1, le=100, description="of the orders of the last five seconds, refused or unanswered"
    )


class RehearsalSpec(Stored):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.exchange == oldSelf.exchange && self.shard == oldSelf.shard && self.scenario == oldSelf.scenario"
                " && self.load == oldSelf.load && self.abortWhen == oldSelf.abortWhen"
                " && self.timeoutSeconds == oldSelf.timeoutSeconds && has(self.windows) == has(oldSelf.windows)"
                " && (!has(self.windows) || self.windows == oldSelf.windows)"
                " && has(self.beginBefore) == has(oldSelf.beginBefore)"
                " && (!has(self.beginBefore) || self.beginBefore == oldSelf.beginBefore)",
                "a Rehearsal never changes, but for suspend: make a new one",
            ),
            rule(
                "!has(self.load.haltedSymbol) || self.load.haltedSymbol != self.load.symbol",
                "haltedSymbol must be another symbol than the one that is traded",
            ),
        )
    )

    exchange: str = Field(min_length=1, max_length=20)
    shard: str = Field(default="main", min_length=1, max_length=20)
    scenario: Scenario
    load: RehearsalLoad
    abort_when: AbortWhen = Field(default_factory=AbortWhen)
    timeout_seconds: int = Field(
        default=300, ge=60, le=3_600, description="for all of it; one that takes longer is Inconclusive"
    )
    windows: tuple[Window, ...] = Field(
        default=(), max_length=16, description="when it may begin; none: at any time. Outside of them it is held"
    )
    begin_before: datetime.datetime | None = Field(
        default=None, description="one that has not begun by then is refused"
    )
    suspend: bool = Field(default=False, description="it does not begin; one that runs is aborted")


class InvariantStatus(Stored):
    """What must hold, and whether it did."""

    name: str = Field(max_length=64)
    state: InvariantState
    message: str = Field(default="", max_length=1024)


class ReportReference(Stored):
    """Where the sealed report is. Anybody can verify a copy of it."""

    config_map: str = Field(max_length=253)
    number: int = Field(description="of the exchange's reports, from 1: each has the digest of the one before")
    sha256: str = Field(max_length=64)
    previous: str = Field(max_length=64)
    key: str = Field(max_length=64, description="public key that signed it, in base64: of P-256, or of Ed25519")


class RehearsalStatus(Status):
    phase: Phase | None = None
    runner: str | None = Field(default=None, max_length=128, description="the process that runs it, or ran it")
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    verdict: Verdict | None = None
    rto_ms: int | None = Field(
        default=None, description="from the last acknowledgement before the fault to the first one after it"
    )
    rpo_orders: int | None = Field(default=None, description="acknowledged orders that are lost")
    invariants: tuple[InvariantStatus, ...] = Field(default=(), max_length=32, json_schema_extra=list_map("name"))
    report: ReportReference | None = None


class Rehearsal(CustomResource):
    """One fault on purpose, under load, with a sealed report of what held."""

    spec: RehearsalSpec
    status: RehearsalStatus = Field(default_factory=RehearsalStatus)

    resource = kind("rehearsals", "Rehearsal")
    short_names = ("reh",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        Column(name="Shard", type="string", json_path=".spec.shard"),
        Column(name="Scenario", type="string", json_path=".spec.scenario"),
        Column(name="Phase", type="string", json_path=".status.phase"),
        Column(name="Verdict", type="string", json_path=".status.verdict"),
        Column(name="RTO ms", type="integer", json_path=".status.rtoMs"),
        Column(name="RPO", type="integer", json_path=".status.rpoOrders"),
        Column(name="Reason", type="string", json_path='.status.conditions[?(@.type=="Complete")].reason'),
        AGE,
    )
    object_rules = (rule("size(self.metadata.name) <= 52", "the name of a Rehearsal may have at most 52 characters"),)
