"""Ports of pods on this machine, by `kubectl port-forward`: this is a plugin of kubectl, so kubectl is there.

It takes the rights that kubectl takes: `get` on what is named, and `create` on `pods/portforward`.
"""

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from openbourse.cli.bourse.cluster import Target
from openbourse.cli.bourse.errors import NotDone

READY_WITHIN_S = 20.0
STOP_S = 5.0
_READY = re.compile(rb"Forwarding from 127\.0\.0\.1:(?P<port>[0-9]+) ")


@contextmanager
def forwarded(target: Target, namespace: str, what: str, port: int) -> Iterator[int]:
    """The port of this machine that leads to `port` of `what`, such as `deployment/demo-gateway`. Raises NotDone."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise NotDone("kubectl is not on the PATH: it forwards the port; or say an address that is reached without it")
    process = subprocess.Popen(
        [kubectl, *target.options(), "-n", namespace, "port-forward", "--address=127.0.0.1", what, f":{port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield _ready(process, what)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _ready(process: subprocess.Popen[bytes], what: str) -> int:
    assert process.stdout is not None
    said, deadline_s = b"", time.monotonic() + READY_WITHIN_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left_s)[0]:
            break
        read = os.read(process.stdout.fileno(), 4096)
        said += read
        if found := _READY.search(said):
            return int(found["port"])
        if not read:
            assert process.stderr is not None
            why = process.stderr.read(2000).decode(errors="replace").strip()
            raise NotDone(f"kubectl port-forward {what}: {why or 'it ended'}")
    raise NotDone(f"kubectl port-forward {what} said nothing within {READY_WITHIN_S:g} s")
