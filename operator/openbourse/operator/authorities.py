"""Which certificates an exchange needs made anew, and how its authority is replaced while everybody goes on working.

Observed in, actions out. Nobody ever shows a certificate that somebody else does not trust: first every process has to
say that it trusts the next authority, then certificates are issued by it, and when every process has shown that it uses
its own, the previous one is trusted no more. Each step is one write of the authority's Secret, so whoever comes next,
after a crash too, goes on where this one was. Nothing here reads a clock, a cluster or a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.contracts.rotations import BadRotation, rotation_of
from openbourse.operator.manifests import certificates, kinds, names
from openbourse.operator.manifests.certificates import CertificateNeed
from openbourse.operator.observed import CertificateFacts, Observed, SecretFacts

# Whose processes have a certificate.
HOLDERS = frozenset({Component.ENGINE, Component.LEDGER, Component.MARKETDATA, Component.GATEWAY})


class Change(StrEnum):
    """Of the Secret of an authority that is there."""

    BEGIN = "begin"
    SWITCH = "switch"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class MakeAuthority:
    """Make a new certificate authority. `leaf`: a Secret of which it takes over who is trusted, so far."""

    exchange: Exchange
    reason: str
    leaf: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeAuthority:
    """The next step of a rotation, if the authority that signs is still the one with this fingerprint."""

    exchange: Exchange
    change: Change
    signing: str
    reason: str
    # Of the request that is begun with.
    rotation: str = ""


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Make a new certificate of the exchange's authority."""

    exchange: Exchange
    need: CertificateNeed
    reason: str


@dataclass(frozen=True, slots=True)
class TrustAuthorities:
    """Leave the certificate as it is, and write beside it the authorities that are trusted now."""

    exchange: Exchange
    need: CertificateNeed
    reason: str


OfAuthority = MakeAuthority | ChangeAuthority
OfCertificate = IssueCertificate | TrustAuthorities


def authority(observed: Observed, exchange: Exchange) -> Iterator[OfAuthority]:
    """What to do to the authority itself. cert-manager's issuer is none of ours."""
    if exchange.spec.certificates is not None:
        return
    facts = observed.secrets.get(names.authority(exchange.metadata.name))
    problem = _problem(facts)
    if facts is None or facts.certificate is None:
        trusting = (need.secret for need in _needs(observed, exchange) if _held(observed, need) is not None)
        yield MakeAuthority(exchange, f"the certificate authority {problem}", next(trusting, None))
        return
    signing = facts.certificate
    if facts.next is not None:
        if not why_not_trusted(observed, exchange, {signing.fingerprint, facts.next.fingerprint}):
            reason = f"everybody trusts authority {facts.next.fingerprint[:8]}: it signs from now on"
            yield ChangeAuthority(exchange, Change.SWITCH, signing.fingerprint, reason)
    elif facts.previous:
        if not why_not_left(observed, exchange, signing):
            reason = "nobody shows a certificate of the previous authority any more: it is trusted no more"
            yield ChangeAuthority(exchange, Change.DROP, signing.fingerprint, reason)
    elif (wanted := _wanted_rotation(exchange, facts)) or observed.now >= signing.renew_at():
        reason = f"rotation {wanted} is asked for" if wanted else f"the certificate authority {_ends(signing)}"
        yield ChangeAuthority(exchange, Change.BEGIN, signing.fingerprint, reason, wanted)


def leaves(observed: Observed, exchange: Exchange) -> Iterator[OfCertificate]:
    """What to do to the certificates of processes."""
    facts = observed.secrets.get(names.authority(exchange.metadata.name))
    if facts is None or facts.certificate is None:
        return
    signing = facts.certificate
    trusted = frozenset({signing.fingerprint, *facts.others()})
    may_replace = not facts.previous or not why_not_trusted(observed, exchange, {signing.fingerprint})
    for need in _needs(observed, exchange):
        held = _held(observed, need)
        of = f"the certificate of {need.hosts[0]}"
        if held is None or held.authority not in trusted:
            reason = _problem(observed.secrets.get(need.secret)) or "is of another authority"
            yield IssueCertificate(exchange, need, f"{of} {reason}")
        elif (reason := _outdated(observed, need, held, signing)) and may_replace:
            yield IssueCertificate(exchange, need, f"{of} {reason}")
        elif held.trusted != trusted:
            yield TrustAuthorities(exchange, need, f"{of} is to have the authorities that are trusted now beside it")


def why_not_trusted(observed: Observed, exchange: Exchange, authorities: set[str]) -> str:
    """Who does not say yet that these are trusted; empty: everybody does."""
    for need in _needs(observed, exchange):
        held = _held(observed, need)
        if held is None or not held.trusted >= authorities:
            return f"Secret {need.secret} does not have them yet"
    for pod in holders(observed):
        name = pod["metadata"]["name"]
        said = observed.tls.get(name)
        if said is None:
            return f"{name} does not say which authorities it trusts"
        if not authorities.issubset(said.authorities):
            return f"{name} has not taken them from its folder yet"
    return ""


def why_not_left(observed: Observed, exchange: Exchange, signing: CertificateFacts) -> str:
    """Who does not show a certificate of the authority that signs yet; empty: everybody does."""
    issued = set()
    for need in _needs(observed, exchange):
        held = _held(observed, need)
        if held is None or held.authority != signing.fingerprint:
            return f"Secret {need.secret} has no certificate of it yet"
        issued.add(held.fingerprint)
    for pod in holders(observed):
        name = pod["metadata"]["name"]
        said = observed.tls.get(name)
        if said is None:
            return f"{name} does not say which certificate it uses"
        if said.certificate not in issued:
            return f"{name} has not taken its own from its folder yet"
    return ""


def holders(observed: Observed) -> list[Object]:
    """Pods whose process has a certificate, or will have it without another look at its Secret."""
    return [
        pod
        for pod in observed.of_kind(kinds.POD)
        if pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL) in HOLDERS
        and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
    ]


def _needs(observed: Observed, exchange: Exchange) -> tuple[CertificateNeed, ...]:
    shards: tuple[EngineShard, ...] = tuple(s for s in observed.shards if s.metadata.deletion_timestamp is None)
    return certificates.needs(exchange, shards)


def _held(observed: Observed, need: CertificateNeed) -> CertificateFacts | None:
    facts = observed.secrets.get(need.secret)
    return facts.certificate if facts is not None else None


def _outdated(observed: Observed, need: CertificateNeed, held: CertificateFacts, signing: CertificateFacts) -> str:
    if observed.now >= held.renew_at():
        return _ends(held)
    if held.authority != signing.fingerprint:
        return "is of the previous authority"
    if held.component != need.component or held.hosts != frozenset(need.hosts):
        return "has other names than it should"
    return ""


def _problem(facts: SecretFacts | None) -> str:
    if facts is None:
        return "is missing"
    return f"cannot be read: {facts.problem}" if facts.certificate is None else ""


def _ends(certificate: CertificateFacts) -> str:
    return f"runs out at {certificate.not_after:%Y-%m-%d %H:%M}"


def _wanted_rotation(exchange: Exchange, facts: SecretFacts) -> str:
    try:
        wanted = rotation_of(exchange.metadata.annotations)
    except BadRotation:
        return ""
    return wanted if wanted != facts.rotation else ""
