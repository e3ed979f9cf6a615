"""A time of the week in which something may begin, as people say it: days, from, to, and whose clock."""

import datetime
import zoneinfo
from typing import Any, Literal

from pydantic import ConfigDict, Field

from openbourse.contracts.resources.meta import Stored, rule, rules

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
DAYS: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CLOCK = "must be a time of day such as 02:30"


def _clock(name: str) -> dict[str, Any]:
    return rules(rule("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')", f"{name} {_CLOCK}"))


class Window(Stored):
    """From a time of day to a later one of the same day. By the clocks of its zone: summer time moves it along."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.from < self.to", "a window ends later on the same day than it begins: write two for one night")
        )
    )

    days: tuple[Day, ...] = Field(
        default=DAYS, min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    from_: str = Field(alias="from", max_length=5, json_schema_extra=_clock("from"))
    to: str = Field(max_length=5, json_schema_extra=_clock("to"))
    timezone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="such as Europe/Berlin",
        json_schema_extra=rules(
            rule("self.matches('^[A-Za-z0-9_+/-]+$')", "timezone must be a name such as UTC or Europe/Berlin")
        ),
    )

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Raises ValueError for a zone that nobody knows."""
        try:
            return zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
            raise ValueError(f"timezone {self.timezone}: there is none of this name: {error}") from None

    def on(self, day: datetime.date) -> tuple[datetime.datetime, datetime.datetime] | None:
        """When it begins and ends on a day of its zone, in UTC; None: it does not.

        A time that the clocks jump over is as long after midnight as it would be without the jump; of one that comes
        twice the first. A window that the jump leaves nothing of is none.
        """
        if DAYS[day.weekday()] not in self.days:
            return None
        begins, ends = (self._at(day, text) for text in (self.from_, self.to))
        return (begins, ends) if begins < ends else None

    def _at(self, day: datetime.date, text: str) -> datetime.datetime:
        clock = datetime.time.fromisoformat(text)
        return datetime.datetime.combine(day, clock, self.zone).astimezone(datetime.UTC)

    def has(self, now: datetime.datetime) -> bool:
        """Its beginning is in it, its end is not."""
        times = self.on(now.astimezone(self.zone).date())
        return times is not None and times[0] <= now < times[1]
