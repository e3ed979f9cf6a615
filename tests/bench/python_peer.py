"""The package matching-engine of PyPI, run in a Python of its own: an exchange in Python that is durable too.

Its gateway has no keys, no balances and no limits; it syncs its log once for a batch of orders before it answers.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE, VERSION = "matching-engine", "0.1.1"
NAME = f"{PACKAGE}=={VERSION}"
PYTHON = "3.12"
START_S = 120.0
STOP_S = 10.0


class NotThere(Exception):
    """It could not be had, or does not start."""


def command(extra: str = "") -> list[str]:
    """What goes before a program of that Python's environment."""
    package = f"{PACKAGE}[{extra}]=={VERSION}" if extra else NAME
    return ["uv", "run", "--quiet", "--no-project", "--python", _python(), "--with", package]


def _python() -> str:
    """A program where there is one, pyenv's too; else its version, which uv may be able to get."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(pyenv.glob(f"{PYTHON}.*/bin/python{PYTHON}"))
    return str(found[-1]) if found else PYTHON


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of its gateway, with its log, which it syncs, in the folder. Raises NotThere."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            [*command("gateway"), "matching-engine", "serve", "--port", str(port)],
            env=os.environ | {"ME_DATA_DIR": str(folder / "peer"), "ME_FSYNC": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(int(START_S / 0.1)):
            if process.poll() is not None:
                raise NotThere((folder / "peer.log").read_text(errors="replace")[-1000:])
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
