"""How far each consumer of the committed stream is, and how old what it has not passed is.

Values in, values out: no clock, no file, no socket. Times are the caller's, in milliseconds of any clock that never
goes back; no consumer's clock is believed. A consumer that does not speak stays where it was, so that what it has not
passed grows older all the same.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

COMMITS_MOST = 4096
FINEST_MS = 10.0


class Commits:
    """When what was committed. Of batches that lie close together only the first one's time is kept.

    How close that is doubles when there are COMMITS_MOST of them. So an age is never too low, and too high
    by FINEST_MS or by about a two-thousandth of the longest lag since.
    """

    def __init__(self) -> None:
        # last seq of each group, and when its first batch was committed
        self._groups: deque[tuple[int, float]] = deque()
        self._apart_ms = FINEST_MS
        self.forgotten_seq = 0

    def __len__(self) -> int:
        return len(self._groups)

    def committed(self, seq: int, at_ms: float) -> None:
        """Everything up to `seq`, which only grows, is committed at `at_ms` if it was not before."""
        groups = self._groups
        if groups and at_ms - groups[-1][1] < self._apart_ms:
            groups[-1] = (seq, groups[-1][1])
            return
        groups.append((seq, at_ms))
        if len(groups) >= COMMITS_MOST:
            self._thin()

    def _thin(self) -> None:
        while len(self._groups) >= COMMITS_MOST:
            self._apart_ms *= 2
            groups, self._groups = self._groups, deque()
            for seq, at_ms in groups:
                self.committed(seq, at_ms)

    def forget(self, seq: int) -> None:
        """Nobody will ask for what is behind a lower seq."""
        while self._groups and self._groups[0][0] <= seq:
            self.forgotten_seq, _ = self._groups.popleft()
        if len(self._groups) < COMMITS_MOST // 8:
            self._apart_ms = FINEST_MS

    def oldest_ms(self, behind_seq: int) -> float | None:
        """When the first command behind that seq was committed. None: there is none."""
        # What nobody needs any more is forgotten, so the first group is nearly always the one.
        return next((at_ms for seq, at_ms in self._groups if seq > behind_seq), None)


@dataclass(frozen=True, slots=True)
class Lag:
    """Of the consumer that is furthest behind.

    `at_least` is set while the time before the start may be missing in `age_ms`: somebody has not passed yet what was
    committed before. Then the true age may be higher, never lower.
    """

    age_ms: int
    consumer: str
    at_least: bool


class Consumers:
    """By name, those that count: nothing is forgotten, and nobody is called settled, before each of them has passed it.

    Beside them `readers`, for whom the log is kept while there is room, and trading does not wait. `known` is what all
    of these had passed when somebody last wrote it down, or less; who is not in it is at 0. Others may say what they
    passed as well, and are not listened to.
    """

    def __init__(
        self,
        counting: Iterable[str],
        known: Mapping[str, int],
        committed_seq: int,
        now_ms: float,
        readers: Iterable[str] = (),
    ) -> None:
        self.counting = frozenset(counting)
        self.readers = frozenset(readers) - self.counting
        self.passed = {name: known.get(name, 0) for name in sorted(self.counting | self.readers)}
        # Not heard of since the start.
        self.unheard = set(self.passed)
        self.begin(committed_seq, now_ms)

    def begin(self, committed_seq: int, now_ms: float) -> None:
        """Whoever asks leads from here on."""
        self._committed_seq = committed_seq
        self.passed = {name: min(seq, committed_seq) for name, seq in self.passed.items()}
        self._begin(now_ms)

    def _begin(self, now_ms: float) -> None:
        """Of what is committed by now it is not known when it was."""
        self._began_at_seq = self._committed_seq
        # Each reader has its own: one that is away for a week must not make those that count look older.
        self._commits, self._for_readers = Commits(), {name: Commits() for name in self.readers}
        if self._committed_seq:
            self._note(self._committed_seq, now_ms)

    def committed(self, seq: int, now_ms: float) -> None:
        self._committed_seq = seq
        self._note(seq, now_ms)

    def _note(self, seq: int, now_ms: float) -> None:
        if self.counting:
            self._commits.committed(seq, now_ms)
        for commits in self._for_readers.values():
            commits.committed(seq, now_ms)

    def passes(self, consumer: str, seq: int, now_ms: float) -> bool:
        """What a consumer said last holds, also when it is lower than before. False: it does not count."""
        if consumer not in self.passed:
            return False
        self.passed[consumer] = seq
        self.unheard.discard(consumer)
        if consumer in self.readers:
            self._for_readers[consumer].forget(seq)
            return True
        if seq < self._commits.forgotten_seq:
            self._begin(now_ms)
        self._commits.forget(self.settled_seq)
        return True

    def told(self, passed: Mapping[str, int]) -> None:
        """By whoever leads. It is hearsay: who leads next has not heard of anybody."""
        for name in self.passed:
            self.passed[name] = passed.get(name, self.passed[name])

    @property
    def settled_seq(self) -> int:
        """What all that count have passed. There has to be one."""
        return min(self.passed[name] for name in self.counting)

    def furthest_behind(self, of: Iterable[str]) -> tuple[str, int]:
        """Who of them, and the seq that it has passed."""
        return min(((name, self.passed[name]) for name in of), key=lambda item: (item[1], item[0]))

    def lag(self, now_ms: float) -> Lag:
        """Of those that count."""
        if not self.counting:
            return Lag(0, "", at_least=False)
        consumer, seq = self.furthest_behind(self.counting)
        age_ms = _age_ms(self._commits, seq, now_ms)
        return Lag(age_ms, consumer, at_least=bool(self.unheard & self.counting) or seq < self._began_at_seq)

    def behind(self, now_ms: float) -> dict[str, tuple[int, int]]:
        """By name, how many commands each has not passed, and how old the oldest of them is, at least, in ms."""
        return {
            name: (
                max(self._committed_seq - seq, 0),
                _age_ms(self._for_readers.get(name, self._commits), seq, now_ms),
            )
            for name, seq in self.passed.items()
        }


def _age_ms(commits: Commits, passed_seq: int, now_ms: float) -> int:
    oldest_ms = commits.oldest_ms(passed_seq)
    return 0 if oldest_ms is None else round(now_ms - oldest_ms)


def worth_reporting(lag: Lag, level: int, level_then: int) -> bool:
    """Whether the shard should be told: a report is a command that consumers have to pass too, so only a change is.

    An age that may be higher can raise the level and not lower it.
    """
    return level_then != level and not (lag.at_least and level_then < level)


@dataclass(frozen=True, slots=True)
class Needed:
    """The first seq of the log that somebody may still ask for, and who."""

    seq: int
    why: str


def needed_from(
    consumers: Consumers, snapshots: Iterable[int], snapshots_kept: int, *, has_room: bool = True
) -> Needed:
    """What of the log must stay. `snapshots` are the seqs of those that are there; with `has_room` readers count too.

    Recovery needs what is behind the newest `snapshots_kept`, and all of it while there are fewer: one that is bad must
    have another one, or the log, behind it. A consumer needs what it has not passed, and what leads there from a
    snapshot: events are made of the log and the state before it. A log that nobody is known to follow stays whole.
    """
    if not consumers.counting:
        return Needed(1, "no consumer counts: the log is kept for whoever comes")
    kept = sorted(snapshots)
    if len(kept) < snapshots_kept:
        return Needed(1, f"{len(kept)} of {snapshots_kept} snapshots are made: recovery needs the log")
    recovery_seq = kept[-snapshots_kept]
    consumer, passed_seq = consumers.furthest_behind(consumers.passed if has_room else consumers.counting)
    behind_seq = max((seq for seq in kept if seq <= passed_seq), default=0)
    if recovery_seq <= behind_seq:
        return Needed(recovery_seq + 1, f"recovery from the snapshot of seq {recovery_seq}")
    silent = ", and was not heard of since the start" if consumer in consumers.unheard else ""
    return Needed(behind_seq + 1, f"{consumer} has passed seq {passed_seq}{silent}")
