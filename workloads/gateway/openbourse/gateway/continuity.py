"""Whether a message of one replica's feed goes on where another's ended: said by the ids in both. No I/O, no clock.

Trades and aggregate trades are counted, a book's updates too; a candle's last word has its time and its trades.
"""

import functools
import json
from enum import Enum, auto


class Gap(Exception):
    """Messages are missing between what was heard and what is told next."""


class Ids(Enum):
    # It tells what is, and the next one does so again.
    NONE = auto()
    TRADE = auto()
    AGGREGATE = auto()
    BEST = auto()
    DIFF = auto()
    # Only the last word on a candle is said once.
    CANDLE = auto()


_BY_KIND = {
    "trade": Ids.TRADE,
    "aggTrade": Ids.AGGREGATE,
    "bookTicker": Ids.BEST,
    "depth": Ids.DIFF,
    "depth@100ms": Ids.DIFF,
}
_LAST_WORD = '"x":true'


@functools.cache
def ids_of(stream: str) -> Ids:
    """Of a stream that market data tells: there are some for each symbol, and each of their messages asks."""
    kind = stream.partition("@")[2]
    return Ids.CANDLE if kind.startswith("kline_") else _BY_KIND.get(kind, Ids.NONE)


def is_counted(ids: Ids, payload: str) -> bool:
    """Whether the message is told once and no more."""
    return ids is not Ids.NONE and (ids is not Ids.CANDLE or _LAST_WORD in payload)


def sequel(stream: str, before: str, payload: str, *, elsewhere: bool = False) -> str | None:
    """The message as it is told behind `before`, the last of its stream; None: that was told. Raises Gap.

    Both are counted. A diff whose beginning was told is told from there on: its levels are as they are now.
    `elsewhere`: by another shard, whose aggregate trades are counted from anywhere above those of the one before.
    """
    was, now = json.loads(before), json.loads(payload)
    match ids_of(stream):
        case Ids.TRADE:
            return _next(stream, "t", was["t"], now["t"], payload)
        case Ids.AGGREGATE:
            # By its trades: their ids are the exchange's, its own are counted by who tells it.
            if now["l"] <= was["l"]:
                return None
            _next(stream, "f", was["l"], now["f"], payload)
            return payload if elsewhere else _next(stream, "a", was["a"], now["a"], payload)
        case Ids.BEST:
            return payload if now["u"] > was["u"] else None
        case Ids.DIFF:
            first_id = was["u"] + 1
            if now["u"] < first_id:
                return None
            if now["U"] > first_id:
                raise Gap(f"{stream} goes on with U {now['U']} behind u {was['u']}")
            return payload if now["U"] == first_id else json.dumps({**now, "U": first_id}, separators=(",", ":"))
        case Ids.CANDLE:
            # A trade that was heard late has the last word told again, with one more.
            known, told = was["k"], now["k"]
            return payload if (told["t"], told["n"]) > (known["t"], known["n"]) else None
        case Ids.NONE:
            return payload


def _next(stream: str, name: str, was: int, now: int, payload: str) -> str | None:
    if now > was + 1:
        raise Gap(f"{stream} goes on with {name} {now} behind {was}")
    return payload if now == was + 1 else None
