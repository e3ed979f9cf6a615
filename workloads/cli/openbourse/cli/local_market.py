"""`openbourse local --market`: two accounts that quote and trade, so that the exchange looks alive.

What they do is `demo_market`'s, from a fixed seed; here it is sent to the gateway as any trader would send it, a few
orders a second, until the exchange stops. A gateway or a market that does not take orders is waited for.
"""

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import httpx

from openbourse.cli.demo_market import Quote, Shape, Side, Walk
from openbourse.gateway.keys import Key

MARKET_ACCOUNTS = {1003: "maker", 1004: "taker"}
MARKET_FUNDS = {"BTC": "1000", "ETH": "20000", "USDT": "100000000"}
SEED = 20_260_101
EVERY_S = 0.25
RETRY_S = 1.0
TIMEOUT_S = 15.0
UNKNOWN_ORDER = -2011
WOULD_TAKE = -2010

SHAPES = (
    Shape("BTCUSDT", "0.01", "0.00001", first_ticks=6_425_000, gap_ticks=310, typical_lots=9_000),
    Shape("ETHUSDT", "0.01", "0.0001", first_ticks=318_500, gap_ticks=21, typical_lots=14_000),
)


class NotTaken(Exception):
    """The gateway said no, and why."""

    def __init__(self, code: int, said: str) -> None:
        self.code = code
        super().__init__(said)


@dataclass(slots=True)
class _Trader:
    http: httpx.AsyncClient
    key: Key

    async def call(self, method: str, path: str, parameters: Mapping[str, str]) -> Any:
        """Raises NotTaken and httpx.TransportError."""
        query = urlencode({**parameters, "timestamp": str(time.time_ns() // 1_000_000)})
        signature = hmac.digest(self.key.secret.encode(), query.encode(), "sha256").hex()
        answer = await self.http.request(
            method, f"/api/v3/{path}?{query}&signature={signature}", headers={"X-MBX-APIKEY": self.key.api_key}
        )
        body = answer.json()
        if not answer.is_success:
            raise NotTaken(body["code"], answer.text)
        return body


@dataclass(slots=True)
class _Market:
    """One market of the two accounts."""

    shape: Shape
    maker: _Trader
    taker: _Trader
    walk: Walk

    async def run(self) -> None:
        """Until cancelled."""
        begun = False
        while True:
            try:
                if not begun:
                    await self._begin()
                    begun = True
                await self._step()
            except (httpx.TransportError, NotTaken):
                begun = False
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(EVERY_S)

    async def _begin(self) -> None:
        symbol = {"symbol": self.shape.symbol}
        try:
            await self.maker.call("DELETE", "openOrders", symbol)
        except NotTaken as refusal:
            if refusal.code != UNKNOWN_ORDER:
                raise
        last = (await self.maker.http.get("/api/v3/ticker/price", params=symbol)).json()
        ticks = int(Decimal(last.get("price", "0")) / Decimal(self.shape.tick_size))
        if ticks:
            self.walk.begin(ticks)

    async def _step(self) -> None:
        step = self.walk.step(await self._open_orders())
        for order_id in step.cancels:
            try:
                await self.maker.call("DELETE", "order", {"symbol": self.shape.symbol, "orderId": str(order_id)})
            except NotTaken as refusal:
                # It traded meanwhile.
                if refusal.code != UNKNOWN_ORDER:
                    raise
        for quote in step.places:
            try:
                await self.maker.call("POST", "order", {**self._terms(quote), "type": "LIMIT_MAKER"})
            except NotTaken as refusal:
                # It would trade with what is yet to go.
                if refusal.code != WOULD_TAKE:
                    raise
        for quote in step.takes:
            await self.taker.call("POST", "order", {**self._terms(quote), "type": "LIMIT", "timeInForce": "IOC"})

    async def _open_orders(self) -> dict[int, Quote]:
        rows = await self.maker.call("GET", "openOrders", {"symbol": self.shape.symbol})
        return {
            row["orderId"]: Quote(
                Side(row["side"]),
                int(Decimal(row["price"]) / Decimal(self.shape.tick_size)),
                int((Decimal(row["origQty"]) - Decimal(row["executedQty"])) / Decimal(self.shape.lot_size)),
            )
            for row in rows
        }

    def _terms(self, quote: Quote) -> dict[str, str]:
        return {
            "symbol": self.shape.symbol,
            "side": quote.side,
            "price": str(quote.ticks * Decimal(self.shape.tick_size)),
            "quantity": str(quote.lots * Decimal(self.shape.lot_size)),
        }


async def run(url: str, maker: Key, taker: Key) -> None:
    """Makes both markets of a new folder's listing, until cancelled."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http,
        asyncio.TaskGroup() as markets,
    ):
        for number, shape in enumerate(SHAPES):
            market = _Market(shape, _Trader(http, maker), _Trader(http, taker), Walk(shape, SEED + number))
            markets.create_task(market.run())
