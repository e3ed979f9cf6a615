"""Section *symbol state*: phases, halts, and what a state refuses."""

from dataclasses import dataclass

from kernel.twin import well_formed
from kernel.twin.auction import indicate, uncross
from kernel.twin.state import (
    AUCTION,
    BUY,
    CANCEL_ONLY,
    GTC,
    HALT,
    LIMIT,
    LIMIT_MAKER,
    OTHER,
    POST_ONLY,
    SELL,
    TRADING,
    Book,
    Halt,
    Refused,
    State,
)

from openbourse.contracts import v1

# The later, the more restrictive.
STATES = [TRADING, AUCTION, POST_ONLY, CANCEL_ONLY, HALT]
LEVEL_STATES = {v1.SafetyLevel.SAFETY_LEVEL_CANCEL_ONLY: CANCEL_ONLY, v1.SafetyLevel.SAFETY_LEVEL_HALT: HALT}
REASONS = {
    AUCTION: "SYMBOL_AUCTION",
    POST_ONLY: "SYMBOL_POST_ONLY",
    CANCEL_ONLY: "SYMBOL_CANCEL_ONLY",
    HALT: "SYMBOL_HALTED",
}
UNCROSSING = "the auction is being uncrossed"
PHASE_IS_OVER = "the phase is over"


@dataclass(frozen=True)
class Decision:
    """What decides a symbol's state: a halt by its name, or none."""

    state: v1.SymbolState.ValueType
    halt: str
    reason: str

    @property
    def sentence(self) -> str:
        return f"halt {self.halt}: {self.reason}" if self.halt else self.reason


def name_of(state: v1.SymbolState.ValueType) -> str:
    return v1.SymbolState.Name(state).removeprefix("SYMBOL_STATE_")


def safety_sentence(level: v1.SafetyLevel.ValueType) -> str:
    return f"the shard's safety level is {v1.SafetyLevel.Name(level).removeprefix('SAFETY_LEVEL_')}"


def most_restrictive(decisions: list[Decision]) -> Decision:
    """Of equal ones the first."""
    return max(decisions, key=lambda decision: STATES.index(decision.state))


def held_back(state: State, book: Book) -> list[Decision]:
    """All that may decide but the phase: the halts by name, then safety."""
    decisions = [
        Decision(halt.state, name, halt.reason)
        for name, halt in sorted(state.halts.items())
        if not halt.symbols or book.symbol in halt.symbols
    ]
    if state.safety_level in LEVEL_STATES:
        decisions.append(Decision(LEVEL_STATES[state.safety_level], "", safety_sentence(state.safety_level)))
    return decisions


def deciding(state: State, book: Book) -> Decision:
    phase = Decision(book.phase, "", f"the symbol's phase is {name_of(book.phase)}")
    return most_restrictive([*held_back(state, book), phase])


def why(state: State, book: Book) -> str:
    return "" if book.state == TRADING else deciding(state, book).sentence


def update_state(state: State, book: Book, reason: str, halt: str = "") -> None:
    if book.departed is not None:
        return
    before, book.state = book.state, deciding(state, book).state
    if book.state != before:
        changed = v1.SymbolStateChanged(state=book.state, previous_state=before, halt=halt, reason=reason)
        state.happened(book.symbol, changed)


def update_states(state: State, reason: str, halt: str = "") -> None:
    for book in state.books_by_name():
        update_state(state, book, reason, halt)
        indicate(state, book)


# What a state refuses


def refuse(state: State, book: Book) -> None:
    raise Refused(REASONS[book.state], why(state, book))


def would_trade_at(book: Book, order: v1.Order) -> int | None:
    """The best price of the other side, where the order's limit reaches it."""
    best = book.best(OTHER[order.side])
    if best is None:
        return None
    reached = best <= order.price_ticks if order.side == BUY else best >= order.price_ticks
    return best if reached else None


