"""The leadership record in a folder that the members on one machine share. Nobody waits for another member here.

Every write is a file of its own, `record-<number>.json`, and the one with the highest number is the record. A write is
made whole and synced under a name that nobody reads, and then linked to the next number: the file system lets one do
so. There is no lock, because a member that is stopped while it has one would keep the others from taking over.
"""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from openbourse.contracts import durable
from openbourse.engine.arbiters.arbiter import NotUnderstood, Unreachable
from openbourse.engine.arbiters.record_text import epoch_of, in_sync_of, session_of
from openbourse.engine.replication.inputs import Conflicted, Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held, Record

# Older ones are removed. A member that slept through so many writes does not know what became of its own.
KEPT = 16
TIMEOUT_S = 5.0
CALLS_AT_ONCE_MAX = 8
# Left by a process that died while it wrote.
LEFTOVER_AGE_S = 600.0
_READS_MAX = 100
_NAME = re.compile(r"record-(\d{20})\.json")
_NEW_NAME = re.compile(r"new-[0-9a-f]{16}\.tmp")

_T = TypeVar("_T")


class RecordFolder:
    """The folder must be there, on a local file system, and be of this shard alone."""

    def __init__(self, folder: Path, shard: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._folder = folder
        self._shard = shard
        self._timeout_s = timeout_s
        self._calls = threading.Semaphore(CALLS_AT_ONCE_MAX)

    async def read(self) -> Held | None:
        return await self._in_thread(self._read)

    async def compare_and_set(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        return await self._in_thread(lambda: self._compare_and_set(ask))

    def _read(self) -> Held | None:
        found = self._found()
        # Whoever linked it may not have come so far, and what is acted on must not be gone after a power cut.
        durable.sync_folder(self._folder)
        return None if found is None else self._held(*found)

    def _compare_and_set(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        found = self._found()
        if (_version(*found) if found else None) != ask.expected:
            return Conflicted(ask)
        number = found[0] + 1 if found else 1
        content = _document(self._shard, ask.record)
        new = self._folder / f"new-{secrets.token_hex(8)}.tmp"
        durable.write_new(new, content, 0o644)
        try:
            self._path(number).hardlink_to(new)
        except FileExistsError:
            return Conflicted(ask)
        finally:
            new.unlink(missing_ok=True)
        durable.sync_folder(self._folder)
        newest = self._newest() or number
        if newest - number >= KEPT:
            # The number may have been used and removed long ago: then nobody ever reads what was just linked.
            raise Unreachable(f"{self._folder}: {newest - number} others wrote while this was being written")
        self._remove_older(newest)
        return Succeeded(ask, _version(number, content))

    def _found(self) -> tuple[int, bytes] | None:
        """The number and the content of the record. Its name may not be durable yet."""
        for _ in range(_READS_MAX):
            number = self._newest()
            if number is None:
                return None
            # It may have become an old one, and been removed.
            with contextlib.suppress(FileNotFoundError):
                return number, self._path(number).read_bytes()
        raise Unreachable(f"{self._folder}: the record changes faster than it can be read")

    def _newest(self) -> int | None:
        numbers = [int(match[1]) for path in self._folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        return max(numbers, default=None)

    def _path(self, number: int) -> Path:
        return self._folder / f"record-{number:020}.json"

    def _held(self, number: int, content: bytes) -> Held:
        try:
            document = json.loads(content)
            shard, leader, in_sync = document["shard"], document["leader"], document["in_sync"]
            if shard != self._shard:
                raise ValueError(f"it is of shard {shard}, not of {self._shard}")
            if not isinstance(in_sync, list):
                raise ValueError(f"in_sync: {in_sync!r}")
            record = Record(
                epoch_of(str(document["epoch"])),
                session_of(leader) if leader is not None else None,
                in_sync_of(in_sync),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotUnderstood(
                f"{self._path(number)} is damaged ({type(error).__name__}: {error}). No older one counts: recover the "
                f"shard, which seals its volumes before a new record is made",
                _version(number, content),
            ) from None
        return Held(record, _version(number, content))

    def _remove_older(self, newest: int) -> None:
        """What fails here is tried again with the next write."""
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                match = _NAME.fullmatch(path.name)
                if match and int(match[1]) <= newest - KEPT:
                    path.unlink(missing_ok=True)
                elif _NEW_NAME.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFTOVER_AGE_S:
                    # Should its writer still be there, it has nothing to link any more.
                    path.unlink(missing_ok=True)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """A thread for each call, which a disk that hangs takes with it: nobody waits for it, not even at the end."""
        if not self._calls.acquire(blocking=False):
            raise Unreachable(f"{self._folder}: {CALLS_AT_ONCE_MAX} earlier calls are not answered yet")
        answer: concurrent.futures.Future[_T] = concurrent.futures.Future()
        answer.set_running_or_notify_cancel()

        def run() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001
                answer.set_exception(error)
            finally:
                self._calls.release()

        threading.Thread(target=run, name="record", daemon=True).start()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise Unreachable(f"{self._folder}: no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise Unreachable(f"{self._folder}: {error}") from error


def _version(number: int, content: bytes) -> str:
    """Of all that is in the file, so that an edit by hand is another version."""
    return f"{number}-{hashlib.sha256(content).hexdigest()[:16]}"


def _document(shard: str, record: Record) -> bytes:
    """No two are alike, so that a folder which was emptied does not begin with versions of old."""
    document = {
        "shard": shard,
        "epoch": record.epoch,
        "leader": str(record.leader) if record.leader is not None else None,
        "in_sync": sorted(record.in_sync),
        "write": secrets.token_hex(8),
    }
    return json.dumps(document, indent=1).encode() + b"\n"
