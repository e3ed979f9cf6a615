"""A symbol from shard to shard, in every small world: listed where it is and nowhere else, opened nowhere, asked for
once for each wish; and each sentence that a person reads.
"""

from collections.abc import Iterator
from functools import cache

from fixtures.figures import Show
from fixtures.moving_worlds import MAIN, SECOND, World, carried_out, goes_on, observed, other, symbol
from openbourse.contracts.resources import MoveState
from openbourse.operator import listed, moves
from openbourse.operator.moves import AskMove
from openbourse.operator.observed import Observed
from openbourse.operator.plan import PHASES, Action, plan

WORLDS_MOST = 60_000
# Wishes of one life: there, back, there again, and one that changes nothing.
GENERATIONS_MOST = 4
# The phases of a plan that have to do with moves, in their order; of so many worlds one is planned as a whole.
OF_A_MOVE = ("listings", "moves")
WHOLE_EACH = 100
SETTLED_WITHIN = 40


def person(world: World) -> Iterator[World]:
    """Wants it elsewhere, or touches another field; halts one shard, or all of them, or lifts."""
    if world.generation < GENERATIONS_MOST:
        changed = world._replace(generation=world.generation + 1)
        yield changed
        yield changed._replace(wanted=other(world.wanted))
    for halted in (frozenset[str](), frozenset({MAIN}), frozenset({MAIN, SECOND})):
        if (halted == frozenset()) != (world.halted == frozenset()):
            yield world._replace(halted=halted)


def planned(seen: Observed) -> tuple[Action, ...]:
    """As `plan` does of a world in which all else is as it should be, and many times quicker."""
    assert seen.exchange is not None
    for phase in OF_A_MOVE:
        if actions := tuple(dict(PHASES)[phase](seen, seen.exchange)):
            return actions
    return ()


@cache
def operator(world: World) -> tuple[World, ...]:
    """What each action of a round makes of it, one after the other: it may be killed behind any of them."""
    after, worlds = world, []
    for action in planned(observed(world)):
        assert action.reason
        if isinstance(action, AskMove):
            move = action.move
            assert move.from_shard not in world.halted or move.to_shard in world.halted, "it would be opened"
        before, after = after, carried_out(after, action)
        assert after != before, "nothing is asked for in vain"
        worlds.append(after)
    return tuple(worlds)


def neighbours(world: World) -> Iterator[World]:
    yield from operator(world)
    yield from goes_on(world)
    yield from person(world)
    yield world._replace(ledgers_are_away=not world.ledgers_are_away)


def check(world: World) -> None:
    assert world.listed != (True, True), "listed in two shards"
    for shard, is_listed in zip((MAIN, SECOND), world.listed, strict=True):
        ever = shard == MAIN or any(row.state in {"imported", "completed"} for _, row in world.moves)
        assert ever or not is_listed, "listed anew where it never came to"
    number = (MAIN, SECOND).index(world.has or SECOND)
    assert world.listed[number] or world.expected[number], "whose Symbol is deleted now is delisted nowhere"
    assert world.asked <= world.generation - 1, "a wish is asked for once"
    assert len({move_id for move_id, _ in world.moves}) == len(world.moves)
    going = [row for _, row in world.moves if row.state not in {"completed", "undone"}]
    assert len(going) <= 1, "one move at a time"


@cache
def settles(world: World) -> World:
    """With ledgers that answer and do what they can, and a person who leaves it alone."""
    world = world._replace(ledgers_are_away=False)
    for _ in range(SETTLED_WITHIN):
        acted = operator(world)
        world = acted[-1] if acted else world
        gone_on = next(goes_on(world), None)
        if gone_on is None and not acted:
            return world
        world = gone_on or world
    raise AssertionError(f"it does not come to an end: {world}")


def test_in_every_small_world_a_symbol_is_where_its_status_says_and_comes_to_where_it_is_wanted(show: Show) -> None:
    found, todo = {World()}, [World()]
    while todo:
        world = todo.pop()
        check(world)
        check_end(settles(world))
        check_taken_back(world)
        if len(found) % WHOLE_EACH == 0:
            seen = observed(world)
            assert plan(seen).actions == planned(seen)
        for after in neighbours(world):
            if after not in found:
                found.add(after)
                todo.append(after)
        assert len(found) < WORLDS_MOST
    show(
        f"a symbol between two shards, {len(found):,} small worlds: listed once, never opened, asked for once each time"
    )


def check_taken_back(world: World) -> None:
    """Who changed their mind is heard before the ledgers take another step."""
    world = world._replace(ledgers_are_away=False)
    while acted := operator(world):
        world = acted[-1]
    if world.noted is not None and world.noted[0] in world.told():
        row = world.told()[world.noted[0]]
        is_back_in_time = row.state in {"requested", "willing", "frozen"}
        assert not (is_back_in_time and world.wanted == row.source) or row.undo_asked


def check_end(world: World) -> None:
    seen, held = observed(world), symbol(world)
    assert seen.exchange is not None
    here = listed.home(seen, held)
    assert here == world.has, "the status says where it is"
    assert world.listed == ((True, False) if here == MAIN else (False, True))
    fact = moves.verdict(seen, seen.exchange, held).fact
    waits = world.noted is not None and world.noted[3] == MoveState.ASKED
    assert any(world.expected) is waits, "of one that waits for a Halt it is noted that it may come"
    if here == world.wanted:
        assert fact is None or fact.reason == "InPlace"
    else:
        assert fact is not None
        assert fact.reason in {"HaltWouldBeLeft", MoveState.UNDONE}, "a person is told why it is not there"
        assert fact.holds is False
        assert fact.reason == MoveState.UNDONE or (world.has == MAIN and world.halted == {MAIN})
