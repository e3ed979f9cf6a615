"""Proves again and again that seqs are covered and engine and ledger equal; stops settlement when they are not.

What is new is looked at every few seconds; all of it from the beginning, and the sum of all entries, less often: no
more than a hundredth of the time goes into that. Nothing is repaired here, and nothing that only could not be asked
is taken for a difference.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from openbourse.contracts.session import EngineSession
from openbourse.ledger import coverage
from openbourse.ledger.books import Books
from openbourse.ledger.coverage import NOTHING, Covered, Finding, Kind
from openbourse.ledger.errors import Diverged, LedgerError
from openbourse.ledger.progress import Progress
from openbourse.ledger.reconcile import Report, reconcile

log = logging.getLogger(__name__)

EVERY_S = 10.0
EVERY_LEAST_S = 0.1
WHOLE_EVERY_S = 600.0
# After one that took so long, the next waits for so many times that.
PAUSE_TIMES = 10.0
WHOLE_PAUSE_TIMES = 100.0
# Until the ledger has caught up once; then the first comparison is made.
FIRST_LOOK_S = 0.2
BATCHES_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class Equal:
    """What was proved: at which seq, when (wall clock), and whether the sum of all entries was a part of it."""

    seq: int
    at_us: int
    balances: int


class Reconciler:
    """Of one shard. `found` is never taken back: only a person, and a restart, go on from there."""

    def __init__(
        self,
        session: EngineSession,
        books: Books,
        progress: Progress,
        stop: Callable[[Diverged], None],
        every_s: float = EVERY_S,
    ) -> None:
        self._every_s = every_s
        self._session = session
        self._books = books
        self._progress = progress
        self._stop = stop
        self._covered = NOTHING
        self.equal: Equal | None = None
        self.whole: Equal | None = None
        self.found: Finding | None = None
        # Why the last one could not be made; empty: it was.
        self.trouble = ""
        self.made = 0
        self.failed = 0
        self.findings = dict.fromkeys(Kind, 0)

    async def run(self) -> None:
        """Until something is found, or cancelled."""
        while not self._progress.caught_up:  # noqa: ASYNC110 - a fact of other tasks, asked for once in a life
            await asyncio.sleep(FIRST_LOOK_S)
        whole_at = time.monotonic()
        while self.found is None:
            start = time.monotonic()
            whole = start >= whole_at
            try:
                self.found = await self._look(whole)
                self.trouble = ""
            except LedgerError as error:
                self.failed += 1
                self.trouble = str(error)
                log.warning("shard %s: not reconciled: %s; again in %g s", self._progress.shard, error, self._every_s)
            end = time.monotonic()
            if whole:
                whole_at = end + max(WHOLE_EVERY_S, WHOLE_PAUSE_TIMES * (end - start))
            if self.found is None:
                await asyncio.sleep(max(self._every_s, 0.0 if whole else PAUSE_TIMES * (end - start)))
        self.findings[self.found.kind] += 1
        sentence = f"reconciliation found at seq {self.found.seq}: {self.found.sentence}{self._last_equal()}"
        log.error("shard %s: %s", self._progress.shard, sentence)
        self._stop(Diverged(sentence))

    async def _look(self, whole: bool) -> Finding | None:
        """Raises Unavailable when a side does not answer."""
        covered = await cover(self._books, NOTHING if whole else self._covered)
        if isinstance(covered, Finding):
            return covered
        self._covered = covered
        report = await reconcile(self._session, self._books, self._progress, entries=whole)
        if finding := worst(report):
            return finding
        self.made += 1
        self.equal = Equal(report.seq, time.time_ns() // 1000, report.balances)
        if whole:
            self.whole = self.equal
        return None

    def _last_equal(self) -> str:
        return f"; last equal at seq {self.equal.seq}" if self.equal else "; never equal since the start"

    def as_json(self) -> dict[str, object]:
        """For the status."""
        return {
            "equal": None if self.equal is None and self.found is None else self.found is None,
            "equal_seq": self.equal.seq if self.equal else 0,
            "equal_at_us": self.equal.at_us if self.equal else 0,
            "entries_equal_seq": self.whole.seq if self.whole else 0,
            "entries_equal_at_us": self.whole.at_us if self.whole else 0,
            "covered_seq": self._covered.seq,
            "found": None
            if self.found is None
            else {"kind": self.found.kind, "seq": self.found.seq, "sentence": self.found.sentence},
            "trouble": self.trouble,
        }

    @property
    def covered(self) -> Covered:
        """Without a gap from seq 1 on."""
        return self._covered


async def cover(books: Books, covered: Covered) -> Covered | Finding:
    """What is covered with the batches since, through the watermark."""
    end = await books.end_of_coverage()
    # Each part has at least one batch more.
    while covered.batch < end.batch:
        batches = await books.covering_batches(covered.batch, end.batch, BATCHES_AT_A_TIME)
        if not batches:
            break
        extended = coverage.extend(covered, batches)
        if isinstance(extended, Finding):
            return extended
        covered = extended
    return coverage.ends(covered, end) or covered


def worst(report: Report) -> Finding | None:
    """The first difference of a report, in the order of what it would mean. Pure."""
    for kind, differences, left, right in (
        (Kind.ENGINE, report.engine, "engine", "ledger"),
        (Kind.ENTRIES, report.entries, "kept", "entries"),
    ):
        if differences:
            told = f"{len(differences)} balances differ, first {differences[0].told(left, right)}"
            return Finding(kind, report.seq, told)
    for asset, total in report.unbalanced_assets.items():
        return Finding(Kind.UNBALANCED, report.seq, f"all balances of {asset} sum to {total}, not to zero")
    return None
