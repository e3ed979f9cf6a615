"""A child process that is kept alive: started until it is ready, started again when it dies, stopped in the end. Or
one that is waited for to its end.

It is watched through its own status port, as Kubernetes would. Nothing here knows what the process does.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

READY_TIMEOUT_S = 60.0
POLL_S = 0.05
STOP_TIMEOUT_S = 15.0
RESTARTS_MOST = 5
RESTART_WINDOW_S = 60.0
LOG_TAIL_LINES = 15


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Runs in the child: when we are killed and can stop nobody, the kernel says SIGTERM for us."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ChildFailed(Exception):
    """A child did not become ready, or died too often. The message ends with the last lines of its log."""


@dataclass
class Child:
    """One program, its status port and its log."""

    name: str
    command: Sequence[str]
    status_port: int
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    # What answers with success once it has started.
    started_path: str = "/readyz"
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    async def start(self) -> None:
        """Returns when it answers that it is ready. Raises ChildFailed."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env=os.environ | dict(self.environment),
                stdout=log,
                stderr=log,
                # A Ctrl-C at the terminal is ours to hand on, in the right order.
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline:
                if self.process.returncode is not None:
                    raise ChildFailed(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(f"http://127.0.0.1:{self.status_port}{self.started_path}", timeout=2)
                    if answer.is_success:
                        return
                await asyncio.sleep(POLL_S)
        await self.stop()
        raise ChildFailed(f"{self.name} was not ready after {READY_TIMEOUT_S:g} s\n{self.tail()}")

    async def keep(self, say: Callable[[str], None]) -> None:
        """Starts it again whenever it dies, until cancelled. Raises ChildFailed when it dies too often."""
        deaths: list[float] = []
        while True:
            assert self.process is not None
            code = await self.process.wait()
            now = time.monotonic()
            deaths = [death for death in deaths if now - death < RESTART_WINDOW_S] + [now]
            if len(deaths) > RESTARTS_MOST:
                raise ChildFailed(f"{self.name} died {len(deaths)} times in a minute\n{self.tail()}")
            say(f"{self.name} ended with {code}; starting it again")
            await self.start()
            say(f"{self.name} is back after {time.monotonic() - now:.2f} s")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def tail(self) -> str:
        return _tail(self.log)


async def run_to_end(command: Sequence[str], log: Path, environment: Mapping[str, str], timeout_s: float) -> None:
    """A program that does one thing and ends. Raises ChildFailed, with what it said, when it does not end well."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | dict(environment), stdout=file, stderr=file, start_new_session=True
        )
        try:
            async with asyncio.timeout(timeout_s):
                code = await process.wait()
        except TimeoutError:
            raise ChildFailed(f"{log.stem} did not end within {timeout_s:g} s\n{_tail(log)}") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if code != 0:
        raise ChildFailed(f"{log.stem} ended with {code}\n{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines[-LOG_TAIL_LINES:])])
