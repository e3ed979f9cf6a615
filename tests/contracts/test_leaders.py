"""Whom a session takes for the leader, on a real socket."""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import encode
from openbourse.contracts.session import Address, EngineSession
from openbourse.contracts.tls import client_context, server_context

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


async def test_a_session_that_is_cancelled_has_closed_its_socket_when_it_ends(
    tls_material: Mapping[Component, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[socket.socket] = []
    plainly = asyncio.open_connection

    async def noted(*where: object, **how: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await plainly(*where, **how)  # type: ignore[arg-type]
        opened.append(writer.get_extra_info("socket"))
        return reader, writer

    def welcomes(listener: socket.socket, tls: ssl.SSLContext) -> None:
        with tls.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(1024)
            connection.sendall(encode(v1.ServerFrame(welcome=v1.Welcome(epoch=3))))
            # It takes its time to notice that nobody wants it any more.
            time.sleep(0.3)

    monkeypatch.setattr(asyncio, "open_connection", noted)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        welcoming = asyncio.create_task(
            asyncio.to_thread(welcomes, listener, server_context(tls_material[Component.ENGINE]))
        )
        address = Address(*listener.getsockname())
        session = EngineSession(SHARD, [address], client_context(tls_material[Component.GATEWAY]), "test")
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(5):
            await session.connected.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [each.fileno() for each in opened] == [-1]
        await welcoming
