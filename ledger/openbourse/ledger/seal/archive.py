"""Checkpoints and announced keys outside the reach of whoever has the database: written once, never written over.

A folder for now, on another machine's disk if it is to prove something; anything that can put, get and list by name may
take its place. It decides nothing.
"""

import os
from pathlib import Path
from typing import Protocol

from openbourse.contracts import durable
from openbourse.ledger.errors import Diverged, Unavailable

# So that no folder gets more files than people can list.
_IN_A_FOLDER = 10_000


class Archive(Protocol):
    """Objects by name. Each method raises Unavailable."""

    def put(self, name: str, content: str) -> None:
        """Durable when it returns. The same again does nothing; other content raises Diverged."""

    def get(self, name: str) -> str | None: ...

    def newest(self, kind: str) -> int:
        """The highest number of a kind; 0: there is none."""


def name_of(kind: str, number: int) -> str:
    """`checkpoints` and `keys` by their numbers."""
    return f"{kind}/{number // _IN_A_FOLDER:09}/{number:013}.note"


class FolderArchive:
    """Files that are read-only once they have their name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: str) -> None:
        path = self._folder / name
        try:
            if not self._create(path, content.encode()) and path.read_text() != content:
                raise Diverged(f"the archive has another {name}: {path}")
        except OSError as error:
            raise Unavailable(f"the archive {self._folder}: {error}") from error

    def _create(self, path: Path, content: bytes) -> bool:
        """False if the name is taken."""
        if not self._folder.is_dir():
            # Of a disk that is not mounted nothing is made in its place.
            raise FileNotFoundError("the folder is not there; make it once")
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return False
        finally:
            unfinished.unlink()
        for folder in (path.parent, path.parent.parent, self._folder):
            durable.sync_folder(folder)
        return True

    def get(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the archive {self._folder}: {error}") from error

    def newest(self, kind: str) -> int:
        try:
            if not self._folder.is_dir():
                raise FileNotFoundError("the folder is not there; make it once")
            # From the newest folder down: one that a crash left empty says nothing.
            for folder in sorted((self._folder / kind).glob("[0-9]*"), reverse=True):
                numbers = [int(path.stem) for path in folder.glob("[0-9]*.note")]
                if numbers:
                    return max(numbers)
        except (OSError, ValueError) as error:
            raise Unavailable(f"the archive {self._folder}: {error}") from error
        return 0
