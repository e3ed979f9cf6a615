"""WebSocket connections of streams: who hears what, and how each is fed. What waits is `outbox`'s, words `requests`'.

A message is written to everyone who hears it, the same bytes to all. Of a client that does not read it waits in the
outbox, and nobody waits for that client.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import parse_qs

from openbourse.gateway.calls import microseconds
from openbourse.gateway.errors import Invalid, Unavailable
from openbourse.gateway.sockets import NO_TEXT, POLICY, RESTART, SHUTDOWN_S, TRY_LATER, Peer
from openbourse.gateway.streams.outbox import Message, Outbox, named
from openbourse.gateway.streams.requests import NAME_LENGTH_MOST, STREAMS_MOST, Subscriptions, answer, canonical
from openbourse.gateway.websocket_frames import text_frame
from openbourse.gateway.wire import Receive, Scope, Send

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 8_000
# What a client may send: Binance lets go of it beyond.
MESSAGES_A_SECOND = 5
ANSWERS_MOST = 100
ANSWERS_BYTES_MOST = 1024 * 1024
# Connections that wait until it is known what they subscribed to.
LOOKED_UP_MOST = 1_000
NOT_LOOKED_UP = "what was subscribed to cannot be looked up now"


class Connection(Peer):
    """Answers go before what is in the outbox."""

    def __init__(
        self, subscriptions: Subscriptions, address: str, wants: "Callable[[Connection, object], None]"
    ) -> None:
        super().__init__(ANSWERS_MOST, ANSWERS_BYTES_MOST)
        self.address = address
        self.subscriptions = subscriptions
        self.outbox = Outbox()
        self._wants = wants
        self._heard_s: deque[float] = deque(maxlen=MESSAGES_A_SECOND)

    def hear(self, name: str, message: Message) -> None:
        if self.ended is not None:
            return
        if self.subscriptions.microseconds:
            message = message.in_microseconds
        if self.flows:
            assert self.socket is not None
            self.socket.write(message.frame(name if self.subscriptions.combined else None))
        elif not self.outbox.put(name, message):
            self.end(POLICY, f"too slow: {len(self.outbox)} messages of {self.outbox.bytes} bytes wait")

    def next(self) -> bytes | None:
        if (frame := super().next()) is not None:
            return frame
        taken = self.outbox.take()
        if taken is None:
            return None
        name, text = taken
        return text_frame(named(name, text) if self.subscriptions.combined else text)

    def heard(self, texts: list[bytes]) -> None:
        for data in texts:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.end(*NO_TEXT)
                return
            self._answer(text)

    def heard_bytes(self, data: bytes) -> None:
        self._answer(data.decode(errors="replace"))

    def _answer(self, text: str) -> None:
        if self.ended is not None:
            return
        now_s = time.monotonic()
        if len(self._heard_s) == MESSAGES_A_SECOND and now_s - self._heard_s[0] < 1:
            self.end(POLICY, f"Too many requests: at most {MESSAGES_A_SECOND} messages a second")
            return
        self._heard_s.append(now_s)
        # Some clients answer a ping, or keep a connection alive, with a message of their own.
        if text.strip().lower() in ("", "ping", "pong"):
            return
        self._wants(self, answer(text, self.subscriptions))


class Streams:
    """The ASGI application of `/ws`, `/ws/<streams>` and `/stream?streams=<streams>`, and who hears what."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        # Why connections were ended from here, since the start.
        self.let_go: Counter[str] = Counter()
        # Canonical name -> connection -> what it calls the stream.
        self._hearers: defaultdict[str, dict[Connection, tuple[str, ...]]] = defaultdict(dict)
        self.open = False
        # Whether a stream may be heard from an address.
        self.may_hear: Callable[[str, str], bool] = lambda _stream, _address: True
        # Some streams are known to others alone: whether these are known here, and what learns of them or raises
        # Unavailable, before they are heard.
        self.are_known: Callable[[Iterable[str]], bool] = lambda _streams: True
        self.find: Callable[[Iterable[str]], Awaitable[None]] = _nothing_to_find
        self._looked_up = asyncio.Queue[tuple[Connection, object]](LOOKED_UP_MOST)

    def bytes_waiting(self) -> int:
        return sum(connection.bytes_waiting + connection.outbox.bytes for connection in self.connections)

    def is_heard(self, stream: str) -> bool:
        return stream in self._hearers

    def end_hearers(self, streams: Iterable[str], code: int, reason: str) -> None:
        for stream in streams:
            for connection in self._hearers.get(stream, ()):
                connection.end(code, reason)

    def end_unheard(self, streams: Iterable[str], code: int, reason: str) -> None:
        """Those who may not hear them any more."""
        for stream in streams:
            for connection in self._hearers.get(stream, ()):
                if not self.may_hear(stream, connection.address):
                    connection.end(code, reason)

    def publish(self, stream: str, payload: str, rest_us: int = 0, *, microseconds: str | None = None) -> None:
        """For who asked for microseconds: `rest_us` is what its time has beyond the milliseconds in the payload, or
        `microseconds` the whole payload in these."""
        hearers = self._hearers.get(stream)
        if not hearers:
            return
        message = Message(stream, payload, rest_us, microseconds)
        for connection, names in hearers.items():
            for name in names:
                connection.hear(name, message)

    def lost(self, is_of: Callable[[str], bool] = lambda _stream: True) -> None:
        """Messages of some streams may be missing: nobody goes on as if nothing were. Clients come again, and begin
        anew."""
        for connection in self.connections:
            if any(is_of(canonical(name)) for name in connection.subscriptions.names):
                connection.end(RESTART, "market data begin anew")

    async def shut_down(self) -> None:
        """Says so, lets it be heard, and takes nobody any more."""
        self.open = False
        for connection in self.connections:
            connection.say({"e": "serverShutdown", "E": time.time_ns() // 1_000_000})
        if self.connections:
            await asyncio.sleep(SHUTDOWN_S)
        for connection in self.connections:
            connection.end(RESTART, "the gateway stops")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if not self.open or len(self.connections) >= CONNECTIONS_MOST:
            # Before it is accepted: an answer of HTTP, 403.
            await send({"type": "websocket.close", "code": TRY_LATER})
            return
        try:
            address = scope["client"][0] if scope["client"] else ""
            connection = Connection(_asked_for(scope), address, self._want)
        except Invalid as refusal:
            log.info("stream of %s refused: %s", scope["client"], refusal.message)
            await send({"type": "websocket.close", "code": POLICY})
            return
        try:
            await self.find(connection.subscriptions.names)
        except Unavailable as refusal:
            log.warning("stream of %s refused: %s", scope["client"], refusal.detail)
            await send({"type": "websocket.close", "code": TRY_LATER})
            return
        await send({"type": "websocket.accept"})
        self.connections.add(connection)
        self._hear(connection, connection.subscriptions.names)
        try:
            await connection.serve(scope["extensions"]["socket"])
        finally:
            self.connections.discard(connection)
            self._hear(connection, {})
        if connection.ended is not None:
            self.let_go[connection.let_go] += 1
            log.info("stream of %s ended: %s", scope["client"], connection.ended[1])

    async def run(self) -> None:
        """Looks up what is subscribed to and not known here, until cancelled."""
        while True:
            connection, answered = await self._looked_up.get()
            try:
                await self.find(connection.subscriptions.names)
            except Unavailable as refusal:
                log.warning("a stream ends: %s", refusal.detail)
                connection.end(TRY_LATER, NOT_LOOKED_UP)
            else:
                self._say_and_hear(connection, answered)

    def _want(self, connection: Connection, answered: object) -> None:
        """What it subscribes to now is heard from the answer on, which comes when it is known."""
        if self.are_known(connection.subscriptions.names):
            self._say_and_hear(connection, answered)
        elif self._looked_up.full():
            connection.end(TRY_LATER, NOT_LOOKED_UP)
        else:
            self._looked_up.put_nowait((connection, answered))

    def _say_and_hear(self, connection: Connection, answered: object) -> None:
        connection.say(answered)
        # It may have gone meanwhile.
        if connection in self.connections:
            self._hear(connection, connection.subscriptions.names)

    def _hear(self, connection: Connection, wanted: dict[str, None]) -> None:
        names: defaultdict[str, list[str]] = defaultdict(list)
        for name in wanted:
            if self.may_hear(name, connection.address):
                names[canonical(name)].append(name)
        for stream in [stream for stream, hearers in self._hearers.items() if connection in hearers]:
            if stream not in names:
                del self._hearers[stream][connection]
                if not self._hearers[stream]:
                    del self._hearers[stream]
        for stream, own in names.items():
            self._hearers[stream][connection] = tuple(own)


async def _nothing_to_find(_streams: Iterable[str]) -> None:
    pass


def _asked_for(scope: Scope) -> Subscriptions:
    """`/ws/a/b` hears a and b bare, `/stream?streams=a/b` with their names beside. What is no stream is never heard.

    Raises Invalid for a `timeUnit` that does not exist.
    """
    path: str = scope["path"]
    combined = path == "/stream"
    asked = parse_qs(scope["query_string"].decode("latin-1"))
    named = asked.get("streams", [""])[0] if combined else path.removeprefix("/ws").strip("/")
    names = [name for name in named.split("/") if 0 < len(name) <= NAME_LENGTH_MOST][:STREAMS_MOST]
    return Subscriptions(dict.fromkeys(names), combined, microseconds(asked.get("timeUnit", [None])[0]))
