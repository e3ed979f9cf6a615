"""What each custom resource's status should say: what was observed in, statuses out, each condition with its sentence.

Nothing here reads a clock, a cluster or a file. Acknowledgements of a Halt belong to the engines and are only read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.component import Component
from openbourse.contracts.resources import (
    Condition,
    CustomResource,
    EngineShard,
    Exchange,
    Symbol,
)
from openbourse.contracts.resources.meta import Status
from openbourse.operator import (
    api_keys,
    authority_status,
    governor,
    halts,
    lifecycle,
    limits,
    listed,
    marketdata,
    members,
    moves,
    records,
    seal,
    volumes,
)
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import gateway, kinds, ledger, names
from openbourse.operator.observed import Observed, Refusal
from openbourse.operator.plan import has_keys
from openbourse.operator.readiness import job_condition, missing_pods, why_it_does_not_run

_BEING_LISTED = "BeingListed"
# Characters of a condition's message.
MESSAGE_MOST = 1024
_BY_RIGHTS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_RIGHTS = (
    "give the operator the right (the chart of its version has them all), or see the policy or quota that is named"
)
_FIELDS = "change what is named where it is said, in the Exchange or the EngineShard, or take away what is in the way"


@dataclass(frozen=True, slots=True)
class StatusApply:
    """Make this the operator's part of an object's status."""

    resource: Resource
    manifest: Object


def statuses(observed: Observed, *, goes_on: bool = False) -> tuple[StatusApply, ...]:
    """Of every object of the exchange whose status does not say yet what it should.

    `goes_on`: another round follows at once. What it is about to change is not said in between: a thousand new symbols
    are told once, that they are listed, and not before that they will be.
    """
    return tuple(
        wanted
        for owner, fields, facts in _all(observed)
        if not (goes_on and any(fact.reason == _BEING_LISTED for fact in facts))
        and (wanted := _status(observed, owner, fields, facts)) is not None
    )


def exchange_facts(observed: Observed, exchange: Exchange) -> list[Fact]:
    """Ready, with the first thing that is in the way; Stalled when only a person can help."""
    blocked = _blocked(observed, exchange)
    waiting = blocked or _waiting(observed, exchange)
    stalled = Fact("Stalled", True, "Refused", _refused(observed.refusals)) if observed.refusals else blocked
    count = f"{len(observed.shards)} shards, {len(observed.symbols)} symbols, {exchange.spec.gateway.replicas} gateways"
    return [
        waiting or Fact("Ready", True, "Serving", count),
        Fact("Stalled", True, stalled.reason, stalled.message)
        if stalled
        else Fact("Stalled", False, "Progressing" if waiting else "Serving", ""),
    ]


def _refused(refusals: tuple[Refusal, ...]) -> str:
    """What was refused, in the API server's words, and what to do: which is said however long the rest is."""
    hints = sorted({_RIGHTS if refusal.status in _BY_RIGHTS else _FIELDS for refusal in refusals})
    hint = f"; {'; '.join(hints)}; it is tried again every few seconds, and what does not need it goes on"
    said = "; ".join(refusal.sentence for refusal in refusals)
    room = MESSAGE_MOST - len(hint)
    return (said if len(said) <= room else f"{said[: room - 3]}...") + hint


def shard_facts(observed: Observed, shard: EngineShard) -> list[Fact]:
    exchange = observed.exchange
    if exchange is None:
        return [_no_exchange("Ready", observed.name)]
    return [
        _shard_ready(observed, exchange, shard),
        members.in_sync(observed, exchange, shard),
        marketdata.ready(observed, exchange, shard),
        volumes.grown(observed, exchange, shard),
        *lifecycle.facts(observed, exchange, shard),
        listed.fact(observed, exchange, shard),
        members.redundant(shard),
    ]


def _shard_ready(observed: Observed, exchange: Exchange, shard: EngineShard) -> Fact:
    problem = _engine_problem(observed, exchange, shard)
    if problem:
        return Fact("Ready", False, "EngineNotReady", problem)
    leader = observed.leader(shard.metadata.name)
    if leader is None:
        return Fact("Ready", None, "EngineSilent", "its pod is ready and its status port does not answer")
    _, engine = leader
    if engine.safety.level != "NORMAL":
        lagging = f"its engine serves at safety level {engine.safety.level}: {engine.safety.why}"
        return Fact("Ready", True, "Lagging", lagging)
    return Fact("Ready", True, "Serving", "its engine serves")


