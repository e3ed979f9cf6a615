"""Carries transfers through both phases: records, asks the engine, and asks again until each is posted or voided.

A command is sent again only when everything that the engine had committed is settled: if it was carried out before,
the transfer is posted by then. So a resend never relies on how long the engine remembers command ids. Nothing here
posts: what the stream says is for settlement alone.
"""

import asyncio
import logging

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession
from openbourse.contracts.unanswered import Unavailable as NoAnswer
from openbourse.ledger import transfers
from openbourse.ledger.books import Books
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.progress import Progress
from openbourse.ledger.transfers import Transfer, TransferRequest, TransferState

log = logging.getLogger(__name__)

ENGINE_TIMEOUT_S = 2.0
# How long a transfer waits to be decided before it is answered as pending.
SETTLED_TIMEOUT_S = 2.0
SWEEP_EVERY_S = 3.0
# Younger ones are still with the request that made them.
SWEEP_OLDER_THAN_S = 5.0
SWEEP_MOST = 100


class Coordinator:
    """Deposits, withdrawals and the legs of moves of one shard."""

    def __init__(self, session: EngineSession, books: Books, progress: Progress) -> None:
        self._session = session
        self._books = books
        self._progress = progress

    async def transfer(self, wanted: TransferRequest, requested_by: str) -> Transfer:
        """The transfer, in whatever state it is after a bounded wait. The same request again resumes the same transfer.

        Raises Conflict when the id is another transfer's, Unavailable when the database is away.
        """
        if await self._books.record(wanted, requested_by):
            await self._ask(wanted)
        else:
            existing = transfers.resume(await self._books.confirmed(wanted.transfer_id), wanted)
            if existing.state is not TransferState.PENDING:
                return existing
            await self._ask_again(wanted)
        return await self._books.confirmed(wanted.transfer_id)

    async def run(self) -> None:
        """Sends what is pending again, from time to time, until cancelled."""
        while True:
            try:
                await self.sweep(SWEEP_OLDER_THAN_S)
                self._progress.waits(await self._books.waiting())
            except Unavailable as error:
                log.warning("pending transfers: %s; again in %g s", error, SWEEP_EVERY_S)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self, older_than_s: float) -> None:
        """Asks once for each that is pending for so long. Raises Unavailable when the database is away."""
        for transfer in await self._books.pending(older_than_s, SWEEP_MOST):
            log.info("%s %s is still pending: asking again", transfer.request.direction, transfer.request.transfer_id)
            await self._ask_again(transfer.request)

    async def _ask(self, wanted: TransferRequest) -> None:
        """Asks the engine and waits for its answer to be settled, both no longer than their time-outs."""
        try:
            reply = await self._session.command(transfers.command(wanted), ENGINE_TIMEOUT_S)
        except (NoAnswer, Busy) as error:
            log.warning("%s %s stays pending: %s", wanted.direction, wanted.transfer_id, error)
            return
        if not await self._progress.reached(reply.seq, SETTLED_TIMEOUT_S):
            return
        # Of some refusals there is an event, which has voided it by now; of the others there is the reply alone.
        if reason := transfers.refusal(reply):
            if not transfers.is_voided_by_a_refusal(wanted):
                log.error("%s %s is refused and stays pending: %s", wanted.direction, wanted.transfer_id, reason)
                return
            log.info("%s %s is voided: %s", wanted.direction, wanted.transfer_id, reason)
            await self._books.void(wanted.transfer_id, reason)

    async def _ask_again(self, wanted: TransferRequest) -> None:
        if not await self._caught_up():
            return
        # On the standby too: an engine must not be asked for what a failover of the database takes back.
        current = await self._books.confirmed(wanted.transfer_id)
        if current.state is TransferState.PENDING:
            await self._ask(wanted)

    async def _caught_up(self) -> bool:
        """Whether all that the engine had committed by now is settled."""
        try:
            answer = await self._session.query(v1.Query(listings=v1.ListingsQuery()), ENGINE_TIMEOUT_S)
        except (NoAnswer, Busy) as error:
            log.warning("pending transfers wait: %s", error)
            return False
        return await self._progress.reached(answer.seq, SETTLED_TIMEOUT_S)
