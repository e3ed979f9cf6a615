"""Who and what the engine's port refuses, and that the others never notice."""

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fixtures.commands import ALICE, TIMEOUT_S, buy, credit, sell
from fixtures.engines import EngineFactory, RunningEngine, fund
from openbourse.contracts import tls, v1
from openbourse.contracts.certificates import issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.frames import MAX_FRAME_BYTES, Decoder, encode

pytestmark = pytest.mark.server

Code = v1.ProblemCode


class Peer:
    """A raw connection, so that it can misbehave."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = Decoder()
        self._frames: list[v1.ServerFrame] = []

    def say(self, **frame: object) -> None:
        self.writer.write(encode(v1.ClientFrame(**frame)))  # type: ignore[arg-type]

    async def hear(self) -> v1.ServerFrame | None:
        """The next frame; None when the engine has closed."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self._frames:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._frames += map(v1.ServerFrame.FromString, self._decoder.feed(data))
        return self._frames.pop(0)

    async def problem(self) -> v1.Problem:
        """The problem that ends this connection."""
        frame = await self.hear()
        assert frame is not None, "the engine closed without a word"
        assert frame.WhichOneof("frame") == "problem", frame
        assert await self.hear() is None, "the engine went on after a problem"
        return frame.problem


@contextlib.asynccontextmanager
async def peer(
    engine: RunningEngine, context: ssl.SSLContext | None, *, greet: bool = True, receive_bytes: int = 0
) -> AsyncIterator[Peer]:
    """`receive_bytes` bounds what the machine takes from the engine without anybody reading it."""
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (engine.address.host, engine.address.port))
    reader, writer = await asyncio.open_connection(
        sock=plain, ssl=context, server_hostname=engine.address.host if context else None, limit=1024
    )
    try:
        made = Peer(reader, writer)
        if greet:
            made.say(hello=v1.Hello(shard=engine.shard, client="peer"))
            welcome = await made.hear()
            assert welcome is not None
            assert welcome.WhichOneof("frame") == "welcome"
        yield made
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 5)


async def still_serves(engine: RunningEngine) -> None:
    async with engine.session(Component.GATEWAY) as gateway:
        await gateway.query(v1.Query(listings=v1.ListingsQuery()), TIMEOUT_S)


async def test_only_certificates_of_the_exchange_get_in(engine: RunningEngine, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    foreign = make_authority("demo", now)
    files = issue(foreign, "demo", Component.GATEWAY, ("127.0.0.1",), now).files(foreign)
    # It trusts the exchange, but its own certificate is of another authority of the same name.
    files["ca.crt"] = (engine.tls_material[Component.GATEWAY] / "ca.crt").read_bytes()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    without = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    without.load_verify_locations(tmp_path / "ca.crt")
    for context in (tls.client_context(tmp_path), without, None):
        with pytest.raises((OSError, AssertionError, EOFError)):
            async with peer(engine, context):
                pass
    await still_serves(engine)


async def test_a_component_may_send_its_own_commands_only(engine: RunningEngine) -> None:
    for component, command in (
        (Component.GATEWAY, credit(ALICE, "BTC", 1)),
        (Component.LEDGER, sell(100, 1)),
        (Component.OPERATOR, sell(100, 1)),
        (Component.GATEWAY, v1.Command(command_id=b"0" * 16, impose_halt=v1.ImposeHalt(halt="mine"))),
        (Component.ENGINE, v1.Command(command_id=b"0" * 16, checkpoint=v1.Checkpoint())),
    ):
        async with peer(engine, engine.client_tls(component)) as caller:
            caller.say(command=command)
            problem = await caller.problem()
            assert problem.code == Code.PROBLEM_CODE_NOT_ALLOWED, (component, problem)
    await still_serves(engine)


async def test_bytes_that_are_no_frames_end_their_connection(engine: RunningEngine) -> None:
    gateway = engine.client_tls(Component.GATEWAY)
    for data, code in (
        (b"GET / HTTP/1.1\r\n\r\n", Code.PROBLEM_CODE_TOO_LARGE),
        ((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), Code.PROBLEM_CODE_TOO_LARGE),
        (b"\x00\x00\x00\x04\xff\xff\xff\xff", Code.PROBLEM_CODE_MALFORMED),
        (b"\x00\x00\x00\x00", Code.PROBLEM_CODE_MALFORMED),
    ):
        async with peer(engine, gateway) as caller:
            caller.writer.write(data)
            assert (await caller.problem()).code == code, data
    async with peer(engine, gateway, greet=False) as caller:
        caller.say(query=v1.Query(listings=v1.ListingsQuery()))
        assert (await caller.problem()).code == Code.PROBLEM_CODE_MALFORMED
    await still_serves(engine)


async def test_a_hello_for_another_shard_or_a_newer_epoch_is_refused(engine: RunningEngine) -> None:
    gateway = engine.client_tls(Component.GATEWAY)
    for hello, code in (
        (v1.Hello(shard="other"), Code.PROBLEM_CODE_WRONG_SHARD),
        (v1.Hello(shard="main", highest_epoch=99), Code.PROBLEM_CODE_NOT_LEADER),
    ):
        async with peer(engine, gateway, greet=False) as caller:
            caller.say(hello=hello)
            assert (await caller.problem()).code == code
    await still_serves(engine)


async def test_a_subscriber_that_does_not_read_is_waited_for_and_harms_nobody(engine_factory: EngineFactory) -> None:
    """Its position stays, also when memory has moved on: the rest comes out of the log, without a gap or a repeat."""
    engine = engine_factory("--ring-commands", "2000")
    engine.start()
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        async with peer(engine, engine.client_tls(Component.LEDGER), receive_bytes=65536) as slow:
            slow.say(subscribe=v1.Subscribe(from_seq=1))
            # Of both accounts: none has more than 10,000 orders open.
            for _ in range(10):
                both = [(sell(30_000_00 + at % 50, 1), buy(20_000_00 + at % 50, 1)) for at in range(1000)]
                orders = [gateway.command(order, TIMEOUT_S) for pair in both for order in pair]
                replies = await asyncio.gather(*orders)
            last_seq = max(reply.seq for reply in replies)
            next_seq = 1
            events = 0
            while next_seq <= last_seq:
                frame = await slow.hear()
                assert frame is not None
                assert frame.events.first_seq == next_seq
                events += len(frame.events.events)
                next_seq = frame.events.last_seq + 1
            assert events >= 20_000
    assert "are read from the log" in engine.log.read_text()


async def test_a_subscriber_that_is_ahead_of_the_log_is_told_so(engine: RunningEngine) -> None:
    """It has followed another log: to wait would be to skip what comes now."""
    async with peer(engine, engine.client_tls(Component.LEDGER)) as caller:
        caller.say(subscribe=v1.Subscribe(from_seq=engine.status()["committed_seq"] + 2))
        assert "another log" in (await caller.problem()).detail


async def test_a_client_that_leaves_its_replies_unread_is_closed(engine: RunningEngine) -> None:
    async with peer(engine, engine.client_tls(Component.GATEWAY), receive_bytes=8192) as caller:
        query = encode(v1.ClientFrame(query=v1.Query(listings=v1.ListingsQuery())))
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(60):
                while True:
                    caller.writer.write(query * 1000)
                    await caller.writer.drain()
        await still_serves(engine)
    assert "unread" in engine.log.read_text()
