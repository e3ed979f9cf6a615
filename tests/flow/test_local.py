"""`openbourse local`, as a person uses it: start, trade with ccxt, lose the engine, stop, start again."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import ccxt
import httpx
import pytest

from fixtures import proving
from fixtures.figures import Show
from fixtures.processes import free_address

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

OPENBOURSE = str(Path(sys.executable).with_name("openbourse"))
READY_TIMEOUT_S = 120


@dataclass(frozen=True)
class Local:
    """A running `openbourse local` and what it printed."""

    process: subprocess.Popen[bytes]
    screen: str
    data: Path

    @property
    def url(self) -> str:
        return self.found(r"traders +(http://\S+)/api/v3")

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.screen)
        assert match is not None, f"no {pattern} on the screen:\n{self.screen}"
        found: str = match[1]
        return found

    def status(self, component: str) -> dict[str, Any]:
        document: dict[str, Any] = httpx.get(self.found(rf"{component} +(http://\S+/status)"), timeout=5).json()
        return document

    def kill_engine(self, *, status_port: str = "") -> None:
        """The one engine, or the one with this status port."""
        children = ["pgrep", "-P", str(self.process.pid), "-f", f"openbourse.engine.*{status_port}"]
        found = subprocess.run(children, capture_output=True, text=True, timeout=5, check=True).stdout.split()
        assert len(found) == 1
        os.kill(int(found[0]), signal.SIGKILL)

    def wait_for_leader(self, in_sync: int) -> str:
        """The status port of the engine that leads with so many members in sync."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            for name in ("engine", "engine-1"):
                with suppress(httpx.TransportError):
                    status = self.status(rf"{name}")
                    if status["role"] == "leader" and len(status["in_sync"]) == in_sync:
                        return self.found(rf"{name} +http://127.0.0.1:(\d+)/status")
            time.sleep(0.05)
        raise AssertionError(f"nobody leads with {in_sync} in sync")

    def trader(self, label: str) -> ccxt.binance:
        key, secret = (
            self.found(rf"{label} +account \d+\n +key +(\w+)"),
            self.found(rf"{label} +account \d+\n +key +\w+\n +secret +(\w+)"),
        )
        exchange = ccxt.binance({"apiKey": key, "secret": secret, "timeout": 30000})
        exchange.urls["api"] = {name: self.url + url.partition(".com")[2] for name, url in exchange.urls["api"].items()}
        return exchange

    def openbourse(self, *arguments: str | Path) -> str:
        """A command in a shell that has sourced the seal's settings."""
        shell = ["sh", "-c", '. "$0" && exec "$@"', self.data / "seal" / "env", OPENBOURSE, *arguments]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sealed(self, folder: Path) -> proving.Sealed:
        witness = self.found(r"witness +(http://\S+)/status")

        def liabilities() -> tuple[str, Path]:
            said = self.openbourse("ledger", "liabilities", folder / "liabilities")
            return said, folder / "liabilities" / "1001.json"

        return proving.Sealed(
            folder=folder,
            openbourse=self.openbourse,
            sealer=lambda: self.status("sealer"),
            witness=lambda path: httpx.get(f"{witness}{path}", timeout=5).raise_for_status().text,
            liabilities=liabilities,
            reconcile=self.reconcile,
        )

    def reconcile(self) -> str:
        """As the first lines say that people ask the ledger."""
        told = self.found(r"people +openbourse ledger \.\.\. (--ledger .*)")
        command = [OPENBOURSE, "ledger", "reconcile", *told.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own: PostgreSQL's user has to get into it, and pytest closes its folders to others."""
    with tempfile.TemporaryDirectory(prefix="openbourse-") as path:
        yield Path(path) / "exchange"


@contextmanager
def local(data: Path, *options: str) -> Iterator[Local]:
    """Started, and at the end stopped with Ctrl-C, which must be clean."""
    command = [OPENBOURSE, "local", "--data", str(data), "--port", str(free_address().port), *options]
    screen = data.with_suffix(".screen")
    with screen.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, start_new_session=True)
    deadline = time.monotonic() + READY_TIMEOUT_S
    try:
        while "Ctrl-C ends it" not in screen.read_text():
            assert time.monotonic() < deadline, screen.read_text()
            assert process.poll() is None, screen.read_text()
            time.sleep(0.05)
        yield Local(process, screen.read_text(), data)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        ended = process.wait(60)
    assert ended in (0, -signal.SIGKILL), screen.read_text()


