"""A volume that begins anew from a snapshot is, wherever the power goes, the old one or the new one, and whole."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fixtures.logs import COMMANDS, segments, write
from openbourse.engine import _core
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import epochs, renewal, snapshots, volume
from openbourse.engine.replication.history import History

SEQ = 40
HISTORY = History(((3, SEQ),))
STEPS_MOST = 40


class PowerCut(Exception):
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A leader's log, with a snapshot."""
    folder = write(tmp_path / "leader")
    snapshots.make(folder, "main", SEQ)
    return folder


@pytest.fixture
def prepared(tmp_path: Path, source: Path) -> Path:
    """A follower's volume, of another history, with the new one beside its log."""
    folder = write(tmp_path / "follower", commands=22, odd=3)
    snapshots.make(folder, "main", 20)
    old = volume.open_volume(folder, "main", 3)
    shutil.copy(source / f"{SEQ:020}.snapshot", renewal.begin(folder, SEQ))
    renewal.prepare(folder, old, HISTORY, None)
    volume.promise(folder, old, 7)
    return folder


def assert_new(folder: Path, old_member: str, source: Path) -> None:
    found = volume.open_volume(folder, "main", 3)
    assert found.member != old_member
    assert found.promise == 7
    core = _core.Engine(folder, "main")
    assert (core.end_seq, core.snapshot_seq, core.last_epoch) == (SEQ, SEQ, 3)
    assert core.chain == next(iter(_core.Records(source, SEQ, SEQ)))[4]
    assert epochs.read(folder, core.runs) == HISTORY
    # It goes on with what the leader has behind the snapshot.
    _, records = _core.Backlog(source, SEQ + 1).read(COMMANDS, 1 << 20)
    assert core.follow(records) == COMMANDS
    assert {path.name for path in folder.iterdir()} & {renewal.INCOMING, renewal.RENEWED, renewal.MOVING} == set()


def test_a_volume_begins_anew_and_keeps_what_it_promised(prepared: Path, source: Path) -> None:
    old_member = volume.open_volume(prepared, "main", 3).member
    renewal.adopt(prepared)
    renewal.finish(prepared, "main")
    assert_new(prepared, old_member, source)


def test_what_has_come_is_thrown_away_by_a_boot_before_it_is_adopted(prepared: Path) -> None:
    old = volume.open_volume(prepared, "main", 3)
    renewal.finish(prepared, "main")
    assert volume.open_volume(prepared, "main", 3) == old
    assert _core.Engine(prepared, "main").end_seq == 22


def test_wherever_the_power_goes_the_next_boot_finishes_it(
    prepared: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_member = volume.open_volume(prepared, "main", 3).member
    renewal.adopt(prepared)
    for step in range(STEPS_MOST):
        folder = tmp_path / f"cut-{step}"
        shutil.copytree(prepared, folder)
        with monkeypatch.context() as power:
            if not cut_after(step, power, partial(renewal.finish, folder, "main")):
                assert step > 8
                return
        renewal.finish(folder, "main")
        assert_new(folder, old_member, source)
    raise AssertionError(f"more than {STEPS_MOST} steps")


def cut_after(steps: int, power: pytest.MonkeyPatch, work: Callable[[], None]) -> bool:
    """Whether the power went before the work was done: after so many changes of the file system."""
    left = steps

    def counted(change: Any) -> Any:
        def changed(*args: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                raise PowerCut
            left -= 1
            return change(*args, **named)

        return changed

    for name in ("rename", "unlink", "rmdir"):
        power.setattr(Path, name, counted(getattr(Path, name)))
    try:
        work()
    except PowerCut:
        return True
    return False


def test_a_snapshot_that_is_bad_is_not_begun_with(tmp_path: Path, source: Path) -> None:
    folder = write(tmp_path / "follower", commands=22)
    old = volume.open_volume(folder, "main", 3)
    content = bytearray((source / f"{SEQ:020}.snapshot").read_bytes())
    content[300] ^= 1
    renewal.begin(folder, SEQ).write_bytes(content)
    with pytest.raises(Fatal, match="does not match its SHA-256"):
        renewal.prepare(folder, old, HISTORY, None)
    renewal.begin(folder, SEQ).write_bytes(bytes(100))
    with pytest.raises(Fatal, match="header is not whole"):
        renewal.prepare(folder, old, HISTORY, None)
    renewal.finish(folder, "main")
    assert json.loads((folder / volume.FILE).read_text())["member"] == old.member
    assert segments(folder)


def test_a_volume_that_somebody_uses_is_not_touched(prepared: Path) -> None:
    renewal.adopt(prepared)
    core = _core.Engine(prepared, "main")
    with pytest.raises(Fatal, match="another process uses"):
        renewal.finish(prepared, "main")
    assert core.end_seq == 22
