"""What the reader of a committed stream says of its consumer, on a real socket."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, encode
from openbourse.contracts.session import PASSED_S, Address, committed_events

TIMEOUT_S = 5.0


class Engine:
    """Sends an Events on each connection for each seq that it is asked from, and keeps what it was told."""

    def __init__(self) -> None:
        self.connections = 0
        self.told: list[tuple[int, float]] = []
        self.more = asyncio.Event()
        self.hang_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        decoder = Decoder()
        with contextlib.closing(writer):
            hanging_up = asyncio.create_task(self.hang_up.wait())
            while True:
                reading = asyncio.create_task(reader.read(4096))
                await asyncio.wait({reading, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
                if hanging_up.done() or not (data := await reading):
                    self.hang_up.clear()
                    return
                for body in decoder.feed(data):
                    frame = v1.ClientFrame.FromString(body)
                    match frame.WhichOneof("frame"):
                        case "hello":
                            writer.write(encode(v1.ServerFrame(welcome=v1.Welcome(shard="main", epoch=1))))
                        case "subscribe":
                            seq = frame.subscribe.from_seq
                            writer.write(encode(v1.ServerFrame(events=v1.Events(first_seq=seq, last_seq=seq))))
                        case "passed":
                            self.told.append((frame.passed.seq, time.monotonic()))
                            self.more.set()

    async def is_told(self, count: int) -> list[int]:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.told) < count:
                self.more.clear()
                await self.more.wait()
        return [seq for seq, _ in self.told]


async def test_a_consumer_that_moves_is_told_of_once_at_a_bounded_rate_and_again_on_each_connection() -> None:
    engine = Engine()
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    address = Address(*server.sockets[0].getsockname())
    passed, asked = 4, 0

    def ask() -> int:
        nonlocal asked
        asked += 1
        return passed

    stream = committed_events("main", [address], None, "test", 5, passed=ask)
    assert (await anext(stream)).first_seq == 5
    # Nobody reads the stream now.
    assert await engine.is_told(1) == [4]
    began = time.monotonic()
    while time.monotonic() - began < 10 * PASSED_S:
        passed += 1
        await asyncio.sleep(PASSED_S / 10)
    await asyncio.sleep(3 * PASSED_S)
    seqs = await engine.is_told(3)
    assert seqs[-1] == passed
    assert seqs == sorted(set(seqs)), "nothing is said twice"
    assert len(seqs) <= 14
    # A consumer may have gone back, to a backup.
    passed = 2
    assert (await engine.is_told(len(seqs) + 1))[-1] == 2
    engine.hang_up.set()
    before = len(engine.told)
    assert (await anext(stream)).first_seq == 6
    assert (await engine.is_told(before + 1))[before:] == [2]
    assert engine.connections == 2
    assert isinstance(stream, AsyncGenerator)
    await stream.aclose()
    asked_before = asked
    await asyncio.sleep(3 * PASSED_S)
    assert asked == asked_before, "nobody is asked for a stream that is closed"
    server.close()
