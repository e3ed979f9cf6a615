"""An engine shard: a writer and its standbys, each with the write-ahead log on a volume of its own."""

import datetime

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

_QUANTITY = rules(
    rule("self.all(key, isQuantity(self[key]))", "must be amounts such as 500m or 1 (cpu), 512Mi (memory)")
)


class Storage(Stored):
    """The volume of the write-ahead log."""

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


class EngineShardSpec(Stored):
    exchange: str = Field(
        min_length=1,
        max_length=20,
        json_schema_extra=rules(rule("self == oldSelf", "a shard stays with its exchange")),
    )
    storage: Storage = Field(
        default_factory=Storage,
        json_schema_extra=rules(rule("self == oldSelf", "the storage of a shard is fixed when it is made")),
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
    last_failover: Failover | None = None
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
        Column(name="Epoch", type="integer", json_path=".status.epoch"),
        Column(name="Committed", type="integer", json_path=".status.committedSeq"),
        REASON,
        AGE,
    )
    object_rules = (short_name_rule("an EngineShard"),)
