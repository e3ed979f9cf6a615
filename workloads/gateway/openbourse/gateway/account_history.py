"""An account's orders and prevented matches as the market data keep them: the gateway's side, over mutual TLS.

What an answer of the engine told through this gateway is in every answer here: the question names its seq.
"""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from openbourse.contracts import v1
from openbourse.gateway import errors
from openbourse.gateway.calls import Call
from openbourse.gateway.engines import Engine
from openbourse.gateway.errors import Unavailable
from openbourse.gateway.marketdata import MarketData

M = TypeVar("M", bound=Message)


class AccountHistory:
    def __init__(self, engine: Engine, marketdata: MarketData) -> None:
        self._engine = engine
        self._marketdata = marketdata

    async def order(
        self, call: Call, symbol: str, order_id: int | None, client_order_id: str | None
    ) -> v1.OrderRecord | None:
        """None also where this gateway has no market data. Raises Unavailable."""
        if not self._marketdata.is_there:
            return None
        named = {"client_order_id": client_order_id} if order_id is None else {"order_id": order_id}
        found = await self._ask(call, "order", v1.OrderHistory, symbol=symbol, **named)
        return found.orders[0] if found.orders else None

    async def orders(self, call: Call, symbol: str, limit: int, **wanted: int | None) -> list[v1.OrderRecord]:
        """`from_id`, `start_us`, `end_us`. Raises Unavailable."""
        found = await self._ask(call, "orders", v1.OrderHistory, symbol=symbol, limit=limit, **wanted)
        return list(found.orders)

    async def prevented(self, call: Call, symbol: str, limit: int, **wanted: int | None) -> list[v1.PreventedMatch]:
        """`prevented_match_id`, `order_id`, `from_id`. Raises Unavailable."""
        found = await self._ask(call, "prevented", v1.PreventedMatches, symbol=symbol, limit=limit, **wanted)
        return list(found.matches)

    async def _ask(self, call: Call, what: str, kind: type[M], **wanted: object) -> M:
        answer = await self._marketdata.get(
            f"accounts/{what}", call.request_id, account=call.account, seq=self._engine.seq, **wanted
        )
        try:
            return kind.FromString(answer.content)
        except DecodeError as error:
            raise Unavailable(errors.DISCONNECTED, detail=f"the market data gave no {kind.__name__}") from error
