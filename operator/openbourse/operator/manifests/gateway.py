"""The gateways of an exchange as objects: replicas without state behind one service."""

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.manifests import engine, kinds, ledger, names
from openbourse.operator.manifests.objects import (
    TLS_FOLDER,
    allow,
    container,
    disruption_budget,
    mount,
    network_policy,
    owned,
    pod_template,
    secret_volume,
    service,
    spread,
)

PORT = 8080
STATUS_PORT = 8081
KEYS_FOLDER = "/etc/openbourse/keys"
KEYS_FILE = "keys.json"
_PORTS = {"http": PORT, "status": STATUS_PORT}


def network(exchange: Exchange) -> list[Object]:
    name, labels = names.gateway(exchange.metadata.name), names.labels(exchange, Component.GATEWAY)
    selector = names.selector(exchange, Component.GATEWAY)
    wanted = exchange.spec.gateway.service
    entry = service(name, exchange, labels, selector, {"http": PORT})
    entry["spec"]["type"] = wanted.type
    if wanted.node_port is not None:
        entry["spec"]["ports"][0]["nodePort"] = wanted.node_port
    return [
        entry,
        network_policy(name, exchange, labels, selector, [allow(["http"]), allow(["status"])]),
        disruption_budget(name, exchange, labels, selector, unavailable=1),
    ]


def deployment(exchange: Exchange, shard: EngineShard, certificate: str) -> Object:
    """A new gateway serves before an old one goes."""
    name, labels = names.gateway(exchange.metadata.name), names.labels(exchange, Component.GATEWAY)
    selector = names.selector(exchange, Component.GATEWAY)
    gateway = container(
        component=Component.GATEWAY,
        image=exchange.spec.image,
        command=[
            "openbourse.gateway",
            *("--shard", shard.metadata.name),
            *engine.client_arguments(exchange, shard),
            *("--ledger", f"https://{names.ledger(exchange.metadata.name, shard.metadata.name)}:{ledger.PORT}"),
            *("--keys", f"{KEYS_FOLDER}/{KEYS_FILE}"),
            *("--listen", f"0.0.0.0:{PORT}"),
            *("--status", f"0.0.0.0:{STATUS_PORT}"),
            *("--tls", TLS_FOLDER),
        ],
        ports=_PORTS,
        mounts=[mount("tls", TLS_FOLDER), mount("keys", KEYS_FOLDER)],
    )
    template = pod_template(
        labels=labels,
        annotations={names.CERTIFICATE_ANNOTATION: certificate},
        containers=[gateway],
        volumes=[
            secret_volume("tls", names.certificate(name)),
            secret_volume("keys", exchange.spec.gateway.keys_secret),
        ],
    )
    template["spec"] |= spread(selector, strictly=False)
    return owned(
        kinds.DEPLOYMENT,
        name,
        exchange,
        labels,
        spec={
            "replicas": exchange.spec.gateway.replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector},
            "template": template,
        },
    )
