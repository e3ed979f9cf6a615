"""Carries out a plan: each action is one call, or two, on the API server, and can be repeated without harm.

Nothing here decides what to do. What the API server refuses is handed back; what it could not be asked is raised, and
the next round finds out how far this one came.
"""

import asyncio
import base64
import datetime
import logging
from http import HTTPStatus
from typing import assert_never

from openbourse.contracts import certificates as issuing
from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import Exchange, Symbol, SymbolMove
from openbourse.contracts.switchovers import asking
from openbourse.operator import moves
from openbourse.operator.authorities import (
    Change,
    ChangeAuthority,
    IssueCertificate,
    MakeAuthority,
    TrustAuthorities,
)
from openbourse.operator.authority_secret import ROTATION_ANNOTATION, Authorities, authorities_of
from openbourse.operator.certificate_facts import secret_facts
from openbourse.operator.conditions import StatusApply
from openbourse.operator.ledgers import AskLedger, begin, take_back
from openbourse.operator.manifests import certificates, kinds, names
from openbourse.operator.manifests.certificates import CertificateNeed
from openbourse.operator.moves import AskMove, NoteMove, TakeMoveBack
from openbourse.operator.observed import Refusal
from openbourse.operator.plan import (
    Apply,
    AskSwitchover,
    Delete,
    MakeRecord,
    Merge,
    NoteRecord,
    OfTheApiServer,
    Plan,
    subject,
)

log = logging.getLogger(__name__)

FIELD_MANAGER = "openbourse-operator"
# Its field of a shard's status is no part of what `conditions` writes anew each time.
RECORD_MANAGER = "openbourse-operator-record"
# So that what is applied to a shard else keeps what it has.
SWITCHOVER_MANAGER = "openbourse-operator-switchover"
# Of a Symbol's status: `conditions` writes the rest.
MOVE_MANAGER = "openbourse-operator-move"
# How many statuses are on their way at once.
_LANES = 16


async def act(
    api: ApiServer, plan: Plan, now: datetime.datetime, ask_ledger: AskLedger | None = None
) -> tuple[Refusal, ...]:
    """Gives what was refused. Raises Unavailable when the API server cannot be asked.

    Without `ask_ledger` no move of a symbol is asked for.
    """
    refusals = []
    for action in plan.actions:
        log.info("%s: %s", plan.phase, action.reason)
        try:
            if isinstance(action, AskMove | TakeMoveBack):
                await _about_move(api, action, now, ask_ledger)
            else:
                await _carry_out(api, action, now)
        except Refused as error:
            log.error("%s: refused: %s", plan.phase, error)
            refusals.append(Refusal(plan.phase, subject(action), error.status, f"{action.reason}: {error}"))
    return tuple(refusals)


async def write_statuses(api: ApiServer, statuses: tuple[StatusApply, ...]) -> None:
    """Several at once. One that cannot be written keeps no other from it; then its error is raised.

    An object that is gone, or is another of the same name by now, needs no status.
    """
    left = iter(statuses)
    failed: list[ApiError] = []

    async def lane() -> None:
        for status in left:
            try:
                await api.apply(status.resource, status.manifest, FIELD_MANAGER, "status")
            except Refused as error:
                if not (error.is_missing or error.is_conflict):
                    failed.append(error)
            except ApiError as error:
                # An API server that is away is not asked a thousand times.
                failed.append(error)
                return

    async with asyncio.TaskGroup() as lanes:
        for _ in range(min(_LANES, len(statuses))):
            lanes.create_task(lane())
    if failed:
        raise failed[0]


async def _about_move(
    api: ApiServer, action: AskMove | TakeMoveBack, now: datetime.datetime, ask_ledger: AskLedger | None
) -> None:
    """Asks a ledger; its answer is noted, so that a person reads it where they asked."""
    if ask_ledger is None:
        raise Refused(HTTPStatus.FORBIDDEN, "this process asks no ledgers")
    if isinstance(action, AskMove):
        await _note_move(api, action.symbol, await begin(ask_ledger, action.exchange, action.symbol, action.move, now))
    elif (after := await take_back(ask_ledger, action.exchange, action.move, now)) is not None:
        await _note_move(api, action.symbol, after)


async def _note_move(api: ApiServer, symbol: Symbol, move: SymbolMove) -> None:
    """In the status, as long as it is the one that was decided on; and as an event, once for each state that counts."""
    identity = {key: getattr(symbol.metadata, key) for key in ("name", "namespace", "uid")}
    version = {"resourceVersion": symbol.metadata.resource_version}
    status = {"move": move.model_dump(mode="json", by_alias=True, exclude_none=True)}
    await api.apply(symbol.resource, {"metadata": identity | version, "status": status}, MOVE_MANAGER, "status")
    event = moves.event(symbol, move)
    if event is not None:
        try:
            await api.create(kinds.EVENT, event)
        except Refused as error:
            if not error.is_conflict:
                raise


