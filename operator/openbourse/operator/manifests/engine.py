"""An engine shard as objects: one pod with its log on a volume that outlives it, and what it may do and be asked."""

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import GROUP, EngineShard, Exchange
from openbourse.operator.manifests import kinds, names
from openbourse.operator.manifests.objects import (
    TLS_FOLDER,
    allow,
    container,
    disruption_budget,
    mount,
    network_policy,
    owned,
    peers,
    pod_template,
    secret_volume,
    service,
)

PORT = 7000
STATUS_PORT = 7001
WAL_FOLDER = "/var/lib/openbourse/wal"
LISTINGS_FOLDER = "/etc/openbourse/listings"
LISTINGS_FILE = "listings.json"
_PORTS = {"engine": PORT, "status": STATUS_PORT}


def access(exchange: Exchange, shard: EngineShard) -> list[Object]:
    """Who the engine is for the API server: it reads Halts and writes its entry of their status, nothing else."""
    name, labels = names.engine(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    rules = [
        {"apiGroups": [GROUP], "resources": ["halts"], "verbs": ["list", "watch"]},
        {"apiGroups": [GROUP], "resources": ["halts/status"], "verbs": ["patch"]},
    ]
    return [
        owned(kinds.SERVICE_ACCOUNT, name, shard, labels, automountServiceAccountToken=False),
        owned(kinds.ROLE, name, shard, labels, rules=rules),
        owned(
            kinds.ROLE_BINDING,
            name,
            shard,
            labels,
            roleRef={"apiGroup": kinds.ROLE.group, "kind": "Role", "name": name},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": shard.metadata.namespace}],
        ),
    ]


def listings(exchange: Exchange, shard: EngineShard, document: str) -> Object:
    """The listing that the engine reads, and reads again when it changes."""
    name = names.listings(exchange.metadata.name, shard.metadata.name)
    return owned(kinds.CONFIG_MAP, name, shard, _labels(exchange, shard), data={LISTINGS_FILE: document})


def network(exchange: Exchange, shard: EngineShard) -> list[Object]:
    """A stable address for clients, the names of members, and who may connect."""
    name, labels = names.engine(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.ENGINE, shard)
    members = service(
        names.engine_members(exchange.metadata.name, shard.metadata.name), shard, labels, selector, _PORTS
    )
    members["spec"] |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return [
        service(name, shard, labels, selector, _PORTS),
        members,
        network_policy(
            name,
            shard,
            labels,
            selector,
            [allow(["engine"], *peers(exchange, Component.LEDGER, Component.GATEWAY)), allow(["status"])],
        ),
        # One member: an eviction is an outage of the market, so a drain waits for a person.
        disruption_budget(name, shard, labels, selector, unavailable=0),
    ]


def stateful_set(exchange: Exchange, shard: EngineShard, certificate: str) -> Object:
    """One pod, never two: they would share a log. Its volume stays whatever is deleted."""
    name, labels = names.engine(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.ENGINE, shard)
    resources = shard.spec.resources
    storage = shard.spec.storage
    engine = container(
        component=Component.ENGINE,
        image=exchange.spec.image,
        command=[
            "openbourse.engine",
            *("--shard", shard.metadata.name),
            *("--wal", WAL_FOLDER),
            *("--listen", f"0.0.0.0:{PORT}"),
            *("--status", f"0.0.0.0:{STATUS_PORT}"),
            *("--tls", TLS_FOLDER),
            *("--listings", f"{LISTINGS_FOLDER}/{LISTINGS_FILE}"),
            *("--halts-namespace", shard.metadata.namespace),
            *("--exchange", exchange.metadata.name),
            *("--consumer", Component.LEDGER),
        ],
        # The kernel's tables are hundreds of MB and more, and looked into everywhere (`docs/performance.md`).
        env=[{"name": "GLIBC_TUNABLES", "value": "glibc.malloc.hugetlb=1"}],
        ports=_PORTS,
        resources={
            **({"requests": resources.requests} if resources.requests else {}),
            **({"limits": resources.limits} if resources.limits else {}),
        },
        mounts=[
            {"name": "wal", "mountPath": WAL_FOLDER},
            mount("tls", TLS_FOLDER),
            mount("listings", LISTINGS_FOLDER),
        ],
    )
    template = pod_template(
        labels=labels,
        annotations={names.CERTIFICATE_ANNOTATION: certificate},
        containers=[engine],
        service_account=name,
        volumes=[
            secret_volume("tls", names.certificate(name)),
            {
                "name": "listings",
                "configMap": {"name": names.listings(exchange.metadata.name, shard.metadata.name)},
            },
        ],
    )
    claim = {
        "metadata": {"name": "wal", "labels": selector},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.size}},
            **({"storageClassName": storage.storage_class_name} if storage.storage_class_name else {}),
        },
    }
    return owned(
        kinds.STATEFUL_SET,
        name,
        shard,
        labels,
        spec={
            "replicas": 1,
            "serviceName": names.engine_members(exchange.metadata.name, shard.metadata.name),
            "selector": {"matchLabels": selector},
            # A pod that cannot start is replaced as soon as its template is mended.
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": template,
            "volumeClaimTemplates": [claim],
        },
    )


def _labels(exchange: Exchange, shard: EngineShard) -> dict[str, str]:
    return names.labels(exchange, Component.ENGINE, shard)
