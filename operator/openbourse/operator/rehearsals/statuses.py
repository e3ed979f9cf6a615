"""What a Rehearsal's status says, from what is known of it. Values in, values out; the time is one of them."""

import datetime
from typing import Any

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import Condition, Phase, Rehearsal
from openbourse.operator.rehearsals.admission import Held
from openbourse.operator.rehearsals.report import Sealed

COMPLETE = "Complete"
# A condition's message has room for so many characters, an invariant's too.
SENTENCE_MOST = 1024


def held(rehearsal: Rehearsal, why: Held, now: datetime.datetime) -> Object:
    phase = Phase.REFUSED if why.for_good else Phase.HELD
    return _status(rehearsal, now, False, why.reason, why.sentence, phase=phase)


def running(rehearsal: Rehearsal, runner: str, now: datetime.datetime) -> Object:
    sentence = f"{rehearsal.spec.scenario.value} in shard {rehearsal.spec.shard}"
    return _status(
        rehearsal, now, False, "Running", sentence, phase=Phase.RUNNING, runner=runner, startedAt=now.isoformat()
    )


def finished(rehearsal: Rehearsal, sealed: Sealed, config_map: str, now: datetime.datetime) -> Object:
    report = sealed.report
    found: dict[str, Any] = {
        "runner": rehearsal.status.runner,
        "startedAt": report.started_at,
        "endedAt": report.ended_at,
        "verdict": report.verdict.value,
        "rtoMs": report.rto_ms,
        "rpoOrders": report.rpo_orders,
        "invariants": [
            {"name": each.name, "state": each.state.value, "message": each.sentence[:SENTENCE_MOST]}
            for each in report.invariants
        ],
        "report": {
            "configMap": config_map,
            "number": report.number,
            "sha256": sealed.sha256,
            "previous": report.previous,
            "key": sealed.key,
        },
    }
    return _status(rehearsal, now, True, report.reason, report.sentence, phase=Phase.FINISHED, **found)


def is_said(rehearsal: Rehearsal, status: Object) -> bool:
    """It says so already: nothing is written."""
    live = rehearsal.status
    (wanted,) = status["conditions"]
    return live.phase == status["phase"] and any(
        (each.type, each.reason, each.message) == (wanted["type"], wanted["reason"], wanted["message"])
        for each in live.conditions
    )


def _status(
    rehearsal: Rehearsal, now: datetime.datetime, complete: bool, reason: str, sentence: str, **more: Any
) -> Object:
    state = "True" if complete else "False"
    known = next((each for each in rehearsal.status.conditions if each.type == COMPLETE), None)
    condition = Condition(
        type=COMPLETE,
        status="True" if complete else "False",
        reason=reason,
        message=sentence[:SENTENCE_MOST],
        observed_generation=rehearsal.metadata.generation,
        last_transition_time=known.last_transition_time if known is not None and known.status == state else now,
    )
    said = {name: value for name, value in more.items() if value is not None}
    return {
        "observedGeneration": rehearsal.metadata.generation,
        "conditions": [condition.model_dump(mode="json", by_alias=True)],
        **said,
    }
