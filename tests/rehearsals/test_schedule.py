"""When a schedule makes a rehearsal: walked through minute by minute, over changes of the clocks and ends of months."""

import datetime
from typing import Any

import pytest

from openbourse.contracts.resources import Rehearsal, RehearsalSchedule, Scenario
from openbourse.operator.rehearsals.schedule import Due, Waits, next_run, next_window, to_forget

SPEC: dict[str, Any] = {
    "exchange": "demo",
    "scenarios": ["EngineCrash", "EngineFreeze", "StandbyLost"],
    "load": {"keysSecret": "keys", "symbol": "BTCUSDT"},
    "windows": [{"from": "02:00", "to": "04:00"}],
}


def schedule(status: dict[str, Any] | None = None, **spec: Any) -> RehearsalSchedule:
    metadata = {"name": "nightly", "namespace": "trading"}
    return RehearsalSchedule.model_validate({"metadata": metadata, "spec": SPEC | spec, "status": status or {}})


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def after(made: Due) -> dict[str, Any]:
    """The status that remembers it."""
    return {"lastWindow": made.begins, "lastRehearsal": made.name, "lastScenario": made.scenario}


def walked(
    begins: str, days: int, every_minutes: int, asleep: tuple[str, str] = ("2000-01-01", "2000-01-01"), **spec: Any
) -> list[tuple[datetime.datetime, Due]]:
    """What is made when somebody looks that often, but for a time in which nobody does."""
    now, ends = utc(begins), utc(begins) + datetime.timedelta(days=days)
    status: dict[str, Any] = {}
    made = []
    while now < ends:
        if not utc(asleep[0]) <= now < utc(asleep[1]):
            decided = next_run(schedule(status, **spec), now)
            if isinstance(decided, Due):
                made.append((now, decided))
                status = after(decided)
        now += datetime.timedelta(minutes=every_minutes)
    return made


# Over the end of a month, of a year and of a February, and over both changes of the clocks.
TIMES = ["2026-11-28", "2026-12-29", "2028-02-27", "2026-03-27", "2026-10-23"]


@pytest.mark.parametrize("begins", TIMES)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
@pytest.mark.parametrize("clock", [("02:00", "04:00"), ("00:00", "00:30"), ("23:00", "23:59")])
def test_there_is_one_a_window_at_its_beginning_and_they_take_turns(
    begins: str, zone: str, clock: tuple[str, str]
) -> None:
    window = {"from": clock[0], "to": clock[1], "timezone": zone}
    made = walked(f"{begins}T00:00", 5, 10, windows=[window])
    assert len(made) == 5 or (len(made) in {4, 6} and clock != ("02:00", "04:00"))
    assert len({due.name for _, due in made}) == len(made)
    for now, due in made:
        assert due.begins <= now < due.ends
    assert [due.scenario for _, due in made] == [Scenario(SPEC["scenarios"][at % 3]) for at in range(len(made))]


def test_a_window_in_which_nobody_looked_is_not_made_up_for() -> None:
    made = walked("2026-11-27T00:00", 4, 10, asleep=("2026-11-28T01:00", "2026-11-29T04:00"))
    assert [due.begins for _, due in made] == [utc("2026-11-27T02:00"), utc("2026-11-30T02:00")]


def test_who_wakes_up_in_a_window_uses_it_still() -> None:
    made = walked("2026-11-28T00:00", 1, 10, asleep=("2026-11-28T01:00", "2026-11-28T03:30"))
    assert [(now, due.begins) for now, due in made] == [(utc("2026-11-28T03:30"), utc("2026-11-28T02:00"))]


def test_windows_that_overlap_are_each_used_once() -> None:
    windows = [{"from": "02:00", "to": "04:00"}, {"from": "03:00", "to": "05:00"}]
    made = walked("2026-11-28T00:00", 2, 10, windows=windows)
    assert [f"{now:%H:%M}" for now, _ in made] == ["02:00", "04:00", "02:00", "04:00"]


def test_it_says_why_it_waits_and_until_when() -> None:
    outside = next_run(schedule(), utc("2026-11-29T12:00"))
    assert outside == Waits(
        "OutsideWindow", "the next window begins at Mon 2026-11-30 02:00 UTC", utc("2026-11-30T02:00")
    )
    suspended = next_run(schedule(suspend=True), utc("2026-11-29T02:30"))
    assert isinstance(suspended, Waits)
    assert suspended.reason == "Suspended"
    first = next_run(schedule(), utc("2026-11-29T02:30"))
    assert isinstance(first, Due)
    again = next_run(schedule(after(first)), utc("2026-11-29T02:31"))
    assert isinstance(again, Waits)
    assert again.reason == "Made"
    assert "nightly-20261129-0200 is that of this window" in again.sentence


def test_a_scenario_that_was_taken_from_the_list_lets_it_begin_anew() -> None:
    due = next_run(schedule({"lastScenario": "PartitionFromBoth"}), utc("2026-11-29T02:30"))
    assert isinstance(due, Due)
    assert due.scenario is Scenario.ENGINE_CRASH


def test_a_window_of_one_day_is_found_a_week_ahead() -> None:
    window = schedule(windows=[{"days": ["Sun"], "from": "02:00", "to": "04:00"}]).spec.windows
    assert next_window(window, utc("2026-11-29T02:00")) == utc("2026-12-06T02:00")
    assert next_window(window, utc("2026-11-29T01:59")) == utc("2026-11-29T02:00")


def test_of_those_that_are_over_the_oldest_are_forgotten() -> None:
    def made(number: int, phase: str) -> Rehearsal:
        metadata = {"name": f"r-{number}", "creationTimestamp": f"2026-11-{number:02}T02:00:00Z"}
        spec = {name: SPEC[name] for name in ("exchange", "load")} | {"scenario": "EngineCrash"}
        return Rehearsal.model_validate({"metadata": metadata, "spec": spec, "status": {"phase": phase}})

    runs = [made(1, "Running"), made(5, "Finished"), made(2, "Finished"), made(3, "Refused"), made(4, "Held")]
    assert [each.metadata.name for each in to_forget(schedule(keep=1), runs)] == ["r-2", "r-3"]
    assert to_forget(schedule(keep=3), runs) == []
