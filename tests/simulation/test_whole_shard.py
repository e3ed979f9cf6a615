"""A shard keeps its word, whatever fails around it: the real members, clients and ledger in simulated worlds, by seed.

`SIMULATION_SEEDS` says how many; else they end when all rare states were seen. A failure names its seed:
`PYTHONPATH=tests python -m simulation SEED` shows it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.faults import MOMENTS
from simulation.lives import IS_TOLD, SEEDS, SEEDS_FOR_ALL, SEEDS_LEAST, Seen, many, said

from fixtures.figures import Show

TESTS = Path(__file__).parents[1]
# Each is seen in SEEDS_FOR_ALL, or what was simulated is less than is meant.
RARE = (
    *(f"{what}: {moment}" for moment in MOMENTS for what in ("killed", "power lost")),
    "a boot cuts a torn end",
    "a change of the set is asked for again, its outcome being unknown",
    "a command is answered after a caller gave up waiting",
    "a command that the log cannot take",
    "a command that was sent to one leader is answered by the next",
    "a consumer is sent what memory has no more",
    "a disk refused a write",
    "a follower is sent what memory has no more",
    "a leader gives the first answer of the one before it",
    "a leader stands down",
    "a leader that was started again leads the next epoch",
    "a log is cut back",
    "a member is put into the set",
    "a member is taken out of the set",
    "a spoiled log is refused with the place",
    "a switchover does not come to pass",
    "a take-over from a leader that is frozen",
    "a take-over from a leader that still runs",
    "a take-over while a member is being added",
    "a volume of the set is lost",
    "a write of the record is heard of after it was given up",
    "a write of the record that landed unheard",
    "the lead is handed over",
    "the leader dies while a member is being added",
)


@pytest.mark.timeout(3600)
def test_a_shard_keeps_its_word_and_goes_on_once_it_is_healed(show: Show) -> None:
    seen = many(range(SEEDS), enough=lambda seen: not IS_TOLD and seen.seeds >= SEEDS_LEAST and not missing(seen))
    states = ", ".join(f"{state} {seen.states[state]:,}" for state in RARE)
    show(
        f"simulation of the whole shard: {seen.seeds} seeds, {seen.virtual_s / 3600:.2f} simulated hours, "
        f"{seen.cpu_s:.0f} s of CPU; states seen: {states}"
    )
    assert not seen.broken, "\n".join(line for life in seen.broken[:3] for line in said(life))
    if seen.seeds >= SEEDS_FOR_ALL:
        assert missing(seen) == []


def missing(seen: Seen) -> list[str]:
    return [state for state in RARE if not seen.states[state]]


def test_a_seed_gives_the_same_life_in_every_process() -> None:
    """Byte by byte, whatever the hashes of strings are there."""
    lives = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": hash_seed}
        for seed in ("3", "4", "7"):
            shown = subprocess.run(
                [sys.executable, "-m", "simulation", seed],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            lives.append(shown.stdout)
    assert lives[:3] == lives[3:]
    assert len(set(lives)) == 3
