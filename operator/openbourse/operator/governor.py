"""How much of what the operator does by itself may happen at once. Observed in, what of it may be done now out.

At most so many shards of an exchange are disturbed at a time, with a distance in between; and nothing is done while all
of them look ill at once: then it is the control plane that is, or our sight of it. Nothing here reads a clock.
"""

import datetime
from collections.abc import Iterable, Iterator

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import kinds, names
from openbourse.operator.observed import Observed
from openbourse.operator.replacements import Replace, SwitchOver, members_of, next_step


def allowed(
    observed: Observed, exchange: Exchange, left_alone: frozenset[str] = frozenset()
) -> Iterator[Replace | SwitchOver]:
    """The steps that may be taken now. `left_alone`: shards of which none is, so that no other waits for them."""
    if on_hold(observed, exchange).holds or too_soon(observed, exchange):
        return
    disturbed = {shard.metadata.name for shard in _living(observed) if _is_disturbed(observed, exchange, shard)}
    for shard in _living(observed):
        if shard.metadata.name in left_alone:
            continue
        step = next_step(observed, exchange, shard)
        if not isinstance(step, Replace | SwitchOver):
            continue
        if len(disturbed | {shard.metadata.name}) > exchange.spec.disruptions.at_once:
            continue
        disturbed.add(shard.metadata.name)
        yield step


def on_hold(observed: Observed, exchange: Exchange) -> Fact:
    """OnHold: everything is ill at once, so nothing that runs is touched."""
    shards = [shard for shard in _living(observed) if shard.status.record]
    if shards and all(shard.metadata.name not in observed.founded for shard in shards):
        message = "the leadership record of every shard is gone: nothing that runs is touched until one is back"
        return Fact("OnHold", True, "EveryRecordIsGone", message)
    led = [shard for shard in shards if observed.founded.get(shard.metadata.name) and _pods(observed, exchange, shard)]
    if led and all(not _heard(observed, shard) for shard in led):
        message = "no engine of any shard answers: nothing that runs is touched until one does"
        return Fact("OnHold", True, "EverybodyIsSilent", message)
    return Fact("OnHold", False, "NothingIsHeld", "")


def too_soon(observed: Observed, exchange: Exchange) -> str:
    """Why the next step has to wait for a while; empty: it has not."""
    distance = datetime.timedelta(seconds=exchange.spec.disruptions.distance_seconds)
    last = max(_disturbances(observed, exchange), default=None)
    if last is None or observed.now - last >= distance:
        return ""
    since_s = (observed.now - last).total_seconds()
    return f"the last one began {since_s:.0f} s ago, {distance.total_seconds():.0f} s are kept"


def _disturbances(observed: Observed, exchange: Exchange) -> Iterator[datetime.datetime]:
    """When engines were made, and when another one led."""
    for shard in _living(observed):
        for pod in _pods(observed, exchange, shard):
            if (made := pod["metadata"].get("creationTimestamp")) is not None:
                yield datetime.datetime.fromisoformat(made.replace("Z", "+00:00"))
        if shard.status.switchover is not None and shard.status.switchover.outcome == "Done":
            yield shard.status.switchover.at
        if shard.status.last_failover is not None:
            yield shard.status.last_failover.at


def _is_disturbed(observed: Observed, exchange: Exchange, shard: EngineShard) -> bool:
    """A member is away or does not have everything, or nobody leads."""
    live = observed.child(kinds.STATEFUL_SET, names.engine(exchange.metadata.name, shard.metadata.name))
    if live is None or not shard.spec.standbys or not observed.founded.get(shard.metadata.name):
        return False
    members = members_of(observed, exchange, shard, live)
    return bool(members.away) or members.in_sync != frozenset(members.expected)


def _heard(observed: Observed, shard: EngineShard) -> bool:
    return any(heard.shard == shard.metadata.name and heard.at == observed.now for heard in observed.engines.values())


def _pods(observed: Observed, exchange: Exchange, shard: EngineShard) -> Iterable[Object]:
    live = observed.child(kinds.STATEFUL_SET, names.engine(exchange.metadata.name, shard.metadata.name))
    return () if live is None else tuple(members_of(observed, exchange, shard, live).pods.values())


def _living(observed: Observed) -> tuple[EngineShard, ...]:
    return tuple(shard for shard in observed.shards if shard.metadata.deletion_timestamp is None)
