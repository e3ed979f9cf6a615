"""A shard's market data for its status: whether they are there, whole, and if not, why. What was observed in."""

from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import kinds, marketdata, names
from openbourse.operator.observed import MarketDataFacts, Observed
from openbourse.operator.readiness import missing_pods

CONDITION = "MarketDataReady"
DISABLED = "spec.marketData.enabled is false: gateways refuse calls about the market, streams and user data"


def problem(observed: Observed, exchange: Exchange, shard: EngineShard) -> str:
    """Why they do not serve, as far as Kubernetes knows; empty when they do, or are not to. One will do."""
    if not shard.spec.market_data.enabled:
        return ""
    if shard.spec.market_data_replicas > 1 and _serving(observed, exchange, shard):
        return ""
    return _missing(observed, exchange, shard)


def ready(observed: Observed, exchange: Exchange, shard: EngineShard) -> Fact:
    """MarketDataReady: a replica reads the stream. One that is away, or does not have everything, is named."""
    if not shard.spec.market_data.enabled:
        return Fact(CONDITION, False, "Disabled", DISABLED)
    said, missing = observed.market_data(shard.metadata.name), _missing(observed, exchange, shard)
    serving = _serving(observed, exchange, shard)
    if not serving:
        return _none_serves(said, missing)
    if shard.spec.market_data_replicas == 1:
        return Fact(CONDITION, False, "PodNotReady", missing) if missing else _whole(serving)
    for pod in marketdata.replicas(exchange, shard):
        if pod not in serving:
            facts = said.get(pod, MarketDataFacts(reason="it does not answer"))
            others = " and ".join(serving)
            return Fact(CONDITION, True, facts.problem or "ReplicaAway", f"{pod}: {facts.reason}; {others} serves")
    return Fact(CONDITION, True, "ReplicaAway", missing) if missing else _whole(serving)


def _none_serves(said: dict[str, MarketDataFacts], missing: str) -> Fact:
    for facts in said.values():
        return Fact(CONDITION, False, facts.problem or "Starting", facts.reason)
    if missing:
        return Fact(CONDITION, False, "PodNotReady", missing)
    return Fact(CONDITION, None, "MarketDataSilent", "its pod is ready and its status port does not answer")


def _whole(serving: dict[str, MarketDataFacts]) -> Fact:
    """A history that does not begin with the shard says so."""
    late = {pod: facts.begins_seq for pod, facts in serving.items() if facts.begins_seq > 1}
    if not late:
        return Fact(CONDITION, True, "Serving", "it has everything since the shard began")
    lacks = "; ".join(f"what was before seq {seq} is not in the history of {pod}" for pod, seq in late.items())
    return Fact(CONDITION, True, "BeginsLate", lacks)


def _serving(observed: Observed, exchange: Exchange, shard: EngineShard) -> dict[str, MarketDataFacts]:
    """Those of the replicas that there are to be."""
    said, wanted = observed.market_data(shard.metadata.name), marketdata.replicas(exchange, shard)
    return {pod: facts for pod, facts in said.items() if pod in wanted and facts.ready}


def _missing(observed: Observed, exchange: Exchange, shard: EngineShard) -> str:
    workload = names.marketdata(exchange.metadata.name, shard.metadata.name)
    missing = missing_pods(observed.child(kinds.STATEFUL_SET, workload))
    return f"{workload} {missing}" if missing else ""
