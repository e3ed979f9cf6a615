"""What a standby in sync on the same machine adds: the same load for a leader with one and for one engine alone.

On two cores the standby takes processor time from the leader and from the client; over a network it would not, and the
way there and back would be added.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from engine_load import OpenLoop, fund, open_loop, throughput
from result import RUNS, Result, result, say

sys.path.append(str(Path(__file__).parents[1]))

from fixtures.engines import RunningEngine, engines_in, make_tls_material
from fixtures.members import make_shard

PEER = "the same engine without a standby"
OFFERED = (1000, 10_000)


def measure() -> list[Result]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with engines_in(folder, make_tls_material(folder)) as make:
            shard, alone = make_shard(make, folder, 2), make()
            shard.start()
            alone.start()
            leader = shard.wait_for_leader(in_sync=2)
            for engine in (leader, alone):
                asyncio.run(fund(engine))
            results = throughput("engine.replicated.throughput", leader, alone, PEER)
            for rate in OFFERED:
                results += _latencies(leader, alone, rate)
            status = leader.status()
            # Otherwise something else was measured.
            assert (status["epoch"], len(status["in_sync"])) == (1, 2), status
            return results


def _latencies(leader: RunningEngine, alone: RunningEngine, rate: int) -> list[Result]:
    ours: list[OpenLoop] = []
    peers: list[OpenLoop] = []
    for run in range(RUNS):
        ours.append(asyncio.run(open_loop(leader, rate)))
        peers.append(asyncio.run(open_loop(alone, rate)))
        say(
            f"replicated, offered {rate}/s {run + 1}/{RUNS}: "
            + ", ".join(
                f"p{per_mille / 10:g} {ours[-1].quantile(per_mille):.2f} ms (alone {peers[-1].quantile(per_mille):.2f})"
                for per_mille in (500, 990)
            )
        )

    def beside(name: str, value: Callable[[OpenLoop], float]) -> Result:
        return result(
            f"engine.replicated.{name}.offered_{rate}",
            [value(each) for each in ours],
            "ms",
            "lower",
            peer=PEER,
            peer_values=[value(each) for each in peers],
        )

    added = [one.quantile(500) - other.quantile(500) for one, other in zip(ours, peers, strict=True)]
    return [
        beside("p50_ms", lambda each: each.quantile(500)),
        beside("p99_ms", lambda each: each.quantile(990)),
        result(f"engine.replicated.added_p50_ms.offered_{rate}", added, "ms", "lower"),
    ]
