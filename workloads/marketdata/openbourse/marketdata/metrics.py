"""What market data show of themselves to Prometheus. Asked for when read, kept nowhere."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.contracts.tls_material import Material
from openbourse.contracts.tls_metrics import TlsMetrics
from openbourse.marketdata.service import PROBLEMS, Service


class Metrics:
    """Of one shard's market data, each with the label of the shard."""

    def __init__(self, service: Service, tls: Material) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(TlsMetrics(tls))
        self._registry.register(_Now(service))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        service = self._service
        shard = service.shard.name
        feeds = (("market", service.feed), ("accounts", service.account_feed))
        for name, what, value in (
            ("ready", "1: it reads the stream.", not service.why_not_ready()),
            ("seq", "Commands that were heard.", service.shard.watermark.seq),
            ("stored_seq", "Commands that are in the history.", service.stored.seq),
            ("begins_seq", "The first command that the history is of; 1: it is whole.", service.begins_seq),
            ("heard_delay_seconds", "How old the newest command was when it was heard.", service.heard_delay_ms / 1000),
        ):
            family = GaugeMetricFamily(f"openbourse_marketdata_{name}", what, labels=("shard",))
            family.add_metric((shard,), float(value))
            yield family
        problems = GaugeMetricFamily(
            "openbourse_marketdata_problem", "1: what only a person can put right.", labels=("shard", "problem")
        )
        for problem in PROBLEMS:
            problems.add_metric((shard, problem), float(problem == service.problem))
        yield problems
        readers = GaugeMetricFamily(
            "openbourse_marketdata_feed_readers", "Gateways that hear a feed.", labels=("shard", "feed")
        )
        for of, feed in feeds:
            readers.add_metric((shard, of), feed.readers)
        yield readers
        events = CounterMetricFamily("openbourse_marketdata_events", "That were heard.", labels=("shard",))
        events.add_metric((shard,), service.events)
        yield events
        for name, what, counts in (
            ("messages", "That a feed was given to tell.", [(of, feed.messages) for of, feed in feeds]),
            ("bytes", "That were told to readers of a feed, together.", [(of, feed.bytes) for of, feed in feeds]),
            ("readers_let_go", "Readers of a feed that did not keep up.", [(of, feed.let_go) for of, feed in feeds]),
        ):
            counter = CounterMetricFamily(f"openbourse_marketdata_feed_{name}", what, labels=("shard", "feed"))
            for of, count in counts:
                counter.add_metric((shard, of), count)
            yield counter
