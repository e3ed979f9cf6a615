"""Reads one exchange from the API server and its engines. Gathers facts and decides nothing.

Lists and gets, several at once, never a cache: an object that a watch missed is seen here. Secrets are read by name,
and only what is not secret of them leaves this module.
"""

import asyncio
import base64
import binascii
import datetime
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar

from pydantic import ValidationError

from openbourse.contracts.api_keys import names_in
from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused, Resource
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import LEASE, is_unfounded
from openbourse.contracts.resources import ApiKey, CustomResource, EngineShard, Exchange, Halt, Symbol, TradingLimit
from openbourse.operator.certificate_facts import secret_facts
from openbourse.operator.ledgers import AskLedger, how_far
from openbourse.operator.manifests import certificates, engine, gateway, kinds, ledger, marketdata, names, sealer
from openbourse.operator.observed import (
    EngineFacts,
    GatewayFacts,
    Heard,
    HeardMarketData,
    HeardSealer,
    MarketDataFacts,
    Observed,
    ProcessFacts,
    Refusal,
    SealFacts,
    SecretFacts,
)
from openbourse.operator.status_pages import Ask, NoAnswer

_Kind = TypeVar("_Kind", bound=CustomResource)
_Facts = TypeVar("_Facts", EngineFacts, GatewayFacts, MarketDataFacts, SealFacts, ProcessFacts)
_Said = list[tuple[str, str, _Facts]]

# How many answers of the API server a round waits for at once: an exchange leaves room for the others.
_AT_ONCE = 8

log = logging.getLogger(__name__)


async def observe(
    api: ApiServer,
    ask: Ask,
    namespace: str,
    name: str,
    *,
    now: datetime.datetime,
    before: Observed | None,
    refusals: tuple[Refusal, ...] = (),
    ask_ledger: AskLedger | None = None,
) -> Observed:
    """The exchange `name` as it is. Raises ApiError. What an engine said `before` is kept with its age.

    Without `ask_ledger` nothing is known of how far moves of symbols are but what is noted.
    """
    reads = _Reads(api, namespace)
    # First what does not depend on anything else, then what follows from that.
    async with _at_once() as group:
        getting = group.create_task(reads.get(Exchange.resource, name))
        of_shards = group.create_task(_named(reads, EngineShard, name, before.shards if before else ()))
        of_symbols = group.create_task(_named(reads, Symbol, name, before.symbols if before else ()))
        of_halts = group.create_task(_named(reads, Halt, name, before.halts if before else ()))
        of_limits = group.create_task(_named(reads, TradingLimit, name, before.limits if before else ()))
        of_api_keys = group.create_task(_named(reads, ApiKey, name, before.api_keys if before else ()))
        listing = group.create_task(_children(reads, name))
    found = getting.result()
    exchange = Exchange.model_validate(found) if found else None
    (shards, _), (symbols, unreadable) = of_shards.result(), of_symbols.result()
    (halts, _), (limits, _), (api_keys, _) = of_halts.result(), of_limits.result(), of_api_keys.result()
    if exchange is None:
        return Observed(
            now=now,
            namespace=namespace,
            name=name,
            exchange=None,
            shards=tuple(shards),
            symbols=tuple(symbols),
            halts=tuple(halts),
            limits=tuple(limits),
            api_keys=tuple(api_keys),
            sealer=before.sealer if before else None,
            two_person_held=await _two_person_held(reads, halts),
            unreadable_symbols=unreadable,
            refusals=refusals,
        )
    children = listing.result()
    async with _at_once() as group:
        ordering = group.create_task(_of_cert_manager(reads, exchange))
        of_secrets = group.create_task(_secrets(reads, exchange, shards, names_keys=bool(api_keys)))
        # Of what the operator made itself, and has no secret, all is looked at.
        of_public_keys = group.create_task(reads.get(kinds.SECRET, names.api_keys(name)))
        of_records = group.create_task(_records(reads, exchange, shards))
        cordoning = group.create_task(_cordoned(reads, children))
        holding = group.create_task(_two_person_held(reads, halts))
        # One that does not answer keeps a round for a second.
        of_engines = group.create_task(_hear(ask, children, Component.ENGINE, engine.STATUS_PORT, EngineFacts))
        of_readers = group.create_task(
            _hear(ask, children, Component.MARKETDATA, marketdata.STATUS_PORT, MarketDataFacts)
        )
        of_settlers = group.create_task(_hear(ask, children, Component.LEDGER, ledger.STATUS_PORT, ProcessFacts))
        of_gateways = group.create_task(_hear(ask, children, Component.GATEWAY, gateway.STATUS_PORT, GatewayFacts))
        of_sealer = group.create_task(_hear_sealer(ask, children, now))
    engines, readers, serving = of_engines.result(), of_readers.result(), of_gateways.result()
    named = {shard.metadata.name for shard in shards}
    heard = {pod: old for pod, old in (before.engines if before else {}).items() if old.shard in named}
    market_datas = {pod: old for pod, old in (before.market_datas if before else {}).items() if old.shard in named}
    records, ordered = of_records.result(), ordering.result()
    own = of_public_keys.result()
    public_keys = {} if own is None else {(kinds.SECRET.kind, own["metadata"]["name"]): own}
    return Observed(
        now=now,
        namespace=namespace,
        name=name,
        exchange=exchange,
        shards=tuple(shards),
        symbols=tuple(symbols),
        halts=tuple(halts),
        limits=tuple(limits),
        api_keys=tuple(api_keys),
        children=children | (ordered or {}) | public_keys,
        secrets=of_secrets.result(),
        engines=heard | {pod: Heard(shard, facts, now) for pod, shard, facts in engines},
        sealer=of_sealer.result() or (before.sealer if before else None),
        tls={
            pod: facts.tls
            for pod, _, facts in (*engines, *readers, *of_settlers.result(), *serving)
            if facts.tls is not None
        },
        cert_manager=ordered is not None if exchange.spec.certificates is not None else None,
        market_datas=market_datas | {pod: HeardMarketData(shard, facts, now) for pod, shard, facts in readers},
        gateways={pod: facts for pod, _, facts in serving},
        founded={shard: not is_unfounded(lease, shard) for shard, lease in records.items()},
        owners_of_records={
            shard: frozenset(owner["uid"] for owner in lease["metadata"].get("ownerReferences", ()))
            for shard, lease in records.items()
        },
        cordoned=cordoning.result(),
        two_person_held=holding.result(),
        moves=await how_far(ask_ledger, exchange, symbols) if ask_ledger is not None else {},
        unreadable_symbols=unreadable,
        refusals=refusals,
    )


