"""What the market data say, in Binance's words: answers of REST and payloads of streams. Values in, values out.

Times are microseconds inside; `clock` makes of one what the asker wants.
"""

from collections.abc import Callable

from openbourse.contracts.units import format_units
from openbourse.marketdata.book import Diff, Level
from openbourse.marketdata.candles import Candle
from openbourse.marketdata.intervals import Interval, next_open_ms
from openbourse.marketdata.market import Market
from openbourse.marketdata.tickers import AVERAGE_MINUTES, Window, weighted_average
from openbourse.marketdata.trades import AggregateTrade, Trade

Json = dict[str, object]
Clock = Callable[[int], int]


def milliseconds(time_us: int) -> int:
    return time_us // 1000


def microseconds(time_us: int) -> int:
    return time_us


def trade_row(market: Market, trade: Trade, clock: Clock) -> Json:
    units = market.units
    return {
        "id": trade.trade_id,
        "price": units.format_price(trade.price_ticks),
        "qty": units.format_quantity(trade.quantity_lots),
        "quoteQty": format_units(trade.quote_units, units.quote_scale),
        "time": clock(trade.time_us),
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregate_row(market: Market, trade: AggregateTrade, clock: Clock) -> Json:
    return {
        "a": trade.aggregate_id,
        "p": market.units.format_price(trade.price_ticks),
        "q": market.units.format_quantity(trade.quantity_lots),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": clock(trade.time_us),
        "m": trade.buyer_is_maker,
        "M": True,
    }


def candle_row(market: Market, interval: Interval, candle: Candle, clock: Clock, offset_ms: int = 0) -> list[object]:
    units = market.units
    return [
        clock(candle.open_ms * 1000),
        units.format_price(candle.open),
        units.format_price(candle.high),
        units.format_price(candle.low),
        units.format_price(candle.close),
        units.format_quantity(candle.lots),
        # The last moment that belongs to it, in the asker's unit.
        clock(next_open_ms(interval, candle.open_ms, offset_ms) * 1000) - 1,
        format_units(candle.quote_units, units.quote_scale),
        candle.trades,
        units.format_quantity(candle.taker_lots),
        format_units(candle.taker_quote_units, units.quote_scale),
        "0",
    ]


def average_row(market: Market, average: tuple[int, int], clock: Clock) -> Json:
    price, traded_ms = average
    return {
        "mins": AVERAGE_MINUTES,
        "price": format_units(price, market.units.quote_scale),
        "closeTime": clock(traded_ms * 1000),
    }


def percent(change: int, base: int) -> str:
    """Three decimals, halves away from zero."""
    if not base:
        return "0.000"
    thousandths = (abs(change) * 200_000 + base) // (2 * base)
    return format_units(-thousandths if change < 0 else thousandths, 3)


def mini_row(market: Market, window: Window, clock: Clock) -> Json:
    units, total = market.units, window.total
    return {
        "symbol": market.symbol,
        "openPrice": units.format_price(total.open),
        "highPrice": units.format_price(total.high),
        "lowPrice": units.format_price(total.low),
        "lastPrice": units.format_price(total.close),
        "volume": units.format_quantity(total.lots),
        "quoteVolume": format_units(total.quote_units, units.quote_scale),
        "openTime": clock(window.opened_ms * 1000),
        "closeTime": clock(window.closed_ms * 1000),
        "firstId": total.first_id,
        "lastId": total.last_id,
        "count": total.trades,
    }


def _changes(market: Market, window: Window) -> tuple[str, str, str]:
    """How far the price has moved, in quote and in percent, and its weighted average."""
    units, total = market.units, window.total
    return (
        units.format_price(window.change_ticks),
        percent(window.change_ticks, total.open),
        format_units(weighted_average(total, units.lot_units, units.base_scale), units.quote_scale),
    )


def window_row(market: Market, window: Window, clock: Clock) -> Json:
    row = mini_row(market, window, clock)
    change, change_percent, average = _changes(market, window)
    return {
        "symbol": row.pop("symbol"),
        "priceChange": change,
        "priceChangePercent": change_percent,
        "weightedAvgPrice": average,
        **row,
    }


def best_row(market: Market) -> Json:
    bid, ask = _best(market)
    return {
        "symbol": market.symbol,
        "bidPrice": bid[0],
        "bidQty": bid[1],
        "askPrice": ask[0],
        "askQty": ask[1],
    }


def day_row(market: Market, window: Window, clock: Clock) -> Json:
    """The 24-hour ticker in full: a window's, with the book's best and what was traded last."""
    row, best = window_row(market, window, clock), best_row(market)
    last_lots = market.last_trade.quantity_lots if market.last_trade else 0
    names = (
        *("symbol", "priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice", "lastPrice", "lastQty"),
        *("bidPrice", "bidQty", "askPrice", "askQty", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume"),
        *("openTime", "closeTime", "firstId", "lastId", "count"),
    )
    more = {
        "prevClosePrice": market.units.format_price(window.previous_close),
        "lastQty": market.units.format_quantity(last_lots),
    }
    all_of_it = {**row, **best, **more}
    return {name: all_of_it[name] for name in names}


def price_row(market: Market) -> Json:
    last = market.last_trade
    return {"symbol": market.symbol, "price": market.units.format_price(last.price_ticks if last else 0)}


def _best(market: Market) -> tuple[list[str], list[str]]:
    bid, ask = market.book.bids.best() or (0, 0), market.book.asks.best() or (0, 0)
    return _level(market, bid), _level(market, ask)


def _level(market: Market, level: Level) -> list[str]:
    return [market.units.format_price(level[0]), market.units.format_quantity(level[1])]


def trade_payload(market: Market, trade: Trade) -> Json:
    time = trade.time_us // 1000
    return {
        "e": "trade",
        "E": time,
        "s": market.symbol,
        "t": trade.trade_id,
        "p": market.units.format_price(trade.price_ticks),
        "q": market.units.format_quantity(trade.quantity_lots),
        "T": time,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def aggregate_payload(market: Market, trade: AggregateTrade) -> Json:
    return {
        "e": "aggTrade",
        "E": trade.time_us // 1000,
        "s": market.symbol,
        **aggregate_row(market, trade, milliseconds),
    }


def diff_payload(market: Market, diff: Diff, now_ms: int) -> Json:
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "s": market.symbol,
        "U": diff.first_id,
        "u": diff.last_id,
        "b": [_level(market, level) for level in diff.bids.items()],
        "a": [_level(market, level) for level in diff.asks.items()],
    }


def depth_payload(market: Market, levels: int) -> Json:
    book = market.book
    return {
        "lastUpdateId": book.update_id,
        "bids": [_level(market, level) for level in book.bids.top(levels)],
        "asks": [_level(market, level) for level in book.asks.top(levels)],
    }


def best_payload(market: Market) -> Json:
    bid, ask = _best(market)
    return {
        "u": market.book.update_id,
        "s": market.symbol,
        "b": bid[0],
        "B": bid[1],
        "a": ask[0],
        "A": ask[1],
    }


def candle_payload(market: Market, interval: Interval, candle: Candle, now_ms: int, *, final: bool) -> Json:
    row = candle_row(market, interval, candle, milliseconds)
    return {
        "e": "kline",
        "E": now_ms,
        "s": market.symbol,
        "k": {
            "t": row[0],
            "T": row[6],
            "s": market.symbol,
            "i": interval.value,
            "f": candle.first_id,
            "L": candle.last_id,
            "o": row[1],
            "c": row[4],
            "h": row[2],
            "l": row[3],
            "v": row[5],
            "n": candle.trades,
            "x": final,
            "q": row[7],
            "V": row[9],
            "Q": row[10],
            "B": "0",
        },
    }


def _window_payload(market: Market, window: Window, event: str) -> Json:
    row = window_row(market, window, milliseconds)
    return {
        "e": event,
        "E": window.closed_ms,
        "s": market.symbol,
        "p": row["priceChange"],
        "P": row["priceChangePercent"],
        "w": row["weightedAvgPrice"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "c": row["lastPrice"],
        "v": row["volume"],
        "q": row["quoteVolume"],
        "O": row["openTime"],
        "C": row["closeTime"],
        "F": row["firstId"],
        "L": row["lastId"],
        "n": row["count"],
    }


def window_payload(market: Market, window: Window, name: str) -> Json:
    return _window_payload(market, window, f"{name}Ticker")


def day_payload(market: Market, window: Window) -> Json:
    row = day_row(market, window, milliseconds)
    return {
        **_window_payload(market, window, "24hrTicker"),
        "x": row["prevClosePrice"],
        "Q": row["lastQty"],
        "b": row["bidPrice"],
        "B": row["bidQty"],
        "a": row["askPrice"],
        "A": row["askQty"],
    }


def mini_payload(market: Market, window: Window) -> Json:
    full = _window_payload(market, window, "24hrMiniTicker")
    return {name: full[name] for name in ("e", "E", "s", "c", "o", "h", "l", "v", "q")}


def average_payload(market: Market, average: tuple[int, int], now_ms: int) -> Json:
    price, traded_ms = average
    return {
        "e": "avgPrice",
        "E": now_ms,
        "s": market.symbol,
        "i": f"{AVERAGE_MINUTES}m",
        "w": format_units(price, market.units.quote_scale),
        "T": traded_ms,
    }