def symbol_facts(observed: Observed, symbol: Symbol) -> tuple[dict[str, Any], list[Fact]]:
    """Where the symbol is, its effective state, what holds it; Listed, and Moving of one that moved or is to."""
    return _symbol_facts(observed, symbol, _listings(observed))


@dataclass(frozen=True, slots=True)
class _Listing:
    """Of a shard: which Symbols do not fit into it and why, and whether it is stored as it should be."""

    refused: Mapping[str, str]
    is_stored: bool


def _listings(observed: Observed) -> dict[str, _Listing]:
    """By shard; once for all of its symbols."""
    found: dict[str, _Listing] = {}
    exchange = observed.exchange
    if exchange is None:
        return found
    for shard in observed.shards:
        document, refused = listed.listing(observed, exchange, shard)
        stored = observed.child(kinds.CONFIG_MAP, names.listings(exchange.metadata.name, shard.metadata.name))
        is_stored = stored is not None and document in stored.get("data", {}).values()
        found[shard.metadata.name] = _Listing(refused, is_stored)
    return found


def _symbol_facts(
    observed: Observed, symbol: Symbol, of_shards: Mapping[str, _Listing]
) -> tuple[dict[str, Any], list[Fact]]:
    if observed.exchange is None:
        return {}, [_no_exchange("Listed", observed.name)]
    shard = listed.home(observed, symbol)
    moving = moves.verdict(observed, observed.exchange, symbol).fact
    others = [] if moving is None else [moving]
    not_listed = _not_listed(observed, symbol, shard, of_shards)
    if not_listed is not None:
        return {"shard": symbol.status.shard}, [not_listed, *others]
    held = halts.effective(observed, symbol)
    why = f"; {held.sentence}" if held.held_by else ""
    fields = {"shard": shard, "state": held.state, "heldBy": held.held_by or None}
    return fields, [Fact("Listed", True, "Listed", f"in the listing of shard {shard}{why}"), *others]


def _not_listed(observed: Observed, symbol: Symbol, shard: str, of_shards: Mapping[str, _Listing]) -> Fact | None:
    listing = of_shards.get(shard)
    if listing is None:
        known = ", ".join(s.metadata.name for s in observed.shards) or "none"
        message = f"there is no EngineShard {shard} of exchange {observed.name} (there are: {known})"
        return Fact("Listed", False, "NoShard", message)
    sentence = listing.refused.get(symbol.metadata.name)
    if sentence is not None:
        return Fact("Listed", False, "DoesNotFit", sentence)
    if not listing.is_stored:
        return Fact("Listed", False, _BEING_LISTED, f"not in the listing of shard {shard} yet")
    return None


def _blocked(observed: Observed, exchange: Exchange) -> Fact | None:
    """What only a person can put right."""
    spec = exchange.spec
    if not observed.shards:
        return _not_ready("NoShard", f"make an EngineShard with spec.exchange: {exchange.metadata.name}")
    for secret, keys in (
        (spec.ledger.database_secret, ledger.database_keys(exchange)),
        *gateway.secrets(exchange),
    ):
        if not has_keys(observed, secret, *keys):
            return _not_ready("SecretMissing", f"Secret {secret} with {' and '.join(keys)} is needed")
    name = ledger.migration_name(exchange)
    if job_condition(observed.child(kinds.JOB, name)) == "Failed":
        return _not_ready("MigrationFailed", f"Job {name} failed and is tried again: see the logs of its pods")
    return None


def _waiting(observed: Observed, exchange: Exchange) -> Fact | None:
    for shard in observed.shards:
        problem = _engine_problem(observed, exchange, shard)
        if problem:
            return _not_ready("EngineNotReady", problem)
    name = ledger.migration_name(exchange)
    if job_condition(observed.child(kinds.JOB, name)) != "Complete":
        return _not_ready("Migrating", f"Job {name} is not through yet")
    for shard in observed.shards:
        workload = names.ledger(exchange.metadata.name, shard.metadata.name)
        problem = missing_pods(observed.child(kinds.DEPLOYMENT, workload))
        if problem:
            why = _stuck(observed, Component.LEDGER, shard)
            return _not_ready("LedgerNotReady", f"{workload} {problem}{why}")
    workload = names.gateway(exchange.metadata.name)
    problem = missing_pods(observed.child(kinds.DEPLOYMENT, workload))
    if problem:
        why = _stuck(observed, Component.GATEWAY)
        return _not_ready("GatewayNotReady", f"{workload} {problem}{why}")
    for shard in observed.shards:
        problem = marketdata.problem(observed, exchange, shard)
        if problem:
            return _not_ready("MarketDataNotReady", problem)
    return None