def check_new_order(state: State, book: Book, order: v1.Order) -> None:
    rests = order.time_in_force == GTC and order.type in (LIMIT, LIMIT_MAKER)
    if book.state == AUCTION:
        if order.type != LIMIT or not rests:
            refuse(state, book)
    elif book.state == POST_ONLY:
        if not rests or would_trade_at(book, order) is not None:
            refuse(state, book)
    elif book.state != TRADING:
        refuse(state, book)
    check_not_uncrossing(book)


def check_amendment(state: State, book: Book) -> None:
    if book.state in (CANCEL_ONLY, HALT):
        refuse(state, book)
    check_not_uncrossing(book)


def check_cancel(state: State, book: Book) -> None:
    if book.state == HALT:
        refuse(state, book)
    check_not_uncrossing(book)


def check_not_uncrossing(book: Book) -> None:
    if book.uncross_price:
        raise Refused("SYMBOL_AUCTION", UNCROSSING)


# Halts


def impose_halt(state: State, impose: v1.ImposeHalt) -> None:
    well_formed.impose_halt(impose, state.version)
    halt = Halt(impose.state, sorted(set(impose.symbols)), impose.reason, state.seq, state.epoch)
    before = state.halts.get(impose.halt)
    if before is not None and (before.state, before.symbols, before.reason) == (halt.state, halt.symbols, halt.reason):
        return
    state.halts[impose.halt] = halt
    update_states(state, impose.reason, impose.halt)


def lift_halt(state: State, lift: v1.LiftHalt) -> None:
    well_formed.lift_halt(lift)
    if lift.halt not in state.halts:
        raise Refused("UNKNOWN_HALT", f"no halt {lift.halt} is in force")
    halt = state.halts.pop(lift.halt)
    for book in state.books_by_name():
        named = not halt.symbols or book.symbol in halt.symbols
        kept_back = any(decision.state in (CANCEL_ONLY, HALT) for decision in held_back(state, book))
        if named and not kept_back and not book.away and lift.reopen in (POST_ONLY, AUCTION):
            if book.phase != AUCTION:
                book.phase = lift.reopen
            book.phase_end_us = state.time_us + lift.reopen_ms * 1000
        update_state(state, book, lift.reason, lift.halt)
        indicate(state, book)


# Phases


def change_symbol_state(state: State, change: v1.ChangeSymbolState) -> None:
    well_formed.change_symbol_state(change)
    book = state.book(change.symbol)
    book.check_here()
    if book.uncross_price:
        raise Refused("INVALID_TRANSITION", UNCROSSING)
    if book.phase == AUCTION and change.state == POST_ONLY:
        raise Refused("INVALID_TRANSITION", "a symbol cannot go from AUCTION to POST_ONLY")
    if book.phase == AUCTION and change.state == TRADING:
        if book.state != AUCTION:
            detail = f"the auction cannot end while the state is {name_of(book.state)}"
            raise Refused("INVALID_TRANSITION", detail)
        end_auction(state, book, change.reason)
        return
    begin_phase(state, book, change.state, change.duration_ms, change.reason)


def begin_phase(state: State, book: Book, phase: v1.SymbolState.ValueType, duration_ms: int, reason: str) -> None:
    book.phase = phase
    book.phase_end_us = state.time_us + duration_ms * 1000 if duration_ms else 0
    update_state(state, book, reason)


def end_auction(state: State, book: Book, reason: str) -> None:
    """As far as one command goes."""
    done, bid_prices, ask_prices = uncross(state, book)
    if done:
        begin_phase(state, book, TRADING, 0, reason)
    state.book_changed(book, BUY, bid_prices)
    state.book_changed(book, SELL, ask_prices)


def end_due_phases(state: State) -> None:
    here = [book for book in state.books.values() if not book.away]
    due = [book for book in here if book.uncross_price or 0 < book.phase_end_us <= state.time_us]
    for book in sorted(due, key=lambda book: (book.phase_end_us, book.symbol)):
        if book.phase != AUCTION:
            begin_phase(state, book, TRADING, 0, PHASE_IS_OVER)
        elif book.state == AUCTION:
            end_auction(state, book, PHASE_IS_OVER)
