"""The help of every command has examples, each of which the command takes. kubectl completes its plugin."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from openbourse.cli.bourse.app import app as bourse
from openbourse.cli.main import app as openbourse
from openbourse.cli.on_demand import OnDemand

PROGRAMS = {"openbourse": get_command(openbourse), "kubectl bourse": get_command(bourse)}
COMPLETE = Path(sys.executable).with_name("kubectl_complete-bourse")


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Those that do something, each with the words that lead to it."""
    command = command.load() if isinstance(command, OnDemand) else command
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from _commands(each, (*path, name))


EVERY = [
    pytest.param(program, path, command, id=f"{program} {' '.join(path)}")
    for program, root in PROGRAMS.items()
    for path, command in _commands(root, ())
]


def _examples(program: str, path: tuple[str, ...], text: str) -> list[list[str]]:
    """The words behind the command's own, of each line of its help that begins with it, behind a pipe too."""
    begin = f"{program} {' '.join(path)}"
    lines = text.replace("\\\n", " ").splitlines()
    found = [
        line.strip().removeprefix("Example: ").rpartition("| ")[2].partition(" > ")[0]
        for line in lines
        if begin in line
    ]
    return [
        shlex.split(line.removeprefix(begin), comments=True) for line in found if f"{line} ".startswith(f"{begin} ")
    ]


@pytest.mark.parametrize(("program", "path", "command"), EVERY)
def test_each_command_has_an_example_that_it_takes(
    program: str, path: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `openbourse wal` is the same command in both programs.
    programs = ("openbourse", program) if path[0] == "wal" else (program,)
    examples = [words for name in programs for words in _examples(name, path, command.help or "")]
    assert examples, f"{program} {' '.join(path)} has no example in its help"
    # An example may leave to the environment what the help says may be there.
    for parameter in command.params:
        for variable in (parameter.envvar,) if isinstance(parameter.envvar, str) else parameter.envvar or ():
            monkeypatch.setenv(variable, "x")
        # Nor need the files of an example be here.
        monkeypatch.setattr(parameter.type_descriptor.parameter_info, "exists", False)
    for words in examples:
        # Raises for an option or a value that the command does not know.
        command.make_context(path[-1], list(words))


def test_a_command_that_is_loaded_on_demand_is_told_of_as_it_tells_of_itself() -> None:
    for name, stand_in in PROGRAMS["kubectl bourse"].commands.items():  # type: ignore[attr-defined]
        assert stand_in.help == stand_in.load().get_short_help_str(limit=200), name


@pytest.mark.parametrize(
    ("words", "not_needed"),
    [
        (["kubectl-bourse", "--help"], ["aiohttp", "kubernetes", "openbourse.contracts", "pydantic", "yaml"]),
        (["kubectl_complete-bourse", "st"], ["openbourse.contracts", "pydantic", "rich", "typer"]),
        (["kubectl-bourse", "status", "--help"], ["cryptography", "httpx", "kubernetes", "openbourse.operator"]),
    ],
)
def test_what_a_command_does_not_need_is_not_imported(words: list[str], not_needed: list[str]) -> None:
    program, *rest = words
    command = [sys.executable, "-X", "importtime", str(COMPLETE.with_name(program)), *rest]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "openbourse.cli.bourse.commands" in imported
    assert [name for name in not_needed if name in imported] == []


def test_kubectl_is_told_what_may_come_next() -> None:
    def completed(*words: str) -> list[str]:
        command = [str(COMPLETE), *words]
        out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ))
        return [line.partition("\t")[0] for line in out.stdout.splitlines()]

    assert completed("ha") == ["halt", ":4"]
    assert completed("limit", "") == ["set", "remove", "show", ":4"]
    assert completed("halt", "--mode", "C") == ["CANCEL_ONLY", ":4"]
