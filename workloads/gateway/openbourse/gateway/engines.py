"""The gateway's side of a shard: commands that are answered once, queries, and what is listed.

A command waits through reconnects and failovers of the engine; EngineSession sends it again with the same id. What
this module adds is Binance's words for "no answer", the time that a trader waits, and a fresh copy of the listings.
"""

import asyncio
import logging
import time
from typing import NoReturn

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession, NotTaken
from openbourse.contracts.session import Unavailable as EngineUnavailable
from openbourse.gateway import errors, refusals
from openbourse.gateway.errors import Unavailable
from openbourse.gateway.markets import Market, Markets
from openbourse.gateway.parameters import SYMBOL, Parameters

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 10.0
QUERY_TIMEOUT_S = 2.0
REFRESH_EVERY_S = 1.0
# Older listings still turn words into ticks (these never change), but no longer say what state a symbol is in.
FRESH_S = 3.0


class Engine:
    """One shard. `run` must be running for anything to be answered."""

    def __init__(self, session: EngineSession) -> None:
        self.session = session
        self._markets: Markets | None = None
        self._markets_at_s = 0.0
        self._refreshing = asyncio.Lock()
        self.listed = asyncio.Event()
        # The newest state that an answer of the shard was of.
        self.seq = 0

    async def run(self) -> None:
        """Keeps the connection and the listings, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.session.run())
            tasks.create_task(self._keep_listings())

    async def _keep_listings(self) -> None:
        while True:
            await self.session.connected.wait()
            try:
                await self._refresh()
            except Unavailable as error:
                log.warning("listings of shard %s: %s", self.session.shard, error.detail or error)
            await asyncio.sleep(REFRESH_EVERY_S)

    async def _refresh(self) -> None:
        async with self._refreshing:
            asked_s = time.monotonic()
            answer = await self.query(v1.Query(listings=v1.ListingsQuery()))
            self._markets = Markets.of(answer.listings)
            self._markets_at_s = asked_s
            self.listed.set()

    async def markets(self, *, fresh: bool = False) -> Markets:
        """What is listed; `fresh`: with states not older than FRESH_S. Raises Unavailable."""
        too_old = fresh and time.monotonic() - self._markets_at_s > FRESH_S
        if self._markets is None or too_old:
            await self._refresh()
        assert self._markets is not None
        return self._markets

    async def newest_markets(self) -> Markets:
        """What is listed now. Raises Unavailable."""
        await self._refresh()
        return await self.markets()

    async def market(self, symbol: str) -> Market:
        """Raises Invalid for a symbol that is not listed, and Unavailable."""
        markets = await self.markets()
        if symbol not in markets.by_symbol and time.monotonic() - self._markets_at_s > REFRESH_EVERY_S / 4:
            # Perhaps it was listed just now. Not asked more often than this, whatever nonsense is sent.
            await self._refresh()
            markets = await self.markets()
        return markets.market(symbol)

    async def named_market(self, sent: Parameters) -> Market:
        """The one that a request's `symbol` names. Raises Invalid and Unavailable."""
        return await self.market(sent.mandatory("symbol", SYMBOL))

    async def command(self, command: v1.Command) -> v1.Reply:
        """The shard's one answer, which may be a rejection. Raises Unavailable."""
        try:
            reply = await self.session.command(command, COMMAND_TIMEOUT_S)
        except NotTaken as error:
            raise Unavailable(errors.BUSY, detail=str(error)) from error
        except EngineUnavailable as error:
            raise Unavailable(errors.TIMEOUT, detail=str(error)) from error
        except Busy as error:
            raise Unavailable(errors.BUSY, detail=str(error)) from error
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


def _disconnected(error: Exception) -> NoReturn:
    raise Unavailable(errors.DISCONNECTED, detail=str(error)) from error
