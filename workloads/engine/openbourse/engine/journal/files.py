"""What the files of a log are called, and which of them are there. Nothing here opens one."""

import re
from pathlib import Path

SIGNATURE = ".sig"

_SEGMENT = re.compile(r"([0-9]{20})\.wal")
_SNAPSHOT = re.compile(r"([0-9]{20})\.snapshot")
_SIGNATURE = re.compile(_SEGMENT.pattern + re.escape(SIGNATURE))


def segment(first_seq: int) -> str:
    return f"{first_seq:020}.wal"


def snapshot(seq: int) -> str:
    return f"{seq:020}.snapshot"


def segments(folder: Path) -> list[int]:
    """The first seq of each, in order."""
    return _seqs(folder, _SEGMENT)


def snapshots(folder: Path) -> list[int]:
    """The seq of each, good or bad, in order."""
    return _seqs(folder, _SNAPSHOT)


def of_log(folder: Path) -> list[Path]:
    """Segments, their signatures and snapshots: all that goes when another log takes their place."""
    patterns = (_SEGMENT, _SNAPSHOT, _SIGNATURE)
    return [path for path in folder.iterdir() if any(pattern.fullmatch(path.name) for pattern in patterns)]


def first_seq(folder: Path) -> int:
    """Where the log begins; 1 where there is none."""
    return next(iter(segments(folder)), 1)


def oldest_served(folder: Path) -> int:
    """The first seq from which events can still be had: it takes the log from there on, and the state before it."""
    first = first_seq(folder)
    if first == 1:
        return 1
    return next((seq + 1 for seq in snapshots(folder) if seq + 1 >= first), first)


def _seqs(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    return sorted(int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name)))
