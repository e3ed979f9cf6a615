"""What an EngineSession makes of a shard that takes no commands, on a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, encode
from openbourse.contracts.session import Address, EngineSession, NotTaken, Unavailable

TIMEOUT_S = 5.0
COMMAND = v1.Command(command_id=b"c" * 16, checkpoint=v1.Checkpoint())

Answer = Callable[[v1.Command, int], v1.Reply | None]


def not_taken(command: v1.Command) -> v1.Reply:
    reason = v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE
    return v1.Reply(command_id=command.command_id, rejection=v1.Rejection(reason=reason, detail="no room"))


@contextlib.asynccontextmanager
async def shard(answer: Answer) -> AsyncIterator[EngineSession]:
    """A session to a listener that answers as told, by how many connections there were; None: it hangs up."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        decoder = Decoder()
        with contextlib.closing(writer):
            while data := await reader.read(4096):
                for body in decoder.feed(data):
                    frame = v1.ClientFrame.FromString(body)
                    if frame.WhichOneof("frame") == "hello":
                        writer.write(encode(v1.ServerFrame(welcome=v1.Welcome(shard="main", epoch=1))))
                    elif (reply := answer(frame.command, connections)) is not None:
                        writer.write(encode(v1.ServerFrame(reply=reply)))
                    else:
                        return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    session = EngineSession("main", [Address(*server.sockets[0].getsockname())], None, "test")
    running = asyncio.create_task(session.run())
    try:
        await asyncio.wait_for(session.connected.wait(), TIMEOUT_S)
        yield session
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.close()


async def raised(asked: Awaitable[v1.Reply]) -> Exception:
    with pytest.raises(Unavailable) as caught:
        await asked
    return caught.value


async def test_a_command_that_was_sent_once_and_refused_was_not_taken_and_may_be_sent_again() -> None:
    refusals = 1

    def answer(command: v1.Command, _connections: int) -> v1.Reply:
        nonlocal refusals
        refusals -= 1
        return not_taken(command) if refusals >= 0 else v1.Reply(command_id=command.command_id, seq=7, done=v1.Done())

    async with shard(answer) as session:
        error = await raised(session.command(COMMAND, TIMEOUT_S))
        assert type(error) is NotTaken
        assert "no room" in str(error)
        assert (await session.command(COMMAND, TIMEOUT_S)).seq == 7


async def test_of_a_command_that_was_sent_twice_a_refusal_says_nothing() -> None:
    def answer(command: v1.Command, connections: int) -> v1.Reply | None:
        return None if connections == 1 else not_taken(command)

    async with shard(answer) as session:
        error = await raised(session.command(COMMAND, TIMEOUT_S))
        assert type(error) is Unavailable, error
        assert "cannot say what became of it" in str(error)
