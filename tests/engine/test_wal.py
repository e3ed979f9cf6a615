"""`openbourse wal` on a log of several segments: beside a running engine, after a crash, and damaged."""

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.logs import CHECKPOINTS, COMMANDS, SEGMENT_BYTES, segments, sequence, write
from openbourse.cli import wal as command
from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.engine import _core
from openbourse.engine.journal import roots, snapshots, wal

HEADER_BYTES = 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "wal")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def places(segment: Path) -> list[tuple[int, int]]:
    """Where each record of a segment begins and ends, found by its magic and its end marker."""
    content, found, start = segment.read_bytes(), [], HEADER_BYTES
    while (end := content.find(b"OB-END\xfa\n", start)) >= 0:
        found.append((start, end + 8))
        start = end + 8
    return found


def seq_of(segment: Path, index: int) -> int:
    return int(segment.name[:20]) + index


def test_a_good_log_is_described(folder: Path) -> None:
    report = wal.verify(folder)
    assert (report.shard, report.records, report.first_seq, report.last_seq) == ("main", COMMANDS, 1, COMMANDS)
    assert len(report.segments) >= 3
    assert (report.first_epoch, report.last_epoch) == (3, 3)
    assert report.torn is None
    assert report.damaged is None
    shown = run("verify", folder)
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["chain"] == report.chain


def test_records_are_dumped_from_and_to_a_seq(folder: Path) -> None:
    shown = run("dump", folder, "--from", 22, "--to", 44)
    records = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [record["seq"] for record in records] == list(range(22, 45))
    assert records[0]["command"]["define_asset"] == {"asset": "A22", "scale": 8}
    assert records[0]["time_us"] == 1_000_022
    assert len(run("dump", folder).stdout.splitlines()) == COMMANDS


def test_the_chain_commits_to_everything_before(folder: Path) -> None:
    chains = [record["chain"] for record in wal.records(folder, 1, COMMANDS)]
    assert len(set(chains)) == COMMANDS
    assert wal.verify(folder).chain == chains[-1]


def flip_a_bit(segment: Path) -> tuple[int, int]:
    (start, _end) = places(segment)[3]
    content = bytearray(segment.read_bytes())
    content[start + 90] ^= 4
    segment.write_bytes(content)
    return seq_of(segment, 3), start


def remove_a_record(segment: Path) -> tuple[int, int]:
    (start, end) = places(segment)[3]
    content = segment.read_bytes()
    segment.write_bytes(content[:start] + content[end:] + bytes(end - start))
    return seq_of(segment, 3), start


def swap_two_records(segment: Path) -> tuple[int, int]:
    (first, second), (_, end) = places(segment)[3:5]
    content = segment.read_bytes()
    segment.write_bytes(content[:first] + content[second:end] + content[first:second] + content[end:])
    return seq_of(segment, 3), first


def cut_the_tail(segment: Path) -> tuple[int, int]:
    (start, end) = places(segment)[-1]
    segment.write_bytes(segment.read_bytes()[: end - 30])
    return seq_of(segment, len(places(segment))), start


def state_at(folder: Path, seq: int) -> dict[str, object]:
    """The state of a good log at a seq, as `replay` prints it."""
    state: dict[str, object] = json.loads(run("replay", folder, "--to", seq).stdout.splitlines()[-1])
    return state


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("damage", [flip_a_bit, remove_a_record, swap_two_records, cut_the_tail])
def test_the_first_bad_record_is_named(
    folder: Path, tmp_path: Path, damage: Callable[[Path], tuple[int, int]], at: int
) -> None:
    shutil.copytree(folder, tmp_path / "good")
    segment = segments(folder)[at]
    seq, offset = damage(segment)
    report = wal.verify(folder)
    assert report.last_seq == seq - 1
    assert report.damaged is not None
    assert (report.damaged.file, report.damaged.offset, report.damaged.seq) == (segment.name, offset, seq)
    shown = run("verify", folder)
    assert shown.exit_code == 1
    assert f"{segment.name} at offset {offset} (seq {seq})" in shown.stderr
    replayed = run("replay", folder)
    assert replayed.exit_code == 1
    assert json.loads(replayed.stdout.splitlines()[-1]) == state_at(tmp_path / "good", seq - 1)
    dumped = run("dump", folder)
    assert dumped.exit_code == 1
    assert [json.loads(line)["seq"] for line in dumped.stdout.splitlines()] == list(range(1, seq))
    with pytest.raises(_core.Fatal, match=rf"seq {seq}\b.*wal verify"):
        _core.Engine(folder, "main")


def test_a_segment_that_is_gone_is_named(folder: Path) -> None:
    segments(folder)[1].unlink()
    report = wal.verify(folder)
    assert report.damaged is not None
    assert report.damaged.file == segments(folder)[1].name
    assert "missing" in report.damaged.why


