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

# With so many, every rare state is seen.
SEEDS_FOR_ALL = 500
# Unless they are told how many, lives are enough as soon as all rare states are seen, but never less than these.
SEEDS_LEAST = 150
IS_TOLD = "SIMULATION_SEEDS" in os.environ
SEEDS = int(os.environ["SIMULATION_SEEDS"]) if IS_TOLD else SEEDS_FOR_ALL
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


def many(
    seeds: Iterable[int], live_one: Callable[[int], Life] = one, enough: Callable[[Seen], bool] = lambda seen: False
) -> Seen:
    """The lives of all seeds, or of the first of them that are `enough`."""
    seen = Seen()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        for life, cpu_s in processes.map(functools.partial(_timed, live_one), seeds, chunksize=AT_ONCE):
            seen.add(life, cpu_s)
            if enough(seen):
                processes.shutdown(cancel_futures=True)
                break
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
