"""Each bug that is planted in the shell is found within its budget of seeds; without them the same seeds are clean.

With more seeds than `make test` has (`make simulate`), the deep ones too.
"""

import pytest
from simulation.lives import SEEDS, SEEDS_FOR_ALL, one
from simulation.planted import BUGS, Bug

from fixtures.figures import Show, Tally

PLANTED = [bug for bug in BUGS if SEEDS > SEEDS_FOR_ALL or not bug.is_deep]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, show: Show, tally: Tally) -> None:
    tally("planted bugs of the shell found in simulations")
    for tries, seed in enumerate(bug.tried(in_order=SEEDS > SEEDS_FOR_ALL), 1):
        with bug.planted():
            life = one(seed)
        if life.broken:
            show(f"planted bug found: {bug.name}, by seed {seed}, the {tries}. of {bug.seeds}: {life.broken[:120]}")
            return
    raise AssertionError(f"not found in {bug.seeds} seeds")


def test_there_are_bugs_enough() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert len(PLANTED) >= 12
