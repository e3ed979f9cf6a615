"""WebSocket connections of streams: who hears what, and how each is fed. What waits is `outbox`'s, words `requests`'.

A message is put into the outbox of everyone who hears it, without waiting for anybody. Each connection has one task
that sends, as fast as its client reads, and one that listens.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from urllib.parse import parse_qs

from openbourse.gateway.calls import microseconds
from openbourse.gateway.errors import Invalid
from openbourse.gateway.sockets import POLICY, RESTART, SHUTDOWN_S, TRY_LATER, Peer, written
from openbourse.gateway.streams.outbox import Message, Outbox
from openbourse.gateway.streams.requests import NAME_LENGTH_MOST, STREAMS_MOST, Subscriptions, answer, canonical
from openbourse.gateway.wire import Receive, Scope, Send

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 8_000
# What a client may send: Binance lets go of it beyond.
MESSAGES_A_SECOND = 5
ANSWERS_MOST = 100
ANSWERS_BYTES_MOST = 1024 * 1024


class Connection(Peer):
    """Answers go before what is in the outbox."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        super().__init__(ANSWERS_MOST, ANSWERS_BYTES_MOST)
        self.subscriptions = subscriptions
        self.outbox = Outbox()

    def hear(self, name: str, message: Message) -> None:
        if self.ended is not None:
            return
        if not self.outbox.put(name, message.in_microseconds if self.subscriptions.microseconds else message):
            self.end(POLICY, f"too slow: {len(self.outbox)} messages of {self.outbox.bytes} bytes wait")
        self.news.set()

    def next(self) -> str | None:
        if (text := super().next()) is not None:
            return text
        taken = self.outbox.take()
        if taken is None:
            return None
        name, text = taken
        return f'{{"stream":{written(name)},"data":{text}}}' if self.subscriptions.combined else text


class Streams:
    """The ASGI application of `/ws`, `/ws/<streams>` and `/stream?streams=<streams>`, and who hears what."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        # Canonical name -> connection -> what it calls the stream.
        self._hearers: defaultdict[str, dict[Connection, tuple[str, ...]]] = defaultdict(dict)
        self.open = False

    def is_heard(self, stream: str) -> bool:
        return stream in self._hearers

    def end_hearers(self, streams: Iterable[str], code: int, reason: str) -> None:
        for stream in streams:
            for connection in self._hearers.get(stream, ()):
                connection.end(code, reason)

    def publish(self, stream: str, payload: str, microseconds: str | None = None) -> None:
        """`microseconds`: the same for who asked for these."""
        hearers = self._hearers.get(stream)
        if not hearers:
            return
        message = Message(stream, payload, microseconds)
        for connection, names in hearers.items():
            for name in names:
                connection.hear(name, message)

    def lost(self) -> None:
        """Messages may be missing: nobody goes on as if nothing were. Clients come again, and begin anew."""
        for connection in self.connections:
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
            connection = Connection(_asked_for(scope))
        except Invalid as refusal:
            log.info("stream of %s refused: %s", scope["client"], refusal.message)
            await send({"type": "websocket.close", "code": POLICY})
            return
        await send({"type": "websocket.accept"})
        self.connections.add(connection)
        self._hear(connection, connection.subscriptions.names)
        try:
            await connection.serve(self._listen(connection, receive), scope, send)
        finally:
            self.connections.discard(connection)
            self._hear(connection, {})
        if connection.ended is not None:
            log.info("stream of %s ended: %s", scope["client"], connection.ended[1])

    async def _listen(self, connection: Connection, receive: Receive) -> None:
        heard_s: deque[float] = deque(maxlen=MESSAGES_A_SECOND)
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            now_s = time.monotonic()
            if len(heard_s) == MESSAGES_A_SECOND and now_s - heard_s[0] < 1:
                connection.end(POLICY, f"Too many requests: at most {MESSAGES_A_SECOND} messages a second")
                return
            heard_s.append(now_s)
            text = message.get("text")
            if text is None:
                text = (message.get("bytes") or b"").decode(errors="replace")
            # Some clients answer a ping, or keep a connection alive, with a message of their own.
            if text.strip().lower() in ("", "ping", "pong"):
                continue
            connection.say(answer(text, connection.subscriptions))
            self._hear(connection, connection.subscriptions.names)

    def _hear(self, connection: Connection, wanted: dict[str, None]) -> None:
        names: defaultdict[str, list[str]] = defaultdict(list)
        for name in wanted:
            names[canonical(name)].append(name)
        for stream in [stream for stream, hearers in self._hearers.items() if connection in hearers]:
            if stream not in names:
                del self._hearers[stream][connection]
                if not self._hearers[stream]:
                    del self._hearers[stream]
        for stream, own in names.items():
            self._hearers[stream][connection] = tuple(own)


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
