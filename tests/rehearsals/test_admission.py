"""When a rehearsal may begin: every reason not to, and that it is said."""

import datetime
from typing import Any

import pytest

from openbourse.contracts.resources import EngineShard, Exchange, Halt, Rehearsal, Symbol
from openbourse.operator.rehearsals.admission import Held, ShardNow, held

NOW = datetime.datetime(2026, 11, 29, 3, 0, tzinfo=datetime.UTC)  # a Sunday
META = {"namespace": "trading", "uid": "u", "creationTimestamp": "2026-11-29T02:00:00Z"}
SPEC: dict[str, Any] = {
    "exchange": "demo",
    "scenario": "EngineCrash",
    "load": {"keysSecret": "keys", "symbol": "BTCUSDT", "haltedSymbol": "ETHUSDT"},
}
NIGHT = {"days": ["Sun"], "from": "02:00", "to": "04:00"}


def rehearsal(uid: str = "u", phase: str | None = None, **spec: Any) -> Rehearsal:
    document = {"metadata": META | {"name": f"r-{uid}", "uid": uid}, "spec": SPEC | spec, "status": {"phase": phase}}
    return Rehearsal.model_validate(document)


def exchange() -> Exchange:
    spec = {
        "assets": [{"name": "BTC", "scale": 8}],
        "image": "i",
        "ledger": {"databaseSecret": "d"},
        "gateway": {"keysSecret": "k"},
    }
    return Exchange.model_validate({"metadata": META | {"name": "demo"}, "spec": spec})


def shard(standbys: int = 1, of: str = "demo") -> EngineShard:
    spec = {"exchange": of, "standbys": standbys}
    return EngineShard.model_validate({"metadata": META | {"name": "main"}, "spec": spec})


def symbols(*names: str) -> list[Symbol]:
    spec = {"exchange": "demo", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.001"}
    return [Symbol.model_validate({"metadata": META | {"name": name}, "spec": spec | {"base": name}}) for name in names]


def halt(of: str = "demo", **spec: Any) -> Halt:
    spec = {"exchange": of, "reason": "price feed", **(spec or {"untilLifted": True})}
    return Halt.model_validate({"metadata": META | {"name": "stop"}, "spec": spec})


def decide(wanted: Rehearsal | None = None, **change: Any) -> Held | None:
    facts: dict[str, Any] = {
        "exchange": exchange(),
        "shard": shard(),
        "symbols": symbols("BTC", "ETH"),
        "halts": [halt("another"), halt(duration="30m")],
        "others": [rehearsal(), rehearsal("b", "Finished"), rehearsal("c", "Held")],
        "now": NOW,
        "shard_now": ShardNow(in_sync=2, ready=True),
    }
    return held(wanted or rehearsal(), **(facts | change))


def test_a_whole_shard_that_nobody_halted_may_be_broken() -> None:
    assert decide() is None
    assert decide(rehearsal(windows=[NIGHT])) is None


REASONS: list[tuple[str, str, bool, dict[str, Any]]] = [
    ("NoExchange", "there is no Exchange demo", False, {"exchange": None}),
    ("NoShard", "has no EngineShard main", False, {"shard": None}),
    ("NoShard", "has no EngineShard main", False, {"shard": shard(of="another")}),
    ("NoStandby", "one engine", True, {"shard": shard(0)}),
    ("NoSymbol", "has no Symbol ETHUSDT", False, {"symbols": symbols("BTC")}),
    ("Suspended", "set it to false", False, {"wanted": rehearsal(suspend=True)}),
    (
        "OutsideWindow",
        "Sat 02:00-04:00 UTC, and now is Sun 03:00",
        False,
        {"wanted": rehearsal(windows=[NIGHT | {"days": ["Sat"]}])},
    ),
    ("BadWindow", "Nowhere/City", True, {"wanted": rehearsal(windows=[NIGHT | {"timezone": "Nowhere/City"}])}),
    ("TooLate", "by 2026-11-29 03:00", True, {"wanted": rehearsal(beginBefore="2026-11-29T03:00:00Z")}),
    ("AnotherRuns", "Rehearsal r-b runs", False, {"others": [rehearsal("b", "Running")]}),
    ("HaltInForce", "Halt stop is in force: price feed", False, {"halts": [halt()]}),
    ("HaltInForce", "Halt stop is in force", False, {"halts": [halt(duration="2h")]}),
    ("ShardIsDegraded", "1 of 2 engines", False, {"shard_now": ShardNow(in_sync=1, ready=True)}),
    ("ShardIsDegraded", "does not serve", False, {"shard_now": ShardNow(in_sync=2)}),
    (
        "ShardIsDegraded",
        "says nothing",
        False,
        {"shard_now": ShardNow(in_sync=2, ready=True, problem="it says nothing")},
    ),
]


NODE = rehearsal(scenario="NodeKilled")


def test_a_node_that_takes_every_gateway_along_is_not_killed() -> None:
    alone = ShardNow(in_sync=2, ready=True, node="a", gateway_nodes=frozenset({"a"}))
    why = decide(NODE, shard_now=alone)
    assert why is not None
    assert (why.reason, why.for_good) == ("NoOtherGateway", False)
    assert "every gateway is on the leader's node a" in why.sentence
    for nodes in ({"a", "b"}, {"b"}):
        elsewhere = ShardNow(in_sync=2, ready=True, node="a", gateway_nodes=frozenset(nodes))
        assert decide(NODE, shard_now=elsewhere) is None
    assert decide(shard_now=alone) is None, "another fault takes no gateway"


@pytest.mark.parametrize(("reason", "words", "for_good", "change"), REASONS)
def test_what_may_not_begin_is_held_with_its_reason(
    reason: str, words: str, for_good: bool, change: dict[str, Any]
) -> None:
    why = decide(**change)
    assert why is not None
    assert (why.reason, why.for_good) == (reason, for_good)
    assert words in why.sentence


def test_one_of_another_exchange_may_run_meanwhile() -> None:
    assert decide(others=[rehearsal("b", "Running", exchange="another")]) is None
