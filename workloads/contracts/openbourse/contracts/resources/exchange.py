"""An exchange: its assets, its image, its ledger's database and its gateways."""

import datetime
import itertools
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from openbourse.contracts.listings import Asset
from openbourse.contracts.resources.engine_shard import Storage
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


class Witness(Stored):
    """Who countersigns the ledger's checkpoints: somebody else, on another machine, if it is to prove something."""

    url: str = Field(min_length=1, max_length=512, description="its API, such as http://witness.example:7300")
    key: str = Field(min_length=1, max_length=512, description="its key, as it prints it and answers to GET /key")


class SealSpec(Stored):
    """Signs checkpoints of what is settled, with a key in a SoftHSM token on a volume of its own."""

    origin: str = Field(
        min_length=1,
        max_length=100,
        description="the ledger's name in its checkpoints, such as exchange.example/ledger",
        json_schema_extra=rules(
            rule("self == oldSelf", "the origin is in everything that was signed: it never changes")
        ),
    )
    pin_secret: str = Field(min_length=1, max_length=253, description="Secret with the token's user PIN as `pin`")
    archive: Storage = Field(
        default_factory=Storage,
        description="volume to which each checkpoint is written once: a class out of PostgreSQL's reach",
        json_schema_extra=rules(rule("self == oldSelf", "the volume of the archive is fixed when it is made")),
    )
    witness: Witness | None = None


class LedgerSpec(Stored):
    database_secret: str = Field(
        min_length=1,
        max_length=253,
        description="Secret with PostgreSQL's DSN: `dsn` of the application's role, `owner-dsn` for migrations, "
        "`sealer-dsn` of the role that seals, if the ledger is sealed",
    )
    seal: SealSpec | None = None

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!has(oldSelf.seal) || has(self.seal)", "a ledger that is sealed stays sealed"),
        )
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


class Sealed(Stored):
    """The last signed checkpoint of the ledger."""

    checkpoint: int
    batches: int = Field(description="that are in it, of all shards")
    at: datetime.datetime = Field(description="when it was signed; while nothing is settled there is no newer one")
    key: str = Field(default="", max_length=64, description="hash of the public key that signed it")
    witnessed_batches: int = Field(default=0, description="that the witness has countersigned")


class ExchangeStatus(Status):
    sealed: Sealed | None = None


class Exchange(CustomResource):
    """An exchange: assets, image, ledger and gateways. Its shards and symbols are objects of their own."""

    spec: ExchangeSpec
    status: ExchangeStatus = Field(default_factory=ExchangeStatus)

    resource = kind("exchanges", "Exchange")
    short_names = ("exch",)
    columns = (
        READY,
        REASON,
        Column(name="Sealed", type="date", json_path=".status.sealed.at"),
        Column(name="Image", type="string", json_path=".spec.image"),
        AGE,
    )
    object_rules = (short_name_rule("an Exchange"),)
