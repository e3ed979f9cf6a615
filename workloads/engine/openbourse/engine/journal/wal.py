"""Looking at a write-ahead log, whether an engine runs on it or not. Nothing here changes it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.engine import _core
from openbourse.engine._core import Fatal

REPLAY_COMMANDS = 10_000
PROGRESS_S = 1.0
LOOKS_MOST = 5

_FIELDS = ("seq", "epoch", "time_us", "batch_first_seq", "chain", "command")


@dataclass(frozen=True, slots=True)
class Place:
    file: str
    offset: int
    # The seq that the record at this place must have.
    seq: int
    why: str

    def __str__(self) -> str:
        return f"{self.file} at offset {self.offset} (seq {self.seq}): {self.why}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a log holds, up to the first place where it is not good.

    `torn` is a batch that was never acknowledged: cut by a crash, or on its way while an engine runs. `damaged` is
    anything else; an engine does not start on it. `first_seq` is above 1 where segments were recycled.
    """

    shard: str
    segments: tuple[str, ...]
    records: int
    first_seq: int
    last_seq: int
    first_epoch: int
    last_epoch: int
    chain: str
    torn: Place | None
    damaged: Place | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def verify(folder: Path, shard: str | None = None) -> Report:
    """Checks CRCs, seqs, epochs and the chain of every record. Raises Fatal when the folder cannot be read.

    A batch that an engine writes at this moment may look damaged, half of it seen before and half after. So damage is
    looked at again, and is damage when it stays.
    """
    report = _look(folder, shard)
    for _ in range(LOOKS_MOST):
        if report.damaged is None:
            break
        before, report = report, _look(folder, shard)
        if report.damaged == before.damaged:
            break
    return report


def _look(folder: Path, shard: str | None) -> Report:
    seen = _core.verify(folder, shard)
    return Report(
        shard=seen.shard,
        segments=tuple(seen.segments),
        records=seen.records,
        first_seq=seen.first_seq,
        last_seq=seen.last_seq,
        first_epoch=seen.first_epoch,
        last_epoch=seen.last_epoch,
        chain=seen.chain.hex(),
        torn=None if seen.torn is None else Place(*seen.torn),
        damaged=None if seen.damaged is None else Place(*seen.damaged),
    )


def records(folder: Path, from_seq: int, last_seq: int) -> Iterator[dict[str, Any]]:
    """Each record as JSON, which must be good up to `last_seq`: verify first. Raises Fatal.

    A payload that is no Command, which a shard refuses, is shown as `bytes`.
    """
    for seq, epoch, time_us, batch_first_seq, chain, payload in _core.Records(folder, from_seq, last_seq):
        record: dict[str, Any] = {
            "seq": seq,
            "epoch": epoch,
            "time_us": time_us,
            "batch_first_seq": batch_first_seq,
            "chain": chain.hex(),
        }
        try:
            record["command"] = MessageToDict(v1.Command.FromString(payload), preserving_proto_field_name=True)
        except DecodeError:
            record["bytes"] = payload.hex()
        yield record


@dataclass(frozen=True, slots=True)
class StateAt:
    """The state right after a seq."""

    seq: int
    state_hash: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Called while a replay goes on: once with the seq of the snapshot that it begins with, if it begins with one, and
    about once a second with the seq that it has come to."""

    begun: Callable[[int], None] = lambda _seq: None
    progress: Callable[[int], None] = lambda _seq: None


class NoBeginning(Fatal):
    """The log lost its first segments to recycling, and there is no snapshot to begin with instead."""


def begin(folder: Path, report: Report, last_seq: int) -> tuple[_core.Replay, int]:
    """A kernel on its way to the state at `last_seq`, and the seq that it is at: 0 in a log that has its beginning.

    Else that of the newest good snapshot up to `last_seq`. Raises NoBeginning when there is none that the log goes on
    from, and Fatal.
    """
    if report.first_seq <= 1:
        return _core.Replay(folder, report.shard, 0, 1), 0
    kernel = _core.Replay(folder, report.shard, 0, last_seq + 1)
    seq = kernel.begin()
    if seq + 1 < report.first_seq:
        raise NoBeginning(
            f"the log in {folder} begins at seq {report.first_seq}: to come to seq {last_seq} takes a good snapshot of "
            f"seq {report.first_seq - 1} to {last_seq}, and there is none"
        )
    return kernel, seq


def replay(folder: Path, report: Report, last_seq: int, heard: Heard = Heard()) -> Iterator[StateAt]:
    """The state at each checkpoint on the way, and at last that at `last_seq`, from a kernel of its own.

    It begins as `begin` says. Raises Fatal, also where the kernel comes to another state than a checkpoint recorded.
    """
    kernel, begun_seq = begin(folder, report, last_seq)
    if begun_seq:
        heard.begun(begun_seq)
    told_at_s = time.monotonic()
    while kernel.seq < last_seq:
        if (checkpoint := kernel.advance(last_seq, REPLAY_COMMANDS)) is not None:
            yield StateAt(checkpoint[0], checkpoint[1].hex())
        if time.monotonic() - told_at_s > PROGRESS_S:
            told_at_s = time.monotonic()
            heard.progress(kernel.seq)
    seq, state_hash = kernel.state_hash()
    yield StateAt(seq, state_hash.hex())


@dataclass(frozen=True, slots=True)
class Difference:
    """How two logs differ, compared from `from_seq` to `last_common_seq`, the last one that both have.

    `first_seq` is the first record that is not the same in both, None when all are; `fields` says what of it. `states`
    are both logs' states at the last common seq where records differ, if one can come there in both: `no_states` says
    why not.
    """

    from_seq: int
    last_common_seq: int
    first_seq: int | None
    fields: tuple[str, ...] = ()
    states: tuple[StateAt, StateAt] | None = None
    no_states: str = ""

    @property
    def same_state(self) -> bool | None:
        """None: nobody knows."""
        if self.no_states:
            return None
        return self.states is None or self.states[0] == self.states[1]


def diff(
    first: tuple[Path, Report],
    second: tuple[Path, Report],
    heard: tuple[Heard, Heard] = (Heard(), Heard()),
) -> Difference:
    """Compares two logs, as far as both are good. Raises Fatal."""
    from_seq = max(1, first[1].first_seq, second[1].first_seq)
    last_seq = min(first[1].last_seq, second[1].last_seq)
    found = _first_difference(first[0], second[0], from_seq, last_seq)
    if found is None:
        return Difference(from_seq, last_seq, None)
    seq, fields = found
    try:
        states = [
            list(replay(*log, last_seq, listener))[-1] for log, listener in zip((first, second), heard, strict=True)
        ]
    except NoBeginning as error:
        return Difference(from_seq, last_seq, seq, fields, no_states=str(error))
    return Difference(from_seq, last_seq, seq, fields, (states[0], states[1]))


def _first_difference(first: Path, second: Path, from_seq: int, last_seq: int) -> tuple[int, tuple[str, ...]] | None:
    pairs = zip(_core.Records(first, from_seq, last_seq), _core.Records(second, from_seq, last_seq), strict=True)
    for one, other in pairs:
        if one != other:
            return one[0], tuple(name for name, left, right in zip(_FIELDS, one, other, strict=True) if left != right)
    return None
