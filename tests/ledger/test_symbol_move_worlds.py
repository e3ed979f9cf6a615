"""One move of a symbol in every small world: ledgers that die at any time, commands lost, late or repeated, engines
that refuse. One shard has the symbol in the end, none of the funds behind its orders is lost or made, and each planted
bug is found.
"""

import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from fixtures.figures import Show
from openbourse.ledger import symbol_moves
from openbourse.ledger.symbol_moves import TRANSITIONS, Step, SymbolMove, SymbolMoveRequest, SymbolMoveState

MAIN, SECOND = "main", "second"
WANTED = SymbolMoveRequest(uuid.UUID(int=1), "BTCUSDT", MAIN, SECOND)
WORLDS_MOST = 100_000
HEALED_AFTER = 40
S = SymbolMoveState


class World(NamedTuple):
    state: SymbolMoveState = S.REQUESTED
    undo_asked: bool = False
    # "": as before; frozen, departed or undone.
    source: str = ""
    # "": as before; imported or abandoned.
    target: str = ""
    # On their way for ever: the same may arrive again.
    sent: frozenset[Step] = frozenset()
    # What each ledger has read and waits for; two of the target, whose second is late.
    doing: tuple[tuple[Step, SymbolMoveState] | None, ...] = (None, None, None)


ACTORS = (MAIN, SECOND, SECOND)
# By step: what an engine makes of its part of the move, or None where it refuses.
Engine = dict[str, str | None]
SOURCE: dict[Step, Engine] = {
    Step.FREEZE: {"": "frozen", "frozen": "frozen", "departed": "departed", "undone": None},
    Step.COMPLETE: {"": None, "frozen": "departed", "departed": "departed", "undone": None},
    Step.UNDO: {"": "undone", "frozen": "undone", "undone": "undone", "departed": None},
}
TARGET: dict[Step, Engine] = {
    Step.IMPORT: {"": "imported", "imported": "imported", "abandoned": None},
    Step.ABANDON: {"": "abandoned", "abandoned": "abandoned", "imported": None},
}
MAY_REFUSE = (Step.FREEZE, Step.IMPORT)
_next_step, _after = symbol_moves.next_step, symbol_moves.after


class Broken(Exception):
    """A world that must not be."""


def as_read(world: World, age_s: float) -> SymbolMove:
    return SymbolMove(WANTED, world.state, "", "test", world.undo_asked, age_s)


def arrives(world: World, step: Step) -> Iterator[World]:
    """At its engine, which may refuse what it has not carried out, and does not remember that."""
    if step in SOURCE:
        made = SOURCE[step][world.source]
        if made is not None:
            yield world._replace(source=made)
    elif step in TARGET:
        made = TARGET[step][world.target]
        if made is not None:
            yield world._replace(target=made)


def answers(world: World, step: Step) -> Iterator[tuple[World, bool]]:
    """Carried out, or refused."""
    if step is Step.PREPARE:
        yield world, False
        yield world, True
        return
    done = list(arrives(world, step))
    yield from ((after, False) for after in done)
    fresh = (world.source if step in SOURCE else world.target) == ""
    if not done or (fresh and step in MAY_REFUSE):
        yield world, True


def events(world: World) -> Iterator[tuple[str, World]]:
    for number, doing in enumerate(world.doing):
        name = f"{ACTORS[number]} ({number})"
        if doing is None:
            for age_s in (0.0, symbol_moves.IMPORT_WITHIN_S + 1):
                turn = symbol_moves.next_step(as_read(world, age_s))
                if turn is not None and turn[0] == ACTORS[number]:
                    begun = acts(world, number, (turn[1], world.state))
                    yield f"{name} begins to {turn[1]}", begun._replace(sent=world.sent | {turn[1]})
            continue
        yield f"{name} dies", acts(world, number, None)
        for after, refused in answers(world, doing[0]):
            yield (
                f"{name} hears that {doing[0]} is {'refused' if refused else 'done'}",
                goes_on(after, number, doing, refused=refused),
            )
    for step in sorted(world.sent):
        for after in arrives(world, step):
            if after != world:
                yield f"{step} arrives late", after
    if not world.undo_asked and world.state in (S.REQUESTED, S.WILLING, S.FROZEN):
        yield "somebody wants it back", world._replace(undo_asked=True)


def acts(world: World, number: int, doing: tuple[Step, SymbolMoveState] | None) -> World:
    return world._replace(doing=(*world.doing[:number], doing, *world.doing[number + 1 :]))


