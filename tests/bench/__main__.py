"""`make bench`: runs the groups (`make bench ONLY=engine` one of them) and prints one line of JSON last.

A group is a module in this folder with `measure() -> list[Result]`. Progress goes to stderr.
"""

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GROUPS = ("kernel", "engine", "failover", "halts", "ledger", "gateway", "fanout", "flow", "operator")
# A module of this name would be Python's own.
MODULES = {"operator": "operator_start"}
# Of a group, and by themselves.
PARTS = ("replicated", "open_loop", "beside_hordak")


def fdatasync_us(folder: Path, writes: int = 500) -> list[float]:
    """How long this disk takes to make 4 KiB durable, in microseconds, one after another."""
    times: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096 * writes))
        os.fsync(file.fileno())
        for block in range(writes):
            os.pwrite(file.fileno(), b"x" * 4096, block * 4096)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1e6)
    return times


def main() -> int:
    # As people write it: fan-out.
    only = os.environ.get("ONLY", "").replace("-", "")
    if only and only not in GROUPS + PARTS:
        print(f"ONLY={only} is no group of benchmarks; there are: {', '.join(GROUPS + PARTS)}", file=sys.stderr)
        return 2
    results = []
    syncs = fdatasync_us(Path(tempfile.gettempdir()))
    load = os.getloadavg()[0]
    for group in [only] if only else GROUPS:
        print(f"bench {group}", file=sys.stderr)
        results += [result.as_json() for result in importlib.import_module(MODULES.get(group, group)).measure()]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    conditions = {
        "cpus": os.cpu_count(),
        "load_average": round(load, 2),
        "fdatasync_p50_us": round(statistics.median(syncs)),
        "fdatasync_p99_us": round(sorted(syncs)[len(syncs) * 99 // 100]),
    }
    print(json.dumps({"commit": commit.strip(), "conditions": conditions, "results": results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
