"""Where a symbol is, and what is next of one that is to be in another shard. Observed in, an action or a sentence out.

A move is noted in the Symbol's status before any ledger is asked for it, under an id that follows from the Symbol, so
that whoever asks again asks for the same move; from then on the ledgers carry it, and what they say is noted. A shard's
listing never has a symbol before it is there. A move is begun once for each generation of a spec: one that was undone
is not begun again by itself. Nothing here lists, halts or opens anything.
"""

import datetime
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import API_VERSION, EngineShard, Exchange, MoveState, Symbol, SymbolMove
from openbourse.operator import listed
from openbourse.operator.facts import Fact
from openbourse.operator.halts import holder
from openbourse.operator.manifests import kinds, names
from openbourse.operator.observed import EngineFacts, Heard, MoveFacts, Observed
from openbourse.operator.readiness import missing_pods

CONDITION = "Moving"
# So long a ledger that did not do what it was asked is left alone.
TRY_AGAIN = datetime.timedelta(seconds=2)
# Those in which it can still be had back.
_UNDOABLE = frozenset({MoveState.REQUESTED, MoveState.WILLING, MoveState.FROZEN})
IN_PLACE = "InPlace"
BY_HAND = "MovedByHand"
_IDS = uuid.uuid5(uuid.NAMESPACE_DNS, "symbol-moves.openbourse.dev")


@dataclass(frozen=True, slots=True)
class NoteMove:
    """Write into the Symbol's status how far its move is."""

    symbol: Symbol
    move: SymbolMove
    reason: str


@dataclass(frozen=True, slots=True)
class AskMove:
    """Ask the ledger of the shard that the symbol leaves for the move that is noted, and note its answer."""

    exchange: Exchange
    symbol: Symbol
    move: SymbolMove
    reason: str


