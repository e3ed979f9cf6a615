"""Where consumers were, in a file beside the log: what cannot be read is no reason not to start."""

import logging
from pathlib import Path

import pytest

from openbourse.engine.journal import passed


def test_what_was_written_down_is_read(tmp_path: Path) -> None:
    assert passed.read(tmp_path) == {}
    for positions in ({"ledger": 7, "publisher": 0}, {"ledger": 8}):
        passed.write(tmp_path, positions)
        assert passed.read(tmp_path) == positions


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Expecting value"),
        ("[7]", "it is no object"),
        ('{"ledger": -1}', "-1 is no seq"),
        ('{"ledger": 1.5}', "1.5 is no seq"),
        ('{"ledger": true}', "True is no seq"),
        ('{"ledger": null}', "None is no seq"),
    ],
)
def test_what_cannot_be_read_counts_as_nothing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, why: str
) -> None:
    (tmp_path / passed.FILE).write_text(content)
    with caplog.at_level(logging.WARNING):
        assert passed.read(tmp_path) == {}
    assert why in caplog.text
    assert "consumers count as at 0" in caplog.text
