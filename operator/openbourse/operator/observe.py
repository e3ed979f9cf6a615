"""Reads one exchange from the API server and its engines. Gathers facts and decides nothing.

Lists and gets, never a cache: an object that a watch missed is seen here. Secrets are read by name, and only what is
not secret of them leaves this module.
"""

import asyncio
import datetime
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import TypeVar

from pydantic import ValidationError

from openbourse.contracts.apiserver import ApiServer, Object, Refused
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import LEASE, is_unfounded
from openbourse.contracts.resources import CustomResource, EngineShard, Exchange, Halt, Symbol, TradingLimit
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
    MoveFacts,
    Observed,
    ProcessFacts,
    SealFacts,
    SecretFacts,
    TlsFacts,
)
from openbourse.operator.status_pages import Ask, NoAnswer

_Kind = TypeVar("_Kind", bound=CustomResource)
_Facts = TypeVar("_Facts", EngineFacts, GatewayFacts, MarketDataFacts, SealFacts, ProcessFacts)

log = logging.getLogger(__name__)


async def observe(
    api: ApiServer,
    ask: Ask,
    namespace: str,
    name: str,
    *,
    now: datetime.datetime,
    before: Observed | None,
    refusals: tuple[str, ...] = (),
    ask_ledger: AskLedger | None = None,
) -> Observed:
    """The exchange `name` as it is. Raises ApiError. What an engine said `before` is kept with its age.

    Without `ask_ledger` nothing is known of how far moves of symbols are but what is noted.
    """
    found = await api.get(Exchange.resource, namespace, name)
    exchange = Exchange.model_validate(found) if found else None
    shards, _ = await _named(api, EngineShard, namespace, name, before.shards if before else ())
    symbols, unreadable = await _named(api, Symbol, namespace, name, before.symbols if before else ())
    halts, _ = await _named(api, Halt, namespace, name, before.halts if before else ())
    limits, _ = await _named(api, TradingLimit, namespace, name, before.limits if before else ())
    children: dict[tuple[str, str], Object] = {}
    secrets: dict[str, SecretFacts] = {}
    heard: dict[str, Heard] = {}
    founded: dict[str, bool] = {}
    records: dict[str, Object] = {}
    sealed = before.sealer if before else None
    market_datas: dict[str, HeardMarketData] = {}
    gateways: dict[str, GatewayFacts] = {}
    tls: dict[str, TlsFacts] = {}
    cert_manager: bool | None = None
    told_of_moves: dict[str, MoveFacts | None] = {}
    if exchange is not None:
        for resource in kinds.LISTED:
            items, _ = await api.list(resource, namespace, f"{names.EXCHANGE_LABEL}={name}")
            children |= {(resource.kind, item["metadata"]["name"]): item for item in items}
        if exchange.spec.certificates is not None:
            ordered = await _of_cert_manager(api, namespace, name)
            children |= ordered or {}
            cert_manager = ordered is not None
        for secret in _secrets(exchange, shards):
            stored = await api.get(kinds.SECRET, namespace, secret)
            if stored is not None:
                secrets[secret] = secret_facts(stored)
        records = await _records(api, exchange, shards)
        founded = {shard: not is_unfounded(lease, shard) for shard, lease in records.items()}
        named = {shard.metadata.name for shard in shards}
        # All at once: one that does not answer keeps a round for a second.
        engines, readers, settlers, serving = await asyncio.gather(
            _hear(ask, children, Component.ENGINE, engine.STATUS_PORT, EngineFacts),
            _hear(ask, children, Component.MARKETDATA, marketdata.STATUS_PORT, MarketDataFacts),
            _hear(ask, children, Component.LEDGER, ledger.STATUS_PORT, ProcessFacts),
            _hear(ask, children, Component.GATEWAY, gateway.STATUS_PORT, GatewayFacts),
        )
        heard = {pod: old for pod, old in (before.engines if before else {}).items() if old.shard in named}
        heard |= {pod: Heard(shard, facts, now) for pod, shard, facts in engines}
        market_datas = {pod: old for pod, old in (before.market_datas if before else {}).items() if old.shard in named}
        market_datas |= {pod: HeardMarketData(shard, facts, now) for pod, shard, facts in readers}
        for pod, _, facts in (*engines, *readers, *settlers, *serving):
            if facts.tls is not None:
                tls[pod] = facts.tls
        sealed = await _hear_sealer(ask, children, now) or sealed
        gateways = {pod: facts for pod, _, facts in serving}
        if ask_ledger is not None:
            told_of_moves = await how_far(ask_ledger, exchange, symbols)
    return Observed(
        now=now,
        namespace=namespace,
        name=name,
        exchange=exchange,
        shards=tuple(shards),
        symbols=tuple(symbols),
        halts=tuple(halts),
        limits=tuple(limits),
        children=children,
        secrets=secrets,
        engines=heard,
        sealer=sealed,
        tls=tls,
        cert_manager=cert_manager,
        market_datas=market_datas,
        gateways=gateways,
        founded=founded,
        owners_of_records={
            shard: frozenset(owner["uid"] for owner in lease["metadata"].get("ownerReferences", ()))
            for shard, lease in records.items()
        },
        cordoned=await _cordoned(api, children),
        two_person_held=await _two_person_held(api) if any(halt.spec.two_person for halt in halts) else None,
        moves=told_of_moves,
        unreadable_symbols=unreadable,
        refusals=refusals,
    )