def _engine_problem(observed: Observed, exchange: Exchange, shard: EngineShard) -> str:
    """Of several engines it is enough that one leads and serves."""
    workload = names.engine(exchange.metadata.name, shard.metadata.name)
    leader = observed.leader(shard.metadata.name)
    if shard.spec.standbys and leader is not None and leader[1].ready:
        return ""
    live = observed.child(kinds.STATEFUL_SET, workload)
    problem = missing_pods(live)
    if live is None and (lost := records.lost(observed, exchange, shard)):
        return f"{shard.metadata.name}: {lost}"
    return f"{workload} {problem}{_stuck(observed, Component.ENGINE, shard)}" if problem else ""


def _stuck(observed: Observed, component: Component, shard: EngineShard | None = None) -> str:
    """Which pod does not start, and why, in the words of who starts it; empty: none that is known."""
    wanted = {names.COMPONENT_LABEL: str(component)} | ({names.SHARD_LABEL: shard.metadata.name} if shard else {})
    for pod in observed.of_kind(kinds.POD):
        labels = pod["metadata"].get("labels", {})
        if wanted.items() <= labels.items() and (why := why_it_does_not_run(pod)):
            return f": {pod['metadata']['name']} {why}"
    return ""


def _not_ready(reason: str, message: str) -> Fact:
    return Fact("Ready", False, reason, message)


def _no_exchange(condition: str, name: str) -> Fact:
    return Fact(condition, False, "NoExchange", f"there is no Exchange {name} in this namespace")


def _all(observed: Observed) -> Iterator[tuple[CustomResource, dict[str, Any], list[Fact]]]:
    if observed.exchange is not None:
        exchange = observed.exchange
        facts = [
            *exchange_facts(observed, exchange),
            governor.on_hold(observed, exchange),
            authority_status.current(observed, exchange),
            *seal.sealed(observed, exchange),
        ]
        fields = seal.fields(observed, exchange) | _scale(observed, exchange)
        yield exchange, fields | authority_status.fields(observed, exchange), facts
    for shard in observed.shards:
        yield shard, members.fields(observed, shard), shard_facts(observed, shard)
    of_shards = _listings(observed)
    for symbol in observed.symbols:
        yield symbol, *_symbol_facts(observed, symbol, of_shards)
    for halt in observed.halts:
        yield halt, {}, halts.halt_facts(observed, halt)
    yield from limits.facts(observed)
    yield from api_keys.facts(observed)


def _scale(observed: Observed, exchange: Exchange) -> dict[str, Any]:
    """For the scale subresource: an autoscaler changes `spec.gateway.replicas`, and nothing else does."""
    selector = ",".join(f"{key}={value}" for key, value in names.selector(exchange, Component.GATEWAY).items())
    live = observed.child(kinds.DEPLOYMENT, names.gateway(exchange.metadata.name))
    there = 0 if live is None else live.get("status", {}).get("replicas", 0)
    return {"gatewayReplicas": there, "gatewaySelector": selector}


def _status(observed: Observed, owner: CustomResource, fields: dict[str, Any], facts: list[Fact]) -> StatusApply | None:
    metadata, present = owner.metadata, owner.status
    before = {condition.type: condition for condition in present.conditions}
    conditions = [_condition(observed, metadata.generation, fact, before.get(fact.type)) for fact in facts]
    wanted = type(present).model_validate(
        {"observedGeneration": metadata.generation, "conditions": conditions, **fields}
    )
    status = _as_stored(wanted)
    if status == _as_stored(present):
        return None
    identity = {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid}
    return StatusApply(owner.resource, {"metadata": identity, "status": status})


def _as_stored(status: Status) -> Object:
    """What is written here: acknowledgements and switchovers are the engines', records and moves are noted by plans."""
    others = {"acknowledgements", "record", "switchover", "move"}
    return status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=others)


def _condition(observed: Observed, generation: int, fact: Fact, before: Condition | None) -> Condition:
    status = "Unknown" if fact.holds is None else str(bool(fact.holds))
    since = before.last_transition_time if before and before.status == status else observed.now.replace(microsecond=0)
    return Condition.model_validate(
        {
            "type": fact.type,
            "status": status,
            "reason": fact.reason,
            "message": fact.message[:MESSAGE_MOST],
            "observedGeneration": generation,
            "lastTransitionTime": since,
        }
    )
