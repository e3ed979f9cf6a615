"""A volume keeps its id and its promise; one that was copied without them is somebody else."""

import json
import os
import stat
from pathlib import Path

import pytest

from openbourse.engine.errors import Fatal
from openbourse.engine.journal.volume import FILE, Volume, open_volume, promise


def test_a_volume_keeps_its_member_and_what_it_promised(tmp_path: Path) -> None:
    made = open_volume(tmp_path, "main", 0)
    assert made.promise == 0
    promised = made
    for epoch in (1, 1, 7):
        promised = promise(tmp_path, promised, epoch)
        assert open_volume(tmp_path, "main", 3) == promised == Volume("main", made.member, epoch)


def test_a_promise_is_never_taken_back(tmp_path: Path) -> None:
    promised = promise(tmp_path, open_volume(tmp_path, "main", 0), 7)
    with pytest.raises(AssertionError, match="promised 7"):
        promise(tmp_path, promised, 6)
    assert open_volume(tmp_path, "main", 0).promise == 7


def test_every_new_volume_is_another_member(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(5)]
    for folder in folders:
        folder.mkdir()
    assert len({open_volume(folder, "main", 0).member for folder in folders}) == 5


def test_a_log_without_its_member_is_a_new_member_that_promised_what_the_log_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_volume(tmp_path, "main", 0)
    (tmp_path / FILE).unlink()
    second = open_volume(tmp_path, "main", 5)
    assert second.member != first.member
    assert second.promise == 5
    assert f"copied or restored, so it is now of the new member {second.member}" in caplog.text
    assert open_volume(tmp_path, "main", 5) == second


def test_a_write_that_was_cut_off_leaves_the_promise_before_it(tmp_path: Path) -> None:
    promised = promise(tmp_path, open_volume(tmp_path, "main", 0), 4)
    (tmp_path / f"{FILE}.tmp").write_text('{"shard": "ma')
    assert open_volume(tmp_path, "main", 0) == promised
    assert promise(tmp_path, promised, 5).promise == 5


def test_what_was_read_is_as_durable_as_what_was_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it may have died before its name was durable."""
    open_volume(tmp_path, "main", 0)
    syncs: list[bool] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        syncs.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    volume = open_volume(tmp_path, "main", 0)
    assert syncs == [True]
    promise(tmp_path, volume, 1)
    assert syncs == [True, False, True]


@pytest.mark.parametrize(
    "change",
    [
        None,
        b"",
        b"null",
        b"[]",
        b"\xff",
        {"shard": None},
        {"shard": 7},
        {"member": "me"},
        {"member": 7},
        {"promise": -1},
        {"promise": True},
        {"promise": "7"},
        {"promise": None},
    ],
)
def test_a_damaged_file_is_never_replaced_and_says_what_to_do(
    tmp_path: Path, change: dict[str, object] | bytes | None
) -> None:
    promise(tmp_path, open_volume(tmp_path, "main", 0), 4)
    path = tmp_path / FILE
    good = path.read_bytes()
    bad = change if isinstance(change, bytes) else json.dumps(json.loads(good) | (change or {})).encode()
    path.write_bytes(bad[:-3] if change is None else bad)
    before = path.read_bytes()
    with pytest.raises(Fatal, match=r"member\.json is damaged .*remove it, and the volume joins as a new member"):
        open_volume(tmp_path, "main", 0)
    assert path.read_bytes() == before


def test_a_volume_of_another_shard_is_refused(tmp_path: Path) -> None:
    open_volume(tmp_path, "main", 0)
    with pytest.raises(Fatal, match=r"is of shard main, not of other: .*wrong place"):
        open_volume(tmp_path, "other", 0)
