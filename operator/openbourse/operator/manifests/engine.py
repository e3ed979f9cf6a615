"""An engine shard as objects: pods, each with its log on a volume that outlives it, and what they may do and be asked.

A shard that has, or ever had, standbys keeps its leadership record in a Lease; one engine alone on its own volume.
"""

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component, replica_name
from openbourse.contracts.leadership import LEASE, unfounded
from openbourse.contracts.resources import GROUP, EngineShard, Exchange
from openbourse.operator.manifests import kinds, names, telemetry
from openbourse.operator.manifests.objects import (
    TLS_FOLDER,
    allow,
    amounts,
    claim,
    container,
    disruption_budget,
    mount,
    network_policy,
    owned,
    peers,
    pod_template,
    secret_volume,
    service,
    spread,
)

PORT = 7000
STATUS_PORT = 7001
LINKS_PORT = 7002
WAL_FOLDER = "/var/lib/openbourse/wal"
LISTINGS_FOLDER = "/etc/openbourse/listings"
LISTINGS_FILE = "listings.json"
EXPECTED_FILE = "expected"
RECORD_ARGUMENT = "--record-lease"
# A pod that has just become ready is given so long to get in sync before the next one is replaced.
SETTLE_S = 5
_CLIENTS = (Component.LEDGER, Component.GATEWAY, Component.MARKETDATA, Component.CLI)
_PORTS = {"engine": PORT, "status": STATUS_PORT}
_LINKS = [
    {"name": "links", "port": LINKS_PORT, "targetPort": LINKS_PORT, "protocol": "TCP"},
    {"name": "heartbeats", "port": LINKS_PORT, "targetPort": LINKS_PORT, "protocol": "UDP"},
]


def members(exchange: Exchange, shard: EngineShard) -> tuple[str, ...]:
    """The pods that the shard is to have; each is reached by its name."""
    return names.engine_pods(exchange.metadata.name, shard.metadata.name, 1 + shard.spec.standbys)


def client_arguments(exchange: Exchange, shard: EngineShard) -> list[str]:
    """How a client of the shard is told where its engines are."""
    return [word for member in members(exchange, shard) for word in ("--engine", f"{member}:{PORT}")]


def record(exchange: Exchange, shard: EngineShard) -> Object:
    """The Lease as it is made, once. Nobody owns it: like the volumes, it outlives the shard."""
    lease = unfounded(shard.metadata.name)
    lease["metadata"] |= {
        "name": names.record(exchange.metadata.name, shard.metadata.name),
        "namespace": shard.metadata.namespace,
        "labels": _labels(exchange, shard),
    }
    return lease


