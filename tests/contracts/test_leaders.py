"""Whom a session takes for the leader, on a real socket."""

import asyncio

from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.contracts.session import Address, EngineSession

SHARD = "main"


async def test_a_welcome_may_be_right_behind_the_word_that_this_one_stands_by() -> None:
    """Found by the simulation of the shard, seed 12: the two came in one piece, and the session waited for ever."""
    both = encode(v1.ServerFrame(standby=v1.Standby())) + encode(v1.ServerFrame(welcome=v1.Welcome(epoch=3)))

    async def says_both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(both)
        await reader.read(1024)
        writer.close()

    async with await asyncio.start_server(says_both, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        session = EngineSession(SHARD, [Address(host, port)], None, "test")
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(5):
            await session.connected.wait()
        assert session.highest_epoch == 3
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
