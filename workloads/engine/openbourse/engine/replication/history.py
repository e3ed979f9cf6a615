"""Which epoch each index of a log was written under, as runs: a log of millions of entries is a few pairs.

Epochs never fall along a log, and an epoch writes an index once. So two logs are equal as far as their pairs of
(epoch, index) are. Nothing here knows what an entry says.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class History:
    """`runs` are (epoch, last index), both rising; the first entry has index 1."""

    runs: tuple[tuple[int, int], ...] = ()

    @property
    def end(self) -> int:
        """The last index, 0 of an empty log."""
        return self.runs[-1][1] if self.runs else 0

    @property
    def last_epoch(self) -> int:
        return self.runs[-1][0] if self.runs else 0

    def extended(self, epoch: int, last: int) -> "History":
        """With the entries up to `last` written under `epoch`."""
        runs = self.runs
        if runs and runs[-1][0] == epoch:
            runs = runs[:-1]
        return History((*runs, (epoch, last)))

    def cut(self, last: int) -> "History":
        """Without everything behind `last`."""
        if last >= self.end:
            return self
        kept = []
        before = 0
        for epoch, run_last in self.runs:
            if before < last:
                kept.append((epoch, min(run_last, last)))
            before = run_last
        return History(tuple(kept))

    def epoch_at(self, index: int) -> int | None:
        """None where there is no such entry."""
        if index < 1:
            return None
        return next((epoch for epoch, last in self.runs if index <= last), None)

    def shared(self, other: "History") -> int:
        """The end of the longest prefix in which every (epoch, index) is the same."""
        end = 0
        for (epoch, last), (other_epoch, other_last) in zip(self.runs, other.runs, strict=False):
            if epoch != other_epoch:
                break
            end = min(last, other_last)
            if last != other_last:
                break
        return end

    def __str__(self) -> str:
        return " ".join(f"{epoch}:{last}" for epoch, last in self.runs) or "empty"
