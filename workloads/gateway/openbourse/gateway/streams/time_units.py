"""A message of a public stream in microseconds. Values in, values out.

The market data tell it in milliseconds, once for all, and beside it what a trade's time has beyond these; whoever asks
for microseconds gets those. A time that stands for the end of a millisecond stays its end.
"""

from typing import Any

_TIMES = ("E", "T", "O", "C")
# Of `k`, the candle.
_CANDLE_OPENS, _CANDLE_CLOSES = "t", "T"
_TICKERS = ("24hrTicker", "1hTicker", "4hTicker", "1dTicker")


def in_microseconds(document: Any, rest_us: int = 0) -> Any:
    """`rest_us`: what its time has beyond the milliseconds; only trades have any."""
    match document:
        case list():
            return [in_microseconds(row) for row in document]
        case {"e": "kline", "k": candle}:
            own = {
                _CANDLE_OPENS: candle[_CANDLE_OPENS] * 1000,
                _CANDLE_CLOSES: candle[_CANDLE_CLOSES] * 1000 + 999,
            }
            return {**document, "E": document["E"] * 1000, "k": {**candle, **own}}
        case {"e": str(kind)}:
            # In the other messages `O` and `C` are no times.
            names = _TIMES if kind in _TICKERS else _TIMES[:2]
            return {name: _micro(value, rest_us) if name in names else value for name, value in document.items()}
        case _:
            return document


def _micro(value: Any, rest_us: int) -> Any:
    return value * 1000 + rest_us if isinstance(value, int) else value