def access(exchange: Exchange, shard: EngineShard) -> list[Object]:
    """Who the engine is for the API server: it reads Halts and its shard, writes its part of their status, and keeps
    its record."""
    name, labels = names.engine(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    rules = [
        {"apiGroups": [GROUP], "resources": ["halts"], "verbs": ["list", "watch"]},
        {"apiGroups": [GROUP], "resources": ["halts/status"], "verbs": ["patch"]},
        {"apiGroups": [GROUP], "resources": ["engineshards"], "verbs": ["list"]},
        {
            "apiGroups": [GROUP],
            "resources": ["engineshards/status"],
            "resourceNames": [shard.metadata.name],
            "verbs": ["patch"],
        },
        {
            "apiGroups": [LEASE.group],
            "resources": [LEASE.plural],
            "resourceNames": [names.record(exchange.metadata.name, shard.metadata.name)],
            "verbs": ["get", "update"],
        },
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


def listings(exchange: Exchange, shard: EngineShard, document: str, expected: tuple[str, ...] = ()) -> Object:
    """The listing that the engine reads, and reads again when it changes; and, not for the engine, which symbols may
    come from another shard."""
    name = names.listings(exchange.metadata.name, shard.metadata.name)
    data = {LISTINGS_FILE: document} | ({EXPECTED_FILE: " ".join(expected)} if expected else {})
    return owned(kinds.CONFIG_MAP, name, shard, _labels(exchange, shard), data=data)


def network(exchange: Exchange, shard: EngineShard) -> list[Object]:
    """A stable address for each engine, the names of pods, and who may connect."""
    name, labels = names.engine(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.ENGINE, shard)
    headless = service(
        names.engine_members(exchange.metadata.name, shard.metadata.name), shard, labels, selector, _PORTS
    )
    headless["spec"] |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return [
        service(name, shard, labels, selector, _PORTS),
        headless,
        *(_member(exchange, shard, pod) for pod in members(exchange, shard)),
        network_policy(
            name,
            shard,
            labels,
            selector,
            [
                # Of the command line: a pod from which people halt while the API server is down.
                allow(["engine"], *peers(exchange, *_CLIENTS)),
                allow(["status"]),
                allow([LINKS_PORT], selector),
                allow([LINKS_PORT], selector, protocol="UDP"),
            ],
        ),
        # Of one engine an eviction is an outage of the market, so a drain waits for a person.
        disruption_budget(name, shard, labels, selector, unavailable=1 if shard.spec.standbys else 0),
    ]


def _member(exchange: Exchange, shard: EngineShard, pod: str) -> Object:
    """An address that stays when the pod is another one: the pod's own is known by a cached name for half a minute."""
    selector = names.selector(exchange, Component.ENGINE, shard) | {"statefulset.kubernetes.io/pod-name": pod}
    entry = service(pod, shard, _labels(exchange, shard), selector, {"engine": PORT})
    entry["spec"] |= {"ports": [*entry["spec"]["ports"], *_LINKS], "publishNotReadyAddresses": True}
    return entry


def stateful_set(exchange: Exchange, shard: EngineShard, *, replicas: int, has_lease: bool) -> Object:
    """Pods with a log each, which outlive them. `has_lease`: else one pod, with its record on its volume."""
    name, labels = names.engine(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.ENGINE, shard)
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
            *(word for reader in _readers(shard) for word in ("--reader", reader)),
            *(_membership(exchange, shard) if has_lease else ()),
        ],
        env=[
            # The kernel's tables are hundreds of MB and more, and looked into everywhere (`docs/performance.md`).
            {"name": "GLIBC_TUNABLES", "value": "glibc.malloc.hugetlb=1"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *telemetry.environment(exchange),
        ],
        ports=_PORTS,
        resources=amounts(shard.spec.resources),
        mounts=[
            {"name": "wal", "mountPath": WAL_FOLDER},
            mount("tls", TLS_FOLDER),
            mount("listings", LISTINGS_FOLDER),
        ],
    )
    template = pod_template(
        labels=labels,
        annotations={},
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
    template["spec"] |= spread(selector, strictly=True)
    return owned(
        kinds.STATEFUL_SET,
        name,
        shard,
        labels,
        spec={
            "replicas": replicas,
            # Left away, not 0: the API server forgets a 0.
            **({"minReadySeconds": SETTLE_S} if has_lease else {}),
            "serviceName": names.engine_members(exchange.metadata.name, shard.metadata.name),
            "selector": {"matchLabels": selector},
            # One after the other, in the order that costs least, by a plan (`replacements`), not by ordinals.
            **({"updateStrategy": {"type": "OnDelete"}} if has_lease else {}),
            # A pod that cannot start is replaced as soon as its template is mended.
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": template,
            "volumeClaimTemplates": [claim("wal", selector, shard.spec.storage)],
        },
    )


def _readers(shard: EngineShard) -> list[str]:
    """For whom the log is kept as well: each replica of the market data is where it is by itself."""
    count = shard.spec.market_data_replicas
    return [replica_name(Component.MARKETDATA, replica) for replica in range(count)]


def _membership(exchange: Exchange, shard: EngineShard) -> list[str]:
    """The same words for every pod: each passes over its own place."""
    lease = f"{shard.metadata.namespace}/{names.record(exchange.metadata.name, shard.metadata.name)}"
    return [
        *(RECORD_ARGUMENT, lease),
        *("--place", f"$(POD):{LINKS_PORT}"),
        *("--links", f"0.0.0.0:{LINKS_PORT}"),
        *(word for member in members(exchange, shard) for word in ("--peer", f"{member}:{LINKS_PORT}")),
        *("--min-in-sync", str(shard.spec.min_in_sync)),
    ]


def _labels(exchange: Exchange, shard: EngineShard) -> dict[str, str]:
    return names.labels(exchange, Component.ENGINE, shard)
