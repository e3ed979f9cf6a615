"""Tells the shard how far its consumers are behind, whenever that changes its safety level.

What the lag is, `consumers` says; what follows from it, the kernel. This only measures time, asks, and sends.
"""

import asyncio
import logging
import time

from openbourse.contracts import v1
from openbourse.engine._core import Engine
from openbourse.engine.consumers import Consumers, worth_reporting
from openbourse.engine.own import OwnRequests

log = logging.getLogger(__name__)

LOOK_S = 0.1
# Later than this, it is the engine that was held up: consumers may have said something that is not read yet.
HELD_UP_S = 1.0


class LagReports:
    """Told of every move of the committed seq, and of what consumers passed. At most one report is on its way."""

    def __init__(self, core: Engine, own: OwnRequests, consumers: Consumers) -> None:
        self.consumers = consumers
        self._core = core
        self._own = own
        self._pending: asyncio.Future[v1.Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looked_s = time.monotonic()
        self._why = "reported before this start"

    def committed(self, seq: int) -> None:
        self.consumers.committed(seq, _now_ms())

    def passed(self, consumer: str, seq: int) -> None:
        """It has made everything up to `seq` its own. Of which component it is, its certificate said."""
        if self.consumers.passes(consumer, seq, _now_ms()) and self._core.safety_level != _NORMAL:
            self._look()

    def start(self) -> None:
        """Looks every LOOK_S until `stop`."""
        before_s, self._looked_s = self._looked_s, time.monotonic()
        if self._looked_s - before_s < HELD_UP_S:
            self._look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.start)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._pending is not None and not self._pending.done():
            return
        lag = self.consumers.lag(_now_ms())
        level = self._core.safety_level
        if not worth_reporting(lag, level, self._core.safety_level_at(lag.age_ms, 0)):
            return
        self._why = f"{lag.consumer} is {lag.age_ms} ms behind" if lag.age_ms else "everything is passed"
        # Nothing publishes the stream yet: nothing is unpublished.
        report = v1.ReportLag(settlement_lag_ms=lag.age_ms)
        self._pending = self._own.submit(v1.Command(causation_id="lag", report_lag=report))
        self._pending.add_done_callback(self._answered)

    def _answered(self, reply: "asyncio.Future[v1.Reply]") -> None:
        if reply.cancelled():
            return
        if reply.result().rejection.reason == v1.RejectReason.REJECT_REASON_UNSPECIFIED:
            log.warning("the shard's safety level is %s: %s", self._level_name(), self._why)

    def _level_name(self) -> str:
        return v1.SafetyLevel.Name(self._core.safety_level).removeprefix(_PREFIX)

    def document(self) -> dict[str, object]:
        """For the status."""
        lag = self.consumers.lag(_now_ms())
        consumers = self.consumers
        return {
            "settled_seq": consumers.settled_seq if consumers.counting else None,
            "settlement_lag_ms": lag.age_ms,
            "furthest_behind": lag.consumer,
            "consumers": [
                {
                    "name": name,
                    "passed_seq": seq,
                    "heard": name not in consumers.unheard,
                    "trading_waits": name in consumers.counting,
                }
                for name, seq in consumers.passed.items()
            ],
        }

    def behind(self) -> dict[str, tuple[int, int]]:
        """By consumer or reader: commands that it has not passed, and how old the oldest of them is, in ms."""
        return self.consumers.behind(_now_ms())

    def safety(self) -> dict[str, object]:
        """For the status: the level, and why this process reported what made it so."""
        return {"level": self._level_name(), "why": self._why if self._core.safety_level != _NORMAL else ""}


_PREFIX = "SAFETY_LEVEL_"
_NORMAL = v1.SafetyLevel.SAFETY_LEVEL_NORMAL


def _now_ms() -> float:
    return time.monotonic() * 1000
