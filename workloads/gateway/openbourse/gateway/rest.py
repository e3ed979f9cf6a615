"""What each call of the Binance wire does: `/api/v3`, and the few wallet and futures calls that clients make at start.

What is about orders is in `trading`, about the market in `market_rest`, about an account in `account_rest`.
"""

from openbourse.contracts import v1
from openbourse.gateway import errors, filters, reports
from openbourse.gateway.account_history import AccountHistory
from openbourse.gateway.account_rest import AccountRest
from openbourse.gateway.calls import Call, Endpoint, Endpoints
from openbourse.gateway.countdown_calls import CountdownCalls
from openbourse.gateway.errors import Invalid
from openbourse.gateway.guards.keeper import Keeper
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.market_rest import MarketRest
from openbourse.gateway.parameters import SYMBOL, Parameters
from openbourse.gateway.shards import Shards
from openbourse.gateway.trading import Trading

DEPTH_DEFAULT = 100
DEPTH_MOST = 5_000


class Rest:
    """The handlers of one gateway. Each raises Refused for what it does not do."""

    def __init__(self, shards: Shards, usage: Usage, guards: Keeper) -> None:
        self._shards = shards
        self._usage = usage
        history = AccountHistory(shards)
        self._parts = (
            Trading(shards, history, usage),
            CountdownCalls(shards, guards),
            MarketRest(shards),
            AccountRest(shards, history, usage),
        )

    def endpoints(self) -> Endpoints:
        """All that there are."""
        several = frozenset({"symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"})
        depth = frozenset({"symbol", "limit", "symbolStatus"})
        calls = {
            "/api/v3/depth": Endpoint(self.depth, weight=_depth_weight, parameters=depth, name="depth"),
            "/api/v3/ping": Endpoint(self.ping, name="ping"),
            "/api/v3/time": Endpoint(self.time, name="time"),
            "/api/v3/exchangeInfo": Endpoint(self.exchange_info, weight=20, parameters=several, name="exchangeInfo"),
            "/sapi/v1/system/status": Endpoint(self.system_status),
            # No futures: clients ask all the same before they do anything.
            "/fapi/v1/exchangeInfo": Endpoint(self.no_contracts),
            "/dapi/v1/exchangeInfo": Endpoint(self.no_contracts),
        }
        endpoints: Endpoints = {path: {"GET": endpoint} for path, endpoint in calls.items()}
        for part in self._parts:
            endpoints |= part.endpoints()
        return endpoints

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
        markets = await self._shards.markets(fresh=True)
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
        market = await self._shards.named_market(call.parameters)
        limit = _depth_limit(call.parameters)
        wanted_status = call.parameters.optional("symbolStatus")
        if wanted_status is not None:
            market = (await self._shards.markets(fresh=True)).market(market.symbol)
            if wanted_status != market.status:
                raise Invalid(errors.STATUS_MISMATCH)
        answer = await self._shards.ask(market.symbol, v1.Query(depth=v1.DepthQuery(symbol=market.symbol, limit=limit)))
        return reports.depth_as_json(answer.depth, market)

    async def system_status(self, call: Call) -> object:
        normal = any(engine.is_connected for engine in self._shards.engines)
        return {"status": 0, "msg": "normal"} if normal else {"status": 1, "msg": "system_maintenance"}

    async def no_contracts(self, call: Call) -> object:
        return {
            "timezone": "UTC",
            "serverTime": call.clock(call.now_us),
            "rateLimits": [],
            "exchangeFilters": [],
            "assets": [],
            "symbols": [],
        }


def _depth_limit(sent: Parameters) -> int:
    return sent.limit(DEPTH_DEFAULT, DEPTH_MOST)


def _depth_weight(sent: Parameters) -> int:
    limit = _depth_limit(sent)
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (DEPTH_MOST, 250)) if limit <= most)
