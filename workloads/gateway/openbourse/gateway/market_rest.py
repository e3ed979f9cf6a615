"""The calls of the Binance wire about the market: trades, candles, averages, tickers. They need no key.

What a trader sends is checked here, in Binance's order and words; the numbers are the market data's.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from openbourse.gateway import errors, past
from openbourse.gateway.calls import Call, Endpoint, Endpoints
from openbourse.gateway.errors import Invalid
from openbourse.gateway.marketdata import NotKnown
from openbourse.gateway.parameters import SYMBOL, Parameters
from openbourse.gateway.shards import Shard, Shards

ROWS_DEFAULT = 500
ROWS_MOST = 1_000
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
# Of the calls that weigh each symbol.
SYMBOLS_MOST = 100
MINUTE_MS = 60_000
_WINDOW_UNITS_MS = {"m": (MINUTE_MS, 59), "h": (60 * MINUTE_MS, 23), "d": (1440 * MINUTE_MS, 7)}
_WINDOW = re.compile(r"([0-9]{1,2})([mhd])")
_ZONE = re.compile(r"([+-]?)([0-9]{1,2})(?::([0-9]{2}))?")

_SEVERAL = frozenset({"symbol", "symbols", "symbolStatus"})
_TIMES = frozenset({"startTime", "endTime"})


class MarketRest:
    """The handlers of one gateway. Each raises Refused for what it does not do."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def endpoints(self) -> Endpoints:
        candles = frozenset({"symbol", "interval", "timeZone", "limit"}) | _TIMES
        rows = frozenset({"symbol", "limit"})
        each_symbol = _SEVERAL | {"type"}
        of_each = {
            "24hr": Endpoint(self.day, weight=_day_weight, parameters=each_symbol, name="ticker.24hr"),
            "tradingDay": Endpoint(
                self.trading_day,
                weight=_weight_of_each,
                parameters=each_symbol | {"timeZone"},
                name="ticker.tradingDay",
            ),
            "price": Endpoint(self.price, weight=_light_weight, parameters=_SEVERAL, name="ticker.price"),
            "bookTicker": Endpoint(self.best, weight=_light_weight, parameters=_SEVERAL, name="ticker.book"),
        }
        window = Endpoint(self.window, weight=_weight_of_each, parameters=each_symbol | {"windowSize"}, name="ticker")
        calls = {
            "trades": Endpoint(self.trades, weight=25, parameters=rows, name="trades.recent"),
            "historicalTrades": Endpoint(
                self.trades, weight=25, parameters=rows | {"fromId"}, name="trades.historical"
            ),
            "aggTrades": Endpoint(
                self.aggregate_trades, weight=4, parameters=rows | {"fromId"} | _TIMES, name="trades.aggregate"
            ),
            "klines": Endpoint(self.candles, weight=2, parameters=candles, name="klines"),
            "uiKlines": Endpoint(self.candles, weight=2, parameters=candles, name="uiKlines"),
            "avgPrice": Endpoint(self.average_price, weight=2, parameters=frozenset({"symbol"}), name="avgPrice"),
            "ticker": window,
            **{f"ticker/{which}": endpoint for which, endpoint in of_each.items()},
        }
        return {f"/api/v3/{path}": {"GET": endpoint} for path, endpoint in calls.items()}

    async def trades(self, call: Call) -> object:
        symbol = await self._symbol(call.parameters)
        from_id, limit = call.parameters.optional_integer("fromId"), call.parameters.limit(ROWS_DEFAULT, ROWS_MOST)
        one_answer = partial(past.trades, limit=limit, newest=from_id is None)
        return await self._of_all_times(symbol, call, "trades", one_answer, from_id=from_id, limit=limit)

    async def aggregate_trades(self, call: Call) -> object:
        sent = call.parameters
        symbol = await self._symbol(sent)
        start_ms, end_ms = sent.time_ms("startTime"), sent.time_ms("endTime")
        from_id = sent.optional_integer("fromId")
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise Invalid(errors.BAD_COMBINATION)
        limit = sent.limit(ROWS_DEFAULT, ROWS_MOST)
        one_answer = partial(past.aggregate_trades, limit=limit, newest=from_id is None and start_ms is None)
        return await self._of_all_times(
            symbol, call, "aggregates", one_answer, from_id=from_id, start_ms=start_ms, end_ms=end_ms, limit=limit
        )

    async def candles(self, call: Call) -> object:
        sent = call.parameters
        symbol = await self._symbol(sent)
        interval = sent.mandatory("interval")
        if interval not in INTERVALS:
            raise Invalid(errors.BAD_INTERVAL, detail=f"interval is one of {', '.join(INTERVALS)}")
        start_ms, limit = sent.time_ms("startTime"), sent.limit(ROWS_DEFAULT, ROWS_MOST)
        return await self._of_all_times(
            symbol,
            call,
            "candles",
            partial(past.candles, limit=limit, newest=start_ms is None),
            of_several={"ids": True},
            interval=interval,
            start_ms=start_ms,
            end_ms=sent.time_ms("endTime"),
            offset_ms=_zone_ms(sent),
            limit=limit,
        )

    async def average_price(self, call: Call) -> object:
        symbol = await self._symbol(call.parameters)
        return await _ask(self._shards.shard_of(symbol), call, "average", symbol=symbol)

    async def day(self, call: Call) -> object:
        mini = _is_mini(call.parameters)
        return await self._of_symbols(call, "days", mini=mini)

    async def trading_day(self, call: Call) -> object:
        sent = call.parameters
        _check_named(sent)
        return await self._of_symbols(call, "trading-days", mini=_is_mini(sent), offset_ms=_zone_ms(sent))

    async def window(self, call: Call) -> object:
        sent = call.parameters
        _check_named(sent)
        return await self._of_symbols(call, "windows", mini=_is_mini(sent), length_ms=_window_ms(sent))

    async def price(self, call: Call) -> object:
        return await self._of_symbols(call, "prices")

    async def best(self, call: Call) -> object:
        return await self._of_symbols(call, "bests")

    async def _symbol(self, sent: Parameters) -> str:
        return (await self._shards.named_market(sent)).symbol

    async def _of_all_times(
        self,
        symbol: str,
        call: Call,
        what: str,
        one_answer: Callable[[list[Any]], object],
        *,
        of_several: Mapping[str, object] | None = None,
        **wanted: object,
    ) -> object:
        """Of the shard that the symbol is in, and of those that it was in before, as one answer.

        `of_several`: what else `one_answer` has to know of each, where there are several.
        """
        home, *before = self._shards.shards_of(symbol)
        wanted["symbol"] = symbol
        if not before:
            return await _ask(home, call, what, **wanted)
        wanted |= of_several or {}
        parts = [_ask(home, call, what, **wanted)]
        parts += [_ask_before(shard, call, what, **wanted) for shard in before if shard.marketdata.is_there]
        return one_answer(await asyncio.gather(*parts))

    async def _of_symbols(self, call: Call, what: str, **wanted: object) -> object:
        """One row for `symbol`, a list for `symbols` and for all."""
        sent = call.parameters
        symbol, symbols = sent.optional("symbol", SYMBOL), sent.names("symbols")
        if symbol is not None and symbols is not None:
            raise Invalid(errors.BAD_COMBINATION)
        named = [symbol] if symbol is not None else symbols
        status = sent.optional("symbolStatus")
        markets = await self._shards.markets(fresh=status is not None)
        for name in named or ():
            if status is not None and (await self._shards.market(name)).status != status:
                raise Invalid(errors.STATUS_MISMATCH)
        chosen = markets.selected(named, None, None if named else status)
        if not chosen:
            return []
        of_shards: dict[str, list[str]] = {}
        for market in chosen:
            of_shards.setdefault(self._shards.shard_of(market.symbol).name, []).append(market.symbol)
        parts = await asyncio.gather(
            *(_ask(self._shards[name], call, what, symbols=those, **wanted) for name, those in of_shards.items())
        )
        found: dict[object, object] = {}
        for those, rows in zip(of_shards.values(), parts, strict=True):
            assert isinstance(rows, list)
            found |= zip(those, rows, strict=True)
        rows = [found[market.symbol] for market in chosen]
        return rows[0] if symbol is not None else rows


