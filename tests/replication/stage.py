"""A few members, one script: what is done line by line, and what the members want done because of it.

| line | is |
|---|---|
| `# words` | kept as it is |
| `> start A B` | the members boot on empty volumes A1 and B1; the first of them founds the shard, the others join it |
| `> begin A B` | the same, and nothing is said about it |
| `> A propose` | the leader's engine gives one seq |
| `> A hands over to B1`, `leads on` | that input |
| `> A suspects B1`, `trusts B1`, `look`, `beat`, `seal 3` | that input |
| `> A restart`, `power`, `emptied` | a new process: on the same volume, on what of it was synced, on a new one |
| `> A slow`, `synced` | the disk syncs nothing by itself from here on; syncs all, and by itself again |
| `> deliver`, `deliver A B` | everything that is under way, until nothing is; what is under way from A to B |
| `> lose A B`, `keep A B`, `late A B` | that is lost; is set aside; is delivered now |
| `> link A B` | a new link, with nothing under way |
| `> answer A` | the record answers what A asked, as it should |
| `> unknown A`, `lands A`, `hears A` | A gives up waiting; its write lands after all; A hears that it did |
| `> delete record`, `recover 3 A1 B1` | the second writes a record from what was sealed below 3 on these volumes |
| `? all` | everybody, and the record |
| anything else | what a member wants done, or the answer |

Reads of the record are answered at once. Nothing here decides anything that the protocol decides.
"""

from dataclasses import dataclass, field

