"""The certificates of an exchange for its status: whose, until when, of which authority, and what is waited for.

Nothing here reads a clock, a cluster or a file.
"""

from typing import Any

from openbourse.contracts.resources import Exchange
from openbourse.contracts.resources.exchange import Authority, Certificates, Leaf
from openbourse.contracts.rotations import BadRotation, rotation_of
from openbourse.operator.authorities import holders, why_not_left, why_not_trusted
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import certificates, kinds, names
from openbourse.operator.observed import CertificateFacts, Observed

# As the custom resource has it.
LEAVES_MOST = 256


def fields(observed: Observed, exchange: Exchange) -> dict[str, Any]:
    """What the Secrets hold, without their keys."""
    facts = observed.secrets.get(names.authority(exchange.metadata.name))
    authorities: list[Authority] = []
    if facts is not None and facts.certificate is not None and exchange.spec.certificates is None:
        authorities.append(_authority("signing", facts.certificate))
        authorities += [_authority("next", facts.next)] if facts.next is not None else []
        authorities += [_authority("previous", one) for one in facts.previous]
    leaves = []
    for need in certificates.needs(exchange, observed.shards):
        secret = observed.secrets.get(need.secret)
        if secret is not None and secret.certificate is not None:
            held = secret.certificate
            leaf = Leaf(secret=need.secret, component=need.component, until=held.not_after, authority=held.authority)
            leaves.append(leaf)
    rotation = facts.rotation if facts is not None else ""
    return {
        "certificates": Certificates(
            authorities=tuple(authorities), leaves=tuple(leaves[:LEAVES_MOST]), rotation=rotation
        )
    }


def current(observed: Observed, exchange: Exchange) -> Fact:
    """CertificatesCurrent: every process uses the certificate that its Secret has; false while a rotation goes on."""
    try:
        rotation_of(exchange.metadata.annotations)
    except BadRotation as error:
        return _not("RotationRefused", str(error))
    facts = observed.secrets.get(names.authority(exchange.metadata.name))
    if exchange.spec.certificates is None:
        if facts is None or facts.certificate is None:
            return _not("AuthorityMissing", "there is no certificate authority yet")
        signing = facts.certificate
        if facts.next is not None:
            why = why_not_trusted(observed, exchange, {signing.fingerprint, facts.next.fingerprint})
            return _not(
                "NextIsToBeTrusted", f"authority {facts.next.fingerprint[:8]} signs once everybody trusts it: {why}"
            )
        if facts.previous:
            why = why_not_left(observed, exchange, signing)
            return _not("PreviousIsToBeLeft", f"the previous authority is trusted until nobody needs it: {why}")
    elif observed.cert_manager is False:
        return _not(
            "NoCertManager", "spec.certificates.issuerRef names an issuer of cert-manager, and it is not installed"
        )
    held = {}
    for need in certificates.needs(exchange, observed.shards):
        secret = observed.secrets.get(need.secret)
        if secret is None or secret.certificate is None:
            problem = "is missing" if secret is None else f"cannot be read: {secret.problem}"
            return _not("CertificateMissing", f"Secret {need.secret} {problem}{_said(observed, need.secret)}")
        held[secret.certificate.fingerprint] = secret.certificate
    for pod in holders(observed):
        said = observed.tls.get(pod["metadata"]["name"])
        if said is not None and said.certificate not in held:
            problem = said.problem or "the kubelet shows a changed Secret within a minute or two"
            return _not("NotTakenYet", f"{pod['metadata']['name']} has not taken its certificate yet: {problem}")
    first = min(one.not_after for one in held.values())
    return Fact(
        "CertificatesCurrent", True, "Current", f"{len(held)} certificates; the first runs out {first:%Y-%m-%d}"
    )


def _said(observed: Observed, certificate: str) -> str:
    """What cert-manager says of it, in its own words."""
    found = observed.child(kinds.CERTIFICATE, certificate) or {}
    conditions = found.get("status", {}).get("conditions", ())
    return "".join(f": {one.get('message', '')}" for one in conditions if one.get("type") == "Ready")


def _authority(use: str, facts: CertificateFacts) -> Authority:
    return Authority.model_validate({"use": use, "fingerprint": facts.fingerprint, "until": facts.not_after})


def _not(reason: str, message: str) -> Fact:
    return Fact("CertificatesCurrent", False, reason, message)
