"""How the parts of an exchange are called and labelled. One place, so that builders, lists and tests agree."""

from openbourse.contracts.component import Component
from openbourse.contracts.resources import GROUP, EngineShard, Exchange

EXCHANGE_LABEL = f"{GROUP}/exchange"
SHARD_LABEL = f"{GROUP}/shard"
COMPONENT_LABEL = "app.kubernetes.io/component"
# Of a pod: the listing that its volume should show. Patching it makes the kubelet look at once.
LISTINGS_ANNOTATION = f"{GROUP}/listings"
# The same, of a gateway's: its limits, and the keys of traders.
LIMITS_ANNOTATION = f"{GROUP}/trading-limits"
API_KEYS_ANNOTATION = f"{GROUP}/api-keys"
# The chart's admission policy, and its binding.
HALT_POLICY = "openbourse-halts"

# Of the operator's own pods, in whichever namespace the chart has put them.
OPERATOR_LABELS = {"app.kubernetes.io/name": "openbourse-operator", COMPONENT_LABEL: str(Component.OPERATOR)}

MIGRATION = "migration"
SEALER = "sealer"


def authority(exchange: str) -> str:
    return f"{exchange}-authority"


def engine(exchange: str, shard: str) -> str:
    return f"{exchange}-engine-{shard}"


def engine_members(exchange: str, shard: str) -> str:
    return f"{engine(exchange, shard)}-members"


def engine_pods(exchange: str, shard: str, count: int) -> tuple[str, ...]:
    """Each is also the name of the Service that leads to this pod alone."""
    return tuple(f"{engine(exchange, shard)}-{ordinal}" for ordinal in range(count))


def record(exchange: str, shard: str) -> str:
    """The Lease of the shard's leadership record."""
    return engine(exchange, shard)


def ledger(exchange: str, shard: str) -> str:
    return f"{exchange}-ledger-{shard}"


def marketdata(exchange: str, shard: str) -> str:
    return f"{exchange}-marketdata-{shard}"


def marketdata_pods(exchange: str, shard: str, count: int) -> tuple[str, ...]:
    """Each is also the name of the Service that leads to this pod alone."""
    return tuple(f"{marketdata(exchange, shard)}-{ordinal}" for ordinal in range(count))


def sealer(exchange: str) -> str:
    return f"{exchange}-sealer"


def gateway(exchange: str) -> str:
    return f"{exchange}-gateway"


def trading_limits(exchange: str) -> str:
    return f"{gateway(exchange)}-limits"


def api_keys(exchange: str) -> str:
    return f"{gateway(exchange)}-api-keys"


def operator(exchange: str) -> str:
    """As whom the operator asks the exchange's ledgers."""
    return f"{exchange}-operator"


def command_line(exchange: str) -> str:
    return f"{exchange}-cli"


def certificate(workload: str) -> str:
    return f"{workload}-tls"


def listings(exchange: str, shard: str) -> str:
    return f"{engine(exchange, shard)}-listings"


def hosts(service: str, namespace: str) -> tuple[str, ...]:
    """Every name by which a peer in the cluster, or in the same pod, may call `service`."""
    return (
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    )


def labels(exchange: Exchange, component: Component | str, shard: EngineShard | None = None) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "openbourse",
        "app.kubernetes.io/managed-by": "openbourse-operator",
        **selector(exchange, component, shard),
    }


def selector(exchange: Exchange, component: Component | str, shard: EngineShard | None = None) -> dict[str, str]:
    """The labels that tell one workload's pods from all others. They never change."""
    return {
        EXCHANGE_LABEL: exchange.metadata.name,
        COMPONENT_LABEL: str(component),
        **({SHARD_LABEL: shard.metadata.name} if shard else {}),
    }
