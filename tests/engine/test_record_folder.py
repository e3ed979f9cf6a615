"""The leadership record in a folder: one writer of each version, whoever is killed or stopped on the way."""

import asyncio
import contextlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from openbourse.contracts import durable
from openbourse.engine.arbiters.arbiter import NotUnderstood, Unreachable
from openbourse.engine.arbiters.record_folder import CALLS_AT_ONCE_MAX, KEPT, RecordFolder
from openbourse.engine.replication.inputs import Conflicted, Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held, Record, Session

SEED = 20261128
# Takes over as often as it can, and says what it won: expected version, epoch, version.
RACER = """
import asyncio, sys
from pathlib import Path
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.replication.inputs import Succeeded
from openbourse.engine.replication.record import CompareAndSet, Record, Session

async def main(folder, me):
    arbiter = RecordFolder(Path(folder), "main")
    while True:
        held = await arbiter.read()
        epoch = held.record.epoch + 1 if held else 1
        ask = CompareAndSet(held.version if held else None, Record(epoch, Session(me, "b"), frozenset({me})))
        outcome = await arbiter.compare_and_set(ask)
        if isinstance(outcome, Succeeded):
            print(ask.expected, epoch, outcome.version, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def record(epoch: int, leader: str | None = "a", in_sync: str = "a") -> Record:
    return Record(epoch, Session(leader, "b1") if leader else None, frozenset(in_sync))


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
def arbiter(tmp_path: Path) -> RecordFolder:
    return RecordFolder(tmp_path, "main")


async def write(arbiter: RecordFolder, expected: str | None, written: Record) -> str:
    outcome = await arbiter.compare_and_set(CompareAndSet(expected, written))
    assert isinstance(outcome, Succeeded)
    return outcome.version


async def test_what_was_written_is_read_with_its_version(arbiter: RecordFolder) -> None:
    assert await arbiter.read() is None
    version = None
    for written in [record(1), record(1, in_sync="abc"), record(2, None, "b"), record(2**62, "c", "c")]:
        version = await write(arbiter, version, written)
        assert await arbiter.read() == Held(written, version)


async def test_only_the_version_that_is_there_can_be_replaced(arbiter: RecordFolder) -> None:
    first = await write(arbiter, None, record(1))
    second = await write(arbiter, first, record(2))
    for expected in (None, first, "", "7", "2-0000000000000000", f"{second}0"):
        ask = CompareAndSet(expected, record(9))
        assert await arbiter.compare_and_set(ask) == Conflicted(ask)
    assert await arbiter.read() == Held(record(2), second)


async def test_a_version_never_comes_back_not_even_in_a_folder_that_was_emptied(
    arbiter: RecordFolder, tmp_path: Path
) -> None:
    versions = []
    for _ in range(3):
        version = None
        for _ in range(3):
            version = await write(arbiter, version, record(1))
            versions.append(version)
        for path in files(tmp_path):
            path.unlink()
    assert len(set(versions)) == 9


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"shard": "main"}',
        b'{"shard": "other", "epoch": 1, "leader": "a/b", "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": 0, "leader": "a/b", "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": true, "leader": "a/b", "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": 1.5, "leader": "a/b", "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": 1, "leader": "a", "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": 1, "leader": "", "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": 1, "leader": 7, "in_sync": ["a"]}',
        b'{"shard": "main", "epoch": 1, "leader": "a/b", "in_sync": "a"}',
        b'{"shard": "main", "epoch": 1, "leader": "a/b", "in_sync": []}',
        b'{"shard": "main", "epoch": 1, "leader": "a/b", "in_sync": [1]}',
        b'{"shard": "main", "epoch": 1, "leader": "a/b", "in_sync": ["a,b"]}',
    ],
)
async def test_a_damaged_record_is_never_replaced_but_by_a_recovery(
    arbiter: RecordFolder, tmp_path: Path, content: bytes
) -> None:
    good = await write(arbiter, await write(arbiter, None, record(1)), record(2))
    damaged = tmp_path / f"record-{2:020}.json"
    damaged.write_bytes(content)
    with pytest.raises(NotUnderstood, match=rf"{damaged.name} is damaged .*recover the shard") as found:
        await arbiter.read()
    for expected in (None, good):
        ask = CompareAndSet(expected, record(3))
        assert await arbiter.compare_and_set(ask) == Conflicted(ask)
    assert damaged.read_bytes() == content
    recovered = await write(arbiter, found.value.version, record(9, None))
    assert await arbiter.read() == Held(record(9, None), recovered)


async def test_an_edited_record_is_another_version(arbiter: RecordFolder, tmp_path: Path) -> None:
    version = await write(arbiter, None, record(1))
    path = tmp_path / f"record-{1:020}.json"
    path.write_text(path.read_text().replace('"a/b1"', '"a/b2"'))
    held = await arbiter.read()
    assert held is not None
    assert held.record.leader == Session("a", "b2")
    assert held.version != version


async def test_a_folder_that_is_not_there_is_no_shard_without_a_record(tmp_path: Path) -> None:
    arbiter = RecordFolder(tmp_path / "unmounted", "main")
    with pytest.raises(Unreachable, match="unmounted"):
        await arbiter.read()
    with pytest.raises(Unreachable, match="unmounted"):
        await arbiter.compare_and_set(CompareAndSet(None, record(1)))


async def test_a_file_system_that_hangs_is_a_time_out(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to hangs, as a disk may."""
    os.mkfifo(tmp_path / f"record-{1:020}.json")
    arbiter = RecordFolder(tmp_path, "main", timeout_s=0.05)
    for _ in range(CALLS_AT_ONCE_MAX):
        with pytest.raises(Unreachable, match="no answer within"):
            await arbiter.read()
    with pytest.raises(Unreachable, match="8 earlier calls are not answered"):
        await arbiter.read()
    # Lets the threads go.
    os.close(os.open(tmp_path / f"record-{1:020}.json", os.O_WRONLY))


