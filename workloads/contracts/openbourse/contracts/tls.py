"""Mutual TLS between our own processes: who may speak is decided by the exchange's own certificates alone.

A folder of TLS material has the names that Kubernetes gives them: ca.crt, tls.crt, tls.key. A certificate names its
component as a URI, `openbourse://<exchange>/<component>`, that of a person with a role `?role=<role>` behind it; hosts
are its DNS names and addresses.
"""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from openbourse.contracts.component import Component
from openbourse.contracts.roles import Role

SCHEME = "openbourse"


class PeerRefused(Exception):
    """The peer's certificate does not name a component of an exchange."""


def server_context(folder: Path) -> ssl.SSLContext:
    """For a listener: only peers with a certificate of the same authority get through the handshake."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, folder)
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would show the certificate of the first one, whatever has become of it since.
    context.num_tickets = 0
    return context


def client_context(folder: Path) -> ssl.SSLContext:
    """For a caller: checks the listener's authority and host name and shows its own certificate."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, folder)


def _context(protocol: int, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(folder / "ca.crt")
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def person_of(certificate: Mapping[str, Any] | None) -> str:
    """Whose a peer's certificate is: its subject's common name, or its component. Raises PeerRefused."""
    subject: Sequence[Sequence[tuple[str, str]]] = (certificate or {}).get("subject", ())
    names = [value.strip() for part in subject for kind, value in part if kind == "commonName" and value.strip()]
    return names[0] if names else component_of(certificate)


def component_of(certificate: Mapping[str, Any] | None) -> Component:
    """The component that a peer's certificate (as `getpeercert()` gives it) names. Raises PeerRefused."""
    try:
        return Component(_url_of(certificate).path.removeprefix("/"))
    except ValueError as error:
        raise PeerRefused(f"no component of an exchange in the peer's certificate: {error}") from None


def role_of(certificate: Mapping[str, Any] | None) -> Role | None:
    """What the person may do whose certificate it is. None: it does not say, or names none that this version knows.

    Raises PeerRefused.
    """
    named = parse_qs(_url_of(certificate).query).get("role", [])
    return Role(named[0]) if len(named) == 1 and named[0] in set(Role) else None


def _url_of(certificate: Mapping[str, Any] | None) -> SplitResult:
    """The first of its names that is ours. Raises PeerRefused."""
    names: Sequence[tuple[str, str]] = (certificate or {}).get("subjectAltName", ())
    for kind, value in names:
        url = urlsplit(value)
        if kind == "URI" and url.scheme == SCHEME:
            return url
    raise PeerRefused(f"no component of an exchange in the peer's certificate, only {list(names)}")