async def _ask(shard: Shard, call: Call, what: str, **wanted: object) -> object:
    return await shard.marketdata.ask(what, call.request_id, microseconds=call.microseconds or None, **wanted)


async def _ask_before(shard: Shard, call: Call, what: str, **wanted: object) -> object:
    """Of a shard that the symbol has left. A history that was made anew since then does not know it."""
    try:
        return await _ask(shard, call, what, **wanted)
    except NotKnown:
        return []


def _zone_ms(sent: Parameters) -> int | None:
    """Hours and minutes from UTC: "0", "8", "-1:00", "05:45". From -12:00 to +14:00."""
    text = sent.optional("timeZone")
    if text is None:
        return None
    match = _ZONE.fullmatch(text)
    if match is not None:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        minutes = -minutes if match[1] == "-" else minutes
        if int(match[3] or 0) < 60 and -12 * 60 <= minutes <= 14 * 60:
            return minutes * MINUTE_MS
    raise Invalid(errors.BAD_VALUE, "timeZone", detail="timeZone is -12:00 to +14:00, such as 8 or -1:00")


def _window_ms(sent: Parameters) -> int:
    text = sent.optional("windowSize") or "1d"
    match = _WINDOW.fullmatch(text)
    if match is not None:
        unit_ms, most = _WINDOW_UNITS_MS[match[2]]
        if 1 <= int(match[1]) <= most:
            return int(match[1]) * unit_ms
    raise Invalid(errors.BAD_VALUE, "windowSize", detail="windowSize is 1m to 59m, 1h to 23h or 1d to 7d")


def _is_mini(sent: Parameters) -> bool:
    kind = sent.optional("type")
    if kind not in (None, "FULL", "MINI"):
        raise Invalid(errors.BAD_VALUE, "type", detail="type is FULL or MINI")
    return kind == "MINI"


def _check_named(sent: Parameters) -> None:
    named = sent.names("symbols")
    if named is None and sent.optional("symbol") is None:
        raise Invalid(errors.EITHER_MISSING, "symbol", "symbols")
    if named is not None and len(named) > SYMBOLS_MOST:
        raise Invalid(errors.BAD_VALUE, "symbols", detail=f"at most {SYMBOLS_MOST} symbols")


def _count(sent: Parameters) -> int | None:
    """Of the symbols asked for. None: all there are."""
    if sent.optional("symbol") is not None:
        return 1
    named = sent.names("symbols")
    return None if named is None else len(named)


def _day_weight(sent: Parameters) -> int:
    count = _count(sent)
    if count is None or count > 100:
        return 80
    return 2 if count <= 20 else 40


def _weight_of_each(sent: Parameters) -> int:
    return min(4 * (_count(sent) or 1), 200)


def _light_weight(sent: Parameters) -> int:
    return 2 if sent.optional("symbol") is not None else 4
