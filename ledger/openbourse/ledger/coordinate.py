"""Carries deposits through both phases: records, asks the engine, and asks again until each is posted or voided.

A credit is sent again only when everything that the engine had committed is settled: if it was carried out before,
the transfer is posted by then. So a resend never relies on how long the engine remembers command ids.
"""

import asyncio
import logging

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession
from openbourse.contracts.session import Unavailable as NoAnswer
from openbourse.ledger import transfers
from openbourse.ledger.books import Books
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.progress import Progress
from openbourse.ledger.transfers import Deposit, Transfer, TransferState

log = logging.getLogger(__name__)

ENGINE_TIMEOUT_S = 2.0
# How long a deposit waits to be posted before it is answered as pending.
POSTED_TIMEOUT_S = 2.0
SWEEP_EVERY_S = 3.0
# Younger ones are still with the request that made them.
SWEEP_OLDER_THAN_S = 5.0
SWEEP_MOST = 100


class Coordinator:
    """Deposits of one shard."""

    def __init__(self, session: EngineSession, books: Books, progress: Progress) -> None:
        self._session = session
        self._books = books
        self._progress = progress

    async def deposit(self, wanted: Deposit, requested_by: str) -> Transfer:
        """The transfer, in whatever state it is after a bounded wait. The same request again resumes the same transfer.

        Raises Conflict when the id is another transfer's, Unavailable when the database is away.
        """
        if await self._books.record(wanted, requested_by):
            await self._credit(wanted)
        else:
            existing = transfers.resume(await self._get(wanted), wanted)
            if existing.state is not TransferState.PENDING:
                return existing
            await self._credit_again(existing)
        return await self._get(wanted)

    async def run(self) -> None:
        """Sends what is pending again, from time to time, until cancelled."""
        while True:
            try:
                for transfer in await self._books.pending(SWEEP_OLDER_THAN_S, SWEEP_MOST):
                    log.info("transfer %s is still pending: asking again", transfer.deposit.transfer_id)
                    await self._credit_again(transfer)
            except Unavailable as error:
                log.warning("pending transfers: %s; again in %g s", error, SWEEP_EVERY_S)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _get(self, deposit: Deposit) -> Transfer:
        transfer = await self._books.transfer(deposit.transfer_id)
        assert transfer is not None, "transfers are never removed"
        return transfer

    async def _credit(self, deposit: Deposit) -> None:
        """Asks the engine and waits for its answer to be settled, both no longer than their time-outs."""
        try:
            reply = await self._session.command(transfers.credit_command(deposit), ENGINE_TIMEOUT_S)
        except (NoAnswer, Busy) as error:
            log.warning("transfer %s stays pending: %s", deposit.transfer_id, error)
            return
        if reason := transfers.refusal(reply):
            log.info("transfer %s is voided: %s", deposit.transfer_id, reason)
            await self._books.void(deposit.transfer_id, reason)
        else:
            await self._progress.reached(reply.seq, POSTED_TIMEOUT_S)

    async def _credit_again(self, transfer: Transfer) -> None:
        if not await self._caught_up():
            return
        current = await self._get(transfer.deposit)
        if current.state is TransferState.PENDING:
            await self._credit(transfer.deposit)

    async def _caught_up(self) -> bool:
        """Whether all that the engine had committed by now is settled."""
        try:
            answer = await self._session.query(v1.Query(listings=v1.ListingsQuery()), ENGINE_TIMEOUT_S)
        except (NoAnswer, Busy) as error:
            log.warning("pending transfers wait: %s", error)
            return False
        return await self._progress.reached(answer.seq, POSTED_TIMEOUT_S)
