"""Each bug that is planted in the shell is found within its budget of seeds; without them the same seeds are clean."""

import pytest
from simulation.lives import one
from simulation.planted import BUGS, Bug

from fixtures.figures import Show


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, show: Show) -> None:
    for seed in range(bug.seeds):
        with bug.planted():
            life = one(seed)
        if life.broken:
            show(f"planted bug found: {bug.name}, after {seed + 1} of {bug.seeds} seeds: {life.broken[:120]}")
            return
    raise AssertionError(f"not found in {bug.seeds} seeds")


def test_there_are_bugs_enough() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
