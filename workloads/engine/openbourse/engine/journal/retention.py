"""Recycles the segments of the log that nobody needs any more, and writes down how far each consumer is.

What is needed, `consumers` says; which segments that leaves, the journal.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from openbourse.engine import _core
from openbourse.engine._core import Fatal
from openbourse.engine.consumers import Consumers, Needed, needed_from
from openbourse.engine.journal import files, passed
from openbourse.engine.journal.snapshots import KEPT

log = logging.getLogger(__name__)

POLL_S = 5.0
# Of its volume, less free than that: the log does not wait for readers any more, it is needed for trading.
ROOM_LEAST = 0.25


class Retention:
    def __init__(
        self,
        folder: Path,
        consumers: Consumers,
        write_epochs: Callable[[], None],
        held_from: Callable[[], int | None],
    ) -> None:
        """`write_epochs` makes durable which epochs wrote the log, which segments that are gone do not say any more.

        `held_from` gives the first seq that another member may still have to be sent; None: there is no other.
        """
        self._held_from = held_from
        self._folder = folder
        self._write_epochs = write_epochs
        self._consumers = consumers
        self._written: dict[str, int] = {}
        self._needed = Needed(1, "nobody has looked yet")
        self._recycled = 0
        self._failure = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What goes wrong is said and tried again: trading does not wait for it."""
        while not stop.is_set():
            await self.look()
            try:
                await asyncio.wait_for(stop.wait(), POLL_S)
            except TimeoutError:
                continue
        await self.look()

    async def look(self) -> None:
        try:
            # First: the next start must not believe that somebody needs what is gone.
            await self._write_down()
            await asyncio.to_thread(self._write_epochs)
            found = await asyncio.to_thread(files.snapshots, self._folder)
            has_room = await asyncio.to_thread(_has_room, self._folder)
            needed = needed_from(self._consumers, found, KEPT, has_room=has_room)
            held_from = self._held_from()
            if held_from is not None and held_from < needed.seq:
                needed = Needed(held_from, "another member of the shard does not have it yet")
            self._needed = needed
            # Not the engine's own object: that one belongs to the thread of the loop.
            gone = await asyncio.to_thread(_core.retain, self._folder, self._needed.seq)
        except (Fatal, OSError) as error:
            if str(error) != self._failure:
                log.error("segments are not recycled: %s", error)
            self._failure = str(error)
            return
        self._failure = ""
        self._recycled += len(gone)
        if gone:
            log.info("recycled %s to %s: everything before seq %d is passed", gone[0], gone[-1], self._needed.seq)

    async def _write_down(self) -> None:
        now = dict(self._consumers.passed)
        if now != self._written:
            await asyncio.to_thread(passed.write, self._folder, now)
            self._written = now

    def document(self) -> dict[str, object]:
        """For the status."""
        return {
            "needed_from_seq": self._needed.seq,
            "why": self._needed.why,
            "recycled": self._recycled,
            "failure": self._failure,
        }


def _has_room(folder: Path) -> bool:
    space = shutil.disk_usage(folder)
    return space.free >= ROOM_LEAST * (space.free + space.used)
