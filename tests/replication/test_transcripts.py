"""Golden transcripts: `transcripts/<what>.txt`, in the language of `stage`.

To write them anew: `REWRITE_TRANSCRIPTS=1 pytest tests/replication/test_transcripts.py`, and read the difference.
"""

import os
from pathlib import Path

import pytest
from replication.stage import Stage

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_is_what_the_members_do(transcript: Path) -> None:
    recorded = transcript.read_text()
    played = Stage().play(recorded)
    if "REWRITE_TRANSCRIPTS" in os.environ:
        transcript.write_text(played)
    else:
        assert played == recorded


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 10
