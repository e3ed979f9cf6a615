"""A snapshot on its way from a leader to a follower that lacks what the leader's log does not have any more.

The follower asks for each piece when it has the one before on its disk, so its disk sets the pace, and one piece is all
that is ever under way. Whether the volume begins anew from what has come, the member decides.
"""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import BinaryIO

from openbourse.contracts import v1
from openbourse.engine._core import Fatal
from openbourse.engine.journal import files, renewal
from openbourse.engine.journal import volume as volumes
from openbourse.engine.member.link_messages import history as history_of
from openbourse.engine.member.link_messages import runs
from openbourse.engine.member.links import Link
from openbourse.engine.replication.history import History

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
PIECE_S = 30.0
# A follower that could not take one waits so long before it takes the next.
RETRY_S = 10.0
# From the last piece to the member's decision.
DECISION_S = 30.0
# Of the leader's loop, what everything for those that are behind takes at most: one part in so many.
SHARE = 10

Start = Callable[[Coroutine[None, None, None]], None]


def pause_s(began_s: float) -> float:
    """After what was done since `began_s`, by the monotonic clock, so that it is no more than its share of the loop."""
    return (time.monotonic() - began_s) * (SHARE - 1)


class Offering:
    """One follower's, for the life of its link. The file stays open, so that it may be removed meanwhile."""

    def __init__(self, folder: Path, link: Link, start: Start) -> None:
        self.seq: int | None = None
        self._folder = folder
        self._link = link
        self._start = start
        self._file: BinaryIO | None = None
        self._reading = False
        self._pause_s = 0.0

    async def offer(self, epoch: int, history: History) -> None:
        """The newest. Raises OSError and Fatal."""
        seq = max(await asyncio.to_thread(files.snapshots, self._folder), default=0)
        if seq + 1 < await asyncio.to_thread(files.first_seq, self._folder):
            raise Fatal(f"no snapshot in {self._folder} has what is before the log")
        self.close()
        self._file = await asyncio.to_thread((self._folder / files.snapshot(seq)).open, "rb")
        self.seq = seq
        size = os.fstat(self._file.fileno()).st_size
        log.info("%s lacks what is not kept any more: it is offered the snapshot of seq %d", self._link.peer, seq)
        base = runs(history.cut(seq))
        self._link.write(v1.LinkFrame(snapshot=v1.SnapshotOffer(epoch=epoch, seq=seq, bytes=size, base=base)))

    def requested(self, request: v1.SnapshotRequest) -> None:
        """One at a time is answered; more would be another protocol than this one."""
        if self._file is not None and request.seq == self.seq and not self._reading:
            self._reading = True
            self._start(self._answer(self._file, request))

    async def _answer(self, file: BinaryIO, request: v1.SnapshotRequest) -> None:
        try:
            # The room that the piece before has to leave.
            await asyncio.sleep(self._pause_s)
            content = await asyncio.to_thread(os.pread, file.fileno(), PIECE_BYTES, request.offset)
            began_s = time.monotonic()
            piece = v1.SnapshotPiece(seq=request.seq, offset=request.offset, content=content)
            self._link.write(v1.LinkFrame(piece=piece))
            self._pause_s = pause_s(began_s)
        except (OSError, ValueError) as error:
            log.error("%s cannot be sent the snapshot of seq %d: %s", self._link.peer, request.seq, error)
            self._link.close()
        finally:
            self._reading = False

    def close(self) -> None:
        self.seq = None
        if self._file is not None:
            self._file.close()
            self._file = None


