"""What a Secret's certificates say, without their keys. Values in, values out."""

import base64
import binascii
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from openbourse.contracts.apiserver import Object
from openbourse.contracts.tls import SCHEME
from openbourse.operator.authority_secret import ROTATION_ANNOTATION
from openbourse.operator.observed import CertificateFacts, SecretFacts


def secret_facts(secret: Object) -> SecretFacts:
    data = secret.get("data") or {}
    keys, rotation = frozenset(data), (secret["metadata"].get("annotations") or {}).get(ROTATION_ANNOTATION, "")
    try:
        certificate = certificate_facts(data)
        following = _authority_facts(data["next.crt"]) if "next.crt" in data else ()
        previous = _authority_facts(data["previous.crt"]) if "previous.crt" in data else ()
    except (KeyError, ValueError, x509.ExtensionNotFound) as error:
        return SecretFacts(keys, None, f"{type(error).__name__} {error}"[:200])
    return SecretFacts(
        keys, certificate, next=following[0] if following else None, previous=tuple(previous), rotation=rotation
    )


def certificate_facts(data: dict[str, str]) -> CertificateFacts:
    """Of a Secret's data. Raises KeyError, ValueError or ExtensionNotFound when it holds no certificate of ours."""
    held, *between = _certificates(data["tls.crt"])
    if not data["tls.key"]:
        raise ValueError("tls.key is empty")
    if "ca.crt" not in data:
        return _facts(held, _signer(held, (), [held]), [held])
    trusted = _certificates(data["ca.crt"])
    facts = _facts(held, _signer(held, between, trusted), trusted)
    alternatives = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
    addresses = map(str, alternatives.get_values_for_type(x509.IPAddress))
    return CertificateFacts(
        fingerprint=facts.fingerprint,
        authority=facts.authority,
        component=next((uri.rpartition("/")[2] for uri in uris if uri.startswith(f"{SCHEME}://")), ""),
        hosts=frozenset([*alternatives.get_values_for_type(x509.DNSName), *addresses]),
        not_before=facts.not_before,
        not_after=facts.not_after,
        trusted=facts.trusted,
    )


def _authority_facts(text: str) -> tuple[CertificateFacts, ...]:
    return tuple(_facts(one, one, [one]) for one in _certificates(text))


def _facts(held: x509.Certificate, signer: x509.Certificate, trusted: Iterable[x509.Certificate]) -> CertificateFacts:
    return CertificateFacts(
        fingerprint=_fingerprint(held),
        authority=_fingerprint(signer),
        component="",
        hosts=frozenset(),
        not_before=held.not_valid_before_utc,
        not_after=held.not_valid_after_utc,
        trusted=frozenset(map(_fingerprint, trusted)),
    )


def _signer(
    held: x509.Certificate, between: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]
) -> x509.Certificate:
    """Who of the trusted ones is at the end of the chain. Raises ValueError: nobody."""
    signed = held
    for following in (*between, None):
        for authority in trusted:
            if _signed_by(signed, authority):
                return authority
        if following is None or not _signed_by(signed, following):
            break
        signed = following
    raise ValueError("no authority beside it has signed it")


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()[:32]
