"""An engine shard: one single writer with its write-ahead log on a volume of its own."""

from pydantic import Field

from openbourse.contracts.resources.meta import (
    AGE,
    READY,
    REASON,
    Column,
    CustomResource,
    Status,
    Stored,
    kind,
    rule,
    rules,
    short_name_rule,
)

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


class EngineShardStatus(Status):
    role: str | None = Field(default=None, max_length=32, description="what the engine says it is: leader")
    epoch: int | None = None
    committed_seq: int | None = Field(default=None, description="everything up to this seq is durable")
    checkpoint: int | None = Field(default=None, description="seq of the last EngineCheckpoint")
    state_hash: str | None = Field(
        default=None, max_length=128, description="of the state at that checkpoint: a replay of the log comes to it too"
    )


class EngineShard(CustomResource):
    """A shard of an exchange: one engine, one write-ahead log, one funds domain."""

    spec: EngineShardSpec
    status: EngineShardStatus = Field(default_factory=EngineShardStatus)

    resource = kind("engineshards", "EngineShard")
    short_names = ("shard",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        READY,
        Column(name="Role", type="string", json_path=".status.role"),
        Column(name="Epoch", type="integer", json_path=".status.epoch"),
        Column(name="Committed", type="integer", json_path=".status.committedSeq"),
        REASON,
        AGE,
    )
    object_rules = (short_name_rule("an EngineShard"),)