async def _carry_out(api: ApiServer, action: OfTheApiServer, now: datetime.datetime) -> None:
    match action:
        case Apply(resource, manifest):
            await api.apply(resource, manifest, FIELD_MANAGER)
        case MakeAuthority(exchange, leaf=leaf):
            await _make_authority(api, exchange, leaf, now)
        case ChangeAuthority():
            await _change_authority(api, action, now)
        case IssueCertificate(exchange, need):
            await _issue(api, exchange, need, now)
        case TrustAuthorities(exchange, need):
            await _issue(api, exchange, need, now, is_kept=True)
        case MakeRecord(lease):
            await api.create(LEASE, lease)
        case NoteRecord(shard, lease):
            identity = {key: getattr(shard.metadata, key) for key in ("name", "namespace", "uid")}
            manifest = {"metadata": identity, "status": {"record": lease}}
            await api.apply(shard.resource, manifest, RECORD_MANAGER, "status")
        case NoteMove(symbol, move):
            await _note_move(api, symbol, move)
        case Merge(resource, manifest):
            await api.merge(resource, manifest, FIELD_MANAGER)
        case AskSwitchover(shard, request):
            metadata = shard.metadata
            manifest = asking(metadata.namespace, metadata.name, metadata.uid, request)
            await api.apply(shard.resource, manifest, SWITCHOVER_MANAGER)
        case Delete(resource, namespace, name, uid):
            await api.delete(resource, namespace, name, uid)
        case _:
            assert_never(action)


async def _make_authority(api: ApiServer, exchange: Exchange, leaf: str | None, now: datetime.datetime) -> None:
    """Those that are trusted so far stay trusted until nobody needs them: `leaf` is a Secret that has them."""
    trusting = await api.get(kinds.SECRET, exchange.metadata.namespace, leaf) if leaf is not None else None
    previous = base64.b64decode(trusting["data"]["ca.crt"]) if trusting is not None else b""
    made = issuing.make_authority(exchange.metadata.name, now)
    await _store_authority(api, exchange, Authorities(made, previous=previous))


async def _change_authority(api: ApiServer, wanted: ChangeAuthority, now: datetime.datetime) -> None:
    """Nothing where the Secret is not what was planned for any more: the next round sees what it is."""
    exchange = wanted.exchange
    name = names.authority(exchange.metadata.name)
    stored = await api.get(kinds.SECRET, exchange.metadata.namespace, name)
    facts = secret_facts(stored) if stored is not None else None
    if stored is None or facts is None or facts.certificate is None or facts.certificate.fingerprint != wanted.signing:
        return
    held = authorities_of(stored)
    match wanted.change:
        case Change.BEGIN if held.next is None and not held.previous:
            held = held.begun(issuing.make_authority(exchange.metadata.name, now), wanted.rotation)
        case Change.SWITCH if held.next is not None:
            held = held.switched()
        case Change.DROP if held.next is None:
            held = held.dropped()
        case _:
            return
    await _store_authority(api, exchange, held, stored["metadata"]["resourceVersion"])


async def _store_authority(api: ApiServer, exchange: Exchange, held: Authorities, version: str | None = None) -> None:
    """`version`: of the Secret that this is made of; refused as a conflict if there is a newer one."""
    labels = certificates.authority_labels(exchange)
    secret = certificates.secret(names.authority(exchange.metadata.name), exchange, labels, held.data())
    if held.rotation:
        secret["metadata"]["annotations"] = {ROTATION_ANNOTATION: held.rotation}
    await _apply_version(api, secret, version)


async def _issue(
    api: ApiServer, exchange: Exchange, need: CertificateNeed, now: datetime.datetime, *, is_kept: bool = False
) -> None:
    """A certificate, with who is trusted now. `is_kept`: the certificate is the one that the Secret has.

    The Secret is read before the authority: what was written between the two makes the write a conflict.
    """
    namespace = exchange.metadata.namespace
    before = await api.get(kinds.SECRET, namespace, need.secret)
    stored = await api.get(kinds.SECRET, namespace, names.authority(exchange.metadata.name))
    if stored is None or (before is None and is_kept):
        return  # the next round sees that
    held = authorities_of(stored)
    if is_kept and before is not None:
        files = {name: before["data"][name] for name in ("tls.crt", "tls.key")}
    else:
        made = issuing.issue(held.signing, exchange.metadata.name, need.component, need.hosts, now)
        files = {"tls.crt": _text(made.certificate), "tls.key": _text(made.key)}
    files["ca.crt"] = _text(held.bundle)
    secret = certificates.secret(need.secret, need.owner, dict(need.labels), files)
    await _apply_version(api, secret, before["metadata"]["resourceVersion"] if before is not None else None)


async def _apply_version(api: ApiServer, secret: Object, version: str | None) -> None:
    """A conflict is no refusal: somebody was faster, and the next round sees what is there."""
    if version is not None:
        secret["metadata"]["resourceVersion"] = version
    try:
        await api.apply(kinds.SECRET, secret, FIELD_MANAGER)
    except Refused as error:
        if not error.is_conflict:
            raise


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
