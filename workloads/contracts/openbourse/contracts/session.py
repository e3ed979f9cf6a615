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

from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, FrameTooLarge, enclosed, encode
from openbourse.contracts.tls_material import Lifetime
from openbourse.contracts.unanswered import A, Unanswered, Unavailable

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 2.0
RETRY_FIRST_S = 0.02
RETRY_MOST_S = 0.5
UNANSWERED_MOST = 10_000
READ_BYTES = 256 * 1024
PASSED_S = 0.02
# Of `command` in a ClientFrame: field 2, with a length.
COMMAND_TAG = b"\x12"
NOT_KEPT = v1.ProblemCode.PROBLEM_CODE_NOT_KEPT


class NotTaken(Unavailable):
    """The shard has no log to write the command to at the moment. It was not sequenced: send it again later."""


class Busy(Exception):
    """UNANSWERED_MOST requests wait already; this one was not sent."""


class NotLeader(Exception):
    """The listener did not welcome us as the leader of the shard that we want."""


class NotKept(Exception):
    """The shard's log does not have the events any more that were asked for."""


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


class EngineSession:
    """Commands and queries to one shard. `run` keeps the connection and must be running for anything to be answered."""

    def __init__(self, shard: str, addresses: Sequence[Address], tls: ssl.SSLContext | None, client: str) -> None:
        if not addresses:
            raise ValueError(f"no address for shard {shard}")
        self.shard = shard
        self._leaders = Leaders(shard, addresses, tls, client)
        self._commands: Unanswered[v1.Reply] = Unanswered(shard)
        self._queries: Unanswered[v1.Answer] = Unanswered(shard)
        self._last_query_id = 0
        self._writer: asyncio.StreamWriter | None = None
        self._outgoing = bytearray()
        self.connected = asyncio.Event()
        # With a new connection, since the start.
        self.resent_commands = 0

    async def command(self, command: v1.Command, timeout_s: float) -> v1.Reply:
        """The shard's answer, which may be a rejection. Raises Unavailable (outcome unknown) and Busy (not sent).

        Raises NotTaken when the shard cannot log it now and this session sent it once: then nothing of it was done,
        unless another session sent the same id before.
        """
        future: asyncio.Future[v1.Reply] = asyncio.get_running_loop().create_future()
        self.submit(command.command_id, command.SerializeToString(), _into(future), timeout_s)
        return await future

    def submit(
        self, command_id: bytes, command: bytes, answered: Callable[[v1.Reply | Exception], None], timeout_s: float
    ) -> None:
        """The same for who does not wait: `command` is a v1.Command's bytes. Raises Busy.

        `answered` is called once, with what `command` would return or raise; it must not raise.
        """
        self._check_room(self._commands)
        frame = enclosed(COMMAND_TAG, command)
        self._commands.add(command_id, frame, answered, timeout_s)
        self._send(frame)

    async def query(self, query: v1.Query, timeout_s: float) -> v1.Answer:
        """The shard's answer, which may be `refused`. Sets query.query_id. Raises Unavailable and Busy."""
        self._check_room(self._queries)
        self._last_query_id += 1
        query.query_id = self._last_query_id
        frame = encode(v1.ClientFrame(query=query))
        future: asyncio.Future[v1.Answer] = asyncio.get_running_loop().create_future()
        self._queries.add(query.query_id, frame, _into(future), timeout_s)
        self._send(frame)
        return await future

    def _check_room(self, unanswered: Unanswered[A]) -> None:
        if len(unanswered) >= UNANSWERED_MOST:
            raise Busy(f"{UNANSWERED_MOST} requests to shard {self.shard} wait for an answer")

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
    def waiting_commands(self) -> int:
        """That have no answer yet."""
        return len(self._commands)

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
            self.resent_commands += len(self._commands)
            for frame in (*self._commands.again(), *self._queries.again()):
                self._send(frame)
            async for messages in connection.batches():
                for message in messages:
                    self._heed(message)
        finally:
            self.connected.clear()
            self._writer = None

    def _heed(self, message: v1.ServerFrame) -> None:
        """Raises NotLeader."""
        if message.HasField("reply"):
            reply = message.reply
            self._commands.answer(reply.command_id, self._heard(reply) if reply.HasField("rejection") else reply)
            return
        match message.WhichOneof("frame"):
            case "answer":
                self._queries.answer(message.answer.query_id, message.answer)
            case "problem":
                raise NotLeader(message.problem.detail)

    def _heard(self, reply: v1.Reply) -> v1.Reply | Unavailable:
        if reply.rejection.reason != v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE:
            return reply
        if self._commands.was_resent(reply.command_id):
            return Unavailable(f"shard {self.shard} cannot say what became of it: {reply.rejection.detail}")
        return NotTaken(f"shard {self.shard} takes no commands now: {reply.rejection.detail}")


def _into(future: asyncio.Future[A]) -> Callable[[A | Exception], None]:
    def answered(answer: A | Exception) -> None:
        # Whoever waited may have been cancelled.
        if future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    return answered


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

    async def batches(self) -> AsyncIterator[list[v1.ServerFrame]]:
        """The same, all that has come at once."""
        while True:
            yield await self.frames.batch()


