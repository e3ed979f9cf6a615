"""The records that one follower is sent, in order: out of memory, or of the segments where memory begins later.

Which ones, the leader's member says: this only puts the bytes behind its Appends, in pieces.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path

from openbourse.engine._core import Backlog, Engine, Fatal
from openbourse.engine.link_messages import frame
from openbourse.engine.links import Link
from openbourse.engine.replication.messages import Append

log = logging.getLogger(__name__)

PIECE_BYTES = 1024 * 1024
WAIT_S = 0.02


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
    ) -> None:
        self._core = core
        self._folder = folder
        self._start = start
        self._durable = durable
        self._link = link
        self._sent = -1
        self._newest: Append | None = None
        self._reading = False
        self._closed = False

    def send(self, append: Append) -> None:
        if self._newest is None or append.epoch != self._newest.epoch or append.after < self._sent:
            # A session begins where the follower is.
            self._sent = append.after
        self._newest = append
        if append.after == append.last and not self._reading:
            self._link.write(frame(append))
        elif not self._reading:
            self._pump()

    def _pump(self) -> None:
        while not self._closed and self._newest is not None and self._sent < self._newest.last:
            piece = self._core.recent(self._sent, self._newest.last, PIECE_BYTES)
            if piece is None:
                self._reading = True
                self._start(self._read())
                return
            self._write(*piece)

    def _write(self, through: int, records: bytes) -> None:
        assert self._newest is not None
        append = Append(self._newest.epoch, self._sent, through, self._newest.commit)
        self._link.write(frame(append, records))
        self._sent = through

    async def _read(self) -> None:
        backlog = Backlog(self._folder, self._sent + 1)
        log.info("%s is sent what the segments have from seq %d on", self._link.peer, self._sent + 1)
        try:
            while not self._closed and self._newest is not None:
                if self._core.recent(self._sent, self._newest.last, 0) is not None:
                    break
                last = min(self._newest.last, self._durable())
                through, records = await asyncio.to_thread(backlog.read, last, PIECE_BYTES)
                if through <= self._sent:
                    await asyncio.sleep(WAIT_S)
                    continue
                self._write(through, records)
        except Fatal as error:
            # Trading goes on with those that have more.
            log.error("%s cannot be sent what it lacks: %s", self._link.peer, error)
            self._link.close()
            return
        finally:
            self._reading = False
        self._pump()

    def close(self) -> None:
        self._closed = True
