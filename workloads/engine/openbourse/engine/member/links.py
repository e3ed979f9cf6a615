"""Links to the other members of the shard: mutual TLS, one for each, opened by the one whose place sorts first.

They carry messages and say when they begin and end. What a message means, and who is suspected, others decide. When a
certificate was renewed, or is about to end, the opener takes the link over to another connection: nobody hears of it.
Each side says Moved as its last word on the old one, and reads the new one only behind the other's.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import Decoder, FrameTooLarge, encode
from openbourse.contracts.roles import Role
from openbourse.contracts.session import Address, keep_alive
from openbourse.contracts.tls import PeerRefused, component_of, role_of
from openbourse.contracts.tls_material import Lifetime
from openbourse.engine._core import Heartbeats
from openbourse.engine.kernel_versions import UNSAID, refusal
from openbourse.engine.replication.record import Session

log = logging.getLogger(__name__)

VERSION = 1
HANDSHAKE_S = 5.0
# A question of a person, and its answer.
PERSON_S = 30.0
RETRY_FIRST_S = 0.02
RETRY_MOST_S = 0.5
# A link that could not be taken over goes on as it is, and is tried again.
RENEW_AGAIN_S = 5.0
# A follower that does not read is dropped; it joins again from where it is.
UNREAD_BYTES_MOST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """This member, as it introduces itself. `place` is how the others know it: the host and port of its links."""

    shard: str
    place: str
    session: Session
    # The highest that it knows.
    kernel_version: int


class Owner(Protocol):
    """Who is told. A link to a place begins after the older one to it has ended."""

    def linked(self, link: "Link") -> None: ...
    def unlinked(self, link: "Link") -> None: ...
    def received(self, link: "Link", frame: v1.LinkFrame) -> None: ...
    def kernel_version(self) -> int:
        """Of the kernel here, which is in force as far as this member knows."""

    def twin(self, session: Session, place: str) -> None:
        """Somebody else has this member's id: one of the two is a copy of the other's volume."""

    def asked(self, link: "Link", request: v1.RecoveryRequest) -> None:
        """By a person who recovers the shard, on a link that never begins."""


class Links:
    def __init__(self, me: Identity, places: tuple[str, ...], heartbeats: Heartbeats | None, owner: Owner) -> None:
        self.me = me
        self.places = places
        self.heartbeats = heartbeats
        self.owner = owner
        self.by_place: dict[str, Link] = {}
        self._listener: asyncio.Server | None = None

    async def listen(self, address: Address, tls: ssl.SSLContext) -> None:
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Wire(Link(self, None)), address.host, address.port, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S
        )

    async def dial(self, tls: ssl.SSLContext) -> None:
        """Opens the links that are this member's to open, again and again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for place in self.places:
                if self.me.place < place:
                    tasks.create_task(self._dial(place, tls))

    async def _dial(self, place: str, tls: ssl.SSLContext) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            link = Link(self, place)
            try:
                await self._connect(link, tls)
                await self._keep(link, tls)
                if link.began:
                    retry_s = RETRY_FIRST_S
            except (OSError, TimeoutError) as error:
                log.debug("%s cannot be reached: %s", place, error)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    async def _keep(self, link: "Link", tls: ssl.SSLContext) -> None:
        """Until it has ended: takes it over to another connection when that is due."""
        while not link.ended.is_set():
            await link.ended_or_due.wait()
            link.ended_or_due.clear()
            if link.ended.is_set() or not link.is_renewable:
                continue
            try:
                await self._connect(Link(self, link.place, renews=link), tls)
            except (OSError, TimeoutError) as error:
                log.warning("the link to %s goes on as it is: %s", link.place, error or type(error).__name__)
                asyncio.get_running_loop().call_later(RENEW_AGAIN_S, link.ended_or_due.set)

    async def _connect(self, link: "Link", tls: ssl.SSLContext) -> None:
        """Raises OSError and TimeoutError."""
        address = Address.parse(link.place)
        async with asyncio.timeout(HANDSHAKE_S):
            await asyncio.get_running_loop().create_connection(
                lambda: Wire(link, tls), address.host, address.port, ssl=tls
            )

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for link in tuple(self.by_place.values()):
            link.close()


