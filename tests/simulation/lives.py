"""Many simulated lives, on all processors: each in a folder of its own, and none knows of another."""

import functools
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from simulation.world import Life, live

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "500"))
# With so many, every rare state is seen.
SEEDS_FOR_ALL = 500
AT_ONCE = 10


@dataclass
class Seen:
    """What came of the lives so far."""

    seeds: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    broken: list[Life] = field(default_factory=list)

    def add(self, life: Life, cpu_s: float) -> None:
        self.seeds += 1
        self.virtual_s += life.virtual_s
        self.cpu_s += cpu_s
        self.states += life.seen
        if life.broken:
            self.broken.append(life)


def one(seed: int) -> Life:
    with tempfile.TemporaryDirectory() as folder:
        return live(seed, Path(folder))


def many(seeds: Iterable[int], live_one: Callable[[int], Life] = one) -> Seen:
    seen = Seen()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        for life, cpu_s in processes.map(functools.partial(_timed, live_one), seeds, chunksize=AT_ONCE):
            seen.add(life, cpu_s)
    return seen


def _timed(live_one: Callable[[int], Life], seed: int) -> tuple[Life, float]:
    began_s = time.process_time()
    life = live_one(seed)
    if not life.broken:
        # Nobody reads it.
        life = replace(life, lines=())
    return life, time.process_time() - began_s


def said(life: Life, last: int = 60, *, module: str = "simulation") -> Iterator[str]:
    yield f"seed {life.seed}: {life.broken}"
    yield f"  PYTHONPATH=tests python -m {module} {life.seed}"
    yield from life.lines[-last:]
