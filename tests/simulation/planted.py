"""Bugs that somebody could write in the shell of an engine or in a client, each as the function that it replaces.

What runs in production has no switch for them. Some are rules of the protocol (`replication.planted`), found here once
more in the code that drives it.
"""

import importlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.planted import BUGS as PROTOCOL_BUGS
from simulation.loop import Process, here

from openbourse.contracts import durable, session, v1
from openbourse.contracts.frames import Decoder, encode
from openbourse.engine.journal import volume
from openbourse.engine.loop import Loop
from openbourse.engine.member import replica
from openbourse.engine.replication import Effects
from openbourse.engine.replication.inputs import CutIsDurable, LogIsDurable
from openbourse.engine.replication.member import Leader

Replica = replica.Replica


@dataclass(frozen=True, slots=True)
class Bug:
    """`replaced`: (what has it, its name, what stands there instead). `seeds` is its budget.

    A deep one is found after so many seeds that only `make simulate` plants it. `found_at`, a seed that found one, is
    tried first, as each costs most of a second; when it finds the bug no longer, the others have to.
    """

    name: str
    seeds: int
    replaced: tuple[tuple[Any, str, Any], ...]
    is_deep: bool = False
    found_at: int = 0

    def tried(self, *, in_order: bool) -> list[int]:
        """All seeds of its budget."""
        return sorted(range(self.seeds), key=lambda seed: not in_order and seed != self.found_at)

    @contextmanager
    def planted(self) -> Iterator[None]:
        kept = [(target, name, target.__dict__[name]) for target, name, _ in self.replaced]
        try:
            for target, name, wrong in self.replaced:
                setattr(target, name, wrong)
            yield
        finally:
            for target, name, right in kept:
                setattr(target, name, right)


_proposed, _durable, _carry_out = Replica.proposed, Replica.durable, Replica._carry_out


def _leader_counts_what_it_wrote(self: Any, last: int) -> None:
    _proposed(self, last)
    self.step(LogIsDurable(last))


def _standby_counts_what_it_wrote(self: Any, effects: Effects) -> None:
    _carry_out(self, effects)
    if effects.write is not None and not isinstance(self.member.role, Leader):
        self._inputs.append(LogIsDurable(effects.write.last))


def _releases_before_commit(self: Any, last: int) -> None:
    """Replies and events, though the standbys do not have it."""
    _proposed(self, last)
    self.core.commit(last)
    self.loop.committed()


def _commits_what_is_durable_here(self: Any, last: int) -> None:
    _durable(self, last)
    if self.leads.is_set():
        self.core.commit(last)
        self.loop.committed()


def _cuts_nothing(self: Any, last: int) -> None:
    self._inputs.append(CutIsDurable(last))


def _goes_on_after_a_short_cut(self: Any, last: int) -> None:
    """As it was before seed 354."""
    self.core.cut(last)
    self._inputs.append(CutIsDurable(last))


def _names_a_volume_after_its_host(folder: Path, shard: str, log_epoch: int) -> volume.Volume:
    """An emptied one is taken for what it was."""
    if (folder / volume.FILE).exists():
        return _open_volume(folder, shard, log_epoch)
    made = volume.Volume(shard, random.Random(here().host).randbytes(8).hex(), log_epoch)  # noqa: S311
    durable.write(folder / volume.FILE, volume._content(made))
    return made


_open_volume = volume.open_volume


async def _hears_only_the_first_word(self: Any) -> v1.ServerFrame:
    """As it was before seed 12."""
    while data := await self._reader.read(session.READ_BYTES):
        for body in self._decoder.feed(data):
            return v1.ServerFrame.FromString(body)
    raise EOFError("connection closed by the engine")


async def _listens_to_any_leader(self: Any, reader: Any, writer: Any, address: Any) -> session.Connection:
    frames = session._Frames(reader)
    writer.write(encode(v1.ClientFrame(hello=v1.Hello(shard=self.shard, client=self._client))))
    first = await frames.next()
    while first.WhichOneof("frame") == "standby":
        first = await frames.next()
    if first.WhichOneof("frame") != "welcome":
        raise session.NotLeader(str(first))
    return session.Connection(frames, writer, first.welcome.epoch, first.welcome.committed_seq)


