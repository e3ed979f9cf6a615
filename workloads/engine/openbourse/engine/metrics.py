"""What Prometheus reads of an engine, as text. It asks whoever knows at each reading, and changes nothing.

Times of take-overs are histograms; what is now the case is asked for when it is read, so nothing is kept up to date.
"""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.contracts.tls_material import Material
from openbourse.contracts.tls_metrics import TlsMetrics
from openbourse.engine.lag import LagReports
from openbourse.engine.loop import Loop
from openbourse.engine.member.replica import Replica
from openbourse.engine.replication import State

# A crash is over in tens of milliseconds, a freeze in half a second.
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
_DISK_TROUBLES = ("no_room", "not_written")


class Metrics:
    """Of one engine, each with the label of its shard."""

    def __init__(self, loop: Loop, replica: Replica, lag: LagReports, tls: Material) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(TlsMetrics(tls))
        self._registry.register(_Now(loop, replica, lag))
        phases = Histogram(
            "openbourse_engine_failover_seconds",
            "Take-overs by this engine. detect: since the old leader was heard last; the others since the suspicion.",
            ("shard", "phase"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        shard = loop.core.shard
        replica.take_overs.on_phase.append(lambda phase, seconds: phases.labels(shard, phase).observe(seconds))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, loop: Loop, replica: Replica, lag: LagReports) -> None:
        self._loop = loop
        self._replica = replica
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        core, replica, shard = self._loop.core, self._replica, self._loop.core.shard
        yield _gauges(
            "openbourse_engine_role",
            "1 for the role that this member has.",
            "role",
            shard,
            {str(state): float(state is replica.state) for state in State},
        )
        for name, what, value in (
            ("epoch", "That this engine leads; 0: it does not.", core.epoch),
            ("promised_epoch", "The highest that it led or joined.", replica.member.promised),
            ("committed_seq", "Commands that are committed, as far as it knows.", core.committed_seq),
            ("end_seq", "Commands in its log.", core.end_seq),
            ("in_sync_members", "Of the record, as a leader knows it; 0: it does not lead.", len(replica.in_sync)),
            ("record_trouble", "1: the leadership record cannot be read or written.", bool(replica.trouble)),
            ("disk_syncing_seconds", "How long the log has waited for its disk.", self._loop.syncing_for_s),
        ):
            yield _gauge(name, what, shard, float(value))
        trouble = core.trouble[0] if core.trouble is not None else ""
        yield _gauges(
            "openbourse_engine_disk_trouble",
            "1: why the log takes no commands now.",
            "why",
            shard,
            {why: float(why == trouble) for why in _DISK_TROUBLES},
        )
        yield _gauges(
            "openbourse_engine_follower_lag_commands",
            "How far the disk of a follower is behind the leader's log.",
            "member",
            shard,
            {known.member: float(core.end_seq - known.matched) for known in replica.followers},
        )
        # Only who leads is told by those who read.
        behind = self._lag.behind() if core.epoch else {}
        for name, what, values in (
            ("commands", "Committed, and not passed by a consumer or reader.", {n: c for n, (c, _) in behind.items()}),
            ("seconds", "How old the oldest is, at least.", {n: ms / 1000 for n, (_, ms) in behind.items()}),
        ):
            yield _gauges(f"openbourse_engine_consumer_lag_{name}", what, "consumer", shard, values)
        resent = CounterMetricFamily(
            "openbourse_engine_resent_commands", "That came again and got their first answer.", labels=("shard",)
        )
        resent.add_metric((shard,), core.resent_commands)
        yield resent


def _gauge(name: str, what: str, shard: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"openbourse_engine_{name}", what, labels=("shard",))
    family.add_metric((shard,), value)
    return family


def _gauges(name: str, what: str, label: str, shard: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=("shard", label))
    for of, value in values.items():
        family.add_metric((shard, of), value)
    return family
