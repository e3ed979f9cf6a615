"""The deeds on a node, on real processes that have a pod's mounts: what is seen of them, and that nothing stays."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.failover_load import lost, under_load
from fixtures.figures import Show
from fixtures.members import RunningShard
from openbourse.operator.rehearsals.braking import Brake, disk_of, pressed
from openbourse.operator.rehearsals.facts import DiskFacts
from openbourse.operator.rehearsals.processes import NotDone
from openbourse.operator.rehearsals.proofs import WAITED_MS, disk_problem
from openbourse.operator.rehearsals.scenarios import SLOW_WRITES

pytestmark = pytest.mark.server

LOG = Path(__file__).parents[1] / "kernel" / "version_1" / "00000000000000000001.wal.gz"
SLEEPS = "import time; print('up', flush=True); time.sleep(60)"


# As an engine writes: a small record, made durable, and again. It says how long each took, in microseconds.
WRITES = """
import os, time
file = os.open("/var/lib/openbourse/wal/log", os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(1 << 20), 0); os.fsync(file)
print("up", flush=True)
for number in range(60_000):
    os.pwrite(file, b"x" * 512, number * 512 % (1 << 20))
    began = time.monotonic_ns()
    os.fdatasync(file)
    print(time.time_ns() // 1000, (time.monotonic_ns() - began) // 1000, flush=True)
    time.sleep(0.005)
"""
BLKIO = Path("/sys/fs/cgroup/blkio")


@contextmanager
def up(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that has said so."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


@contextmanager
def pod(folder: Path, log: Path | None = None, code: str = SLEEPS) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that is called as an engine is; its /etc/hosts comes from the folder of its pod, its log from another.

    `code`: what it does; it prints "up" first.
    """
    uid = str(uuid.uuid4())
    source = folder / "pods" / uid / "etc-hosts"
    source.parent.mkdir(parents=True)
    source.touch()
    script = 'mount --bind "$0" /etc/hosts && mount -t tmpfs none /var/lib && mkdir -p /var/lib/openbourse/wal'
    script += ' && mount --bind "$2" /var/lib/openbourse/wal'
    script += ' && cp "$1" /var/lib/openbourse/wal/ && shift 2 && exec "$@" openbourse.engine'
    volume = folder / "volume"
    volume.mkdir()
    files = [str(each) for each in (source, log or source, volume)]
    with up(["unshare", "-m", "-n", "sh", "-c", script, *files, sys.executable, "-c", code]) as process:
        yield uid, process


@contextmanager
def of_the_node(folder: Path, uid: str) -> Iterator[subprocess.Popen[str]]:
    """A process that sees what the kubelet mounts for the pod: a volume, and a part of one."""
    script = 'cd "$0" && mkdir -p volumes/tls volume-subpaths/a && mount -t tmpfs none volumes/tls'
    script += ' && mkdir volumes/tls/a && mount --bind volumes/tls/a volume-subpaths/a && exec "$@" openbourse.engine'
    words = ["unshare", "-m", "sh", "-c", script, str(folder / "pods" / uid), sys.executable, "-c", SLEEPS]
    with up(words) as process:
        assert f"/pods/{uid}/" in Path(f"/proc/{process.pid}/mountinfo").read_text()
        yield process


def command(deed: str, uid: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "openbourse.operator.rehearsals.node", deed, "--pod", "p-0", "--uid", uid, *options]


def node(deed: str, uid: str, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(command(deed, uid, *options), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def state(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_kill_is_seen_when_the_process_is_gone(tmp_path: Path) -> None:
    with pod(tmp_path) as (uid, process):
        struck_before_us = time.time_ns() // 1000
        with subprocess.Popen(command("kill", uid), stdout=subprocess.PIPE, text=True) as deed:
            assert process.wait(30) == -9
            assert deed.stdout is not None
            struck, bite = (json.loads(line) for line in deed.stdout)
    assert struck["struck_us"] >= struck_before_us
    assert (bite["deed"], bite["gone"], bite["problem"], bite["pid"]) == ("kill", True, "", process.pid)


def test_a_freeze_is_seen_at_every_look_and_taken_away(tmp_path: Path) -> None:
    with pod(tmp_path) as (uid, process):
        _, bite = node("freeze", uid, "--seconds", "1")
        assert state(process) == "S"
    assert bite["looks"] == bite["stopped"] >= 5
    assert bite["lifted"]


def test_a_freeze_whose_pod_is_told_to_end_is_taken_away_at_once(tmp_path: Path) -> None:
    with pod(tmp_path) as (uid, process):
        with subprocess.Popen(command("freeze", uid, "--seconds", "50"), stdout=subprocess.PIPE, text=True) as deed:
            assert deed.stdout is not None
            assert "struck_us" in deed.stdout.readline()
            deadline_s = time.monotonic() + 5
            while state(process) != "T":
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            deed.terminate()
            assert deed.wait(10) == 143
        assert state(process) == "S"


def test_no_other_process_is_touched_than_that_of_the_pod(tmp_path: Path) -> None:
    with pod(tmp_path) as (uid, process):
        assert uid
        done = subprocess.Popen(command("kill", str(uuid.uuid4())), stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(1)
            assert process.poll() is None
            assert done.poll() is None, "it looks for half a minute"
        finally:
            done.kill()
            done.communicate()


CALLS = """
import socket, sys, time
ends_s = time.monotonic() + float(sys.argv[1])
hearing = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hearing.bind(("127.0.0.2", 7002)); hearing.settimeout(0.05)
while time.monotonic() < ends_s:
    # Few enough lines for a pipe that is read at the end.
    time.sleep(0.05)
    # From the one that is cut off to itself, and from somebody else.
    for address, source in (("127.0.0.2", "127.0.0.2"), ("127.0.0.2", "127.0.0.9")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as calling:
            calling.bind((source, 0))
            try:
                calling.sendto(b"x", (address, 7002))
                hearing.recv(10)
                print(time.monotonic(), source, "heard", flush=True)
            except OSError:
                print(time.monotonic(), source, "nothing", flush=True)
"""


@pytest.mark.alone
def test_a_cut_drops_counts_and_ends_and_when_its_pod_is_killed_the_kernel_ends_it(tmp_path: Path) -> None:
    with pod(tmp_path) as (uid, process):
        network = ["nsenter", f"--net=/proc/{process.pid}/ns/net"]
        subprocess.run([*network, "ip", "link", "set", "lo", "up"], check=True, timeout=10)
        with subprocess.Popen(
            [*network, sys.executable, "-c", CALLS, "14"], stdout=subprocess.PIPE, text=True
        ) as calls:
            struck, bite = node("cut", uid, "--seconds", "2", "--address", "standby=127.0.0.2")
            assert (bite["problem"], bite["deed"], bite["lifted"]) == ("", "cut", True)
            assert bite["dropped"]["standby"] > 0
            options = ("--seconds", "2", "--address", "api-server=127.0.0.2")
            with subprocess.Popen(command("cut", uid, *options), stdout=subprocess.PIPE, text=True) as dies:
                assert dies.stdout is not None
                assert "struck_us" in dies.stdout.readline()
                dies.kill()
            left = subprocess.run([*network, "nft", "list", "tables"], capture_output=True, text=True, check=True)
            assert "openbourse_rehearsal" in left.stdout, "nobody took it away"
            killed_s = time.monotonic()
            heard = [line.split() for line in calls.communicate(timeout=30)[0].splitlines()]
    assert struck["struck_us"]
    times = [(float(at), what) for at, _, what in heard]
    silent = [at for at, what in times if what == "nothing"]
    assert silent, "it was cut off"
    assert times[0][1] == "heard"
    assert any(what == "heard" for at, what in times if at > killed_s + 2.5), "the kernel forgot the address"
    assert all(at < killed_s + 2.5 for at in silent)


@pytest.fixture
def container() -> Iterator[Path]:
    """A cgroup as a container has it, which the kernel may make slow."""
    if not BLKIO.is_dir() or not os.access(BLKIO, os.W_OK):
        pytest.skip("NOT RUN: needs version 1 of cgroups with blkio; on version 2 the cluster's test shows it")
    folder = BLKIO / f"openbourse-test-{uuid.uuid4()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        deadline_s = time.monotonic() + 10
        while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        folder.rmdir()


def limits(container: Path) -> str:
    return (container / "blkio.throttle.write_iops_device").read_text().strip()


def test_a_disk_is_slow_for_one_container_and_for_a_time(tmp_path: Path, container: Path) -> None:
    with pod(tmp_path, code=WRITES) as (uid, process):
        (container / "cgroup.procs").write_text(str(process.pid))
        struck, bite = node("slow", uid, "--seconds", "3", "--writes", "20")
        assert limits(container) == ""
        time.sleep(0.5)
        process.kill()
        assert process.stdout is not None
        waits = [tuple(map(int, line.split())) for line in process.stdout.read().splitlines()]
    assert (bite["problem"], bite["lifted"]) == ("", True)
    assert bite["looks"] == bite["seen"] >= 20
    # The first second's worth may come at once.
    assert 20 <= bite["writes"] <= 20 * 5
    ended_us = struck["struck_us"] + 3_000_000
    during = [took for at, took in waits if struck["struck_us"] + 1_000_000 < at < ended_us]
    after = [took for at, took in waits if at > ended_us + 300_000]
    assert min(during) > 40_000, "20 writes a second are one in 50 ms"
    assert sorted(after)[len(after) // 2] < 40_000
    assert os.access(tmp_path, os.W_OK)


@pytest.mark.timeout(180)
async def test_an_engine_whose_disk_is_slow_says_so_and_leads_on(
    pair: RunningShard, container: Path, tmp_path: Path, show: Show
) -> None:
    """What is the proof of SlowDisk, by an engine that is real; a sync of a second would be a reason to hand over."""
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    assert leader.process is not None
    (container / "cgroup.procs").write_text(str(leader.process.pid))

    async def looked(seconds: float) -> DiskFacts:
        waits, ends_s = [], time.monotonic() + seconds
        while time.monotonic() < ends_s:
            status = await asyncio.to_thread(leader.status)
            waits.append(int(status["disk"]["syncing_for_s"] * 1000))
            await asyncio.sleep(0.05)
        return DiskFacts(looks=len(waits), waited=sum(w >= WAITED_MS for w in waits), longest_ms=max(waits))

    async with under_load(pair) as load:
        before = await looked(2)
        with pressed(Brake(container, "v1", disk_of(tmp_path)), SLOW_WRITES):
            during = await looked(5)
        assert len(load.told) > 0
    show(f"a disk with {SLOW_WRITES} writes a second, of one engine: {during}, before {before}")
    assert disk_problem(before, during) == ""
    assert leader.status()["role"] == "leader"
    # It is stopped for that, and its container is empty.
    assert lost(load, leader) == []


def test_a_limit_ends_with_the_process_that_set_it_even_if_that_is_killed(tmp_path: Path, container: Path) -> None:
    with pod(tmp_path, code=WRITES) as (uid, process):
        (container / "cgroup.procs").write_text(str(process.pid))
        # With mounts of its own, as a pod has them: it leaves one.
        words = ["unshare", "-m", *command("slow", uid, "--seconds", "50")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as deed:
            assert deed.stdout is not None
            assert "struck_us" in deed.stdout.readline()
            assert limits(container) != ""
            deed.kill()
        deadline_s = time.monotonic() + 5
        while limits(container) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert limits(container) == ""


def test_what_lies_on_no_disk_cannot_be_made_slow(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="lies on no disk of this node"):
        disk_of(Path("/proc"))
    assert disk_of(tmp_path).count(":") == 1


def test_pods_are_kept_dead_whatever_is_started_in_them_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    with (
        pod(tmp_path / "a") as (uid, first),
        pod(tmp_path / "b") as (other, second),
        pod(tmp_path / "c") as (_, bystander),
        of_the_node(tmp_path / "a", uid) as node_process,
    ):
        mounts = os.open(f"/proc/{first.pid}/ns/mnt", os.O_RDONLY)
        options = ("--also", f"p-1={other}", "--seconds", "4", "--address", "everybody=0.0.0.0/0")
        words = command("down", uid, *options, "--address", "everybody=::/0")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as deed:
            assert (first.wait(20), second.wait(20)) == (-9, -9)
            # As the kubelet starts it again: another process with the pod's mounts.
            again = ["nsenter", f"--mount=/proc/self/fd/{mounts}", sys.executable, "-c", SLEEPS]
            with subprocess.Popen(again, pass_fds=(mounts,), stdout=subprocess.DEVNULL) as started:
                assert started.wait(20) == -9
            assert deed.stdout is not None
            _, bite = (json.loads(line) for line in deed.stdout)
        os.close(mounts)
        assert bystander.poll() is None
        assert node_process.poll() is None
    assert (bite["problem"], bite["deed"], bite["gone"], bite["victims"]) == ("", "down", True, ["p-0", "p-1"])
    assert bite["kills"] == 3
    assert bite["looks"] > bite["seen"] >= bite["looks"] * 0.8


def test_whom_to_cut_off_has_to_be_said(tmp_path: Path) -> None:
    with pod(tmp_path) as (uid, process):
        (bite,) = node("cut", uid, "--seconds", "1")
        assert process.poll() is None
    assert "nobody is named who is to be cut off" in bite["problem"]


def test_a_log_is_read_through_the_process_that_has_it(tmp_path: Path) -> None:
    log = tmp_path / LOG.name.removesuffix(".gz")
    log.write_bytes(gzip.decompress(LOG.read_bytes()))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = ("--", "--symbol", "BTCUSDT", "--from", "5", "--names", "o-1")
    with pod(tmp_path, log) as (uid, _):
        done = subprocess.run(
            command("audit", uid, *options), capture_output=True, text=True, timeout=60, check=False, env=environment
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["first_seq"] == 5
