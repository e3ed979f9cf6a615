"""The seal of an exchange's ledger for its status: the last checkpoint, and whether what is settled is signed. Pure."""

import datetime
from typing import Any

from openbourse.contracts.resources import Exchange
from openbourse.contracts.resources.exchange import Sealed
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import sealer
from openbourse.operator.observed import Observed
from openbourse.operator.plan import has_keys

# As the alert has it.
STALE_MS = 60_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def fields(observed: Observed, exchange: Exchange) -> dict[str, Any]:
    """The last checkpoint stays true while the sealer is silent."""
    facts = observed.seal()
    if facts is None or not facts.checkpoint:
        return {} if exchange.status.sealed is None else {"sealed": exchange.status.sealed}
    sealed = Sealed(
        checkpoint=facts.checkpoint,
        batches=facts.leaves,
        # Seconds, as Kubernetes has its times.
        at=_EPOCH + datetime.timedelta(seconds=facts.time_us // 1_000_000),
        key=facts.key,
        witnessed_batches=facts.witnessed_leaves,
    )
    return {"sealed": sealed}


def sealed(observed: Observed, exchange: Exchange) -> list[Fact]:
    """Sealed: what is settled is signed before long. Nothing of a ledger that is not to be sealed."""
    seal = exchange.spec.ledger.seal
    if seal is None:
        return []
    if not has_keys(observed, seal.pin_secret, sealer.PIN_KEY):
        message = f"Secret {seal.pin_secret} with {sealer.PIN_KEY} is needed"
        return [Fact("Sealed", False, "SecretMissing", message)]
    facts = observed.seal()
    if facts is None:
        return [
            Fact("Sealed", None, "SealerSilent", "the sealer's pod is not there, or its status port does not answer")
        ]
    if facts.state == "stopped":
        return [Fact("Sealed", False, "SealingStopped", facts.reason)]
    if not facts.checkpoint:
        return [Fact("Sealed", False, "NothingSealed", facts.reason or "nothing is settled yet")]
    if facts.lag_ms > STALE_MS:
        return [Fact("Sealed", False, "CheckpointIsStale", facts.reason)]
    trouble = "; ".join(filter(None, (facts.archive_trouble, facts.witness_trouble)))
    if trouble:
        return [Fact("Sealed", True, "CheckpointIsOnlyHere", trouble)]
    return [Fact("Sealed", True, "Sealing", "what is settled is signed")]
