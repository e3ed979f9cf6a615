"""Files that are whole or not there: written under another name, synced, and renamed."""

import contextlib
import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Durable when it comes back; a crash leaves the old file or the new one. Raises OSError."""
    new = _written(path, content, 0o644)
    new.rename(path)
    _sync_folder(path.parent)


def create(path: Path, content: bytes, mode: int) -> None:
    """As `write`, but raises FileExistsError rather than replace anything."""
    new = _written(path, content, mode)
    try:
        os.link(new, path)
    finally:
        new.unlink()
    _sync_folder(path.parent)


def _written(path: Path, content: bytes, mode: int) -> Path:
    new = path.with_name(f"{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        # Left by a crash, with whatever mode it had.
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return new


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
