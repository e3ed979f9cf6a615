"""How far one shard's settlement has come and how it is doing: what its parts report and its readers ask.

Facts only, in memory; the truth is the watermark in the database.
"""

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum

from openbourse.ledger.errors import LedgerError
from openbourse.ledger.settlement import Watermark
from openbourse.ledger.store import Settled

# Behind the engine for longer than this without a step forward is not ready.
STUCK_S = 10.0


class State(StrEnum):
    STARTING = "starting"
    SETTLING = "settling"
    # The database or the engine's leader is away; tried again by itself.
    WAITING = "waiting"
    # The stream and the books contradict each other. Only a person, and a restart, go on from here.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many transfers and moves are pending, and for how long the oldest of each."""

    transfers: int
    transfer_oldest_s: float
    moves: int
    move_oldest_s: float


class Progress:
    """One task settles and reports; any number may wait and read."""

    def __init__(self, shard: str) -> None:
        self.shard = shard
        self.state = State.STARTING
        self.watermark = Watermark(0, 0)
        self.trades = 0
        self.last_error = ""
        self.last_error_at_us = 0
        # None: never asked with success.
        self.engine_committed_seq: int | None = None
        self.engine_trouble = "not asked yet"
        # Whether it was level with the engine once since the start: before that, what it answers may be old.
        self.caught_up = False
        self.database_trouble = "not asked yet"
        self.moved_at = time.monotonic()
        # When the oldest delivery that is not settled yet came in.
        self.waiting_since: float | None = None
        self._waiting = Waiting(0, 0.0, 0, 0.0)
        self._waiting_at = time.monotonic()
        self._moved = asyncio.Condition()

    async def opened(self, watermark: Watermark) -> None:
        """The settling connection is there."""
        self._become(State.SETTLING)
        await self._move_to(watermark)

    async def settled(self, settled: Settled) -> None:
        self._become(State.SETTLING)
        self.trades = settled.total_trades
        await self._move_to(settled.watermark)

    async def _move_to(self, watermark: Watermark) -> None:
        async with self._moved:
            self.watermark = watermark
            self.moved_at = time.monotonic()
            self._moved.notify_all()
        self._compare()

    def engine_is_at(self, committed_seq: int) -> None:
        """What the engine said of itself."""
        self.engine_committed_seq = committed_seq
        self._compare()

    def _compare(self) -> None:
        self.caught_up |= self.engine_committed_seq is not None and self.lag_seqs == 0

    def trouble(self, error: LedgerError) -> None:
        self._become(State.WAITING)
        if self.state is not State.STOPPED:
            self._note(error)

    def _become(self, state: State) -> None:
        """A batch that was on its way when settlement was stopped changes nothing about that."""
        if self.state is not State.STOPPED:
            self.state = state

    def stopped(self, error: LedgerError) -> None:
        self.state = State.STOPPED
        self._note(error)

    def _note(self, error: LedgerError) -> None:
        self.last_error = str(error)
        self.last_error_at_us = time.time_ns() // 1000

    async def reached(self, seq: int, timeout_s: float) -> bool:
        """Waits until everything up to `seq` is settled; False when it was not in time."""
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self.watermark.seq >= seq)
        except TimeoutError:
            return False
        return True

    def waits(self, waiting: Waiting) -> None:
        self._waiting, self._waiting_at = waiting, time.monotonic()

    @property
    def waiting(self) -> Waiting:
        """Older by now: what is pending stays so until the database says something else."""
        seen, since_s = self._waiting, time.monotonic() - self._waiting_at
        return Waiting(
            seen.transfers,
            seen.transfer_oldest_s + since_s if seen.transfers else 0.0,
            seen.moves,
            seen.move_oldest_s + since_s if seen.moves else 0.0,
        )

    @property
    def lag_seqs(self) -> int:
        return max(0, (self.engine_committed_seq or 0) - self.watermark.seq)

    @property
    def lag_ms(self) -> int:
        return 0 if self.waiting_since is None else round((time.monotonic() - self.waiting_since) * 1000)

    def why_not_ready(self) -> str:
        """Empty: ready."""
        if self.state is not State.SETTLING:
            return f"{self.state}: {self.last_error}" if self.last_error else str(self.state)
        if self.database_trouble:
            return f"database: {self.database_trouble}"
        if self.engine_trouble:
            return f"engine: {self.engine_trouble}"
        if not self.caught_up:
            return f"catching up: {self.lag_seqs} seqs behind the engine"
        still_s = time.monotonic() - self.moved_at
        if self.lag_seqs and still_s > STUCK_S:
            return f"{self.lag_seqs} seqs behind the engine and not moving for {still_s:.0f} s"
        return ""

    def as_json(self) -> dict[str, object]:
        reason = self.why_not_ready()
        return {
            "component": "ledger",
            "shard": self.shard,
            "state": self.state,
            "ready": not reason,
            "reason": reason,
            "watermark_seq": self.watermark.seq,
            "watermark_session_epoch": self.watermark.session_epoch,
            "engine_committed_seq": self.engine_committed_seq or 0,
            "lag_seqs": self.lag_seqs,
            "lag_ms": self.lag_ms,
            "trades_settled": self.trades,
            "last_error": self.last_error,
            "last_error_at_us": self.last_error_at_us,
        }
