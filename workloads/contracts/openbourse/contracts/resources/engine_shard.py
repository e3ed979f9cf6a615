"""An engine shard: a writer and its standbys, each with the write-ahead log on a volume of its own."""

import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from openbourse.contracts.resources.meta import (
    AGE,
    READY,
    REASON,
    Column,
    CustomResource,
    Status,
    Stored,
    kind,
    list_map,
    rule,
    rules,
    short_name_rule,
)

STANDBYS_MOST = 2
MARKET_DATA_MOST = 3

_QUANTITY = rules(
    rule("self.all(key, isQuantity(self[key]))", "must be amounts such as 500m or 1 (cpu), 512Mi (memory)")
)


class Storage(Stored):
    """A volume, such as that of the write-ahead log."""

    size: str = Field(
        default="1Gi",
        max_length=32,
        json_schema_extra=rules(rule("isQuantity(self)", "must be a size such as 10Gi")),
    )
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="none: the cluster's default class"
    )


class ResourceRequirements(Stored):
    """As in a pod."""

    requests: dict[str, str] = Field(
        default={"cpu": "100m", "memory": "256Mi"}, max_length=8, json_schema_extra=_QUANTITY
    )
    limits: dict[str, str] = Field(default={"memory": "1Gi"}, max_length=8, json_schema_extra=_QUANTITY)


GROWS = rules(
    rule(
        "!isQuantity(self.size) || !isQuantity(oldSelf.size) "
        "|| quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
        "a volume may grow, and never shrinks: size may not be less than it was",
    ),
    rule(
        "has(self.storageClassName) == has(oldSelf.storageClassName) "
        "&& (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "the storage class of a volume is fixed when it is made",
    ),
)


class MarketDataSpec(Stored):
    """Books, trades, candles, tickers and orders of all times, for the gateways."""

    enabled: bool = Field(
        default=True,
        description="false: no process, and gateways that refuse calls about the market; the volume stays",
    )
    replicas: int | None = Field(
        default=None,
        ge=1,
        le=MARKET_DATA_MOST,
        description="processes, each on a node of its own and with a history of its own, so that a lost node takes no "
        "market data away; none: 2 where the shard has standbys, else 1",
    )
    storage: Storage = Field(
        default_factory=Storage,
        description="volume of the history, of each replica",
        json_schema_extra=GROWS,
    )
    resources: ResourceRequirements = Field(default_factory=ResourceRequirements)


class EngineShardSpec(Stored):
    exchange: str = Field(
        min_length=1,
        max_length=20,
        json_schema_extra=rules(rule("self == oldSelf", "a shard stays with its exchange")),
    )
    storage: Storage = Field(
        default_factory=Storage,
        json_schema_extra=GROWS,
    )
    resources: ResourceRequirements = Field(default_factory=ResourceRequirements)
    standbys: int = Field(
        default=1,
        ge=0,
        le=STANDBYS_MOST,
        description="engines beside the leader, each on a node of its own: they have every order that was acknowledged",
        json_schema_extra=rules(
            rule("self >= oldSelf", "standbys may be added, not taken away: one of them may be all that has the orders")
        ),
    )
    min_in_sync: int = Field(
        default=1,
        ge=1,
        le=1 + STANDBYS_MOST,
        description="with fewer engines in sync, orders are refused; 1: the leader goes on alone",
    )
    market_data: MarketDataSpec = Field(default_factory=MarketDataSpec)

    @property
    def market_data_replicas(self) -> int:
        """How many there are to be; 0: none."""
        if not self.market_data.enabled:
            return 0
        return self.market_data.replicas or (2 if self.standbys else 1)

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.minInSync <= self.standbys + 1", "minInSync may be at most standbys + 1, the number of engines")
        )
    )


class Member(Stored):
    """One engine of the shard, as it described itself lately."""

    pod: str = Field(max_length=253)
    role: str = Field(default="", max_length=32, description="leader, standby, joining, ...")
    in_sync: bool = Field(default=False, description="it has everything that was acknowledged")
    committed_seq: int | None = None
    problem: str = Field(default="", max_length=512, description="why it does not take part, or may not soon")


class Failover(Stored):
    """A take-over as the engine saw it that took over. Clients see about `detectMs` and `acknowledgedMs` together."""

    at: datetime.datetime = Field(description="when the leader before was suspected")
    epoch: int = Field(description="that began with it")
    leader: str = Field(max_length=253, description="pod that took over")
    planned: bool = Field(default=False, description="the leader before handed over")
    detect_ms: int | None = Field(default=None, description="from the last sign of life until the suspicion")
    led_ms: int | None = Field(default=None, description="from the suspicion until it led")
    committed_ms: int | None = Field(default=None, description="from the suspicion until it had committed something")
    acknowledged_ms: int | None = Field(default=None, description="from the suspicion until a client had an answer")
    in_flight: int | None = Field(
        default=None, description="commands in its log of which it did not know whether they were answered"
    )
    resent: int | None = Field(
        default=None, description="commands that came again since, and were answered as the first time"
    )


class Switchover(Stored):
    """What became of the last planned switchover that was asked for. The engine that leads says it."""

    id: str = Field(max_length=64, description="of the request")
    outcome: Literal["Done", "Refused", "Overtaken"] = Field(
        description="Refused: the leader leads on, and the message says why; Overtaken: somebody else led before"
    )
    leader: str = Field(max_length=253, description="pod that leads since, or still")
    epoch: int = Field(description="that it leads")
    pause_ms: int | None = Field(
        default=None, description="of one that is done: from the old leader's last word to the new one's first answer"
    )
    message: str = Field(default="", max_length=512)
    at: datetime.datetime


class EngineShardStatus(Status):
    record: str | None = Field(
        default=None,
        max_length=253,
        description="Lease of the leadership record. It was made for this shard, and is never made again",
    )
    leader: str | None = Field(default=None, max_length=253, description="pod of the engine that leads")
    in_sync: int | None = Field(default=None, description="how many engines have everything that was acknowledged")
    members: tuple[Member, ...] = Field(
        default=(), max_length=1 + STANDBYS_MOST, json_schema_extra=list_map("pod"), description="engines"
    )
    lag: int | None = Field(
        default=None, description="commands that are committed, and that the engine furthest behind has not carried out"
    )
    last_failover: Failover | None = None
    switchover: Switchover | None = None
    epoch: int | None = None
    committed_seq: int | None = Field(default=None, description="everything up to this seq is durable")
    checkpoint: int | None = Field(default=None, description="seq of the last EngineCheckpoint")
    state_hash: str | None = Field(
        default=None, max_length=128, description="of the state at that checkpoint: a replay of the log comes to it too"
    )


class EngineShard(CustomResource):
    """A shard of an exchange: one engine that leads, its standbys, one funds domain."""

    spec: EngineShardSpec
    status: EngineShardStatus = Field(default_factory=EngineShardStatus)

    resource = kind("engineshards", "EngineShard")
    short_names = ("shard",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        READY,
        Column(name="Leader", type="string", json_path=".status.leader"),
        Column(name="InSync", type="integer", json_path=".status.inSync"),
        Column(name="Lag", type="integer", json_path=".status.lag"),
        Column(name="Epoch", type="integer", json_path=".status.epoch"),
        Column(name="Committed", type="integer", json_path=".status.committedSeq"),
        REASON,
        AGE,
    )
    object_rules = (short_name_rule("an EngineShard"),)
