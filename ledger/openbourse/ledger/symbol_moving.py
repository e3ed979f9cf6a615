"""Carries moves of symbols: does what comes next in each, where it is this shard's to do, until it is over.

Both shards' ledgers look at the same rows, so neither speaks to the other or to its engine; the record goes through
the database. Whoever dies at any point leaves nothing that the next look does not find: what was sent is sent again
under the same ids, and carried out once. Nothing here decides.
"""

import asyncio
import logging
import time
import uuid

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession
from openbourse.contracts.unanswered import Unavailable as NoAnswer
from openbourse.ledger import symbol_moves, transfers
from openbourse.ledger.errors import LedgerError, Unavailable
from openbourse.ledger.progress import Progress
from openbourse.ledger.symbol_move_books import SymbolMoveBooks
from openbourse.ledger.symbol_moves import Step, SymbolMove, SymbolMoveRequest, SymbolMoveState

log = logging.getLogger(__name__)

ENGINE_TIMEOUT_S = 5.0
# The events of the freeze, before its record may be imported.
SETTLED_TIMEOUT_S = 5.0
LOOK_EVERY_S = 0.2
# While a symbol is on its way, for which traders wait.
LOOK_AGAIN_S = 0.02
RETRY_S = 2.0
LOOK_AT_MOST = 20
# How long a request waits before the one who asked is told that it is under way.
OVER_TIMEOUT_S = 10.0
# Of a record, as the kernel has them.
PARTS_MOST = 1_000

_NOT_LOGGED = v1.RejectReason.REJECT_REASON_LOG_UNAVAILABLE


class NotNow(Exception):
    """The engine did not answer, or could not: the same again later."""


