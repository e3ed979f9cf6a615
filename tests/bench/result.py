"""One figure of a benchmark, and how a group of them is measured: ours and the peer in turn, in one run."""

import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

# Fewer are for trying a benchmark out, never for a figure.
RUNS = int(os.environ.get("BENCH_RUNS", "5"))


@dataclass(frozen=True, slots=True)
class Result:
    """`value` is a median; `low` and `high` are the extremes of the runs; `peer_value` is the peer's median."""

    name: str
    value: float
    unit: str
    better: str
    target: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def side_by_side(
    ours: Callable[[], float], peer: Callable[[], float], runs: int = RUNS
) -> tuple[list[float], list[float]]:
    """Ours, peer, ours, peer, ...: a machine that changes its speed changes it for both."""
    pairs = [(ours(), peer()) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def result(
    name: str,
    values: list[float],
    unit: str,
    better: str,
    *,
    target: float | None = None,
    peer: str | None = None,
    peer_values: list[float] | None = None,
) -> Result:
    return Result(
        name=name,
        value=statistics.median(values),
        unit=unit,
        better=better,
        target=target,
        peer=peer,
        peer_value=statistics.median(peer_values) if peer_values else None,
        low=min(values),
        high=max(values),
    )


def at_share(ordered: list[float], share: float) -> float:
    """Of sorted values the one that so large a share of them is below."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def say(text: str) -> None:
    """Progress, for whoever waits: the results alone go to stdout."""
    print(f"  {text}", file=sys.stderr, flush=True)