def test_a_torn_end_is_no_damage_and_is_named(folder: Path) -> None:
    segment = segments(folder)[-1]
    segment.write_bytes(segment.read_bytes().rstrip(b"\0")[:-20])
    report = wal.verify(folder)
    assert report.damaged is None
    assert report.torn is not None
    assert report.torn.seq == COMMANDS
    shown = run("verify", folder)
    assert shown.exit_code == 0
    assert f"(seq {COMMANDS})" in shown.stderr
    engine = _core.Engine(folder, "main", segment_bytes=SEGMENT_BYTES)
    assert engine.end_seq == COMMANDS - 1
    assert engine.cut is not None


def test_a_tail_cut_between_two_records_is_found_by_what_was_acknowledged(folder: Path) -> None:
    segment = segments(folder)[-1]
    (start, _end) = places(segment)[-1]
    segment.write_bytes(segment.read_bytes()[:start])
    assert run("verify", folder).exit_code == 0
    assert run("verify", folder, "--reaches", COMMANDS - 1).exit_code == 0
    shown = run("verify", folder, "--reaches", COMMANDS)
    assert shown.exit_code == 1
    assert f"good up to seq {COMMANDS - 1}" in shown.stderr


def test_every_byte_of_a_small_log_is_guarded(tmp_path: Path) -> None:
    folder = write(tmp_path / "wal", commands=3)
    (segment,) = segments(folder)
    content, records = segment.read_bytes(), places(segment)
    for at in (*range(128), *range(HEADER_BYTES, records[-1][1])):
        changed = bytearray(content)
        changed[at] ^= 0x20
        segment.write_bytes(changed)
        report = wal.verify(folder)
        assert report.damaged is not None, at
        assert report.damaged.seq == max((seq for seq, (start, _) in enumerate(records, 1) if start <= at), default=1)


def test_a_replay_shows_the_state_at_each_checkpoint_and_at_the_end(folder: Path) -> None:
    engine = _core.Engine(folder, "main", segment_bytes=SEGMENT_BYTES)
    shown = run("replay", folder)
    states = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [state["seq"] for state in states] == [*CHECKPOINTS, COMMANDS]
    engine.advance(COMMANDS, COMMANDS)
    seq, state_hash = engine.state_hash()
    assert states[-1] == {"seq": seq, "state_hash": state_hash.hex()}
    last = engine.last_checkpoint()
    assert last is not None
    assert states[2] == {"seq": last[0], "state_hash": last[1].hex()}
    part = run("replay", folder, "--to", 30).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in part] == [20, 30]


def test_a_replay_to_another_state_than_a_checkpoint_says_where(tmp_path: Path) -> None:
    folder = write(tmp_path / "wal", commands=20)
    engine = _core.Engine(folder, "main", segment_bytes=SEGMENT_BYTES)
    engine.lead(4)
    wrong = v1.Checkpoint(previous_seq=20, previous_state_hash=b"1" * 32)
    frame = encode(v1.ClientFrame(command=v1.Command(command_id=b"w" * 16, checkpoint=wrong)))
    engine.receive(_core.ITSELF, frame)
    with pytest.raises(_core.Fatal, match="diverged"):
        engine.begin(2_000_000)
    # What was submitted is written before the writer ends.
    del engine
    shown = run("replay", folder)
    assert shown.exit_code == 1
    assert "replay diverged: the checkpoint at seq 20" in shown.stderr
    assert json.loads(shown.stdout.splitlines()[0])["seq"] == 20


def test_two_logs_are_compared(folder: Path, tmp_path: Path) -> None:
    shorter = write(tmp_path / "shorter", commands=45)
    shown = run("diff", folder, shorter)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["last_common_seq"] == 45

    other = write(tmp_path / "other", odd=33)
    shown = run("diff", folder, other)
    assert shown.exit_code == 1
    found = json.loads(shown.stdout)
    assert (found["first_seq"], found["last_common_seq"], found["same_state"]) == (33, COMMANDS, False)
    assert set(found["fields"]) == {"chain", "command"}
    assert "differ from seq 33" in shown.stderr


def test_two_logs_that_differ_may_come_to_one_state(tmp_path: Path) -> None:
    folders = []
    for cause in ("this", "that"):
        folder = tmp_path / cause
        engine = _core.Engine(folder, "main")
        engine.lead(3)
        asset = v1.DefineAsset(asset="A", scale=8)
        sequence(engine, v1.Command(command_id=b"1" * 16, causation_id=cause, define_asset=asset))
        folders.append(folder)
    shown = run("diff", *folders)
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["fields"] == ["chain", "command"]
    assert json.loads(shown.stdout)["same_state"] is True


@pytest.fixture
def recycled(folder: Path, tmp_path: Path) -> Path:
    """A copy of the log, with snapshots of seq 25 and 50, that lost what is before the older one."""
    copy = tmp_path / "recycled"
    shutil.copytree(folder, copy)
    roots.sign_finished(copy, roots.FileKey.load(tmp_path / "signing-key.pem"), 2**63)
    for seq in (25, 50):
        snapshots.make(copy, "main", seq)
    assert _core.retain(copy, 26)
    assert 1 < wal.verify(copy).first_seq <= 26
    return copy


