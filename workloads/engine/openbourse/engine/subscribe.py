"""The committed stream of one subscriber: from memory while it keeps up, from the log when it is further behind.

A subscriber that does not read is simply not written to; its position stays. It costs no memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Protocol

from openbourse.contracts import v1
from openbourse.engine import state_before
from openbourse.engine._core import Engine, Fatal, Replay
from openbourse.engine.journal.files import oldest_served

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
REPLAY_COMMANDS = 2000
REPLAYS_MOST = 4
STALLED_S = 60.0


class Outlet(Protocol):
    """The subscriber's socket."""

    writable: asyncio.Event

    def write(self, frames: bytes) -> None: ...
    def close_with(self, detail: str, *, code: "v1.ProblemCode.ValueType" = ...) -> None: ...


class Streams:
    """What all subscriptions share."""

    def __init__(self, core: Engine, folder: Path, tasks: asyncio.TaskGroup) -> None:
        self.core = core
        self.folder = folder
        self._tasks = tasks
        # Each replay has a kernel of its own; further subscribers wait for their turn.
        self.replays = asyncio.Semaphore(REPLAYS_MOST)

    def begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """None while the engine ends: whoever subscribes then is closed with everybody else."""
        try:
            return self._tasks.create_task(work)
        except RuntimeError:
            # What a group of tasks says that is ending.
            work.close()
            return None


class Subscription:
    """`from_seq` 0: from the oldest that are kept on, and before these the state that they begin with."""

    def __init__(self, streams: Streams, outlet: Outlet, from_seq: int) -> None:
        self.next_seq = from_seq
        self._streams = streams
        self._outlet = outlet
        self._replaying: asyncio.Task[None] | None = None

    def pump(self) -> None:
        """Writes what is committed and wanted, as far as the socket takes it. Call when either may have changed."""
        while self._replaying is None and self._outlet.writable.is_set():
            if not self.next_seq:
                self._replaying = self._streams.begin(self._begin())
                return
            try:
                piece = self._streams.core.events(self.next_seq, PIECE_BYTES)
            except ValueError as error:
                self._outlet.close_with(str(error))
                return
            if piece is None:
                self._replaying = self._streams.begin(self._replay())
                return
            last_seq, frame = piece
            if not frame:
                return
            self._outlet.write(frame)
            self.next_seq = last_seq + 1

    def close(self) -> None:
        if self._replaying is not None:
            self._replaying.cancel()

    async def _begin(self) -> None:
        core, folder = self._streams.core, self._streams.folder

        async def send(oldest: int) -> bool:
            if oldest > 1:
                log.info("the state before seq %d is told", oldest)
                replay = Replay(folder, core.shard, core.epoch, oldest)
                pieces = state_before.pieces(replay, core.epoch, oldest - 1)
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    await self._until_writable()
                    self._outlet.write(piece)
            self.next_seq = oldest
            return True

        await self._from_log(send)

    async def _replay(self) -> None:
        core = self._streams.core

        async def send(oldest: int) -> bool:
            if self.next_seq < oldest:
                self._outlet.close_with(
                    f"events from seq {self.next_seq} are not kept any more, the oldest are those of seq {oldest}",
                    code=v1.ProblemCode.PROBLEM_CODE_NOT_KEPT,
                )
                return False
            log.info("events from seq %d are read from the log", self.next_seq)
            replay = Replay(self._streams.folder, core.shard, core.epoch, self.next_seq)
            # Until memory has the rest.
            while core.events(self.next_seq, 0) is None:
                frame = await asyncio.to_thread(replay.step, core.committed_seq, REPLAY_COMMANDS, PIECE_BYTES)
                await self._until_writable()
                if frame is not None:
                    self._outlet.write(frame)
                    self.next_seq = replay.next_seq
            return True

        await self._from_log(send)

    async def _until_writable(self) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(STALLED_S):
            await self._outlet.writable.wait()

    async def _from_log(self, send: Callable[[int], Awaitable[bool]]) -> None:
        """`send` is given the oldest seq that is kept; if it says so, memory has the rest."""
        try:
            async with self._streams.replays:
                oldest = await asyncio.to_thread(oldest_served, self._streams.folder)
                if not await send(oldest):
                    return
        except TimeoutError:
            self._outlet.close_with(f"nothing was read for {STALLED_S:g} s while old events were sent: subscribe again")
            return
        except (Fatal, OSError) as error:
            # The log that is written is another matter: trading goes on.
            log.error("old events cannot be read: %s", error)
            self._outlet.close_with(str(error))
            return
        finally:
            self._replaying = None
        self.pump()
