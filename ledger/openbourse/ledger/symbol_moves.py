"""A symbol that moves from one shard to another, while the exchange runs: whose turn it is, and what to do. Pure.

    requested ─(target can)─> willing ─(source froze it)─> frozen ─(target has it)─> imported ─> completed
        │                        │                           │            (the source forgets it)
        └──(target cannot)───────┴──(source refuses)─────────┴──(target never takes it)─> abandoned ─> undone
                                                                          (the source takes it back)

The funds behind the symbol's orders leave the source with the freeze and come into the target with the import, by the
engines' own events: in `frozen` and `abandoned` they are in transit. In each state one shard has something to do, and
it alone; what it does are commands whose ids follow from the move's, so whoever does it again does nothing. The
target decides once between imported and abandoned, and only then the source forgets the symbol or takes it back.
Nothing here sends, waits or writes.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from openbourse.contracts import v1
from openbourse.ledger.errors import Conflict, Invalid

ID_DOMAIN = b"openbourse.ledger.symbol-move.v1"
# A target that was away for so long since the freeze gives the symbol back: traders wait for one shard or the other.
IMPORT_WITHIN_S = 20.0


class SymbolMoveState(StrEnum):
    REQUESTED = "requested"
    WILLING = "willing"
    FROZEN = "frozen"
    IMPORTED = "imported"
    COMPLETED = "completed"
    ABANDONED = "abandoned"
    UNDONE = "undone"


# Every change that there is. The database holds the same.
TRANSITIONS: Mapping[SymbolMoveState, frozenset[SymbolMoveState]] = {
    SymbolMoveState.REQUESTED: frozenset({SymbolMoveState.WILLING, SymbolMoveState.ABANDONED}),
    SymbolMoveState.WILLING: frozenset({SymbolMoveState.FROZEN, SymbolMoveState.ABANDONED}),
    SymbolMoveState.FROZEN: frozenset({SymbolMoveState.IMPORTED, SymbolMoveState.ABANDONED}),
    SymbolMoveState.IMPORTED: frozenset({SymbolMoveState.COMPLETED}),
    SymbolMoveState.ABANDONED: frozenset({SymbolMoveState.UNDONE}),
    SymbolMoveState.COMPLETED: frozenset(),
    SymbolMoveState.UNDONE: frozenset(),
}


class Step(StrEnum):
    """What a shard does next."""

    # Look whether the target could take it.
    PREPARE = "prepare"
    FREEZE = "freeze"
    IMPORT = "import"
    # Make sure that the target never takes it.
    ABANDON = "abandon"
    COMPLETE = "complete"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class SymbolMoveRequest:
    move_id: uuid.UUID
    symbol: str
    from_shard: str
    to_shard: str


@dataclass(frozen=True, slots=True)
class SymbolMove:
    """A request and how far it is."""

    request: SymbolMoveRequest
    state: SymbolMoveState
    # Why it was given up.
    reason: str
    requested_by: str
    # Somebody wants it back: nothing is begun any more.
    undo_asked: bool
    # Since the state is the one that it is.
    state_age_s: float
    # By the engines' clocks. None: it did not come to that, or what was answered is not known.
    frozen_at_us: int | None = None
    imported_at_us: int | None = None

    @property
    def is_over(self) -> bool:
        return not TRANSITIONS[self.state]

    @property
    def paused_ms(self) -> int | None:
        """How long it was in neither shard. Two machines' clocks may differ by more than that: never below 0."""
        if self.frozen_at_us is None or self.imported_at_us is None:
            return None
        return max(0, self.imported_at_us - self.frozen_at_us) // 1000


def request(
    symbol: str, *, move_id: uuid.UUID, shards: tuple[str, str], here: str, symbols: Mapping[str, frozenset[str]]
) -> SymbolMoveRequest:
    """Reads a request that came to the ledger of shard `here`: from one shard to another. Raises Invalid.

    `symbols` has every shard whose books are in the database, with the symbols that it ever listed.
    """
    from_shard, to_shard = shards
    if from_shard != here:
        raise Invalid(f"this is the ledger of shard {here!r}: ask that of shard {from_shard[:40]!r}, which it leaves")
    if to_shard == from_shard:
        raise Invalid(f"from and to are both shard {from_shard!r}")
    if to_shard not in symbols:
        raise Invalid(
            f"shard {to_shard[:40]!r} has no books in this database (there are: {', '.join(sorted(symbols))}): a "
            "symbol moves between shards whose books are in one database"
        )
    listed = symbols.get(from_shard, frozenset())
    if symbol not in listed:
        raise Invalid(f"symbol {symbol[:40]!r} is not listed (listed: {', '.join(sorted(listed)) or 'none yet'})")
    return SymbolMoveRequest(move_id, symbol, from_shard, to_shard)