def goes_on(world: World, number: int, doing: tuple[Step, SymbolMoveState], *, refused: bool) -> World:
    step, read = doing
    following = symbol_moves.after(read, step, refused=refused)
    if isinstance(following, Step):
        return acts(world, number, (following, read))._replace(sent=world.sent | {following})
    # The database: from the state that was read, and no other.
    if following is not None and world.state is read:
        if following not in TRANSITIONS[read]:
            raise Broken(f"the database refuses to go from {read} to {following}")
        world = world._replace(state=following)
    return acts(world, number, None)


def check(world: World) -> None:
    here, there = world.source in ("", "undone"), world.target == "imported"
    if here and there:
        raise Broken("both shards trade it")
    in_transit = world.source == "frozen" and not there
    if here + there + in_transit != 1:
        raise Broken("the funds behind its orders are nowhere")
    ends = {S.COMPLETED: ("departed", "imported"), S.UNDONE: ("undone", world.target)}
    if (world.source, world.target) != ends.get(world.state, (world.source, world.target)):
        raise Broken(f"it is {world.state}, and the shards say {world.source!r} and {world.target!r}")


def heal(world: World) -> None:
    """Nobody dies any more, and everything is answered: it is over after so many steps."""
    world = world._replace(doing=(None, None, None))
    for _ in range(HEALED_AFTER):
        move = as_read(world, 0)
        if move.is_over:
            return
        step = symbol_moves.next_step(move)
        if step is None:
            break
        number = ACTORS.index(step[0])
        world = acts(world, number, (step[1], world.state))
        while world.doing[number] is not None:
            doing = world.doing[number]
            assert doing is not None
            after, refused = next(answers(world, doing[0]))
            world = goes_on(after, number, doing, refused=refused)
            check(world)
    raise Broken(f"it is never over: {world}")


def explore() -> tuple[int, set[SymbolMoveState]]:
    """All that can be reached, breadth first. Raises Broken, with the way there."""
    came_from: dict[World, tuple[str, World] | None] = {World(): None}
    level = [World()]
    while level and len(came_from) < WORLDS_MOST:
        following = []
        for world in level:
            try:
                heal(world)
                for name, after in events(world):
                    if after not in came_from:
                        came_from[after] = (name, world)
                        check(after)
                        following.append(after)
            except Broken as error:
                raise Broken("\n".join((str(error), *way(came_from, world)))) from None
        level = following
    assert not level, f"more than {WORLDS_MOST} worlds"
    return len(came_from), {world.state for world in came_from}


def way(came_from: dict[World, tuple[str, World] | None], world: World) -> list[str]:
    names = []
    while (before := came_from[world]) is not None:
        names.append(before[0])
        world = before[1]
    return names[::-1]


def test_in_every_world_one_shard_has_the_symbol_in_the_end_and_no_fund_is_lost(show: Show) -> None:
    worlds, states = explore()
    assert states == set(S)
    show(f"one move of a symbol, worlds: {worlds:,}; all end completed or undone")


def _thawed_when_it_took_too_long(move: SymbolMove) -> tuple[str, Step] | None:
    """Without asking the target."""
    step = _next_step(move)
    return (MAIN, Step.UNDO) if step == (SECOND, Step.ABANDON) and move.state is S.FROZEN else step


def _forgotten_before_it_is_there(move: SymbolMove) -> tuple[str, Step] | None:
    return (MAIN, Step.COMPLETE) if move.state is S.FROZEN else _next_step(move)


def _never_undone(move: SymbolMove) -> tuple[str, Step] | None:
    return None if move.state is S.ABANDONED else _next_step(move)


def _refused_is_undone(state: S, step: Step, *, refused: bool) -> S | Step | None:
    """A refusal is as good as an abandon."""
    return S.ABANDONED if (step, refused) == (Step.IMPORT, True) else _after(state, step, refused=refused)


def _refused_freeze_is_over(state: S, step: Step, *, refused: bool) -> S | Step | None:
    """What is refused is not carried out later: but it is, where it is not remembered."""
    return S.UNDONE if (step, refused) == (Step.FREEZE, True) else _after(state, step, refused=refused)


def _abandoned_whatever_it_says(state: S, step: Step, *, refused: bool) -> S | Step | None:
    return S.ABANDONED if step is Step.ABANDON else _after(state, step, refused=refused)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("next_step", _thawed_when_it_took_too_long),
        ("next_step", _forgotten_before_it_is_there),
        ("next_step", _never_undone),
        ("after", _refused_is_undone),
        ("after", _refused_freeze_is_over),
        ("after", _abandoned_whatever_it_says),
    ],
)
def test_a_planted_bug_is_found(name: str, bug: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_moves, name, bug)
    with pytest.raises(Broken):
        explore()