class Wire(asyncio.Protocol):
    """One connection, and the link that goes over it. `context`: what it was dialed with."""

    transport: asyncio.Transport

    def __init__(self, link: "Link", context: ssl.SSLContext | None = None) -> None:
        self.link = link
        self._context = context
        self._decoder = Decoder()
        self._lifetime: Lifetime | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        keep_alive(transport.get_extra_info("socket"))
        certificate = transport.get_extra_info("peercert")
        self._lifetime = Lifetime(
            certificate,
            ended=lambda: self.link.refuse("its certificate has run out"),
            context=self._context,
            due=self._due,
        )
        self.link.connected(self, certificate)

    def _due(self) -> None:
        # Of the link that goes over it by then.
        self.link.ended_or_due.set()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._decoder.feed(data):
                self.link.came(self, v1.LinkFrame.FromString(body))
        except (DecodeError, FrameTooLarge) as error:
            self.link.refuse(f"it sends what is no message of a link: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lifetime is not None:
            self._lifetime.over()
        self.link.lost(self)


class Link:
    """One link to one other member. `dialed` is the place that it was opened to; None: the other opened it.

    `renews`: the link that is to go on over this one's connection. This one never begins then.
    """

    def __init__(self, links: Links, dialed: str | None, renews: "Link | None" = None) -> None:
        self.place = dialed or ""
        self.peer = Session("", "")
        self.kernel_version = 0
        self.began = False
        self.ended = asyncio.Event()
        self.ended_or_due = asyncio.Event()
        self.link_id = secrets.token_bytes(16)
        self.is_renewable = False
        self._links = links
        self._dialed = dialed
        self._renews = renews
        self._key = secrets.token_bytes(32)
        self._hello: asyncio.TimerHandle | None = None
        self._is_person = False
        self._wire: Wire | None = None
        # While it is taken over: where the other still speaks, what it has said on the newer one, and whether it had
        # left the old one before this side knew.
        self._older: Wire | None = None
        self._held: list[v1.LinkFrame] = []
        self._has_moved = False

    @property
    def _transport(self) -> asyncio.Transport:
        assert self._wire is not None, "it is connected"
        return self._wire.transport

    def connected(self, wire: Wire, certificate: Mapping[str, Any] | None) -> None:
        self._wire = wire
        try:
            component, role = component_of(certificate), role_of(certificate)
        except PeerRefused as error:
            return self.refuse(str(error))
        recovers = component == Component.CLI or (component == Component.PERSON and role is Role.ADMIN)
        self._is_person = recovers and self._dialed is None
        if component != Component.ENGINE and not self._is_person:
            return self.refuse(f"it is a {component}")
        self._hello = asyncio.get_running_loop().call_later(HANDSHAKE_S, self.refuse, "it does not say who it is")
        if self._is_person:
            return None
        me = self._links.me
        hello = v1.LinkHello(
            version=VERSION,
            shard=me.shard,
            place=me.place,
            member=me.session.member,
            boot=me.session.boot,
            kernel_version=me.kernel_version,
            renewable=True,
        )
        if self._dialed is not None:
            hello.heartbeat_link, hello.heartbeat_key = self.link_id, self._key
        if self._renews is not None:
            hello.renews = self._renews.link_id
        self.write(v1.LinkFrame(hello=hello))
        return None

    def came(self, wire: Wire, frame: v1.LinkFrame) -> None:
        """On one of its connections."""
        if self._transport.is_closing():
            return
        if frame.HasField("moved"):
            self._left(wire)
        elif self._older is not None and wire is not self._older:
            self._held.append(frame)
        elif self.began:
            self._links.owner.received(self, frame)
        elif self._is_person:
            self._asked(frame)
        else:
            self._greeted(frame)

    def _asked(self, frame: v1.LinkFrame) -> None:
        if not frame.HasField("recovery"):
            return self.refuse("a person says something else than what a recovery takes")
        if self._hello is not None:
            self._hello.cancel()
        self._hello = asyncio.get_running_loop().call_later(PERSON_S, self.refuse, "it asks nothing more")
        return self._links.owner.asked(self, frame.recovery)

    def _greeted(self, frame: v1.LinkFrame) -> None:
        me, hello = self._links.me, frame.hello
        expected = (self._dialed,) if self._dialed is not None else self._links.places
        if not frame.HasField("hello"):
            return self.refuse("its first word is no hello")
        if hello.version != VERSION:
            return self.refuse(f"it speaks version {hello.version} of links, and this engine version {VERSION}")
        if hello.shard != me.shard:
            return self.refuse(f"it is of shard {hello.shard!r}, and this is {me.shard!r}")
        if hello.place not in expected:
            return self.refuse(f"it says that it is at {hello.place}, and expected is {' or '.join(expected)}")
        if hello.member == me.session.member:
            self._links.owner.twin(Session(hello.member, hello.boot), hello.place)
            return self.refuse(f"it has the id of this volume, {hello.member}: one of the two is a copy")
        if why := refusal(hello.kernel_version, self._links.owner.kernel_version()):
            return self.refuse(why)
        if self._hello is not None:
            self._hello.cancel()
        self.place, self.peer = hello.place, Session(hello.member, hello.boot)
        if self._renews is not None or hello.renews:
            return self._renewed(hello.renews)
        if self._dialed is None:
            if len(hello.heartbeat_link) != 16 or len(hello.heartbeat_key) != 32:
                return self.refuse("it brings no key for heartbeats")
            self.link_id, self._key = hello.heartbeat_link, hello.heartbeat_key
        self.kernel_version = hello.kernel_version or UNSAID
        self.is_renewable = hello.renewable
        if (older := self._links.by_place.get(self.place)) is not None:
            older.close()
        host, _ = self._transport.get_extra_info("peername")[:2]
        assert self._links.heartbeats is not None, "there are other places"
        self._links.heartbeats.watch(self.link_id, self._key, host, Address.parse(self.place).port)
        self._links.by_place[self.place] = self
        self.began = True
        log.info("linked to %s at %s", self.peer, self.place)
        self._links.owner.linked(self)
        return None

    def _renewed(self, link_id: bytes) -> None:
        """Another link goes on over this one's connection, on both sides, if it is still there."""
        link = self._renews or self._links.by_place.get(self.place)
        wanted = self._renews.link_id if self._renews is not None else link_id
        if link is None or link.ended.is_set() or (link.link_id, link.peer) != (wanted, self.peer):
            return self.refuse("the link that is to go on over it has ended")
        if link._older is not None:
            return self.refuse("the link that is to go on over it is on its way to another already")
        wire, self._wire = self._wire, None
        assert wire is not None, "it came over one"
        wire.link = link
        return link._take_over(wire)

    def _take_over(self, wire: Wire) -> None:
        self.write(v1.LinkFrame(moved=v1.Moved()))
        self._older, self._wire = self._wire, wire
        log.info("the link to %s at %s goes on over another connection", self.peer, self.place)
        if self._has_moved:
            self._go_on()
        else:
            wire.transport.pause_reading()

    def _left(self, wire: Wire) -> None:
        """The other has said its last word there. It may have done so before this side knows where it goes on."""
        if wire is self._older:
            self._go_on()
        elif wire is self._wire and self._older is None and not self._has_moved:
            self._has_moved = True
        else:
            self.refuse("it leaves a connection that it has left")

    def _go_on(self) -> None:
        older, self._older, self._has_moved = self._older, None, False
        assert older is not None, "it is on its way"
        # What was written there, this side's last word, goes out first.
        older.transport.close()
        held, self._held = self._held, []
        for frame in held:
            self.came(self._wire or older, frame)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def write(self, frame: v1.LinkFrame) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(encode(frame))
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MOST:
            self.refuse(f"it leaves {UNREAD_BYTES_MOST} bytes unread")

    @property
    def unread_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def refuse(self, why: str) -> None:
        peer = self._transport.get_extra_info("peername")
        log.warning("the link to %s is closed: %s", self.place or peer, why)
        self.close()

    def close(self) -> None:
        """Whoever owns it is told at once."""
        for wire in (self._wire, self._older):
            # One that is closed is left alone: Python 3.11.2 would stop reading from whatever has its descriptor.
            if wire is not None and not wire.transport.is_closing():
                wire.transport.abort()
        self._over()

    def lost(self, wire: Wire) -> None:
        """A connection has ended: with it the link, unless it has left that one."""
        if wire is self._wire or wire is self._older:
            self.close()

    def _over(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
        self.ended.set()
        self.ended_or_due.set()
        if not self.began or self._links.by_place.get(self.place) is not self:
            return
        del self._links.by_place[self.place]
        if self._links.heartbeats is not None:
            self._links.heartbeats.forget(self.link_id)
        log.info("the link to %s at %s has ended", self.peer, self.place)
        self._links.owner.unlinked(self)
