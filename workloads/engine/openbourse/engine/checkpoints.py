"""Checkpoints: every so many commands the engine puts the hash of its state into the committed stream.

Each names the one before it, so that a replay that comes to another state stops there instead of going on.
"""

import asyncio

from openbourse.contracts import v1
from openbourse.engine._core import Engine
from openbourse.engine.own import OwnRequests

COMMANDS = 1000


class Checkpoints:
    """Told of every move of the committed seq; at most one checkpoint is on its way."""

    def __init__(self, core: Engine, own: OwnRequests) -> None:
        self._core = core
        self._own = own
        self._pending: asyncio.Future[v1.Reply] | None = None

    def committed(self, seq: int) -> None:
        last = self._core.last_checkpoint()
        if seq - (last[0] if last else 0) >= COMMANDS and (self._pending is None or self._pending.done()):
            self._pending = self._own.submit(self._command())

    async def finish(self) -> None:
        """One more, unless nothing happened since the last."""
        if self._pending is not None:
            await self._pending
        last = self._core.last_checkpoint()
        if last is None or last[0] != self._core.committed_seq:
            await self._own.sequence(self._command())

    def _command(self) -> v1.Command:
        checkpoint = v1.Checkpoint()
        if (last := self._core.last_checkpoint()) is not None:
            checkpoint.previous_seq, checkpoint.previous_state_hash = last
        return v1.Command(causation_id="engine", checkpoint=checkpoint)
