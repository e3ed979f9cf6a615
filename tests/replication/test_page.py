"""docs/replication.md says what the code says."""

import re
from pathlib import Path

from replication.planted import BUGS

from openbourse.engine.replication.transitions import with_diagram

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "replication.md"


def test_the_diagram_is_the_table_of_the_code() -> None:
    page = PAGE.read_text()
    assert page == with_diagram(page), "make regen"


def test_every_rule_names_the_bugs_that_break_it() -> None:
    rules = re.split(r"^(\d+)\. ", PAGE.read_text().partition("## States")[0], flags=re.MULTILINE)[1:]
    named = {
        (int(number), bug)
        for number, text in zip(rules[::2], rules[1::2], strict=True)
        for line in re.findall(r"- planted: (.*)", text)
        for bug in re.findall(r"\*(.+?)\*", line)
    }
    assert named == {(bug.rule, bug.name) for bug in BUGS}


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(\w+?)(?:\.py)?`", "\n".join(re.findall(r"^ +- `.*", PAGE.read_text(), re.MULTILINE))))
    tests = {name for file in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    files = {file.stem for file in (*HERE.glob("test_*.py"), *(HERE / "transcripts").glob("*.txt"))}
    assert len(named) > 15
    assert named <= tests | files
