"""Whether a rehearsal may begin now: what was observed in, the reason why not out. Values only, the time among them.

Nothing is broken that is not whole, nothing outside of its windows, nothing while people stopped the market, never two
at once. What may not begin is held, and said so; it begins as soon as it may.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openbourse.contracts.resources import EngineShard, Exchange, Halt, Phase, Rehearsal, Symbol
from openbourse.operator.rehearsals.scenarios import STRIKES, Target


@dataclass(frozen=True, slots=True)
class ShardNow:
    """Asked for just now, not the status, which is some seconds behind. `problem`: why it could not be asked."""

    in_sync: int = 0
    ready: bool = False
    problem: str = ""
    # Of the engine that leads, and of the gateways.
    node: str = ""
    gateway_nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Held:
    """It does not begin. `for_good`: nothing that is waited for lets it begin."""

    reason: str
    sentence: str
    for_good: bool = False


def held(
    rehearsal: Rehearsal,
    *,
    exchange: Exchange | None,
    shard: EngineShard | None,
    symbols: Sequence[Symbol],
    halts: Sequence[Halt],
    others: Sequence[Rehearsal],
    now: datetime.datetime,
    shard_now: ShardNow,
    others_now: Mapping[str, tuple[EngineShard, ShardNow]],
) -> Held | None:
    """The first reason, the most permanent first; None: it may begin. `halts` and `others` are of the namespace.

    `others_now`: the other shards of the exchange, by name, where the symbol is to be moved to one of them.
    """
    return (
        _cannot(rehearsal, exchange, shard, symbols)
        or _is_not_wanted_now(rehearsal, now)
        or _others_go_first(rehearsal, others)
        or _is_halted(rehearsal, halts, now)
        or _is_degraded(shard, shard_now)
        or _would_be_an_outage(rehearsal, shard_now)
        or _cannot_move(rehearsal, symbols, others_now)
    )


def target(others_now: Mapping[str, tuple[EngineShard, ShardNow]]) -> str | None:
    """The shard that the symbol is moved to: the first by name that is whole. None: there is none."""
    whole = [name for name, (shard, now) in others_now.items() if _is_degraded(shard, now) is None]
    return min(whole, default=None)


def where(symbol: Symbol) -> str:
    """The shard that has it, as far as its status says."""
    return symbol.status.home or symbol.spec.shard


def moves(rehearsal: Rehearsal) -> bool:
    """Whether it needs another shard."""
    return STRIKES[rehearsal.spec.scenario].target is Target.SYMBOL


def _cannot(
    rehearsal: Rehearsal, exchange: Exchange | None, shard: EngineShard | None, symbols: Sequence[Symbol]
) -> Held | None:
    spec = rehearsal.spec
    if exchange is None:
        return Held("NoExchange", f"there is no Exchange {spec.exchange} in {rehearsal.metadata.namespace}")
    if shard is None or shard.spec.exchange != spec.exchange:
        return Held("NoShard", f"Exchange {spec.exchange} has no EngineShard {spec.shard}")
    if not shard.spec.standbys and not moves(rehearsal):
        return Held("NoStandby", f"shard {spec.shard} has one engine: what is done to it is an outage", for_good=True)
    try:
        for window in spec.windows:
            _ = window.zone
    except ValueError as error:
        return Held("BadWindow", str(error), for_good=True)
    listed = {symbol.spec.name for symbol in symbols if symbol.spec.exchange == spec.exchange}
    for name in filter(None, (spec.load.symbol, spec.load.halted_symbol)):
        if name not in listed:
            return Held("NoSymbol", f"Exchange {spec.exchange} has no Symbol {name}")
    return None


def _is_not_wanted_now(rehearsal: Rehearsal, now: datetime.datetime) -> Held | None:
    spec = rehearsal.spec
    if spec.begin_before is not None and now >= spec.begin_before:
        return Held("TooLate", f"it had not begun by {spec.begin_before:%Y-%m-%d %H:%M} UTC", for_good=True)
    if spec.suspend:
        return Held("Suspended", "suspend is true: set it to false to let it begin")
    if spec.windows and not any(window.has(now) for window in spec.windows):
        told = ", ".join(f"{'/'.join(w.days)} {w.from_}-{w.to} {w.timezone}" for w in spec.windows)
        return Held("OutsideWindow", f"it begins in {told}, and now is {now:%a %H:%M} UTC")
    return None


def _others_go_first(rehearsal: Rehearsal, others: Sequence[Rehearsal]) -> Held | None:
    """One at a time in an exchange: of those that wait, the oldest, then by name."""
    for other in others:
        same = other.spec.exchange == rehearsal.spec.exchange and other.metadata.uid != rehearsal.metadata.uid
        if same and other.status.phase is Phase.RUNNING:
            return Held("AnotherRuns", f"Rehearsal {other.metadata.name} runs")
    return None


def _is_halted(rehearsal: Rehearsal, halts: Sequence[Halt], now: datetime.datetime) -> Held | None:
    """A market that people have stopped is not played with."""
    for halt in halts:
        ends_at = halt.ends_at
        if halt.spec.exchange == rehearsal.spec.exchange and (ends_at is None or now < ends_at):
            return Held("HaltInForce", f"Halt {halt.metadata.name} is in force: {halt.spec.reason}")
    return None


def _is_degraded(shard: EngineShard | None, shard_now: ShardNow) -> Held | None:
    assert shard is not None
    wanted = 1 + shard.spec.standbys
    name = shard.metadata.name
    if shard_now.problem:
        return Held("ShardIsDegraded", f"shard {name}: {shard_now.problem}")
    if shard_now.in_sync < wanted:
        return Held("ShardIsDegraded", f"shard {name}: {shard_now.in_sync} of {wanted} engines have everything")
    if not shard_now.ready:
        return Held("ShardIsDegraded", f"shard {name} does not serve")
    return None


def _would_be_an_outage(rehearsal: Rehearsal, shard_now: ShardNow) -> Held | None:
    """A node that takes every gateway along shows nothing but that there was none."""
    if STRIKES[rehearsal.spec.scenario].target is not Target.NODE or shard_now.gateway_nodes - {shard_now.node}:
        return None
    return Held(
        "NoOtherGateway",
        f"every gateway is on the leader's node {shard_now.node}: have one on another node (gateway.replicas: 2)",
    )


def _cannot_move(
    rehearsal: Rehearsal, symbols: Sequence[Symbol], others_now: Mapping[str, tuple[EngineShard, ShardNow]]
) -> Held | None:
    """It is where the rehearsal is, at rest, and there is another shard to go to."""
    if not moves(rehearsal):
        return None
    spec, name = rehearsal.spec, rehearsal.spec.load.symbol
    needs = f"{spec.scenario.value} needs two EngineShards of Exchange {spec.exchange} that are Ready"
    if not others_now:
        return Held("NoOtherShard", f"{needs}, and there is {spec.shard} alone", for_good=True)
    (symbol,) = [each for each in symbols if (each.spec.exchange, each.spec.name) == (spec.exchange, name)]
    move = symbol.status.move
    if move is not None and not move.is_over:
        return Held("SymbolMoves", f"{name} is on its way from shard {move.from_shard} to {move.to_shard}")
    if {where(symbol), symbol.spec.shard} != {spec.shard}:
        there = f"{name} is in shard {where(symbol)}, and its spec.shard is {symbol.spec.shard}"
        return Held("SymbolElsewhere", f"{there}: both have to be {spec.shard}, the shard of the rehearsal")
    if target(others_now) is None:
        why = [found.sentence for shard, now in others_now.values() if (found := _is_degraded(shard, now)) is not None]
        return Held("NoOtherShard", f"{needs}: {'; '.join(sorted(why))}")
    return None
