"""Leadership of a sole member: every boot leads a newer epoch than any before, whatever became of the file."""

import json
from pathlib import Path

import pytest

from openbourse.engine.arbiter import FILE, lead


def test_every_boot_leads_the_next_epoch_as_the_same_member(tmp_path: Path) -> None:
    first, second = lead(tmp_path, "main", 0), lead(tmp_path, "main", 1)
    assert (first.epoch, second.epoch) == (1, 2)
    assert first.member == second.member
    assert first.boot != second.boot
    assert second.in_sync == (second.member,)


def test_a_boot_that_wrote_nothing_to_the_log_has_used_its_epoch_too(tmp_path: Path) -> None:
    assert [lead(tmp_path, "main", 0).epoch for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"epoch": 3}',
        b'{"shard": "main", "epoch": "7", "member": "m", "boot": "b", "in_sync": []}',
        b'{"shard": "main", "epoch": true, "member": "m", "boot": "b", "in_sync": []}',
        b'{"shard": "main", "epoch": -7, "member": "m", "boot": "b", "in_sync": []}',
        b'{"shard": "other", "epoch": 9, "member": "m", "boot": "b", "in_sync": []}',
    ],
)
def test_a_record_that_cannot_be_read_is_replaced_above_the_log(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert lead(tmp_path, "main", 5).epoch == 6
    assert "new" in caplog.text
    assert lead(tmp_path, "main", 5).epoch == 7


def test_a_record_older_than_the_log_is_overtaken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lead(tmp_path, "main", 0)
    assert lead(tmp_path, "main", 8).epoch == 9
    assert "the log has epoch 8" in caplog.text


def test_a_write_that_was_cut_off_leaves_the_record_before_it(tmp_path: Path) -> None:
    lead(tmp_path, "main", 0)
    (tmp_path / FILE).with_suffix(".tmp").write_text('{"epoch": 9')
    assert lead(tmp_path, "main", 0).epoch == 2
    assert json.loads((tmp_path / FILE).read_text())["epoch"] == 2
