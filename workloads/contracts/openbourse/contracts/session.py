"""The client's side of an engine connection: find the shard's leader, ask it, and resend by id until it answers.

An EngineSession outlives its connections. What was not answered when one broke goes out again on the next, with the
same command id, so that the engine answers a command that it already carried out with its first answer. `Leaders` finds
whoever leads, and never speaks to a leader of an older epoch than the newest it has heard of.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, FrameTooLarge, encode

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 2.0
RETRY_FIRST_S = 0.02
RETRY_MOST_S = 0.5
UNANSWERED_MOST = 10_000
READ_BYTES = 256 * 1024
PASSED_S = 0.02

A = TypeVar("A", v1.Reply, v1.Answer)


class Unavailable(Exception):
    """No answer in time. Of a command the outcome is unknown: ask again with the same command id."""


class NotTaken(Unavailable):
    """The shard has no log to write the command to at the moment. It was not sequenced: send it again later."""


class Busy(Exception):
    """UNANSWERED_MOST requests wait already; this one was not sent."""


class NotLeader(Exception):
    """The listener did not welcome us as the leader of the shard that we want."""


# What ends a connection, and is tried again with the next one.
_LOST = (OSError, EOFError, NotLeader, DecodeError, FrameTooLarge, TimeoutError)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads "host:port". Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{text!r} is not an address such as engine-0.engine:7000")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Unanswered(Generic[A]):
    """Requests by id: the bytes to send again and the future that waits."""

    def __init__(self) -> None:
        self.frames: dict[bytes | int, bytes] = {}
        # Sent more than once, so that a refusal of the last sending says nothing of the ones before.
        self.resent: set[bytes | int] = set()
        self._futures: dict[bytes | int, asyncio.Future[A]] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def add(self, key: bytes | int, frame: bytes) -> asyncio.Future[A]:
        """Two callers with one id share one answer."""
        if key in self.frames:
            self.resent.add(key)
        self.frames[key] = frame
        return self._futures.setdefault(key, asyncio.get_running_loop().create_future())

    def answer(self, key: bytes | int, answer: A | Exception) -> None:
        future = self._futures.get(key)
        self.drop(key)
        if future is None or future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def drop(self, key: bytes | int) -> None:
        self.frames.pop(key, None)
        self.resent.discard(key)
        self._futures.pop(key, None)


class EngineSession:
    """Commands and queries to one shard. `run` keeps the connection and must be running for anything to be answered."""

    def __init__(self, shard: str, addresses: Sequence[Address], tls: ssl.SSLContext | None, client: str) -> None:
        if not addresses:
            raise ValueError(f"no address for shard {shard}")
        self.shard = shard
        self._leaders = Leaders(shard, addresses, tls, client)
        self._commands: _Unanswered[v1.Reply] = _Unanswered()
        self._queries: _Unanswered[v1.Answer] = _Unanswered()
        self._last_query_id = 0
        self._writer: asyncio.StreamWriter | None = None
        self._outgoing = bytearray()
        self.connected = asyncio.Event()

    async def command(self, command: v1.Command, timeout_s: float) -> v1.Reply:
        """The shard's answer, which may be a rejection. Raises Unavailable (outcome unknown) and Busy (not sent).

        Raises NotTaken when the shard cannot log it now and this session sent it once: then nothing of it was done,
        unless another session sent the same id before.
        """
        return await self._ask(self._commands, command.command_id, v1.ClientFrame(command=command), timeout_s)

    async def query(self, query: v1.Query, timeout_s: float) -> v1.Answer:
        """The shard's answer, which may be `refused`. Sets query.query_id. Raises Unavailable and Busy."""
        self._last_query_id += 1
        query.query_id = self._last_query_id
        return await self._ask(self._queries, query.query_id, v1.ClientFrame(query=query), timeout_s)

    async def _ask(self, unanswered: _Unanswered[A], key: bytes | int, frame: v1.ClientFrame, timeout_s: float) -> A:
        if len(unanswered) >= UNANSWERED_MOST:
            raise Busy(f"{UNANSWERED_MOST} requests to shard {self.shard} wait for an answer")
        data = encode(frame)
        future = unanswered.add(key, data)
        self._send(data)
        try:
            # Not wait_for, which in Python 3.11 swallows a cancellation that comes with the answer.
            async with asyncio.timeout(timeout_s):
                # Shielded: another caller may wait for the same id.
                return await asyncio.shield(future)
        except TimeoutError:
            unanswered.drop(key)
            raise Unavailable(f"shard {self.shard} did not answer within {timeout_s:g} s") from None

    def _send(self, data: bytes) -> None:
        """Gathers all that one turn of the loop sends into one write; unsent frames wait for the next connection."""
        if self._writer is None:
            return
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing += data

    def _flush(self) -> None:
        if self._writer is not None and self._outgoing:
            self._writer.write(bytes(self._outgoing))
        self._outgoing.clear()

    @property
    def highest_epoch(self) -> int:
        """Of the leaders heard of."""
        return self._leaders.highest_epoch

    async def run(self) -> None:
        """Is connected to whoever leads, until cancelled."""
        async with self._leaders as leaders:
            while True:
                async with leaders.next() as connection:
                    await self._serve(connection)

    async def _serve(self, connection: "Connection") -> None:
        self._writer = connection.writer
        self._outgoing.clear()
        self.connected.set()
        try:
            self._commands.resent.update(self._commands.frames)
            for frame in (*self._commands.frames.values(), *self._queries.frames.values()):
                self._send(frame)
            async for message in connection.messages():
                match message.WhichOneof("frame"):
                    case "reply":
                        self._commands.answer(message.reply.command_id, self._heard(message.reply))
                    case "answer":
                        self._queries.answer(message.answer.query_id, message.answer)
                    case "problem":
                        raise NotLeader(message.problem.detail)
        finally:
            self.connected.clear()
            self._writer = None

    def _heard(self, reply: v1.Reply) -> v1.Reply | Unavailable:
        if reply.rejection.reason != v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE:
            return reply
        if reply.command_id in self._commands.resent:
            return Unavailable(f"shard {self.shard} cannot say what became of it: {reply.rejection.detail}")
        return NotTaken(f"shard {self.shard} takes no commands now: {reply.rejection.detail}")


