"""An engine's log in a folder, as the ledger's proof replays it. An engine may run on it; nothing here changes it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder
from openbourse.engine._core import Fatal, Replay
from openbourse.engine.journal import wal

# Of one call: a few hundredths of a second.
COMMANDS_MOST = 10_000
EVENTS_BYTES = 1 << 20
_BALANCES = v1.Query(balances=v1.BalancesQuery()).SerializeToString()


class FolderJournal:
    """Of one shard. `begun_seq` is 0, or of the snapshot that stands in for recycled segments. Raises Fatal."""

    def __init__(self, folder: Path, shard: str, settled_seq: int) -> None:
        """`settled_seq` says which snapshots are too new to begin with."""
        self._folder = folder
        self._report = report = wal.verify(folder)
        if not report.records:
            why = f"its first record is damaged: {report.damaged}" if report.damaged else "there is no record in it"
            raise Fatal(f"no write-ahead log: {why}; name the folder that an engine has as --wal")
        if report.shard != shard:
            raise Fatal(f"it is the log of shard {report.shard!r}, not of {shard!r}: --shard says which is meant")
        self._kernel, self.begun_seq = wal.begin(folder, report, min(report.last_seq, settled_seq))

    @property
    def last_seq(self) -> int:
        return self._report.last_seq

    @property
    def damaged(self) -> str:
        """What ends it that is no crash; empty: nothing."""
        return "" if self._report.damaged is None else str(self._report.damaged)

    @property
    def torn(self) -> str:
        """What a crash left of a batch that was never acknowledged, or an engine is writing; empty: nothing."""
        return "" if self._report.torn is None else str(self._report.torn)

    def advance(self, last_seq: int) -> int:
        self._kernel.advance(last_seq, COMMANDS_MOST)
        return self._kernel.seq

    def balances(self) -> Sequence[v1.Balance]:
        return v1.Answer.FromString(self._kernel.answer(_BALANCES)).balances.balances

    def deliveries(self, last_seq: int) -> Iterator[v1.Events]:
        replay, decoder = Replay(self._folder, self._report.shard, 0, self.begun_seq + 1), Decoder()
        while replay.next_seq <= last_seq:
            if (frame := replay.step(last_seq, COMMANDS_MOST, EVENTS_BYTES)) is not None:
                for message in decoder.feed(frame):
                    yield v1.ServerFrame.FromString(message).events
