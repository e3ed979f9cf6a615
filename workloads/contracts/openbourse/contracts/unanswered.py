"""What was asked of a shard and waits for its answer: by id, with the bytes to send again, and never for ever.

Nothing here sends or receives. One timer looks at all that waits; a request costs no timer and no task of its own.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from openbourse.contracts import v1

A = TypeVar("A", v1.Reply, v1.Answer)

# The timer does not run more often, however close together the times are at which things are given up.
LOOKS_EVERY_S = 0.02


class Unavailable(Exception):
    """No answer in time. Of a command the outcome is unknown: ask again with the same command id."""


class _Waiting(Generic[A]):
    """One request: nearly always somebody alone asks for it."""

    __slots__ = ("asker", "frame", "others", "resent", "until_s")

    def __init__(self, frame: bytes, until_s: float, asker: Callable[[A | Exception], None]) -> None:
        self.frame = frame
        self.until_s = until_s
        self.asker: Callable[[A | Exception], None] = asker
        self.others: tuple[tuple[float, Callable[[A | Exception], None]], ...] = ()
        # Sent more than once, so that a refusal of the last sending says nothing of the ones before.
        self.resent = False

    def give_up(self, now_s: float) -> list[Callable[[A | Exception], None]]:
        """Whose time is over. Those who are left wait on; without any, `until_s` is over as well."""
        waiting: list[tuple[float, Callable[[A | Exception], None]]] = [(self.until_s, self.asker)]
        waiting += self.others
        left = [each for each in waiting if each[0] > now_s]
        if left:
            self.until_s, self.asker = left[0]
            self.others = tuple(left[1:])
        return [asker for until_s, asker in waiting if until_s <= now_s]

    @property
    def next_s(self) -> float:
        """When the first of them has waited long enough."""
        return min(self.until_s, *(until_s for until_s, _ in self.others)) if self.others else self.until_s


class Unanswered(Generic[A]):
    """Requests by id. Whoever asked is called once: with the answer, or with Unavailable when its time is over."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._waiting: dict[bytes | int, _Waiting[A]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: bytes | int, frame: bytes, asker: Callable[[A | Exception], None], timeout_s: float) -> None:
        """Several who ask with one id get one answer. `asker` is called later, never from here."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        known = self._waiting.get(key)
        if known is None:
            self._waiting[key] = _Waiting(frame, until_s, asker)
        else:
            known.resent = True
            known.others += ((until_s, asker),)
        if self._timer is None or until_s < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(until_s, self._look)

    def frames(self) -> Iterable[bytes]:
        """In the order in which they were asked."""
        return [waiting.frame for waiting in self._waiting.values()]

    def again(self) -> Iterable[bytes]:
        """All frames: from now on each has been sent more than once."""
        for waiting in self._waiting.values():
            waiting.resent = True
        return self.frames()

    def was_resent(self, key: bytes | int) -> bool:
        waiting = self._waiting.get(key)
        return waiting is not None and waiting.resent

    def answer(self, key: bytes | int, answer: A | Exception) -> None:
        """Nobody may wait for it any more."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return
        waiting.asker(answer)
        for _, asker in waiting.others:
            asker(answer)

    def _look(self) -> None:
        """Gives up what has waited long enough."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now_s, next_s = loop.time(), float("inf")
        over: list[Callable[[A | Exception], None]] = []
        for key, waiting in list(self._waiting.items()):
            if waiting.next_s <= now_s:
                over += waiting.give_up(now_s)
            if waiting.until_s > now_s:
                next_s = min(next_s, waiting.next_s)
            else:
                del self._waiting[key]
        if self._waiting:
            self._timer = loop.call_at(max(next_s, now_s + LOOKS_EVERY_S), self._look)
        for asker in over:
            asker(Unavailable(f"shard {self._shard} did not answer in time"))
