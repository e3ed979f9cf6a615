"""Processes of pods, as one on their node sees them: found by the pod's uid, and held so that no other is meant."""

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

ENGINE = b"openbourse.engine"
LOOK_S = 0.1
FOUND_S = 30.0
# What a kubelet gives to each container out of its pod's folder.
GIVEN = ("/etc/hosts", "/dev/termination-log")


class NotDone(Exception):
    """The deed could not be done, or not be seen. The text says why."""


def find(uid: str, timeout_s: float = FOUND_S) -> int:
    """The process of the engine in the pod with this uid, when there is one. Raises NotDone."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        found = [pid for pid in of_pods([uid]) if ENGINE in _words(pid)]
        if len(found) == 1:
            return found[0]
        time.sleep(LOOK_S)
    raise NotDone(f"there is no engine of the pod with the uid {uid} on this node")


def of_pods(uids: Collection[str]) -> dict[int, str]:
    """Of these pods, all processes but those that hold their networks: each with the uid of its pod.

    Mounts say whose pod a process is of: its files come from a folder that is named by the pod's uid. The node's own
    processes see such folders too, as places where something is mounted, and are of no pod.
    """
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (uid := whose(int(folder.name), uids)) is not None:
            found[int(folder.name)] = uid
    return found


def whose(pid: int, uids: Collection[str]) -> str | None:
    """Of which of these pods it is."""
    try:
        mounts = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace")
    except OSError:
        return None  # it ended meanwhile, or is somebody else's
    for mount in mounts.splitlines():
        source, place = mount.split(" ")[3:5]
        if place in GIVEN and (found := next((uid for uid in uids if f"/pods/{uid}/" in source), None)):
            return found
    return None


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """By this no other process is meant than the one that was found, whatever becomes of its number."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_there(process: int) -> bool:
    try:
        signal.pidfd_send_signal(process, 0)
    except ProcessLookupError:
        return False
    return True


def state(pid: int) -> str:
    """As ps has it; empty: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
