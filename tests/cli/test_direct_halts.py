"""`kubectl bourse halt --direct` on real engines: no API server is there, and none is asked."""

import contextlib
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fixtures.admins import write
from fixtures.engines import EXCHANGE, RunningEngine, engines_in
from fixtures.members import RunningShard, make_shard
from openbourse.cli.bourse.app import app
from openbourse.cli.bourse.direct import commands
from openbourse.cli.bourse.direct.commands import Actor, Wanted
from openbourse.cli.bourse.errors import BadHalt
from openbourse.contracts import v1
from openbourse.contracts.certificates import issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.direct_halts import DirectHalt
from openbourse.contracts.market_states import HaltMode, ReopenMode
from openbourse.contracts.resources.halt import Reopening
from openbourse.contracts.roles import Role

NOW = datetime.datetime(2026, 11, 29, 4, 0, 0, 123, datetime.UTC)
ANN = Actor("ann", Role.ADMIN, "root", "desk")
ROLES = {"vic": Role.VIEWER, "oli": Role.OPERATOR, "ann": Role.ADMIN, "nora": None}


@dataclass(slots=True)
class Desk:
    """Where people sit: a shard of two engines, certificates of people, no kubeconfig."""

    engines: list[RunningEngine]
    folder: Path

    def bourse(self, *arguments: str, who: str = "ann") -> Result:
        where = [word for engine in self.engines for word in ("--engine", f"main={engine.address}")]
        words = [*arguments, "--direct", *where, "--tls", str(self.folder / who), "--audit", str(self.audit)]
        return CliRunner().invoke(app, words, env={"KUBECONFIG": "/nonexistent", "COLUMNS": "160"})

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()] if self.audit.exists() else []

    def leader(self) -> dict[str, Any]:
        """Of those that answer."""
        answers = RunningShard(self.engines).statuses()
        return next(status for _, status in answers if status["role"] == "leader")

    def held(self) -> list[tuple[str, str, list[str]]]:
        return [(market["state"], market["held_by"], market["symbols"]) for market in self.leader()["markets"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder, now = tmp_path_factory.mktemp("direct"), datetime.datetime.now(datetime.UTC)
    authority = make_authority(EXCHANGE, now)
    # Another host than the one that is connected to: an engine is known by its certificate.
    certificate = issue(authority, EXCHANGE, Component.ENGINE, ("127.0.0.1", "demo-engine-main-0"), now)
    material = {Component.ENGINE: write(folder / "engine", authority, certificate)}
    for person, role in ROLES.items():
        made = issue(authority, EXCHANGE, Component.CLI, (), now, person=person, role=role)
        write(folder / person, authority, made)
    write(folder / "stranger", *(2 * [make_authority("other", now)]))
    with engines_in(folder, material) as make:
        shard = make_shard(make, folder, 2)
        shard.start()
        shard.wait_for_leader(2)
        yield Desk(shard.members, folder)


@pytest.mark.server
def test_a_person_halts_and_reopens_with_no_api_server_and_it_stands_in_the_log(desk: Desk) -> None:
    done = desk.bourse("halt", "btcusdt", "--reason", "the API server is down", "--until-lifted", "--name", "night")
    assert done.exit_code == 0, done.stderr
    first, shard = done.stdout.splitlines()
    assert first == "direct halt direct:night of BTCUSDT: HALT"
    assert shard.split()[:4] == ["shard", "main", "halted", "epoch"]
    assert desk.held() == [("TRADING", "", ["ETHUSDT"]), ("HALT", "direct:night", ["BTCUSDT"])]
    (halt,) = desk.leader()["halts"]
    assert (halt["name"], halt["state"], halt["symbols"]) == ("direct:night", "HALT", ["BTCUSDT"])

    lifted = desk.bourse("lift", "night", "--reason", "it is up", "--reopen", "AUCTION:1s")
    assert lifted.exit_code == 0, lifted.stderr
    # Reopening is a state while it lasts.
    assert ("AUCTION", "phase", ["BTCUSDT"]) in desk.held()
    began = time.monotonic()
    while desk.held() != [("TRADING", "", ["BTCUSDT", "ETHUSDT"])]:
        assert time.monotonic() - began < 20, desk.held()
        time.sleep(0.05)

    assert [(line["audit"], line["outcome"]) for line in desk.lines()] == [
        ("halt --direct", "asked"),
        ("halt --direct", "done"),
        ("lift --direct", "asked"),
        ("lift --direct", "done"),
    ]
    assert {(line["who"], line["role"], line["shard"], line["halt"]) for line in desk.lines()} == {
        ("ann", "admin", "main", "direct:night")
    }
    assert desk.lines()[1]["seq"] == halt["seq"]
    assert desk.lines()[1]["why"] == "the API server is down"
    dump = [str(Path(sys.executable).with_name("openbourse")), "wal", "dump", str(desk.engines[0].wal)]
    log = subprocess.run(dump, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "admin ann: the API server is down (" in log
    assert "admin ann: it is up (" in log


@pytest.mark.server
def test_one_with_a_time_limit_lifts_itself_through_an_auction_after_its_leader_is_gone(desk: Desk) -> None:
    limit = ("--for", "4s", "--reopen", "AUCTION:1s", "--name", "short")
    done = desk.bourse("halt", "btcusdt", "--reason", "why", *limit, who="oli")
    assert done.exit_code == 0, done.stderr
    assert "lifts itself at " in done.stdout
    (halt,) = desk.leader()["halts"]
    ends_at = DirectHalt.parse(halt["name"]).ends_at
    assert ends_at is not None
    old = next(engine for engine in desk.engines if engine.status()["role"] == "leader")
    old.kill()
    seen: list[tuple[str, str, list[str]]] = []
    while not seen or seen[-1] != ("TRADING", "", ["BTCUSDT", "ETHUSDT"]):
        assert datetime.datetime.now(datetime.UTC) - ends_at < datetime.timedelta(seconds=20), seen
        with contextlib.suppress(OSError, StopIteration):
            found = next(each for each in desk.held() if "BTCUSDT" in each[2])
            if not seen or seen[-1] != found:
                seen.append(found)
            # The clock after the answer: what it tells was so before.
            assert found[0] == "HALT" or datetime.datetime.now(datetime.UTC) >= ends_at, "before its time"
        time.sleep(0.02)
    assert [(state, held) for state, held, _ in seen] == [("HALT", halt["name"]), ("AUCTION", "phase"), ("TRADING", "")]
    old.start()
    RunningShard(desk.engines).wait_for_leader(2)


@pytest.mark.server
def test_one_with_a_time_limit_is_lifted_before_by_its_name(desk: Desk) -> None:
    assert desk.bourse("halt", "--reason", "why", "--for", "1h", "--name", "long").exit_code == 0
    (halt,) = desk.leader()["halts"]
    without = desk.bourse("lift", "long", "--reason", "why")
    assert without.exit_code == 1
    assert "no halt direct:long is in force" in without.stdout
    assert desk.bourse("lift", halt["name"], "--reason", "why").exit_code == 0
    assert not desk.leader()["halts"]


@pytest.mark.server
def test_operators_stop_and_only_admins_let_go_on(desk: Desk) -> None:
    stopped = desk.bourse("halt", "--reason", "why", "--until-lifted", "--name", "all", who="oli")
    assert stopped.exit_code == 0, stopped.stderr
    assert desk.held() == [("HALT", "direct:all", ["BTCUSDT", "ETHUSDT"])]
    refused = desk.bourse("lift", "all", "--reason", "why", who="oli")
    assert refused.exit_code == 2
    assert "the certificate of oli is operator; this takes admin" in refused.stderr
    assert desk.bourse("lift", "direct:all", "--reason", "why").exit_code == 0
    again = desk.bourse("lift", "all", "--reason", "why")
    assert again.exit_code == 1
    assert "refused" in again.stdout


@pytest.mark.server
@pytest.mark.parametrize(
    ("arguments", "who", "code", "sentence"),
    [
        (
            ("halt", "--reason", "x", "--until-lifted"),
            "vic",
            2,
            "the certificate of vic is viewer; this takes operator",
        ),
        (("halt", "--reason", "x", "--until-lifted"), "nora", 2, "the certificate of nora names no role"),
        (("halt", "--reason", "x", "--until-lifted"), "engine", 2, "names no role"),
        (("halt", "--reason", "x", "--until-lifted"), "stranger", 2, "no certificate of a person"),
        (("halt", "--reason", "x", "--until-lifted"), "nobody", 2, "no certificate of a person"),
        (("halt", "--reason", " ", "--until-lifted"), "ann", 2, "--reason must say why"),
        (("halt", "--reason", "x", "--for", "5 minutes"), "ann", 2, "--for must be a time such as 90s, 15m or 1h30m"),
        (("halt", "--reason", "x", "--until-lifted", "--two-person"), "ann", 2, "takes one person"),
        (("halt", "--reason", "x", "--until-lifted", "--reopen", "AUCTION:3s"), "ann", 2, "says how trading begins"),
        (("halt", "--reason", "x", "--until-lifted", "--shard", "hot"), "ann", 2, "no --engine of shard hot"),
        (("halt", "--reason", "x", "--until-lifted", "--name", "A/b"), "ann", 2, "is no name of a direct halt"),
        (("halt", "--reason", "x", "--until-lifted", "--engine", "7000"), "ann", 2, "it is SHARD=HOST:PORT"),
        (("lift", "night"), "ann", 2, "give --reason"),
        (("halt", "b/c", "--reason", "x", "--until-lifted", "--name", "a"), "ann", 1, "refused"),
        (
            ("halt", "--reason", "x", "--until-lifted", "--engine", "hot=127.0.0.1:1", "--shard", "hot"),
            "ann",
            1,
            "whether it was carried out is not known",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    desk: Desk, arguments: tuple[str, ...], who: str, code: int, sentence: str
) -> None:
    done = desk.bourse(*arguments, who=who)
    assert done.exit_code == code, done.stdout + done.stderr
    assert sentence in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not desk.leader()["halts"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("BTCUSDT", "--shard", "main", "--reason", "x", "--for", "5m"), "give symbols or --shard, not both"),
        (("--two-person", "--reason", "x", "--for", "5m"), "stands until a second person lifts it"),
        (("--direct", "--reason", "x", "--until-lifted"), "give --engine main=10.244.1.5:7000"),
        (("--direct", "--engine", "a=h:1", "--reason", "x", "--until-lifted"), "takes a person's certificate"),
    ],
)
def test_what_makes_no_sense_is_said_before_anybody_is_asked(arguments: tuple[str, ...], sentence: str) -> None:
    done = CliRunner().invoke(app, ["halt", *arguments], env={"KUBECONFIG": "/nonexistent"})
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_direct_halt_has_a_name_that_no_halt_of_kubernetes_can_have() -> None:
    uid = "00000000-0000-0000-0000-000000000001"
    for name in ("night", "direct:night", uid, f"direct:{uid}"):
        assert commands.halt_name(name) == f"direct:{name.removeprefix('direct:')}"
        assert commands.new_halt(name, None, Reopening(), NOW).name == commands.halt_name(name)
    for name in ("", "direct:", "a/b", "A", "a" * 64, f"direct/{uid}"):
        for take in (commands.halt_name, lambda name: commands.new_halt(name, None, Reopening(), NOW)):
            with pytest.raises(BadHalt, match="is no name of a direct halt"):
                take(name)


def test_a_time_limit_and_how_it_reopens_are_in_the_name_and_are_read_again() -> None:
    auction = Reopening(mode=ReopenMode.AUCTION, seconds=30)
    ends = datetime.datetime(2026, 11, 29, 4, 15, 1, tzinfo=datetime.UTC)
    for reopen, name in (
        (Reopening(), "night/until-20261129T041501Z"),
        (auction, "night/until-20261129T041501Z/AUCTION-30"),
    ):
        made = commands.new_halt("night", "15m", reopen, NOW)
        assert made == DirectHalt("night", ends, reopen.mode, reopen.seconds)
        assert commands.halt_name(name) == made.name == f"direct:{name}"
        assert DirectHalt.parse(made.name) == made
    with pytest.raises(BadHalt, match="is no name of a direct halt"):
        commands.new_halt("night/until-20261129T041501Z", "15m", Reopening(), NOW)
    for wrong in ("20261329T041501Z", "20261129T041501", "20261129T041501Z/TRADING-0", "20261129T041501Z/AUCTION-0"):
        with pytest.raises(BadHalt):
            commands.halt_name(f"night/until-{wrong}")


def test_the_commands_say_who_and_why_and_each_run_is_one_command() -> None:
    wanted = Wanted(("BTCUSDT",), (), HaltMode.POST_ONLY, "why")
    imposed = commands.impose("direct:night", wanted, ANN, "1")
    assert imposed == commands.impose("direct:night", wanted, ANN, "1")
    assert imposed.command_id != commands.impose("direct:night", wanted, ANN, "2").command_id
    assert imposed.causation_id == "admin ann: why (root at desk)"
    assert imposed.impose_halt.state == v1.SymbolState.SYMBOL_STATE_POST_ONLY
    lifted = commands.lift("direct:night", "over", Reopening(mode=ReopenMode.AUCTION, seconds=30), ANN, "1")
    assert (lifted.lift_halt.reopen, lifted.lift_halt.reopen_ms) == (v1.SymbolState.SYMBOL_STATE_AUCTION, 30_000)
    assert len(lifted.command_id) == 16
    long = commands.impose("direct:night", Wanted((), (), HaltMode.HALT, "é" * 600), ANN, "1")
    assert len(long.causation_id.encode()) <= commands.CAUSATION_BYTES_MOST


def test_engines_are_told_by_shard() -> None:
    assert {shard: len(found) for shard, found in commands.engines(["a=h:1", "b=h:2", "a=h:3"]).items()} == {
        "a": 2,
        "b": 1,
    }
    with pytest.raises(BadHalt, match="give --engine"):
        commands.engines([])
