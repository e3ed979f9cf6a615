"""Keeps the engine's countdowns of guarded scopes, and sets them for the last time when connections are gone.

Nothing here cancels an order: when this process dies, the engine does what it would have asked for. What is told, and
when, `guards` decides.
"""

import asyncio
import logging
import time
from collections.abc import Collection

from openbourse.contracts import v1
from openbourse.gateway import errors, refusals
from openbourse.gateway.calls import new_id
from openbourse.gateway.errors import Refused, Unavailable
from openbourse.gateway.guards.guards import RENEW_EVERY_MS, SCOPES_MOST, Countdown, Guards, Scope, TooManyScopes
from openbourse.gateway.shards import Shards

log = logging.getLogger(__name__)


class Keeper:
    """`run` must be running for anything to be renewed, or told when a connection is gone."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._guards = Guards()
        self._tasks: asyncio.TaskGroup | None = None
        # Those whose renewal is on its way: the engine may be away for a while.
        self._renewing: set[Scope] = set()
        # The gateway ends connections itself, and their clients may come again elsewhere.
        self.stopping = False

    def __len__(self) -> int:
        """How many scopes are guarded."""
        return len(self._guards)

    def is_guarded(self, account: int, symbol: str) -> bool:
        return self._guards.is_guarded(Scope(account, symbol))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await asyncio.sleep(RENEW_EVERY_MS / 1000)
                for countdown in self._guards.renewals():
                    if countdown.scope not in self._renewing:
                        self._renewing.add(countdown.scope)
                        self._tasks.create_task(self._renew(countdown))

    async def guard(self, connection: object, account: int, symbols: Collection[str], grace_ms: int) -> None:
        """The engine has it when this returns. Raises Unavailable: then it is guarded as soon as the engine has it."""
        try:
            countdowns = self._guards.guard(connection, account, symbols, grace_ms)
        except TooManyScopes:
            raise Unavailable(errors.BUSY, detail=f"{SCOPES_MOST} scopes are guarded in this gateway") from None
        await asyncio.gather(*(self._set(countdown) for countdown in countdowns))

    def leave(self, connection: object) -> None:
        """The connection is gone."""
        countdowns = self._guards.leave(connection)
        if self._tasks is None or self.stopping:
            # What runs in the engine is not renewed any more.
            return
        for countdown in countdowns:
            self._tasks.create_task(self._tell(countdown))

    async def _renew(self, countdown: Countdown) -> None:
        try:
            # By now it may be nobody's any more, and its last word said.
            if self._guards.is_guarded(countdown.scope):
                await self._tell(countdown)
        finally:
            self._renewing.discard(countdown.scope)

    async def _tell(self, countdown: Countdown) -> None:
        """What does not reach the engine is no loss: the countdown that it has runs out."""
        try:
            await self._set(countdown)
        except Refused as refusal:
            log.warning("countdown of %s: %s", countdown.scope, refusal.detail or refusal.message)

    async def _set(self, countdown: Countdown) -> None:
        """Of all symbols, in every shard: one that is away has it with the next renewal. Raises Refused."""
        scope, command_id = countdown.scope, new_id(time.time_ns() // 1000)
        command = v1.Command(
            command_id=command_id,
            correlation_id=command_id.hex(),
            causation_id="cancel-on-disconnect",
            set_countdown=v1.SetCountdown(
                account=scope.account, symbol=scope.symbol, countdown_ms=countdown.countdown_ms, guard=True
            ),
        )
        if scope.symbol:
            replies = [await self._shards.command(scope.symbol, command)]
        else:
            replies = await self._shards.each(lambda engine: engine.command(command))
        for reply in replies:
            if reply.HasField("rejection"):
                raise refusals.of_switch(reply.rejection)
