"""When a schedule makes its next rehearsal, and which: the schedule, its past and the time in, a decision out.

Only the window of now counts: one that was missed, because nobody looked or because the shard was not whole, is over.
"""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openbourse.contracts.resources import Phase, Rehearsal, RehearsalSchedule, Scenario
from openbourse.contracts.resources.window import Window

SCHEDULE_LABEL = "openbourse.dev/schedule"
# A week, the day that began elsewhere already, and a week more for a window that a jump of the clocks left nothing of.
DAYS_AHEAD = 15


@dataclass(frozen=True, slots=True)
class Due:
    """Make it now; it must begin before `ends`."""

    name: str
    scenario: Scenario
    begins: datetime.datetime
    ends: datetime.datetime


@dataclass(frozen=True, slots=True)
class Waits:
    """Until the next window, if there is one."""

    reason: str
    sentence: str
    following: datetime.datetime | None


def next_run(schedule: RehearsalSchedule, now: datetime.datetime) -> Due | Waits:
    """The status remembers the window that was used last. Raises ValueError for a zone that nobody knows."""
    following = next_window(schedule.spec.windows, now)
    told = "never" if following is None else f"at {following:%a %Y-%m-%d %H:%M} UTC"
    if schedule.spec.suspend:
        return Waits("Suspended", "suspend is true: set it to false to have rehearsals made", following)
    present = present_window(schedule.spec.windows, now)
    if present is None:
        return Waits("OutsideWindow", f"the next window begins {told}", following)
    begins, ends = present
    last = schedule.status.last_window
    if last is not None and last >= begins:
        return Waits("Made", f"{schedule.status.last_rehearsal} is that of this window; the next one {told}", following)
    name = f"{schedule.metadata.name}-{begins:%Y%m%d-%H%M}"
    return Due(name, _following_scenario(schedule), begins, ends)


def present_window(
    windows: Iterable[Window], now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Of those that now is in, the one that began first."""
    days = (window.on(now.astimezone(window.zone).date()) for window in windows)
    return min((times for times in days if times is not None and times[0] <= now < times[1]), default=None)


def next_window(windows: Iterable[Window], now: datetime.datetime) -> datetime.datetime | None:
    """When the next one begins after now."""
    found = []
    for window in windows:
        today = now.astimezone(window.zone).date()
        for ahead in range(DAYS_AHEAD):
            times = window.on(today + datetime.timedelta(days=ahead))
            if times is not None and times[0] > now:
                found.append(times[0])
                break
    return min(found, default=None)


def to_forget(schedule: RehearsalSchedule, made: Sequence[Rehearsal]) -> list[Rehearsal]:
    """Those of the schedule that are over and more than it keeps, the oldest first."""
    over = [each for each in made if each.status.phase in {Phase.FINISHED, Phase.REFUSED}]
    over.sort(key=lambda each: (str(each.metadata.creation_timestamp), each.metadata.name))
    return over[: max(0, len(over) - schedule.spec.keep)]


def _following_scenario(schedule: RehearsalSchedule) -> Scenario:
    """In turn; from the beginning where the last one is none of them any more."""
    scenarios, last = schedule.spec.scenarios, schedule.status.last_scenario
    if last is None or last not in scenarios:
        return scenarios[0]
    return scenarios[(scenarios.index(last) + 1) % len(scenarios)]
