"""What a gateway shows of itself to Prometheus: asked of who knows it when it is read, kept nowhere."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from openbourse.contracts.tls_material import Material
from openbourse.contracts.tls_metrics import TlsMetrics
from openbourse.gateway.app import TradersPort
from openbourse.gateway.redis.link import RedisLink
from openbourse.gateway.shards import Shards


class Metrics:
    """Of one gateway. `connections`: how many there are at the traders' port, of any kind."""

    def __init__(
        self,
        port: TradersPort,
        shards: Shards,
        redis: RedisLink | None,
        connections: Callable[[], int],
        *,
        tls: Material,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(TlsMetrics(tls))
        self._registry.register(_Now(port, shards, redis, connections))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(
        self,
        port: TradersPort,
        shards: Shards,
        redis: RedisLink | None,
        connections: Callable[[], int],
    ) -> None:
        self._port = port
        self._shards = shards
        self._redis = redis
        self._connections = connections

    def collect(self) -> Iterable[Metric]:
        port, shards = self._port, self._shards
        streams, websocket_api = port.streams, port.websocket_api
        yield from port.requests.families()
        kinds = {"stream": len(streams.connections), "websocket_api": websocket_api.connected}
        kinds["http"] = max(self._connections() - sum(kinds.values()), 0)
        yield _gauge("connections", "Of traders, by kind.", "kind", kinds)
        waiting = {"stream": streams.bytes_waiting(), "websocket_api": websocket_api.bytes_waiting()}
        yield _gauge("waiting_bytes", "For clients to read them, of all connections together.", "kind", waiting)
        let_go = CounterMetricFamily(
            "openbourse_gateway_let_go", "Connections that this gateway ended, and why.", labels=("kind", "reason")
        )
        for kind, counts in (("stream", streams.let_go), ("websocket_api", websocket_api.let_go)):
            for reason, count in sorted(counts.items()):
                let_go.add_metric((kind, reason), count)
        yield let_go
        followed = GaugeMetricFamily(
            "openbourse_gateway_feed_followed", "1: the feed of market data is there.", labels=("feed", "shard")
        )
        for shard in shards:
            followed.add_metric(("market", shard.name), float(shard.marketdata.following.now))
            followed.add_metric(("accounts", shard.name), float(port.user_data.following[shard.name].now))
        yield followed
        level = GaugeMetricFamily(
            "openbourse_gateway_marketdata_level",
            "1: these market data answer, and have caught up.",
            labels=("replica", "shard"),
        )
        for shard in shards:
            for replica in shard.marketdata.replicas.all:
                level.add_metric((replica.url, shard.name), float(not replica.standing.why))
        yield level
        sessions = {engine.shard: engine.session for engine in shards.engines}
        connected = {name: session.connected.is_set() for name, session in sessions.items()}
        yield _gauge("engine_connected", "1: whoever leads the shard is connected.", "shard", connected)
        epochs = {name: session.highest_epoch for name, session in sessions.items()}
        yield _gauge("engine_epoch", "The newest leader that was heard of.", "shard", epochs)
        unanswered = {name: session.waiting_commands for name, session in sessions.items()}
        yield _gauge("engine_waiting_commands", "Commands without an answer yet.", "shard", unanswered)
        waiting_for_symbols = {"": shards.waiting_for_symbols}
        yield _gauge("held_commands", "Of symbols between two shards, until they are there.", "", waiting_for_symbols)
        if self._redis is not None:
            there = {"": self._redis.is_there}
            yield _gauge("redis_connected", "1: limits are counted together with other gateways.", "", there)
        resent = CounterMetricFamily(
            "openbourse_gateway_engine_resent_commands", "To a new leader or connection.", labels=("shard",)
        )
        for name, session in sessions.items():
            resent.add_metric((name,), session.resent_commands)
        yield resent


def _gauge(name: str, what: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """Without a label, of one value."""
    family = GaugeMetricFamily(f"openbourse_gateway_{name}", what, labels=(label,) if label else ())
    for of, value in values.items():
        family.add_metric((of,) if label else (), float(value))
    return family
