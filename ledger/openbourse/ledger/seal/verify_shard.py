"""Recomputes one shard of an export: every batch's content and head from its tuples, and the sums of all legs."""

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from openbourse.ledger import chain
from openbourse.ledger.chain import NO_HEAD, BatchRow
from openbourse.ledger.seal.checkpoint import Checkpoint, Total, batch_leaf
from openbourse.ledger.seal.copies import Tuples, rows
from openbourse.ledger.seal.legs import Sums
from openbourse.ledger.seal.verdict import Verdict

_BATCH = "qqqqqqtbb"


class ShardCheck:
    """After `run`: the leaf of each batch from 1 on, its seqs, and the balances as the legs make them."""

    def __init__(self, folder: Path, shard: str, sealed: Mapping[int, Sequence[Checkpoint]], verdict: Verdict) -> None:
        """`sealed`: the checkpoints that a batch is the last one of."""
        self._folder = folder
        self._shard = shard
        self._sealed = sealed
        self._verdict = verdict
        self.leaves: list[bytes] = []
        self.seqs: list[tuple[int, int]] = []
        self.sums = Sums(shard)

    def run(self) -> None:
        """Raises Malformed."""
        head, last_seq = NO_HEAD, 0
        with ExitStack() as stack:
            sections = {name: stack.enter_context(Tuples(self._folder / f"{name}.copy")) for name in chain.SECTIONS}
            for batch, session_epoch, first_seq, last, entries, settled_at_us, shard, content, stored in rows(
                self._folder / "batches.copy", _BATCH
            ):
                row = BatchRow(shard, batch, session_epoch, first_seq, last, entries, settled_at_us, content)  # type: ignore[arg-type]
                self._check_place(row, last_seq)
                found = self._content(sections, row)
                if found != row.content:
                    # A row that is wrong by itself is a closer place than its batch.
                    self.sums.flush(sections["entries"])
                    self._name_rows()
                    self._wrong(row, "its rows are not the ones that were settled (content)")
                if chain.head(head, row) != stored:
                    self._wrong(row, "its head is not the hash over the head before it and this batch")
                assert isinstance(stored, bytes)
                if len(self.leaves) + 1 in self._sealed:
                    self.sums.flush(sections["entries"])
                head, last_seq = stored, row.last_seq
                self.leaves.append(batch_leaf(self._shard, len(self.leaves) + 1, head))
                self.seqs.append((row.first_seq, row.last_seq))
                self._check_totals(row)
            self.sums.flush(sections["entries"])
            self._name_rows()
            for name, tuples in sections.items():
                if tuples.more():
                    self._verdict.wrong(
                        f"shard {self._shard}, {name}, seq {tuples.seq()}",
                        f"a row that no batch settled: they end at batch {len(self.leaves)}, seq {last_seq}",
                    )
        self._verdict.batches += len(self.leaves)

    def _wrong(self, row: BatchRow, what: str) -> None:
        self._verdict.wrong(f"shard {self._shard}, batch {row.batch}, seq {row.first_seq} to {row.last_seq}", what)

    def _name_rows(self) -> None:
        """What is wrong with single rows, which were looked at many together, with their batches."""
        for wrong in self.sums.wrong:
            batch = bisect.bisect_left(self.seqs, wrong.seq, key=lambda seqs: seqs[1]) + 1
            place = f"shard {self._shard}, batch {batch}, entries, seq {wrong.seq} index {wrong.index}"
            self._verdict.wrong(place, wrong.what)
        self.sums.wrong = []

    def _check_place(self, row: BatchRow, last_seq: int) -> None:
        number = len(self.leaves) + 1
        if row.shard != self._shard:
            self._wrong(row, f"it is of shard {row.shard}")
        if row.batch != number:
            self._wrong(row, f"batch {number} is missing before it")
        if row.first_seq != last_seq + 1 or row.last_seq < row.first_seq:
            self._wrong(row, f"it does not follow seq {last_seq}")

    def _content(self, sections: Mapping[str, Tuples], row: BatchRow) -> bytes:
        digests = {}
        for name in chain.SECTIONS:
            tuples, hashed, length = sections[name], hashlib.sha256(), 0
            count = 0
            while tuples.more():
                start = tuples.at
                if name == "entries":
                    count += self.sums.take(tuples, row.last_seq)
                    if tuples.at >= tuples.limit:
                        # What follows is read in their place.
                        self.sums.flush(tuples)
                else:
                    while tuples.at < tuples.limit and tuples.seq() <= row.last_seq:
                        tuples.take()
                if tuples.at == start:
                    break
                hashed.update(memoryview(tuples.data)[start : tuples.at])
                length += tuples.at - start
            digests[name] = (length, hashed.digest())
            if name == "entries":
                self._verdict.entries += count
                if count != row.entries:
                    self._wrong(row, f"it has {count} entries, {row.entries} were settled")
        return chain.content_of_digests(digests)

    def _check_totals(self, row: BatchRow) -> None:
        """Against those of each checkpoint that this batch is the last one in."""
        for checkpoint in self._sealed.get(len(self.leaves), ()):
            end = next(end for end in checkpoint.shards if end.shard == self._shard)
            if end.seq != row.last_seq:
                self._verdict.wrong(
                    f"checkpoint {checkpoint.number}",
                    f"shard {self._shard} batch {end.batch} ends at seq {row.last_seq}, not at {end.seq}",
                )
            said = {t.asset: t for t in checkpoint.totals if t.shard == self._shard}
            made = {t.asset: t for t in self.sums.totals()}
            for asset in sorted(said.keys() | made.keys()):
                nothing = Total(self._shard, asset, 0, 0, 0, 0)
                if said.get(asset, nothing) != made.get(asset, nothing):
                    self._verdict.wrong(
                        f"checkpoint {checkpoint.number}, total of {asset} in shard {self._shard}",
                        f"signed as {_amounts(said.get(asset, nothing))}, the entries make "
                        f"{_amounts(made.get(asset, nothing))} (available, hold, fees, external)",
                    )


def _amounts(total: Total) -> str:
    return f"({total.available}, {total.hold}, {total.fees}, {total.external})"


def sealed_by(checkpoints: Sequence[Checkpoint], shard: str) -> dict[int, list[Checkpoint]]:
    """Batch -> the checkpoints that end with it in this shard."""
    found: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        for end in checkpoint.shards:
            if end.shard == shard:
                found.setdefault(end.batch, []).append(checkpoint)
    return found
