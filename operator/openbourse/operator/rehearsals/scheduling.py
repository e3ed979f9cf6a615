"""Makes the rehearsals of schedules when they are due and may begin, and forgets old ones. `schedule` decides."""

import datetime
import logging
from collections.abc import Awaitable, Callable, Sequence

from openbourse.contracts.apiserver import ApiServer, Object, Refused
from openbourse.contracts.resources import Condition, Rehearsal, RehearsalSchedule, Scenario
from openbourse.operator.rehearsals.admission import Held
from openbourse.operator.rehearsals.schedule import SCHEDULE_LABEL, Due, Waits, next_run, to_forget
from openbourse.operator.rehearsals.striking import MANAGER

log = logging.getLogger(__name__)

DUE = "Due"
# Why a rehearsal that is not there yet could not begin now; None: it could.
Admit = Callable[[Rehearsal], Awaitable[Held | None]]


async def keep_schedule(
    api: ApiServer, schedule: RehearsalSchedule, rehearsals: Sequence[Rehearsal], now: datetime.datetime, admit: Admit
) -> None:
    """`rehearsals`: those of the namespace. Raises ApiError."""
    name = schedule.metadata.name
    own = [each for each in rehearsals if each.metadata.labels.get(SCHEDULE_LABEL) == name]
    for old in to_forget(schedule, own):
        await api.delete(Rehearsal.resource, old.metadata.namespace, old.metadata.name, old.metadata.uid)
    try:
        decided = next_run(schedule, now)
    except ValueError as error:
        decided = Waits("BadWindow", str(error), None)
    if isinstance(decided, Due):
        decided = await _make(api, schedule, decided, now, admit)
    await _write(api, schedule, decided, now)


async def _make(
    api: ApiServer, schedule: RehearsalSchedule, due: Due, now: datetime.datetime, admit: Admit
) -> Due | Waits:
    """Only what may begin at once: a window in which nothing could begin is skipped, and the reason is said."""
    manifest = _rehearsal(schedule, due)
    why = await admit(Rehearsal.model_validate(manifest))
    if why is not None:
        return Waits(why.reason, f"not begun in the window until {due.ends:%H:%M} UTC so far: {why.sentence}", None)
    try:
        await api.create(Rehearsal.resource, manifest)
    except Refused as error:
        # It was made before this process, or the one before it, could write that down.
        if not error.is_conflict:
            raise
    log.info("%s/%s: makes %s", schedule.metadata.namespace, schedule.metadata.name, due.name)
    return due


def _rehearsal(schedule: RehearsalSchedule, due: Due) -> Object:
    spec = schedule.spec.model_dump(mode="json", by_alias=True)
    taken = ("exchange", "shard", "load", "abortWhen", "timeoutSeconds")
    load = {name: value for name, value in spec["load"].items() if value is not None}
    return {
        "metadata": {
            "name": due.name,
            "namespace": schedule.metadata.namespace,
            "labels": {SCHEDULE_LABEL: schedule.metadata.name},
        },
        "spec": {
            **{name: spec[name] for name in taken},
            "load": load,
            "scenario": due.scenario.value,
            "beginBefore": due.ends.isoformat(),
        },
    }


async def _write(api: ApiServer, schedule: RehearsalSchedule, decided: Due | Waits, now: datetime.datetime) -> None:
    live = schedule.status
    last: tuple[datetime.datetime | None, str | None, Scenario | None]
    if isinstance(decided, Due):
        reason, sentence, holds = "Made", f"made {decided.name}", True
        last = (decided.begins, decided.name, decided.scenario)
        following = live.next_window
    else:
        reason, sentence, holds = decided.reason, decided.sentence, False
        last = (live.last_window, live.last_rehearsal, live.last_scenario)
        following = decided.following or live.next_window
    known = next((each for each in live.conditions if each.type == DUE), None)
    if (
        known is not None
        and (known.reason, known.message, following) == (reason, sentence, live.next_window)
        and last[0] == live.last_window
    ):
        return
    state = "True" if holds else "False"
    condition = Condition(
        type=DUE,
        status="True" if holds else "False",
        reason=reason,
        message=sentence[:1024],
        observed_generation=schedule.metadata.generation,
        last_transition_time=known.last_transition_time if known is not None and known.status == state else now,
    )
    begun, name, scenario = last
    fields = {
        "lastWindow": begun.isoformat() if begun else None,
        "lastRehearsal": name,
        "lastScenario": scenario.value if scenario else None,
        "nextWindow": following.isoformat() if following else None,
    }
    status = {
        "observedGeneration": schedule.metadata.generation,
        "conditions": [condition.model_dump(mode="json", by_alias=True)],
        **{field: value for field, value in fields.items() if value is not None},
    }
    identity = {key: getattr(schedule.metadata, key) for key in ("name", "namespace", "uid")}
    await api.apply(RehearsalSchedule.resource, {"metadata": identity, "status": status}, MANAGER, "status")
