"""Names that do not matter: worlds that differ in nothing but boots, versions and gaps between epochs are one."""

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from itertools import permutations
from typing import Any

from replication.parts import Bounds, Disk, Letter, Numbers, Recovery, World, Writing

from openbourse.engine.replication.history import History
from openbourse.engine.replication.member import Member, Settings
from openbourse.engine.replication.record import Held, Session

_EPOCHS = {"epoch", "promise", "promised", "below", "last_epoch"}
_VERSIONS = {"version", "expected"}
_ENTRIES = {"written", "durable", "entries", "tail", "incoming"}
_PLACES = {"place", "sender"}
_SORTED = {"progress", "statements"}


def renamed(
    value: Any,
    *,
    session: Callable[[Session], Session] = lambda session: session,
    epoch: Callable[[int], int] = lambda epoch: epoch,
    version: Callable[[str], str] = lambda version: version,
    place: Callable[[int], int] | None = None,
) -> Any:
    """The value with other names in it."""

    def walk(value: Any) -> Any:
        kind = type(value)
        if kind is Session:
            return Session(walk(value.member), value.boot) if place else session(value)
        if kind is str and place:
            return "ABC"[place("ABC".index(value[0]))] + value[1:]
        if kind is Settings and place:
            return Settings(tuple(sorted(map(walk, value.places))), value.min_in_sync, value.window)
        if kind is History:
            return History(tuple((epoch(at), last) for at, last in value.runs))
        if kind in {tuple, frozenset}:
            return kind(walk(item) for item in value)
        if not is_dataclass(value):
            return value
        return kind(**{field.name: part(field.name, getattr(value, field.name)) for field in fields(value)})

    def part(name: str, value: Any) -> Any:
        if name in _EPOCHS:
            return epoch(value)
        if name in _VERSIONS:
            return value if value is None else version(value)
        if name in _ENTRIES and type(value) is tuple:
            return tuple((epoch(at), command) for at, command in value)
        if name in _PLACES and type(value) is int:
            return place(value) if place else value
        if name in _SORTED and place:
            return tuple(sorted(walk(value), key=lambda item: str(item.member)))
        return walk(value)

    return walk(value)


def epochs_in(value: Any) -> frozenset[int]:
    found: set[int] = set()

    def see(epoch: int) -> int:
        found.add(epoch)
        return epoch

    renamed(value, epoch=see)
    return frozenset(found)


