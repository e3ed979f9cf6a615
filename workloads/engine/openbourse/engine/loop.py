"""The engine's one loop: what arrived becomes a batch, and what is durable goes out. Sockets are somebody else's.

1. receive   bytes of any connection are cut into requests, which wait
2. begin     all that wait become one batch: sequenced, handed to the disk, stepped by the kernel meanwhile
3. propose   whoever decides about commit is told of the batch, and sends it to the standbys
4. collect   the batch is committed, its events are on the committed stream
5. begin     the next batch, before anything is written to a socket, so that the disk never idles
6. release   replies and answers to their connections, paused ones read again, subscribers get the new events

Before `lead` nothing begins: connections wait for their welcome. While the lead is handed over nothing begins either.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from openbourse.engine._core import ITSELF, Engine, Fatal

_READY = 2

Frames = list[tuple[int, bytes]]


class Commits(Protocol):
    """Who decides what is committed, and says so to the core and to `Loop.committed`."""

    def proposed(self, last: int) -> None:
        """There is a batch, up to this seq."""

    def durable(self, last: int) -> None:
        """This engine's own log is durable through it."""


class Peer(Protocol):
    """Who gets the frames of a connection."""

    def send(self, frames: bytes) -> None: ...
    def resume_reading(self) -> None: ...


class Loop:
    """Runs in the event loop that makes it. `failed` gets the Fatal that ends the engine."""

    def __init__(self, core: Engine) -> None:
        self.core = core
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.peers: dict[int, Peer] = {}
        # Called with the committed seq whenever it has moved.
        self.on_committed: list[Callable[[int], None]] = []
        self.begun_at_s: float | None = None
        # Nothing waits for a batch and none is on its way.
        self.idle = asyncio.Event()
        self.idle.set()
        self.commits: Commits | None = None
        # Called once, when somebody other than the engine itself has an answer.
        self.on_first_answer: Callable[[], None] | None = None
        # Called with what of the batch is traced, once its answers are sent: seq, when it began in microseconds,
        # traceparent of each.
        self.on_traced: Callable[[list[tuple[int, int, str]]], None] | None = None
        self._leads = False
        self._holds = False
        self._turning = False
        self._proposed_seq = 0
        self._begin_is_due = False
        self._told_seq = core.committed_seq
        self._events = asyncio.get_running_loop()

    def start(self, commits: Commits) -> None:
        self.commits = commits
        self._events.add_reader(self.core.bell(), self._bell)

    def stop(self) -> None:
        self._events.remove_reader(self.core.bell())

    def receive(
        self, connection: int, data: bytes
    ) -> tuple[bytes, int | None, bool, bool, tuple[int, int] | None] | None:
        """As the core's; the batch begins when all sockets that have something now were read."""
        with self._fatal():
            asked = self.core.receive(connection, data)
        if not self._begin_is_due:
            self._begin_is_due = True
            self.idle.clear()
            self._events.call_soon(self._due)
        return asked

    def _due(self) -> None:
        self._begin_is_due = False
        self._turn()

    def lead(self, epoch: int) -> None:
        """The kernel gets the rest of the log, and batches begin: the engine's own, and after `welcome` everybody's."""
        with self._fatal():
            self.core.lead(epoch)
        self._proposed_seq = self.core.end_seq
        self._leads = True
        self._turn()

    def leave(self) -> None:
        """Nothing begins or leaves any more."""
        self._leads = False

    def hold(self, holds: bool) -> None:
        """While it holds no batch begins: what arrives waits, what was begun goes out."""
        if self._holds and not holds:
            self._events.call_soon(self._turn)
        self._holds = holds

    def welcome(self) -> None:
        """Those who wait are served."""
        self._release(self.core.welcome())

    def committed(self) -> None:
        """The committed seq of the core has moved."""
        if not self._turning:
            self._turn()

    def _bell(self) -> None:
        assert self.commits is not None
        self._turning = True
        try:
            with self._fatal():
                self.commits.durable(self.core.durable_seq())
        finally:
            self._turning = False
        self._turn()

    def _turn(self) -> None:
        if self.failed.done() or not self._leads:
            return
        self._turning = True
        try:
            with self._fatal():
                frames = self._collect_and_begin()
        finally:
            self._turning = False
        if not self.core.is_syncing:
            self.begun_at_s = None
        elif self.begun_at_s is None or frames:
            self.begun_at_s = time.monotonic()
        self._release(frames)
        if self.on_first_answer is not None and any(connection != ITSELF for connection, _ in frames):
            told, self.on_first_answer = self.on_first_answer, None
            told()
        if self.core.is_idle and not self._begin_is_due:
            self.idle.set()

    def _collect_and_begin(self) -> Frames:
        """What may leave. The next batch is begun, and whoever decides about commit is told of it."""
        assert self.commits is not None
        frames = self.core.collect() or []
        while not self._holds and self._begin() == _READY:
            ready = self.core.collect()
            if ready is None:
                # Answers about a seq that is not committed yet.
                break
            frames += ready
        if (last := self.core.end_seq) > self._proposed_seq:
            self._proposed_seq = last
            self.commits.proposed(last)
        return frames

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """Whatever the core raises, a panic too, ends the engine: the event loop would only write it down and go on."""
        try:
            yield
        except BaseException as error:
            if not self.failed.done():
                self.failed.set_exception(error if isinstance(error, Fatal) else Fatal(f"the core failed: {error!r}"))
            raise

    def _begin(self) -> int:
        return self.core.begin(time.time_ns() // 1000)

    def _release(self, frames: Frames) -> None:
        for connection, data in frames:
            if (peer := self.peers.get(connection)) is not None:
                peer.send(data)
        for connection in self.core.resumed():
            if (peer := self.peers.get(connection)) is not None:
                peer.resume_reading()
        if self.on_traced is not None and (traced := self.core.traced()):
            self.on_traced(traced)
        seq = self.core.committed_seq
        if seq != self._told_seq:
            self._told_seq = seq
            for told in tuple(self.on_committed):
                told(seq)

    @property
    def syncing_for_s(self) -> float:
        """How long the disk has been at the batch, or the next segment, that is on its way; 0 when there is none."""
        return 0.0 if self.begun_at_s is None else time.monotonic() - self.begun_at_s