@dataclass(eq=False, slots=True)
class Connection:
    """One connection that was welcomed."""

    frames: "_Frames"
    writer: asyncio.StreamWriter
    epoch: int
    committed_seq: int
    # Nobody uses it any more.
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def messages(self) -> AsyncIterator[v1.ServerFrame]:
        """Until the peer closes, or a newer leader is there, which raises EOFError."""
        while True:
            yield await self.frames.next()


class Leaders:
    """Knocks at all members of a shard at once: one that leads lets in, one that stands by lets wait until it leads.

    So a leader that is new is known as soon as it leads, and the one before it is left. Leaders of an epoch older than
    the highest heard of are not listened to. Knocks as long as it is entered.
    """

    def __init__(
        self, shard: str, addresses: Sequence[Address], tls: ssl.SSLContext | None, client: str, highest_epoch: int = 0
    ) -> None:
        self.shard = shard
        self.highest_epoch = highest_epoch
        self._addresses = tuple(addresses)
        self._tls = tls
        self._client = client
        self._newest: Connection | None = None
        self._news = asyncio.Event()
        self._knocking: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Leaders":
        self._knocking = [asyncio.create_task(self._knock(address)) for address in self._addresses]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._knocking:
            task.cancel()
        await asyncio.gather(*self._knocking, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def next(self) -> AsyncIterator[Connection]:
        """The newest leader that was not given yet. What goes wrong with its connection ends the block, and is said."""
        await self._news.wait()
        self._news.clear()
        connection = self._newest
        assert connection is not None
        try:
            yield connection
        except _LOST as error:
            log.warning("shard %s, epoch %d: %s", self.shard, connection.epoch, error or "closed")
        finally:
            connection.ended.set()

    async def _knock(self, address: Address) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            try:
                async with self._connected(address) as (reader, writer):
                    connection = await self._welcome(reader, writer, address)
                    retry_s = RETRY_FIRST_S
                    self._found(connection, address)
                    await connection.ended.wait()
            except _LOST as error:
                log.warning("shard %s at %s: %s; again in %.2f s", self.shard, address, error or "closed", retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

    @contextlib.asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=self._tls)
        keep_alive(writer.get_extra_info("socket"))
        try:
            yield reader, writer
        finally:
            writer.close()
            # The peer may be gone; what matters was said before.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await writer.wait_closed()

    async def _welcome(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address
    ) -> Connection:
        """Waits for one that stands by as long as it does. Raises NotLeader for one that will not be listened to."""
        frames = _Frames(reader)
        hello = v1.Hello(shard=self.shard, client=self._client, highest_epoch=self.highest_epoch)
        writer.write(encode(v1.ClientFrame(hello=hello)))
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            first = await frames.next()
        if first.WhichOneof("frame") == "standby":
            log.info("shard %s: %s stands by", self.shard, address)
            first = await frames.next()
        match first.WhichOneof("frame"):
            case "welcome" if first.welcome.epoch >= self.highest_epoch:
                return Connection(frames, writer, first.welcome.epoch, first.welcome.committed_seq)
            case "welcome":
                raise NotLeader(f"epoch {first.welcome.epoch} is older than {self.highest_epoch}")
            case "problem":
                raise NotLeader(first.problem.detail)
            case other:
                raise NotLeader(f"expected a welcome, got {other}")

    def _found(self, connection: Connection, address: Address) -> None:
        log.info("connected to shard %s at %s, epoch %d", self.shard, address, connection.epoch)
        self.highest_epoch = connection.epoch
        if self._newest is not None and not self._newest.ended.is_set():
            # A leader that froze, or was cut off, does not close it. One that is closed is left alone: Python 3.11.2
            # would stop reading from whatever has its descriptor by now.
            self._newest.writer.transport.abort()
            self._newest.ended.set()
        self._newest = connection
        self._news.set()


def keep_alive(connected: socket.socket) -> None:
    """A peer whose machine is gone is noticed within about ten seconds, though nothing is sent."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
        connected.setsockopt(socket.IPPROTO_TCP, option, value)


class _Frames:
    """One after the other, in whatever pieces they come: a Welcome may be right behind a Standby."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._decoder = Decoder()
        self._bodies: deque[bytes] = deque()

    async def next(self) -> v1.ServerFrame:
        """Raises EOFError."""
        while not self._bodies:
            if not (data := await self._reader.read(READ_BYTES)):
                raise EOFError("connection closed by the engine")
            self._bodies.extend(self._decoder.feed(data))
        return v1.ServerFrame.FromString(self._bodies.popleft())


async def committed_events(
    shard: str,
    addresses: Sequence[Address],
    tls: ssl.SSLContext | None,
    client: str,
    from_seq: int,
    *,
    highest_epoch: int = 0,
    passed: Callable[[], int] | None = None,
) -> AsyncIterator[v1.Events]:
    """The committed stream from `from_seq` on, without a gap or a repeat, through every reconnect; never ends.

    Leaders of an epoch older than `highest_epoch`, or than one heard of since, are not listened to.
    The consumer's pace is the stream's: nothing is read ahead of it but what the socket holds. `passed` gives the last
    seq that the consumer has made its own, durably: it is asked every PASSED_S while the stream is open, and the engine
    is told when it has moved.
    """
    next_seq = from_seq
    async with Leaders(shard, addresses, tls, client, highest_epoch) as leaders:
        while True:
            async with leaders.next() as connection:
                connection.writer.write(encode(v1.ClientFrame(subscribe=v1.Subscribe(from_seq=next_seq))))
                with _telling(connection.writer, passed):
                    async for message in connection.messages():
                        match message.WhichOneof("frame"):
                            case "events" if message.events.first_seq == next_seq:
                                yield message.events
                                next_seq = message.events.last_seq + 1
                            case "events":
                                raise NotLeader(f"the stream went on at {message.events.first_seq}, not {next_seq}")
                            case "problem":
                                raise NotLeader(message.problem.detail)


@contextlib.contextmanager
def _telling(writer: asyncio.StreamWriter, passed: Callable[[], int] | None) -> Iterator[None]:
    """Tells the engine what the consumer has passed, at once and whenever it has moved, until the end of the block."""
    timer: asyncio.TimerHandle | None = None
    told: int | None = None

    def look(passed: Callable[[], int]) -> None:
        nonlocal timer, told
        if (seq := passed()) != told and not writer.is_closing():
            writer.write(encode(v1.ClientFrame(passed=v1.Passed(seq=seq))))
            told = seq
        timer = asyncio.get_running_loop().call_later(PASSED_S, look, passed)

    if passed is not None:
        look(passed)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