class Tables:
    """The numbers of all values, and what they are called when a name in them changes."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.records: Numbers[Held | None] = Numbers()
        self.writings: Numbers[Writing] = Numbers()
        self.letters: Numbers[Letter] = Numbers()
        self.members: Numbers[Member] = Numbers()
        self.disks: Numbers[Disk] = Numbers()
        self.recoveries: Numbers[Recovery] = Numbers()
        # Each with the old places in their new order.
        self._turns = [
            (turn, sorted(range(bounds.places), key=turn.__getitem__)) for turn in permutations(range(bounds.places))
        ]
        self._kinds: dict[tuple[int, int], int] = {}
        self._renamed: dict[Any, int] = {}
        self._renamed_sets: dict[Any, frozenset[int]] = {}
        # By disks and processes: the turns that bring them into the one order.
        self._in_order: dict[Any, list[tuple[tuple[int, ...], list[int]]]] = {}
        self._renamed_places: dict[Any, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._epochs: dict[tuple[int, int], int] = {}
        self._masks: dict[tuple[int, Any], int] = {}
        self._tables: tuple[Numbers[Any], ...] = (
            self.records,
            self.writings,
            self.letters,
            self.members,
            self.disks,
            self.recoveries,
        )

    def ranked(self, world: World) -> World:
        """Epochs that nobody knows any more leave no gap."""
        mask = (
            1
            | self._mask(0, (world.record,))
            | self._mask(1, world.writings)
            | self._mask(2, world.letters)
            | self._mask(3, world.processes)
            | self._mask(4, world.disks)
            | self._mask(5, (world.recovery,))
            | (1 << world.accepted[0])
        )
        if mask & (mask + 1) == 0:
            return world
        rank: dict[int, int] = {}
        for epoch in range(mask.bit_length()):
            if mask >> epoch & 1:
                rank[epoch] = len(rank)
        world = self.renamed(world, ("rank", mask), epoch=lambda epoch: rank[epoch])
        return world._replace(accepted=(rank[world.accepted[0]], world.accepted[1]))

    def _mask(self, table: int, numbers: Iterable[int]) -> int:
        """The epochs in some values, as bits."""
        mask = self._masks.get((table, numbers))
        if mask is None:
            values = self._tables[table].values
            mask = 0
            for number in numbers:
                if number >= 0:
                    mask |= self._mask_of(table, number, values)
            self._masks[table, numbers] = mask
        return mask

    def _mask_of(self, table: int, number: int, values: list[Any]) -> int:
        mask = self._epochs.get((table, number))
        if mask is None:
            mask = 0
            for epoch in epochs_in(values[number]):
                mask |= 1 << epoch
            self._epochs[table, number] = mask
        return mask

    def turned(self, world: World) -> World:
        """One of all worlds that differ in who is where only: the same one for all of them."""
        turns = self._in_order.get((world.disks, world.processes))
        if turns is None:
            kinds = [
                (self._kind(4, disk), self._kind(3, process))
                for disk, process in zip(world.disks, world.processes, strict=True)
            ]
            ordered = sorted(kinds)
            turns = [turn for turn in self._turns if [kinds[place] for place in turn[1]] == ordered]
            self._in_order[world.disks, world.processes] = turns
        others = [self._turned(world, turn, places) for turn, places in turns]
        if len(others) == 1:
            return others[0]
        return min(others, key=lambda world: (world[-2:], sorted(world.letters), sorted(world.writings), world.record))

    def _turned(self, world: World, turn: tuple[int, ...], places: list[int]) -> World:
        if turn == tuple(places) == self._turns[0][0]:
            return world
        other = self.renamed(world, ("turn", turn), place=turn.__getitem__)
        disks, processes = other.disks, other.processes
        return other._replace(
            disks=tuple([disks[place] for place in places]), processes=tuple([processes[place] for place in places])
        )

    def _kind(self, table: int, number: int) -> int:
        """The same for all that differ in who is where only."""
        kind = self._kinds.get((table, number))
        if kind is None:
            same = [self._number(table, number, ("turn", turn), place=turn.__getitem__) for turn, _ in self._turns]
            kind = min(same)
            self._kinds.update({(table, one): kind for one in same})
        return kind

    def _number(self, table: int, number: int, key: tuple[Any, ...], **names: Any) -> int:
        known = self._renamed.get((table, number, key))
        if known is None:
            numbers = self._tables[table]
            known = self._renamed[table, number, key] = numbers(renamed(numbers.values[number], **names))
        return known

    def renamed(self, world: World, key: tuple[Any, ...], **names: Any) -> World:
        """The world with other names; the same key always means the same ones."""

        def number(table: int, number: int) -> int:
            return self._number(table, number, key, **names)

        def numbers(table: int, several: frozenset[int]) -> frozenset[int]:
            known = self._renamed_sets.get((table, several, key))
            if known is None:
                known = frozenset(number(table, one) for one in several)
                self._renamed_sets[table, several, key] = known
            return known

        places = self._renamed_places.get((world.processes, world.disks, key))
        if places is None:
            places = (
                tuple(p if p < 0 else number(3, p) for p in world.processes),
                tuple(number(4, disk) for disk in world.disks),
            )
            self._renamed_places[world.processes, world.disks, key] = places
        return World(
            number(0, world.record),
            numbers(1, world.writings),
            numbers(2, world.letters),
            world.acknowledged,
            world.commands,
            world.losses,
            world.accepted,
            number(5, world.recovery),
            *places,
        )
