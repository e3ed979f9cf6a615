"""Links to the other members of the shard: mutual TLS, one for each, opened by the one whose place sorts first.

They carry messages and say when they begin and end. What a message means, and who is suspected, others decide.
"""

import asyncio
import logging
import secrets
import ssl
from dataclasses import dataclass
from typing import Protocol, cast

from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import Decoder, FrameTooLarge, encode
from openbourse.contracts.session import Address, keep_alive
from openbourse.contracts.tls import PeerRefused, component_of
from openbourse.engine._core import Heartbeats
from openbourse.engine.replication.record import Session

log = logging.getLogger(__name__)

VERSION = 1
HANDSHAKE_S = 5.0
# A question of a person, and its answer.
PERSON_S = 30.0
RETRY_FIRST_S = 0.02
RETRY_MOST_S = 0.5
# A follower that does not read is dropped; it joins again from where it is.
UNREAD_BYTES_MOST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """This member, as it introduces itself. `place` is how the others know it: the host and port of its links."""

    shard: str
    place: str
    session: Session


class Owner(Protocol):
    """Who is told. A link to a place begins after the older one to it has ended."""

    def linked(self, link: "Link") -> None: ...
    def unlinked(self, link: "Link") -> None: ...
    def received(self, link: "Link", frame: v1.LinkFrame) -> None: ...
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
            lambda: Link(self, None), address.host, address.port, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S
        )

    async def dial(self, tls: ssl.SSLContext) -> None:
        """Opens the links that are this member's to open, again and again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for place in self.places:
                if self.me.place < place:
                    tasks.create_task(self._dial(place, tls))

    async def _dial(self, place: str, tls: ssl.SSLContext) -> None:
        address = Address.parse(place)
        retry_s = RETRY_FIRST_S
        while True:
            try:
                async with asyncio.timeout(HANDSHAKE_S):
                    _, link = await asyncio.get_running_loop().create_connection(
                        lambda: Link(self, place), address.host, address.port, ssl=tls
                    )
                await link.ended.wait()
                if link.began:
                    retry_s = RETRY_FIRST_S
            except (OSError, TimeoutError) as error:
                log.debug("%s cannot be reached: %s", place, error)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for link in tuple(self.by_place.values()):
            link.close()


class Link(asyncio.Protocol):
    """One connection to one other member. `dialed` is the place that it was opened to; None: the other opened it."""

    def __init__(self, links: Links, dialed: str | None) -> None:
        self.place = dialed or ""
        self.peer = Session("", "")
        self.began = False
        self.ended = asyncio.Event()
        self.link_id = secrets.token_bytes(16)
        self._links = links
        self._dialed = dialed
        self._key = secrets.token_bytes(32)
        self._decoder = Decoder()
        self._hello: asyncio.TimerHandle | None = None
        self._is_person = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport.get_extra_info("socket"))
        try:
            component = component_of(transport.get_extra_info("peercert"))
        except PeerRefused as error:
            return self._refuse(str(error))
        self._is_person = component == Component.CLI and self._dialed is None
        if component != Component.ENGINE and not self._is_person:
            return self._refuse(f"it is a {component}")
        self._hello = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._refuse, "it does not say who it is")
        if self._is_person:
            return None
        me = self._links.me
        hello = v1.LinkHello(
            version=VERSION, shard=me.shard, place=me.place, member=me.session.member, boot=me.session.boot
        )
        if self._dialed is not None:
            hello.heartbeat_link, hello.heartbeat_key = self.link_id, self._key
        self.write(v1.LinkFrame(hello=hello))
        return None

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._decoder.feed(data):
                frame = v1.LinkFrame.FromString(body)
                if self._transport.is_closing():
                    return
                if self.began:
                    self._links.owner.received(self, frame)
                elif self._is_person:
                    self._asked(frame)
                else:
                    self._greeted(frame)
        except (DecodeError, FrameTooLarge) as error:
            self._refuse(f"it sends what is no message of a link: {error}")

    def _asked(self, frame: v1.LinkFrame) -> None:
        if not frame.HasField("recovery"):
            return self._refuse("a person says something else than what a recovery takes")
        if self._hello is not None:
            self._hello.cancel()
        self._hello = asyncio.get_running_loop().call_later(PERSON_S, self._refuse, "it asks nothing more")
        return self._links.owner.asked(self, frame.recovery)

    def _greeted(self, frame: v1.LinkFrame) -> None:
        me, hello = self._links.me, frame.hello
        expected = (self._dialed,) if self._dialed is not None else self._links.places
        if not frame.HasField("hello"):
            return self._refuse("its first word is no hello")
        if hello.version != VERSION:
            return self._refuse(f"it speaks version {hello.version} of links, and this engine version {VERSION}")
        if hello.shard != me.shard:
            return self._refuse(f"it is of shard {hello.shard!r}, and this is {me.shard!r}")
        if hello.place not in expected:
            return self._refuse(f"it says that it is at {hello.place}, and expected is {' or '.join(expected)}")
        if hello.member == me.session.member:
            self._links.owner.twin(Session(hello.member, hello.boot), hello.place)
            return self._refuse(f"it has the id of this volume, {hello.member}: one of the two is a copy")
        if self._hello is not None:
            self._hello.cancel()
        if self._dialed is None:
            if len(hello.heartbeat_link) != 16 or len(hello.heartbeat_key) != 32:
                return self._refuse("it brings no key for heartbeats")
            self.link_id, self._key = hello.heartbeat_link, hello.heartbeat_key
        self.place, self.peer = hello.place, Session(hello.member, hello.boot)
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

    def write(self, frame: v1.LinkFrame) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(encode(frame))
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MOST:
            self._refuse(f"it leaves {UNREAD_BYTES_MOST} bytes unread")

    @property
    def unread_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def _refuse(self, why: str) -> None:
        peer = self._transport.get_extra_info("peername")
        log.warning("the link to %s is closed: %s", self.place or peer, why)
        self.close()

    def close(self) -> None:
        """Whoever owns it is told at once."""
        if not self._transport.is_closing():
            self._transport.abort()
        self._over()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def _over(self) -> None:
        if self._hello is not None:
            self._hello.cancel()
        self.ended.set()
        if not self.began or self._links.by_place.get(self.place) is not self:
            return
        del self._links.by_place[self.place]
        if self._links.heartbeats is not None:
            self._links.heartbeats.forget(self.link_id)
        log.info("the link to %s at %s has ended", self.peer, self.place)
        self._links.owner.unlinked(self)
