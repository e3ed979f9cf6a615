"""What each call of the Binance wire does: `/api/v3`, and the few wallet and futures calls that clients make at start.

Depth, account and orders are the engine's answers, an account's trades the ledger's. What is about orders is in
`trading`, what is about the market in `market_rest`.
"""

from openbourse.contracts import v1
from openbourse.contracts.units import format_units
from openbourse.gateway import errors, filters, refusals, reports
from openbourse.gateway.engines import Engine
from openbourse.gateway.errors import Invalid
from openbourse.gateway.ledger import Ledger, TradesWanted
from openbourse.gateway.limits import Usage
from openbourse.gateway.market_rest import MarketRest
from openbourse.gateway.marketdata import MarketData
from openbourse.gateway.markets import PERMISSION, Market, fee_text
from openbourse.gateway.parameters import SYMBOL, Parameters
from openbourse.gateway.signatures import MICROSECONDS_FROM
from openbourse.gateway.trading import Trading
from openbourse.gateway.wire import Call, Endpoint, Security

DEPTH_DEFAULT = 100
DEPTH_MOST = 5_000
TRADES_DEFAULT = 500
TRADES_MOST = 1_000
DAY_MS = 86_400_000


class Rest:
    """The handlers of one shard's gateway. Each raises Refused for what it does not do."""

    def __init__(self, engine: Engine, ledger: Ledger, marketdata: MarketData, usage: Usage) -> None:
        self._engine = engine
        self._ledger = ledger
        self._usage = usage
        self._trading = Trading(engine, usage)
        self._market_rest = MarketRest(engine, marketdata)

    def endpoints(self) -> dict[str, dict[str, Endpoint]]:
        """By path, then method."""
        signed = Security.SIGNED
        return {
            **self._trading.endpoints(),
            **self._market_rest.endpoints(),
            "/api/v3/account": {"GET": Endpoint(self.account, signed, 20, frozenset({"omitZeroBalances"}))},
            "/api/v3/myTrades": {
                "GET": Endpoint(
                    self.my_trades,
                    signed,
                    lambda sent: 5 if sent.optional("orderId") else 20,
                    frozenset({"symbol", "orderId", "startTime", "endTime", "fromId", "limit"}),
                )
            },
            "/api/v3/depth": {
                "GET": Endpoint(
                    self.depth, weight=_depth_weight, parameters=frozenset({"symbol", "limit", "symbolStatus"})
                )
            },
            "/api/v3/ping": {"GET": Endpoint(self.ping)},
            "/api/v3/time": {"GET": Endpoint(self.time)},
            "/api/v3/exchangeInfo": {
                "GET": Endpoint(
                    self.exchange_info,
                    weight=20,
                    parameters=frozenset({"symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"}),
                )
            },
            "/sapi/v1/system/status": {"GET": Endpoint(self.system_status)},
            "/sapi/v1/capital/config/getall": {"GET": Endpoint(self.coins, signed, 10)},
            "/sapi/v1/asset/tradeFee": {"GET": Endpoint(self.trade_fee, signed, 1, frozenset({"symbol"}))},
            # No margin, no futures: clients ask all the same before they do anything.
            "/sapi/v1/margin/allPairs": {"GET": Endpoint(self.nothing, signed)},
            "/sapi/v1/margin/isolated/allPairs": {"GET": Endpoint(self.nothing, signed)},
            "/fapi/v1/exchangeInfo": {"GET": Endpoint(self.no_contracts)},
            "/dapi/v1/exchangeInfo": {"GET": Endpoint(self.no_contracts)},
        }

    async def ping(self, call: Call) -> object:
        return {}

    async def time(self, call: Call) -> object:
        return {"serverTime": call.clock(call.now_us)}

    async def exchange_info(self, call: Call) -> object:
        sent = call.parameters
        symbols = sent.names("symbols")
        symbol = sent.optional("symbol", SYMBOL)
        if symbol is not None:
            if symbols is not None:
                raise Invalid(errors.BAD_COMBINATION)
            symbols = [symbol]
        markets = await self._engine.markets(fresh=True)
        selected = markets.selected(symbols, sent.names("permissions"), sent.optional("symbolStatus"))
        permission_sets = sent.flag("showPermissionSets", default=True)
        return {
            "timezone": "UTC",
            "serverTime": call.clock(call.now_us),
            "rateLimits": self._usage.limits.as_json(),
            "exchangeFilters": filters.of_the_exchange(),
            "symbols": [market.as_json(permission_sets=permission_sets) for market in selected],
        }

    async def depth(self, call: Call) -> object:
        market = await self._market(call.parameters)
        limit = _depth_limit(call.parameters)
        wanted_status = call.parameters.optional("symbolStatus")
        if wanted_status is not None:
            market = (await self._engine.markets(fresh=True)).market(market.symbol)
            if wanted_status != market.status:
                raise Invalid(errors.STATUS_MISMATCH)
        answer = await self._ask(v1.Query(depth=v1.DepthQuery(symbol=market.symbol, limit=limit)))
        return reports.depth_as_json(answer.depth, market)

    async def account(self, call: Call) -> object:
        markets = await self._engine.markets()
        balances = await self._balances(call.account)
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
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            # The balances are the engine's at this moment.
            "updateTime": call.clock(call.now_us),
            "accountType": PERMISSION,
            "balances": rows,
            "permissions": [PERMISSION],
            "uid": call.account,
        }

    async def my_trades(self, call: Call) -> object:
        sent = call.parameters
        market = await self._market(sent)
        start_ms, end_ms = _time_ms(sent, "startTime"), _time_ms(sent, "endTime")
        from_id = sent.optional_integer("fromId")
        order_id = sent.optional_integer("orderId")
        if (from_id is not None or order_id is not None) and (start_ms is not None or end_ms is not None):
            raise Invalid(errors.BAD_COMBINATION)
        if start_ms is not None and end_ms is not None and end_ms - start_ms > DAY_MS:
            raise Invalid(errors.INTERVAL_TOO_LONG, 24)
        limit = _limit(sent, TRADES_DEFAULT, TRADES_MOST)
        trades = await self._ledger.trades(
            TradesWanted(
                account=call.account,
                symbol=market.symbol,
                limit=limit,
                order_id=order_id,
                from_id=from_id,
                start_time_ms=start_ms,
                end_time_ms=end_ms,
            ),
            call.request_id,
        )
        return [trade.as_json(market, call.clock) for trade in trades]

    async def system_status(self, call: Call) -> object:
        normal = self._engine.session.connected.is_set()
        return {"status": 0, "msg": "normal"} if normal else {"status": 1, "msg": "system_maintenance"}

    async def coins(self, call: Call) -> object:
        markets = await self._engine.markets()
        return markets.coins_as_json(await self._balances(call.account))

    async def trade_fee(self, call: Call) -> object:
        markets = await self._engine.markets()
        symbol = call.parameters.optional("symbol", SYMBOL)
        wanted = [markets.market(symbol)] if symbol is not None else list(markets.by_symbol.values())
        return [market.fee_as_json() for market in wanted]

    async def nothing(self, call: Call) -> object:
        return []

    async def no_contracts(self, call: Call) -> object:
        return {
            "timezone": "UTC",
            "serverTime": call.clock(call.now_us),
            "rateLimits": [],
            "exchangeFilters": [],
            "assets": [],
            "symbols": [],
        }

    async def _market(self, sent: Parameters) -> Market:
        return await self._engine.market(sent.mandatory("symbol", SYMBOL))

    async def _balances(self, account: int) -> dict[str, v1.Balance]:
        answer = await self._ask(v1.Query(account=v1.AccountQuery(account=account)))
        return {balance.asset: balance for balance in answer.balances.balances}

    async def _ask(self, query: v1.Query) -> v1.Answer:
        answer = await self._engine.query(query)
        if answer.HasField("refused"):
            raise refusals.of_query(answer.refused)
        return answer


def _limit(sent: Parameters, default: int, most: int) -> int:
    """As Binance does, more than the most is the most; less than 1 is a mistake."""
    limit = sent.optional_integer("limit")
    if limit is None:
        return default
    if limit < 1:
        raise Invalid(errors.BAD_VALUE, "limit", detail=f"limit is 1 to {most}")
    return min(limit, most)


def _depth_limit(sent: Parameters) -> int:
    return _limit(sent, DEPTH_DEFAULT, DEPTH_MOST)


def _depth_weight(sent: Parameters) -> int:
    limit = _depth_limit(sent)
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (DEPTH_MOST, 250)) if limit <= most)


def _time_ms(sent: Parameters, name: str) -> int | None:
    """Milliseconds from milliseconds or microseconds, told apart by their size."""
    time = sent.optional_integer(name)
    return time // 1000 if time is not None and time >= MICROSECONDS_FROM else time
