"""Small worlds: a few members, their disks, everything that is in flight, the record; and all that can happen next.

The members are those of `openbourse.engine.replication`; what is modelled is everything around them. A world is a tuple
of small numbers, each the number of a value that was seen before, so that a member's step is computed once for each
different member and input, however many worlds it happens in.

What was ever sent stays in flight until nobody can make anything of it: so messages are late, lost, repeated and out of
order without an event of their own. Writes of the record land late or never in the same way.

Worlds that differ in names only are one: versions are `1` (the record's) or `0` (any older one), boots are `1` (the
process that runs) or `0`, epochs are renamed by their rank.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from openbourse.engine.replication import protocol, sessions
from openbourse.engine.replication.effects import NOTHING, Effects, Statement
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import (
    Beat,
    Conflicted,
    CutIsDurable,
    Input,
    LogIsDurable,
    Look,
    PromiseIsDurable,
    Propose,
    Received,
    Seal,
    Seen,
    Succeeded,
    Suspect,
    Trust,
    Unsettled,
)
from openbourse.engine.replication.leading import accepts
from openbourse.engine.replication.member import (
    Joining,
    Leader,
    Member,
    Sealed,
    Settings,
    Standby,
    State,
    Stopped,
    Unknown,
    state,
)
from openbourse.engine.replication.messages import Ack, Append, Joined, Message, Offer, Refuse
from openbourse.engine.replication.progress import matched as durable_through
from openbourse.engine.replication.record import CompareAndSet, Held, Read, Record, Session
from openbourse.engine.replication.recovery import recovered, seal_epoch

Entries = tuple[tuple[int, int], ...]
# Proposed in a healed world only.
AFTER_ALL = 99


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may happen in a world. `power`: a crash may lose what is not synced; else each write is synced at once."""

    places: int = 2
    epochs: int = 3
    commands: int = 2
    # How often a volume may be lost, with or without a new name for the new one.
    losses: int = 0
    power: bool = False
    downstream: bool = False
    # How often the record may be lost; a recovery follows.
    recoveries: int = 0
    min_in_sync: int = 1
    # Whether anything happens between asking for the record and reading it; else a late read is a late question.
    slow_reads: bool = False
    # Whether followers hear of a commit with the next command only.
    beats: bool = True
    # Whether what a leader sent arrives after its end.
    ghosts: bool = True
    # Whether a member is trusted again while a change of the set is on its way.
    hasty: bool = True


@dataclass(frozen=True, slots=True)
class Disk:
    """(epoch, command) by index, as written and as durable. `tail` was cut off and comes back until that is durable."""

    volume: str
    written: Entries
    durable: Entries
    promise: int
    promised: int
    tail: Entries = ()


@dataclass(frozen=True, slots=True)
class Letter:
    place: int
    sender: int
    message: Message
    entries: Entries


@dataclass(frozen=True, slots=True)
class Writing:
    """A write of the record on its way; `version`: it landed, and the answer says so."""

    place: int
    ask: CompareAndSet
    version: str | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """A person at work. `below` is 0 before it begins; `expected` the version that the new record replaces."""

    lost: int
    below: int
    statements: tuple[Statement, ...]


class World(NamedTuple):
    """Numbers of values, except for `acknowledged` (commands by index) and the counters."""

    record: int
    writings: frozenset[int]
    letters: frozenset[int]
    acknowledged: tuple[int, ...]
    commands: int
    losses: int
    # What a downstream has accepted: the highest epoch, and the seq of the last answer.
    accepted: tuple[int, int]
    recovery: int
    # By place. One that is down is one that has booted and not read anything yet: nothing tells them apart.
    processes: tuple[int, ...]
    disks: tuple[int, ...]


class Broken(Exception):
    """An invariant does not hold."""


class OutOfBounds(Exception):
    """The event leads to an epoch that these worlds do not have."""


Event = tuple[Any, ...]
T = TypeVar("T", bound=Hashable)


