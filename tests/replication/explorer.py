"""Breadth first through every world within some bounds, and the way to the first one that is broken."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from replication.parts import Broken, Event, OutOfBounds, World
from replication.worlds import Worlds


@dataclass(frozen=True, slots=True)
class Found:
    """A broken invariant and the events that lead to it."""

    what: str
    trace: tuple[Event, ...]

    @property
    def depth(self) -> int:
        return len(self.trace)


@dataclass(frozen=True, slots=True)
class Explored:
    """`exhausted`: there is no world within the bounds that was not seen; else all up to `depth` were."""

    worlds: Worlds
    states: list[World]
    transitions: int
    depth: int
    exhausted: bool
    elapsed_s: float
    broken: Found | None

    def told(self) -> str:
        """What is broken and how, for a person."""
        if self.broken is None:
            return ""
        return "\n".join([self.broken.what, *map(self.worlds.told, self.broken.trace)])


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of tuples, none of them in a cycle: looking for one costs a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_uncollected()
def explore(
    worlds: Worlds,
    *,
    first: World | None = None,
    depth_max: int = 1_000,
    states_max: int = 10_000_000,
    time_max_s: float = 3_600,
) -> Explored:
    began = time.process_time()
    first = first or worlds.first()
    states = [first]
    parents: list[tuple[int, Event]] = [(-1, ())]
    numbers = {first: 0}
    transitions = depth = 0
    level = range(1)
    broken = None
    while level and depth < depth_max and broken is None and len(states) < states_max:
        if time.process_time() - began > time_max_s:
            break
        for number in level:
            world = states[number]
            for event, after in worlds.next(world):
                transitions += 1
                try:
                    reached = after()
                except Broken as error:
                    broken = Found(str(error), (*_way(parents, number), event))
                    break
                except OutOfBounds:
                    continue
                if reached not in numbers:
                    numbers[reached] = len(states)
                    states.append(reached)
                    parents.append((number, event))
            if broken is not None:
                break
        level = range(level.stop, len(states))
        depth += 1
    return Explored(worlds, states, transitions, depth, not level, time.process_time() - began, broken)


def _way(parents: list[tuple[int, Event]], number: int) -> tuple[Event, ...]:
    events = []
    while number > 0:
        number, event = parents[number]
        events.append(event)
    return tuple(reversed(events))