@pytest.mark.timeout(480)
def test_a_life_with_a_killed_engine_restarts_kill_9_and_a_lost_token(folder: Path, tmp_path: Path) -> None:
    with local(folder) as exchange:
        trades_go_on_when_the_engine_is_killed(exchange)
        a_second_one_in_the_folder_is_refused(exchange)
        funds = exchange.trader("bob").fetch_balance()["total"]
        sealed = [is_sealed_and_verified(exchange, tmp_path / "first")]
    with local(folder) as exchange:
        bob = exchange.trader("bob")
        assert bob.fetch_balance()["total"] == funds
        assert len(bob.fetch_my_trades("BTC/USDT")) == 2
        assert [trade["amount"] for trade in bob.fetch_trades("BTC/USDT")] == [0.2, 0.1]
        assert bob.fetch_ohlcv("BTC/USDT", "1M")[-1][4:] == [50000, pytest.approx(0.3)]
        exchange.reconcile()
        bob.create_order("BTC/USDT", "limit", "buy", 0.1, 50000)
        sealed.append(is_sealed_and_verified(exchange, tmp_path / "second"))
        exchange.process.kill()
        exchange.process.wait(10)
    assert sealed[1] > sealed[0]
    secrets_are_their_owners(folder)
    with local(folder) as exchange:
        assert [order["remaining"] for order in exchange.trader("alice").fetch_open_orders("BTC/USDT")] == [0.1]
        exchange.reconcile()
    shutil.rmtree(folder / "seal" / "token")
    with local(folder) as exchange:
        assert exchange.trader("alice").fetch_balance()["total"]["BTC"] == 9.6
        # Something to sign.
        exchange.trader("bob").create_order("BTC/USDT", "limit", "buy", 0.05, 50000)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (reason := exchange.status("sealer")["reason"]).startswith("waiting"):
            assert time.monotonic() < deadline, reason
            time.sleep(0.05)
        assert "has no key" in reason


def trades_go_on_when_the_engine_is_killed(exchange: Local) -> None:
    """Of an order for 0.5, 0.2 and then 0.1 are bought."""
    alice, bob = exchange.trader("alice"), exchange.trader("bob")
    resting = alice.create_order("BTC/USDT", "limit", "sell", 0.5, 50000)
    bought = bob.create_order("BTC/USDT", "limit", "buy", 0.2, 51000)
    assert (bought["status"], bought["filled"], bought["average"]) == ("closed", 0.2, 50000)
    before = exchange.status("engine")
    exchange.kill_engine()
    again = bob.create_order("BTC/USDT", "limit", "buy", 0.1, 50000)
    assert again["status"] == "closed"
    assert exchange.status("engine")["epoch"] > before["epoch"]
    assert alice.fetch_order(resting["id"], "BTC/USDT")["filled"] == 0.3
    exchange.reconcile()
    assert bob.fetch_balance()["total"]["BTC"] == pytest.approx(10 + 0.3 * 0.999)


def a_second_one_in_the_folder_is_refused(exchange: Local) -> None:
    second = subprocess.run(
        [OPENBOURSE, "local", "--data", str(exchange.data), "--port", str(free_address().port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "--data" in second.stderr


def is_sealed_and_verified(exchange: Local, proof: Path) -> int:
    """The number of the checkpoint."""
    proof.mkdir()
    lines = proving.prove(exchange.sealed(proof))
    assert "GOOD" in lines[1]
    status = exchange.status("sealer")
    assert status["age_ms"] < 60_000
    assert status["key"] in (proof / "export" / "checkpoints.copy").read_bytes().decode("latin-1")
    number: int = status["checkpoint"]
    return number


def secrets_are_their_owners(folder: Path) -> None:
    private = [folder / "seal" / name for name in ("pin", "env", "witness/witness.key")]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    pin = (folder / "seal" / "pin").read_text()
    assert pin not in (folder / "seal" / "env").read_text()


def test_without_softhsm_the_exchange_trades_and_says_that_it_is_not_sealed_and_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All that is on the path but SoftHSM's program.
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    with local(folder) as exchange:
        assert "sealing: off, because SoftHSM" in exchange.screen and "apt-get install softhsm2" in exchange.screen
        assert not re.search(r"sealer +http", exchange.screen)
        assert exchange.trader("alice").fetch_balance()["total"]["BTC"] == 10


def test_with_a_standby_a_trader_notices_a_pause_when_the_leader_is_killed(folder: Path, show: Show) -> None:
    with local(folder, "--standbys", "1") as exchange:
        alice, bob = exchange.trader("alice"), exchange.trader("bob")
        alice.create_order("BTC/USDT", "limit", "sell", 1, 50000)
        bob.load_markets()
        leader = exchange.wait_for_leader(in_sync=2)
        answered = [time.monotonic()]
        bought = 0
        for order in range(60):
            if order == 20:
                exchange.kill_engine(status_port=leader)
            assert bob.create_order("BTC/USDT", "limit", "buy", 0.001, 50000)["status"] == "closed"
            answered.append(time.monotonic())
            bought += 1
        longest_s = max(after - before for before, after in pairwise(answered))
        show(f"openbourse local, a killed leader: the longest of {bought} orders took {longest_s * 1000:.0f} ms")
        assert exchange.wait_for_leader(in_sync=2) != leader
        exchange.reconcile()
    with local(folder) as exchange:
        exchange.wait_for_leader(in_sync=2)
        assert exchange.trader("bob").fetch_balance()["total"]["BTC"] == pytest.approx(10 + 0.06 * 0.999)
    refused = subprocess.run(
        [OPENBOURSE, "local", "--data", str(folder), "--port", str(free_address().port), "--standbys", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "start it with --standbys 1" in refused.stderr.replace("\n", " ")


def test_a_taken_port_is_refused_with_what_to_do(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = subprocess.run(
            [OPENBOURSE, "local", "--data", str(folder), "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert refused.returncode == 1
    assert "choose another one with --port" in refused.stderr.replace("\n", " ")
