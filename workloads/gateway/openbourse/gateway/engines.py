"""The gateway's side of one shard's engines: commands that are answered once, queries, and what is listed there.

A command waits through reconnects and failovers of the engine; EngineSession sends it again with the same id. What
this module adds is Binance's words for "no answer", the time that a trader waits, and a fresh copy of the listings.
Which shard a symbol is in is known to `shards`.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NoReturn

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession, NotTaken
from openbourse.contracts.unanswered import Unavailable as EngineUnavailable
from openbourse.gateway import errors, refusals
from openbourse.gateway.errors import Unavailable

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 10.0
QUERY_TIMEOUT_S = 2.0
REFRESH_EVERY_S = 1.0
# Older listings still turn words into ticks (these never change), but no longer say what state a symbol is in.
FRESH_S = 3.0

# Given each answer with listings.
Heard = Callable[[v1.Answer], None]


class Engine:
    """One shard. `run` must be running for anything to be answered."""

    def __init__(self, session: EngineSession) -> None:
        self.session = session
        self.shard = session.shard
        self._heard_at_s = float("-inf")
        self._refreshing = asyncio.Lock()
        self.listed = asyncio.Event()
        self.heard: Heard = _nobody_asks
        # The newest state that an answer of the shard was of.
        self.seq = 0

    @property
    def is_connected(self) -> bool:
        return self.session.connected.is_set()

    @property
    def listings_age_s(self) -> float:
        return time.monotonic() - self._heard_at_s

    async def run(self) -> None:
        """Keeps the connection and the listings, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.session.run())
            tasks.create_task(self._keep_listings())

    async def _keep_listings(self) -> None:
        while True:
            await self.session.connected.wait()
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("listings of shard %s: %s", self.shard, error.detail or error)
            await asyncio.sleep(REFRESH_EVERY_S)

    async def refresh(self) -> None:
        """What is listed now. Raises Unavailable."""
        async with self._refreshing:
            asked_s = time.monotonic()
            self.heard(await self.query(v1.Query(listings=v1.ListingsQuery())))
            self._heard_at_s = asked_s
            self.listed.set()

    async def command(self, command: v1.Command) -> v1.Reply:
        """The shard's one answer, which may be a rejection. Raises Unavailable."""
        try:
            reply = await self.session.command(command, COMMAND_TIMEOUT_S)
        except (EngineUnavailable, Busy) as error:
            raise no_reply(error) from error
        self.seq = max(self.seq, reply.seq)
        return reply

    async def query(self, query: v1.Query) -> v1.Answer:
        """The shard's answer, which may be `refused`. Raises Unavailable."""
        try:
            answer = await self.session.query(query, QUERY_TIMEOUT_S)
        except EngineUnavailable as error:
            _disconnected(error)
        except Busy as error:
            raise Unavailable(errors.BUSY, detail=str(error)) from error
        self.seq = max(self.seq, answer.seq)
        return answer

    async def ask(self, query: v1.Query) -> v1.Answer:
        """The shard's answer. Raises Refused where it refused, and Unavailable."""
        answer = await self.query(query)
        if answer.HasField("refused"):
            raise refusals.of_query(answer.refused)
        return answer

    async def account_safety(self, account: int) -> v1.AccountSafetyAnswer:
        """What the account's switches are. Raises Refused where it refused, and Unavailable."""
        return (await self.ask(v1.Query(account_safety=v1.AccountSafetyQuery(account=account)))).account_safety


def no_reply(error: Exception) -> Unavailable:
    """Only where it may have been carried out is the outcome said to be unknown."""
    return Unavailable(errors.BUSY if isinstance(error, NotTaken | Busy) else errors.TIMEOUT, detail=str(error))


def _disconnected(error: Exception) -> NoReturn:
    raise Unavailable(errors.DISCONNECTED, detail=str(error)) from error


def _nobody_asks(_: v1.Answer) -> None:
    pass
