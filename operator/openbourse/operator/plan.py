"""What to do next for one exchange: what was observed in, the actions of the first phase that has any out.

Nothing here reads a clock, a cluster or a file, and nothing here ever deletes a volume, a Secret or a custom resource.
Phases are in the order in which a start needs them; a phase whose preconditions do not hold has no actions, so that a
missing database does not keep the market from its engine. What the API server refused is passed over until everything
is asked for again, and what stands on it waits: a workload on its account, its rights and its network policy, a pod on
what it is to see. The rest goes on.
"""

import datetime
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.component import Component
from openbourse.contracts.documents import digest
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import GROUP, EngineShard, Exchange, Symbol
from openbourse.contracts.switchovers import SwitchoverRequest
from openbourse.operator import api_keys, authorities, governor, limits, listed, moves, records, replacements, volumes
from openbourse.operator.authorities import (
    ChangeAuthority,
    IssueCertificate,
    MakeAuthority,
    OfAuthority,
    OfCertificate,
    TrustAuthorities,
)
from openbourse.operator.drift import first_difference
from openbourse.operator.manifests import (
    certificates,
    engine,
    gateway,
    kinds,
    ledger,
    listings,
    marketdata,
    names,
    sealer,
)
from openbourse.operator.manifests.objects import owner_reference
from openbourse.operator.moves import AskMove, NoteMove, TakeMoveBack
from openbourse.operator.observed import CertificateFacts, Observed, Refusal, Subject
from openbourse.operator.readiness import job_condition

PLAN_ANNOTATION = f"{GROUP}/plan"
MIGRATION_PAUSE = datetime.timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Apply:
    """Make `manifest` so, by server-side apply."""

    resource: Resource
    manifest: Object
    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete this very object. Only ever a finished Job, or an engine's pod whose turn it is."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class MakeRecord:
    """Make the Lease of a shard's leadership record, if there is none. It lets one engine found the shard."""

    lease: Object
    reason: str


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """Write into the shard's status that its Lease was made, so that it never is again."""

    shard: EngineShard
    lease: str
    reason: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Change fields by a merge patch: an apply takes nothing away that the API server has filled in itself."""

    resource: Resource
    manifest: Object
    reason: str


@dataclass(frozen=True, slots=True)
class AskSwitchover:
    """Ask the shard's leader to hand over."""

    shard: EngineShard
    request: SwitchoverRequest
    reason: str


OfTheApiServer = (
    AskSwitchover | Merge | Apply | OfAuthority | OfCertificate | MakeRecord | NoteRecord | NoteMove | Delete
)
Action = OfTheApiServer | AskMove | TakeMoveBack


@dataclass(frozen=True, slots=True)
class Plan:
    """Empty when all is as it should be, or can only be waited for."""

    phase: str = ""
    actions: tuple[Action, ...] = ()
    # Of the refusals that were observed, those of what would still be done.
    refused: tuple[Refusal, ...] = ()


def plan(observed: Observed) -> Plan:
    """The actions of the first phase that has any which were not refused."""
    exchange = observed.exchange
    if exchange is None or exchange.metadata.deletion_timestamp is not None:
        return Plan()
    refused = {refusal.subject for refusal in observed.refusals}
    looked_at: set[str] = set()
    passed_over: set[Subject] = set()
    for name, phase in PHASES:
        wanted = [(subject(action), action) for action in phase(observed, exchange)]
        looked_at.add(name)
        passed_over |= refused.intersection(of for of, _ in wanted)
        actions = tuple(action for of, action in wanted if of not in refused)
        if actions:
            break
    else:
        name, actions = "", ()
    still = tuple(r for r in observed.refusals if r.subject in passed_over or r.phase not in looked_at)
    return Plan(name, actions, still)


