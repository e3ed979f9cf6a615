"""One command to whichever of a shard's engines leads, over mutual TLS. It decides nothing, and asks once.

An engine is known by its certificate, not by its address: with the API server down, names of Services may not resolve.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts import tls, v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import Decoder, FrameTooLarge, encode
from openbourse.contracts.session import Address

READ_BYTES = 64 * 1024
CLOSE_S = 1.0


class NoReply(NotDone):
    """No engine answered: whether the command was carried out is not known unless all of them refused it."""


def context(folder: Path) -> ssl.SSLContext:
    """Raises NotDone."""
    try:
        made = tls.client_context(folder)
    except (OSError, ssl.SSLError) as error:
        raise NotDone(
            f"--tls {folder}: no ca.crt, tls.crt and tls.key that fit together ({error}): see `openbourse person issue`"
        ) from None
    # What is checked instead is that its certificate is of an engine of this exchange.
    made.check_hostname = False
    return made


async def ask(
    shard: str, addresses: Sequence[Address], tls_context: ssl.SSLContext, command: v1.Command, timeout_s: float
) -> v1.Reply:
    """The first committed reply. Raises NoReply, with what was said at each address."""
    said = dict.fromkeys(addresses, f"nothing within {timeout_s:g} s")

    async def one(address: Address) -> v1.Reply | None:
        try:
            return await _ask_one(shard, address, tls_context, command)
        except (OSError, EOFError, DecodeError, FrameTooLarge, tls.PeerRefused, NoReply) as error:
            said[address] = str(error) or type(error).__name__
            return None

    tasks = [asyncio.create_task(one(address)) for address in addresses]
    try:
        # Who said nothing by then is in what is raised.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for finished in asyncio.as_completed(tasks):
                    if (reply := await finished) is not None:
                        return reply
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise NoReply(f"shard {shard}: " + "; ".join(f"{address} said {text}" for address, text in said.items()))


async def _ask_one(shard: str, address: Address, tls_context: ssl.SSLContext, command: v1.Command) -> v1.Reply:
    """Waits as long as the engine stands by."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls_context)
    try:
        component = tls.component_of(writer.get_extra_info("peercert"))
        if component is not Component.ENGINE:
            raise NoReply(f"that it is a {component}, not an engine")
        hello = v1.Hello(shard=shard, client="kubectl bourse --direct")
        writer.write(encode(v1.ClientFrame(hello=hello)))
        decoder = Decoder()
        while data := await reader.read(READ_BYTES):
            for body in decoder.feed(data):
                frame = v1.ServerFrame.FromString(body)
                match frame.WhichOneof("frame"):
                    case "welcome":
                        writer.write(encode(v1.ClientFrame(command=command)))
                    case "reply" if frame.reply.command_id == command.command_id:
                        return frame.reply
                    case "problem":
                        raise NoReply(frame.problem.detail)
        raise EOFError("nothing: it closed the connection")
    finally:
        writer.close()
        # What mattered was said before.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await writer.wait_closed()
