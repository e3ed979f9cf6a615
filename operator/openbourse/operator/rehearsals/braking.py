"""Makes the disk of one container slow: the kernel lets its processes write only so often. For a process on the node.

The limit is the container's own (`io.max`, or `blkio.throttle` of the first version of cgroups), on the disk that its
volume lies on: no other container waits for it, and it ends with the container. A kernel does not forget it in time;
so a second process takes it away as soon as the first one has, or is gone.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openbourse.operator.rehearsals.processes import NotDone

COMMAND_S = 10.0
_NODES_VIEW = "/proc/1/ns/cgroup"
_NO_LIMIT = {"v1": "0", "v2": "wiops=max"}


@dataclass(frozen=True, slots=True)
class Brake:
    """`group`: the folder of the container's cgroup. `disk`: as major:minor."""

    group: Path
    version: str
    disk: str

    @property
    def limits(self) -> Path:
        return self.group / ("blkio.throttle.write_iops_device" if self.version == "v1" else "io.max")

    def press(self, writes: int) -> None:
        """So many a second, and no more. Raises OSError."""
        self.limits.write_text(f"{self.disk} {writes if self.version == 'v1' else f'wiops={writes}'}")

    def release(self) -> None:
        """Raises OSError, but when the container is gone, and its limit with it."""
        if self.group.exists():
            self.limits.write_text(f"{self.disk} {_NO_LIMIT[self.version]}")

    def is_pressed(self) -> bool:
        """As the kernel says."""
        try:
            lines = self.limits.read_text().splitlines()
        except FileNotFoundError:
            return False
        return any(line.startswith(f"{self.disk} ") and "wiops=max" not in line for line in lines)

    def writes(self) -> int:
        """Those that the disk was given since the container began; 0: it has ended."""
        account = self.group / ("blkio.throttle.io_serviced" if self.version == "v1" else "io.stat")
        try:
            entries = [line.split() for line in account.read_text().splitlines()]
        except FileNotFoundError:
            return 0
        if self.version == "v1":
            return sum(int(entry[2]) for entry in entries if entry[:2] == [self.disk, "Write"])
        fields = [field.partition("=") for entry in entries if entry[0] == self.disk for field in entry[1:]]
        return sum(int(value) for name, _, value in fields if name == "wios")


@contextmanager
def brake_of(pid: int, folder: Path) -> Iterator[Brake]:
    """Of the container of the process, and the disk that `folder` lies on. Raises NotDone."""
    disk = disk_of(folder)
    entries = [line.split(":", 2) for line in _outside("cat", f"/proc/{pid}/cgroup").splitlines()]
    first = next((path for _, names, path in entries if "blkio" in names.split(",")), None)
    path = first or next((path for number, _, path in entries if number == "0"), None)
    if path is None:
        raise NotDone("the kernel keeps no account of what the engine writes: it has neither blkio nor io")
    # Seen from the node, where no container's view of cgroups is in the way.
    point = Path(tempfile.mkdtemp())
    kind = ("-t", "cgroup", "-o", "blkio") if first else ("-t", "cgroup2")
    _outside("mount", *kind, "none", str(point))
    try:
        brake = Brake(point / path.lstrip("/"), "v1" if first else "v2", disk)
        if not brake.limits.exists():
            raise NotDone(f"the kernel limits no disk for the container: {brake.limits.name} is not there")
        yield brake
    finally:
        _outside("umount", "--lazy", str(point))
        point.rmdir()


def disk_of(folder: Path) -> str:
    """The whole disk: of a part of one the kernel takes no limit. Raises NotDone."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    entry = Path("/sys/dev/block") / number
    if not entry.exists():
        raise NotDone(f"{folder} lies on no disk of this node (device {number}), so none can be made slow")
    if (entry / "partition").exists():
        return (entry.resolve().parent / "dev").read_text().strip()
    return number


@contextmanager
def pressed(brake: Brake, writes: int) -> Iterator[None]:
    """Until the block ends, or this process does, however it ends."""
    ours, theirs = os.pipe()
    guard = os.fork()
    if guard == 0:
        _wait_and_release(brake, ours, theirs)
    os.close(ours)
    try:
        brake.press(writes)
        yield
    finally:
        os.close(theirs)
        os.waitpid(guard, 0)


def _wait_and_release(brake: Brake, ours: int, theirs: int) -> None:
    """In the second process: the pipe has an end when the first one closes it, or is no more."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.setsid()
        os.close(theirs)
        os.read(ours, 1)
        brake.release()
        code = 0
    finally:
        os._exit(code)


def _outside(*words: str) -> str:
    """A command in the node's own view of cgroups, or in ours where that is the only one. Raises NotDone."""
    view = ["nsenter", f"--cgroup={_NODES_VIEW}"] if os.access(_NODES_VIEW, os.R_OK) else []
    command = [*view, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode != 0:
        raise NotDone(f"{' '.join(words)}: {done.stderr.strip()[:300]}")
    return done.stdout
