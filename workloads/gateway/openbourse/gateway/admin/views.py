"""What the port for people shows, as JSON. Values in, values out."""

import re
from collections.abc import Sequence

from openbourse.contracts import v1
from openbourse.gateway.engines import Engine
from openbourse.gateway.markets import Market, Markets

# The kernel's own sentences (RULES.md).
_SOURCES = {
    "halt": re.compile(r"halt (?P<name>[A-Za-z0-9_.:/-]+): .*", re.DOTALL),
    "safety": re.compile(r"the shard's safety level is .*"),
    "phase": re.compile(r"the symbol's phase is .*"),
}


def market_as_json(market: Market) -> dict[str, object]:
    """`source`: what keeps it from trading. A halt has a name; safety is the shard's answer to lag, phase an auction
    or what comes before one."""
    return {
        "symbol": market.symbol,
        "shard": market.shard,
        "state": v1.SymbolState.Name(v1.SymbolState.ValueType(market.state)).removeprefix("SYMBOL_STATE_"),
        "source": source(market.reason),
        "reason": market.reason,
    }


def source(reason: str) -> dict[str, str] | None:
    for kind, sentence in _SOURCES.items():
        if found := sentence.fullmatch(reason):
            return {"kind": kind, **found.groupdict()}
    return None


def markets_as_json(markets: Markets) -> list[dict[str, object]]:
    return [market_as_json(market) for _, market in sorted(markets.by_symbol.items())]


def account_as_json(
    account: int, safeties: Sequence[tuple[str, v1.AccountSafetyAnswer]], orders: tuple[int, int]
) -> dict[str, object]:
    """`safeties` by shard: killed is whoever is killed anywhere, and `killed_in` says where. `orders`: what it has used
    of ten seconds and of the day."""
    in_10s, in_day = orders
    killed_in = [shard for shard, safety in safeties if safety.killed]
    return {
        "account": account,
        "killed": bool(killed_in),
        "killed_in": killed_in,
        "open_orders": sum(safety.open_orders for _, safety in safeties),
        "countdowns": [
            {"shard": shard, "symbol": each.symbol or None, "cancel_at_us": each.end_us, "guard": each.guard}
            for shard, safety in safeties
            for each in safety.countdowns
        ],
        "orders_10s": in_10s,
        "orders_day": in_day,
    }


def engine_as_json(engine: Engine) -> dict[str, object]:
    return {
        "shard": engine.shard,
        "connected": engine.is_connected,
        "seq": engine.seq,
        "epoch": engine.session.highest_epoch,
    }
