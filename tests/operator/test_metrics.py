"""What Prometheus reads of an operator, read by its own parser."""

import time

from prometheus_client.parser import text_string_to_metric_families

from fixtures.operator_worlds import an_empty_world, settled
from openbourse.operator.health import Health
from openbourse.operator.metrics import Metrics
from openbourse.operator.observed import Refusal
from openbourse.operator.plan import subject
from openbourse.operator.watches import WATCHED

Samples = dict[tuple[str, tuple[str, ...]], float]


def read(metrics: Metrics) -> Samples:
    """By name and the values of the labels, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (
            sample.name.removeprefix("openbourse_operator_"),
            tuple(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in families
        for sample in family.samples
        if "le" not in sample.labels and not sample.name.endswith("_created")
    }


def test_a_replica_that_waits_says_only_that() -> None:
    found = read(Metrics(Health("one")))
    assert found["leads", ()] == 0
    assert not {name for name, _ in found if name.startswith(("queue", "watch", "unsettled", "round_age"))}


def test_the_leader_says_how_old_its_queue_its_watches_and_its_troubles_are() -> None:
    health = Health("one")
    health.begins_to_lead()
    metrics = Metrics(health)
    now = time.monotonic()
    health.woken_at = {("trading", "demo"): now - 7, ("trading", "other"): now - 3}
    health.settled(("trading", "demo"), is_settled=False)
    health.unsettled_at["trading", "demo"] -= 400
    health.settled(("trading", "demo"), is_settled=False)
    health.settled(("trading", "other"), is_settled=True)
    metadata = {"uid": "a", "name": "stop", "namespace": "trading", "resourceVersion": "7"}
    health.watches.listed("halts", None, "8", [{"metadata": metadata}], now - 12)
    found = read(metrics)
    assert found["leads", ()] == 1
    assert 7 <= found["queue_age_seconds", ()] < 8
    assert 400 <= found["unsettled_seconds", ("demo", "trading")] < 401
    assert ("unsettled_seconds", ("other", "trading")) not in found
    assert 12 <= found["watch_untold_seconds", ("halts",)] < 13
    assert {of for name, of in found if name == "watch_event_age_seconds"} == {(r.plural,) for r in WATCHED}
    health.settled(("trading", "demo"), is_settled=True)
    health.forget(("trading", "other"))
    found = read(metrics)
    assert 7 <= found["queue_age_seconds", ()] < 8
    assert ("unsettled_seconds", ("demo", "trading")) not in found


def test_each_action_of_a_start_is_counted_by_phase_and_kind() -> None:
    metrics = Metrics(Health("one"))
    _, plans = settled(an_empty_world())
    for step in plans:
        metrics.stepped(step, 0.002, ())
    metrics.stepped(plans[0], 0.002, (Refusal("adoption", subject(plans[0].actions[0]), 403, "no"),) * 2)
    metrics.round_done("unsettled", 0.3)
    found = read(metrics)
    assert found["actions_total", ("MakeAuthority", "", "authority")] == 1
    assert found["actions_total", ("Apply", "StatefulSet", "engines")] == 2
    assert found["actions_total", ("MakeRecord", "", "records")] == 1
    assert found["refusals_total", ("adoption",)] == 2
    assert found["plan_seconds_count", ()] == len(plans) + 1
    assert found["round_seconds_count", ("unsettled",)] == 1
