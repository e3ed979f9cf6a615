"""What a ledger shows of itself: as its status, and as text for Prometheus. Asked for when read, kept nowhere."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.contracts.tls_material import Material
from openbourse.contracts.tls_metrics import TlsMetrics
from openbourse.ledger.progress import Progress, State
from openbourse.ledger.reconciling import Reconciler


class Shown:
    """The status: how far settlement is, and when all of it was last equal."""

    def __init__(self, progress: Progress, reconciler: Reconciler) -> None:
        self._progress = progress
        self._reconciler = reconciler

    def why_not_ready(self) -> str:
        return self._progress.why_not_ready()

    def as_json(self) -> dict[str, object]:
        return {**self._progress.as_json(), "reconciliation": self._reconciler.as_json()}


class Metrics:
    """Of one ledger, each with the label of its shard."""

    def __init__(self, progress: Progress, reconciler: Reconciler, tls: Material) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(TlsMetrics(tls))
        self._registry.register(_Now(progress, reconciler))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, progress: Progress, reconciler: Reconciler) -> None:
        self._progress = progress
        self._reconciler = reconciler

    def collect(self) -> Iterable[Metric]:
        progress, reconciler = self._progress, self._reconciler
        shard = progress.shard
        state = GaugeMetricFamily(
            "openbourse_ledger_state", "1 for what settlement is doing.", labels=("shard", "state")
        )
        for of in State:
            state.add_metric((shard, of), float(of is progress.state))
        yield state
        equal, whole, waiting = reconciler.equal, reconciler.whole, progress.waiting
        for name, what, value in (
            ("ready", "1: it is ready.", not progress.why_not_ready()),
            ("watermark_seq", "Settled through this seq.", progress.watermark.seq),
            ("lag_seqs", "What the engine has committed and is not settled.", progress.lag_seqs),
            ("lag_seconds", "How long the oldest delivery that is here has waited.", progress.lag_ms / 1000),
            ("transfers_pending", "Deposits, withdrawals and legs of moves that are pending.", waiting.transfers),
            ("transfer_oldest_pending_seconds", "For how long the oldest of them is.", waiting.transfer_oldest_s),
            ("moves_pending", "Moves out of the shard and into it that are pending.", waiting.moves),
            ("move_oldest_pending_seconds", "For how long the oldest of them is.", waiting.move_oldest_s),
            ("covered_seq", "Batches cover every seq once, from the first through this one.", reconciler.covered.seq),
            ("reconciled_seq", "Engine and ledger were last equal at this seq.", equal.seq if equal else 0),
            (
                "reconciled_timestamp_seconds",
                "When they were; 0: not since the start.",
                equal.at_us / 1e6 if equal else 0,
            ),
            (
                "entries_reconciled_timestamp_seconds",
                "When the balances were last equal to the sum of all entries; 0: not since the start.",
                whole.at_us / 1e6 if whole else 0,
            ),
        ):
            family = GaugeMetricFamily(f"openbourse_ledger_{name}", what, labels=("shard",))
            family.add_metric((shard,), float(value))
            yield family
        for name, what, count in (
            ("trades_settled", "Trades that the shard ever settled.", progress.trades),
            ("reconciliations", "That found everything equal.", reconciler.made),
            ("reconciliations_failed", "That could not be made: a side did not answer.", reconciler.failed),
        ):
            counter = CounterMetricFamily(f"openbourse_ledger_{name}", what, labels=("shard",))
            counter.add_metric((shard,), count)
            yield counter
        findings = CounterMetricFamily(
            "openbourse_ledger_findings", "What reconciliation found: settlement stops.", labels=("shard", "kind")
        )
        for kind, count in reconciler.findings.items():
            findings.add_metric((shard, kind), count)
        yield findings
