"""Each planted bug is found within small bounds; the same bounds without it are clean (`test_small_worlds`).

`SMALL_WORLDS=all` plants those too whose worlds take some ten seconds.
"""

import os

import pytest
from replication.explorer import explore
from replication.planted import BUGS, Bug
from replication.worlds import Worlds

from fixtures.figures import Show, Tally

EVERYTHING = os.environ.get("SMALL_WORLDS") == "all"
STATES_MAX = 250_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", [bug for bug in BUGS if EVERYTHING or not bug.is_deep], ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, show: Show, tally: Tally) -> None:
    tally("planted bugs of the protocol found in small worlds")
    worlds = Worlds(bug.bounds)
    first = worlds.first()
    bug.plant(monkeypatch.setattr)
    explored = explore(worlds, first=first, states_max=STATES_MAX)
    assert explored.broken is not None, f"not found in {len(explored.states):,} worlds to depth {explored.depth}"
    show(
        f"planted bug found: {bug.name}, rule {bug.rule}, at depth {explored.broken.depth} in {len(explored.states):,} "
        f"worlds: {explored.broken.what}"
    )


def test_there_are_bugs_for_every_rule_that_is_decided_here() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
    assert {bug.rule for bug in BUGS} == {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