class Numbers(Generic[T]):
    """Values by number, numbers by value."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self.of: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        number = self.of.get(value)
        if number is None:
            number = self.of[value] = len(self.values)
            self.values.append(value)
        return number


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


def place_name(place: int) -> str:
    return "ABC"[place]


class Worlds:
    """The worlds within some bounds. `seen` counts the changes of state of the members, by what caused them."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.records: Numbers[Held | None] = Numbers()
        self.writings: Numbers[Writing] = Numbers()
        self.letters: Numbers[Letter] = Numbers()
        self.members: Numbers[Member] = Numbers()
        self.disks: Numbers[Disk] = Numbers()
        self.recoveries: Numbers[Recovery] = Numbers()
        self.changes: dict[tuple[State, State, str], int] = {}
        self.steps = 0
        self._stepped: dict[Any, tuple[int, Effects]] = {}
        self._renamed: dict[Any, int] = {}
        self._epochs: dict[tuple[int, int], int] = {}
        self._boots: dict[Any, tuple[int, Effects]] = {}
        self._masks: dict[tuple[int, Any], int] = {}
        self._checked: set[Any] = set()
        self._live: dict[Any, frozenset[int]] = {}
        self._tables: tuple[Numbers[Any], ...] = (
            self.records,
            self.writings,
            self.letters,
            self.members,
            self.disks,
            self.recoveries,
        )

    def told(self, event: Event) -> str:
        """An event of a trace, with values in place of numbers."""
        match event:
            case ("deliver", number):
                return f"deliver {self.letters.values[number]}"
            case ("land" | "succeed" as how, number):
                return f"{how} {self.writings.values[number]}"
            case _:
                return " ".join(map(str, event))

    # -- the first world

    def first(self) -> World:
        world = self._first()
        # What is planted afterwards begins here.
        self._stepped.clear()
        self._boots.clear()
        self._checked.clear()
        return world

    def _first(self) -> World:
        """A leads epoch 1 and B is in sync, C too if there is one; reached by the members' own steps."""
        everybody = frozenset(f"{place_name(place)}1" for place in range(self.bounds.places))
        record = Record(0, Session("A1", "0"), everybody)
        processes, disks = [], []
        for place in range(self.bounds.places):
            disk = Disk(f"{place_name(place)}1", (), (), 0, 0)
            disks.append(self.disks(disk))
            processes.append(-1)
        world = World(
            self.records(Held(record, "1")),
            frozenset(),
            frozenset(),
            (),
            0,
            self.bounds.losses,
            (0, 0),
            self.recoveries(Recovery(self.bounds.recoveries, 0, ())),
            tuple(processes),
            tuple(disks),
        )
        for place in range(self.bounds.places):
            world = self.boot(world, place)
        world = self.read(world, 0)
        world = self.land(world, *world.writings)
        world = self.succeed(world, *world.writings)
        for _ in range(9):
            for place in range(self.bounds.places):
                if self._member(world, place).waiting == Read() and place != 0:
                    world = self.read(world, place)
                world = self.sync(world, place)
            for letter in sorted(world.letters):
                if letter in world.letters:
                    world = self.deliver(world, letter)
        return world

    # -- what can happen next

    def next(self, world: World) -> Iterator[tuple[Event, Callable[[], World]]]:
        """Every event that is possible, and the world after it. Both may be one that was seen before."""
        for letter in world.letters:
            place = self.letters.values[letter].place
            yield ("deliver", letter), lambda letter=letter: self.deliver(world, letter)  # type: ignore[misc]
        for place, process in enumerate(world.processes):
            yield from self._next_at(world, place, self.members.values[process])
        record = self.records.values[world.record]
        for writing in world.writings:
            w = self.writings.values[writing]
            if w.version is None:
                if (record is None) == (w.ask.expected is None):
                    yield ("land", writing), lambda writing=writing: self.land(world, writing)  # type: ignore[misc]
            else:
                yield ("succeed", writing), lambda writing=writing: self.succeed(world, writing)  # type: ignore[misc]
        if self.bounds.recoveries:
            yield from self._next_recovery(world)

    def _next_at(self, world: World, place: int, member: Member) -> Iterator[tuple[Event, Callable[[], World]]]:
        role = member.role
        disk = self.disks.values[world.disks[place]]
        if self.needs_sync(member, disk):
            yield ("sync", place), lambda: self.sync(world, place)
        yield ("restart", place), lambda: self.boot(world, place)
        if world.losses:
            yield ("lose", place), lambda: self.lose(world, place)
        if disk.written != disk.durable or disk.promise != disk.promised or disk.tail:
            for log, promise in _after_power_loss(disk):
                yield (
                    ("power", place, log, promise),
                    lambda log=log, promise=promise: self.power(  # type: ignore[misc]
                        world, place, log, promise
                    ),
                )
        if member.waiting == Read():
            yield ("read", place), lambda: self.read(world, place)
        elif member.waiting is not None:
            ask = member.waiting
            assert isinstance(ask, CompareAndSet)
            yield ("unsettled", place), lambda: self.input(world, place, ("u", place), Unsettled(ask))
            record = self.records.values[world.record]
            if (record is None or ask.expected != record.version) and not self._has_landed(world, place, ask):
                yield ("conflict", place), lambda: self.input(world, place, ("c", place), Conflicted(ask))
        elif isinstance(role, Unknown | Sealed | Leader):
            yield ("look", place), lambda: self.look(world, place)
        for suspect in self._suspects(world, place, member):
            yield (
                ("suspect", place, suspect),
                lambda suspect=suspect: self.input(  # type: ignore[misc]
                    world, place, ("s", suspect), Suspect(suspect)
                ),
            )
        if isinstance(role, Leader):
            yield from self._next_leader(world, place, member, role)

    def _next_leader(
        self, world: World, place: int, member: Member, role: Leader
    ) -> Iterator[tuple[Event, Callable[[], World]]]:
        for trusted in member.suspected if self.bounds.hasty or member.waiting is None else ():
            yield (
                ("trust", place, trusted),
                lambda trusted=trusted: self.input(  # type: ignore[misc]
                    world, place, ("t", trusted), Trust(trusted)
                ),
            )
        if self.bounds.beats and role.progress and member.commit:
            yield ("beat", place), lambda: self.input(world, place, ("b",), Beat())
        if world.commands < self.bounds.commands and accepts(member):
            yield ("propose", place), lambda: self.propose(world, place)
        if self.bounds.downstream and member.commit == member.history.end:
            yield ("answer", place), lambda: self.answer(world, place)

    def _has_landed(self, world: World, place: int, ask: CompareAndSet) -> bool:
        """Then this try of it did not conflict."""
        return any(self.writings.values[writing] == Writing(place, ask, "0") for writing in world.writings) or any(
            self.writings.values[writing] == Writing(place, ask, "1") for writing in world.writings
        )

    def _suspects(self, world: World, place: int, member: Member) -> list[str]:
        match member.role:
            case Leader(held=held, progress=progress):
                known = held.record.in_sync | {follower.member for follower in progress}
                return sorted(known - member.suspected - {member.me.member})
            case Standby(offer=offer) | Joining(offer=offer):
                return [offer.leader.member]
            case Unknown():
                record = self.records.values[world.record]
                leader = None if record is None else record.record.leader
                return [] if leader is None or leader.member == member.me.member else [leader.member]
            case _:
                return []

    # -- events

    def deliver(self, world: World, number: int) -> World:
        letter = self.letters.values[number]
        place = letter.place
        known = self._stepped.get((world.processes[place], number))
        if known is not None and known[0] == world.processes[place] and known[1] is NOTHING:
            return world
        received = Received(place_name(letter.sender), letter.message)
        return self.input(world, place, number, received, entries=letter)

    def propose(self, world: World, place: int, command: int | None = None) -> World:
        """One command, in a batch of its own."""
        last = self._member(world, place).history.end + 1
        if command is None:
            command = world.commands + 1
            world = world._replace(commands=command)
        return self.input(world, place, ("p",), Propose(last), command=command)

    def sync(self, world: World, place: int) -> World:
        """Promise and log are files of their own, but one after the other changes nothing that two at once do not."""
        disk = self.disks.values[world.disks[place]]
        member = self._member(world, place)
        draft = _Draft(self, world)
        tail = () if member.cutting else disk.tail
        draft.disk(place, Disk(disk.volume, disk.written, disk.written, disk.promise, disk.promise, tail))
        if member.promised < disk.promise:
            draft.step(place, ("P", disk.promise), PromiseIsDurable(disk.promise))
        if member.cutting:
            draft.step(place, ("C", len(disk.written)), CutIsDurable(len(disk.written)))
        elif member.durable < len(disk.written):
            draft.step(place, ("D", len(disk.written)), LogIsDurable(len(disk.written)))
        return draft.done()

    def power(self, world: World, place: int, log: Entries, promise: int) -> World:
        """The machine restarts; of what was not synced the disk has some."""
        disk = self.disks.values[world.disks[place]]
        return self.boot(world, place, Disk(disk.volume, log, log, promise, promise))

    def lose(self, world: World, place: int) -> World:
        """The volume is gone; the process starts on a new one."""
        disk = self.disks.values[world.disks[place]]
        world = world._replace(losses=world.losses - 1)
        return self.boot(world, place, Disk(renew(disk.volume), (), (), 0, 0))

    def boot(self, world: World, place: int, disk: Disk | None = None) -> World:
        """The process ends and another one begins, on what the disk has."""
        draft = _Draft(self, world)
        if disk is None:
            disk = self.disks.values[world.disks[place]]
        else:
            draft.disk(place, disk)
        old = Session(disk.volume, "0")
        draft.processes[place] = -1
        draft.rename(("boot", disk.volume), session=lambda session: old if session.member == disk.volume else session)
        draft.processes[place], effects = self._booted(place, disk)
        draft.effects(place, effects, is_boot=True)
        return draft.done()

    def _booted(self, place: int, disk: Disk) -> tuple[int, Effects]:
        known = self._boots.get((place, disk))
        if known is None:
            others = tuple(place_name(other) for other in range(self.bounds.places) if other != place)
            settings = Settings(others, self.bounds.min_in_sync)
            me = Session(disk.volume, "1")
            member, effects = protocol.boot(me, settings, history_of(disk.written), disk.promise, 0)
            known = self._boots[place, disk] = (self.members(member), effects)
        return known

    def ask_again(self, world: World, place: int, ask: CompareAndSet) -> World:
        """The same request, after one that was lost."""
        draft = _Draft(self, world)
        draft.writings.add(self.writings(Writing(place, ask, None)))
        return draft.done()

    def look(self, world: World, place: int) -> World:
        return self.input(world, place, ("l",), Look())

    def read(self, world: World, place: int) -> World:
        return self.input(world, place, ("r", world.record), Seen(self.records.values[world.record]))

    def land(self, world: World, number: int) -> World:
        """The write of the record succeeds; who hears of it is another matter."""
        writing = self.writings.values[number]
        before = self.records.values[world.record]
        if before is not None and writing.ask.record.epoch < before.record.epoch:
            raise Broken(f"the record's epoch falls from {before.record.epoch} to {writing.ask.record.epoch}")
        draft = _Draft(self, world)
        draft.writings.discard(number)
        ask = writing.ask
        if before is not None:
            draft.rename(("land",), version=lambda _: "0")
            ask = CompareAndSet("0", ask.record)
        draft.record = self.records(Held(ask.record, "1"))
        draft.writings.add(self.writings(Writing(writing.place, ask, "1")))
        return draft.done()

    def succeed(self, world: World, number: int) -> World:
        writing = self.writings.values[number]
        assert writing.version is not None
        draft = _Draft(self, world)
        draft.writings.discard(number)
        draft.step(writing.place, ("w", number), Succeeded(writing.ask, writing.version))
        return draft.done()

    def answer(self, world: World, place: int) -> World:
        """A query, answered at the end of the log, all of it committed, to somebody who has heard other answers."""
        member = self._member(world, place)
        assert isinstance(member.role, Leader)
        epoch, seq = world.accepted
        match sessions.admit(epoch, member.role.epoch):
            case sessions.Admitted(highest):
                if member.history.end < seq:
                    raise Broken(
                        f"a downstream that has an answer at seq {seq} of epoch {epoch} "
                        f"takes one at seq {member.history.end} of epoch {member.role.epoch}"
                    )
                return self._canonical(world._replace(accepted=(highest, member.history.end)))
            case _:
                return world

    def input(
        self,
        world: World,
        place: int,
        key: Any,
        event: Input,
        *,
        entries: Letter | None = None,
        command: int | None = None,
    ) -> World:
        process = world.processes[place]
        after, effects = self.stepped(process, key, event)
        if after == process and effects is NOTHING:
            return world
        draft = _Draft(self, world)
        draft.step(place, key, event, entries=entries, command=command)
        return draft.done()

    # -- recovery

    def _next_recovery(self, world: World) -> Iterator[tuple[Event, Callable[[], World]]]:
        recovery = self.recoveries.values[world.recovery]
        record = self.records.values[world.record]
        if recovery.lost and record is not None:
            yield ("lose record",), lambda: self.lose_record(world)
        if record is None and not recovery.below:
            yield ("recover",), lambda: self.begin_recovery(world)
        if record is None and recovery.below:
            for place in range(self.bounds.places):
                yield ("seal", place), lambda place=place: self.seal(world, place)  # type: ignore[misc]
            yield ("write record",), lambda: self.write_record(world)

    def lose_record(self, world: World) -> World:
        recovery = self.recoveries.values[world.recovery]
        draft = _Draft(self, world)
        draft.rename(("land",), version=lambda _: "0")
        draft.record = self.records(None)
        draft.recovery = self.recoveries(Recovery(recovery.lost - 1, 0, ()))
        return draft.done()

    def begin_recovery(self, world: World) -> World:
        recovery = self.recoveries.values[world.recovery]
        promises = [self.disks.values[disk].promise for disk in world.disks]
        draft = _Draft(self, world)
        below = seal_epoch(promises)
        draft.recovery = self.recoveries(Recovery(recovery.lost, below, ()))
        return draft.done() if below <= self.bounds.epochs else world

    def seal(self, world: World, place: int) -> World:
        recovery = self.recoveries.values[world.recovery]
        return self.input(world, place, ("S", recovery.below), Seal(recovery.below))

    def write_record(self, world: World) -> World:
        recovery = self.recoveries.values[world.recovery]
        volumes = frozenset(self.disks.values[disk].volume for disk in world.disks)
        record = recovered(recovery.below, recovery.statements, frozenset(), volumes)
        if isinstance(record, str):
            return world
        draft = _Draft(self, world)
        draft.record = self.records(Held(record, "1"))
        draft.recovery = self.recoveries(Recovery(recovery.lost, 0, ()))
        return draft.done()

    # -- what holds everywhere, and names that do not matter

    def _member(self, world: World, place: int) -> Member:
        process = world.processes[place]
        return self.members.values[process]

    def needs_sync(self, member: Member, disk: Disk) -> bool:
        return (
            disk.written != disk.durable
            or (member.cutting and bool(disk.tail))
            or disk.promise != disk.promised
            or member.durable < member.history.end
            or member.promised < disk.promise
            or member.cutting
        )

    def _canonical(self, world: World) -> World:
        world = world._replace(
            letters=self._living_letters(world),
            writings=frozenset(number for number in world.writings if self._is_living(world, number)),
        )
        return self._ranked(world)

    def _living_letters(self, world: World) -> frozenset[int]:
        """Without the letters that nobody can make anything of any more."""
        key = (world.letters, world.processes, world.disks, world.losses > 0)
        if (living := self._live.get(key)) is not None:
            return living
        leading: dict[int, Leader] = {}
        for place, process in enumerate(world.processes):
            if process >= 0 and isinstance(role := self.members.values[process].role, Leader):
                leading[place] = role
        led = {role.epoch for role in leading.values()}
        living = frozenset(number for number in world.letters if self._is_read(world, number, leading, led))
        self._live[key] = living
        return living

    def _is_read(self, world: World, number: int, leading: dict[int, Leader], led: set[int]) -> bool:
        letter = self.letters.values[number]
        message = letter.message
        match message:
            case Ack(epoch=epoch, member=member, matched=matched):
                leader = leading.get(letter.place)
                if leader is None or leader.epoch != epoch:
                    return False
                return matched > durable_through(leader.progress, member)
            case Joined(epoch=epoch, member=member, matched=matched):
                leader = leading.get(letter.place)
                if leader is None or leader.epoch != epoch:
                    return False
                return not any(p.member == member and p.matched >= matched for p in leader.progress)
            case Refuse():
                # Makes its reader look at the record, which it may do at any time.
                return False
            case Offer(epoch=epoch) | Append(epoch=epoch):
                if epoch not in led and not self.bounds.ghosts:
                    return False
                if world.losses or self.disks.values[world.disks[letter.place]].promised <= epoch:
                    return True
                return isinstance(message, Offer) and epoch in led

    def _is_living(self, world: World, number: int) -> bool:
        writing = self.writings.values[number]
        if writing.version is None:
            within = writing.ask.record.epoch <= self.bounds.epochs
            return within and (writing.ask.expected is None or writing.ask.expected == "1")
        process = world.processes[writing.place]
        if process < 0:
            return False
        asker = self.members.values[process]
        if asker.me != writing.ask.record.leader:
            return False
        if isinstance(asker.role, Leader) and asker.role.epoch == writing.ask.record.epoch:
            return writing.ask in asker.role.unsettled
        return True

    def _ranked(self, world: World) -> World:
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
        draft = _Draft(self, world)
        draft.rename(("rank", mask), epoch=lambda epoch: rank[epoch])
        draft.accepted = (rank[draft.accepted[0]], draft.accepted[1])
        return draft.world()

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

    def rename_number(self, table: int, number: int, key: tuple[Any, ...], **names: Any) -> int:
        known = self._renamed.get((table, number, key))
        if known is None:
            numbers = self._tables[table]
            known = self._renamed[table, number, key] = numbers(renamed(numbers.values[number], **names))
        return known

    def stepped(self, process: int, key: Any, event: Input) -> tuple[int, Effects]:
        """The member's step, computed once."""
        known = self._stepped.get((process, key))
        if known is None:
            before = self.members.values[process]
            try:
                after, effects = protocol.step(before, event)
            except AssertionError as error:
                raise Broken(f"{before.me}: {error}") from error
            self.steps += 1
            known = self._stepped[process, key] = (self.members(after), NOTHING if effects == NOTHING else effects)
            change = (state(before), state(after), type(event).__name__)
            if change[0] != change[1]:
                self.changes[change] = self.changes.get(change, 0) + 1
        return known

    def check(self, world: World) -> None:
        """One index of one epoch has one content, wherever it is; an epoch has one leader."""
        key = (world.disks, world.processes)
        if key in self._checked:
            return
        for place, disk in enumerate(world.disks):
            epochs = [epoch for epoch, _ in self.disks.values[disk].written]
            if epochs != sorted(epochs):
                raise Broken(f"the epochs of the log of {self.disks.values[disk].volume} fall: {epochs}")
            for other in world.disks[place + 1 :]:
                if (conflict := _conflict(self.disks.values[disk], self.disks.values[other])) is not None:
                    raise Broken(conflict)
        led = [
            role.epoch
            for process in world.processes
            if process >= 0 and isinstance(role := self.members.values[process].role, Leader)
        ]
        if len(led) != len(set(led)):
            raise Broken(f"an epoch has two leaders: {led}")
        self._checked.add(key)


