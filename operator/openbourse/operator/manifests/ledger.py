"""The ledger of a shard as objects: one process that settles, and the migration that comes before it."""

import hashlib

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.manifests import engine, kinds, names, telemetry
from openbourse.operator.manifests.objects import (
    TLS_FOLDER,
    allow,
    allow_of_any_namespace,
    container,
    mount,
    network_policy,
    owned,
    peers,
    pod_template,
    secret_volume,
    service,
)

PORT = 7100
STATUS_PORT = 7101
APPLICATION_KEY = "dsn"
OWNER_KEY = "owner-dsn"
SEALER_KEY = "sealer-dsn"
_PORTS = {"ledger": PORT, "status": STATUS_PORT}


def database_keys(exchange: Exchange) -> tuple[str, ...]:
    """What the Secret of the database has to have."""
    return (APPLICATION_KEY, OWNER_KEY, *((SEALER_KEY,) if exchange.spec.ledger.seal else ()))


def migration_name(exchange: Exchange) -> str:
    """One for each image and database, and one more when sealing begins: a Job never changes."""
    sealed = " sealed" if exchange.spec.ledger.seal else ""
    what = f"{exchange.spec.image} {exchange.spec.ledger.database_secret}{sealed}"
    return f"{exchange.metadata.name}-ledger-migration-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def migration(exchange: Exchange) -> Object:
    labels = names.labels(exchange, names.MIGRATION)
    migrate = container(
        component=names.MIGRATION,
        image=exchange.spec.image,
        command=["openbourse.ledger", "migrate"],
        # It gives the roles the passwords with which ledger and sealer will come.
        env=[
            database(exchange, OWNER_KEY),
            database(exchange, APPLICATION_KEY, variable="OPENBOURSE_LEDGER_DATABASE"),
            *(
                [database(exchange, SEALER_KEY, variable="OPENBOURSE_SEALER_DATABASE")]
                if exchange.spec.ledger.seal
                else ()
            ),
        ],
        has_status=False,
    )
    template = pod_template(labels=labels, annotations={}, containers=[migrate], volumes=[], restart="OnFailure")
    spec = {"backoffLimit": 6, "activeDeadlineSeconds": 600, "template": template}
    return owned(kinds.JOB, migration_name(exchange), exchange, labels, spec=spec)


def network(exchange: Exchange, shard: EngineShard) -> list[Object]:
    name, labels = names.ledger(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    selector = names.selector(exchange, Component.LEDGER, shard)
    rules = [
        allow(["ledger"], *peers(exchange, Component.GATEWAY)),
        allow_of_any_namespace(["ledger"], names.OPERATOR_LABELS),
        allow(["status"]),
    ]
    return [
        service(name, shard, labels, selector, _PORTS),
        network_policy(name, shard, labels, selector, rules),
    ]


def deployment(exchange: Exchange, shard: EngineShard) -> Object:
    """One writer: the old process is gone before the new one begins."""
    name, labels = names.ledger(exchange.metadata.name, shard.metadata.name), _labels(exchange, shard)
    ledger = container(
        component=Component.LEDGER,
        image=exchange.spec.image,
        command=[
            "openbourse.ledger",
            "serve",
            *("--shard", shard.metadata.name),
            *engine.client_arguments(exchange, shard),
            *("--listen", f"0.0.0.0:{PORT}"),
            *("--status", f"0.0.0.0:{STATUS_PORT}"),
            *("--tls", TLS_FOLDER),
        ],
        env=[database(exchange, APPLICATION_KEY), *telemetry.environment(exchange)],
        ports=_PORTS,
        mounts=[mount("tls", TLS_FOLDER)],
    )
    template = pod_template(
        labels=labels,
        annotations={},
        containers=[ledger],
        volumes=[secret_volume("tls", names.certificate(name))],
    )
    return owned(
        kinds.DEPLOYMENT,
        name,
        shard,
        labels,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names.selector(exchange, Component.LEDGER, shard)},
            "template": template,
        },
    )


def database(exchange: Exchange, key: str, variable: str = "OPENBOURSE_DATABASE") -> Object:
    """An address of the ledger's database, for a container's environment."""
    source = {"secretKeyRef": {"name": exchange.spec.ledger.database_secret, "key": key}}
    return {"name": variable, "valueFrom": source}


def _labels(exchange: Exchange, shard: EngineShard) -> dict[str, str]:
    return names.labels(exchange, Component.LEDGER, shard)
