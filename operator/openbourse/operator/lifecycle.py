"""Conditions of a shard about what its engines go through: upgrades, nodes, standbys that are behind. Facts out."""

from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator import governor
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import kinds, names
from openbourse.operator.members import lag_of
from openbourse.operator.observed import Observed
from openbourse.operator.readiness import why_it_is_not_placed
from openbourse.operator.replacements import Members, Step, Wait, leader_on_cordoned, members_of, next_step

# Of one that follows, and is some seconds of orders away.
BEHIND_COMMANDS = 10_000


def facts(observed: Observed, exchange: Exchange, shard: EngineShard) -> list[Fact]:
    """Where there are no engines yet there is nothing to say of them."""
    live = observed.child(kinds.STATEFUL_SET, names.engine(exchange.metadata.name, shard.metadata.name))
    if live is None:
        return []
    members = members_of(observed, exchange, shard, live)
    step = next_step(observed, exchange, shard)
    return [
        _upgrading(observed, exchange, members, step),
        _held(observed, exchange, members, step),
        _standby_is_behind(observed, shard, members),
        _spread(members),
        _cordoned(observed, members),
    ]


def _upgrading(observed: Observed, exchange: Exchange, members: Members, step: Step | None) -> Fact:
    if not members.outdated:
        return Fact("Upgrading", False, "UpToDate", "every engine that is there is of the present template")
    count = f"{len(members.outdated)} of {len(members.expected)} engines are of an earlier template"
    match step:
        case None:
            return Fact("Upgrading", True, "ByStatefulSet", f"{count}: its StatefulSet replaces them")
        case Wait(reason, message):
            return Fact("Upgrading", True, reason, f"{count}: {message}")
        case _:
            soon = governor.too_soon(observed, exchange)
            return Fact("Upgrading", True, "WaitsItsTurn" if soon else "Replacing", f"{count}: {soon or step.reason}")


def _held(observed: Observed, exchange: Exchange, members: Members, step: Step | None) -> Fact:
    if members.outdated and isinstance(step, Wait) and step.is_held:
        return Fact("UpgradeIsHeld", True, step.reason, step.message)
    hold = governor.on_hold(observed, exchange)
    if members.outdated and hold.holds:
        return Fact("UpgradeIsHeld", True, hold.reason, hold.message)
    return Fact("UpgradeIsHeld", False, "NothingIsHeld", "")


def _standby_is_behind(observed: Observed, shard: EngineShard, members: Members) -> Fact:
    leader = observed.leader(shard.metadata.name)
    if not shard.spec.standbys or leader is None:
        return Fact("StandbyIsBehind", None if shard.spec.standbys else False, "NobodyLeads", "")
    behind = []
    for pod, facts_ in observed.members(shard.metadata.name).items():
        if pod == leader[0] or pod not in members.expected:
            continue
        lag = lag_of(leader[1], facts_)
        if facts_.member not in leader[1].in_sync:
            behind.append(
                f"{pod} follows with {lag:,} commands to go" if lag else f"{pod} is {facts_.role or 'starting'}"
            )
        elif lag > BEHIND_COMMANDS:
            behind.append(f"{pod} has carried out {lag:,} commands less than the leader")
    if behind:
        return Fact("StandbyIsBehind", True, "CatchingUp", "; ".join(behind))
    return Fact("StandbyIsBehind", False, "CaughtUp", "")


def _spread(members: Members) -> Fact:
    lonely = [
        f"{pod} has no node ({why})"
        for pod, found in sorted(members.pods.items())
        if (why := why_it_is_not_placed(found))
    ]
    if lonely:
        message = f"{'; '.join(lonely)}: each engine needs a node of its own, and the node that its volume is on"
        return Fact("SpreadIsImpossible", True, "Unschedulable", message)
    return Fact("SpreadIsImpossible", False, "Placed", "")


def _cordoned(observed: Observed, members: Members) -> Fact:
    if observed.cordoned is None:
        return Fact("LeaderIsOnACordonedNode", None, "NodesCannotBeRead", "the operator may not read nodes")
    sentence = leader_on_cordoned(observed, members)
    return Fact("LeaderIsOnACordonedNode", bool(sentence), "Cordoned" if sentence else "Placed", sentence)
