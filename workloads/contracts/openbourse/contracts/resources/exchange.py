"""An exchange: its assets, its image, its ledger's database and its gateways."""

import datetime
import itertools
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from openbourse.contracts.listings import Asset
from openbourse.contracts.resources.engine_shard import Storage
from openbourse.contracts.resources.meta import (
    AGE,
    READY,
    REASON,
    AddressOrNetwork,
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


class KeysToken(Stored):
    """A token over PKCS#11, such as one of an HSM in the network, under which the file of API keys is sealed."""

    module: str = Field(
        min_length=2,
        max_length=512,
        description="the HSM's library, a file of the image",
        json_schema_extra=rules(
            rule("self.startsWith('/')", "must be the whole path of a library, such as /usr/lib/softhsm/libsofthsm2.so")
        ),
    )
    label: str = Field(min_length=1, max_length=32, description="the token's label")
    pin_secret: str = Field(min_length=1, max_length=253, description="Secret with the token's user PIN as `pin`")


class GatewaySpec(Stored):
    """Each gateway serves all shards."""

    replicas: int = Field(default=1, ge=0, le=64)
    keys_secret: str = Field(
        min_length=1, max_length=253, description="Secret with the traders' API keys as the file `keys.json`"
    )
    shard: str | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="not looked at any more, for each gateway serves all shards: taken so that what was written for an "
        "earlier version is, and found again by it after a rollback",
    )
    keys_token: KeysToken | None = Field(
        default=None,
        description="what the API keys are sealed under (`openbourse keys rewrap`); none: they are in clear",
    )
    redis_secret: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Secret with `url` of the Redis in which gateways count limits together, such as "
        "redis://:PASSWORD@redis.NAMESPACE.svc:6379/0, and for rediss:// `ca.crt`; none: each gateway counts by itself",
    )
    limits_config_map: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="ConfigMap with limits of everybody, and exceptions as the `limits.json` that `openbourse limits` "
        "writes; a TradingLimit goes before; a change is taken within about a minute, without a restart",
    )
    trusted_proxies: tuple[AddressOrNetwork, ...] = Field(
        default=(),
        max_length=32,
        description="addresses of load balancers in front, whose X-Forwarded-For is believed, such as 10.0.0.0/8; "
        "none: an address is the one that a connection comes from",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    service: GatewayService = Field(default_factory=GatewayService)


class DeletionPolicy(StrEnum):
    RETAIN = "Retain"
    DELETE = "Delete"


class TraceExport(Stored):
    """Where the processes send the traces of requests."""

    endpoint: str = Field(
        min_length=8,
        max_length=512,
        pattern=r"^https?://[^ /?#]+(/[^ ?#]*)?$",
        description="a collector of OpenTelemetry, over OTLP/HTTP, such as http://collector.observability:4318",
    )
    per_thousand: int = Field(default=10, ge=0, le=1000, description="of a thousand requests, how many are traced")


class Telemetry(Stored):
    logs: Literal["text", "json"] = Field(default="text", description="lines for people, or an object of JSON a line")
    traces: TraceExport | None = None


class Disruptions(Stored):
    """How much of what the operator does by itself to engines that run may happen at once."""

    at_once: int = Field(default=1, ge=1, le=16, description="shards of which an engine is away, or hands over")
    distance_seconds: int = Field(
        default=10, ge=0, le=3600, description="from one engine that was made, or led, until the next is touched"
    )


class IssuerRef(Stored):
    """An issuer of cert-manager."""

    name: str = Field(min_length=1, max_length=253)
    kind: str = Field(
        default="Issuer", min_length=1, max_length=63, description="Issuer, ClusterIssuer or another kind"
    )
    group: str = Field(default="cert-manager.io", min_length=1, max_length=253)


class CertificatesSpec(Stored):
    """Who makes the certificates of the exchange's processes, in place of the operator."""

    issuer_ref: IssuerRef


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
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="what becomes of its volumes and leadership records when it is deleted; the database always stays",
    )
    disruptions: Disruptions = Field(
        default_factory=Disruptions, description="the pace of rolling upgrades and planned switchovers"
    )
    telemetry: Telemetry = Field(default_factory=Telemetry, description="logs and traces of every process")
    certificates: CertificatesSpec | None = Field(
        default=None,
        description="cert-manager makes the certificates, and renews them; none: the operator does",
        json_schema_extra=rules(
            rule("self == oldSelf", "another issuer is one that nobody trusts yet: it never changes")
        ),
    )
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

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.certificates) == has(oldSelf.certificates)",
                "who makes the certificates is fixed when the exchange is made: nobody trusts another authority yet",
            )
        )
    )


class Sealed(Stored):
    """The last signed checkpoint of the ledger."""

    checkpoint: int
    batches: int = Field(description="that are in it, of all shards")
    at: datetime.datetime = Field(description="when it was signed; while nothing is settled there is no newer one")
    key: str = Field(default="", max_length=64, description="hash of the public key that signed it")
    witnessed_batches: int = Field(default=0, description="that the witness has countersigned")


class Authority(Stored):
    """A certificate authority that every process trusts."""

    use: Literal["signing", "next", "previous"] = Field(
        description="signs; will, once all trust it; did, until none need it"
    )
    fingerprint: str = Field(max_length=64, description="the first 32 characters of its SHA-256")
    until: datetime.datetime


class Leaf(Stored):
    """The certificate of a process, or of a person at the command line."""

    secret: str = Field(max_length=253)
    component: str = Field(max_length=32)
    until: datetime.datetime
    authority: str = Field(max_length=64, description="fingerprint of who signed it")


class Certificates(Stored):
    """What the Secrets of certificates hold, without their keys."""

    authorities: tuple[Authority, ...] = Field(default=(), max_length=16)
    leaves: tuple[Leaf, ...] = Field(default=(), max_length=256)
    rotation: str = Field(default="", max_length=64, description="id of the last rotation that was asked for")


class ExchangeStatus(Status):
    sealed: Sealed | None = None
    certificates: Certificates | None = None
    gateway_replicas: int | None = Field(default=None, description="gateways that there are")
    gateway_selector: str | None = Field(
        default=None, max_length=512, description="labels of the gateways' pods, for an autoscaler"
    )


class Exchange(CustomResource):
    """An exchange: assets, image, ledger and gateways. Its shards and symbols are objects of their own."""

    spec: ExchangeSpec
    status: ExchangeStatus = Field(default_factory=ExchangeStatus)

    resource = kind("exchanges", "Exchange")
    short_names = ("exch",)
    scale = (".spec.gateway.replicas", ".status.gatewayReplicas", ".status.gatewaySelector")
    columns = (
        READY,
        REASON,
        Column(name="Sealed", type="date", json_path=".status.sealed.at"),
        Column(name="Image", type="string", json_path=".spec.image"),
        AGE,
    )
    object_rules = (short_name_rule("an Exchange"),)
