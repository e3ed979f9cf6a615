"""`openbourse wal` on a log: beside a running engine, after a crash, and damaged."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openbourse.cli import wal as command
from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.engine import _core, wal

COMMANDS = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of COMMANDS commands, each synced alone."""
    engine = _core.Engine(tmp_path, "main")
    engine.lead(3)
    for number in range(COMMANDS):
        asset = v1.DefineAsset(asset=f"A{number}", scale=8)
        frame = encode(v1.ClientFrame(command=v1.Command(command_id=bytes([number] * 16), define_asset=asset)))
        assert engine.receive(_core.ITSELF, frame) is None
        assert engine.begin(1_000_000 + number) == 1
        while engine.collect() is None:
            pass
    return tmp_path


def test_a_good_log_is_described(folder: Path) -> None:
    report = wal.verify(folder)
    assert (report.shard, report.records, report.last_seq) == ("main", COMMANDS, COMMANDS)
    assert (report.first_epoch, report.last_epoch) == (3, 3)
    assert report.torn is None
    assert report.damaged is None
    shown = CliRunner().invoke(command.app, ["verify", str(folder)])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["chain"] == report.chain


def test_records_are_shown_from_and_to_a_seq(folder: Path) -> None:
    shown = CliRunner().invoke(command.app, ["show", str(folder), "--from", "2", "--to", "4"])
    records = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [record["seq"] for record in records] == [2, 3, 4]
    assert records[0]["command"]["define_asset"] == {"asset": "A1", "scale": 8}
    assert records[0]["time_us"] == 1_000_001


def test_the_chain_commits_to_everything_before(folder: Path) -> None:
    chains = [record["chain"] for record in wal.records(folder, 1, COMMANDS)]
    assert len(set(chains)) == COMMANDS
    assert wal.verify(folder).chain == chains[-1]


def test_damage_is_named_with_its_place_and_the_exit_code_says_so(folder: Path) -> None:
    (segment,) = folder.glob("*.wal")
    content = bytearray(segment.read_bytes())
    second = 4096 + content[4096:].index(b"OB-END") + 8
    content[second + 90] ^= 1
    segment.write_bytes(content)
    report = wal.verify(folder)
    assert report.last_seq == 1
    assert report.damaged is not None
    assert (report.damaged.file, report.damaged.offset, report.damaged.seq) == (segment.name, second, 2)
    shown = CliRunner().invoke(command.app, ["verify", str(folder)])
    assert shown.exit_code == 1
    shown = CliRunner().invoke(command.app, ["show", str(folder)])
    assert shown.exit_code == 1
    assert [json.loads(line)["seq"] for line in shown.stdout.splitlines() if line.startswith("{")] == [1]
    with pytest.raises(_core.Fatal, match=r"seq 2.*wal verify"):
        _core.Engine(folder, "main")


def test_a_torn_end_is_no_damage(folder: Path) -> None:
    (segment,) = folder.glob("*.wal")
    segment.write_bytes(segment.read_bytes().rstrip(b"\0")[:-20])
    report = wal.verify(folder)
    assert report.damaged is None
    assert report.torn is not None
    assert report.torn.seq == COMMANDS
    engine = _core.Engine(folder, "main")
    assert engine.committed_seq == COMMANDS - 1
    assert engine.cut is not None


def test_one_folder_is_one_engines_alone(folder: Path) -> None:
    engine = _core.Engine(folder, "main")
    with pytest.raises(_core.Fatal, match="in use"):
        _core.Engine(folder, "main")
    del engine
    assert _core.Engine(folder, "main").committed_seq == COMMANDS