class SymbolMover:
    """Moves of symbols out of one shard and into it, by the ledger of that shard."""

    def __init__(self, session: EngineSession, books: SymbolMoveBooks, progress: Progress) -> None:
        self._session = session
        self._books = books
        self._progress = progress

    async def move(self, wanted: SymbolMoveRequest, requested_by: str, within_s: float = OVER_TIMEOUT_S) -> SymbolMove:
        """The move, in whatever state it is after so long at most. The same request again resumes the same move.

        Raises Conflict when the id is another move's, Unavailable when the database is away.
        """
        move = await self._books.record(wanted, requested_by)
        until = time.monotonic() + within_s
        while not move.is_over and time.monotonic() < until:
            await asyncio.sleep(LOOK_AGAIN_S)
            move = await self._there(wanted.move_id)
        found = await self._books.confirmed(wanted.move_id)
        assert found is not None, "moves are never removed"
        return found

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause_s = LOOK_EVERY_S
            try:
                pause_s = await self.sweep()
            except Unavailable as error:
                log.warning("moves of symbols: %s; again in %g s", error, RETRY_S)
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def sweep(self) -> float:
        """What is this shard's to do in each move; how long to wait before the next look. Raises Unavailable."""
        pause_s = LOOK_EVERY_S
        for move in await self._books.to_carry(LOOK_AT_MOST):
            pause_s = min(pause_s, LOOK_AGAIN_S)
            step = symbol_moves.next_step(move)
            if step is None or step[0] != self._books.shard:
                continue
            try:
                await self._do(step[1], move)
            except Unavailable:
                raise
            except (LedgerError, NotNow) as error:
                log.error("move %s of %s waits: %s", move.request.move_id, move.request.symbol, error)
                pause_s = RETRY_S
        return pause_s

    async def _there(self, move_id: uuid.UUID) -> SymbolMove:
        found = await self._books.move(move_id)
        assert found is not None, "moves are never removed"
        return found

    async def _do(self, step: Step, move: SymbolMove) -> None:
        """A step, and the one that it makes necessary at once."""
        reason = move.reason
        if step is Step.ABANDON:
            reason = "it was asked back" if move.undo_asked else f"{move.request.to_shard} was away for too long"
        following = await self._carry_out(step, move, reason)
        if isinstance(following, tuple):
            await self._carry_out(following[0], move, following[1])

    async def _carry_out(self, step: Step, move: SymbolMove, reason: str) -> tuple[Step, str] | None:
        reply = None
        if step is Step.PREPARE:
            refusal = await self._prepare(move)
        else:
            reply = await self._commands(step, move)
            refusal = transfers.refusal(reply)
        following = symbol_moves.after(move.state, step, refused=refusal is not None)
        if following is None:
            raise NotNow(f"{step} is refused: {refusal}")
        why = reason or f"{self._books.shard} refused it: {refusal}"
        if isinstance(following, Step):
            return following, why
        given_up = following in (SymbolMoveState.ABANDONED, SymbolMoveState.UNDONE)
        log.info("move %s of %s is %s%s", move.request.move_id, move.request.symbol, following, f": {why}" * given_up)
        if following is not SymbolMoveState.FROZEN:
            imported_at_us = reply.occurred_at_us if reply is not None and step is Step.IMPORT else None
            await self._books.become(move, following, why if given_up else "", imported_at_us)
        return None

    async def _prepare(self, move: SymbolMove) -> str | None:
        """The freeze and the import say no by themselves: this only spares traders a pause for nothing."""
        answer = await self._ask(v1.Query(listings=v1.ListingsQuery()))
        symbol = move.request.symbol
        here = any(each.definition.symbol == symbol and not each.moved_to for each in answer.listings.symbols)
        return f"it lists {symbol} itself" if here else None

    async def _commands(self, step: Step, move: SymbolMove) -> v1.Reply:
        """The engine's answer to the step's command, or to the last of several."""
        if step is Step.FREEZE:
            return await self._freeze(move)
        if step is Step.IMPORT:
            return await self._import(move)
        return await self._send(symbol_moves.command(move.request, step))

    async def _freeze(self, move: SymbolMove) -> v1.Reply:
        wanted = move.request
        reply = await self._send(symbol_moves.command(wanted, Step.FREEZE))
        if transfers.refusal(reply):
            return reply
        first = await self._part(wanted, 0)
        others = [await self._part(wanted, number) for number in range(1, min(first.parts, PARTS_MOST))]
        parts = [part.record.SerializeToString() for part in (first, *others)]
        # A failover of the database must not take back what the target is asked for.
        if not await self._progress.reached(reply.seq, SETTLED_TIMEOUT_S):
            raise NotNow(f"the freeze at seq {reply.seq} is not settled yet")
        await self._books.frozen(move, reply.seq, reply.occurred_at_us, first.record_sha256, parts)
        return reply

    async def _import(self, move: SymbolMove) -> v1.Reply:
        record_sha256, parts = await self._books.record_of(move.request.move_id)
        for command in symbol_moves.import_commands(move.request, record_sha256, parts):
            reply = await self._send(command)
            if transfers.refusal(reply):
                break
        return reply

    async def _part(self, wanted: SymbolMoveRequest, number: int) -> v1.SymbolRecordAnswer:
        query = v1.SymbolRecordQuery(move_id=wanted.move_id.bytes, part=number)
        answer = await self._ask(v1.Query(symbol_record=query))
        if not answer.HasField("symbol_record"):
            raise NotNow(f"its record cannot be had: {answer.refused.detail}")
        return answer.symbol_record

    async def _send(self, command: v1.Command) -> v1.Reply:
        try:
            reply = await self._session.command(command, ENGINE_TIMEOUT_S)
        except (NoAnswer, Busy) as error:
            raise NotNow(str(error)) from error
        if reply.rejection.reason == _NOT_LOGGED:
            raise NotNow(reply.rejection.detail)
        return reply

    async def _ask(self, query: v1.Query) -> v1.Answer:
        try:
            return await self._session.query(query, ENGINE_TIMEOUT_S)
        except (NoAnswer, Busy) as error:
            raise NotNow(str(error)) from error
