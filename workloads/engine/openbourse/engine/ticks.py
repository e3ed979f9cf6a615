"""Ticks: when something of the shard is due by the clock, the engine lets the shard see what time it is.

What is due, and when, the kernel says: the end of an auction or a countdown, the rest of a long cancel. This only sends
the command in time, and never more than one at once or one in 10 ms.
"""

import asyncio
import time

from openbourse.contracts import v1
from openbourse.engine._core import Engine
from openbourse.engine.own import OwnRequests

GAP_S = 0.01
# A clock that was set is noticed within that time.
LOOK_AGAIN_S = 1.0


class Ticks:
    """Told of every move of the committed seq."""

    def __init__(self, core: Engine, own: OwnRequests) -> None:
        self._core = core
        self._own = own
        self._pending: asyncio.Future[v1.Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # What the timer was set for.
        self._due_us: int | None = None
        self._sent_s = float("-inf")

    def committed(self, _seq: int) -> None:
        if self._core.next_due_us != self._due_us:
            self.look()

    def look(self) -> None:
        """Sends what is due, or sets the timer for it. While a tick is on its way its answer will look again."""
        self.stop()
        if self._pending is not None:
            return
        self._due_us = self._core.next_due_us
        if self._due_us is None:
            return
        delay_s = until_tick_s(self._due_us, time.time_ns() // 1000, time.monotonic() - self._sent_s)
        if delay_s > 0:
            self._timer = asyncio.get_running_loop().call_later(min(delay_s, LOOK_AGAIN_S), self.look)
            return
        self._sent_s = time.monotonic()
        self._pending = self._own.submit(v1.Command(causation_id="engine", tick=v1.Tick()))
        self._pending.add_done_callback(self._answered)

    def _answered(self, reply: "asyncio.Future[v1.Reply]") -> None:
        self._pending = None
        if reply.result().rejection.reason == v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE:
            # Nothing is done while the disk takes nothing; it is asked in its own time.
            self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self.look)
            return
        self.look()

    def stop(self) -> None:
        """Sends no more until something is committed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def until_tick_s(due_us: int, now_us: int, since_last_s: float) -> float:
    """How long to wait with the next tick; 0 or less: it is time."""
    return max((due_us - now_us) / 1e6, GAP_S - since_last_s)
