"""The committed stream of one subscriber: from memory while it keeps up, from the log when it is further behind.

A subscriber that does not read is simply not written to; its position stays. It costs no memory.
"""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from openbourse.contracts import v1
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
        self.tasks = tasks
        # Each replay has a kernel of its own; further subscribers wait for their turn.
        self.replays = asyncio.Semaphore(REPLAYS_MOST)


class Subscription:
    def __init__(self, streams: Streams, outlet: Outlet, from_seq: int) -> None:
        self.next_seq = from_seq
        self._streams = streams
        self._outlet = outlet
        self._replaying: asyncio.Task[None] | None = None

    def pump(self) -> None:
        """Writes what is committed and wanted, as far as the socket takes it. Call when either may have changed."""
        while self._replaying is None and self._outlet.writable.is_set():
            try:
                piece = self._streams.core.events(self.next_seq, PIECE_BYTES)
            except ValueError as error:
                self._outlet.close_with(str(error))
                return
            if piece is None:
                self._replaying = self._streams.tasks.create_task(self._replay())
                return
            last_seq, frame = piece
            if not frame:
                return
            self._outlet.write(frame)
            self.next_seq = last_seq + 1

    def close(self) -> None:
        if self._replaying is not None:
            self._replaying.cancel()

    async def _replay(self) -> None:
        core = self._streams.core
        try:
            async with self._streams.replays:
                oldest = await asyncio.to_thread(oldest_served, self._streams.folder)
                if self.next_seq < oldest:
                    self._outlet.close_with(
                        f"events from seq {self.next_seq} are not kept any more, the oldest are those of seq {oldest}",
                        code=v1.ProblemCode.PROBLEM_CODE_NOT_KEPT,
                    )
                    return
                log.info("events from seq %d are read from the log", self.next_seq)
                replay = Replay(self._streams.folder, core.shard, core.epoch, self.next_seq)
                # Until memory has the rest.
                while core.events(self.next_seq, 0) is None:
                    frame = await asyncio.to_thread(replay.step, core.committed_seq, REPLAY_COMMANDS, PIECE_BYTES)
                    async with asyncio.timeout(STALLED_S):
                        await self._outlet.writable.wait()
                    if frame is not None:
                        self._outlet.write(frame)
                        self.next_seq = replay.next_seq
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
