"""Carries moves between shards: does what comes next in each, where it is this shard's to do, until it is decided.

Both shards' ledgers look at the same rows, several times a second, so neither speaks to the other or to its engine.
What comes next is read from the legs alone: whoever dies at any point leaves nothing that the next look does not find.
A leg that was sent and not answered is the coordinator's, as any transfer. Nothing here decides.
"""

import asyncio
import logging
import time
import uuid
from typing import assert_never

from openbourse.ledger import moves
from openbourse.ledger.coordinate import SWEEP_OLDER_THAN_S, Coordinator
from openbourse.ledger.errors import LedgerError, Unavailable
from openbourse.ledger.move_books import MoveBooks
from openbourse.ledger.moves import Ask, Decide, Move, MoveRequest
from openbourse.ledger.transfers import TransferState

log = logging.getLogger(__name__)

# How long a move waits for the other shard before the one who asked is told that it is pending.
DECIDED_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.2
# While somebody waits for the answer.
LOOK_AGAIN_S = 0.05
RETRY_S = 3.0
LOOK_AT_MOST = 100
# Of one shard in a row: a leg, and the decision.
STEPS_MOST = 2


class Mover:
    """Moves out of one shard and into it, by the ledger of that shard."""

    def __init__(self, books: MoveBooks, coordinator: Coordinator) -> None:
        self._books = books
        self._coordinator = coordinator

    async def move(self, wanted: MoveRequest, requested_by: str) -> Move:
        """The move, in whatever state it is after a bounded wait. The same request again resumes the same move.

        Raises Conflict when the id is another move's, Unavailable when the database is away.
        """
        move = await self._books.record(wanted, requested_by)
        again = moves.unanswered(move)
        if again is not None and again.shard == self._books.shard:
            await self._coordinator.transfer(again.leg, move.requested_by)
            move = await self._there(wanted.move_id)
        until = time.monotonic() + DECIDED_TIMEOUT_S
        move = await self._carry(move)
        while move.state is TransferState.PENDING and time.monotonic() < until:
            await asyncio.sleep(LOOK_AGAIN_S)
            move = await self._carry(await self._there(wanted.move_id))
        found = await self._books.confirmed(wanted.move_id)
        assert found is not None, "moves are never removed"
        return found

    async def _there(self, move_id: uuid.UUID) -> Move:
        found = await self._books.move(move_id)
        assert found is not None, "moves are never removed"
        return found

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause_s = LOOK_EVERY_S
            try:
                if not await self.sweep(SWEEP_OLDER_THAN_S):
                    pause_s = RETRY_S
            except Unavailable as error:
                log.warning("pending moves: %s; again in %g s", error, RETRY_S)
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def sweep(self, older_than_s: float) -> bool:
        """What is this shard's to do in each move; whether all of it could be. Raises Unavailable: no database."""
        all_could = True
        for move in await self._books.to_carry(older_than_s, LOOK_AT_MOST):
            try:
                await self._carry(move)
            except Unavailable:
                raise
            except LedgerError as error:
                # The others must not wait for it; its age is an alert.
                log.error("move %s stays pending: %s", move.request.move_id, error)
                all_could = False
        return all_could

    async def _carry(self, move: Move) -> Move:
        """As far as this shard can."""
        for _ in range(STEPS_MOST):
            if not await self._do_next(move):
                break
            move = await self._there(move.request.move_id)
        return move

    async def _do_next(self, move: Move) -> bool:
        """Whether something was this shard's to do; however it went, it is done or found again."""
        step = moves.next_step(move)
        if step is None or step.shard != self._books.shard:
            return False
        move_id = move.request.move_id
        match step:
            case Ask(_, leg):
                await self._coordinator.transfer(leg, move.requested_by)
            case Decide(_, state, reason):
                log.info("move %s is %s%s", move_id, state, f": {reason}" if reason else "")
                await self._books.decide(move_id, state, reason)
            case _:
                assert_never(step)
        return True
