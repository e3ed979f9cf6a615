"""Which epoch wrote each seq, kept beside the log: segments that are recycled do not say it any more.

Nothing here decides: `replication.history` compares.
"""

import json
from pathlib import Path

from openbourse.contracts import durable
from openbourse.engine.errors import Fatal
from openbourse.engine.journal.files import first_seq
from openbourse.engine.replication.history import History

FILE = "epochs.json"


def read(folder: Path, runs: list[tuple[int, int]]) -> History:
    """All of the log: what was written down, up to where its segments begin, and then the `runs` that they have.

    Raises OSError and Fatal.
    """
    before = first_seq(folder) - 1
    history = _written(folder / FILE).cut(before)
    if history.end < before:
        raise Fatal(
            f"{folder / FILE} says which epochs wrote the log up to seq {history.end}, but its segments begin at seq "
            f"{before + 1}: empty the volume, and it joins as a new member"
        )
    for epoch, last in runs:
        history = history.extended(epoch, last)
    return history


def write(folder: Path, history: History) -> None:
    """Durable before segments are recycled. Raises OSError."""
    if _written(folder / FILE) != history:
        durable.write(folder / FILE, json.dumps(history.runs).encode() + b"\n")


def _written(path: Path) -> History:
    try:
        return History(tuple((int(epoch), int(last)) for epoch, last in json.loads(path.read_bytes())))
    except FileNotFoundError:
        return History()
    except (ValueError, TypeError) as error:
        raise Fatal(f"{path} is damaged ({error}): empty the volume, and it joins as a new member") from None
