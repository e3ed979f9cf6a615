"""Folders that are written once, and whole."""

from pathlib import Path

from openbourse.ledger.errors import Invalid


def make_new(folder: Path) -> None:
    """Makes the folder, which may be there if nothing is in it. Raises Invalid."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Invalid(f"{folder} is not empty: name a new folder")
    except OSError as error:
        raise Invalid(f"{folder}: {error}") from error
