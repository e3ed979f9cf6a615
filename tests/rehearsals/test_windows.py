"""Windows of the week, by the clocks of their zone: summer time, month ends, and what is no window."""

import datetime
from typing import Any

import pytest

from openbourse.contracts.resources.window import DAYS, Window


def window(**fields: Any) -> Window:
    return Window.model_validate({"from": "02:00", "to": "04:00"} | fields)


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def test_every_minute_of_a_week_is_in_its_window_or_not() -> None:
    monday = utc("2026-11-30T00:00")
    for number, day in enumerate(DAYS):
        wanted = window(days=[day])
        inside = [at for at in range(7 * 24 * 60) if wanted.has(monday + datetime.timedelta(minutes=at))]
        assert inside == list(range(number * 1440 + 120, number * 1440 + 240)), day


BERLIN = [
    # Winter, summer, and the days of the changes: on the last Sunday of March 02:00 to 03:00 does not exist, on the
    # last one of October it comes twice.
    ("2026-01-31", "02:00", "04:00", "2026-01-31T01:00", "2026-01-31T03:00"),
    ("2026-07-31", "02:00", "04:00", "2026-07-31T00:00", "2026-07-31T02:00"),
    ("2026-03-29", "01:00", "04:00", "2026-03-29T00:00", "2026-03-29T02:00"),
    ("2026-03-29", "02:00", "04:00", "2026-03-29T01:00", "2026-03-29T02:00"),
    ("2026-10-25", "02:00", "04:00", "2026-10-25T00:00", "2026-10-25T03:00"),
    ("2026-12-31", "23:00", "23:59", "2026-12-31T22:00", "2026-12-31T22:59"),
]


@pytest.mark.parametrize(("day", "begins", "ends", "begins_utc", "ends_utc"), BERLIN)
def test_summer_time_moves_a_window_along(day: str, begins: str, ends: str, begins_utc: str, ends_utc: str) -> None:
    wanted = window(timezone="Europe/Berlin", **{"from": begins, "to": ends})
    assert wanted.on(datetime.date.fromisoformat(day)) == (utc(begins_utc), utc(ends_utc))
    assert wanted.has(utc(begins_utc))
    assert not wanted.has(utc(ends_utc))
    assert not wanted.has(utc(begins_utc) - datetime.timedelta(seconds=1))


def test_a_window_of_which_the_jump_leaves_nothing_is_none() -> None:
    jumped = window(timezone="Europe/Berlin", **{"from": "02:30", "to": "03:10"})
    assert jumped.on(datetime.date(2026, 3, 29)) is None


def test_a_zone_that_nobody_knows_is_said() -> None:
    with pytest.raises(ValueError, match="timezone Nowhere/City"):
        _ = window(timezone="Nowhere/City").zone