class _Reads:
    """What a round asks the API server, so much at once. Each raises ApiError."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def get(self, resource: Resource, name: str) -> Object | None:
        async with self._limit:
            return await self._api.get(resource, self.namespace, name)

    async def get_of_cluster(self, resource: Resource, name: str) -> Object | None:
        """Of a kind that is in no namespace."""
        async with self._limit:
            return await self._api.get(resource, None, name)

    async def list(self, resource: Resource, labels: str = "") -> list[Object]:
        async with self._limit:
            items, _ = await self._api.list(resource, self.namespace, labels)
            return items

    async def get_each(self, resource: Resource, wanted: Iterable[str]) -> dict[str, Object]:
        """By name, those that are there."""
        async with _at_once() as group:
            tasks = {name: group.create_task(self.get(resource, name)) for name in wanted}
        return {name: found for name, task in tasks.items() if (found := task.result()) is not None}


@asynccontextmanager
async def _at_once() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of reads. The first error ends them all and is raised by itself; one of our own before the API's."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise next((e for e in errors.exceptions if not isinstance(e, ApiError)), errors.exceptions[0]) from None


async def _children(reads: _Reads, name: str) -> dict[tuple[str, str], Object]:
    async with _at_once() as group:
        tasks = [
            (resource, group.create_task(reads.list(resource, f"{names.EXCHANGE_LABEL}={name}")))
            for resource in kinds.LISTED
        ]
    return {(resource.kind, item["metadata"]["name"]): item for resource, task in tasks for item in task.result()}


async def _of_cert_manager(reads: _Reads, exchange: Exchange) -> dict[tuple[str, str], Object] | None:
    """The exchange's Certificates. None: it orders none, or this API server knows no such kind."""
    if exchange.spec.certificates is None:
        return None
    try:
        items = await reads.list(kinds.CERTIFICATE, f"{names.EXCHANGE_LABEL}={exchange.metadata.name}")
    except Refused as error:
        if error.is_missing:
            return None
        raise
    return {(kinds.CERTIFICATE.kind, item["metadata"]["name"]): item for item in items}


async def _cordoned(reads: _Reads, children: dict[tuple[str, str], Object]) -> frozenset[str] | None:
    """Of the nodes that engines are on, those that take no pods. None: who asks may not know."""
    nodes = {
        str(pod["spec"]["nodeName"])
        for (kind, _), pod in children.items()
        if kind == kinds.POD.kind
        and pod["metadata"]["labels"].get(names.COMPONENT_LABEL) == Component.ENGINE
        and pod.get("spec", {}).get("nodeName")
    }
    found = set()
    try:
        for name in sorted(nodes):
            node = await reads.get_of_cluster(kinds.NODE, name)
            if node is not None and node.get("spec", {}).get("unschedulable", False):
                found.add(name)
    except Refused as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
    return frozenset(found)


