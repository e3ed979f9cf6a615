"""Carries out a plan: each action is one call, or two, on the API server, and can be repeated without harm.

Nothing here decides what to do. What the API server refuses is handed back as sentences; what it could not be asked is
raised, and the next round finds out how far this one came.
"""

import base64
import datetime
import logging
from typing import assert_never

from openbourse.contracts import certificates as issuing
from openbourse.contracts.apiserver import ApiServer, Refused
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import Exchange
from openbourse.operator.conditions import StatusApply
from openbourse.operator.manifests import certificates, kinds, names
from openbourse.operator.plan import (
    Action,
    Apply,
    Delete,
    IssueCertificate,
    MakeAuthority,
    MakeRecord,
    NoteRecord,
    Plan,
)

log = logging.getLogger(__name__)

FIELD_MANAGER = "openbourse-operator"
# Its field of a shard's status is no part of what `conditions` writes anew each time.
RECORD_MANAGER = "openbourse-operator-record"


async def act(api: ApiServer, plan: Plan, now: datetime.datetime) -> tuple[str, ...]:
    """Gives the sentences of what was refused. Raises Unavailable when the API server cannot be asked."""
    refusals = []
    for action in plan.actions:
        log.info("%s: %s", plan.phase, action.reason)
        try:
            await _carry_out(api, action, now)
        except Refused as error:
            log.error("%s: refused: %s", plan.phase, error)
            refusals.append(f"{action.reason}: {error}")
    return tuple(refusals)


async def write_statuses(api: ApiServer, statuses: tuple[StatusApply, ...]) -> None:
    """An object that is gone, or is another of the same name by now, needs no status."""
    for status in statuses:
        try:
            await api.apply(status.resource, status.manifest, FIELD_MANAGER, "status")
        except Refused as error:
            if not (error.is_missing or error.is_conflict):
                raise


async def _carry_out(api: ApiServer, action: Action, now: datetime.datetime) -> None:
    match action:
        case Apply(resource, manifest):
            await api.apply(resource, manifest, FIELD_MANAGER)
        case MakeAuthority(exchange):
            made = issuing.make_authority(exchange.metadata.name, now)
            await _store_authority(api, exchange, made)
        case IssueCertificate(exchange, need):
            await _issue(api, exchange, need, now)
        case MakeRecord(lease):
            await api.create(LEASE, lease)
        case NoteRecord(shard, lease):
            identity = {key: getattr(shard.metadata, key) for key in ("name", "namespace", "uid")}
            manifest = {"metadata": identity, "status": {"record": lease}}
            await api.apply(shard.resource, manifest, RECORD_MANAGER, "status")
        case Delete(resource, namespace, name, uid):
            await api.delete(resource, namespace, name, uid)
        case _:
            assert_never(action)


async def _store_authority(api: ApiServer, exchange: Exchange, made: issuing.Issued) -> None:
    files = {"tls.crt": _text(made.certificate), "tls.key": _text(made.key)}
    labels = certificates.authority_labels(exchange)
    secret = certificates.secret(names.authority(exchange.metadata.name), exchange, labels, files)
    await api.apply(kinds.SECRET, secret, FIELD_MANAGER)


async def _issue(
    api: ApiServer, exchange: Exchange, need: certificates.CertificateNeed, now: datetime.datetime
) -> None:
    stored = await api.get(kinds.SECRET, exchange.metadata.namespace, names.authority(exchange.metadata.name))
    if stored is None:
        return  # the next round makes it
    authority = issuing.Issued(*(base64.b64decode(stored["data"][key]) for key in ("tls.crt", "tls.key")))
    made = issuing.issue(authority, exchange.metadata.name, need.component, need.hosts, now)
    files = {name: _text(content) for name, content in made.files(authority).items()}
    await api.apply(kinds.SECRET, certificates.secret(need.secret, need.owner, dict(need.labels), files), FIELD_MANAGER)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