def subject(action: Action) -> Subject:
    """The same for the same thing, however often it is planned."""
    what = type(action).__name__
    match action:
        case Apply(resource, manifest) | Merge(resource, manifest):
            metadata = manifest["metadata"]
            return Subject(what, resource.kind, metadata["name"], metadata.get("uid", ""))
        case Delete(resource, _, name, uid):
            return Subject(what, resource.kind, name, uid)
        case MakeRecord(lease):
            return Subject(what, LEASE.kind, lease["metadata"]["name"])
        case NoteRecord(shard) | AskSwitchover(shard):
            return Subject(what, EngineShard.resource.kind, shard.metadata.name)
        case MakeAuthority(exchange):
            return Subject(what, kinds.SECRET.kind, names.authority(exchange.metadata.name))
        case ChangeAuthority(exchange, change, signing):
            return Subject(what, kinds.SECRET.kind, names.authority(exchange.metadata.name), f"{change} {signing}")
        case IssueCertificate(_, need) | TrustAuthorities(_, need):
            return Subject(what, kinds.SECRET.kind, need.secret)
        case NoteMove(symbol) | AskMove(_, symbol) | TakeMoveBack(_, symbol):
            return Subject(what, Symbol.resource.kind, symbol.metadata.name, symbol.metadata.resource_version)
        case _:
            assert_never(action)


