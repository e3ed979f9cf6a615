"""The client's side of an engine connection: find the shard's leader, ask it, and resend by id until it answers.

An EngineSession outlives its connections. What was not answered when one broke goes out again on the next, with the
same command id, so that the engine answers a command that it already carried out with its first answer. It never
speaks to a leader of an older epoch than the newest it has heard of.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
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
        self.highest_epoch = 0
        self._addresses = tuple(addresses)
        self._tls = tls
        self._client = client
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
            # Shielded: another caller may wait for the same id.
            return await asyncio.wait_for(asyncio.shield(future), timeout_s)
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

    async def run(self) -> None:
        """Connects, and connects again, until cancelled."""
        retry_s = RETRY_FIRST_S
        turn = 0
        while True:
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            try:
                async with connect(address, self.shard, self._tls, self._client, self.highest_epoch) as connection:
                    retry_s = RETRY_FIRST_S
                    self.highest_epoch = connection.epoch
                    log.info("connected to shard %s at %s, epoch %d", self.shard, address, connection.epoch)
                    await self._serve(connection)
            except (OSError, EOFError, NotLeader, DecodeError, FrameTooLarge, TimeoutError) as error:
                log.warning("shard %s at %s: %s; again in %.2f s", self.shard, address, error or "closed", retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MOST_S)

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


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection that was welcomed. Use `connect` to make one."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    decoder: Decoder
    epoch: int
    committed_seq: int

    async def messages(self) -> AsyncIterator[v1.ServerFrame]:
        """Until the peer closes, which raises EOFError."""
        while data := await self.reader.read(READ_BYTES):
            for body in self.decoder.feed(data):
                yield v1.ServerFrame.FromString(body)
        raise EOFError("connection closed by the engine")


@contextlib.asynccontextmanager
async def connect(
    address: Address, shard: str, tls: ssl.SSLContext | None, client: str, highest_epoch: int
) -> AsyncIterator[Connection]:
    """A welcomed connection. Raises OSError, TimeoutError, EOFError, or NotLeader for a leader of an older epoch."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
    try:
        decoder = Decoder()
        writer.write(encode(v1.ClientFrame(hello=v1.Hello(shard=shard, client=client, highest_epoch=highest_epoch))))
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            first = await _first_frame(reader, decoder)
        match first.WhichOneof("frame"):
            case "welcome" if first.welcome.epoch >= highest_epoch:
                yield Connection(reader, writer, decoder, first.welcome.epoch, first.welcome.committed_seq)
            case "welcome":
                raise NotLeader(f"epoch {first.welcome.epoch} is older than {highest_epoch}")
            case "problem":
                raise NotLeader(first.problem.detail)
            case other:
                raise NotLeader(f"expected a welcome, got {other}")
    finally:
        writer.close()
        # The peer may be gone; what matters was said before.
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), CONNECT_TIMEOUT_S)


async def _first_frame(reader: asyncio.StreamReader, decoder: Decoder) -> v1.ServerFrame:
    """A server says nothing more before it has heard more, so nothing is behind the first frame."""
    while data := await reader.read(READ_BYTES):
        for body in decoder.feed(data):
            return v1.ServerFrame.FromString(body)
    raise EOFError("connection closed before a welcome")


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
    retry_s = RETRY_FIRST_S
    turn = 0
    while True:
        address = addresses[turn % len(addresses)]
        turn += 1
        try:
            async with connect(address, shard, tls, client, highest_epoch) as connection:
                highest_epoch = connection.epoch
                connection.writer.write(encode(v1.ClientFrame(subscribe=v1.Subscribe(from_seq=next_seq))))
                with _telling(connection.writer, passed):
                    async for message in connection.messages():
                        match message.WhichOneof("frame"):
                            case "events" if message.events.first_seq == next_seq:
                                retry_s = RETRY_FIRST_S
                                yield message.events
                                next_seq = message.events.last_seq + 1
                            case "events":
                                raise NotLeader(f"the stream went on at {message.events.first_seq}, not {next_seq}")
                            case "problem":
                                raise NotLeader(message.problem.detail)
        except (OSError, EOFError, NotLeader, DecodeError, FrameTooLarge, TimeoutError) as error:
            log.warning("events of shard %s at %s: %s; again in %.2f s", shard, address, error or "closed", retry_s)
        await asyncio.sleep(retry_s)
        retry_s = min(retry_s * 2, RETRY_MOST_S)


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