async def _of_cert_manager(api: ApiServer, namespace: str, name: str) -> dict[tuple[str, str], Object] | None:
    """The exchange's Certificates. None: this API server knows no such kind."""
    try:
        items, _ = await api.list(kinds.CERTIFICATE, namespace, f"{names.EXCHANGE_LABEL}={name}")
    except Refused as error:
        if error.is_missing:
            return None
        raise
    return {(kinds.CERTIFICATE.kind, item["metadata"]["name"]): item for item in items}


async def _cordoned(api: ApiServer, children: dict[tuple[str, str], Object]) -> frozenset[str] | None:
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
            node = await api.get(kinds.NODE, None, name)
            if node is not None and node.get("spec", {}).get("unschedulable", False):
                found.add(name)
    except Refused as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
    return frozenset(found)


async def _two_person_held(api: ApiServer) -> bool | None:
    """Whether the chart's policy for Halts is there and bound to refuse. None: who asks may not know."""
    try:
        policy = await api.get(kinds.ADMISSION_POLICY, None, names.HALT_POLICY)
        binding = await api.get(kinds.ADMISSION_POLICY_BINDING, None, names.HALT_POLICY)
    except Refused as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
    return policy is not None and binding is not None and "Deny" in binding["spec"]["validationActions"]


async def _named(
    api: ApiServer, model: type[_Kind], namespace: str, exchange: str, before: tuple[_Kind, ...]
) -> tuple[list[_Kind], frozenset[str]]:
    """The objects of a kind that name the exchange, and the names of those that cannot be read."""
    items, _ = await api.list(model.resource, namespace)
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
            log.error("%s %s/%s cannot be read: %s", model.resource.kind, namespace, item["metadata"]["name"], error)
            unreadable.add(item["metadata"]["name"])
    return sorted(found, key=lambda each: each.metadata.name), frozenset(unreadable)


async def _records(api: ApiServer, exchange: Exchange, shards: Iterable[EngineShard]) -> dict[str, Object]:
    """By shard, the Leases that are there."""
    found = {}
    for shard in shards:
        name = names.record(exchange.metadata.name, shard.metadata.name)
        lease = await api.get(LEASE, shard.metadata.namespace, name)
        if lease is not None:
            found[shard.metadata.name] = lease
    return found


def _secrets(exchange: Exchange, shards: Iterable[EngineShard]) -> list[str]:
    needs = certificates.needs(exchange, tuple(shards))
    given = {exchange.spec.ledger.database_secret, *(secret for secret, _ in gateway.secrets(exchange))}
    if exchange.spec.ledger.seal is not None:
        given.add(exchange.spec.ledger.seal.pin_secret)
    return sorted({names.authority(exchange.metadata.name), *given, *(need.secret for need in needs)})


async def _hear(
    ask: Ask,
    children: dict[tuple[str, str], Object],
    component: Component,
    port: int,
    model: type[_Facts],
) -> list[tuple[str, str, _Facts]]:
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
