"""What Prometheus reads of an operator, as text. It asks whoever knows at each reading, and changes nothing.

What was done is counted as it is done; what is now the case is asked for, so nothing is kept up to date. A replica that
does not lead has neither queue nor watches to tell of.
"""

import time
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.operator.health import Health
from openbourse.operator.observed import Refusal
from openbourse.operator.plan import Apply, Delete, Plan

_PLAN_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROUND_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Of one operator."""

    def __init__(self, health: Health) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Now(health))
        self._plan = Histogram(
            "openbourse_operator_plan_seconds",
            "How long it took to decide what to do next for an exchange.",
            buckets=_PLAN_BUCKETS_S,
            registry=self._registry,
        )
        self._rounds = Histogram(
            "openbourse_operator_round_seconds",
            "From a look at an exchange to the last thing done for it. settled: nothing is left to do; unsettled: "
            "something was refused, or it still changes; failed: the API server could not be asked.",
            ("outcome",),
            buckets=_ROUND_BUCKETS_S,
            registry=self._registry,
        )
        self._actions = Counter(
            "openbourse_operator_actions",
            "Of plans that were carried out, by phase, what was done, and to what kind of object.",
            ("phase", "action", "kind"),
            registry=self._registry,
        )
        self._refusals = Counter(
            "openbourse_operator_refusals",
            "Actions that the API server refused.",
            ("phase",),
            registry=self._registry,
        )

    def stepped(self, step: Plan, seconds: float, refusals: tuple[Refusal, ...]) -> None:
        """A plan took so long to make, and so much of it was refused."""
        self._plan.observe(seconds)
        for action in step.actions:
            kind = action.resource.kind if isinstance(action, Apply | Delete) else ""
            self._actions.labels(step.phase, type(action).__name__, kind).inc()
        if refusals:
            self._refusals.labels(step.phase).inc(len(refusals))

    def round_done(self, outcome: str, seconds: float) -> None:
        self._rounds.labels(outcome).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        health, now = self._health, time.monotonic()
        yield _gauge("openbourse_operator_leads", "1: this replica works; 0: it waits.", float(health.leads))
        if not health.leads:
            return
        for name, what, value in (
            ("queue_age_seconds", "How long an exchange has waited for a round, at most.", health.queue_age_s),
            ("round_age_seconds", "Since the API server last answered a whole round.", health.round_age_s),
        ):
            yield _gauge(f"openbourse_operator_{name}", what, value)
        for name, what, values in (
            ("event_age_seconds", "Since the last event of a kind.", health.watches.event_age_s(now)),
            ("untold_seconds", "How long a list knows better than the watch; 0: never.", health.watches.untold_s(now)),
        ):
            yield _gauges(f"openbourse_operator_watch_{name}", what, ("kind",), {(k,): s for k, s in values.items()})
        yield _gauges(
            "openbourse_operator_unsettled_seconds",
            "How long each round for an exchange has left something to do, or failed.",
            ("namespace", "exchange"),
            {exchange: now - at for exchange, at in health.unsettled_at.items()},
        )


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)


def _gauges(
    name: str, what: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
