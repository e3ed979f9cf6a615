"""The engine as its clients see it: a real process, TLS over loopback, orders that are durable when they are answered.

Ours commits in groups; the peer is the same engine with one fdatasync per command. Both run in turn, on one disk.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import replicated
from engine_load import DRAIN_S, OPEN_LOOP_S, OpenLoop, fund, open_loop, quantile, throughput
from result import RUNS, Result, result, say

from openbourse.engine import _core

sys.path.append(str(Path(__file__).parents[1]))

from fixtures.engines import RunningEngine, make_tls_material

PEER = "one fdatasync per command"
OFFERED = (1000, 10_000, 50_000)
PEER_SATURATION_COMMANDS = 3_000


def _replay(engine: RunningEngine) -> float:
    """Commands a second from an engine's log, without a snapshot, to a kernel that is ready."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(engine.wal, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.snapshot"))
        started = time.perf_counter()
        core = _core.Engine(copy, engine.shard)
        core.advance(core.end_seq, core.end_seq)
        return core.seq / (time.perf_counter() - started)


def measure() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        tls_material = make_tls_material(Path(folder))
        engines = []
        for name, arguments in (("ours", ()), ("peer", ("--batch-requests", "1"))):
            (Path(folder) / name).mkdir()
            engines.append(RunningEngine(Path(folder) / name, tls_material, arguments=arguments))
        ours, peer = engines
        try:
            for engine in engines:
                engine.start()
                asyncio.run(fund(engine))
            results = throughput("engine.durable.throughput", ours, peer, PEER, PEER_SATURATION_COMMANDS)
            # More than the peer can work off in time is not asked of it.
            peer_most = (results[0].peer_value or 0) * DRAIN_S / 2 / OPEN_LOOP_S
            for rate in OFFERED:
                results += _latencies(ours, peer if rate < peer_most else None, rate)
            peer.stop()
            ours.stop()
            say("replay")
            results.append(
                result("engine.replay.commands_per_second", [_replay(ours) for _ in range(RUNS)], "1/s", "higher")
            )
        finally:
            for engine in engines:
                if engine.process is not None:
                    engine.stop(signal.SIGTERM)
        results += _stages(MeasuredEngine(Path(folder) / "measured", tls_material))
    return results + replicated.measure()


class MeasuredEngine(RunningEngine):
    """One that measures the stages of its loop."""

    @property
    def stages(self) -> Path:
        return self.folder / "stages.json"

    def command(self) -> list[str]:
        python, _, _, *arguments = super().command()
        return [python, str(Path(__file__).with_name("measured_engine.py")), *arguments]

    def launch(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        super().launch(command, {**(environment or {}), "OPENBOURSE_STAGES": str(self.stages)})

    def measured(self) -> dict[str, float]:
        """Seconds of each stage, of processor time, batches and commands, since it started."""
        assert self.process is not None
        self.stages.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + DRAIN_S
        while not self.stages.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        document = json.loads(self.stages.read_text())
        return {**document["seconds"], **{name: document[name] for name in ("cpu", "batches", "seq")}}


def _stages(engine: MeasuredEngine) -> list[Result]:
    """Microseconds of processor time a command in each stage of the loop; of the wait for the disk, time of a batch.

    `rest` is all other processor time of the process: TLS, asyncio, the thread that writes.
    """
    engine.folder.mkdir()
    found: dict[str, list[float]] = {}
    try:
        engine.start()
        asyncio.run(fund(engine))
        for rate in OFFERED:
            for _ in range(RUNS):
                before = engine.measured()
                asyncio.run(open_loop(engine, rate))
                after = engine.measured()
                spent = {name: after[name] - before[name] for name in after}
                own_s = spent["receive"] + spent["begin"] + spent["release"]
                values = {
                    **{name: spent[name] / spent["seq"] * 1e6 for name in ("receive", "begin", "release")},
                    "rest": (spent["cpu"] - own_s) / spent["seq"] * 1e6,
                    "sync": spent["sync"] / spent["batches"] * 1e6,
                }
                for name, value in values.items():
                    found.setdefault(f"engine.durable.stage.{name}_us.offered_{rate}", []).append(value)
                batch = spent["seq"] / spent["batches"]
                found.setdefault(f"engine.durable.stage.batch_commands.offered_{rate}", []).append(batch)
            say(f"stages at {rate}/s: " + ", ".join(f"{name} {value:.1f}" for name, value in values.items()))
    finally:
        if engine.process is not None:
            engine.stop()
    return [
        result(name, values, "us" if "_us" in name else "commands", "higher" if "batch" in name else "lower")
        for name, values in found.items()
    ]


def _latencies(ours: RunningEngine, peer: RunningEngine | None, rate: int) -> list[Result]:
    mine, theirs = [], []
    for run in range(RUNS):
        mine.append(asyncio.run(open_loop(ours, rate)))
        if peer is not None:
            theirs.append(asyncio.run(open_loop(peer, rate)))
        last = mine[-1]
        say(
            f"offered {rate}/s {run + 1}/{RUNS}: {last.throughput:.0f}/s, "
            + ", ".join(f"p{per_mille / 10:g} {last.quantile(per_mille):.2f} ms" for per_mille in (500, 990, 999))
            + f"; the client took {last.client_cpu:.0%} of a core, late p50 {quantile(last.late_ms, 500):.2f} ms, "
            f"p99 {quantile(last.late_ms, 990):.2f} ms"
        )

    def beside(name: str, unit: str, better: str, value: Callable[[OpenLoop], float]) -> Result:
        return result(
            f"engine.durable.{name}.offered_{rate}",
            [value(each) for each in mine],
            unit,
            better,
            target=2.0 if name == "p99_ms" else None,
            peer=PEER if theirs else None,
            peer_values=[value(each) for each in theirs],
        )

    return [
        beside("throughput", "1/s", "higher", lambda each: each.throughput),
        beside("p50_ms", "ms", "lower", lambda each: each.quantile(500)),
        beside("p99_ms", "ms", "lower", lambda each: each.quantile(990)),
        beside("p999_ms", "ms", "lower", lambda each: each.quantile(999)),
        beside("client_late_p99_ms", "ms", "lower", lambda each: quantile(each.late_ms, 990)),
    ]
