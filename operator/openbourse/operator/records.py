"""Where a shard's leadership record is, whether it is lost, and how many engines there may be because of it.

Values in, answers out. A Lease is made once in a shard's life: an engine on an empty volume founds the shard into a new
one, and over members that have a log that would be the end of what they acknowledged.
"""

from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.drift import first_difference
from openbourse.operator.manifests import engine, kinds, names
from openbourse.operator.observed import Observed


def has_lease(observed: Observed, shard: EngineShard) -> bool:
    """Once it has one it keeps it: an engine alone does not know what others acknowledged."""
    return bool(shard.spec.standbys or shard.status.record or shard.metadata.name in observed.founded)


def lost(observed: Observed, exchange: Exchange, shard: EngineShard) -> str:
    """Why no Lease may be made in place of the one that is missing; empty: there is one, or it may."""
    name = names.record(exchange.metadata.name, shard.metadata.name)
    if not has_lease(observed, shard) or shard.metadata.name in observed.founded:
        return ""
    if shard.status.record:
        return (
            f"its leadership record, the Lease {name}, is gone: engines go on, nobody takes over until it is recovered"
        )
    if _volumes(observed, exchange, shard) and not is_alone(observed, exchange, shard):
        return (
            f"there are volumes of it, and no Lease {name} that says who has everything: recover it; or, if it was "
            f"always one engine, make it with standbys: 0 first"
        )
    return ""


def is_alone(observed: Observed, exchange: Exchange, shard: EngineShard) -> bool:
    """Its one engine has the record on its own volume, and brings it along into a Lease."""
    workload = observed.child(kinds.STATEFUL_SET, names.engine(exchange.metadata.name, shard.metadata.name))
    if workload is None:
        return False
    containers = workload["spec"]["template"]["spec"]["containers"]
    return all(engine.RECORD_ARGUMENT not in container.get("command", ()) for container in containers)


def engines_now(observed: Observed, exchange: Exchange, shard: EngineShard) -> int:
    """One until somebody has led. More are added once those that are there know of them: else nobody lets them in."""
    wanted = len(engine.members(exchange, shard))
    if not has_lease(observed, shard) or not observed.founded.get(shard.metadata.name, True):
        return 1
    live = observed.child(kinds.STATEFUL_SET, names.engine(exchange.metadata.name, shard.metadata.name))
    if live is None:
        return wanted
    present = int(live["spec"].get("replicas", 1))
    if present >= wanted:
        return wanted
    target = engine.stateful_set(exchange, shard, replicas=present, has_lease=True)
    status = live.get("status", {})
    is_through = (
        first_difference(target["spec"]["template"], live["spec"]["template"]) is None
        and status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) >= present
    )
    return wanted if is_through else max(present, 1)


def _volumes(observed: Observed, exchange: Exchange, shard: EngineShard) -> list[str]:
    """Claims of the shard's engines: `wal-` and the pod's name."""
    prefix = f"wal-{names.engine(exchange.metadata.name, shard.metadata.name)}-"
    claims = [claim["metadata"]["name"] for claim in observed.of_kind(kinds.VOLUME_CLAIM)]
    return [claim for claim in claims if claim.startswith(prefix) and claim.removeprefix(prefix).isdecimal()]
