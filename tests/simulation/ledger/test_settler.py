"""Real settlers on a simulated PostgreSQL keep their word, whatever fails, by seed; and are whole once it is healed.

They end when all rare states were seen, but for `SIMULATION_SEEDS` above 500, which says how many. A failure names its
seed, which `PYTHONPATH=tests python -m simulation.ledger SEED` shows.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.ledger.faults import FAULT_OF
from simulation.ledger.planted import BUDGETS, planted
from simulation.ledger.world import live
from simulation.lives import SEEDS, SEEDS_FOR_ALL, SEEDS_LEAST, Seen, many, said

from fixtures.figures import Show, Tally

TESTS = Path(__file__).parents[2]
RARE = (
    *FAULT_OF,
    "a commit that could be seen was lost at a take-over",
    "a commit that waited was cancelled",
    "a commit was done but not answered",
    "a commit with a warning was taken for unknown",
    "a session that no server has any more was left",
    "a settler waited for the lock of another",
    "a take-over found a commit that was on its way",
    "a take-over from a primary that was frozen",
    "a take-over lost a commit that was not on the standby",
    "all of a batch was there already",
    "events of an older leader were refused",
    "stopped at a lie: back",
    "stopped at a lie: foreign",
    "stopped at a lie: forged",
    "stopped at a lie: gap",
    "the session of a commit that waited was ended",
)


@pytest.mark.timeout(3600)
def test_what_is_reported_as_settled_outlives_everything_and_settlement_goes_on(show: Show) -> None:
    are_enough = lambda seen: SEEDS <= SEEDS_FOR_ALL and seen.seeds >= SEEDS_LEAST and not missing(seen)  # noqa: E731
    seen = many(range(max(SEEDS, SEEDS_FOR_ALL)), live, are_enough)
    states = ", ".join(f"{state} {seen.states[state]:,}" for state in RARE)
    show(
        f"simulation of settlers on a PostgreSQL that fails: {seen.seeds} seeds, {seen.virtual_s / 3600:.2f} simulated "
        f"hours, {seen.cpu_s:.0f} s of CPU; states seen: {states}"
    )
    assert not seen.broken, "\n".join(
        line for life in seen.broken[:3] for line in said(life, module="simulation.ledger")
    )
    assert missing(seen) == []


def missing(seen: Seen) -> list[str]:
    return [state for state in RARE if not seen.states[state]]


def test_a_seed_gives_the_same_life_in_every_process() -> None:
    """Byte by byte, whatever the hashes of strings are there."""
    lives = []
    for hash_seed in ("1", "2"):
        for seed in ("3", "4", "7"):
            shown = subprocess.run(
                [sys.executable, "-m", "simulation.ledger", seed],
                env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            lives.append(shown.stdout)
    assert lives[:3] == lives[3:]
    assert len(set(lives)) == 3


@pytest.mark.parametrize("bug", BUDGETS)
def test_a_planted_bug_is_found(bug: str, show: Show, tally: Tally) -> None:
    tally("planted bugs of the settler found in simulations")
    for seed in range(BUDGETS[bug]):
        with planted(bug):
            life = live(seed)
        if life.broken:
            show(f"planted bug found: {bug}, after {seed + 1} of {BUDGETS[bug]} seeds: {life.broken[:120]}")
            return
    raise AssertionError(f"not found in {BUDGETS[bug]} seeds")