class _Draft:
    """A world in the making."""

    def __init__(self, worlds: Worlds, world: World) -> None:
        self.worlds = worlds
        self.record = world.record
        self.writings = set(world.writings)
        self.letters = set(world.letters)
        self.acknowledged = world.acknowledged
        self.commands = world.commands
        self.losses = world.losses
        self.accepted = world.accepted
        self.recovery = world.recovery
        self.processes = list(world.processes)
        self.disks = list(world.disks)

    def world(self) -> World:
        return World(
            self.record,
            frozenset(self.writings),
            frozenset(self.letters),
            self.acknowledged,
            self.commands,
            self.losses,
            self.accepted,
            self.recovery,
            tuple(self.processes),
            tuple(self.disks),
        )

    def done(self) -> World:
        world = self.worlds._canonical(self.world())
        self.worlds.check(world)
        return world

    def disk(self, place: int, disk: Disk) -> None:
        self.disks[place] = self.worlds.disks(disk)

    def rename(self, key: tuple[Any, ...], **names: Any) -> None:
        number = self.worlds.rename_number
        self.record = number(0, self.record, key, **names)
        self.writings = {number(1, writing, key, **names) for writing in self.writings}
        self.letters = {number(2, letter, key, **names) for letter in self.letters}
        self.processes = [p if p < 0 else number(3, p, key, **names) for p in self.processes]
        self.disks = [number(4, disk, key, **names) for disk in self.disks]
        self.recovery = number(5, self.recovery, key, **names)

    def step(
        self,
        place: int,
        key: Any,
        event: Input,
        *,
        entries: Letter | None = None,
        command: int | None = None,
    ) -> None:
        before = self.processes[place]
        after, effects = self.worlds.stepped(before, key, event)
        self.processes[place] = after
        if after != before:
            self._check_role(place, before, after)
        self.effects(place, effects, entries=entries, command=command)

    def effects(
        self,
        place: int,
        effects: Effects,
        *,
        entries: Letter | None = None,
        command: int | None = None,
        is_boot: bool = False,
    ) -> None:
        disk = self.worlds.disks.values[self.disks[place]]
        written, promise = disk.written, disk.promise
        if effects.promise is not None:
            promise = effects.promise
            if promise < disk.promise:
                raise Broken(f"the promise of {disk.volume} falls from {disk.promise} to {promise}")
        if effects.cut is not None:
            written = written[: effects.cut]
        if effects.write is not None:
            written += self._written(place, effects, entries, command)
        if written != disk.written or promise != disk.promise:
            at_once = not self.worlds.bounds.power
            durable, promised = (written, promise) if at_once else (disk.durable, disk.promised)
            tail = disk.tail if effects.cut is None or at_once else disk.durable
            self.disk(place, Disk(disk.volume, written, durable, promise, promised, tail))
        for send in effects.send:
            self._send(place, "ABC".index(send.place), send.message, written)
        if isinstance(effects.ask, CompareAndSet):
            if effects.ask.record.epoch > self.worlds.bounds.epochs:
                raise OutOfBounds
            self.writings.add(self.worlds.writings(Writing(place, effects.ask, None)))
        elif isinstance(effects.ask, Read) and not (is_boot or self.worlds.bounds.slow_reads):
            self.step(place, ("r", self.record), Seen(self.worlds.records.values[self.record]))
        if effects.commit is not None:
            self._committed(place, written[: effects.commit], effects.commit)
        if effects.sealed is not None:
            recovery = self.worlds.recoveries.values[self.recovery]
            statements = tuple(sorted({*recovery.statements, effects.sealed}, key=repr))
            if effects.sealed.below == recovery.below:
                self.recovery = self.worlds.recoveries(Recovery(recovery.lost, recovery.below, statements))
        if not self.worlds.bounds.power:
            self._durable_at_once(place, effects)

    def _written(self, place: int, effects: Effects, letter: Letter | None, command: int | None) -> Entries:
        write = effects.write
        assert write is not None
        if letter is None:
            process = self.processes[place]
            assert command is not None
            role = self.worlds.members.values[process].role
            assert isinstance(role, Leader)
            return ((role.epoch, command),)
        message = letter.message
        assert isinstance(message, Append)
        return letter.entries[write.first - message.after - 1 : write.last - message.after]

    def _send(self, place: int, to: int, message: Message, written: Entries) -> None:
        entries = written[message.after : message.last] if isinstance(message, Append) else ()
        self.letters.add(self.worlds.letters(Letter(to, place, message, entries)))

    def _durable_at_once(self, place: int, effects: Effects) -> None:
        end = len(self.worlds.disks.values[self.disks[place]].written)
        if effects.promise is not None:
            self.step(place, ("P", effects.promise), PromiseIsDurable(effects.promise))
        if effects.cut is not None:
            self.step(place, ("C", effects.cut), CutIsDurable(effects.cut))
        if effects.write is not None or effects.sync:
            self.step(place, ("D", end), LogIsDurable(end))

    def _committed(self, place: int, entries: Entries, commit: int) -> None:
        commands = tuple(command for _, command in entries)
        process = self.processes[place]
        member = self.worlds.members.values[process]
        if len(commands) < commit:
            raise Broken(f"{member.me} commits through {commit} and has {len(commands)} entries")
        known = self.acknowledged
        shared = min(len(known), len(commands))
        if commands[:shared] != known[:shared]:
            raise Broken(f"{member.me} commits {commands}, acknowledged was {known}")
        if len(commands) > len(known):
            if not isinstance(member.role, Leader):
                raise Broken(f"{member.me} steps {commands} and does not lead, acknowledged was {known}")
            self.acknowledged = commands

    def _check_role(self, place: int, before: int, after: int) -> None:
        member = self.worlds.members.values[after]
        role = member.role
        if isinstance(role, Stopped):
            raise Broken(f"{member.me} {role.why}")
        if isinstance(role, Leader) and not isinstance(self.worlds.members.values[before].role, Leader):
            written = self.worlds.disks.values[self.disks[place]].written
            commands = tuple(command for _, command in written)
            known = self.acknowledged
            record = self.worlds.records.values[self.record]
            # One that hears so late that it won has a later leader already, and can commit nothing.
            is_latest = record is not None and record.record.epoch == role.epoch
            if self.worlds.disks.values[self.disks[place]].promised > role.epoch:
                raise Broken(f"{member.me} leads epoch {role.epoch} and promised a newer one")
            if is_latest and commands[: len(known)] != known:
                raise Broken(f"{member.me} leads epoch {role.epoch} with {commands}, acknowledged was {known}")


