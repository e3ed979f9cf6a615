"""The call with which a trader says: cancel my orders of this symbol unless you hear from me again in so long.

The deadline is the engine's and stands in its log, so it comes whatever becomes of this gateway or of the engine that
leads. Nothing here keeps a time.
"""

from openbourse.contracts import v1
from openbourse.gateway import errors, refusals
from openbourse.gateway.calls import Call, Endpoint, Endpoints, Security
from openbourse.gateway.errors import Invalid
from openbourse.gateway.guards.keeper import Keeper
from openbourse.gateway.shards import Shards

# What the kernel takes.
COUNTDOWN_MS_MOST = 86_400_000


class CountdownCalls:
    """The handlers of one gateway. Each raises Refused for what it does not do."""

    def __init__(self, shards: Shards, guards: Keeper) -> None:
        self._shards = shards
        self._guards = guards

    def endpoints(self) -> Endpoints:
        named = frozenset({"symbol", "countdownTime"})
        return {
            "/api/v3/countdownCancelAll": {
                "POST": Endpoint(self.set_countdown, Security.TRADE, 10, named, name="countdownCancelAll")
            }
        }

    async def set_countdown(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        countdown_ms = call.parameters.optional_integer("countdownTime", COUNTDOWN_MS_MOST)
        if countdown_ms is None:
            raise Invalid(errors.MANDATORY_MISSING, "countdownTime")
        if self._guards.is_guarded(call.account, market.symbol):
            # It would be set anew all the time.
            raise Invalid(
                errors.REJECTED,
                detail=f"a connection guards {market.symbol}: its orders go with it, see session.cancelOnDisconnect",
            )
        command = call.command()
        command.set_countdown.CopyFrom(
            v1.SetCountdown(account=call.account, symbol=market.symbol, countdown_ms=countdown_ms)
        )
        reply = await self._shards.command(market.symbol, command)
        if reply.HasField("rejection"):
            raise refusals.of_switch(reply.rejection)
        answer: dict[str, object] = {"symbol": market.symbol, "countdownTime": str(countdown_ms)}
        if countdown_ms:
            # By the exchange's time, which began to count when the command was stamped.
            answer["cancelTime"] = call.clock(reply.occurred_at_us + countdown_ms * 1000)
        return answer