def resume(existing: SymbolMove, wanted: SymbolMoveRequest) -> SymbolMove:
    """The move that already has the wanted id. Raises Conflict when it is about something else."""
    if existing.request != wanted:
        raise Conflict(f"move {wanted.move_id} exists with another symbol or other shards; use a new id")
    return existing


def next_step(move: SymbolMove) -> tuple[str, Step] | None:
    """Whose turn it is, and for what; None: it is over."""
    source, target = move.request.from_shard, move.request.to_shard
    match move.state:
        case SymbolMoveState.REQUESTED:
            return target, Step.ABANDON if move.undo_asked else Step.PREPARE
        case SymbolMoveState.WILLING:
            return (target, Step.ABANDON) if move.undo_asked else (source, Step.FREEZE)
        case SymbolMoveState.FROZEN:
            given_up = move.undo_asked or move.state_age_s > IMPORT_WITHIN_S
            return target, Step.ABANDON if given_up else Step.IMPORT
        case SymbolMoveState.IMPORTED:
            return source, Step.COMPLETE
        case SymbolMoveState.ABANDONED:
            return source, Step.UNDO
        case SymbolMoveState.COMPLETED | SymbolMoveState.UNDONE:
            return None


def after(state: SymbolMoveState, step: Step, *, refused: bool) -> SymbolMoveState | Step | None:
    """What an engine's answer to a step makes of a move in that state: its state now, or what to do at once.

    None: that answer cannot be, or says nothing; it stays as it is.
    """
    match step:
        case Step.PREPARE:
            return Step.ABANDON if refused else SymbolMoveState.WILLING
        case Step.FREEZE:
            # Some refusals are not remembered: the undo makes sure that the freeze is never carried out later.
            return SymbolMoveState.ABANDONED if refused else SymbolMoveState.FROZEN
        case Step.IMPORT:
            return Step.ABANDON if refused else SymbolMoveState.IMPORTED
        case Step.ABANDON:
            if not refused:
                return SymbolMoveState.ABANDONED
            # It has it: what was sent before was carried out.
            return SymbolMoveState.IMPORTED if state is SymbolMoveState.FROZEN else None
        case Step.COMPLETE:
            return None if refused else SymbolMoveState.COMPLETED
        case Step.UNDO:
            return None if refused else SymbolMoveState.UNDONE


def command_id(move_id: uuid.UUID, step: Step, part: int = 0) -> bytes:
    """One and the same, whoever asks and however often."""
    what = f"{step}/{part}".encode()
    return hashlib.sha256(ID_DOMAIN + move_id.bytes + what).digest()[:16]


def command(wanted: SymbolMoveRequest, step: Step, part: int = 0) -> v1.Command:
    """That of FREEZE, ABANDON, COMPLETE and UNDO; of IMPORT without what is imported."""
    move_id = wanted.move_id
    made = v1.Command(
        command_id=command_id(move_id, step, part),
        correlation_id=str(move_id),
        causation_id=f"symbol-move/{move_id}/{step}",
    )
    match step:
        case Step.FREEZE:
            made.freeze_symbol.move_id = move_id.bytes
            made.freeze_symbol.symbol = wanted.symbol
            made.freeze_symbol.to_shard = wanted.to_shard
        case Step.IMPORT:
            made.import_symbol.move_id = move_id.bytes
            made.import_symbol.from_shard = wanted.from_shard
            made.import_symbol.part = part
        case Step.ABANDON:
            made.abandon_import.move_id = move_id.bytes
        case Step.COMPLETE:
            made.complete_move.move_id = move_id.bytes
        case Step.UNDO:
            made.undo_freeze.move_id = move_id.bytes
        case Step.PREPARE:
            raise AssertionError("who prepares only looks")
    return made


def import_commands(wanted: SymbolMoveRequest, record_sha256: bytes, parts: list[bytes]) -> list[v1.Command]:
    """In the order in which the target must have them."""
    commands = []
    for number, part in enumerate(parts):
        made = command(wanted, Step.IMPORT, number)
        made.import_symbol.parts = len(parts)
        made.import_symbol.record_sha256 = record_sha256
        made.import_symbol.record = part
        commands.append(made)
    return commands


def where(move: SymbolMove) -> str:
    """Which shard has the symbol, for people."""
    source, target = move.request.from_shard, move.request.to_shard
    match move.state:
        case SymbolMoveState.REQUESTED | SymbolMoveState.WILLING:
            return f"in {source}, which trades it"
        case SymbolMoveState.FROZEN:
            return f"frozen in {source}, on its way to {target}"
        case SymbolMoveState.IMPORTED | SymbolMoveState.COMPLETED:
            return f"in {target}, which trades it"
        case SymbolMoveState.ABANDONED:
            return f"in {source}, which is to take it back: {move.reason}"
        case SymbolMoveState.UNDONE:
            return f"in {source}, as before: {move.reason}"
