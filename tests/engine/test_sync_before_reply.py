"""What the kernel of the operating system saw: before each reply leaves, its record was written and synced."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import EngineFactory, fund
from openbourse.contracts.component import Component

pytestmark = pytest.mark.server

COMMANDS = 50
_CALL = re.compile(
    r"^(?P<pid>\d+)\s+(?:(?P<name>\w+)\((?P<arguments>.*)|<\.\.\. (?P<resumed>\w+) resumed>(?P<rest>.*))$"
)


async def test_a_sync_covers_each_reply_before_it_is_sent(engine_factory: EngineFactory, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        message = (
            "test_a_sync_covers_each_reply_before_it_is_sent was not run: strace is missing (Debian package strace)"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    trace = tmp_path / "trace"
    engine = engine_factory()
    calls = "trace=recvfrom,sendto,pwrite64,fdatasync"
    # -D: the process that was started is the engine, the tracer runs beside it.
    engine.start(before=("strace", "-D", "-f", "-yy", "-s", "0", "-e", calls, "-o", str(trace)))
    async with engine.session(Component.LEDGER) as ledger:
        await fund(ledger)
    async with engine.session(Component.GATEWAY) as gateway:
        for price_ticks in range(COMMANDS):
            await gateway.command(sell(30_000_00 + price_ticks, 1), TIMEOUT_S)
    assert engine.stop() == 0
    for _ in range(100):
        if "+++ exited with 0 +++" in (text := trace.read_text()):
            break
        await asyncio.sleep(0.05)
    seen = happenings(text.splitlines(), engine.address.port)
    # Before the port opens the listings are written; the certificates and greetings come before the first command.
    commands = re.findall("rwys", seen)
    assert len(commands) >= COMMANDS, seen
    # A reply never goes out between a write and its sync, and never without one since the request came.
    assert "ws" not in seen.replace("r", ""), seen
    assert f"{'rwys' * (COMMANDS - 1)}" in seen.replace("R", ""), seen


def happenings(lines: list[str], port: int) -> str:
    """In order: r a request came, w a record is written, y it is synced (when the call came back), s a reply leaves."""
    seen = ""
    syncing: set[str] = set()
    for line in lines:
        call = _CALL.match(line)
        if call is None:
            continue
        name, arguments = call["name"], call["arguments"] or ""
        if name == "pwrite64" and ".wal>" in arguments:
            seen += "w"
        elif name == "fdatasync" and ".wal>" in arguments:
            if "<unfinished" in arguments:
                syncing.add(call["pid"])
            else:
                assert arguments.endswith("= 0"), line
                seen += "y"
        elif call["resumed"] == "fdatasync" and call["pid"] in syncing:
            syncing.remove(call["pid"])
            assert call["rest"].endswith("= 0"), line
            seen += "y"
        elif name == "recvfrom" and f":{port}->" in arguments and re.search(r"= [1-9]\d*$", arguments):
            seen += "r"
        elif name == "sendto" and f":{port}->" in arguments:
            seen += "s"
    return seen
