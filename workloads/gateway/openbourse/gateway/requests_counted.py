"""How many requests each call had, how they were answered and how long that took. Integers; no clock.

A call's counts are found once, when the gateway is made: a request adds to them, and looks nothing up by label.
"""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS_NS = [round(seconds * 1e9) for seconds in _BUCKETS_S]
_BOUNDS = [*map(str, _BUCKETS_S), "+Inf"]
# What is no call, whoever asks for it.
UNKNOWN_CALL = "?"


class CallCounts:
    """Of one call on one way in."""

    __slots__ = ("buckets", "call", "statuses", "sum_ns", "way")

    def __init__(self, way: str, call: str) -> None:
        self.way = way
        self.call = call
        # Status of the answer -> how many.
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * len(_BOUNDS)
        self.sum_ns = 0

    def note(self, status: int, took_ns: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.buckets[bisect_left(_BUCKETS_NS, took_ns)] += 1
        self.sum_ns += took_ns


class Requests:
    """Of all calls. `way` is rest or websocket."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], CallCounts] = {}

    def of(self, way: str, call: str) -> CallCounts:
        return self._of.setdefault((way, call), CallCounts(way, call))

    def families(self) -> Iterable[Metric]:
        """Of calls that were made."""
        answered = CounterMetricFamily(
            "openbourse_gateway_requests", "Answers, by their status.", labels=("way", "call", "status")
        )
        took = HistogramMetricFamily(
            "openbourse_gateway_request_seconds", "From a request that was read to its answer.", labels=("way", "call")
        )
        for counts in self._of.values():
            if not counts.statuses:
                continue
            for status, count in sorted(counts.statuses.items()):
                answered.add_metric((counts.way, counts.call, str(status)), count)
            total, buckets = 0, []
            for bound, count in zip(_BOUNDS, counts.buckets, strict=True):
                total += count
                buckets.append((bound, total))
            took.add_metric((counts.way, counts.call), buckets, counts.sum_ns / 1e9)
        yield answered
        yield took