def states(shown: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_a_log_without_its_beginning_is_replayed_from_a_snapshot(folder: Path, recycled: Path) -> None:
    shown = run("replay", recycled)
    assert shown.exit_code == 0, shown.output
    assert "its first segments are recycled: from the snapshot of seq 50 on" in shown.stderr
    assert states(shown) == states(run("replay", folder))[-2:]
    part = run("replay", recycled, "--to", 45)
    assert "from the snapshot of seq 25 on" in part.stderr
    assert states(part) == states(run("replay", folder, "--to", 45))[-2:]
    assert states(run("replay", recycled, "--to", 25)) == states(run("replay", folder, "--to", 25))[-1:]
    assert json.loads(run("verify", recycled).stdout)["snapshot_seq"] == 50
    # The one from the beginning meets every checkpoint, whatever snapshots there are.
    snapshots.make(folder, "main", 50)
    assert [state["seq"] for state in states(run("replay", folder))] == [*CHECKPOINTS, COMMANDS]


def test_a_bad_snapshot_is_passed_over_and_without_any_the_log_is_said_to_be_lost(recycled: Path) -> None:
    newest, older = (recycled / f"{seq:020}.snapshot" for seq in (50, 25))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    shown = run("replay", recycled)
    assert shown.exit_code == 0
    assert "from the snapshot of seq 25 on" in shown.stderr
    assert json.loads(run("verify", recycled).stdout)["snapshot_seq"] == 25
    early = run("replay", recycled, "--to", 24)
    assert early.exit_code == 1
    assert "to come to seq 24 takes a good snapshot" in early.stderr
    older.unlink()
    shown = run("verify", recycled)
    assert shown.exit_code == 1
    assert "no engine starts on it" in shown.stderr
    assert "and there is none" in shown.stderr


def test_logs_without_their_beginnings_are_compared_where_both_have_records(recycled: Path, tmp_path: Path) -> None:
    same = run("diff", recycled, write(tmp_path / "same"))
    assert same.exit_code == 0, same.output
    assert json.loads(same.stdout)["from_seq"] == wal.verify(recycled).first_seq
    other = run("diff", recycled, write(tmp_path / "other", odd=33))
    assert other.exit_code == 1
    assert json.loads(other.stdout)["first_seq"] == 33
    assert json.loads(other.stdout)["same_state"] is False
    assert f"{recycled}: its first segments are recycled: from the snapshot of seq 50 on" in other.stderr
    for seq in (25, 50):
        (recycled / f"{seq:020}.snapshot").unlink()
    lost = run("diff", recycled, tmp_path / "other")
    assert json.loads(lost.stdout)["same_state"] is None
    assert "states unknown here: the log in" in lost.stderr


def test_wrong_calls_end_with_2_and_what_cannot_be_read_with_1(folder: Path, tmp_path: Path) -> None:
    assert run("verify", tmp_path / "nowhere").exit_code == 2
    assert run("dump", folder, "--from", 0).exit_code == 2
    assert run("verify", folder, "--key", segments(folder)[0]).exit_code == 2
    (folder / "00000000000000009999.wal").mkdir()
    shown = run("verify", folder)
    assert shown.exit_code == 1
    assert "00000000000000009999.wal" in shown.stderr
    assert "Traceback" not in shown.output


@pytest.mark.parametrize("name", ["verify", "dump", "replay", "diff"])
def test_each_command_has_an_example_in_its_help(name: str) -> None:
    assert f"Example: openbourse wal {name}" in " ".join(run(name, "--help").output.split())


def test_a_log_is_good_at_every_look_while_an_engine_writes_it(tmp_path: Path) -> None:
    engine = _core.Engine(tmp_path, "main", segment_bytes=SEGMENT_BYTES)
    engine.lead(1)
    stop = threading.Event()

    def write_on() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            asset = v1.DefineAsset(asset=f"A{number}", scale=8)
            sequence(engine, v1.Command(command_id=number.to_bytes(16), define_asset=asset))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        try:
            seqs = [0]
            while seqs[-1] < 300:
                report = wal.verify(tmp_path)
                assert report.damaged is None
                assert len(list(wal.records(tmp_path, 1, report.last_seq))) == report.last_seq
                seqs.append(report.last_seq)
        finally:
            stop.set()
        writing.result()
    assert seqs == sorted(seqs)
    assert len(set(seqs)) > 5


def test_one_folder_is_one_engines_alone(folder: Path) -> None:
    engine = _core.Engine(folder, "main")
    with pytest.raises(_core.Fatal, match="in use"):
        _core.Engine(folder, "main")
    # The commands read beside it.
    assert run("verify", folder).exit_code == 0
    del engine
    assert _core.Engine(folder, "main").end_seq == COMMANDS
