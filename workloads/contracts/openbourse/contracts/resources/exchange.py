"""An exchange: its assets, its image, its ledger's database and its gateways."""

import itertools
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from openbourse.contracts.listings import Asset
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
from openbourse.contracts.safety import LIMITS_SENTENCE, THROTTLED_SENTENCE, Safety

NodePort = Annotated[int, Field(ge=1, le=65535)]


class LedgerSpec(Stored):
    database_secret: str = Field(
        min_length=1,
        max_length=253,
        description="Secret with PostgreSQL's DSN twice: `dsn` of the application's role, `owner-dsn` for migrations",
    )


class GatewayService(Stored):
    """Where traders come in."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    node_port: NodePort | None = Field(default=None, description="fixed port of every node; only with type NodePort")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!has(self.nodePort) || self.type == 'NodePort'", "nodePort is allowed only with type NodePort")
        )
    )


class GatewaySpec(Stored):
    replicas: int = Field(default=1, ge=0, le=64)
    keys_secret: str = Field(
        min_length=1, max_length=253, description="Secret with the traders' API keys as the file `keys.json`"
    )
    shard: str = Field(default="main", min_length=1, max_length=20, description="the EngineShard that it serves")
    service: GatewayService = Field(default_factory=GatewayService)


class ExchangeSpec(Stored):
    assets: tuple[Asset, ...] = Field(
        min_length=1,
        max_length=256,
        description="every asset that symbols may name",
        json_schema_extra=list_map("name")
        | rules(
            rule(
                "oldSelf.all(old, self.exists(new, new.name == old.name))",
                "an asset that was listed stays: accounts may hold it",
            ),
            rule(
                "oldSelf.all(old, self.all(new, new.name != old.name || new.scale == old.scale))",
                "an asset's scale never changes: balances are counted in it",
            ),
        ),
    )
    image: str = Field(min_length=1, max_length=512, description="container image of every component")
    ledger: LedgerSpec
    gateway: GatewaySpec
    safety: Safety = Field(
        default_factory=Safety,
        description="how each shard slows down, and stops, while its ledger lags",
        json_schema_extra=rules(
            *(
                rule(
                    f"self.settlementLag.{lower} == 0 || self.settlementLag.{upper} == 0 "
                    f"|| self.settlementLag.{lower} < self.settlementLag.{upper}",
                    LIMITS_SENTENCE,
                )
                for lower, upper in itertools.combinations(("throttleSeconds", "cancelOnlySeconds", "haltSeconds"), 2)
            ),
            rule(
                "self.settlementLag.throttleSeconds == 0 || self.throttledOrdersPerSecond > 0",
                THROTTLED_SENTENCE,
            ),
        ),
    )


class ExchangeStatus(Status):
    pass


class Exchange(CustomResource):
    """An exchange: assets, image, ledger and gateways. Its shards and symbols are objects of their own."""

    spec: ExchangeSpec
    status: ExchangeStatus = Field(default_factory=ExchangeStatus)

    resource = kind("exchanges", "Exchange")
    short_names = ("exch",)
    columns = (
        READY,
        REASON,
        Column(name="Image", type="string", json_path=".spec.image"),
        AGE,
    )
    object_rules = (short_name_rule("an Exchange"),)
