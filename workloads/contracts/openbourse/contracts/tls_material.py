"""The TLS material of a process, taken anew when its folder changes: no process is restarted for a certificate.

What is in use changes only for something better: files that do not fit together, that no one of their own authorities
signed or that have run out are said and counted, and what was in use stays. Connections that are made from then on have
the new certificate. Whoever dialed makes those that are there anew soon after, see `connection_due_s`; and each side
ends them when the other's certificate ends.
"""

import asyncio
import hashlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from openbourse.contracts.tls import client_context, server_context

log = logging.getLogger(__name__)

FILES = ("ca.crt", "tls.crt", "tls.key")
LOOK_EVERY_S = 1.0
# After a renewal, connections are made anew within so long: not all at once.
RENEWED_WITHIN_S = 10.0
# Before the peer's certificate ends, so that there is time to try again.
BEFORE_THE_END_S = 60.0
_HANDSHAKE_STEPS_MOST = 16


class MaterialUnusable(ssl.SSLError):
    """The folder's files changed as they were read, or do not greet each other."""


@dataclass(frozen=True, slots=True)
class InUse:
    """What new connections are made with. Fingerprints are SHA-256 in hex, the first 32 characters."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    certificate: str
    authorities: tuple[str, ...]
    not_after_s: float

    def as_json(self) -> dict[str, object]:
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.not_after_s))
        return {"certificate": self.certificate, "authorities": list(self.authorities), "not_after": until}


class Material:
    """A folder's material. `client` and `server` are contexts that follow it, for any number of connections."""

    def __init__(self, folder: Path, in_use: InUse) -> None:
        self.folder = folder
        self.in_use = in_use
        # That the folder was taken anew, that it was not, and why the last time.
        self.renewals = self.failures = 0
        self.problem = ""
        self.client = FollowingContext.of(self, ssl.PROTOCOL_TLS_CLIENT)
        self.server = FollowingContext.of(self, ssl.PROTOCOL_TLS_SERVER)
        self._seen = _signature(folder)
        self._counted: object = None
        self.lifetimes: set[Lifetime] = set()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises OSError for what cannot be read, is broken, does not fit together or has run out."""
        return cls(folder, _read(folder))

    async def watch(self) -> None:
        """Takes what is new, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Takes what is new, if there is something and it is good."""
        signature = _signature(self.folder)
        if signature == self._seen:
            return
        try:
            found = _read(self.folder)
        except OSError as error:
            self._not_taken(signature, f"{type(error).__name__}: {error}")
            return
        self._seen, self._counted, self.problem = signature, None, ""
        if (found.certificate, found.authorities) == (self.in_use.certificate, self.in_use.authorities):
            return
        self.in_use = found
        self.renewals += 1
        log.info("a new certificate is in use: %s", found.as_json())
        for lifetime in tuple(self.lifetimes):
            lifetime.renewed()

    def _not_taken(self, signature: object, problem: str) -> None:
        """It is tried again at each look, and counted once for each change of the files."""
        if signature == self._counted:
            return
        self._counted, self.problem = signature, problem
        self.failures += 1
        log.error("%s is not taken, the certificate in use stays: %s", self.folder, problem)

    def as_json(self) -> dict[str, object]:
        """For the status page."""
        return {**self.in_use.as_json(), "problem": self.problem}


class FollowingContext(ssl.SSLContext):
    """Makes each connection with what its material has in use at that moment.

    Everything that asyncio, uvicorn and HTTP clients want of a context for a connection is `wrap_bio`.
    """

    material: Material

    @classmethod
    def of(cls, material: Material, protocol: int) -> Self:
        made = cls(protocol)
        made.material = material
        return made

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        in_use = self.material.in_use
        context = in_use.server if server_side else in_use.client
        return context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def wrap_socket(self, *_: object, **__: object) -> ssl.SSLSocket:
        raise NotImplementedError("only what speaks through wrap_bio, as asyncio does, follows a renewal")


class Lifetime:
    """Of one connection. `due` is called once, when whoever dialed should make it anew: the own material was renewed,
    or the peer's certificate is about to end; `ended` when that ends.

    `peer`: its certificate, as `getpeercert()` gives it. `context`: what the connection was dialed with.
    """

    def __init__(
        self,
        peer: Mapping[str, Any] | None,
        *,
        ended: Callable[[], object],
        context: ssl.SSLContext | None = None,
        due: Callable[[], object] | None = None,
    ) -> None:
        self._due = due
        self._timers: list[asyncio.TimerHandle] = []
        self._material = context.material if due is not None and isinstance(context, FollowingContext) else None
        if self._material is not None:
            self._material.lifetimes.add(self)
        left_s = seconds_left(peer)
        if left_s == float("inf"):
            return
        self._call_later(left_s, ended)
        if due is not None:
            self._call_later(due_s(left_s), self._is_due)

    def renewed(self) -> None:
        """The own material was."""
        self._call_later(random.uniform(0, RENEWED_WITHIN_S), self._is_due)  # noqa: S311

    def over(self) -> None:
        """The connection has ended, however: nothing is called any more."""
        self._due = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._material is not None:
            self._material.lifetimes.discard(self)

    def _is_due(self) -> None:
        due, self._due = self._due, None
        if due is not None:
            due()

    def _call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(max(seconds, 0.0), call))


def seconds_left(peer: Mapping[str, Any] | None) -> float:
    """Until a certificate ends, as `getpeercert()` gives it; without one, for ever."""
    if not peer or "notAfter" not in peer:
        return float("inf")
    return ssl.cert_time_to_seconds(str(peer["notAfter"])) - time.time()


def due_s(left_s: float) -> float:
    """When to make a connection anew whose peer's certificate ends in `left_s`. Both in seconds from now.

    >>> due_s(3600.0), due_s(100.0), due_s(0.5)
    (3540.0, 50.0, 1.0)
    """
    return left_s - BEFORE_THE_END_S if left_s > 2 * BEFORE_THE_END_S else max(left_s / 2, 1.0)


def _signature(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Of what is in the files: a mounted Secret is changed by moving a link to another folder."""
    return tuple(_stat(folder / name) for name in FILES)


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(folder: Path) -> InUse:
    """Raises OSError, of which ssl.SSLError is one."""
    before = _contents(folder)
    server, client = server_context(folder), client_context(folder)
    if _contents(folder) != before:
        raise MaterialUnusable("the files changed while they were read")
    certificate, described = _greeted_by_itself(server, client)
    left_s = seconds_left(described)
    return InUse(
        server,
        client,
        _fingerprint(certificate),
        tuple(sorted(map(_fingerprint, client.get_ca_certs(binary_form=True)))),
        time.time() + left_s,
    )


def _contents(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / name).read_bytes() for name in FILES)


def _greeted_by_itself(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes, dict[str, Any]]:
    """A whole handshake with itself, in memory: so do the peers that have the same authorities judge it.

    Gives the certificate, as bytes and in words. Raises ssl.SSLError.
    """
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    listening = server.wrap_bio(to_server, to_client, server_side=True)
    calling = client.wrap_bio(to_client, to_server)
    client.check_hostname = True
    done: set[ssl.SSLObject] = set()
    for _ in range(_HANDSHAKE_STEPS_MOST):
        for side in (calling, listening):
            if side in done:
                continue
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    seen, described = listening.getpeercert(binary_form=True), calling.getpeercert()
    if len(done) != 2 or seen is None or described is None:
        raise MaterialUnusable("it does not come to terms with itself")
    return seen, described


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()[:32]
