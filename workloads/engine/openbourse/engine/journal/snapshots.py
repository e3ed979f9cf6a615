"""Snapshots of a running shard: made beside it, by a process of its own that reads the log.

The engine only says up to which seq, and waits. Nothing of it is copied, locked or paused, and whatever becomes of that
process, the log has everything. What the engine gives up for it is memory and processor time, at the lowest priority.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from openbourse.engine import _core
from openbourse.engine._core import Engine, Fatal
from openbourse.engine.journal import passed

log = logging.getLogger(__name__)

# Commands from one snapshot to the next: what a start replays at most, as long as snapshots are made.
EVERY_COMMANDS = 1_000_000
KEPT = 2
# One that takes longer is stuck, or will never catch up.
MAKING_S = 3600.0
LOCK_FILE = "snapshots.lock"
_LOWEST_PRIORITY = 19
_OUTPUT_BYTES_MOST = 4096


@dataclass(frozen=True, slots=True)
class Made:
    """A snapshot that was made and read back. `oldest_seq` is the oldest that is kept."""

    file: str
    seq: int
    bytes: int
    from_seq: int
    oldest_seq: int
    bad: tuple[tuple[str, str], ...]


def make(folder: Path, shard: str, seq: int, keep: int = KEPT) -> Made:
    """Makes the snapshot of `seq`, which is committed. Raises Fatal, also while another process makes one here.

    The newest `keep` are kept, and the one from which the consumer that is furthest behind can be served.
    """
    behind = min(passed.read(folder).values(), default=0)
    with _alone(folder):
        file, made_seq, size, from_seq, bad, oldest_seq = _core.make_snapshot(folder, shard, seq, keep, behind)
    return Made(file, made_seq, size, from_seq, oldest_seq, tuple(bad))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fatal(f"another process makes a snapshot in {folder}") from None
        yield


class Snapshots:
    """Told of every move of the committed seq; at most one snapshot is being made."""

    def __init__(self, core: Engine, folder: Path, every_commands: int, tasks: asyncio.TaskGroup) -> None:
        self._core = core
        self._folder = folder
        self._every_commands = every_commands
        self._tasks = tasks
        self._seq = core.snapshot_seq
        self._due_seq = self._seq + every_commands
        self._making: asyncio.Task[None] | None = None
        self._bytes = 0
        self._seconds = 0.0
        self._failure = ""

    def committed(self, seq: int) -> None:
        if seq >= self._due_seq and (self._making is None or self._making.done()):
            self._making = self._tasks.create_task(self._make(seq))

    def stop(self) -> None:
        """Ends the process, if there is one. The next start makes up for it."""
        if self._making is not None:
            self._making.cancel()

    def document(self) -> dict[str, object]:
        """For the status: the newest snapshot, what the last one took, and what went wrong since."""
        return {
            "seq": self._seq,
            "bytes": self._bytes,
            "seconds": round(self._seconds, 3),
            "making": self._making is not None and not self._making.done(),
            "failure": self._failure,
            "passed_over": [name for name, _why in self._core.bad_snapshots],
        }

    async def _make(self, seq: int) -> None:
        started = time.monotonic()
        try:
            made = await run_beside(self._folder, self._core.shard, seq)
        except (OSError, TimeoutError, ValueError, Fatal) as error:
            self._failure = str(error) or f"it took more than {MAKING_S:g} s"
            # Soon again, but not with every command.
            self._due_seq = seq + max(1, self._every_commands // 10)
            log.error("no snapshot was made of seq %d, the log has everything: %s", seq, self._failure)
            return
        self._seconds = time.monotonic() - started
        self._seq, self._bytes, self._failure = made.seq, made.bytes, ""
        self._due_seq = made.seq + self._every_commands
        for name, why in made.bad:
            log.warning("the snapshot %s is bad and was passed over: %s", name, why)
        log.info("snapshot of seq %d: %d bytes in %.1f s", made.seq, made.bytes, self._seconds)


async def run_beside(folder: Path, shard: str, seq: int) -> Made:
    """Makes a snapshot in a process of its own, which ends with this call. Raises OSError, TimeoutError, Fatal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openbourse.engine", "snapshot"),
        *("--wal", str(folder), "--shard", shard, "--seq", str(seq)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MAKING_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = errors[-_OUTPUT_BYTES_MOST:].decode(errors="replace").strip()
        raise Fatal(said or f"the process ended with {process.returncode}")
    document = json.loads(output)
    document["bad"] = tuple((name, why) for name, why in document["bad"])
    return Made(**document)


def main(arguments: Sequence[str]) -> int:
    """`python -m openbourse.engine snapshot`: 0, and what was made as JSON; 1, and why not."""
    parser = argparse.ArgumentParser(
        prog="python -m openbourse.engine snapshot",
        description="Makes a snapshot of a shard from its log, whether an engine runs on it or not.",
    )
    parser.add_argument("--wal", required=True, type=Path, metavar="DIR", help="folder of the write-ahead log")
    parser.add_argument("--shard", required=True, help="name of the shard")
    parser.add_argument("--seq", required=True, type=int, help="of which command: one that is committed")
    parser.add_argument("--keep", type=int, default=KEPT, help=f"the newest that are kept (default {KEPT})")
    given = parser.parse_args(arguments)
    os.nice(_LOWEST_PRIORITY)
    try:
        made = make(given.wal, given.shard, given.seq, given.keep)
    except (Fatal, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(made)) + "\n")
    return 0
