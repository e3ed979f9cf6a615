"""The calls of the Binance wire about one account: balances, fees, counts, its orders and trades of all times.

Balances are the engines' answers, of all shards together; trades the ledgers', old orders and prevented matches the
market data's, of the shards where the symbol is and was.
"""

import asyncio

from openbourse.contracts import v1
from openbourse.contracts.units import format_units
from openbourse.gateway import errors, reports
from openbourse.gateway.account_history import AccountHistory
from openbourse.gateway.calls import SIGNED_PARAMETERS, Call, Endpoint, Endpoints, Security
from openbourse.gateway.errors import Invalid
from openbourse.gateway.ledger import TradesWanted, page
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.markets import PERMISSION, fee_text
from openbourse.gateway.parameters import SYMBOL, Parameters
from openbourse.gateway.shards import Shards

ROWS_DEFAULT = 500
ROWS_MOST = 1_000
DAY_MS = 86_400_000

_TIMES = frozenset({"startTime", "endTime"})


class AccountRest:
    """The handlers of one gateway. Each raises Refused for what it does not do."""

    def __init__(self, shards: Shards, history: AccountHistory, usage: Usage) -> None:
        self._shards = shards
        self._history = history
        self._usage = usage

    def endpoints(self) -> Endpoints:
        user_data = Security.USER_DATA
        symbol = frozenset({"symbol"})
        page = symbol | {"orderId", "limit"}
        calls = {
            "/api/v3/account": Endpoint(
                self.account, user_data, 20, frozenset({"omitZeroBalances"}), name="account.status"
            ),
            "/api/v3/account/commission": Endpoint(self.commission, user_data, 20, symbol, name="account.commission"),
            "/api/v3/rateLimit/order": Endpoint(self.order_counts, user_data, 40, name="account.rateLimits.orders"),
            "/api/v3/allOrders": Endpoint(self.all_orders, user_data, 20, page | _TIMES, name="allOrders"),
            "/api/v3/myTrades": Endpoint(
                self.my_trades,
                user_data,
                lambda sent: 5 if sent.optional("orderId") else 20,
                page | _TIMES | {"fromId"},
                name="myTrades",
            ),
            "/api/v3/myPreventedMatches": Endpoint(
                self.my_prevented_matches,
                user_data,
                lambda sent: 20 if sent.optional("orderId") else 2,
                page | {"preventedMatchId", "fromPreventedMatchId"},
                name="myPreventedMatches",
            ),
            "/sapi/v1/capital/config/getall": Endpoint(self.coins, user_data, 10),
            "/sapi/v1/asset/tradeFee": Endpoint(self.trade_fee, user_data, 1, symbol),
            # No margin: clients ask all the same before they do anything, one with a signature and the next without.
            "/sapi/v1/margin/allPairs": Endpoint(self.nothing, parameters=symbol | SIGNED_PARAMETERS),
            "/sapi/v1/margin/isolated/allPairs": Endpoint(self.nothing, parameters=symbol | SIGNED_PARAMETERS),
        }
        return {path: {"GET": endpoint} for path, endpoint in calls.items()}

    async def account(self, call: Call) -> object:
        markets = await self._shards.markets()
        balances = await self._shards.balances(call.account)
        safety = await self._shards.each(lambda engine: engine.account_safety(call.account))
        maker_ppm, taker_ppm = markets.highest_fees()
        omit_zero = call.parameters.flag("omitZeroBalances")
        zero = v1.Balance()
        rows: list[dict[str, object]] = []
        for asset, scale in markets.scales.items():
            balance = balances.get(asset, zero)
            if omit_zero and not (balance.available or balance.hold):
                continue
            rows.append(
                {
                    "asset": asset,
                    "free": format_units(balance.available, scale),
                    "locked": format_units(balance.hold, scale),
                }
            )
        return {
            # Hundredths of a percent, the highest of all symbols: each symbol has its own, see tradeFee.
            "makerCommission": maker_ppm // 100,
            "takerCommission": taker_ppm // 100,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": fee_text(maker_ppm),
                "taker": fee_text(taker_ppm),
                "buyer": fee_text(0),
                "seller": fee_text(0),
            },
            "canTrade": not any(each.killed for each in safety),
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            # The balances are the engines' at this moment.
            "updateTime": call.clock(call.now_us),
            "accountType": PERMISSION,
            "balances": rows,
            "permissions": [PERMISSION],
            "uid": call.account,
        }

    async def commission(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        return {"symbol": market.symbol, **reports.commission_as_json(market, more=("buyer", "seller"))}

    async def order_counts(self, call: Call) -> object:
        return await self._usage.orders_as_json(call.account, call.now_us)

    async def all_orders(self, call: Call) -> object:
        sent = call.parameters
        market = await self._shards.named_market(sent)
        start_ms, end_ms = _times_ms(sent)
        from_id = sent.optional_integer("orderId")
        records = await self._history.orders(
            call,
            market.symbol,
            sent.limit(ROWS_DEFAULT, ROWS_MOST),
            # As with Binance, times win.
            from_id=from_id if start_ms is None and end_ms is None else None,
            start_us=None if start_ms is None else start_ms * 1000,
            # The whole of the last millisecond.
            end_us=None if end_ms is None else end_ms * 1000 + 999,
        )
        return [
            reports.order_as_json(record.order, market, call.clock, record.prevented_match_id) for record in records
        ]

    async def my_prevented_matches(self, call: Call) -> object:
        sent = call.parameters
        market = await self._shards.named_market(sent)
        match_id, order_id = sent.optional_integer("preventedMatchId"), sent.optional_integer("orderId")
        from_id = sent.optional_integer("fromPreventedMatchId")
        if match_id is None and order_id is None:
            raise Invalid(errors.EITHER_MISSING, "preventedMatchId", "orderId")
        if match_id is not None and (order_id is not None or from_id is not None):
            raise Invalid(errors.BAD_COMBINATION)
        matches = await self._history.prevented(
            call,
            market.symbol,
            sent.limit(ROWS_DEFAULT, ROWS_MOST),
            prevented_match_id=match_id,
            order_id=order_id,
            from_id=from_id,
        )
        return [reports.prevented_as_json(prevented, market, call.clock) for prevented in matches]

    async def my_trades(self, call: Call) -> object:
        sent = call.parameters
        market = await self._shards.named_market(sent)
        start_ms, end_ms = _times_ms(sent)
        from_id = sent.optional_integer("fromId")
        order_id = sent.optional_integer("orderId")
        if (from_id is not None or order_id is not None) and (start_ms is not None or end_ms is not None):
            raise Invalid(errors.BAD_COMBINATION)
        limit = sent.limit(ROWS_DEFAULT, ROWS_MOST)
        wanted = TradesWanted(
            account=call.account,
            symbol=market.symbol,
            limit=limit,
            order_id=order_id,
            from_id=from_id,
            start_time_ms=start_ms,
            end_time_ms=end_ms,
        )
        shards = self._shards.shards_of(market.symbol)
        parts = await asyncio.gather(*(shard.ledger.trades(wanted, call.request_id) for shard in shards))
        return [trade.as_json(market, call.clock) for trade in page(parts, wanted)]

    async def coins(self, call: Call) -> object:
        markets = await self._shards.markets()
        return markets.coins_as_json(await self._shards.balances(call.account))

    async def trade_fee(self, call: Call) -> object:
        markets = await self._shards.markets()
        symbol = call.parameters.optional("symbol", SYMBOL)
        wanted = [markets.market(symbol)] if symbol is not None else list(markets.by_symbol.values())
        return [market.fee_as_json() for market in wanted]

    async def nothing(self, call: Call) -> object:
        return []


def _times_ms(sent: Parameters) -> tuple[int | None, int | None]:
    """Raises Invalid for more than a day."""
    start_ms, end_ms = sent.time_ms("startTime"), sent.time_ms("endTime")
    if start_ms is not None and end_ms is not None and end_ms - start_ms > DAY_MS:
        raise Invalid(errors.INTERVAL_TOO_LONG, 24)
    return start_ms, end_ms
