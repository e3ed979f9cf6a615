"""What a recovery asks the members of a shard, over the ports of their links, and what it writes down about itself."""

import asyncio
import contextlib
import datetime
import getpass
import json
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from openbourse.cli.recovery_plan import Heard
from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder, FrameTooLarge, encode
from openbourse.contracts.session import Address

ANSWER_S = 10.0
RETRY_S = 0.3
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Door:
    """A member's place, as its shard knows it, and where it is reached from here. `why`: it is not, and why."""

    place: Address
    reached: Address
    why: str = ""


async def ask(door: Door, tls: ssl.SSLContext, shard: str, below: int = 0) -> Heard:
    """One question: 0 changes nothing. Whoever does not answer in time is heard of as silent."""
    place = str(door.place)
    if door.why:
        return Heard(place, None, door.why)
    request = v1.LinkFrame(recovery=v1.RecoveryRequest(shard=shard, below=below))
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(door.reached.host, door.reached.port, ssl=tls)
            try:
                writer.write(encode(request))
                testimony = await _testimony(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        return Heard(place, None, f"no answer within {ANSWER_S:g} s")
    except (OSError, EOFError, DecodeError, FrameTooLarge) as error:
        return Heard(place, None, str(error) or type(error).__name__)
    if testimony.shard != shard:
        return Heard(place, None, testimony.why)
    return Heard(place, testimony)


async def _testimony(reader: asyncio.StreamReader) -> v1.Testimony:
    decoder = Decoder()
    while data := await reader.read(READ_BYTES):
        for body in decoder.feed(data):
            frame = v1.LinkFrame.FromString(body)
            if frame.HasField("testimony"):
                return frame.testimony
    raise EOFError("it closed the connection: is this the port of its links (--place)?")


async def ask_all(doors: Iterable[Door], tls: ssl.SSLContext, shard: str) -> list[Heard]:
    return list(await asyncio.gather(*(ask(door, tls, shard) for door in doors)))


async def seal(door: Door, tls: ssl.SSLContext, shard: str, below: int, within_s: float) -> Heard:
    """Asks until it is sealed below `below`, or has promised too much for that, or the time is over."""
    deadline_s = asyncio.get_running_loop().time() + within_s
    while True:
        heard = await ask(door, tls, shard, below)
        told = heard.testimony
        if told is not None and (told.sealed_below == below or told.promised > below or _refuses(told, below)):
            return heard
        if asyncio.get_running_loop().time() > deadline_s:
            return heard
        await asyncio.sleep(RETRY_S)


def _refuses(told: v1.Testimony, below: int) -> bool:
    """It promised that very epoch otherwise: by a boot that was sealed, or by leading it."""
    return told.promised == below and told.state not in {"sealed", "leader", "stopped"}


def write_down(audit: Path, what: str, **said: object) -> None:
    """One line of JSON, durable when it comes back. What is said goes before who runs this here. Raises OSError."""
    line = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "what": what,
        **said,
    }
    audit.parent.mkdir(parents=True, exist_ok=True)
    with audit.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