async def test_a_writer_that_slept_through_many_writes_does_not_believe_that_it_won(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped where it has looked and not written yet. When it goes on, its number was used and removed."""
    arbiter = RecordFolder(tmp_path, "main")
    version = await write(arbiter, None, record(1))
    others: list[str] = [version]
    write_new = durable.write_new

    def slept(path: Path, content: bytes, mode: int) -> None:
        monkeypatch.setattr(durable, "write_new", write_new)
        for epoch in range(2, 3 * KEPT):
            outcome = RecordFolder(tmp_path, "main")._compare_and_set(CompareAndSet(others[-1], record(epoch)))
            assert isinstance(outcome, Succeeded)
            others.append(outcome.version)
        write_new(path, content, mode)

    monkeypatch.setattr(durable, "write_new", slept)
    with pytest.raises(Unreachable, match="others wrote while"):
        await arbiter.compare_and_set(CompareAndSet(version, record(999)))
    assert await arbiter.read() == Held(record(3 * KEPT - 1), others[-1])
    await write(arbiter, others[-1], record(1000))
    assert len(files(tmp_path)) == KEPT


def test_of_many_processes_one_wins_each_version_whoever_is_killed_or_stopped(tmp_path: Path) -> None:
    """Racers that take over all the time, killed and stopped at random moments, four at a time."""
    chance = random.Random(SEED)  # noqa: S311
    folder = tmp_path / "record"
    folder.mkdir()
    logs: list[Path] = []
    racers: list[subprocess.Popen[bytes]] = []
    watched: list[Held] = []

    def start() -> subprocess.Popen[bytes]:
        logs.append(tmp_path / f"{len(logs)}.log")
        with logs[-1].open("wb") as output:
            command = [sys.executable, "-c", RACER, str(folder), f"m{len(logs)}"]
            return subprocess.Popen(command, stdout=output)

    def look() -> Held | None:
        held = asyncio.run(RecordFolder(folder, "main").read())
        if held is not None:
            watched.append(held)
        return held

    kills = stops = 0
    try:
        racers = [start() for _ in range(4)]
        deadline = time.monotonic() + 60
        while look() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(50):
            time.sleep(chance.uniform(0.0, 0.1))
            index = chance.randrange(len(racers))
            if chance.random() < 0.5:
                racers[index].kill()
                racers[index].wait(10)
                racers[index] = start()
                kills += 1
            else:
                racers[index].send_signal(signal.SIGSTOP)
                before = watched[-1].record.epoch
                deadline = time.monotonic() + 20
                while (held := look()) is None or held.record.epoch < before + 2:
                    assert time.monotonic() < deadline, "somebody who is stopped keeps the others waiting"
                racers[index].send_signal(signal.SIGCONT)
                stops += 1
            look()
    finally:
        for racer in racers:
            racer.kill()
            racer.wait(10)
    last = look()
    assert last is not None
    won = [line.split() for log in logs for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert Counter(Counter(expected for expected, _, _ in won).values()).keys() == {1}
    assert Counter(Counter(epoch for _, epoch, _ in won).values()).keys() == {1}
    epochs = {int(epoch): version for _, epoch, version in won}
    # Of those that were killed, each may have won once without saying so.
    assert max(epochs) <= last.record.epoch <= len(epochs) + kills + 4
    assert [held.record.epoch for held in watched] == sorted(held.record.epoch for held in watched)
    assert all(epochs.get(held.record.epoch, held.version) == held.version for held in watched)
    assert kills > 10
    assert stops > 10


async def test_a_write_is_synced_before_it_can_be_read_and_what_is_read_before_it_is_told(
    arbiter: RecordFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each sync was of, and how many records there were to be read."""
    syncs: list[tuple[str, int]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        what = "names" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content"
        syncs.append((what, len(list(tmp_path.glob("record-*")))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    await write(arbiter, None, record(1))
    assert syncs == [("content", 0), ("names", 1)]
    await arbiter.read()
    assert syncs[2:] == [("names", 1)]


async def test_what_a_killed_writer_left_is_removed_later(arbiter: RecordFolder, tmp_path: Path) -> None:
    fresh, old = tmp_path / f"new-{'0' * 16}.tmp", tmp_path / f"new-{'1' * 16}.tmp"
    fresh.write_text('{"epoch": 9')
    old.write_text('{"epoch": 9')
    other = tmp_path / "notes.txt"
    other.write_text("a person's")
    os.utime(old, (0, 0))
    await write(arbiter, None, record(1))
    assert (fresh.exists(), old.exists(), other.exists()) == (True, False, True)


async def test_the_file_reads_as_what_it_says(arbiter: RecordFolder, tmp_path: Path) -> None:
    await write(arbiter, None, record(7, "a", "ba"))
    document = json.loads((tmp_path / f"record-{1:020}.json").read_text())
    with contextlib.suppress(KeyError):
        del document["write"]
    assert document == {"shard": "main", "epoch": 7, "leader": "a/b1", "in_sync": ["a", "b"]}