class _Forgetful:
    """An engine whose ids are known to the process that heard them and to no other."""

    def __init__(self, *, within_a_boot: bool) -> None:
        self._within_a_boot = within_a_boot
        self._receive = Loop.receive
        self._release = Loop._release

    def receive(self, loop: Any, connection: int, data: bytes) -> Any:
        if not hasattr(loop, "_new_ids"):
            loop.__dict__.setdefault("_new_ids", {})
            loop.__dict__.setdefault("_old_ids", {})
            loop.__dict__.setdefault("_decoders", {})
        out = b""
        for body in loop._decoders.setdefault(connection, Decoder()).feed(data):
            frame = v1.ClientFrame.FromString(body)
            if frame.WhichOneof("frame") == "command":
                old = frame.command.command_id
                count = len(loop._old_ids)
                new = loop._new_ids.get(old) if self._within_a_boot else None
                if new is None:
                    new = old[:8] + (id_of(here()) * 1_000_003 + count).to_bytes(8, "big")
                    loop._new_ids[old] = new
                    loop._old_ids[new] = old
                frame.command.command_id = new
            out += encode(frame)
        return self._receive(loop, connection, out) if out else None

    def release(self, loop: Any, frames: list[tuple[int, bytes]]) -> None:
        told = []
        for connection, data in frames:
            out = b""
            for body in Decoder().feed(data):
                frame = v1.ServerFrame.FromString(body)
                if frame.WhichOneof("frame") == "reply":
                    frame.reply.command_id = loop._old_ids.get(frame.reply.command_id, frame.reply.command_id)
                out += encode(frame)
            told.append((connection, out))
        self._release(loop, told)

    def bug(self, name: str, seeds: int) -> Bug:
        return Bug(
            name,
            seeds,
            (
                # Functions, which become methods of the loop.
                (Loop, "receive", lambda loop, connection, data: self.receive(loop, connection, data)),  # noqa: PLW0108
                (Loop, "_release", lambda loop, frames: self.release(loop, frames)),  # noqa: PLW0108
            ),
        )


def id_of(process: Process) -> int:
    """Of a boot."""
    return int(process.name.rpartition("-")[2]) * 1000 + process.boot


def _protocol(name: str, seeds: int, *, is_deep: bool = False, found_at: int = 0) -> Bug:
    (bug,) = [bug for bug in PROTOCOL_BUGS if bug.name == name]
    package = "openbourse.engine.replication"
    replaced = tuple((importlib.import_module(f"{package}.{module}"), at, wrong) for module, at, wrong in bug.replaced)
    return Bug(name, seeds, replaced, is_deep, found_at)


BUGS: tuple[Bug, ...] = (
    Bug("a leader acknowledges before its own fsync", 100, ((Replica, "proposed", _leader_counts_what_it_wrote),)),
    Bug(
        "a standby acknowledges before its fsync",
        150,
        ((Replica, "_carry_out", _standby_counts_what_it_wrote),),
        found_at=24,
    ),
    Bug(
        "replies and events leave before the commit", 60, ((Replica, "proposed", _releases_before_commit),), found_at=5
    ),
    Bug("a leader commits what it has alone", 60, ((Replica, "durable", _commits_what_is_durable_here),)),
    Bug("a log is not cut", 60, ((Replica, "_cut", _cuts_nothing),)),
    Bug("a cut is taken for made that the disk is behind", 500, ((Replica, "_cut", _goes_on_after_a_short_cut),), True),
    Bug(
        "an emptied volume has its old name",
        250,
        ((volume, "open_volume", _names_a_volume_after_its_host),),
        found_at=11,
    ),
    Bug(
        "only the first word of a server is heard",
        150,
        ((session._Frames, "next", _hears_only_the_first_word),),
        found_at=32,
    ),
    Bug("a client listens to any leader", 100, ((session.Leaders, "_welcome", _listens_to_any_leader),)),
    _Forgetful(within_a_boot=False).bug("a command that is sent again is carried out again", 20),
    _Forgetful(within_a_boot=True).bug("a standby does not have the ids of what it took over", 40),
    _protocol("a restarted leader goes on in its old epoch", 60),
    _protocol("a standby follows sessions of older epochs", 500, is_deep=True),
    _protocol("a late add is not counted", 200, found_at=48),
    _protocol("an unknown outcome is taken for success", 100),
    _protocol("the set changes after the commit", 100, found_at=5),
    _protocol("a member outside of the set takes over", 100),
    _protocol("a leader that lost a write does not look who has", 250, is_deep=True),
    _protocol("the cut-back is forgotten", 60),
    _protocol("a successor leads without a compare-and-set", 200, found_at=9),
)