from openbourse.engine.replication import Effects, Input, Member, Settings, boot, state, step
from openbourse.engine.replication.effects import Statement
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import (
    Beat,
    Conflicted,
    CutIsDurable,
    Found,
    HandOver,
    LeadOn,
    Linked,
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
from openbourse.engine.replication.member import Leader
from openbourse.engine.replication.messages import (
    Ack,
    Append,
    Differs,
    Joined,
    Message,
    Offer,
    Refuse,
    Release,
    Snapshot,
)
from openbourse.engine.replication.record import Ask, CompareAndSet, Held, Read, Record, Session
from openbourse.engine.replication.recovery import recovered


@dataclass
class Actor:
    """One place: its volume as written and as durable, the process on it, and what it asked of the record."""

    place: str
    volume: int = 1
    boots: int = 0
    written: History = field(default_factory=History)
    durable: History = field(default_factory=History)
    promise: int = 0
    promised: int = 0
    is_slow: bool = False
    asked: Ask | None = None
    unknown: CompareAndSet | None = None
    member: Member | None = None

    @property
    def name(self) -> str:
        return f"{self.place}{self.volume}"


class Stage:
    def __init__(self) -> None:
        self.actors: dict[str, Actor] = {}
        self.record: Held | None = None
        self.version = 0
        self.under_way: dict[tuple[str, str], list[Message]] = {}
        self.aside: dict[tuple[str, str], list[Message]] = {}
        self.statements: list[Statement] = []
        self.out: list[str] = []

    def play(self, script: str) -> str:
        for line in script.splitlines():
            if line.startswith(">"):
                self.out.append(line)
                self._do(line[1:].split())
            elif line.startswith("?"):
                self.out.append(line)
                self._tell()
            elif line.startswith("#") or not line:
                self.out.append(line)
        return "\n".join(self.out) + "\n"

    def _do(self, words: list[str]) -> None:
        match words:
            case ["start" | "begin" as how, *places]:
                said = len(self.out)
                self._start(places)
                if how == "begin":
                    del self.out[said:]
            case ["deliver"]:
                self._deliver_all()
            case ["deliver", sender, place]:
                self._deliver(sender, place, self.under_way.pop((sender, place), []))
            case ["lose", sender, place]:
                self.under_way.pop((sender, place), None)
            case ["keep", sender, place]:
                self.aside[sender, place] = self.under_way.pop((sender, place), [])
            case ["late", sender, place]:
                self._deliver(sender, place, self.aside.pop((sender, place)))
            case ["link", one, other]:
                for place, far in ((one, other), (other, one)):
                    self.under_way.pop((place, far), None)
                    self._step(place, Linked(far))
            case ["answer", place]:
                self._answer(self.actors[place])
            case ["unknown", place]:
                actor = self.actors[place]
                assert isinstance(actor.asked, CompareAndSet)
                actor.unknown = actor.asked
                self._step(place, Unsettled(actor.asked))
            case ["lands", place]:
                actor = self.actors[place]
                assert actor.unknown is not None
                self.out.append(
                    "the record: " + ("it lands" if self._lands(actor.unknown) else "it cannot land any more")
                )
            case ["hears", place]:
                actor = self.actors[place]
                assert actor.unknown is not None
                assert self.record is not None
                self._step(place, Succeeded(actor.unknown, self.record.version))
            case ["delete", "record"]:
                self.record = None
            case ["recover", below, *volumes]:
                self._recover(int(below), frozenset(volumes))
            case [place, *rest]:
                self._act(self.actors[place], rest)

    def _act(self, actor: Actor, words: list[str]) -> None:
        place = actor.place
        match words:
            case ["propose"]:
                assert actor.member is not None
                self._step(place, Propose(actor.member.history.end + 1))
            case ["suspects", member]:
                self._step(place, Suspect(member))
            case ["trusts", member]:
                self._step(place, Trust(member))
            case ["hands", "over", "to", member]:
                self._step(place, HandOver(member))
            case ["leads", "on"]:
                self._step(place, LeadOn())
            case ["look"]:
                self._step(place, Look())
            case ["beat"]:
                self._step(place, Beat())
            case ["seal", below]:
                self._step(place, Seal(int(below)))
            case ["restart"]:
                self._boot(actor)
            case ["power"]:
                actor.written, actor.promise = actor.durable, actor.promised
                self._boot(actor)
            case ["emptied"]:
                actor.volume += 1
                actor.written = actor.durable = History()
                actor.promise = actor.promised = 0
                self._boot(actor)
            case ["slow"]:
                actor.is_slow = True
            case ["synced"]:
                actor.is_slow = False
                self._sync(actor)
            case _:
                raise AssertionError(f"no such line: {actor.place} {words}")

    def _start(self, places: list[str]) -> None:
        for place in places:
            self.actors[place] = Actor(place)
        for place in places:
            self._boot(self.actors[place])
        self._step(places[0], Found())
        self._answer(self.actors[places[0]])
        self._deliver_all()
        while isinstance(self.actors[places[0]].asked, CompareAndSet):
            self._answer(self.actors[places[0]])

    def _boot(self, actor: Actor) -> None:
        actor.boots += 1
        actor.asked = None
        others = tuple(place for place in self.actors if place != actor.place)
        me = Session(actor.name, str(actor.boots))
        actor.member, effects = boot(me, Settings(others), actor.written, actor.promise, 0)
        self._carry_out(actor, effects)

    def _step(self, place: str, event: Input) -> None:
        actor = self.actors[place]
        assert actor.member is not None
        before = state(actor.member)
        actor.member, effects = step(actor.member, event)
        after = state(actor.member)
        if after != before:
            self.out.append(f"{place} is {after}, was {before}")
        self._carry_out(actor, effects)

    def _carry_out(self, actor: Actor, effects: Effects) -> None:
        place = actor.place
        for said in effects.said:
            self.out.append(f'{place} says "{said}"')
        if effects.promise is not None:
            self.out.append(f"{place} promise {effects.promise}")
            actor.promise = effects.promise
        if effects.cut is not None:
            self.out.append(f"{place} cut {effects.cut}")
            actor.written = actor.written.cut(effects.cut)
        if effects.sync:
            self.out.append(f"{place} sync")
        if effects.write is not None:
            self.out.append(f"{place} write {effects.write.first}..{effects.write.last}")
            assert actor.member is not None
            actor.written = actor.member.history
        for send in effects.send:
            self.out.append(f"{place} send {send.place} {told(send.message)}")
            self.under_way.setdefault((place, send.place), []).append(send.message)
        if effects.commit is not None:
            self.out.append(f"{place} commit {effects.commit}")
        if effects.sealed is not None:
            sealed = effects.sealed
            self.out.append(
                f"{place} sealed below {sealed.below}, last epoch {sealed.last_epoch}, length {sealed.length}"
            )
            self.statements.append(sealed)
        if effects.ask is not None:
            actor.asked = effects.ask
            if isinstance(effects.ask, CompareAndSet):
                self.out.append(f"{place} ask, if the version is {effects.ask.expected}: {effects.ask.record}")
            else:
                self.out.append(f"{place} read")
                self._answer(actor)
        if not actor.is_slow:
            self._sync(actor)

    def _sync(self, actor: Actor) -> None:
        """Gives the notices that are due."""
        actor.durable, actor.promised = actor.written, actor.promise
        member = actor.member
        assert member is not None
        if member.promised < actor.promise:
            self._step(actor.place, PromiseIsDurable(actor.promise))
        elif member.cutting:
            self._step(actor.place, CutIsDurable(actor.written.end))
        elif member.durable < actor.written.end:
            self._step(actor.place, LogIsDurable(actor.written.end))

    def _deliver_all(self) -> None:
        for _ in range(100):
            if not any(self.under_way.values()):
                return
            for sender, place in sorted(self.under_way):
                self._deliver(sender, place, self.under_way.pop((sender, place)))
        raise AssertionError("the members talk without end")

    def _deliver(self, sender: str, place: str, messages: list[Message]) -> None:
        for message in messages:
            self._step(place, Received(sender, message))

    def _answer(self, actor: Actor) -> None:
        ask, actor.asked = actor.asked, None
        if isinstance(ask, Read):
            self._step(actor.place, Seen(self.record))
        elif isinstance(ask, CompareAndSet):
            if self._lands(ask):
                assert self.record is not None
                self._step(actor.place, Succeeded(ask, self.record.version))
            else:
                self._step(actor.place, Conflicted(ask))

    def _lands(self, ask: CompareAndSet) -> bool:
        version = None if self.record is None else self.record.version
        if version != ask.expected:
            return False
        self._write(ask.record)
        return True

    def _write(self, record: Record) -> None:
        self.version += 1
        self.record = Held(record, f"v{self.version}")

    def _recover(self, below: int, volumes: frozenset[str]) -> None:
        record = recovered(below, self.statements, frozenset(), volumes)
        self.out.append(f"the recovery: {record}")
        if isinstance(record, Record):
            self._write(record)

    def _tell(self) -> None:
        for actor in self.actors.values():
            member = actor.member
            assert member is not None
            epoch = f" of epoch {member.role.epoch}" if isinstance(member.role, Leader) else ""
            self.out.append(
                f"{member.me} {state(member)}{epoch}, promised {member.promised}, "
                f"log {member.history}, durable through {member.durable}, commit {member.commit}"
            )
        self.out.append(f"record {self.record.version}: {self.record.record}" if self.record else "no record")


def told(message: Message) -> str:
    match message:
        case Offer(epoch, leader, base):
            return f"offer {epoch} by {leader}, base {base}"
        case Joined(epoch, member, matched):
            return f"joined {epoch} as {member} at {matched}"
        case Append(epoch, after, last, commit):
            return f"append {epoch} {after}..{last} commit {commit}"
        case Ack(epoch, member, matched):
            return f"ack {epoch} as {member} at {matched}"
        case Refuse(epoch, promise):
            return f"refuse {epoch}, promised {promise}"
        case Differs(epoch, matched):
            return f"another chain at {matched} in epoch {epoch}"
        case Snapshot(epoch, last):
            return f"snapshot {epoch} at {last}"
        case Release(epoch, last, in_sync, version):
            return f"release {epoch} at {last}, in sync {sorted(in_sync)}, version {version}"
