"""Where commands of a symbol are sent, in every small world: what shards say of it, in every order of hearing it, while
it moves there and on and back.

In each, a command goes to no shard that does not know the symbol, and once nothing moves any more it is carried out
within two looks.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from openbourse.gateway.routes import HERE, Routes, Standing

SHARDS = ("a", "b", "c")
SYMBOL = "BTCUSDT"
ABSENT = None

# Of one shard; `Standing` as it would list it.
Truth = Standing | None


@dataclass(frozen=True)
class World:
    """What is so in each shard, and what a gateway knows."""

    truth: tuple[Truth, ...]
    seqs: tuple[int, ...]
    moves_left: int
    routes: Routes
    # An answer that is under way: the shard, and what it said when it gave it.
    late: tuple[int, int, Truth] | None = None

    def key(self) -> object:
        said = tuple(self.routes._said.get(SYMBOL, {}).items())
        # Of what came late it matters alone whether it is older than what was heard.
        is_old = self.late is not None and self.late[1] < self.routes._seqs.get(SHARDS[self.late[0]], 0)
        return self.truth, self.moves_left, said, self.late and (self.late[0], self.late[2], is_old)

    def with_truth(self, shard: int, standing: Truth) -> "World":
        truth = tuple(standing if n == shard else each for n, each in enumerate(self.truth))
        seqs = tuple(seq + (n == shard) for n, seq in enumerate(self.seqs))
        return replace(self, truth=truth, seqs=seqs)

    def hearing(self, shard: int, seq: int, standing: Truth) -> "World":
        routes = copy.deepcopy(self.routes)
        routes.heard(SHARDS[shard], seq, {} if standing is ABSENT else {SYMBOL: standing})
        return replace(self, routes=routes)

    def looked(self) -> "World":
        """As a gateway looks: all shards that have to do with the symbol say what is so now."""
        routes = self.routes
        concerned = {routes.home(SYMBOL), *routes.before(SYMBOL), routes.moving_to(SYMBOL)}
        world = self
        for shard, (seq, standing) in enumerate(zip(self.seqs, self.truth, strict=True)):
            if SHARDS[shard] in concerned:
                world = world.hearing(shard, seq, standing)
        return world


def moved(world: World) -> Iterator[World]:
    """One step of a move, or the beginning of another."""
    frozen = [(n, each) for n, each in enumerate(world.truth) if each is not ABSENT and each.moving_to]
    for source, standing in frozen:
        target = SHARDS.index(standing.moving_to)
        if world.truth[target] == HERE:
            yield world.with_truth(source, Standing(moved_to=standing.moving_to))
        else:
            yield world.with_truth(target, HERE)
            yield world.with_truth(source, HERE)
    if not frozen and world.moves_left:
        source = world.truth.index(HERE)
        for target, name in enumerate(SHARDS[: len(world.truth)]):
            if target != source:
                frozen_to = world.with_truth(source, Standing(moving_to=name))
                yield replace(frozen_to, moves_left=world.moves_left - 1)


def heard(world: World) -> Iterator[World]:
    for shard, (seq, standing) in enumerate(zip(world.seqs, world.truth, strict=True)):
        yield world.hearing(shard, seq, standing)
        if world.late is None:
            yield replace(world, late=(shard, seq, standing))
    if world.late is not None:
        yield replace(world.hearing(*world.late), late=None)


def worlds(shards: int, moves: int) -> list[World]:
    first = World((HERE, *[ABSENT] * (shards - 1)), (1,) * shards, moves, Routes())
    found = {first.key(): first}
    left = [first]
    while left:
        world = left.pop()
        for following in (*moved(world), *heard(world)):
            if (key := following.key()) not in found:
                found[key] = following
                left.append(following)
    return list(found.values())


def sent_to(world: World) -> Truth:
    """What the shard says of the symbol that a command of it is sent to."""
    home = world.routes.home(SYMBOL)
    assert home is not None
    standing = world.truth[SHARDS.index(home)]
    assert standing is not ABSENT, f"a command for {home}, which does not know the symbol: {world.key()}"
    return standing


def check(world: World) -> None:
    if world.routes.home(SYMBOL) is None:
        return
    looks = 0
    while sent_to(world) != HERE:
        world = world.looked()
        if world.routes.moving_to(SYMBOL):
            # It waits, and the move goes on.
            world = next(moved(world))
        else:
            looks += 1
        assert looks <= len(SHARDS), f"it is not found: {world.key()}"


@pytest.mark.parametrize(("shards", "moves"), [(2, 3), (3, 2)])
def test_a_command_goes_to_no_shard_that_does_not_know_the_symbol_and_is_carried_out_in_the_end(
    shards: int, moves: int
) -> None:
    found = worlds(shards, moves)
    assert len(found) > 500
    for world in found:
        check(world)


_home = Routes.home


def home_that_hurries(routes: Routes, symbol: str) -> str | None:
    return _moving_to(routes, symbol) or _home(routes, symbol)


def home_of_the_first(routes: Routes, symbol: str) -> str | None:
    return next(iter(routes._said.get(symbol, {})), None)


@pytest.mark.parametrize(
    ("name", "bug"),
    [("home", home_that_hurries), ("home", home_of_the_first)],
    ids=["sent to the target before it is there", "whoever listed it first has it for ever"],
)
def test_the_worlds_find_bugs(name: str, bug: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Routes, name, bug)
    with pytest.raises(AssertionError):
        for world in worlds(shards=2, moves=3):
            check(world)


def _moving_to(routes: Routes, symbol: str) -> str:
    return next((each.moving_to for each in routes._said.get(symbol, {}).values() if each.moving_to), "")