def renew(volume: str) -> str:
    """A new volume has a new name."""
    return f"{volume[0]}{int(volume[1:]) + 1}"


def history_of(entries: Entries) -> History:
    history = History()
    for index, (epoch, _) in enumerate(entries, start=1):
        history = history.extended(epoch, index)
    return history


def _after_power_loss(disk: Disk) -> list[tuple[Entries, int]]:
    """Whatever of the unsynced writes a disk may have: any part of what was appended, a cut or not."""
    shared = 0
    for written, durable in zip(disk.written, disk.durable, strict=False):
        if written != durable:
            break
        shared += 1
    logs = {disk.durable, *(disk.written[:length] for length in range(shared, len(disk.written) + 1))}
    logs |= {log + disk.tail[len(log) :] for log in logs}
    return [(log, promise) for log in sorted(logs) for promise in sorted({disk.promise, disk.promised})]


def _conflict(disk: Disk, other: Disk) -> str | None:
    for log in (disk.written, disk.durable):
        for other_log in (other.written, other.durable):
            for index, (entry, other_entry) in enumerate(zip(log, other_log, strict=False), start=1):
                if entry[0] == other_entry[0] and entry[1] != other_entry[1]:
                    return (
                        f"entry {index} of epoch {entry[0]} is {entry[1]} on {disk.volume} "
                        f"and {other_entry[1]} on {other.volume}"
                    )
    return None
