"""Signed roots of segments: made once, checked against the log, and not to be had without the key."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fixtures.logs import SEGMENT_BYTES, segments, write
from openbourse.cli import wal as command
from openbourse.engine import _core
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import roots, wal

EVERYTHING = 2**63


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "key.pem"


@pytest.fixture
def folder(tmp_path: Path, key: Path) -> Path:
    """A log whose finished segments are signed."""
    folder = write(tmp_path / "wal")
    signed = roots.sign_finished(folder, roots.FileKey.load(key), EVERYTHING)
    assert signed == [segment.name for segment in segments(folder)[:-1]]
    assert len(signed) >= 2
    return folder


def check(folder: Path, key: Path) -> tuple[int, str]:
    """What `openbourse wal verify --key` says: its exit code and its complaints."""
    shown = CliRunner().invoke(command.app, ["verify", str(folder), "--key", f"{key}.pub"])
    return shown.exit_code, shown.stderr


def test_a_signed_log_is_good(folder: Path, key: Path) -> None:
    assert check(folder, key) == (0, "")
    checked = roots.check(folder, roots.public_key(key.with_name("key.pem.pub")))
    assert checked == roots.Checked(len(segments(folder)) - 1, (), ())
    assert roots.sign_finished(folder, roots.FileKey.load(key), EVERYTHING) == []


def test_what_a_new_leader_may_still_cut_is_not_signed(tmp_path: Path, key: Path) -> None:
    folder = write(tmp_path / "wal")
    first, second = (int(path.stem) for path in segments(folder)[1:3])
    assert roots.sign_finished(folder, roots.FileKey.load(key), first - 2) == []
    assert roots.sign_finished(folder, roots.FileKey.load(key), first - 1) == [segments(folder)[0].name]
    assert roots.sign_finished(folder, roots.FileKey.load(key), second - 2) == []


def test_history_written_anew_with_good_chains_is_found(folder: Path, key: Path, tmp_path: Path) -> None:
    forged = write(tmp_path / "forged", odd=5)
    for segment in segments(forged):
        shutil.copy(segment, folder / segment.name)
    assert wal.verify(folder).damaged is None
    code, complaints = check(folder, key)
    assert code == 1
    assert f"{segments(folder)[0].name}.sig: the segment is not the one that was signed: chain, sha256" in complaints


def test_a_changed_signature_root_or_key_is_found(folder: Path, key: Path, tmp_path: Path) -> None:
    path = folder / f"{segments(folder)[0].name}.sig"
    good = path.read_text()
    document = json.loads(good)
    changes: list[dict[str, object]] = [
        {"signature": "00" * 64},
        {"signature": document["signature"][:-2]},
        {"root": document["root"] | {"records": document["root"]["records"] + 1}},
        {"root": {}},
        {"key": "0123456789abcdef"},
    ]
    for change in changes:
        path.write_text(json.dumps(document | change))
        code, complaints = check(folder, key)
        assert (code, complaints.startswith(f"signature: {path.name}")) == (1, True), complaints
    path.write_text("no JSON")
    assert check(folder, key)[0] == 1
    path.write_text(good)
    assert check(folder, key)[0] == 0
    other = tmp_path / "other.pem"
    roots.FileKey.load(other)
    code, complaints = check(folder, other)
    assert code == 1
    assert "is signed by key" in complaints


def test_a_segment_without_its_root_is_named_unless_it_was_finished_last(folder: Path, key: Path) -> None:
    first, *_, newest = roots.finished(folder)
    (folder / f"{newest}.sig").unlink()
    assert check(folder, key)[0] == 0
    (folder / f"{first}.sig").unlink()
    code, complaints = check(folder, key)
    assert (code, complaints) == (1, f"not signed: {first}\n")


def test_a_root_moved_to_another_segment_is_found(folder: Path, key: Path) -> None:
    first, second, *_ = roots.finished(folder)
    shutil.copy(folder / f"{first}.sig", folder / f"{second}.sig")
    code, complaints = check(folder, key)
    assert code == 1
    assert f"{second}.sig: it is the root of a segment that begins at seq 1" in complaints


def test_roots_outlive_their_segments_and_join_the_rest_of_the_log(folder: Path, key: Path) -> None:
    before = [segment.name for segment in segments(folder)]
    second = int(before[1][:20])
    assert _core.retain(folder, 1) == []
    assert _core.retain(folder, second - 1) == []
    assert _core.retain(folder, second) == before[:1]
    code, complaints = check(folder, key)
    assert (code, complaints.count("\n")) == (1, 1), "the roots are good; what is missing is a snapshot"
    assert "no engine starts on it" in complaints
    report = wal.verify(folder)
    assert (report.first_seq, report.damaged) == (second, None)
    with pytest.raises(Fatal, match=f"begins at seq {second}.*snapshot"):
        _core.Engine(folder, "main", segment_bytes=SEGMENT_BYTES)
    replayed = CliRunner().invoke(command.app, ["replay", str(folder)])
    assert replayed.exit_code == 1
    assert "snapshot" in replayed.stderr
    dumped = CliRunner().invoke(command.app, ["dump", str(folder)])
    assert json.loads(dumped.stdout.splitlines()[0])["seq"] == second


def test_an_unsigned_segment_is_not_recycled(tmp_path: Path) -> None:
    folder = write(tmp_path / "wal")
    assert _core.retain(folder, 1000) == []


def test_a_key_is_made_once_for_its_owner_alone_and_never_overwritten(key: Path) -> None:
    made = roots.FileKey.load(key)
    content = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert roots.FileKey.load(key).key_id == made.key_id == roots.key_id(roots.public_key(Path(f"{key}.pub")))
    assert key.read_bytes() == content
    key.write_text("no key")
    with pytest.raises(Fatal, match="no private key"):
        roots.FileKey.load(key)
    assert key.read_text() == "no key"
