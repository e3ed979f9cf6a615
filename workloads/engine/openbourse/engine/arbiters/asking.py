"""Carries out what a member asks of the leadership record: the last ask, again where it has to be, and never too often.

It decides nothing about leadership. An outcome that it hands in is always of an ask that was made; of one that was
replaced since only a success is still handed in. A write whose outcome is unknown is not tried again here: the member
knows what to ask instead.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from openbourse.engine.arbiters.arbiter import Arbiter, RecordError, Unreachable
from openbourse.engine.replication.inputs import Conflicted, Seen, Succeeded, Unsettled
from openbourse.engine.replication.record import Ask, CompareAndSet, Read

log = logging.getLogger(__name__)

Outcome = Seen | Succeeded | Conflicted | Unsettled


@dataclass(frozen=True, slots=True)
class Pace:
    """`timeout_s` ends the waiting for an answer, `abandoned_s` a write that nobody waits for any more.

    After the first failure the next ask of its kind waits `backoff_min_s`, then twice as long each time up to
    `backoff_max_s`, less up to half of it by chance. Failures are forgotten after `calm_s` without one.
    """

    timeout_s: float = 2.0
    abandoned_s: float = 10.0
    backoff_min_s: float = 0.02
    backoff_max_s: float = 2.0
    calm_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Since when the record cannot be read or written, by the event loop's clock, and what was said last."""

    since_s: float
    why: str


class Asker:
    """`hand_in` is called in the task of `run`, or one of its children, and may ask again at once.

    `jitter` gives numbers from 0 up to 1.
    """

    def __init__(
        self,
        arbiter: Arbiter,
        hand_in: Callable[[Outcome], None],
        *,
        pace: Pace | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._arbiter = arbiter
        self._hand_in = hand_in
        self._pace = pace or Pace()
        self._reads = _Attempts("read", self._pace, jitter)
        self._writes = _Attempts("written", self._pace, jitter)
        self._ask: Ask | None = None
        # Each ask is a turn; one that is answered, or replaced, is over.
        self._turn = 0
        self._asked = asyncio.Event()

    def ask(self, ask: Ask) -> None:
        """In place of what was asked before."""
        self._turn += 1
        self._ask = ask
        self._asked.set()

    @property
    def trouble(self) -> Trouble | None:
        troubles = [trouble for trouble in (self._reads.trouble, self._writes.trouble) if trouble is not None]
        return min(troubles, key=lambda trouble: trouble.since_s, default=None)

    async def run(self) -> None:
        """Until it is cancelled, which also ends what is under way: a write may land all the same."""
        async with asyncio.TaskGroup() as group:
            current: asyncio.Task[None] | None = None
            while True:
                await self._asked.wait()
                self._asked.clear()
                if current is not None:
                    current.cancel()
                ask, turn = self._ask, self._turn
                match ask:
                    case None:
                        current = None
                    case Read():
                        current = group.create_task(self._read(turn))
                    case CompareAndSet():
                        current = group.create_task(self._write(ask, turn, group))
                    case _ as never:
                        assert_never(never)

    async def _read(self, turn: int) -> None:
        while True:
            await self._reads.wait()
            try:
                async with asyncio.timeout(self._pace.timeout_s):
                    held = await self._arbiter.read()
            except (RecordError, TimeoutError) as error:
                self._reads.failed(self._why(error), lasting=_is_lasting(error))
                continue
            self._reads.answered()
            self._writes.reached()
            self._answer(turn, Seen(held))
            return

    async def _write(self, ask: CompareAndSet, turn: int, group: asyncio.TaskGroup) -> None:
        await self._writes.wait()
        if self._is_over(turn):
            return
        group.create_task(self._try(ask, turn))
        await asyncio.sleep(self._pace.timeout_s)
        if not self._is_over(turn):
            self._writes.failed(self._why(TimeoutError()), lasting=False)
            self._answer(turn, Unsettled(ask))

    async def _try(self, ask: CompareAndSet, turn: int) -> None:
        """A task of its own, which goes on when the ask is replaced."""
        outcome: Succeeded | Conflicted | Unsettled
        try:
            async with asyncio.timeout(self._pace.abandoned_s):
                outcome = await self._arbiter.compare_and_set(ask)
        except (RecordError, TimeoutError) as error:
            if not self._is_over(turn):
                self._writes.failed(self._why(error), lasting=_is_lasting(error))
            outcome = Conflicted(ask) if _is_lasting(error) else Unsettled(ask)
        else:
            self._reads.reached()
            if isinstance(outcome, Conflicted):
                # Nothing is wrong with the record, but whoever lost should not try at once what others try too.
                self._writes.lost()
            else:
                self._writes.answered()
        if not self._is_over(turn):
            self._answer(turn, outcome)
        elif isinstance(outcome, Succeeded):
            log.info("record: a write that was given up landed: %s", ask.record)
            if self._ask == ask:
                # Asked once more since: this answers it, and the other try can only conflict with this one.
                self._ask = None
            self._hand_in(outcome)

    def _is_over(self, turn: int) -> bool:
        return self._ask is None or self._turn != turn

    def _answer(self, turn: int, outcome: Outcome) -> None:
        if self._is_over(turn):
            return
        self._ask = None
        self._hand_in(outcome)

    def _why(self, error: RecordError | TimeoutError) -> str:
        return str(error) if isinstance(error, RecordError) else f"no answer within {self._pace.timeout_s:g} s"


def _is_lasting(error: RecordError | TimeoutError) -> bool:
    """Only a person ends it; and a write that meets it did not land."""
    return not isinstance(error, Unreachable | TimeoutError)


class _Attempts:
    """What became of the asks of one kind, and how long the next one waits."""

    def __init__(self, what: str, pace: Pace, jitter: Callable[[], float]) -> None:
        self._what = what
        self._pace = pace
        self._jitter = jitter
        self._failures = 0
        self._failed_at_s = 0.0
        self._not_before_s = 0.0
        self._is_lasting = False
        self.trouble: Trouble | None = None

    async def wait(self) -> None:
        delay_s = self._not_before_s - asyncio.get_running_loop().time()
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def failed(self, why: str, *, lasting: bool) -> None:
        """`lasting`: that asks of the other kind are answered says nothing about it."""
        self._back_off()
        if self.trouble is None or self.trouble.why != why:
            log.warning("record: not %s: %s", self._what, why)
        since_s = self._failed_at_s if self.trouble is None else self.trouble.since_s
        self.trouble = Trouble(since_s, why)
        self._is_lasting = lasting

    def lost(self) -> None:
        self._back_off()
        self._over()

    def answered(self) -> None:
        self._failures = 0
        self._not_before_s = 0.0
        self._over()

    def reached(self) -> None:
        if not self._is_lasting:
            self._over()

    def _back_off(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._failed_at_s > self._pace.calm_s:
            self._failures = 0
        longest_s = min(self._pace.backoff_min_s * 2 ** min(self._failures, 32), self._pace.backoff_max_s)
        self._failures += 1
        self._failed_at_s = now_s
        self._not_before_s = now_s + longest_s * (1 - self._jitter() / 2)

    def _over(self) -> None:
        if self.trouble is not None:
            log.info("record: %s again", self._what)
        self.trouble = None
