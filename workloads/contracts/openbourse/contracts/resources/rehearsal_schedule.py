"""A schedule of rehearsals: one in each of its windows, the scenarios in turn. A window that was missed is over."""

import datetime

from pydantic import ConfigDict, Field

from openbourse.contracts.resources.meta import AGE, Column, CustomResource, Status, Stored, kind, rule, rules
from openbourse.contracts.resources.rehearsal import AbortWhen, RehearsalLoad, Scenario
from openbourse.contracts.resources.window import Window


class RehearsalScheduleSpec(Stored):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.load.haltedSymbol) || self.load.haltedSymbol != self.load.symbol",
                "haltedSymbol must be another symbol than the one that is traded",
            ),
        )
    )

    exchange: str = Field(min_length=1, max_length=20)
    shard: str = Field(default="main", min_length=1, max_length=20)
    scenarios: tuple[Scenario, ...] = Field(
        min_length=1,
        max_length=16,
        description="in turn, one a window",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    load: RehearsalLoad
    abort_when: AbortWhen = Field(default_factory=AbortWhen)
    timeout_seconds: int = Field(default=300, ge=60, le=3_600)
    windows: tuple[Window, ...] = Field(min_length=1, max_length=16, description="one rehearsal in each")
    suspend: bool = Field(default=False, description="none is made")
    keep: int = Field(default=30, ge=1, le=1_000, description="of those that are over, the newest, with their reports")


class RehearsalScheduleStatus(Status):
    last_window: datetime.datetime | None = Field(default=None, description="when the last one that was used began")
    last_rehearsal: str | None = Field(default=None, max_length=253)
    last_scenario: Scenario | None = None
    next_window: datetime.datetime | None = None


class RehearsalSchedule(CustomResource):
    """Rehearsals made by the clock, in windows; not while the shard is degraded, nor while a halt is in force."""

    spec: RehearsalScheduleSpec
    status: RehearsalScheduleStatus = Field(default_factory=RehearsalScheduleStatus)

    resource = kind("rehearsalschedules", "RehearsalSchedule")
    short_names = ("rehs",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        Column(name="Last", type="string", json_path=".status.lastRehearsal"),
        Column(name="Next", type="string", json_path=".status.nextWindow"),
        Column(name="Reason", type="string", json_path='.status.conditions[?(@.type=="Due")].reason'),
        AGE,
    )
    object_rules = (
        rule("size(self.metadata.name) <= 36", "the name of a RehearsalSchedule may have at most 36 characters"),
    )
