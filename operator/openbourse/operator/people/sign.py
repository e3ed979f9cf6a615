"""Answers requests for certificates of people: asks the API server whether they may, and signs or says why not.

Each request is looked at whole before it is signed, whoever approved it meanwhile. Nothing is remembered: what was
begun before an end is gone on with, and what was answered is let be.
"""

import asyncio
import base64
import datetime
import json
import logging

from openbourse.contracts import certificates as issuing
from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused
from openbourse.contracts.component import Component
from openbourse.contracts.people import REQUESTS
from openbourse.contracts.resources import Exchange
from openbourse.operator.authority_secret import authorities_of
from openbourse.operator.manifests import kinds, names
from openbourse.operator.people.requests import (
    Asked,
    Malformed,
    access_review,
    asked,
    is_approved,
    is_open,
    is_ours,
    not_allowed,
    with_condition,
)

log = logging.getLogger(__name__)
audit = logging.getLogger("openbourse.operator.audit")

WATCH_S = 60
BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 5.0
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def sign_for_people(api: ApiServer, namespaces: tuple[str, ...]) -> None:
    """Until it is cancelled. `namespaces`: those of the exchanges that it signs for; none: all."""
    backoff_s = BACKOFF_MIN_S
    while True:
        try:
            requests, version = await api.list(REQUESTS, None)
            for request in requests:
                await answer(api, request, namespaces)
            backoff_s = BACKOFF_MIN_S
            async for event in api.watch(REQUESTS, None, version, WATCH_S):
                if event.type in {"ADDED", "MODIFIED"}:
                    await answer(api, event.object, namespaces)
        except ApiError as error:
            log.warning("certificates of people: %s; again in %.1f s", error, backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)


async def answer(api: ApiServer, request: Object, namespaces: tuple[str, ...]) -> None:
    """Whoever else changed the request first is right. Raises ApiError when the API server cannot be asked."""
    if not (is_ours(request) and is_open(request)):
        return
    request = {"apiVersion": REQUESTS.api_version, "kind": REQUESTS.kind} | request
    wanted = asked(request)
    if isinstance(wanted, Asked) and namespaces and wanted.namespace not in namespaces:
        return
    try:
        await _answer(api, request, wanted)
    except Refused as error:
        if not (error.is_conflict or error.is_missing):
            raise


async def _answer(api: ApiServer, request: Object, wanted: Asked | Malformed) -> None:
    if isinstance(wanted, Malformed):
        return await _refuse(api, request, "Malformed", wanted.why)
    review = await api.call("POST", REVIEWS, body=access_review(request, wanted))
    if not review["status"]["allowed"]:
        return await _refuse(api, request, "NotAllowed", not_allowed(wanted))
    stored = await api.get(kinds.SECRET, wanted.namespace, names.authority(wanted.exchange))
    if stored is None and await _is_of_cert_manager(api, wanted):
        why = (
            f"the certificates of exchange {wanted.exchange} are those of cert-manager's issuer: ask it, and use --tls"
        )
        return await _refuse(api, request, "OfCertManager", why)
    if stored is None:
        why = f"there is no exchange {wanted.namespace}/{wanted.exchange} that has an authority"
        return await _refuse(api, request, "NoExchange", why)
    if not is_approved(request):
        approved = with_condition(request, "Approved", "MayDoSo", f"{wanted.user} as {wanted.role}")
        request = await _write(api, approved, "approval")
    held = authorities_of(stored)
    now = datetime.datetime.now(datetime.UTC)
    certificate = issuing.certify(
        *(held.signing, wanted.exchange, Component.PERSON, ()),
        key=wanted.key,
        now=now,
        life=wanted.life,
        person=wanted.user,
        role=wanted.role,
    )
    # With the authorities, which its owner has no other way to read.
    both = base64.b64encode(certificate + held.bundle).decode()
    await _write(api, request | {"status": request.get("status", {}) | {"certificate": both}}, "status")
    _tell(request, "signed", role=wanted.role, exchange=f"{wanted.namespace}/{wanted.exchange}")
    return None


async def _is_of_cert_manager(api: ApiServer, wanted: Asked) -> bool:
    found = await api.get(Exchange.resource, wanted.namespace, wanted.exchange)
    return found is not None and "certificates" in found["spec"]


async def _refuse(api: ApiServer, request: Object, reason: str, why: str) -> None:
    """What was approved cannot be denied any more: it has failed."""
    if is_approved(request):
        await _write(api, with_condition(request, "Failed", reason, why), "status")
    else:
        await _write(api, with_condition(request, "Denied", reason, why), "approval")
    _tell(request, "refused", why=why)


async def _write(api: ApiServer, request: Object, subresource: str) -> Object:
    return await api.call("PUT", REQUESTS.path(None, request["metadata"]["name"], subresource), body=request)


def _tell(request: Object, outcome: str, **more: object) -> None:
    line = {"audit": "certificate", "who": request["spec"].get("username"), "request": request["metadata"]["name"]}
    line |= {"outcome": outcome, **more}
    audit.info("%s", json.dumps(line), extra={"audited": line})
