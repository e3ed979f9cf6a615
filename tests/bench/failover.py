"""How long clients get no answer when the leading engine fails: first answer after it minus last before.

Two real engines of one shard on this machine, sixteen clients that each send the next command soon after the last
answer. BENCH_CRASHES says how often the leader is killed; it is stopped, frozen and cut off a fifth as often. Each kind
has a shard of its own, whose trust was not tried by the others: it comes back after a time of health that doubles with
every suspicion. What was acknowledged is held against the log in the end.
"""

import asyncio
import contextlib
import gc
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from result import Result, result, say

# `python tests/bench` finds the modules of this folder; the fixtures are one up.
sys.path.append(str(Path(__file__).parents[1]))

from fixtures.engines import RunningEngine, engines_in, make_tls_material
from fixtures.failover_load import Load, judge, under_load
from fixtures.members import RunningShard, make_shard
from fixtures.networks import NetworkedShard, networked_shard, why_not

CRASHES = 30
SETTLE_S = 0.3
PACE_S = 0.005
GOES_ON_S = 30.0
# What a start replays at most: a long log makes its start long, and nothing of that is a pause.
ARGUMENTS = ("--snapshot-commands", "20000")
PHASES = ("detect_ms", "led_ms", "committed_ms", "acknowledged_ms")

Fault = Callable[[RunningShard, RunningEngine], object]
Shard = Callable[[Path], AbstractContextManager[RunningShard]]


@dataclass(frozen=True, slots=True)
class Kind:
    """`targets_ms`: of p50 and p99. `heal` undoes it, or starts the engine again."""

    name: str
    targets_ms: tuple[float, float]
    of_crashes: int
    shard: Shard
    fault: Fault
    heal: Fault


@contextlib.contextmanager
def _pair(folder: Path) -> Iterator[RunningShard]:
    with engines_in(folder, make_tls_material(folder)) as make:
        shard = make_shard(make, folder, 2, *ARGUMENTS)
        shard.start()
        yield shard


def _networked(folder: Path) -> AbstractContextManager[RunningShard]:
    return networked_shard(folder, 2, *ARGUMENTS)


def _signal(number: signal.Signals) -> Fault:
    def send(_: RunningShard, engine: RunningEngine) -> None:
        assert engine.process is not None
        engine.process.send_signal(number)

    return send


def _cut_off(shard: RunningShard, leader: RunningEngine) -> None:
    """From its standby and from the leadership record."""
    assert isinstance(shard, NetworkedShard)
    shard.isolate(leader)


def _mend(shard: RunningShard, _: RunningEngine) -> None:
    assert isinstance(shard, NetworkedShard)
    shard.mend()


def _start(_: RunningShard, engine: RunningEngine) -> None:
    engine.start()


KINDS = (
    Kind("crash", (100, 300), 1, _pair, lambda _, leader: leader.kill(), _start),
    Kind("switchover", (50, 50), 5, _pair, lambda _, leader: leader.stop(), _start),
    Kind("freeze", (700, 1500), 5, _pair, _signal(signal.SIGSTOP), _signal(signal.SIGCONT)),
    Kind("cut_off", (700, 1500), 5, _networked, _cut_off, _mend),
)


def measure() -> list[Result]:
    crashes = int(os.environ.get("BENCH_CRASHES", CRASHES))
    results: list[Result] = []
    for kind in KINDS:
        if kind.shard is _networked and (why := why_not()) is not None:
            say(f"{kind.name} is left out: {why}")
            continue
        with tempfile.TemporaryDirectory() as folder, kind.shard(Path(folder)) as shard:
            results += asyncio.run(_measured(kind, shard, max(crashes // kind.of_crashes, 1)))
    return results


async def _measured(kind: Kind, shard: RunningShard, count: int) -> list[Result]:
    pauses_ms: list[float] = []
    phases: list[dict[str, int]] = []
    # A million answers are kept: to collect among them would be a pause of this process's own.
    gc.disable()
    async with under_load(shard, pace_s=PACE_S) as load:
        for number in range(count):
            pause_ms, took = await _pause(kind, shard, load)
            pauses_ms.append(pause_ms)
            phases.append(took)
            say(f"{kind.name} {number + 1}/{count}: {pause_ms:.0f} ms; {_shown(took)}")
        leader = await asyncio.to_thread(shard.wait_for_leader, 2)
    gc.enable()
    verdict = await asyncio.to_thread(judge, load, leader)
    say(
        f"{kind.name}: {len(load.told)} commands acknowledged, {len(verdict.lost)} lost, {len(verdict.repeated)} "
        f"repeated, {len(verdict.out_of_order)} out of order, {load.refused} refused"
    )
    return _results(kind, pauses_ms, phases, len(verdict.lost), len(verdict.repeated) + len(verdict.out_of_order), load)


async def _pause(kind: Kind, shard: RunningShard, load: Load) -> tuple[float, dict[str, int]]:
    """Milliseconds, and what the new leader says of them."""
    leader = await asyncio.to_thread(shard.wait_for_leader, 2)
    await asyncio.sleep(SETTLE_S)
    load.pause_s()
    await asyncio.to_thread(kind.fault, shard, leader)
    next_leader = await asyncio.to_thread(lambda: shard.wait_for_leader(but=leader))
    await load.goes_on(GOES_ON_S)
    await asyncio.sleep(SETTLE_S)
    pause_ms = load.pause_s() * 1000
    took = await asyncio.to_thread(lambda: next_leader.status()["last_failover"])
    await asyncio.to_thread(kind.heal, shard, leader)
    return pause_ms, took or {}


def _shown(took: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in took.items())


def _results(
    kind: Kind, pauses_ms: list[float], phases: list[dict[str, int]], lost: int, stale: int, load: Load
) -> list[Result]:
    ordered = sorted(pauses_ms)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    name = f"failover.{kind.name}"
    target_p50, target_p99 = kind.targets_ms
    results = [
        result(f"{name}.p50_ms", [round(p50, 1)], "ms", "lower", target=target_p50),
        result(f"{name}.p99_ms", [round(p99, 1)], "ms", "lower", target=target_p99),
        result(f"{name}.max_ms", [round(ordered[-1], 1)], "ms", "lower"),
        result(f"{name}.count", [len(ordered)], "1", "higher"),
        result(f"{name}.lost", [lost], "1", "lower", target=0),
        # Carried out twice, or behind what had been answered before.
        result(f"{name}.stale_effects", [stale], "1", "lower", target=0),
        result(f"{name}.rejected", [load.refused], "1", "lower", target=0),
    ]
    # Where the time goes, as the new leader saw it.
    for phase in PHASES:
        values = [float(took[phase]) for took in phases if phase in took]
        if values:
            results.append(result(f"{name}.phase.{phase}", [statistics.median(values)], "ms", "lower"))
    return results
