"""What a sealer shows to Prometheus. Asked for when read, kept nowhere."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.ledger.seal.progress import SealProgress, SealState


class SealMetrics:
    """Of one sealer."""

    def __init__(self, progress: SealProgress) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Now(progress))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, progress: SealProgress) -> None:
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        progress, checkpoint = self._progress, self._progress.checkpoint
        state = GaugeMetricFamily("openbourse_seal_state", "1 for what the sealer is doing.", labels=("state",))
        for of in SealState:
            state.add_metric((of,), float(of is progress.state))
        yield state
        for name, what, value in (
            ("lag_seconds", "Since everything that is settled was sealed the last time.", progress.lag_s),
            ("checkpoint", "Number of the last checkpoint.", checkpoint.number if checkpoint else 0),
            ("checkpoint_timestamp_seconds", "When it was signed.", checkpoint.time_us / 1e6 if checkpoint else 0),
            ("leaves", "Batches in it.", checkpoint.size if checkpoint else 0),
            ("archived_checkpoint", "Number of the last checkpoint in the archive.", progress.archived),
            ("archive_trouble", "1: the archive is away.", bool(progress.archive_trouble)),
            ("witnessed_leaves", "Batches that the witness has countersigned.", progress.witnessed),
            (
                "witness_trouble",
                "1: the witness is away, or answers nothing that counts.",
                bool(progress.witness_trouble),
            ),
        ):
            yield GaugeMetricFamily(f"openbourse_seal_{name}", what, value=float(value))
