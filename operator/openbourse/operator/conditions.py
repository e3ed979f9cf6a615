"""What each custom resource's status should say: what was observed in, statuses out, each condition with its sentence.

Nothing here reads a clock, a cluster or a file. Acknowledgements of a Halt belong to the engines and are only read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.resources import (
    AcknowledgementState,
    Condition,
    CustomResource,
    EngineShard,
    Exchange,
    Halt,
    HaltMode,
    Symbol,
)
from openbourse.contracts.resources.meta import Status
from openbourse.operator import members, records, seal
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import gateway, kinds, ledger, listings, names
from openbourse.operator.observed import Observed
from openbourse.operator.plan import has_keys
from openbourse.operator.readiness import job_condition, missing_pods


@dataclass(frozen=True, slots=True)
class StatusApply:
    """Make this the operator's part of an object's status."""

    resource: Resource
    manifest: Object


def statuses(observed: Observed) -> tuple[StatusApply, ...]:
    """Of every object of the exchange whose status does not say yet what it should."""
    return tuple(
        wanted
        for owner, fields, facts in _all(observed)
        if (wanted := _status(observed, owner, fields, facts)) is not None
    )


def exchange_facts(observed: Observed, exchange: Exchange) -> list[Fact]:
    """Ready, with the first thing that is in the way; Stalled when only a person can help."""
    blocked = _blocked(observed, exchange)
    waiting = blocked or _waiting(observed, exchange)
    refused = "; ".join(observed.refusals)
    stalled = Fact("Stalled", True, "Refused", refused) if refused else blocked
    count = f"{len(observed.shards)} shards, {len(observed.symbols)} symbols, {exchange.spec.gateway.replicas} gateways"
    return [
        waiting or Fact("Ready", True, "Serving", count),
        Fact("Stalled", True, stalled.reason, stalled.message)
        if stalled
        else Fact("Stalled", False, "Progressing" if waiting else "Serving", ""),
    ]


def shard_facts(observed: Observed, shard: EngineShard) -> list[Fact]:
    exchange = observed.exchange
    if exchange is None:
        return [_no_exchange("Ready", observed.name)]
    return [_shard_ready(observed, exchange, shard), members.in_sync(observed, exchange, shard)]


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
    if exchange.spec.gateway.shard != shard.metadata.name:
        other = (
            f"its engine serves; the gateway serves shard {exchange.spec.gateway.shard} (Exchange.spec.gateway.shard)"
        )
        return Fact("Ready", True, "NotAtTheGateway", other)
    return Fact("Ready", True, "Serving", "its engine serves")


def symbol_facts(observed: Observed, symbol: Symbol) -> tuple[dict[str, Any], list[Fact]]:
    """Where the symbol is listed, the state that the shard's acknowledged halts give it, and Listed."""
    exchange = observed.exchange
    if exchange is None:
        return {}, [_no_exchange("Listed", observed.name)]
    shard = next((s for s in observed.shards if s.metadata.name == symbol.spec.shard), None)
    if shard is None:
        known = ", ".join(s.metadata.name for s in observed.shards) or "none"
        message = f"there is no EngineShard {symbol.spec.shard} of exchange {observed.name} (there are: {known})"
        return {}, [Fact("Listed", False, "NoShard", message)]
    document, refused = listings.fit(exchange, shard, observed.symbols)
    sentence = refused.get(symbol.metadata.name)
    if sentence is not None:
        return {}, [Fact("Listed", False, "DoesNotFit", sentence)]
    name = names.listings(exchange.metadata.name, shard.metadata.name)
    stored = observed.child(kinds.CONFIG_MAP, name)
    if stored is None or document not in stored.get("data", {}).values():
        return {}, [Fact("Listed", False, "BeingListed", f"not in the listing of shard {shard.metadata.name} yet")]
    state, why = _state(observed, symbol)
    message = f"in the listing of shard {shard.metadata.name}{why}"
    return {"shard": shard.metadata.name, "state": state}, [Fact("Listed", True, "Listed", message)]


def halt_facts(observed: Observed, halt: Halt) -> list[Fact]:
    """Acknowledged: every shard in scope has answered Halted (or, when it is over, Lifted). Expired: by the clock."""
    expired = halt.ends_at is not None and halt.ends_at <= observed.now
    until = "until it is deleted" if halt.ends_at is None else f"until {halt.ends_at:%Y-%m-%d %H:%M:%S} UTC"
    return [
        _acknowledged(observed, halt, expired=expired),
        Fact("Expired", expired, "TimeIsOver" if expired else "InForce", until),
    ]


