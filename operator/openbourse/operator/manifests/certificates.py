"""Which certificates an exchange needs, for whom, under which names. No keys: nothing random is made here."""

import ipaddress
from dataclasses import dataclass

from openbourse.contracts.apiserver import Object
from openbourse.contracts.certificates import CERTIFICATE_DAYS
from openbourse.contracts.component import Component
from openbourse.contracts.resources import CustomResource, EngineShard, Exchange
from openbourse.contracts.resources.engine_shard import MARKET_DATA_MOST, STANDBYS_MOST
from openbourse.contracts.resources.exchange import IssuerRef
from openbourse.contracts.tls import SCHEME
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
    """One for each workload; one with which the operator calls the ledgers, and one for people at the command line."""
    name = exchange.metadata.name
    per_shard = (
        need
        for shard in shards
        for need in (
            # All that there may ever be: a standby or a replica more is no new certificate.
            _need(
                exchange,
                Component.ENGINE,
                names.engine(name, shard.metadata.name),
                shard,
                names.engine_pods(name, shard.metadata.name, 1 + STANDBYS_MOST),
            ),
            _need(exchange, Component.LEDGER, names.ledger(name, shard.metadata.name), shard),
            _need(
                exchange,
                Component.MARKETDATA,
                names.marketdata(name, shard.metadata.name),
                shard,
                names.marketdata_pods(name, shard.metadata.name, MARKET_DATA_MOST),
            ),
        )
    )
    return (
        *per_shard,
        _need(exchange, Component.GATEWAY, names.gateway(name), None),
        _need(exchange, Component.OPERATOR, names.operator(name), None),
        _need(exchange, Component.CLI, names.command_line(name), None),
    )


def secret(name: str, owner: CustomResource, labels: dict[str, str], files: dict[str, str]) -> Object:
    """`files` are base64 already."""
    return owned(kinds.SECRET, name, owner, labels, type="kubernetes.io/tls", data=files)


def of_cert_manager(exchange: Exchange, issuer: IssuerRef, need: CertificateNeed) -> Object:
    """The object for which cert-manager makes the Secret, and renews it with a third of its life left."""
    spec = {
        "secretName": need.secret,
        "secretTemplate": {"labels": dict(need.labels)},
        "commonName": str(need.component),
        "uris": [f"{SCHEME}://{exchange.metadata.name}/{need.component}"],
        "dnsNames": [host for host in need.hosts if not _is_address(host)],
        "ipAddresses": [host for host in need.hosts if _is_address(host)],
        "duration": f"{CERTIFICATE_DAYS * 24}h0m0s",
        "renewBefore": f"{CERTIFICATE_DAYS * 8}h0m0s",
        "usages": ["digital signature", "server auth", "client auth"],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "issuerRef": issuer.model_dump(),
    }
    return owned(kinds.CERTIFICATE, need.secret, need.owner, dict(need.labels), spec=spec)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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
