"""One order that meets thousands of others goes through every part in one piece."""

import asyncio

import httpx
import pytest

from fixtures.commands import buy, sell
from fixtures.exchanges import Exchange
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.tls import client_context

pytestmark = pytest.mark.server

# Its events are more than 8 MiB, its reply more than half of one.
RESTING = 20_000
PRICE = 5_000_000
ASK_TIMEOUT_S = 30.0


async def test_an_order_that_sweeps_twenty_thousand_others_is_settled(exchange: Exchange) -> None:
    # None has more than 10,000 orders open.
    makers = [exchange.funded({"BTC": "10"}).account for _ in range(RESTING // 10_000)]
    taker = exchange.funded({"USDT": "1000000"}).account
    async with exchange.engine.session(Component.GATEWAY) as gateway:
        # An EngineSession takes 10,000 unanswered requests at the most.
        for part in range(0, RESTING, 5_000):
            replies = await asyncio.gather(
                *(gateway.command(sell(PRICE + part, 1, makers[part // 10_000]), ASK_TIMEOUT_S) for _ in range(5_000))
            )
            assert {reply.WhichOneof("result") for reply in replies} == {"order"}
        swept = await gateway.command(buy(PRICE + RESTING, RESTING, taker), ASK_TIMEOUT_S)
        assert swept.order.order.status == v1.OrderStatus.ORDER_STATUS_FILLED
        assert len(swept.order.fills) == RESTING
    tls = client_context(exchange.tls_material[Component.CLI])
    async with httpx.AsyncClient(base_url=exchange.ledger_url, verify=tls, timeout=60) as ledger:
        reconciled = (await ledger.post("/v1/reconcile")).raise_for_status().json()
        assert reconciled["equal"] is True, reconciled
        assert reconciled["seq"] >= swept.seq
