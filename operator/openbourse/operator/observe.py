"""Reads one exchange from the API server and its engines. Gathers facts and decides nothing.

Lists and gets, never a cache: an object that a watch missed is seen here. Secrets are read by name, and only what is
not secret of them leaves this module.
"""

import asyncio
import base64
import binascii
import datetime
import logging
from collections.abc import Iterable
from typing import TypeVar

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import ValidationError

from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import LEASE, is_unfounded
from openbourse.contracts.resources import CustomResource, EngineShard, Exchange, Halt, Symbol
from openbourse.contracts.tls import SCHEME
from openbourse.operator.manifests import certificates, engine, kinds, names, sealer
from openbourse.operator.observed import (
    CertificateFacts,
    EngineFacts,
    Heard,
    HeardSealer,
    Observed,
    SealFacts,
    SecretFacts,
)

_Kind = TypeVar("_Kind", bound=CustomResource)
_Facts = TypeVar("_Facts", EngineFacts, SealFacts)

log = logging.getLogger(__name__)

STATUS_TIMEOUT_S = 1.0
STATUS_BYTES_MAX = 64 * 1024


async def observe(
    api: ApiServer,
    engines: aiohttp.ClientSession,
    namespace: str,
    name: str,
    *,
    now: datetime.datetime,
    before: Observed | None,
    refusals: tuple[str, ...] = (),
) -> Observed:
    """The exchange `name` as it is. Raises ApiError. What an engine said `before` is kept with its age."""
    found = await api.get(Exchange.resource, namespace, name)
    exchange = Exchange.model_validate(found) if found else None
    shards = await _named(api, EngineShard, namespace, name)
    symbols = await _named(api, Symbol, namespace, name)
    halts = await _named(api, Halt, namespace, name)
    children: dict[tuple[str, str], Object] = {}
    secrets: dict[str, SecretFacts] = {}
    heard: dict[str, Heard] = {}
    founded: dict[str, bool] = {}
    sealed = before.sealer if before else None
    if exchange is not None:
        for resource in kinds.LISTED:
            items, _ = await api.list(resource, namespace, f"{names.EXCHANGE_LABEL}={name}")
            children |= {(resource.kind, item["metadata"]["name"]): item for item in items}
        for secret in _secrets(exchange, shards):
            stored = await api.get(kinds.SECRET, namespace, secret)
            if stored is not None:
                secrets[secret] = _secret_facts(stored)
        founded = await _founded(api, exchange, shards)
        named = {shard.metadata.name for shard in shards}
        heard = {pod: old for pod, old in (before.engines if before else {}).items() if old.shard in named}
        heard |= await _hear(engines, children, now)
        sealed = await _hear_sealer(engines, children, now) or sealed
    return Observed(
        now=now,
        namespace=namespace,
        name=name,
        exchange=exchange,
        shards=tuple(shards),
        symbols=tuple(symbols),
        halts=tuple(halts),
        children=children,
        secrets=secrets,
        engines=heard,
        sealer=sealed,
        founded=founded,
        refusals=refusals,
    )


async def _named(api: ApiServer, model: type[_Kind], namespace: str, exchange: str) -> list[_Kind]:
    """The objects of a kind that name the exchange. One that cannot be read is said so and left out."""
    items, _ = await api.list(model.resource, namespace)
    found = []
    for item in items:
        if item.get("spec", {}).get("exchange") != exchange:
            continue
        try:
            found.append(model.model_validate(item))
        except ValidationError as error:
            log.error("%s %s/%s cannot be read: %s", model.resource.kind, namespace, item["metadata"]["name"], error)
    return sorted(found, key=lambda each: each.metadata.name)


async def _founded(api: ApiServer, exchange: Exchange, shards: Iterable[EngineShard]) -> dict[str, bool]:
    found = {}
    for shard in shards:
        name = names.record(exchange.metadata.name, shard.metadata.name)
        lease = await api.get(LEASE, shard.metadata.namespace, name)
        if lease is not None:
            found[shard.metadata.name] = not is_unfounded(lease, shard.metadata.name)
    return found