class Arrival:
    """What comes for this volume: one snapshot at a time, from the leader that it follows.

    `volume` is the volume as it is now. `arrived` is told the link, epoch and seq once a new volume with it is durable.
    """

    def __init__(
        self,
        folder: Path,
        *,
        volume: Callable[[], volumes.Volume],
        segment_bytes: int | None,
        start: Start,
        arrived: Callable[[Link, int, int], None],
    ) -> None:
        self._folder = folder
        self._volume = volume
        self._segment_bytes = segment_bytes
        self._start = start
        self._arrived = arrived
        self._link: Link | None = None
        self._pieces: asyncio.Queue[v1.SnapshotPiece] = asyncio.Queue(1)
        self._not_before_s = 0.0
        # Of which seq, how many bytes of how many.
        self.progress: tuple[int, int, int] | None = None

    def document(self) -> dict[str, int] | None:
        """For the status. None: nothing is on its way."""
        if self.progress is None:
            return None
        seq, came, of = self.progress
        return {"snapshot_seq": seq, "came_bytes": came, "of_bytes": of}

    def offered(self, link: Link, offer: v1.SnapshotOffer) -> None:
        """An offer while another one is taken is left: its link is closed when this one has ended."""
        if self._link is None:
            self._link = link
            self._start(self._take(link, offer))

    def came(self, link: Link, piece: v1.SnapshotPiece) -> None:
        if link is self._link and self._pieces.empty():
            self._pieces.put_nowait(piece)

    async def _take(self, link: Link, offer: v1.SnapshotOffer) -> None:
        try:
            await asyncio.sleep(max(self._not_before_s - time.monotonic(), 0))
            history = history_of(offer.base)
            if not 0 < offer.seq == history.end:
                raise Fatal(f"a snapshot of seq {offer.seq} was offered with a history that ends at {history.end}")
            await self._fetch(link, offer)
            await asyncio.to_thread(renewal.prepare, self._folder, self._volume(), history, self._segment_bytes)
            log.info("the leader's snapshot of seq %d is here, and good", offer.seq)
            self._arrived(link, offer.epoch, offer.seq)
            await asyncio.sleep(DECISION_S)
            raise Fatal("the member has not begun anew with it")
        except (Fatal, OSError, TimeoutError) as error:
            why = str(error) or f"nothing came for {PIECE_S:g} s"
            if not link.ended.is_set():
                log.error("the leader's snapshot of seq %d is not taken: %s", offer.seq, why)
            self._not_before_s = time.monotonic() + RETRY_S
            # The next link begins with what this volume has.
            link.close()
        finally:
            self._link = self.progress = None

    async def _fetch(self, link: Link, offer: v1.SnapshotOffer) -> None:
        free = (await asyncio.to_thread(shutil.disk_usage, self._folder)).free
        if free < offer.bytes:
            raise OSError(f"{self._folder} has {free} bytes left, and it takes {offer.bytes} beside the log")
        path = await asyncio.to_thread(renewal.begin, self._folder, offer.seq)
        file = await asyncio.to_thread(path.open, "wb")
        try:
            offset = 0
            while offset < offer.bytes:
                self.progress = (offer.seq, offset, offer.bytes)
                while not self._pieces.empty():
                    self._pieces.get_nowait()
                link.write(v1.LinkFrame(wanted=v1.SnapshotRequest(seq=offer.seq, offset=offset)))
                content = (await self._piece(link, offer.seq, offset)).content
                await asyncio.to_thread(file.write, content)
                offset += len(content)
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
        finally:
            file.close()

    async def _piece(self, link: Link, seq: int, offset: int) -> v1.SnapshotPiece:
        """Raises TimeoutError, and Fatal for another piece than the one that was asked for."""
        waiting = asyncio.ensure_future(self._pieces.get())
        ended = asyncio.ensure_future(link.ended.wait())
        try:
            async with asyncio.timeout(PIECE_S):
                await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise OSError("the link has ended")
            piece = waiting.result()
        finally:
            waiting.cancel()
            ended.cancel()
        if (piece.seq, piece.offset) != (seq, offset) or not piece.content:
            raise Fatal(f"asked for offset {offset} of seq {seq}, got offset {piece.offset} of seq {piece.seq}")
        return piece
