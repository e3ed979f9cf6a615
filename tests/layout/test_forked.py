"""What is forked of a server that has imported it goes on as the command does that it stands for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.engines import EngineFactory
from fixtures.forked import Forked, started

# Another seed of hashes is said to the interpreter itself, which is started anew.
ANEW = {"PYTHONHASHSEED": "1"}


def said(command: list[str], log: Path, environment: dict[str, str]) -> tuple[int, str]:
    with log.open("wb") as output:
        process = started(command, environment, output)
    assert isinstance(process, Forked) == (not environment.keys() & ANEW.keys())
    code = process.wait(30)
    assert process.poll() == code == process.returncode
    return code, log.read_text()


@pytest.mark.parametrize("module", ["openbourse.engine", "openbourse.ledger.seal"])
def test_it_ends_as_the_command_does_with_the_same_words(module: str, tmp_path: Path) -> None:
    heard = []
    for option, code, columns in (("--help", 0, "60"), ("--help", 0, "100"), ("--no-such-option", 2, "100")):
        command, environment = [sys.executable, "-m", module, option], {**os.environ, "COLUMNS": columns}
        heard.append(said(command, tmp_path / "forked", environment))
        assert heard[-1] == said(command, tmp_path / "anew", environment | ANEW)
        assert heard[-1][0] == code
    # It has the environment of who starts it.
    assert heard[0] != heard[1]


@pytest.mark.server
def test_it_has_the_folder_of_who_starts_it_and_takes_its_signals(
    engine_factory: EngineFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = engine_factory()
    engine.start()
    process = engine.process
    assert isinstance(process, Forked)
    found = Path(f"/proc/{process.pid}")
    assert (found / "cwd").resolve() == tmp_path
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    assert process.poll() is None
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    assert not found.exists()
    # Nobody is told anything any more.
    process.send_signal(signal.SIGTERM)
    engine.process = None
