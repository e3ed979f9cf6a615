"""The matching kernel alone: its instructions by callgrind, whatever else the machine does, and its times.

The programs are in `workloads/engine/bench`. The order book is driven through its Rust API with the same streams as the
peer, the Rust crate orderbook-rs; the whole kernel has accounts, risk, fees and events; messages are decoded and
encoded without it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import python_peer
from result import RUNS, Result, result, side_by_side

BENCH = Path(__file__).parents[2] / "workloads/engine/bench"
SCENARIOS = ("quiet", "normal", "swinging", "crash", "sparse")
INSTRUCTIONS_MOST = 350
P99_NS_MOST = 1000
SNAPSHOT_ORDERS = 1_000_000
COUNTED_COMMANDS = 20_000
# As the engine's container has it: a kernel's tables are gigabytes, and looked into everywhere.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
PEER = "orderbook-rs 0.15.3"
# It takes some ten microseconds a message, and a thousand times that under callgrind.
PEER_COUNTED_ORDERS = 2_000
PEER_TIMED_ORDERS = 50_000
TIMED_SCENARIO = "normal"
BUILD_S = 1800
PROGRAM_S = 900

Report = dict[str, float]


def _build() -> Path:
    """Where the programs are."""
    arguments = ["cargo", "build", "--release", "--locked", "--features", "peer", "--message-format", "json"]
    built = subprocess.run(arguments, cwd=BENCH, check=True, stdout=subprocess.PIPE, text=True, timeout=BUILD_S)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    programs = [message["executable"] for message in messages if message.get("executable")]
    return Path(programs[0]).parent


def _run(*arguments: str) -> Report:
    environment = os.environ | HUGE_PAGES
    ran = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True, timeout=PROGRAM_S, env=environment)
    report: Report = json.loads(ran.stdout)
    return report


def _instructions(function: str, *arguments: str) -> float:
    """Of one function and all that it calls, for each message."""
    with tempfile.TemporaryDirectory() as folder:
        callgrind = [
            "valgrind",
            "--tool=callgrind",
            f"--toggle-collect=*{function}*",
            f"--callgrind-out-file={folder}/callgrind.out",
        ]
        ran = subprocess.run([*callgrind, *arguments], check=True, capture_output=True, text=True, timeout=PROGRAM_S)
    collected = re.search(r"Collected : (\d+)", ran.stderr)
    assert collected is not None, ran.stderr
    report: Report = json.loads(ran.stdout)
    return int(collected[1]) / report["messages"]


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr)


def measure() -> list[Result]:
    programs = _build()
    names = ("book", "peer", "kernel", "messages", "stream", "snapshot")
    book, peer, kernel, messages, stream, snapshot = (str(programs / name) for name in names)
    _check_that_the_peer_trades_alike(book, peer)
    return [
        *_book_instructions(book, peer),
        *_book_times(book, peer),
        *_python_times(book, stream),
        *_kernel(kernel),
        *_messages(messages),
        *_snapshot(snapshot),
    ]


def _check_that_the_peer_trades_alike(book: str, peer: str) -> None:
    for scenario in SCENARIOS:
        ours, theirs = (_run(program, scenario, str(PEER_TIMED_ORDERS)) for program in (book, peer))
        same = ours["digest"] == theirs["digest"]
        _say(f"{scenario}: {PEER} tells {'the same trades' if same else 'OTHER trades: its figures are of other work'}")


def _book_instructions(book: str, peer: str) -> list[Result]:
    """Once each: they are the same in every run."""
    results = []
    for scenario in SCENARIOS:
        ours = _instructions("drive_limit_book", book, scenario)
        theirs = _instructions("drive_peer", peer, scenario, str(PEER_COUNTED_ORDERS))
        _say(f"{scenario}: {ours:.1f} instructions a message, {PEER} {theirs:.0f}")
        results.append(
            result(
                f"kernel.instructions_per_message.{scenario}",
                [round(ours, 1)],
                "1",
                "lower",
                target=INSTRUCTIONS_MOST,
                peer=PEER,
                peer_values=[round(theirs)],
            )
        )
    return results


def _book_times(book: str, peer: str) -> list[Result]:
    def of(program: str) -> Callable[[], float]:
        return lambda: _run(program, TIMED_SCENARIO, str(PEER_TIMED_ORDERS))["ns_per_message"]

    ours, theirs = side_by_side(of(book), of(peer))
    _say(f"{TIMED_SCENARIO}: {min(ours)} to {max(ours)} ns a message, {PEER} {min(theirs)} to {max(theirs)}")
    name = f"kernel.book.ns_per_message.{TIMED_SCENARIO}"
    return [result(name, ours, "ns", "lower", peer=PEER, peer_values=theirs)]


def _python_times(book: str, stream: str) -> list[Result]:
    """Beside a book in Python, which cannot amend: a modified order is a cancelled and a new one there."""
    orders = (TIMED_SCENARIO, str(PEER_TIMED_ORDERS))
    messages = subprocess.run([stream, *orders], check=True, stdout=subprocess.PIPE, text=True, timeout=PROGRAM_S)
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(_run(book, *orders)["ns_per_message"])
        ran = subprocess.run(
            [*python_peer.command(), "python", str(Path(__file__).with_name("matching_engine_peer.py"))],
            check=False,
            input=messages.stdout,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PROGRAM_S,
        )
        if ran.returncode:
            _say(
                f"NOT MEASURED: {python_peer.NAME}, which needs Python {python_peer.PYTHON}, could not be had or failed"
            )
            return []
        theirs.append(json.loads(ran.stdout)["ns_per_message"])
    _say(
        f"{TIMED_SCENARIO}: {min(ours)} to {max(ours)} ns a message, {python_peer.NAME} {min(theirs)} to {max(theirs)}"
    )
    name = f"kernel.book.ns_per_message.{TIMED_SCENARIO}.beside_python"
    return [result(name, ours, "ns", "lower", peer=python_peer.NAME, peer_values=theirs)]


def _kernel(kernel: str) -> list[Result]:
    """A million accounts and as many resting orders."""
    arguments = os.environ.get("BENCH_KERNEL_SIZE", "1000000 1000000 1000000").split()
    reports = []
    for run in range(RUNS):
        reports.append(_run(kernel, *arguments))
        _say(f"risk on {run + 1}/{RUNS}: {reports[-1]}")

    def of(name: str, field: str, unit: str, target: float | None = None) -> Result:
        return result(f"kernel.{name}", [report[field] for report in reports], unit, "lower", target=target)

    return [
        of("risk_on.p50_ns", "p50_ns", "ns"),
        of("risk_on.p99_ns", "p99_ns", "ns", P99_NS_MOST),
        *(
            of(f"risk_on.matches_{matches}.{quantile}_ns", f"matches_{matches}_{quantile}_ns", "ns")
            for matches in range(4)
            for quantile in ("p50", "p99")
        ),
        of("risk_on.sweeps.p50_ns", "sweep_p50_ns", "ns"),
        of("risk_on.sweeps.p99_ns", "sweep_p99_ns", "ns"),
        of("allocations_per_command", "allocations_per_command", "1", 0),
        of("bytes_per_resting_order", "bytes_per_resting_order", "B"),
        of("bytes_per_account", "bytes_per_account", "B"),
        of("checkpoint_ms.first", "first_checkpoint_ms", "ms"),
        of("checkpoint_ms.commands_1000", "checkpoint_1000_ms", "ms"),
        of("checkpoint_ms.commands_10000", "checkpoint_10000_ms", "ms"),
    ]


def _messages(messages: str) -> list[Result]:
    """What the kernel does between decoding and encoding is not in them."""
    reports = []
    for run in range(RUNS):
        reports.append(_run(messages))
        _say(f"messages {run + 1}/{RUNS}: {reports[-1]}")
    results = []
    for stage in ("decode", "encode"):
        counted = _instructions(f"{stage}_measured", messages, str(COUNTED_COMMANDS))
        _say(f"{stage}: {counted:.0f} instructions a command")
        times_ns = [report[f"{stage}_ns"] for report in reports]
        results.append(result(f"kernel.{stage}_ns", times_ns, "ns", "lower"))
        results.append(result(f"kernel.{stage}_instructions", [round(counted)], "1", "lower"))
    return results


def _snapshot(snapshot: str) -> list[Result]:
    """A million accounts and as many resting orders: the state as bytes, and back with its hash checked."""
    reports = []
    for run in range(RUNS):
        reports.append(_run(snapshot, "1000000", str(SNAPSHOT_ORDERS)))
        _say(f"snapshot {run + 1}/{RUNS}: {reports[-1]}")

    def of(name: str, field: str, unit: str) -> Result:
        name = f"engine.snapshot.{name}.orders_{SNAPSHOT_ORDERS}"
        return result(name, [report[field] for report in reports], unit, "lower")

    # The engine's pause is not here: a process of its own makes snapshots, and nothing has measured what that costs.
    return [of("seconds", "write_s", "s"), of("load_seconds", "load_s", "s"), of("bytes", "bytes", "B")]
