"""The market data of a shard as objects: pods, each with its history on a volume that outlives it.

A history has one writer: each replica follows the shard by itself, and gateways choose among them. Trading does not
wait for these pods, nor does any other call than those about the market.
"""

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.manifests import engine, kinds, names, telemetry
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

PORT = 7200
STATUS_PORT = 7201
HISTORY_FOLDER = "/var/lib/openbourse/history"
HISTORY_FILE = "history.sqlite"
_PORTS = {"marketdata": PORT, "status": STATUS_PORT}
_ORDINAL = {
    "name": "REPLICA",
    "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}},
}


def replicas(exchange: Exchange, shard: EngineShard) -> tuple[str, ...]:
    """The pods that there are to be; each is reached by its name."""
    return names.marketdata_pods(exchange.metadata.name, shard.metadata.name, shard.spec.market_data_replicas)


def network(exchange: Exchange, shard: EngineShard) -> list[Object]:
    """Gateways alone come in: what accounts have is here too."""
    name, labels = names.marketdata(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.MARKETDATA, shard)
    rules = [allow(["marketdata"], *peers(exchange, Component.GATEWAY)), allow(["status"])]
    return [
        service(name, shard, labels, selector, _PORTS),
        *(_replica(exchange, shard, pod) for pod in replicas(exchange, shard)),
        network_policy(name, shard, labels, selector, rules),
        disruption_budget(name, shard, labels, selector, unavailable=1),
    ]


def _replica(exchange: Exchange, shard: EngineShard, pod: str) -> Object:
    """An address of its own. One that still catches up says so itself, and may be all that there is."""
    selector = names.selector(exchange, Component.MARKETDATA, shard) | {"statefulset.kubernetes.io/pod-name": pod}
    entry = service(pod, shard, _labels(exchange, shard), selector, {"marketdata": PORT})
    entry["spec"]["publishNotReadyAddresses"] = True
    return entry


def gateway_arguments(exchange: Exchange, shard: EngineShard) -> list[str]:
    """How a gateway of the shard is told where its market data are; nothing when there are to be none."""
    return [word for pod in replicas(exchange, shard) for word in ("--marketdata", f"https://{pod}:{PORT}")]


def stateful_set(exchange: Exchange, shard: EngineShard) -> Object:
    name, labels = names.marketdata(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.MARKETDATA, shard)
    wanted = shard.spec.market_data
    reader = container(
        component=Component.MARKETDATA,
        image=exchange.spec.image,
        command=[
            "openbourse.marketdata",
            *("--shard", shard.metadata.name),
            *engine.client_arguments(exchange, shard),
            *("--history", f"{HISTORY_FOLDER}/{HISTORY_FILE}"),
            *("--listen", f"0.0.0.0:{PORT}"),
            *("--status", f"0.0.0.0:{STATUS_PORT}"),
            *("--tls", TLS_FOLDER),
            *("--replica", "$(REPLICA)"),
        ],
        env=[_ORDINAL, *telemetry.environment(exchange)],
        ports=_PORTS,
        resources=amounts(wanted.resources),
        mounts=[mount("tls", TLS_FOLDER), {"name": "history", "mountPath": HISTORY_FOLDER}],
    )
    template = pod_template(
        labels=labels,
        annotations={},
        containers=[reader],
        volumes=[secret_volume("tls", names.certificate(name))],
    )
    if shard.spec.market_data_replicas > 1:
        template["spec"] |= spread(selector, strictly=True)
    return owned(
        kinds.STATEFUL_SET,
        name,
        shard,
        labels,
        spec={
            "replicas": shard.spec.market_data_replicas,
            "serviceName": name,
            "selector": {"matchLabels": selector},
            # A pod that cannot start is replaced as soon as its template is mended.
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": template,
            "volumeClaimTemplates": [claim("history", selector, wanted.storage)],
        },
    )


def _labels(exchange: Exchange, shard: EngineShard) -> dict[str, str]:
    return names.labels(exchange, Component.MARKETDATA, shard)
