"""An account's orders and prevented matches as the market data keep them: the gateway's side, over mutual TLS.

What an answer of the engine told through this gateway is in every answer here: the question names its seq. A symbol
that moved has its past in the shards where it was: all of them are asked, and their rows are one history.

While market data are away a question waits, for as long as the trader's signature is good: it changes nothing.
"""

import asyncio
import time
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from openbourse.contracts import v1
from openbourse.gateway import errors
from openbourse.gateway.calls import Call
from openbourse.gateway.errors import Unavailable
from openbourse.gateway.shards import Shard, Shards

M = TypeVar("M", bound=Message)

# Clients take ten seconds without an answer for none.
PATIENCE_S = 8.0


class AccountHistory:
    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def order(
        self, call: Call, symbol: str, order_id: int | None, client_order_id: str | None
    ) -> v1.OrderRecord | None:
        """None also where this gateway has no market data. Raises Unavailable."""
        named = {"client_order_id": client_order_id} if order_id is None else {"order_id": order_id}
        for shard in self._shards.shards_of(symbol):
            if shard.marketdata.is_there:
                found = await _ask(shard, call, "order", v1.OrderHistory, symbol=symbol, **named)
                if found.orders:
                    return found.orders[0]
        return None

    async def orders(
        self,
        call: Call,
        symbol: str,
        limit: int,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
    ) -> list[v1.OrderRecord]:
        """By order id: the first from an id or a time on, else the newest. Raises Unavailable."""
        wanted = {"from_id": from_id, "start_us": start_us, "end_us": end_us}
        parts = await self._of_each(call, "orders", v1.OrderHistory, symbol=symbol, limit=limit, **wanted)
        # An order that came along was open where the symbol was before.
        found = {record.order.order_id: record for part in reversed(parts) for record in part.orders}
        is_by_time = start_us is not None or end_us is not None
        ordered = sorted(
            found.values(),
            key=lambda record: (record.order.updated_at_us * is_by_time, record.order.order_id),
            reverse=from_id is None and start_us is None,
        )
        return sorted(ordered[:limit], key=lambda record: record.order.order_id)

    async def prevented(self, call: Call, symbol: str, limit: int, **wanted: int | None) -> list[v1.PreventedMatch]:
        """`prevented_match_id`, `order_id`, `from_id`. Raises Unavailable."""
        parts = await self._of_each(call, "prevented", v1.PreventedMatches, symbol=symbol, limit=limit, **wanted)
        found = [each for part in parts for each in part.matches]
        return sorted(found, key=lambda each: each.match.prevented_match_id)[:limit]

    async def _of_each(self, call: Call, what: str, kind: type[M], *, symbol: str, **wanted: object) -> list[M]:
        """Of where the symbol is, and then of where it was."""
        shards = self._shards.shards_of(symbol)
        return await asyncio.gather(*(_ask(shard, call, what, kind, symbol=symbol, **wanted) for shard in shards))


async def _ask(shard: Shard, call: Call, what: str, kind: type[M], **wanted: object) -> M:
    answer = await shard.marketdata.get(
        f"accounts/{what}",
        call.request_id,
        _patience_s(call),
        account=call.account,
        seq=shard.engine.seq,
        **wanted,
    )
    try:
        return kind.FromString(answer.content)
    except DecodeError as error:
        raise Unavailable(errors.DISCONNECTED, detail=f"the market data gave no {kind.__name__}") from error


def _patience_s(call: Call) -> float:
    if not call.good_until_us:
        return PATIENCE_S
    return min(PATIENCE_S, call.good_until_us / 1e6 - time.time())
