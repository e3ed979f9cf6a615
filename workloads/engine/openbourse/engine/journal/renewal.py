"""A volume that begins anew from a leader's snapshot: made whole beside the log, then put in its place. No decisions.

| folder in the volume | holds |
|---|---|
| `incoming` | what has come so far, and the new volume while it is made. A boot throws it away |
| `renewed` | the new volume, whole and durable. From this name on it is the volume, whatever is left of the old one |
| `moving` | the same, once nothing of the old log is left. What is moved already is in its place |

So a crash leaves the old volume or the new one, and the next boot finishes what was begun. The volume is a new member:
nothing that the old id acknowledged counts for it. What it promised stays promised. Everything here blocks.
"""

import contextlib
import fcntl
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from openbourse.contracts import durable
from openbourse.engine import _core
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import epochs, files
from openbourse.engine.journal import volume as volumes
from openbourse.engine.replication.history import History

log = logging.getLogger(__name__)

INCOMING, RENEWED, MOVING = "incoming", "renewed", "moving"


def begin(folder: Path, seq: int) -> Path:
    """The file that the snapshot of `seq` is to be written to. Raises OSError."""
    incoming = folder / INCOMING
    if incoming.exists():
        shutil.rmtree(incoming)
    incoming.mkdir()
    return incoming / files.snapshot(seq)


def prepare(folder: Path, volume: volumes.Volume, history: History, segment_bytes: int | None) -> None:
    """Checks the snapshot, which is durable, as a boot would, and makes the volume that begins with it.

    Raises Fatal and OSError.
    """
    incoming = folder / INCOMING
    _core.begin_log(incoming, volume.shard, history.end, segment_bytes=segment_bytes)
    epochs.write(incoming, history)
    volumes.write(incoming, replace(volume, member=volumes.new_id()))


def adopt(folder: Path) -> None:
    """From here on the new volume is the volume, and the process has to begin again. Raises OSError."""
    (folder / INCOMING).rename(folder / RENEWED)
    durable.sync_folder(folder)


def finish(folder: Path, shard: str) -> None:
    """At a boot, before anything is read. Raises Fatal and OSError."""
    incoming, renewed, moving = (folder / name for name in (INCOMING, RENEWED, MOVING))
    if not any(path.exists() for path in (incoming, renewed, moving)):
        return
    with _alone(folder):
        if incoming.exists():
            shutil.rmtree(incoming)
        if renewed.exists():
            _keep_promise(folder, renewed, shard)
            # Roots that are signed go with it: they would not join those of the new one.
            for path in files.of_log(folder):
                path.unlink()
            durable.sync_folder(folder)
            renewed.rename(moving)
            durable.sync_folder(folder)
        if moving.exists():
            for path in list(moving.iterdir()):
                path.rename(folder / path.name)
            durable.sync_folder(folder)
            moving.rmdir()
            log.warning("%s began anew from a leader's snapshot, as a new member", folder)


def _keep_promise(folder: Path, renewed: Path, shard: str) -> None:
    """More may have been promised since the new volume was made."""
    new = volumes.read(renewed, shard)
    with contextlib.suppress(FileNotFoundError):
        promise = max(new.promise, volumes.read(folder, shard).promise)
        volumes.write(renewed, replace(new, promise=promise))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fatal(f"another process uses {folder}") from None
        yield
