"""A shard's engines for its status: who leads, who is in sync, how the last take-over went. What was observed in."""

from typing import Any

from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.contracts.resources.engine_shard import Failover, Member
from openbourse.operator import records
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import engine
from openbourse.operator.observed import EngineFacts, Observed


def lag_of(leader: EngineFacts, other: EngineFacts) -> int:
    """In commands that the leader has committed and the other has not carried out."""
    return max((leader.committed_seq or 0) - (other.committed_seq or 0), 0)


def fields(observed: Observed, shard: EngineShard) -> dict[str, Any]:
    """What nobody said lately is left away, but for the last take-over, which stays true."""
    said = observed.members(shard.metadata.name)
    leader = observed.leader(shard.metadata.name)
    found: dict[str, Any] = {"lastFailover": shard.status.last_failover}
    if said:
        found["members"] = [_member(pod, facts, leader) for pod, facts in said.items()]
    if leader is not None:
        pod, facts = leader
        found |= {
            "leader": pod,
            "inSync": len(facts.in_sync),
            "epoch": facts.epoch,
            "committedSeq": facts.committed_seq,
            "lag": max((lag_of(facts, other) for other in said.values()), default=0),
            # A fresh engine has none.
            "checkpoint": facts.checkpoint or None,
            "stateHash": facts.state_hash or None,
        }
        if facts.last_failover is not None:
            took = facts.last_failover.model_dump()
            found["lastFailover"] = Failover.model_validate(took | {"leader": pod})
    return {name: value for name, value in found.items() if value is not None}


def in_sync(observed: Observed, exchange: Exchange, shard: EngineShard) -> Fact:
    """InSync: every engine that there should be has everything that was acknowledged."""
    lost = records.lost(observed, exchange, shard)
    if lost:
        return Fact("InSync", False, "RecordLost", lost)
    if not shard.spec.standbys:
        return Fact("InSync", True, "NoStandbys", "one engine, which has everything")
    leader = observed.leader(shard.metadata.name)
    if leader is None:
        return Fact("InSync", None, "NobodyLeads", "no engine says that it leads")
    said = observed.members(shard.metadata.name)
    behind = [
        f"{pod} {_role(said.get(pod))}"
        for pod in engine.members(exchange, shard)
        if pod not in said or said[pod].member not in leader[1].in_sync
    ]
    count = f"{len(leader[1].in_sync)} of {1 + shard.spec.standbys} engines have everything"
    if behind:
        return Fact("InSync", False, "StandbyMissing", f"{count}: {', '.join(behind)}")
    return Fact("InSync", True, "AllInSync", count)


def redundant(shard: EngineShard) -> Fact:
    """Redundant: the market survives the loss of an engine. One that does not is allowed, and said."""
    if shard.spec.standbys:
        return Fact("Redundant", True, "Standbys", f"{1 + shard.spec.standbys} engines")
    alone = "one engine: while it is away there is no market, and its volume is all that has the orders"
    return Fact("Redundant", False, "OneEngine", f"{alone}; spec.standbys: 1 adds another")


def _role(facts: EngineFacts | None) -> str:
    return "is silent" if facts is None else f"is {facts.role or 'starting'}"


def _member(pod: str, facts: EngineFacts, leader: tuple[str, EngineFacts] | None) -> Member:
    return Member(
        pod=pod,
        # Who is in sync, the leader knows: a standby reads the record when there is a reason.
        role="standby" if facts.role == "standby in sync" else facts.role or "",
        in_sync=leader is not None and facts.member in leader[1].in_sync,
        committed_seq=facts.committed_seq,
        problem=(facts.stopped or facts.record)[:512],
    )