async def _two_person_held(reads: _Reads, halts: Iterable[Halt]) -> bool | None:
    """Whether the chart's policy for Halts is there and bound to refuse. None: who asks may not know, or need not."""
    if not any(halt.spec.two_person for halt in halts):
        return None
    try:
        policy = await reads.get_of_cluster(kinds.ADMISSION_POLICY, names.HALT_POLICY)
        binding = await reads.get_of_cluster(kinds.ADMISSION_POLICY_BINDING, names.HALT_POLICY)
    except Refused as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
    return policy is not None and binding is not None and "Deny" in binding["spec"]["validationActions"]


async def _named(
    reads: _Reads, model: type[_Kind], exchange: str, before: tuple[_Kind, ...]
) -> tuple[list[_Kind], frozenset[str]]:
    """The objects of a kind that name the exchange, and the names of those that cannot be read."""
    items = await reads.list(model.resource)
    # Of a thousand hardly one has changed since the round before.
    known = {(each.metadata.uid, each.metadata.resource_version): each for each in before}
    found = []
    unreadable = set()
    for item in items:
        if item.get("spec", {}).get("exchange") != exchange:
            continue
        same = known.get((item["metadata"]["uid"], item["metadata"]["resourceVersion"]))
        if same is not None:
            found.append(same)
            continue
        try:
            found.append(model.model_validate(item))
        except ValidationError as error:
            name = item["metadata"]["name"]
            log.error("%s %s/%s cannot be read: %s", model.resource.kind, reads.namespace, name, error)
            unreadable.add(name)
    return sorted(found, key=lambda each: each.metadata.name), frozenset(unreadable)


async def _records(reads: _Reads, exchange: Exchange, shards: Iterable[EngineShard]) -> dict[str, Object]:
    """By shard, the Leases that are there."""
    wanted = {names.record(exchange.metadata.name, shard.metadata.name): shard.metadata.name for shard in shards}
    return {wanted[name]: lease for name, lease in (await reads.get_each(LEASE, wanted)).items()}


def _names_of_keys(secret: Object) -> frozenset[str]:
    try:
        return names_in(base64.b64decode(secret.get("data", {}).get(gateway.KEYS_FILE, "")))
    except binascii.Error:
        return frozenset()


async def _secrets(
    reads: _Reads, exchange: Exchange, shards: Iterable[EngineShard], *, names_keys: bool
) -> dict[str, SecretFacts]:
    """By name, those that are there. Each is asked for: who may list Secrets may read all of a namespace.

    `names_keys`: it is of interest which API keys the gateways' own Secret has.
    """
    needs = certificates.needs(exchange, tuple(shards))
    given = {exchange.spec.ledger.database_secret, *(secret for secret, _ in gateway.secrets(exchange))}
    if exchange.spec.ledger.seal is not None:
        given.add(exchange.spec.ledger.seal.pin_secret)
    wanted = {names.authority(exchange.metadata.name), *given, *(need.secret for need in needs)}
    found = await reads.get_each(kinds.SECRET, sorted(wanted))
    facts = {name: secret_facts(stored) for name, stored in found.items()}
    own = exchange.spec.gateway.keys_secret
    if names_keys and own in facts:
        facts[own] = replace(facts[own], api_keys=_names_of_keys(found[own]))
    return facts


async def _hear(
    ask: Ask,
    children: dict[tuple[str, str], Object],
    component: Component,
    port: int,
    model: type[_Facts],
) -> _Said[_Facts]:
    """Pod, shard, and what it says, of processes that run; one that does not answer is not in it.

    A gateway's shard is empty: its label has none.
    """
    asked = [(pod, pod["metadata"]["labels"].get(names.SHARD_LABEL, "")) for pod in _running(children, component)]
    answers = await asyncio.gather(*(_facts(ask, pod, port, model) for pod, _ in asked))
    found = zip(asked, answers, strict=True)
    return [(pod["metadata"]["name"], shard, facts) for (pod, shard), facts in found if facts is not None]


async def _hear_sealer(ask: Ask, children: dict[tuple[str, str], Object], now: datetime.datetime) -> HeardSealer | None:
    for pod in _running(children, names.SEALER):
        facts = await _facts(ask, pod, sealer.STATUS_PORT, SealFacts)
        if facts is not None:
            return HeardSealer(facts, now)
    return None


def _running(children: dict[tuple[str, str], Object], component: str) -> list[Object]:
    """Pods of a component that have an address."""
    return [
        pod
        for (kind, _), pod in children.items()
        if kind == kinds.POD.kind
        and pod["metadata"]["labels"].get(names.COMPONENT_LABEL) == component
        and pod.get("status", {}).get("podIP")
    ]


async def _facts(ask: Ask, pod: Object, port: int, model: type[_Facts]) -> _Facts | None:
    try:
        return model.model_validate_json(await ask(pod, port))
    except (NoAnswer, ValidationError) as error:
        log.info("%s at port %d says nothing: %s %s", pod["metadata"]["name"], port, type(error).__name__, error)
        return None
