"""`kubectl bourse report` on saved copies: no cluster is asked, and none is needed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.rehearsal_facts import KEY, chain, good, report
from openbourse.cli.bourse.app import app
from openbourse.contracts.resources import Scenario
from openbourse.operator.rehearsals.report import fingerprint, public_text, seal

PUBLIC = public_text(KEY.public)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{sealed.report.number}.json" for sealed in chain(3)]
    for path, sealed in zip(paths, chain(3), strict=True):
        path.write_text(sealed.text)
    return [str(path) for path in paths]


def bourse(*words: str) -> Result:
    """With no cluster to ask."""
    return CliRunner().invoke(app, ["report", *words], env={"KUBECONFIG": "/dev/null"})


def test_copies_are_verified_with_their_chain_anywhere(files: list[str]) -> None:
    done = bourse("verify", *files, "--key", PUBLIC)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("genuine") == 3
    assert fingerprint(PUBLIC) in done.stdout


def test_one_that_was_changed_or_taken_away_ends_with_1_and_what_is_none_with_2(files: list[str]) -> None:
    first, second, third = map(Path, files)
    missing = bourse("verify", str(first), str(third))
    assert missing.exit_code == 1
    assert "between the reports 1 and 3 one is missing" in missing.stderr
    second.write_text(second.read_text().replace('"acknowledged": 400', '"acknowledged": 399'))
    changed = bourse("verify", *files)
    assert changed.exit_code == 1
    assert "its digest is" in changed.stdout
    third.write_text("no report")
    none = bourse("verify", str(third))
    assert none.exit_code == 2
    assert "it is no JSON of a report" in none.stderr


def test_a_report_is_shown_and_made_a_page(files: list[str], tmp_path: Path) -> None:
    done = bourse("show", files[0], "--html", str(tmp_path / "report.html"))
    assert done.exit_code == 0, done.stderr
    assert "NothingAcknowledgedIsLost" in done.stdout
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_a_report_of_a_move_says_both_pauses(tmp_path: Path) -> None:
    file = tmp_path / "move.json"
    file.write_text(seal(report(good(Scenario.SYMBOL_MOVE)), KEY).text)
    done = bourse("show", str(file))
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    for way in ("main to second", "second to main"):
        assert f"BTCUSDT from shard {way}: Completed, traded in neither for 57 ms" in said