@dataclass(frozen=True, slots=True)
class TakeMoveBack:
    """Ask the ledgers for the symbol back."""

    exchange: Exchange
    symbol: Symbol
    move: SymbolMove
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do next, and the condition; neither for a symbol that is where it should be and never moved."""

    action: NoteMove | AskMove | TakeMoveBack | None
    fact: Fact | None


def verdict(observed: Observed, exchange: Exchange, symbol: Symbol) -> Verdict:
    move, wanted = symbol.status.move, symbol.spec.shard
    if move is not None and not move.is_over:
        return _under_way(observed, exchange, symbol, move)
    here = listed.home(observed, symbol)
    found = _found_elsewhere(observed, symbol, here)
    if found is not None:
        reason = f"{symbol.spec.name} is in shard {found.to_shard}, where a person moved it"
        return Verdict(NoteMove(symbol, found, reason), _fact(False, BY_HAND, reason))
    if wanted == here:
        return Verdict(None, None if move is None else _fact(False, IN_PLACE, _in_place(move)))
    if move is not None and move.generation >= symbol.metadata.generation:
        return Verdict(None, _over(symbol, move))
    hindrance = why_not(observed, exchange, symbol, here, wanted)
    if hindrance is not None:
        return Verdict(None, hindrance)
    asked = SymbolMove(
        id=move_id(symbol),
        from_shard=here,
        to_shard=wanted,
        state=MoveState.ASKED,
        since=observed.now,
        generation=symbol.metadata.generation,
    )
    sentence = f"{symbol.spec.name} is to move from shard {here} to {wanted}"
    return Verdict(NoteMove(symbol, asked, sentence), _fact(True, asked.state, sentence))


def move_id(symbol: Symbol) -> str:
    """The same for the same wish, whoever asks and however often."""
    return str(uuid.uuid5(_IDS, f"{symbol.metadata.uid}/{symbol.metadata.generation}"))


def is_any_under_way(observed: Observed) -> bool:
    return any(symbol.status.move is not None and not symbol.status.move.is_over for symbol in observed.symbols)


def as_told(move: SymbolMove, facts: MoveFacts, now: datetime.datetime) -> SymbolMove:
    """The move as the ledgers say it is."""
    state = MoveState(facts.state.capitalize())
    changes = {
        "state": state,
        "since": move.since if state is move.state else now,
        "reason": facts.reason[:512],
        "paused_ms": facts.paused_ms,
    }
    return move.model_copy(update=changes)


def not_done(move: SymbolMove, why: str, now: datetime.datetime) -> SymbolMove:
    """The move, of which a ledger did not do what it was asked; it is asked again."""
    return move.model_copy(update={"reason": why[:512], "tried_at": now})


def refused(move: SymbolMove, why: str, now: datetime.datetime) -> SymbolMove:
    """The move, which the ledger will never begin."""
    return move.model_copy(update={"state": MoveState.REFUSED, "since": now, "reason": why[:512]})


def event(symbol: Symbol, move: SymbolMove) -> Object | None:
    """What `kubectl describe` and `kubectl events` show; the same again has the same name. None: nothing to tell."""
    told = {
        MoveState.REQUESTED: ("MoveBegun", "Normal"),
        MoveState.COMPLETED: ("Moved", "Normal"),
        MoveState.UNDONE: ("MoveUndone", "Warning"),
        MoveState.REFUSED: ("MoveRefused", "Warning"),
    }.get(move.state)
    if told is None or move.id is None:
        return None
    metadata = symbol.metadata
    at = move.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    paused = "" if move.paused_ms is None else f" after a pause of {move.paused_ms} ms"
    return {
        "metadata": {"name": f"{metadata.name}.{move.id}.{move.state.lower()}", "namespace": metadata.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": symbol.resource.kind,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
        },
        "reason": told[0],
        "message": (_where(symbol, move) + paused)[:1024],
        "type": told[1],
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": "openbourse-operator"},
    }


def why_not(observed: Observed, exchange: Exchange, symbol: Symbol, source: str, target: str) -> Fact | None:
    """What is in the way of a move that is not begun yet, and what to do; None: nothing."""
    name = symbol.spec.name
    shards = {shard.metadata.name: shard for shard in observed.shards}
    goes = [shard for shard in (source, target) if shard not in shards or shards[shard].metadata.deletion_timestamp]
    if goes:
        there = ", ".join(sorted(shards.keys() - set(goes))) or "none"
        why = f"there is no EngineShard {goes[0]} of exchange {observed.name} (there are: {there})"
        return _fact(False, "NoShard", f"{why}: {name} stays in {source}; set spec.shard to one that is there")
    if not listed.is_listed(observed, exchange, symbol, source):
        return _fact(False, "NotListed", f"{name} is not in the listing of shard {source}: see its condition Listed")
    for shard in (shards[source], shards[target]):
        problem = _not_ready(observed, exchange, shard)
        if problem:
            return _fact(False, "ShardNotReady", f"{name} waits in {source}: {problem}")
    left = list(_halts_left_behind(observed, name, source, target))
    if left:
        why = f"{', '.join(left)} holds {name} in shard {source} and not in {target}, where it would be opened"
        return _fact(False, "HaltWouldBeLeft", f"{why}: lift it, or halt {name} in both shards")
    return None


def _under_way(observed: Observed, exchange: Exchange, symbol: Symbol, move: SymbolMove) -> Verdict:
    source, target, name = move.from_shard, move.to_shard, symbol.spec.name
    is_wanted = symbol.spec.shard == target
    assert move.id is not None, "only a person's has none, and it is over when it is noted"
    if move.id not in observed.moves:
        why = f"{_where(symbol, move)}; no ledger of shard {source} or {target} says how far it is"
        return Verdict(None, _fact(True, move.state, why))
    told = observed.moves[move.id]
    waits = move.tried_at is not None and observed.now - move.tried_at < TRY_AGAIN
    if told is not None:
        now = as_told(move, told, observed.now)
        fact = _fact(not now.is_over, now.state, _where(symbol, now))
        if now != move:
            return Verdict(NoteMove(symbol, now, f"the move of {name} to shard {target} is {told.state}"), fact)
        if is_wanted or told.undo_asked or waits or move.state not in _UNDOABLE:
            return Verdict(None, fact)
        back = f"{name} is wanted back in shard {source}: spec.shard says so"
        return Verdict(TakeMoveBack(exchange, symbol, move, back), fact)
    if not is_wanted:
        why = f"spec.shard is {symbol.spec.shard} again, before a ledger was asked"
        given_up = move.model_copy(update={"state": MoveState.UNDONE, "since": observed.now, "reason": why})
        return Verdict(NoteMove(symbol, given_up, f"{name} does not move: {why}"), _fact(False, MoveState.UNDONE, why))
    fact = why_not(observed, exchange, symbol, source, target) or _fact(True, move.state, _where(symbol, move))
    if not fact.holds or waits or not listed.is_expected(observed, exchange, symbol, target):
        return Verdict(None, fact)
    return Verdict(AskMove(exchange, symbol, move, f"{name} is to move from shard {source} to {target}"), fact)


def _found_elsewhere(observed: Observed, symbol: Symbol, here: str) -> SymbolMove | None:
    """Both engines said just now that a person moved it from `here`."""
    name = symbol.spec.name
    source = _heard_now(observed, here)
    there = source.moved.get(name) if source is not None else None
    target = _heard_now(observed, there) if there is not None else None
    if there is None or target is None or not any(name in market.symbols for market in target.markets):
        return None
    return SymbolMove(
        from_shard=here,
        to_shard=there,
        state=MoveState.COMPLETED,
        since=observed.now,
        generation=symbol.metadata.generation,
        reason="a person moved it, by openbourse ledger move-symbol",
    )


def _not_ready(observed: Observed, exchange: Exchange, shard: EngineShard) -> str:
    name = shard.metadata.name
    if _heard_now(observed, name) is None:
        return f"no engine of shard {name} says that it leads"
    workload = names.ledger(exchange.metadata.name, name)
    problem = missing_pods(observed.child(kinds.DEPLOYMENT, workload))
    return f"{workload} {problem}" if problem else ""


def _halts_left_behind(observed: Observed, symbol: str, source: str, target: str) -> Iterator[str]:
    """Halts of the source's engine that hold the symbol, and that the target's does not have."""
    there, here = _heard_now(observed, target), _heard_now(observed, source)
    assert there is not None, "both are ready"
    assert here is not None, "both are ready"
    held = {halt.name for halt in there.halts if halt.covers(symbol)}
    for halt in here.halts:
        if halt.covers(symbol) and halt.name not in held:
            yield holder(halt.name)


def _heard_now(observed: Observed, shard: str) -> EngineFacts | None:
    """Of who leads, in this very round: what it said before may not be so any more."""
    leader = observed.leader(shard)
    if leader is None:
        return None
    heard: Heard = observed.engines[leader[0]]
    return leader[1] if heard.at == observed.now else None


def _where(symbol: Symbol, move: SymbolMove) -> str:
    name, source, target = symbol.spec.name, move.from_shard, move.to_shard
    why = f": {move.reason}" if move.reason else ""
    match move.state:
        case MoveState.FROZEN:
            return f"{name} is on its way from shard {source} to {target}{why}"
        case MoveState.IMPORTED | MoveState.COMPLETED:
            return f"{name} is in shard {target}{why}"
        case MoveState.ABANDONED | MoveState.UNDONE | MoveState.REFUSED:
            return f"{name} stays in shard {source}{why}"
        case _:
            return f"{name} is in shard {source}, which trades it until it leaves for {target}{why}"


def _in_place(move: SymbolMove) -> str:
    """Of a symbol that is where it should be."""
    if move.state is MoveState.COMPLETED:
        paused = "" if move.paused_ms is None else f", after a pause of {move.paused_ms} ms"
        return f"it came from shard {move.from_shard}{paused}"
    return f"it did not go to shard {move.to_shard}: {move.reason}"


def _over(symbol: Symbol, move: SymbolMove) -> Fact:
    """A move that this spec asked for, and that did not bring the symbol there: what a person may do."""
    wanted, here = symbol.spec.shard, move.where
    if move.id is None:
        why = f"it is in shard {here}, where a person moved it: set spec.shard to {here}"
        return _fact(False, BY_HAND, why)
    again = f"kubectl bourse move-symbol {symbol.metadata.name} --to {wanted}"
    back = f"or leave it there: set spec.shard to {here}"
    return _fact(False, move.state, f"it stays in shard {here}: {move.reason}; to try again: {again}, {back}")


def _fact(holds: bool, reason: str, message: str) -> Fact:
    return Fact(CONDITION, holds, str(reason), message)
