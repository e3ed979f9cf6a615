"""Looking at a write-ahead log, whether an engine runs on it or not. Nothing here changes it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from openbourse.contracts import v1
from openbourse.engine import _core


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
    anything else; an engine does not start on it.
    """

    shard: str
    segments: tuple[str, ...]
    records: int
    last_seq: int
    first_epoch: int
    last_epoch: int
    chain: str
    torn: Place | None
    damaged: Place | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def verify(folder: Path, shard: str | None = None) -> Report:
    """Checks CRCs, seqs, epochs and the chain of every record. Raises Fatal when the folder cannot be read."""
    seen = _core.verify(folder, shard)
    return Report(
        shard=seen.shard,
        segments=tuple(seen.segments),
        records=seen.records,
        last_seq=seen.last_seq,
        first_epoch=seen.first_epoch,
        last_epoch=seen.last_epoch,
        chain=seen.chain.hex(),
        torn=None if seen.torn is None else Place(*seen.torn),
        damaged=None if seen.damaged is None else Place(*seen.damaged),
    )


def records(folder: Path, from_seq: int, last_seq: int) -> Iterator[dict[str, Any]]:
    """Each record as JSON, which must be good up to `last_seq`: verify first. Raises Fatal."""
    for seq, epoch, time_us, batch_first_seq, chain, command in _core.Records(folder, last_seq):
        if seq >= from_seq:
            yield {
                "seq": seq,
                "epoch": epoch,
                "time_us": time_us,
                "batch_first_seq": batch_first_seq,
                "chain": chain.hex(),
                "command": MessageToDict(v1.Command.FromString(command), preserving_proto_field_name=True),
            }
