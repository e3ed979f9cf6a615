"""What `kubectl bourse move-symbol` asks for, or why it asks for nothing; what became of it. Values in, values out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.resources import EngineShard, MoveState, Symbol

_CONDITION = "Moving"


@dataclass(frozen=True, slots=True)
class Moved:
    """Where it is, and where it was to be. `state` is that of the move: Asked where nobody waited, Held where something
    is in its way, InPlace where there was nothing to do."""

    symbol: str
    shard: str
    wanted: str
    state: str
    paused_ms: int | None
    message: str


def to_ask(symbol: Symbol, shards: Sequence[EngineShard], to_shard: str) -> tuple[str, ...]:
    """What `spec.shard` is set to, one after the other; nothing: it is asked for already. Raises NotDone."""
    name, move, here = symbol.spec.name, symbol.status.move, where(symbol)
    there = sorted(shard.metadata.name for shard in shards if shard.spec.exchange == symbol.spec.exchange)
    if to_shard not in there:
        known = ", ".join(there) or "none"
        raise NotDone(f"exchange {symbol.spec.exchange} has no EngineShard {to_shard}; there is {known}")
    if move is not None and not move.is_over:
        if move.to_shard == to_shard and symbol.spec.shard == to_shard:
            return ()
        on_its_way = f"{name} is on its way from shard {move.from_shard} to {move.to_shard} ({move.state})"
        raise NotDone(f"{on_its_way}: wait until it is there, or have it back with --undo")
    if here == to_shard:
        if symbol.spec.shard == here:
            raise NotDone(f"{name} is in shard {here} already")
        return (to_shard,)
    # Of a wish that was answered with no, another one is made.
    answered = symbol.spec.shard == to_shard and move is not None and move.generation >= symbol.metadata.generation
    return (here, to_shard) if answered else (to_shard,) if symbol.spec.shard != to_shard else ()


def to_ask_back(symbol: Symbol) -> tuple[str, ...]:
    """The same, to have it back. Raises NotDone."""
    name, move = symbol.spec.name, symbol.status.move
    if move is None or move.is_over:
        if symbol.spec.shard != where(symbol):
            return (where(symbol),)
        raise NotDone(f"{name} is not on its way: it is in shard {where(symbol)}")
    if move.state is MoveState.IMPORTED:
        back = f"kubectl bourse move-symbol {name} --to {move.from_shard}"
        raise NotDone(f"{name} is in shard {move.to_shard} already; to move it back: {back}")
    return () if symbol.spec.shard == move.from_shard else (move.from_shard,)


def where(symbol: Symbol) -> str:
    return symbol.status.home or symbol.spec.shard


def became(symbol: Symbol, generation: int) -> Moved | None:
    """Of what the spec of that generation asked for; None: it is not known yet."""
    status, move = symbol.status, symbol.status.move
    said = next((entry for entry in status.conditions if entry.type == _CONDITION), None)
    is_going = (move is not None and not move.is_over) or (said is not None and said.status == "True")
    if is_going or (status.observed_generation or 0) < generation:
        return None
    here, wanted = where(symbol), symbol.spec.shard
    is_answer = move is not None and (move.generation >= generation or here == wanted)
    state = str(move.state) if move is not None and is_answer else "InPlace" if here == wanted else "Held"
    paused_ms = move.paused_ms if move is not None and is_answer else None
    message = said.message if said is not None else f"it is in shard {here}"
    return Moved(symbol.spec.name, here, wanted, state, paused_ms, message)


def asked(symbol: Symbol, wanted: str) -> Moved:
    """Of who does not wait."""
    look = f"kubectl describe symbol {symbol.metadata.name}"
    return Moved(symbol.spec.name, where(symbol), wanted, str(MoveState.ASKED), None, f"asked for; see {look}")


def table(moved: Moved) -> Table:
    """For people."""
    grid = Table.grid(padding=(0, 2))
    rows: list[tuple[str, Any]] = [
        ("Symbol", moved.symbol),
        ("Shard", moved.shard),
        ("Wanted", moved.wanted),
        ("State", moved.state),
        ("Pause", "-" if moved.paused_ms is None else f"{moved.paused_ms} ms"),
        ("What", moved.message),
    ]
    for name, value in rows:
        grid.add_row(name, str(value))
    return grid