def _secrets(exchange: Exchange, shards: Iterable[EngineShard]) -> list[str]:
    needs = certificates.needs(exchange, tuple(shards))
    given = {exchange.spec.ledger.database_secret, exchange.spec.gateway.keys_secret}
    if exchange.spec.ledger.seal is not None:
        given.add(exchange.spec.ledger.seal.pin_secret)
    return sorted({names.authority(exchange.metadata.name), *given, *(need.secret for need in needs)})


def _secret_facts(secret: Object) -> SecretFacts:
    data = secret.get("data") or {}
    try:
        certificate, problem = certificate_facts(data), ""
    except (KeyError, ValueError, x509.ExtensionNotFound) as error:
        certificate, problem = None, f"{type(error).__name__} {error}"[:200]
    return SecretFacts(frozenset(data), certificate, problem)


def certificate_facts(data: dict[str, str]) -> CertificateFacts:
    """Of a Secret's data. Raises KeyError, ValueError or ExtensionNotFound when it holds no certificate of ours."""
    held = _certificate(data["tls.crt"])
    if not data["tls.key"]:
        raise ValueError("tls.key is empty")
    issuer = _certificate(data["ca.crt"]) if "ca.crt" in data else held
    held.verify_directly_issued_by(issuer)
    component, hosts = "", frozenset[str]()
    if issuer is not held:
        alternatives = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
        component = next((uri.rpartition("/")[2] for uri in uris if uri.startswith(f"{SCHEME}://")), "")
        addresses = map(str, alternatives.get_values_for_type(x509.IPAddress))
        hosts = frozenset([*alternatives.get_values_for_type(x509.DNSName), *addresses])
    return CertificateFacts(
        fingerprint=_fingerprint(held),
        authority=_fingerprint(issuer),
        component=component,
        hosts=hosts,
        not_before=held.not_valid_before_utc,
        not_after=held.not_valid_after_utc,
    )


def _certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()[:32]


async def _hear(
    session: aiohttp.ClientSession, children: dict[tuple[str, str], Object], now: datetime.datetime
) -> dict[str, Heard]:
    """By pod, what the engines that run say; one that does not answer is not in it."""
    asked = [
        (pod["metadata"]["name"], shard, address)
        for pod, address in _running(children, Component.ENGINE)
        if (shard := pod["metadata"]["labels"].get(names.SHARD_LABEL))
    ]
    answers = await asyncio.gather(*(_ask(session, address, engine.STATUS_PORT, EngineFacts) for *_, address in asked))
    return {
        name: Heard(shard, facts, now)
        for (name, shard, _), facts in zip(asked, answers, strict=True)
        if facts is not None
    }


async def _hear_sealer(
    session: aiohttp.ClientSession, children: dict[tuple[str, str], Object], now: datetime.datetime
) -> HeardSealer | None:
    for _, address in _running(children, names.SEALER):
        facts = await _ask(session, address, sealer.STATUS_PORT, SealFacts)
        if facts is not None:
            return HeardSealer(facts, now)
    return None


def _running(children: dict[tuple[str, str], Object], component: str) -> list[tuple[Object, str]]:
    """Pods of a component that have an address, and that."""
    return [
        (pod, address)
        for (kind, _), pod in children.items()
        if kind == kinds.POD.kind
        and pod["metadata"]["labels"].get(names.COMPONENT_LABEL) == component
        and (address := pod.get("status", {}).get("podIP"))
    ]


async def _ask(session: aiohttp.ClientSession, address: str, port: int, model: type[_Facts]) -> _Facts | None:
    host = f"[{address}]" if ":" in address else address
    try:
        timeout = aiohttp.ClientTimeout(total=STATUS_TIMEOUT_S)
        async with session.get(f"http://{host}:{port}/status", timeout=timeout) as response:
            response.raise_for_status()
            return model.model_validate_json(await response.content.read(STATUS_BYTES_MAX))
    except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
        log.info("%s at port %d says nothing: %s %s", address, port, type(error).__name__, error)
        return None
