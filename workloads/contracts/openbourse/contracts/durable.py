"""Files that are whole or not there: written under another name, synced, and renamed."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Durable when it comes back; a crash leaves the old file or the new one. Raises OSError."""
    new = _written(path, content, mode)
    new.rename(path)
    sync_folder(path.parent)


def stamp(path: Path) -> tuple[int, int, int]:
    """Another one when the file was written again. Taken before it is read: what is written meanwhile is seen later.

    Raises OSError.
    """
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One writer of what is in the file's folder at a time: who reads and then writes loses nobody's change."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def create(path: Path, content: bytes, mode: int) -> None:
    """As `write`, but raises FileExistsError rather than replace anything."""
    new = _written(path, content, mode)
    try:
        os.link(new, path)
    finally:
        new.unlink()
    sync_folder(path.parent)


def _written(path: Path, content: bytes, mode: int) -> Path:
    new = path.with_name(f"{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        # Left by a crash, with whatever mode it had.
        new.unlink()
    write_new(new, content, mode)
    return new


def write_new(path: Path, content: bytes, mode: int) -> None:
    """The content is durable when it comes back, the name only with `sync_folder`. Raises FileExistsError, OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """All names in it are durable when it comes back. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
