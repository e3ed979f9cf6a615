"""The real cluster for the tests: brought up once a session, reached by kubectl and helm, each command with a time-out.

Where no cluster can be had, each test says that it was not run; under CI that is a failure. The cluster stays up
afterwards (`make cluster-down` ends it); namespaces that the tests make do not.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROVISIONING = Path(__file__).resolve().parents[2] / "gitops/bootstrap/kind"
UP_TIMEOUT_S = 2400  # from nothing: Kubernetes is compiled
IMAGES_TIMEOUT_S = 1200
TEST_TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time to bring up a cluster is not a test's own."""
    for item in items:
        if item.get_closest_marker("cluster") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S, func_only=True))


class CommandFailed(AssertionError):
    """A command ended with an error, or not in time; the message holds the command and what it said."""


def run(
    *command: str | Path, timeout_s: float, environment: dict[str, str], stdin: str | None = None, quiet: bool = True
) -> str:
    """The standard output of a command. Ends it, with all that it started, when it takes too long or is interrupted."""
    words = [str(word) for word in command]
    errors = subprocess.PIPE if quiet else None
    with subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except BaseException as reason:
            os.killpg(process.pid, signal.SIGTERM)
            if isinstance(reason, subprocess.TimeoutExpired):
                raise CommandFailed(f"{' '.join(words)}: not done after {timeout_s} s") from reason
            raise
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(words)}: exit {process.returncode}\n{out}{err or ''}")
    return out


@dataclass(frozen=True, slots=True)
class Cluster:
    """A living cluster, its tools, and the environment in which they find it."""

    environment: dict[str, str]

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 30) -> str:
        return run("kubectl", *arguments, stdin=stdin, timeout_s=timeout_s, environment=self.environment)

    def helm(self, *arguments: str | Path, timeout_s: float = 120) -> str:
        return run("helm", *arguments, timeout_s=timeout_s, environment=self.environment)

    def docker(self, *arguments: str, timeout_s: float = 60) -> str:
        """The engine whose containers are the nodes: `kill`, `pause`, `network disconnect`."""
        return run("docker", *arguments, timeout_s=timeout_s, environment=self.environment)

    def get(self, *arguments: str, timeout_s: float = 30) -> Any:
        """What `kubectl get ... -o json` answers."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json", timeout_s=timeout_s))

    def apply(self, *objects: dict[str, Any], namespace: str) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(items))

    def wait(self, namespace: str, what: str, condition: str, *, timeout_s: int = 60) -> None:
        """Waits for `condition` (`condition=Ready`, `jsonpath=...`) of `what`; in vain, it shows what there is instead."""
        try:
            self.kubectl(
                "-n", namespace, "wait", what, f"--for={condition}", f"--timeout={timeout_s}s", timeout_s=timeout_s + 10
            )
        except CommandFailed as failed:
            seen = self.kubectl("-n", namespace, "describe", what)
            raise CommandFailed(f"{failed}\n{seen}") from failed

    def up(self) -> None:
        """Brings back what was killed or paused."""
        run(PROVISIONING / "up.sh", timeout_s=UP_TIMEOUT_S, environment=self.environment)


def absent(what: str, reason: str) -> None:
    """Reports a test by name as not run; under CI, as failed."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is a must under CI: {reason}", pytrace=False)
    pytest.skip(f"NOT RUN, no {what}: {reason}")


def show(request: pytest.FixtureRequest, script: str, *, timeout_s: float) -> str:
    """Runs one of the provisioning's scripts, with its progress on the screen."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        return run(PROVISIONING / script, timeout_s=timeout_s, environment=dict(os.environ), quiet=False)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    try:
        show(request, "up.sh", timeout_s=UP_TIMEOUT_S)
    except CommandFailed as reason:
        absent("cluster", str(reason))
    shell = 'eval "$("$0")" && env -0'
    settings = run("bash", "-c", shell, PROVISIONING / "env.sh", timeout_s=10, environment=dict(os.environ))
    return Cluster(dict(entry.split("=", 1) for entry in settings.split("\0") if entry))


@pytest.fixture(scope="session")
def images(cluster: Cluster, request: pytest.FixtureRequest) -> dict[str, str]:
    """The project's images in the nodes: name -> id."""
    listing = show(request, "images.sh", timeout_s=IMAGES_TIMEOUT_S)
    return dict(line.split(" ", 1) for line in listing.splitlines())


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, in which only restricted pods are admitted."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    try:
        cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
