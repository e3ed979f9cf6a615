"""Which certificates an exchange needs, for whom, under which names. No keys: nothing random is made here."""

from dataclasses import dataclass

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import CustomResource, EngineShard, Exchange
from openbourse.operator.manifests import kinds, names
from openbourse.operator.manifests.objects import owned


@dataclass(frozen=True, slots=True)
class CertificateNeed:
    """A component's Secret with ca.crt, tls.crt and tls.key."""

    secret: str
    component: Component
    hosts: tuple[str, ...]
    owner: CustomResource
    labels: tuple[tuple[str, str], ...]


def needs(exchange: Exchange, shards: tuple[EngineShard, ...]) -> tuple[CertificateNeed, ...]:
    """One for each workload, and one with which a person calls the ledger from the command line."""
    name = exchange.metadata.name
    per_shard = (
        _need(exchange, component, workload(name, shard.metadata.name), shard)
        for shard in shards
        for component, workload in ((Component.ENGINE, names.engine), (Component.LEDGER, names.ledger))
    )
    return (
        *per_shard,
        _need(exchange, Component.GATEWAY, names.gateway(name), None),
        _need(exchange, Component.CLI, names.command_line(name), None),
    )


def secret(name: str, owner: CustomResource, labels: dict[str, str], files: dict[str, str]) -> Object:
    """`files` are base64 already."""
    return owned(kinds.SECRET, name, owner, labels, type="kubernetes.io/tls", data=files)


def authority_labels(exchange: Exchange) -> dict[str, str]:
    return names.labels(exchange, "authority")


def _need(exchange: Exchange, component: Component, workload: str, shard: EngineShard | None) -> CertificateNeed:
    return CertificateNeed(
        secret=names.certificate(workload),
        component=component,
        hosts=names.hosts(workload, exchange.metadata.namespace),
        owner=shard or exchange,
        labels=tuple(names.labels(exchange, component, shard).items()),
    )