def _adoption(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """Shards go when their exchange goes; their volumes stay."""
    for shard in _shards(observed):
        if any(owner.uid == exchange.metadata.uid for owner in shard.metadata.owner_references):
            continue
        owner = owner_reference(exchange)
        metadata = {
            "name": shard.metadata.name,
            "namespace": shard.metadata.namespace,
            "uid": shard.metadata.uid,
            "ownerReferences": [owner],
        }
        yield Apply(EngineShard.resource, {"metadata": metadata}, "the shard goes when its exchange goes")


def _certificates(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    ordered = exchange.spec.certificates
    if ordered is None:
        yield from authorities.leaves(observed, exchange)
    elif observed.cert_manager:
        wanted = certificates.needs(exchange, _shards(observed))
        yield from _ensured(
            observed, [certificates.of_cert_manager(exchange, ordered.issuer_ref, need) for need in wanted]
        )


def _access(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for shard in _shards(observed):
        yield from _ensured(observed, engine.access(exchange, shard))


def _network(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for shard in _shards(observed):
        for part in (engine, ledger, marketdata):
            yield from _ensured(observed, part.network(exchange, shard))
    yield from _ensured(observed, gateway.network(exchange))
    if exchange.spec.ledger.seal is not None:
        yield from _ensured(observed, sealer.network(exchange))


def _listings(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for shard in _shards(observed):
        document, _ = listed.listing(observed, exchange, shard)
        expected = listed.expected(observed, exchange, shard)
        yield from _ensured(observed, [engine.listings(exchange, shard, document, expected)])


def _records(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """The Lease is made before any engine could have a log, and noted before one may found the shard into it."""
    for shard in _shards(observed):
        name = shard.metadata.name
        if not records.has_lease(observed, shard) or shard.status.record:
            continue
        lease = engine.record(exchange, shard)
        if name in observed.founded:
            yield NoteRecord(shard, lease["metadata"]["name"], f"the record of shard {name} was made")
        elif not records.lost(observed, exchange, shard):
            yield MakeRecord(lease, f"shard {name} has no leadership record yet")


def _engines(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """An engine starts only with its certificate, its listing and its account: else its pod would wait for them."""
    for shard in _shards(observed):
        certificate = _certificate(observed, names.engine(exchange.metadata.name, shard.metadata.name))
        listing = observed.child(kinds.CONFIG_MAP, names.listings(exchange.metadata.name, shard.metadata.name))
        has_lease = records.has_lease(observed, shard)
        if certificate is None or listing is None or (has_lease and not shard.status.record):
            continue
        if _any_refused(observed, _engine_stands_on(exchange, shard)):
            continue
        now = records.engines_now(observed, exchange, shard)
        wanted = engine.stateful_set(exchange, shard, replicas=now, has_lease=has_lease)
        live = observed.child(kinds.STATEFUL_SET, wanted["metadata"]["name"])
        if has_lease and live is not None and "rollingUpdate" in live["spec"].get("updateStrategy", {}):
            yield _left_to_the_plan(live)
        else:
            yield from _ensured(observed, [volumes.as_claimed(wanted, live)])


def _left_to_the_plan(live: Object) -> Merge:
    """Of an engine that was alone, or of an earlier version: its StatefulSet would replace pods by itself."""
    identity = {key: live["metadata"][key] for key in ("name", "namespace", "uid")}
    by_plan = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}
    reason = f"StatefulSet {identity['name']} is to leave its pods to the plan"
    return Merge(kinds.STATEFUL_SET, {"metadata": identity, "spec": by_plan}, reason)


def _market_data(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """Beside the engines, whatever becomes of a ledger. What was never wanted is not made."""
    for shard in _shards(observed):
        name = names.marketdata(exchange.metadata.name, shard.metadata.name)
        certificate = _certificate(observed, name)
        is_wanted = shard.spec.market_data.enabled or observed.child(kinds.STATEFUL_SET, name) is not None
        waits = _any_refused(observed, _policies(marketdata.network(exchange, shard)))
        if certificate is not None and is_wanted and not waits:
            wanted = marketdata.stateful_set(exchange, shard)
            yield from _ensured(observed, [volumes.as_claimed(wanted, observed.child(kinds.STATEFUL_SET, name))])


def _migration(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """The database is migrated before a ledger of this image runs. A failed migration is tried again, not at once."""
    if not has_keys(observed, exchange.spec.ledger.database_secret, *ledger.database_keys(exchange)):
        return
    name = ledger.migration_name(exchange)
    job = observed.child(kinds.JOB, name)
    if job is None:
        others = [other for other in observed.of_kind(kinds.JOB) if not job_condition(other)]
        if not others:
            wanted = ledger.migration(exchange)
            yield Apply(kinds.JOB, wanted, f"the ledger's database is to be migrated by {exchange.spec.image}")
    elif job_condition(job) == "Failed" and _failed_for(job, observed.now) >= MIGRATION_PAUSE:
        yield _delete(kinds.JOB, job, "the migration failed and is tried again")


def _ledgers(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    if job_condition(observed.child(kinds.JOB, ledger.migration_name(exchange))) != "Complete":
        return
    for shard in _shards(observed):
        certificate = _certificate(observed, names.ledger(exchange.metadata.name, shard.metadata.name))
        waits = _any_refused(observed, _policies(ledger.network(exchange, shard)))
        if certificate is not None and not waits:
            yield from _ensured(observed, [ledger.deployment(exchange, shard)])


def _sealer(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """It needs its role in the database, and the PIN: else its pod would wait for it."""
    seal = exchange.spec.ledger.seal
    if seal is None or job_condition(observed.child(kinds.JOB, ledger.migration_name(exchange))) != "Complete":
        return
    waits = _any_refused(observed, _policies(sealer.network(exchange)))
    if has_keys(observed, seal.pin_secret, sealer.PIN_KEY) and not waits:
        yield from _ensured(observed, [sealer.stateful_set(exchange, seal)])


def _gateways(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    shards = _shards(observed)
    certificate = _certificate(observed, names.gateway(exchange.metadata.name))
    if not shards or certificate is None or _any_refused(observed, _policies(gateway.network(exchange))):
        return
    if not all(has_keys(observed, secret, *keys) for secret, keys in gateway.secrets(exchange)):
        return
    redis = exchange.spec.gateway.redis_secret
    has_authority = redis is not None and has_keys(observed, redis, gateway.REDIS_AUTHORITY)
    told = gateway.trading_limits(exchange, limits.document(observed))
    keys = gateway.api_keys(exchange, api_keys.document(observed))
    wanted = gateway.deployment(exchange, shards, redis_has_authority=has_authority)
    yield from _ensured(observed, [told, keys, wanted])


def _moves(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """Of symbols from shard to shard."""
    for symbol in observed.symbols:
        if symbol.metadata.deletion_timestamp is None:
            action = moves.verdict(observed, exchange, symbol).action
            if action is not None:
                yield action


def _pods(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """What changed is seen at once: the kubelet refreshes the volumes of a pod that changes."""
    for shard in _shards(observed):
        name = names.listings(exchange.metadata.name, shard.metadata.name)
        if observed.is_refused(kinds.CONFIG_MAP, name):
            continue
        document, _ = listed.listing(observed, exchange, shard)
        wanted = {names.LISTINGS_ANNOTATION: listings.digest(document)}
        selector = names.selector(exchange, Component.ENGINE, shard)
        yield from _touched(observed, selector, wanted, "the changed listing")
    wanted = {}
    if not observed.is_refused(kinds.CONFIG_MAP, names.trading_limits(exchange.metadata.name)):
        wanted[names.LIMITS_ANNOTATION] = digest(limits.document(observed).encode())
    if not observed.is_refused(kinds.SECRET, names.api_keys(exchange.metadata.name)):
        wanted[names.API_KEYS_ANNOTATION] = digest(api_keys.document(observed))
    if wanted:
        yield from _touched(
            observed, names.selector(exchange, Component.GATEWAY), wanted, "the changed limits or API keys"
        )


def _touched(observed: Observed, selector: Object, wanted: Object, what: str) -> Iterator[Action]:
    for pod in observed.of_kind(kinds.POD):
        metadata = pod["metadata"]
        is_of_it = first_difference(selector, metadata.get("labels", {})) is None
        if not is_of_it or "deletionTimestamp" in metadata:
            continue
        if first_difference(wanted, metadata.get("annotations", {})) is not None:
            identity = {key: metadata[key] for key in ("name", "namespace", "uid")}
            manifest = {"metadata": identity | {"annotations": wanted}}
            yield Apply(kinds.POD, manifest, f"pod {metadata['name']} is to see {what}")


def _replacements(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """Engines that run, one after the other; of a shard of which anything was refused that they stand on, none."""
    left_alone = frozenset(
        shard.metadata.name for shard in _shards(observed) if _is_left_alone(observed, exchange, shard)
    )
    for step in governor.allowed(observed, exchange, left_alone):
        match step:
            case replacements.Replace(_, pod, reason):
                yield _delete(kinds.POD, pod, reason)
            case replacements.SwitchOver(shard, request, reason):
                yield AskSwitchover(shard, request, reason)


def _leftovers(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """Migrations of earlier images, once they are over and the present one is through."""
    present = ledger.migration_name(exchange)
    if job_condition(observed.child(kinds.JOB, present)) != "Complete":
        return
    for job in observed.of_kind(kinds.JOB):
        if job["metadata"]["name"] != present and job_condition(job):
            yield _delete(kinds.JOB, job, "it migrated the database for an earlier image")


def _volumes(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for change in volumes.changes(observed, exchange):
        yield Apply(kinds.VOLUME_CLAIM, change.manifest, change.reason)
    for shard in _shards(observed):
        owned_by = observed.owners_of_records.get(shard.metadata.name)
        problem = volumes.owner_problem(exchange, owned_by) if owned_by is not None else ""
        if problem:
            name = names.record(exchange.metadata.name, shard.metadata.name)
            metadata = {
                "name": name,
                "namespace": shard.metadata.namespace,
                "ownerReferences": volumes.owners(exchange),
            }
            yield Apply(LEASE, {"metadata": metadata}, f"the record of shard {shard.metadata.name} {problem}")


PHASES: tuple[tuple[str, Callable[[Observed, Exchange], Iterable[Action]]], ...] = (
    ("adoption", _adoption),
    ("authority", authorities.authority),
    ("certificates", _certificates),
    ("access", _access),
    ("network", _network),
    ("listings", _listings),
    ("records", _records),
    ("engines", _engines),
    ("market data", _market_data),
    ("migration", _migration),
    ("ledgers", _ledgers),
    ("gateways", _gateways),
    ("sealer", _sealer),
    # Behind what the shards of a move need.
    ("moves", _moves),
    ("pods", _pods),
    ("replacements", _replacements),
    ("leftovers", _leftovers),
    # Last, so that a class that does not let its volumes grow keeps nothing else from being done.
    ("volumes", _volumes),
)


def _engine_stands_on(exchange: Exchange, shard: EngineShard) -> list[Object]:
    return [*engine.access(exchange, shard), *_policies(engine.network(exchange, shard))]


def _is_left_alone(observed: Observed, exchange: Exchange, shard: EngineShard) -> bool:
    """Whether its engines stay as they are: one that is replaced needs everything that a start needs."""
    name, of_exchange = shard.metadata.name, exchange.metadata.name
    workload = names.engine(of_exchange, name)
    made = [*engine.access(exchange, shard), *engine.network(exchange, shard)]
    others = [
        (kinds.STATEFUL_SET, workload),
        (kinds.SECRET, names.certificate(workload)),
        (kinds.CONFIG_MAP, names.listings(of_exchange, name)),
        (LEASE, names.record(of_exchange, name)),
        # The record that is noted, the switchover that is asked for.
        (EngineShard.resource, name),
        *((kinds.POD, pod) for pod in engine.members(exchange, shard)),
    ]
    return _any_refused(observed, made) or any(observed.is_refused(resource, name) for resource, name in others)


def _policies(manifests: Iterable[Object]) -> list[Object]:
    """Who may connect: a workload does not run before that is said. Its Services may come later."""
    return [manifest for manifest in manifests if manifest["kind"] == kinds.NETWORK_POLICY.kind]


def _any_refused(observed: Observed, manifests: Iterable[Object]) -> bool:
    return any(observed.is_refused(_RESOURCES[each["kind"]], each["metadata"]["name"]) for each in manifests)


def has_keys(observed: Observed, secret: str, *keys: str) -> bool:
    facts = observed.secrets.get(secret)
    return facts is not None and facts.keys.issuperset(keys)


def _shards(observed: Observed) -> tuple[EngineShard, ...]:
    return tuple(shard for shard in observed.shards if shard.metadata.deletion_timestamp is None)


def _ensured(observed: Observed, manifests: Iterable[Object]) -> Iterator[Action]:
    """What is missing or not as desired. The annotation shows a field that an earlier version set and this one not."""
    for manifest in manifests:
        text = json.dumps(manifest, sort_keys=True)
        annotation = {PLAN_ANNOTATION: hashlib.sha256(text.encode()).hexdigest()[:16]}
        manifest["metadata"]["annotations"] = annotation
        resource = _RESOURCES[manifest["kind"]]
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        live = observed.child(resource, manifest["metadata"]["name"])
        if live is None:
            yield Apply(resource, manifest, f"{name} is missing")
        elif "deletionTimestamp" not in live["metadata"]:
            difference = first_difference(manifest, live)
            if difference is not None:
                yield Apply(resource, manifest, f"{name} is not as desired at {difference}")


_RESOURCES = {resource.kind: resource for resource in (*kinds.LISTED, kinds.SECRET, kinds.CERTIFICATE)}


def _certificate(observed: Observed, workload: str) -> CertificateFacts | None:
    facts = observed.secrets.get(names.certificate(workload))
    return facts.certificate if facts else None


def _delete(resource: Resource, live: Object, reason: str) -> Delete:
    metadata = live["metadata"]
    return Delete(resource, metadata["namespace"], metadata["name"], metadata["uid"], reason)


def _failed_for(job: Object, now: datetime.datetime) -> datetime.timedelta:
    for entry in job["status"]["conditions"]:
        if entry["type"] == "Failed" and "lastTransitionTime" in entry:
            return now - datetime.datetime.fromisoformat(entry["lastTransitionTime"].replace("Z", "+00:00"))
    return datetime.timedelta(0)
