"""From asking for a Halt of an exchange until every shard has acknowledged it in Halt.status, no operator running.

A real API server whose etcd syncs, two shards of two real engines each on this machine, and a client that watches.
BENCH_HALTS says how many, one after another.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from result import Result, at_share, result, say

# `python tests/bench` finds the modules of this folder; the fixtures are one up.
sys.path.append(str(Path(__file__).parents[1]))

from fixtures.apiservers import ADMIN_TOKEN, RunningApiServer, api_server_in, install_definitions
from fixtures.engines import engines_in, make_tls_material
from fixtures.halt_times import HaltTime, watching
from fixtures.members import make_shard
from openbourse.contracts.apiserver import ApiServer

ROOT = Path(__file__).parents[2]
HALTS = int(os.environ.get("BENCH_HALTS", "200"))
WARM_UP = 5
SHARDS = ("main", "hot")
TARGET_P99_MS = 100
BETWEEN_S = 0.02


def measure() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder, api_server_in(Path(folder), syncs=True) as server:
        install_definitions(server, ROOT / "crds")
        # Engines find the API server as in a person's shell.
        os.environ["KUBECONFIG"] = str(server.kubeconfig(ADMIN_TOKEN))
        os.environ.pop("KUBERNETES_SERVICE_HOST", None)
        times = _with_engines(Path(folder), server)
    acknowledged = sorted(time.acknowledged_ms for time in times)
    created = sorted(time.created_ms for time in times)
    seen = sorted(time.seen_ms for time in times)
    name = "halt.acknowledged"
    return [
        result(f"{name}.p50_ms", [round(at_share(acknowledged, 0.5), 1)], "ms", "lower"),
        result(f"{name}.p99_ms", [round(at_share(acknowledged, 0.99), 1)], "ms", "lower", target=TARGET_P99_MS),
        result(f"{name}.max_ms", [round(acknowledged[-1], 1)], "ms", "lower"),
        result(f"{name}.count", [len(times)], "1", "higher"),
        # Of that, until the API server has stored it, and until it came on a watch, as it comes to engines.
        result("halt.created.p50_ms", [round(at_share(created, 0.5), 1)], "ms", "lower"),
        result("halt.created.p99_ms", [round(at_share(created, 0.99), 1)], "ms", "lower"),
        result("halt.seen.p50_ms", [round(at_share(seen, 0.5), 1)], "ms", "lower"),
        result("halt.seen.p99_ms", [round(at_share(seen, 0.99), 1)], "ms", "lower"),
    ]


def _with_engines(folder: Path, server: RunningApiServer) -> list[HaltTime]:
    arguments = ("--halts-namespace", "default", "--exchange", "demo")
    with engines_in(folder, make_tls_material(folder)) as make:
        for name in SHARDS:
            record = folder / name
            record.mkdir()
            shard = make_shard(lambda *words, name=name: make(*words, shard=name), record, 2, *arguments)
            shard.start()
            shard.wait_for_leader(2)
        return asyncio.run(_measured(server))


async def _measured(server: RunningApiServer) -> list[HaltTime]:
    times = []
    async with ApiServer.connect(server.credentials()) as api, watching(api, "default") as client:
        for number in range(WARM_UP + HALTS):
            taken = await client.halt(SHARDS)
            await asyncio.sleep(BETWEEN_S)
            if number >= WARM_UP:
                times.append(taken)
            if number % 50 == 0:
                say(f"halt {number}: created {taken.created_ms:.1f} ms, acknowledged {taken.acknowledged_ms:.1f} ms")
    return times
