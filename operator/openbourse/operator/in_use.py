"""Whether every gateway has a file in use that the operator made for it. What was observed in, a sentence out."""

from collections.abc import Callable

from openbourse.contracts.component import Component
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import kinds, names
from openbourse.operator.observed import GatewayFacts, Observed


def why_not(
    observed: Observed,
    condition: str,
    digest: str,
    said: Callable[[GatewayFacts], tuple[str | None, str]],
    what: str,
) -> Fact | None:
    """None: every one has. `said`: what a gateway says of the digest that it has in use, None where it knows of no such
    file; and its trouble. `what`: of what the file is."""
    if observed.exchange is None:
        return Fact(condition, False, "NoExchange", f"there is no Exchange {observed.name} in this namespace")
    pods = [
        pod["metadata"]["name"]
        for pod in observed.of_kind(kinds.POD)
        if pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL) == str(Component.GATEWAY)
        and "deletionTimestamp" not in pod["metadata"]
    ]
    if not pods:
        return Fact(condition, False, "NoGateway", "there is no gateway that could have it in use")
    for pod in pods:
        facts = observed.gateways.get(pod)
        if facts is None:
            return Fact(condition, None, "GatewaySilent", f"{pod} does not say which {what} it has in use")
        has, trouble = said(facts)
        if has != digest:
            why = f": {trouble}" if trouble else ", which takes up to about a minute"
            return Fact(condition, False, "Waiting", f"{pod} has not taken it yet{why}")
    return None
