"""Names that do not matter: worlds that differ in nothing but boots, versions and gaps between epochs are one."""

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from replication.parts import Bounds, Disk, Letter, Numbers, Recovery, World, Writing

from openbourse.engine.replication.history import History
from openbourse.engine.replication.member import (
    Member,
)
from openbourse.engine.replication.record import Held, Session

_EPOCHS = {"epoch", "promise", "promised", "below", "last_epoch"}
_VERSIONS = {"version", "expected"}
_ENTRIES = {"written", "durable", "entries", "tail"}


def renamed(
    value: Any,
    *,
    session: Callable[[Session], Session] = lambda session: session,
    epoch: Callable[[int], int] = lambda epoch: epoch,
    version: Callable[[str], str] = lambda version: version,
) -> Any:
    """The value with other names in it."""

    def walk(value: Any) -> Any:
        kind = type(value)
        if kind is Session:
            return session(value)
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
        self._renamed: dict[Any, int] = {}
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

    def renamed(self, world: World, key: tuple[Any, ...], **names: Any) -> World:
        """The world with other names; the same key always means the same ones."""

        def number(table: int, number: int) -> int:
            known = self._renamed.get((table, number, key))
            if known is None:
                numbers = self._tables[table]
                known = self._renamed[table, number, key] = numbers(renamed(numbers.values[number], **names))
            return known

        return world._replace(
            record=number(0, world.record),
            writings=frozenset(number(1, writing) for writing in world.writings),
            letters=frozenset(number(2, letter) for letter in world.letters),
            processes=tuple(p if p < 0 else number(3, p) for p in world.processes),
            disks=tuple(number(4, disk) for disk in world.disks),
            recovery=number(5, world.recovery),
        )
