"""When one of the engines in a folder is told to make the shard: never when one may have led there before."""

from pathlib import Path

import pytest

from openbourse.cli.local_folder import is_new
from openbourse.engine.journal import volume


def make_volume(folder: Path, *, promise: int) -> None:
    folder.mkdir()
    made = volume.open_volume(folder, "main", 0)
    (folder / "00000000000000000001.wal").write_bytes(bytes(4096))
    if promise:
        volume.promise(folder, made, promise)


def test_an_empty_folder_is_new(tmp_path: Path) -> None:
    assert is_new(tmp_path)


def test_a_start_that_was_interrupted_before_anybody_led_leaves_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "leadership").mkdir()
    (tmp_path / "wal-1").mkdir()
    make_volume(tmp_path / "wal", promise=0)
    assert is_new(tmp_path)


def test_a_folder_with_a_record_is_not_new(tmp_path: Path) -> None:
    (tmp_path / "leadership").mkdir()
    (tmp_path / "leadership" / "record-00000000000000000001.json").write_text("{}")
    assert not is_new(tmp_path)


@pytest.mark.parametrize("member", ["wal", "wal-1"])
def test_a_folder_where_anybody_promised_an_epoch_is_not_new_though_its_record_is_lost(
    tmp_path: Path, member: str
) -> None:
    make_volume(tmp_path / member, promise=1)
    assert not is_new(tmp_path)


def test_a_log_without_its_member_and_a_damaged_member_may_have_led(tmp_path: Path) -> None:
    make_volume(tmp_path / "wal", promise=0)
    (tmp_path / "wal" / volume.FILE).write_text("{")
    assert not is_new(tmp_path)
    (tmp_path / "wal" / volume.FILE).unlink()
    assert not is_new(tmp_path)
