"""Mutual TLS between our own processes: who may speak is decided by the exchange's own certificates alone.

A folder of TLS material has the names that Kubernetes gives them: ca.crt, tls.crt, tls.key. A certificate names its
component as a URI, `openbourse://<exchange>/<component>`; hosts are its DNS names and addresses.
"""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openbourse.contracts.component import Component

SCHEME = "openbourse"


class PeerRefused(Exception):
    """The peer's certificate does not name a component of an exchange."""


def server_context(folder: Path) -> ssl.SSLContext:
    """For a listener: only peers with a certificate of the same authority get through the handshake."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, folder)
    context.verify_mode = ssl.CERT_REQUIRED
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
    names: Sequence[tuple[str, str]] = (certificate or {}).get("subjectAltName", ())
    for kind, value in names:
        url = urlsplit(value)
        if kind == "URI" and url.scheme == SCHEME:
            try:
                return Component(url.path.removeprefix("/"))
            except ValueError:
                break
    raise PeerRefused(f"no component of an exchange in the peer's certificate, only {list(names)}")
