"""What gateways ask and hear of accounts, over mutual TLS: orders, prevented matches, updates. Nobody else may.

Answers are messages of `openbourse.v1`; each question is about one account and names a seq that its answer has heard.
"""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from google.protobuf.message import Message
from starlette.responses import StreamingResponse

from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.units import FIRST_TRADER
from openbourse.marketdata.errors import NotHere
from openbourse.marketdata.feed import Pace
from openbourse.marketdata.history import ROWS_MOST, OrdersWanted, PreventedWanted
from openbourse.marketdata.service import Service

LONG_MOST = 2**63 - 1
TIME_US_MOST = 10**17

Account = Annotated[int, Query(ge=FIRST_TRADER, le=LONG_MOST)]
Symbol = Annotated[str, Query(min_length=1, max_length=32)]
Limit = Annotated[int, Query(ge=1, le=ROWS_MOST)]
Number = Annotated[int | None, Query(ge=0, le=LONG_MOST)]
TimeUs = Annotated[int | None, Query(ge=0, le=TIME_US_MOST)]
Seq = Annotated[int, Query(ge=0, le=LONG_MOST)]
# Made by whoever reads a feed; see feed.py.
ReaderName = Annotated[str, Query(max_length=64)]


def _gateway(request: Request) -> None:
    component: Component = request.state.component
    if component is not Component.GATEWAY:
        raise HTTPException(403, f"{component} may not read accounts; {Component.GATEWAY} may")


def accounts_router(service: Service) -> APIRouter:
    router = APIRouter(dependencies=[Depends(_gateway)])
    history = service.history

    @router.get("/v1/accounts/orders")
    async def orders(
        *,
        account: Account,
        symbol: Symbol,
        limit: Limit,
        seq: Seq,
        from_id: Number = None,
        start_us: TimeUs = None,
        end_us: TimeUs = None,
    ) -> Response:
        await service.heard(seq)
        wanted = OrdersWanted(account, symbol, limit, from_id, start_us, end_us)
        return _answer(v1.OrderHistory(orders=await asyncio.to_thread(history.orders, wanted)))

    @router.get("/v1/accounts/order")
    async def order(
        *,
        account: Account,
        symbol: Symbol,
        seq: Seq,
        order_id: Number = None,
        client_order_id: Annotated[str, Query(max_length=36)] = "",
    ) -> Response:
        await service.heard(seq)
        found = await asyncio.to_thread(history.order, account, symbol, order_id, client_order_id)
        begins_seq = service.shard.begins_seq
        if found is None and order_id is not None and order_id < begins_seq:
            raise NotHere(f"order {order_id} is older than the history, which begins with seq {begins_seq}")
        return _answer(v1.OrderHistory(orders=[] if found is None else [found]))

    @router.get("/v1/accounts/prevented")
    async def prevented(
        *,
        account: Account,
        symbol: Symbol,
        limit: Limit,
        seq: Seq,
        prevented_match_id: Number = None,
        order_id: Number = None,
        from_id: Number = None,
    ) -> Response:
        await service.heard(seq)
        wanted = PreventedWanted(account, symbol, limit, prevented_match_id, order_id, from_id)
        return _answer(v1.PreventedMatches(matches=await asyncio.to_thread(history.prevented, wanted)))

    @router.get("/v1/accounts/feed")
    async def feed(reader: ReaderName = "", instead: ReaderName = "", at_once: Number = None) -> StreamingResponse:
        behind = {} if at_once is None else {Pace.AT_ONCE: at_once}
        told = service.account_feed.read(reader, instead, behind)
        return StreamingResponse(told, media_type="application/octet-stream")

    return router


def _answer(message: Message) -> Response:
    return Response(message.SerializeToString(), media_type="application/x-protobuf")
