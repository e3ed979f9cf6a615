"""What a person asks for in a CertificateSigningRequest of ours, or why it is none. Values in, values out.

Who asks is what the API server wrote into the request; what the request says of itself decides nothing but what is
asked for.
"""

import base64
import binascii
import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from openbourse.contracts.apiserver import Object
from openbourse.contracts.people import EXCHANGE, NAMESPACE, ROLE, SIGNER, USAGES, VERBS
from openbourse.contracts.resources import Exchange
from openbourse.contracts.roles import Role

LIFE = datetime.timedelta(hours=1)
LIFE_MOST = datetime.timedelta(hours=12)
# Of a common name in a certificate.
NAME_MOST = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """A certificate for `user`, in `role` of the exchange `namespace`/`exchange`, for the key `key`."""

    namespace: str
    exchange: str
    role: Role
    user: str
    key: ec.EllipticCurvePublicKey
    life: datetime.timedelta


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why it is no request that could be granted, and what it should be."""

    why: str


def is_ours(request: Object) -> bool:
    return bool(request["spec"]["signerName"] == SIGNER)


def is_open(request: Object) -> bool:
    """Nobody has said no, and it has no certificate."""
    status = request.get("status", {})
    conditions = {condition["type"] for condition in status.get("conditions", ())}
    return not status.get("certificate") and not conditions & {"Denied", "Failed"}


def is_approved(request: Object) -> bool:
    return any(condition["type"] == "Approved" for condition in request.get("status", {}).get("conditions", ()))


def asked(request: Object) -> Asked | Malformed:
    spec, annotations = request["spec"], request["metadata"].get("annotations", {})
    missing = [name for name in (NAMESPACE, EXCHANGE, ROLE) if not annotations.get(name)]
    if missing:
        return Malformed(f"it has to say by annotations what for: {', '.join(missing)}")
    if annotations[ROLE] not in set(Role):
        return Malformed(f"{ROLE} is {annotations[ROLE][:40]!r}: it is one of {', '.join(Role)}")
    if set(spec.get("usages", ())) - USAGES:
        return Malformed(f"usages may be {', '.join(sorted(USAGES))}")
    user = spec.get("username", "")
    if not user.isprintable() or not 0 < len(user) <= NAME_MOST:
        return Malformed(f"{user[:80]!r} does not fit into a certificate: 1 to {NAME_MOST} printable characters")
    key = _key(spec["request"])
    if isinstance(key, Malformed):
        return key
    seconds = spec.get("expirationSeconds")
    life = LIFE if seconds is None else min(datetime.timedelta(seconds=seconds), LIFE_MOST)
    return Asked(annotations[NAMESPACE], annotations[EXCHANGE], Role(annotations[ROLE]), user, key, life)


def access_review(request: Object, wanted: Asked) -> Object:
    """The question to the API server whether who asks may have that role of the exchange."""
    spec = request["spec"]
    attributes = {
        "namespace": wanted.namespace,
        "name": wanted.exchange,
        "group": Exchange.resource.group,
        "resource": Exchange.resource.plural,
        "verb": VERBS[wanted.role],
    }
    who = {"user": spec["username"], "groups": spec.get("groups", []), "uid": spec.get("uid", "")}
    review = {"resourceAttributes": attributes, **who, "extra": spec.get("extra", {})}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": review}


def not_allowed(wanted: Asked) -> str:
    verb = VERBS[wanted.role]
    return (
        f"{wanted.user} may not {verb} the exchange {wanted.namespace}/{wanted.exchange}: that takes a Role with the "
        f"verb {verb} on exchanges of openbourse.dev"
    )


def with_condition(request: Object, condition: str, reason: str, message: str) -> Object:
    """The request as it is to be written back."""
    status = request.get("status", {})
    entry = {"type": condition, "status": "True", "reason": reason, "message": message}
    return request | {"status": status | {"conditions": [*status.get("conditions", ()), entry]}}


def _key(text: str) -> ec.EllipticCurvePublicKey | Malformed:
    try:
        csr = x509.load_pem_x509_csr(base64.b64decode(text, validate=True))
        key, is_signed = csr.public_key(), csr.is_signature_valid
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        return Malformed(f"its request cannot be read: {error}")
    if not is_signed:
        return Malformed("its request is not signed by the key that it names")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return Malformed("its key has to be one of the curve P-256")
    return key
