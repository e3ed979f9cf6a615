"""What to do next for one exchange: what was observed in, the actions of the first phase that has any out.

Nothing here reads a clock, a cluster or a file, and nothing here ever deletes a volume, a Secret or a custom resource.
Phases are in the order in which a start needs them; a phase whose preconditions do not hold has no actions, so that a
missing database does not keep the market from its engine.
"""

import datetime
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.component import Component
from openbourse.contracts.resources import GROUP, EngineShard, Exchange
from openbourse.operator import records
from openbourse.operator.drift import first_difference
from openbourse.operator.manifests import certificates, engine, gateway, kinds, ledger, listings, names, sealer
from openbourse.operator.manifests.objects import owner_reference
from openbourse.operator.observed import CertificateFacts, Observed
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
class MakeAuthority:
    """Make a new certificate authority."""

    exchange: Exchange
    reason: str


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Make a new certificate of the exchange's authority."""

    exchange: Exchange
    need: certificates.CertificateNeed
    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete this very object. Only ever a finished Job."""

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


Action = Apply | MakeAuthority | IssueCertificate | MakeRecord | NoteRecord | Delete


@dataclass(frozen=True, slots=True)
class Plan:
    """Empty when all is as it should be, or can only be waited for."""

    phase: str = ""
    actions: tuple[Action, ...] = ()


def plan(observed: Observed) -> Plan:
    """The actions of the first phase that has any."""
    exchange = observed.exchange
    if exchange is None or exchange.metadata.deletion_timestamp is not None:
        return Plan()
    for name, phase in PHASES:
        actions = tuple(phase(observed, exchange))
        if actions:
            return Plan(name, actions)
    return Plan()


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


def _authority(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    reason = _certificate_problem(observed, names.authority(exchange.metadata.name))
    if reason:
        yield MakeAuthority(exchange, f"the certificate authority {reason}")


def _certificates(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for need in certificates.needs(exchange, _shards(observed)):
        reason = _need_problem(observed, exchange, need)
        if reason:
            yield IssueCertificate(exchange, need, f"the certificate of {need.hosts[0]} {reason}")


def _access(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for shard in _shards(observed):
        yield from _ensured(observed, engine.access(exchange, shard))


def _network(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for shard in _shards(observed):
        yield from _ensured(observed, [*engine.network(exchange, shard), *ledger.network(exchange, shard)])
    yield from _ensured(observed, gateway.network(exchange))
    if exchange.spec.ledger.seal is not None:
        yield from _ensured(observed, sealer.network(exchange))


def _listings(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    for shard in _shards(observed):
        document, _ = listings.fit(exchange, shard, observed.symbols)
        yield from _ensured(observed, [engine.listings(exchange, shard, document)])


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
        now = records.engines_now(observed, exchange, shard, certificate.fingerprint)
        wanted = engine.stateful_set(exchange, shard, certificate.fingerprint, replicas=now, has_lease=has_lease)
        yield from _ensured(observed, [wanted])


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
        if certificate is not None:
            yield from _ensured(observed, [ledger.deployment(exchange, shard, certificate.fingerprint)])


def _sealer(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """It needs its role in the database, and the PIN: else its pod would wait for it."""
    seal = exchange.spec.ledger.seal
    if seal is None or job_condition(observed.child(kinds.JOB, ledger.migration_name(exchange))) != "Complete":
        return
    if has_keys(observed, seal.pin_secret, sealer.PIN_KEY):
        yield from _ensured(observed, [sealer.stateful_set(exchange, seal)])


def _gateways(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    shard = next((s for s in _shards(observed) if s.metadata.name == exchange.spec.gateway.shard), None)
    certificate = _certificate(observed, names.gateway(exchange.metadata.name))
    if shard is None or certificate is None:
        return
    if has_keys(observed, exchange.spec.gateway.keys_secret, gateway.KEYS_FILE):
        yield from _ensured(observed, [gateway.deployment(exchange, shard, certificate.fingerprint)])


def _pods(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """An engine sees a changed listing at once: the kubelet refreshes the volumes of a pod that changes."""
    for shard in _shards(observed):
        document, _ = listings.fit(exchange, shard, observed.symbols)
        wanted = {names.LISTINGS_ANNOTATION: listings.digest(document)}
        selector = names.selector(exchange, Component.ENGINE, shard)
        for pod in observed.of_kind(kinds.POD):
            metadata = pod["metadata"]
            is_member = first_difference(selector, metadata.get("labels", {})) is None
            if not is_member or "deletionTimestamp" in metadata:
                continue
            if first_difference(wanted, metadata.get("annotations", {})) is not None:
                identity = {key: metadata[key] for key in ("name", "namespace", "uid")}
                manifest = {"metadata": identity | {"annotations": wanted}}
                yield Apply(kinds.POD, manifest, f"pod {metadata['name']} is to see the changed listing")


def _leftovers(observed: Observed, exchange: Exchange) -> Iterator[Action]:
    """Migrations of earlier images, once they are over and the present one is through."""
    present = ledger.migration_name(exchange)
    if job_condition(observed.child(kinds.JOB, present)) != "Complete":
        return
    for job in observed.of_kind(kinds.JOB):
        if job["metadata"]["name"] != present and job_condition(job):
            yield _delete(kinds.JOB, job, "it migrated the database for an earlier image")


PHASES: tuple[tuple[str, Callable[[Observed, Exchange], Iterable[Action]]], ...] = (
    ("adoption", _adoption),
    ("authority", _authority),
    ("certificates", _certificates),
    ("access", _access),
    ("network", _network),
    ("listings", _listings),
    ("records", _records),
    ("engines", _engines),
    ("migration", _migration),
    ("ledgers", _ledgers),
    ("gateways", _gateways),
    ("sealer", _sealer),
    ("pods", _pods),
    ("leftovers", _leftovers),
)


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


_RESOURCES = {resource.kind: resource for resource in kinds.LISTED}


def _certificate_problem(observed: Observed, secret: str) -> str:
    facts = observed.secrets.get(secret)
    if facts is None:
        return "is missing"
    if facts.certificate is None:
        return f"cannot be read: {facts.problem}"
    if observed.now >= facts.certificate.renew_at():
        return f"runs out at {facts.certificate.not_after:%Y-%m-%d %H:%M}"
    return ""


def _need_problem(observed: Observed, exchange: Exchange, need: certificates.CertificateNeed) -> str:
    problem = _certificate_problem(observed, need.secret)
    if problem:
        return problem
    held = observed.secrets[need.secret].certificate
    authority = observed.secrets[names.authority(exchange.metadata.name)].certificate
    assert held is not None
    assert authority is not None, "the phase before made it"
    if held.authority != authority.fingerprint:
        return "is of another authority"
    if held.component != need.component or held.hosts != frozenset(need.hosts):
        return "has other names than it should"
    return ""


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
