"""One exchange at a glance: its objects in, the lines of a screen out. Nothing here asks anybody or has a clock."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from openbourse.contracts.resources import AcknowledgementState, EngineShard, Exchange, Halt, Symbol
from openbourse.contracts.resources.meta import Status


@dataclass(frozen=True, slots=True)
class Health:
    """What an object's Ready condition says. `ready` is None where nobody has said anything yet."""

    ready: bool | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class FailoverLine:
    at: datetime.datetime
    leader: str
    # From the suspicion until a client had an answer; None: nobody asked meanwhile.
    acknowledged_ms: int | None


@dataclass(frozen=True, slots=True)
class ShardLine:
    name: str
    health: Health
    leader: str | None
    epoch: int | None
    in_sync: int | None
    members: int
    committed_seq: int | None
    # How many commands the slowest engine is behind the leader; None: not known of all.
    lag: int | None
    last_failover: FailoverLine | None
    # Of engines that do not take part, and of market data.
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SymbolLine:
    name: str
    shard: str
    # None: not listed yet.
    state: str | None
    # What holds it: Halts in force, the most restrictive one first, and what the engine says besides.
    held_by: tuple[str, ...] = ()
    # Where it is to be, and how far that is; None: where it is.
    moving_to: str | None = None
    move_state: str | None = None


@dataclass(frozen=True, slots=True)
class HaltLine:
    name: str
    mode: str
    # Empty: every symbol.
    symbols: tuple[str, ...]
    # Empty too: of every shard.
    in_shards: tuple[str, ...]
    # Shards that acknowledged it, of those in its scope.
    acknowledged: int
    shards: int
    refused: tuple[str, ...]
    ends_at: datetime.datetime | None
    reason: str
    over: bool
    requester: str | None = None
    two_person: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    exchange: str
    health: Health
    image: str
    sealed_at: datetime.datetime | None
    shards: tuple[ShardLine, ...]
    symbols: tuple[SymbolLine, ...]
    halts: tuple[HaltLine, ...] = field(default=())


# Reasons of MarketDataReady.
_NO_PROBLEM = frozenset({"Serving", "BeginsLate", "Disabled"})
# The most restrictive first.
_MODES = ("HALT", "CANCEL_ONLY", "POST_ONLY")


def overview(
    exchange: Exchange,
    shards: Sequence[EngineShard],
    symbols: Sequence[Symbol],
    halts: Sequence[Halt],
    now: datetime.datetime,
) -> Overview:
    """Those of the objects that name the exchange."""
    name = exchange.metadata.name
    own_shards = [shard for shard in shards if shard.spec.exchange == name]
    own_symbols = [symbol for symbol in symbols if symbol.spec.exchange == name]
    own_halts = [halt for halt in halts if halt.spec.exchange == name]
    in_force = sorted(
        (halt for halt in own_halts if _is_in_force(halt, now)), key=lambda halt: _MODES.index(halt.spec.mode)
    )
    sealed = exchange.status.sealed
    return Overview(
        exchange=name,
        health=_health(exchange.status),
        image=exchange.spec.image,
        sealed_at=sealed.at if sealed else None,
        shards=tuple(_shard(shard) for shard in own_shards),
        symbols=tuple(_symbol(symbol, in_force) for symbol in own_symbols),
        halts=tuple(_halt(halt, own_shards, own_symbols, now) for halt in own_halts),
    )


def scope(halt: Halt, shards: Sequence[EngineShard], symbols: Sequence[Symbol]) -> list[str]:
    """The shards that have to acknowledge it, by name."""
    exchange = halt.spec.exchange
    return halt.spec.scope(
        (shard.metadata.name for shard in shards if shard.spec.exchange == exchange),
        (
            (symbol.spec.name, shard)
            for symbol in symbols
            if symbol.spec.exchange == exchange
            for shard in (symbol.spec.shard, symbol.status.shard)
            if shard
        ),
    )


def _health(status: Status) -> Health:
    for condition in status.conditions:
        if condition.type == "Ready":
            return Health(condition.status == "True", condition.reason, condition.message)
    return Health(None)


def _shard(shard: EngineShard) -> ShardLine:
    status = shard.status
    known = [member.committed_seq for member in status.members if member.committed_seq is not None]
    complete = bool(known) and len(known) == len(status.members) and status.committed_seq is not None
    failover = status.last_failover
    return ShardLine(
        name=shard.metadata.name,
        health=_health(status),
        leader=status.leader,
        epoch=status.epoch,
        in_sync=status.in_sync,
        members=1 + shard.spec.standbys,
        committed_seq=status.committed_seq,
        lag=max(0, (status.committed_seq or 0) - min(known)) if complete else None,
        last_failover=FailoverLine(failover.at, failover.leader, failover.acknowledged_ms) if failover else None,
        problems=(
            *(f"{member.pod}: {member.problem}" for member in status.members if member.problem),
            *_market_data_problems(status),
        ),
    )


def _market_data_problems(status: Status) -> list[str]:
    """Also of one replica that is away while another serves."""
    return [
        f"market data: {condition.message}"
        for condition in status.conditions
        if condition.type == "MarketDataReady" and condition.reason not in _NO_PROBLEM
    ]


def _symbol(symbol: Symbol, in_force: Sequence[Halt]) -> SymbolLine:
    name, shard, move = symbol.spec.name, symbol.status.shard or symbol.spec.shard, symbol.status.move
    holding = [halt.metadata.name for halt in in_force if halt.spec.covers(name, shard)]
    other = symbol.status.held_by
    if other and other.removeprefix("Halt/") not in holding:
        holding.append(other)
    is_going = move is not None and not move.is_over
    to_shard = move.to_shard if move is not None and is_going else symbol.spec.shard
    moving_to = to_shard if is_going or to_shard != shard else None
    move_state = str(move.state) if move is not None and moving_to == move.to_shard else None
    return SymbolLine(name, shard, symbol.status.state, tuple(holding), moving_to, move_state)


def _is_over(halt: Halt, now: datetime.datetime) -> bool:
    ends_at = halt.ends_at
    return ends_at is not None and ends_at <= now


def _is_in_force(halt: Halt, now: datetime.datetime) -> bool:
    states = {entry.state for entry in halt.status.acknowledgements}
    return AcknowledgementState.HALTED in states and not _is_over(halt, now)


def _halt(halt: Halt, shards: Sequence[EngineShard], symbols: Sequence[Symbol], now: datetime.datetime) -> HaltLine:
    answers = {entry.shard: entry for entry in halt.status.acknowledgements}
    shards_of_it = scope(halt, shards, symbols)
    acknowledged = [name for name in shards_of_it if name in answers]
    return HaltLine(
        name=halt.metadata.name,
        mode=halt.spec.mode,
        symbols=halt.spec.symbols,
        in_shards=halt.spec.shards,
        acknowledged=len(acknowledged),
        shards=len(shards_of_it),
        refused=tuple(
            f"{name}: {answers[name].message}"
            for name in acknowledged
            if answers[name].state is AcknowledgementState.REFUSED
        ),
        ends_at=halt.ends_at,
        reason=halt.spec.reason,
        over=_is_over(halt, now),
        requester=halt.spec.requester,
        two_person=halt.spec.two_person,
    )
