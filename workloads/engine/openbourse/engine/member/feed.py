"""The records that one follower is sent, in order: out of memory, or of the segments where memory begins later. Where
the segments begin later as well, it is offered a snapshot.

Which ones, the leader's member says: this only puts the bytes behind its Appends, in pieces.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from openbourse.engine._core import Backlog, Engine, Fatal
from openbourse.engine.journal.files import first_seq
from openbourse.engine.member.link_messages import frame
from openbourse.engine.member.links import Link
from openbourse.engine.member.snapshot_transfer import Offering, pause_s
from openbourse.engine.replication.history import History
from openbourse.engine.replication.messages import Append

log = logging.getLogger(__name__)

PIECE_BYTES = 1024 * 1024
WAIT_S = 0.02
# What one that is far behind leaves unread before it is sent more.
UNREAD_BYTES = 4 * 1024 * 1024


class Feed:
    """One link's. `start` starts a task of whoever owns it; `durable` is how far this member's log is."""

    def __init__(
        self,
        core: Engine,
        folder: Path,
        link: Link,
        *,
        start: Callable[[Coroutine[None, None, None]], None],
        durable: Callable[[], int],
        history: Callable[[], History],
    ) -> None:
        self._core = core
        self._folder = folder
        self._start = start
        self._durable = durable
        self._history = history
        self.offering = Offering(folder, link, start)
        self._link = link
        self._epoch = 0
        self._sent = 0
        # What the leader's member wants sent, and how far it is committed.
        self._last = 0
        self._commit = 0
        self._reading = False
        self._offered = False
        self._closed = False

    def send(self, append: Append) -> None:
        if append.epoch != self._epoch or (append.after < self._sent and append.last > append.after):
            # A session begins where the follower is.
            self._epoch, self._sent, self._last = append.epoch, append.after, append.after
            self._offered = False
        self._commit = append.commit
        if append.last > append.after:
            self._last = max(self._last, append.last)
            self._pump()
        elif not self._reading:
            self._link.write(frame(append))

    def _pump(self) -> None:
        while not self._closed and not self._reading and not self._offered and self._sent < self._last:
            piece = self._core.recent(self._sent, self._last, PIECE_BYTES)
            if piece is None:
                self._reading = True
                self._start(self._read())
                return
            self._write(*piece)

    def _write(self, through: int, records: bytes) -> None:
        self._link.write(frame(Append(self._epoch, self._sent, through, self._commit), records))
        self._sent = through

    async def _read(self) -> None:
        if await asyncio.to_thread(first_seq, self._folder) > self._sent + 1:
            await self._offer()
            return
        backlog = Backlog(self._folder, self._sent + 1)
        log.info("%s is sent what the segments have from seq %d on", self._link.peer, self._sent + 1)
        try:
            while not self._closed and self._sent < self._last:
                if self._core.recent(self._sent, self._last, 0) is not None:
                    break
                began, last = self._sent, min(self._last, self._durable())
                through, records = await asyncio.to_thread(backlog.read, last, PIECE_BYTES)
                if self._sent != began:
                    # Meanwhile a session began elsewhere.
                    backlog = Backlog(self._folder, self._sent + 1)
                    continue
                if through > began:
                    began_s = time.monotonic()
                    self._write(through, records)
                    await asyncio.sleep(pause_s(began_s))
                while self._link.unread_bytes > UNREAD_BYTES or through <= began:
                    await asyncio.sleep(WAIT_S)
                    if self._closed or self._durable() > last:
                        break
        except Fatal as error:
            if await asyncio.to_thread(first_seq, self._folder) > self._sent + 1:
                # It was recycled meanwhile.
                await self._offer()
            else:
                self._give_up(error)
            return
        finally:
            self._reading = False
        self._pump()

    async def _offer(self) -> None:
        """A follower that takes it comes back as another member, on another link."""
        self._reading, self._offered = False, True
        try:
            await self.offering.offer(self._epoch, self._history())
        except (Fatal, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Trading goes on with those that have more."""
        log.error("%s cannot be sent what it lacks: %s", self._link.peer, error)
        self._link.close()

    def close(self) -> None:
        self._closed = True
        self.offering.close()
