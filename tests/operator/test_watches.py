"""When a watch counts as dead: only when a list shows for long enough what it should have told."""

import pytest

from openbourse.contracts.apiserver import Object
from openbourse.operator.watches import UNTOLD_MAX_S, WATCHED, Watches

PLURALS = [resource.plural for resource in WATCHED]


def metadata(version: int, uid: str = "a", namespace: str = "trading") -> Object:
    return {"uid": uid, "name": f"name-of-{uid}", "namespace": namespace, "resourceVersion": str(version)}


def a_list(*all_metadata: Object) -> list[Object]:
    return [{"metadata": each} for each in all_metadata]


@pytest.mark.parametrize("plural", PLURALS)
def test_a_change_that_a_list_shows_and_no_event_tells_is_a_dead_watch_of_any_kind(plural: str) -> None:
    watches = Watches(0.0)
    watches.told(plural, metadata(1), 1.0, gone=False)
    for version, second in ((4, 2.0), (5, 12.0), (6, 22.0)):
        watches.listed(plural, None, "9", a_list(metadata(version)), second)
    assert not watches.why_dead(2.0 + UNTOLD_MAX_S)
    assert watches.untold_s(10.0) == {each: 8.0 if each == plural else 0.0 for each in PLURALS}
    assert watches.why_dead(2.1 + UNTOLD_MAX_S) == f"no event of {plural} name-of-a for 30 s, and it has changed"


def test_an_object_that_was_never_told_is_as_good_a_sign_until_it_is_gone() -> None:
    watches = Watches(0.0)
    for namespace in (None, "trading"):
        watches.listed("halts", namespace, "5", a_list(metadata(4)), 2.0)
        watches.listed("halts", "another", "5", [], 3.0)
        assert "name-of-a" in watches.why_dead(100.0)
        watches.listed("halts", namespace, "6", [], 101.0)
        assert not watches.why_dead(200.0)


def test_one_that_changes_with_each_list_is_not_taken_for_dead_when_its_events_are_late_each_time() -> None:
    watches = Watches(0.0)
    for second in range(0, 200, 5):
        watches.listed("pods", None, str(second), a_list(metadata(second)), float(second))
        assert not watches.why_dead(float(second))
        watches.told("pods", metadata(second), second + 0.1, gone=False)


def test_what_was_deleted_in_a_gap_is_forgotten_and_what_is_younger_than_the_list_is_not() -> None:
    watches = Watches(0.0)
    watches.told("symbols", metadata(3, "old"), 1.0, gone=False)
    watches.told("symbols", metadata(9, "young"), 1.0, gone=False)
    watches.told("symbols", metadata(3, "elsewhere", "another"), 1.0, gone=False)
    assert watches.listed("symbols", "trading", "8", [], 2.0) == ["old"]
    assert watches.listed("symbols", "trading", "8", [], 2.0) == []
    watches.listed("symbols", "trading", "10", a_list(metadata(9, "young")), 3.0)
    assert not watches.why_dead(100.0)
    assert watches.listed("symbols", None, "10", a_list(metadata(9, "young")), 4.0) == ["elsewhere"]


def test_a_deletion_that_is_told_is_the_end_of_it() -> None:
    watches = Watches(0.0)
    watches.listed("jobs", None, "5", a_list(metadata(4)), 2.0)
    watches.told("jobs", metadata(6), 3.0, gone=True)
    assert not watches.why_dead(100.0)
    assert watches.event_age_s(5.0)["jobs"] == 2.0
    assert watches.event_age_s(5.0)["pods"] == 5.0