def _acknowledged(observed: Observed, halt: Halt, *, expired: bool) -> Fact:
    named = set(halt.spec.symbols)
    scope = sorted(
        shard.metadata.name
        for shard in observed.shards
        if not named or any(s.spec.name in named and s.spec.shard == shard.metadata.name for s in observed.symbols)
    )
    if not scope:
        what = f"any of {', '.join(sorted(named))}" if named else "any shard"
        return Fact("Acknowledged", False, "NothingInScope", f"exchange {observed.name} does not have {what}")
    wanted = AcknowledgementState.LIFTED if expired else AcknowledgementState.HALTED
    open_, refused = [], []
    for shard in scope:
        entry = halt.status.by(shard)
        if entry is None or (entry.state is not wanted and entry.state is not AcknowledgementState.REFUSED):
            open_.append(shard)
        elif entry.state is AcknowledgementState.REFUSED:
            refused.append(f"{shard}: {entry.message}")
    if refused:
        return Fact("Acknowledged", False, "Refused", "; ".join(refused))
    if open_:
        return Fact("Acknowledged", False, "Waiting", f"no answer yet from {', '.join(open_)}")
    return Fact("Acknowledged", True, wanted.value, f"by {', '.join(scope)}")


def _state(observed: Observed, symbol: Symbol) -> tuple[str, str]:
    """The most restrictive of the halts that the symbol's shard has in force, and which one that is."""
    in_force = [
        halt
        for halt in sorted(observed.halts, key=lambda halt: halt.metadata.name)
        if (not halt.spec.symbols or symbol.spec.name in halt.spec.symbols)
        and (entry := halt.status.by(symbol.spec.shard)) is not None
        and entry.state is AcknowledgementState.HALTED
    ]
    for mode in (HaltMode.HALT, HaltMode.CANCEL_ONLY, HaltMode.POST_ONLY):
        for halt in in_force:
            if halt.spec.mode is mode:
                return mode.value, f"; {mode} by Halt {halt.metadata.name}: {halt.spec.reason}"
    return "TRADING", ""


def _blocked(observed: Observed, exchange: Exchange) -> Fact | None:
    """What only a person can put right."""
    spec = exchange.spec
    if not observed.shards:
        return _not_ready("NoShard", f"make an EngineShard with spec.exchange: {exchange.metadata.name}")
    if all(shard.metadata.name != spec.gateway.shard for shard in observed.shards):
        message = f"spec.gateway.shard names {spec.gateway.shard}, there is no such EngineShard of this exchange"
        return _not_ready("NoGatewayShard", message)
    for secret, keys in (
        (spec.ledger.database_secret, ledger.database_keys(exchange)),
        (spec.gateway.keys_secret, (gateway.KEYS_FILE,)),
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
            return _not_ready("LedgerNotReady", f"{workload} {problem}")
    workload = names.gateway(exchange.metadata.name)
    problem = missing_pods(observed.child(kinds.DEPLOYMENT, workload))
    return _not_ready("GatewayNotReady", f"{workload} {problem}") if problem else None


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
    return f"{workload} {problem}" if problem else ""


def _not_ready(reason: str, message: str) -> Fact:
    return Fact("Ready", False, reason, message)


def _no_exchange(condition: str, name: str) -> Fact:
    return Fact(condition, False, "NoExchange", f"there is no Exchange {name} in this namespace")


def _all(observed: Observed) -> Iterator[tuple[CustomResource, dict[str, Any], list[Fact]]]:
    if observed.exchange is not None:
        facts = exchange_facts(observed, observed.exchange) + seal.sealed(observed, observed.exchange)
        yield observed.exchange, seal.fields(observed, observed.exchange), facts
    for shard in observed.shards:
        yield shard, members.fields(observed, shard), shard_facts(observed, shard)
    for symbol in observed.symbols:
        yield symbol, *symbol_facts(observed, symbol)
    for halt in observed.halts:
        yield halt, {}, halt_facts(observed, halt)


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
    """What is written here: acknowledgements are the engines', a shard's record is noted by a plan."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"acknowledgements", "record"})


def _condition(observed: Observed, generation: int, fact: Fact, before: Condition | None) -> Condition:
    status = "Unknown" if fact.holds is None else str(bool(fact.holds))
    since = before.last_transition_time if before and before.status == status else observed.now.replace(microsecond=0)
    return Condition.model_validate(
        {
            "type": fact.type,
            "status": status,
            "reason": fact.reason,
            "message": fact.message[:1024],
            "observedGeneration": generation,
            "lastTransitionTime": since,
        }
    )
