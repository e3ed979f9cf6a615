"""Which certificates an exchange needs, for whom, under which names. No keys: nothing random is made here."""

from dataclasses import dataclass

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import CustomResource, EngineShard, Exchange
from openbourse.contracts.resources.engine_shard import STANDBYS_MOST
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
        need
        for shard in shards
        for need in (
            # All that there may ever be: a standby more is no new certificate.
            _need(
                exchange,
                Component.ENGINE,
                names.engine(name, shard.metadata.name),
                shard,
                names.engine_pods(name, shard.metadata.name, 1 + STANDBYS_MOST),
            ),
            _need(exchange, Component.LEDGER, names.ledger(name, shard.metadata.name), shard),
        )
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


def _need(
    exchange: Exchange, component: Component, workload: str, shard: EngineShard | None, more: tuple[str, ...] = ()
) -> CertificateNeed:
    return CertificateNeed(
        secret=names.certificate(workload),
        component=component,
        hosts=(*names.hosts(workload, exchange.metadata.namespace), *more),
        owner=shard or exchange,
        labels=tuple(names.labels(exchange, component, shard).items()),
    )
