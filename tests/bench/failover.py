"""How long clients get no answer when the leading engine fails: first answer after it minus last before.

Two real engines of one shard on this machine, sixteen commands on their way at any time. BENCH_CRASHES says how often
the leader is killed; it is stopped half as often, and frozen a quarter as often.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from result import Result, result

# `python tests/bench` finds the modules of this folder; the fixtures are one up.
sys.path.append(str(Path(__file__).parents[1]))

from fixtures.engines import RunningEngine, make_tls_material
from fixtures.failover_load import Load, lost, under_load
from fixtures.members import RunningShard, make_shard

CRASHES = 40
SETTLE_S = 0.3
TARGETS_MS = {"crash": (100, 300), "freeze": (700, 1500), "switchover": (50, 50)}

Fault = Callable[[RunningEngine], object]


def measure() -> list[Result]:
    crashes = int(os.environ.get("BENCH_CRASHES", CRASHES))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        tls_material = make_tls_material(folder)
        engines: list[RunningEngine] = []

        def make(*arguments: str) -> RunningEngine:
            (folder / f"engine-{len(engines)}").mkdir()
            engines.append(RunningEngine(folder / f"engine-{len(engines)}", tls_material, arguments=arguments))
            return engines[-1]

        shard = make_shard(make, folder, 2)
        try:
            for engine in engines:
                engine.start()
            return asyncio.run(_faults(shard, crashes))
        finally:
            for engine in engines:
                if engine.process is not None:
                    engine.process.send_signal(signal.SIGCONT)
                    engine.stop(signal.SIGKILL)


async def _faults(shard: RunningShard, crashes: int) -> list[Result]:
    results: list[Result] = []
    async with under_load(shard) as load:
        for name, fault, heal, count in (
            ("crash", RunningEngine.kill, RunningEngine.start, crashes),
            ("switchover", RunningEngine.stop, RunningEngine.start, max(crashes // 2, 1)),
            ("freeze", _signal(signal.SIGSTOP), _signal(signal.SIGCONT), max(crashes // 4, 1)),
        ):
            pauses_ms = [await _pause_ms(shard, load, fault, heal) for _ in range(count)]
            print(f"  {name}: {', '.join(f'{pause:.0f}' for pause in sorted(pauses_ms))} ms", file=sys.stderr)
            results += _results(name, pauses_ms)
        leader = await asyncio.to_thread(shard.wait_for_leader, 2)
    gone = len(await asyncio.to_thread(lost, load, leader))
    print(f"  {len(load.told)} commands acknowledged, {gone} lost", file=sys.stderr)
    return [*results, result("failover.crash.lost", [gone], "1", "lower", target=0)]


async def _pause_ms(shard: RunningShard, load: Load, fault: Fault, heal: Fault) -> float:
    leader = await asyncio.to_thread(shard.wait_for_leader, 2)
    await asyncio.sleep(SETTLE_S)
    load.pause_s()
    await asyncio.to_thread(fault, leader)
    await asyncio.to_thread(lambda: shard.wait_for_leader(but=leader))
    await asyncio.sleep(SETTLE_S)
    pause_ms = load.pause_s() * 1000
    await asyncio.to_thread(heal, leader)
    return pause_ms


def _signal(number: signal.Signals) -> Fault:
    def send(engine: RunningEngine) -> None:
        assert engine.process is not None
        engine.process.send_signal(number)

    return send


def _results(name: str, pauses_ms: list[float]) -> list[Result]:
    ordered = sorted(pauses_ms)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    target_p50, target_p99 = TARGETS_MS[name]
    return [
        result(f"failover.{name}.p50_ms", [round(p50, 1)], "ms", "lower", target=target_p50),
        result(f"failover.{name}.p99_ms", [round(p99, 1)], "ms", "lower", target=target_p99),
        result(f"failover.{name}.max_ms", [round(ordered[-1], 1)], "ms", "lower"),
        result(f"failover.{name}.count", [len(ordered)], "1", "higher"),
    ]
