"""A log that version 1 of the kernel wrote still gives what it gave then.

`version_1/` was recorded by the engine before there was a version 2: three epochs of the twin's workload with a
checkpoint now and then. Never record it again: it is worth something because it is old.
"""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from openbourse.engine._core import Kernel, Records, verify

RECORDED = Path(__file__).parent / "version_1"


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    for segment in RECORDED.glob("*.wal.gz"):
        (tmp_path / segment.stem).write_bytes(gzip.decompress(segment.read_bytes()))
    return tmp_path


def test_a_log_of_version_1_gives_the_same_states_and_bytes(wal: Path) -> None:
    expected = json.loads((RECORDED / "expected.json").read_text())
    states = {state["seq"]: state["state_hash"] for state in expected["states"]}
    last_seq = max(states)
    assert verify(wal, "main").last_seq == last_seq

    kernel, said, reached = Kernel("main"), hashlib.sha256(), {}
    for seq, epoch, time_us, _, _, command in Records(wal, 1, last_seq):
        reply, events = kernel.step(seq, epoch, time_us, command)
        said.update(reply + events)
        if seq in states:
            reached[seq] = kernel.state_hash().hex()
    assert reached == states
    assert said.hexdigest() == expected["replies_and_events_sha256"]
