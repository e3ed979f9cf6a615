"""The stream on standard input through the PyPI package matching-engine: prints what it took and what was traded.

It runs in a Python of its own, which that package asks for. It has no amendment: a modified order is cancelled and
placed anew under the same id, so that it loses its place and what it trades may differ.
"""

import json
import sys
import time

from matching_engine import (  # type: ignore[import-not-found]
    CancelOrder,
    NewOrder,
    SelfTradePrevention,
    SequencedCommand,
    Side,
    TimeInForce,
)
from matching_engine.engine import MatchingEngine  # type: ignore[import-not-found]
from matching_engine.events import Trade  # type: ignore[import-not-found]

ACCOUNT = 1
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
KINDS = {"place": TimeInForce.GTC, "take": TimeInForce.IOC}


def commands(messages: list[str]) -> list[NewOrder | CancelOrder]:
    """What this package is told for them."""
    sides: dict[str, Side] = {}
    told: list[NewOrder | CancelOrder] = []
    for line in messages:
        kind, order_id, *terms = line.split()
        if kind in KINDS:
            sides[order_id] = SIDES[terms.pop(0)]
        else:
            told.append(CancelOrder(int(order_id), ACCOUNT))
        if kind != "cancel":
            price, quantity = map(int, terms)
            tif = KINDS.get(kind, TimeInForce.GTC)
            none = SelfTradePrevention.NONE
            told.append(NewOrder(int(order_id), ACCOUNT, sides[order_id], price, quantity, tif=tif, stp=none))
    return told


def main() -> None:
    messages = sys.stdin.readlines()
    sequenced = [SequencedCommand(seq, seq, command) for seq, command in enumerate(commands(messages), start=1)]
    engine = MatchingEngine()
    trades = 0
    started = time.perf_counter_ns()
    for command in sequenced:
        trades += sum(type(event) is Trade for event in engine.process(command))
    took_ns = time.perf_counter_ns() - started
    print(json.dumps({"messages": len(messages), "fills": trades, "ns_per_message": took_ns / len(messages)}))


if __name__ == "__main__":
    main()
