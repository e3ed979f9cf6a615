"""Trades of an account, from the ledger, over mutual TLS. The ledger's integers in, rows in Binance's words out."""

import ssl
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import httpx
from pydantic import BaseModel, ValidationError

from openbourse.contracts.units import format_units
from openbourse.gateway import errors
from openbourse.gateway.errors import Unavailable
from openbourse.gateway.markets import Market
from openbourse.gateway.renewed_pool import RenewedPool
from openbourse.gateway.reports import Clock

TIMEOUT_S = 5.0
CONNECTIONS_MOST = 20


@dataclass(frozen=True, slots=True)
class TradesWanted:
    """Without from_id and start_time_ms: the latest ones."""

    account: int
    symbol: str
    limit: int
    order_id: int | None = None
    from_id: int | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None

    def as_query(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items() if value is not None}


class Trade(BaseModel):
    """One side of a trade, as `GET /v1/trades` gives it."""

    trade_id: int
    order_id: int
    symbol: str
    price_ticks: int
    quantity_lots: int
    quote_units: int
    fee_units: int
    fee_asset: str
    is_buyer: bool
    is_maker: bool
    time_us: int

    def as_json(self, market: Market, clock: Clock) -> dict[str, object]:
        return {
            "symbol": self.symbol,
            "id": self.trade_id,
            "orderId": self.order_id,
            "orderListId": -1,
            "price": market.units.format_price(self.price_ticks),
            "qty": market.units.format_quantity(self.quantity_lots),
            "quoteQty": format_units(self.quote_units, market.units.quote_scale),
            "commission": format_units(self.fee_units, market.scale(self.fee_asset)),
            "commissionAsset": self.fee_asset,
            "time": clock(self.time_us),
            "isBuyer": self.is_buyer,
            "isMaker": self.is_maker,
            "isBestMatch": True,
        }


def page(parts: Iterable[Iterable[Trade]], wanted: TradesWanted) -> list[Trade]:
    """Of what several shards answered, of a symbol that moved: its trade ids go on from shard to shard."""
    trades = sorted((trade for part in parts for trade in part), key=lambda trade: (trade.trade_id, trade.is_maker))
    is_newest = wanted.from_id is None and wanted.start_time_ms is None
    return trades[-wanted.limit :] if is_newest else trades[: wanted.limit]


class _Answer(BaseModel):
    trades: list[Trade]


class Ledger:
    """The ledger's HTTP API, and nothing of it but what traders may read."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            transport=RenewedPool(tls, CONNECTIONS_MOST),
            timeout=TIMEOUT_S,
        )

    async def trades(self, wanted: TradesWanted, request_id: str) -> list[Trade]:
        """Oldest first. Raises Unavailable."""
        try:
            answer = await self._http.get("/v1/trades", params=wanted.as_query(), headers={"X-Request-Id": request_id})
            answer.raise_for_status()
            return _Answer.model_validate_json(answer.content).trades
        except (httpx.HTTPError, ValidationError) as error:
            detail = f"the ledger did not give the trades: {type(error).__name__}"
            raise Unavailable(errors.DISCONNECTED, detail=detail) from error

    async def close(self) -> None:
        await self._http.aclose()