@dataclass(eq=False, slots=True)
class _Visit:
    """One connection to one member, from its beginning."""

    was_welcome: bool = False
    # It has ended, and why; or it should be made anew.
    over_or_due: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""


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
        """One visit after the other. One that is due to be made anew goes on until the next one was let in."""
        retry_s = RETRY_FIRST_S
        async with asyncio.TaskGroup() as visits:
            while True:
                visit = _Visit()
                visits.create_task(self._visit(address, visit))
                await visit.over_or_due.wait()
                if visit.was_welcome:
                    retry_s = RETRY_FIRST_S
                if visit.why:
                    log.warning("shard %s at %s: %s; again in %.2f s", self.shard, address, visit.why, retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MOST_S)

    async def _visit(self, address: Address, visit: "_Visit") -> None:
        try:
            async with self._connected(address) as (reader, writer):
                abort = writer.transport.abort
                # One that stands by is left and visited again; one that leads is, once the next visit was let in.
                lifetime = Lifetime(
                    writer.get_extra_info("peercert"),
                    context=self._tls,
                    due=lambda: visit.over_or_due.set() if visit.was_welcome else abort(),
                    ended=abort,
                )
                try:
                    connection = await self._welcome(reader, writer, address)
                    visit.was_welcome = True
                    self._found(connection, address)
                    await connection.ended.wait()
                finally:
                    lifetime.over()
        except _LOST as error:
            visit.why = str(error) or "closed"
        finally:
            visit.over_or_due.set()

    @contextlib.asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=self._tls)
        keep_alive(writer.get_extra_info("socket"))
        try:
            yield reader, writer
        finally:
            closed = asyncio.ensure_future(_closed(writer))
            try:
                await asyncio.shield(closed)
            except asyncio.CancelledError:
                # Whoever is cancelled while it closes lets it close: its socket would outlive the loop.
                await closed
                raise

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


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    # The peer may be gone; what matters was said before.
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await writer.wait_closed()


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
        await self._some()
        return v1.ServerFrame.FromString(self._bodies.popleft())

    async def batch(self) -> list[v1.ServerFrame]:
        """Raises EOFError."""
        await self._some()
        bodies, self._bodies = self._bodies, deque()
        return [v1.ServerFrame.FromString(body) for body in bodies]

    async def _some(self) -> None:
        while not self._bodies:
            if not (data := await self._reader.read(READ_BYTES)):
                raise EOFError("connection closed by the engine")
            self._bodies.extend(self._decoder.feed(data))


async def committed_events(
    shard: str,
    addresses: Sequence[Address],
    tls: ssl.SSLContext | None,
    client: str,
    from_seq: int,
    *,
    highest_epoch: int = 0,
    replica: int = 0,
    passed: Callable[[], int] | None = None,
    state_before: Callable[[Sequence[v1.StateBefore]], None] | None = None,
    ends_when_not_kept: bool = False,
    connected: Callable[[int | None], None] | None = None,
) -> AsyncIterator[v1.Events]:
    """The committed stream from `from_seq` on, without a gap or a repeat, through every reconnect; never ends.

    Leaders of an epoch older than `highest_epoch`, or than one heard of since, are not listened to.
    The consumer's pace is the stream's: nothing is read ahead of it but what the socket holds. `passed` gives the last
    seq that the consumer has made its own, durably: it is asked every PASSED_S while the stream is open, and the engine
    is told when it has moved. `replica` says which of several it is that do the same, each for itself.
    `state_before`: a log that does not have `from_seq` any more is begun where it begins, and what the shard was then
    is given to that first. `ends_when_not_kept`: NotKept is raised then; else it asks again: another member may lead.
    `connected` is told what is committed where a stream begins, and None when it ends.
    """
    next_seq = from_seq if state_before is None else 0
    pieces: list[v1.StateBefore] = []
    async with Leaders(shard, addresses, tls, client, highest_epoch) as leaders:
        while True:
            async with leaders.next() as connection:
                connection.writer.write(encode(v1.ClientFrame(subscribe=v1.Subscribe(from_seq=next_seq))))
                pieces.clear()
                with _telling(connection.writer, passed, replica), _noticed(connection, connected):
                    async for message in connection.messages():
                        match message.WhichOneof("frame"):
                            case "state_before" if state_before is not None and not next_seq:
                                pieces.append(message.state_before)
                                if message.state_before.last:
                                    state_before(pieces)
                                    next_seq = message.state_before.seq + 1
                            case "events" if message.events.first_seq == (next_seq or from_seq):
                                yield message.events
                                next_seq = message.events.last_seq + 1
                            case "events":
                                raise NotLeader(f"the stream went on at {message.events.first_seq}, not {next_seq}")
                            case "problem" if ends_when_not_kept and message.problem.code == NOT_KEPT:
                                raise NotKept(message.problem.detail)
                            case "problem":
                                raise NotLeader(message.problem.detail)


@contextlib.contextmanager
def _telling(writer: asyncio.StreamWriter, passed: Callable[[], int] | None, replica: int) -> Iterator[None]:
    """Tells the engine what the consumer has passed, at once and whenever it has moved, until the end of the block."""
    timer: asyncio.TimerHandle | None = None
    told: int | None = None

    def look(passed: Callable[[], int]) -> None:
        nonlocal timer, told
        if (seq := passed()) != told and not writer.is_closing():
            writer.write(encode(v1.ClientFrame(passed=v1.Passed(seq=seq, replica=replica))))
            told = seq
        timer = asyncio.get_running_loop().call_later(PASSED_S, look, passed)

    if passed is not None:
        look(passed)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


@contextlib.contextmanager
def _noticed(connection: Connection, connected: Callable[[int | None], None] | None) -> Iterator[None]:
    if connected is not None:
        connected(connection.committed_seq)
    try:
        yield
    finally:
        if connected is not None:
            connected(None)
