"""When a rehearsal may begin: every reason not to, and that it is said."""

import datetime
from typing import Any

import pytest

from openbourse.contracts.resources import EngineShard, Exchange, Halt, Rehearsal, Symbol
from openbourse.operator.rehearsals.admission import Held, ShardNow, held, target

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


def shard(standbys: int = 1, of: str = "demo", name: str = "main") -> EngineShard:
    spec = {"exchange": of, "standbys": standbys}
    return EngineShard.model_validate({"metadata": META | {"name": name}, "spec": spec})


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
        "others_now": {},
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


MOVE = rehearsal(scenario="SymbolMove")
WHOLE = ShardNow(in_sync=1, ready=True)
SECOND = {"second": (shard(0, name="second"), WHOLE)}


def moving(state: str, **status: Any) -> list[Symbol]:
    """BTCUSDT, on its way to another shard or behind that."""
    move = {"fromShard": "main", "toShard": "second", "state": state, "since": NOW.isoformat(), "generation": 2}
    btc, eth = symbols("BTC", "ETH")
    document = btc.model_dump(mode="json", by_alias=True) | {"status": {"move": move, **status}}
    return [Symbol.model_validate(document), eth]


def test_a_symbol_is_moved_to_the_first_shard_that_is_whole_also_from_one_without_a_standby() -> None:
    assert decide(MOVE, others_now=SECOND) is None
    assert decide(MOVE, others_now=SECOND, shard=shard(0), shard_now=WHOLE) is None
    assert decide(MOVE, others_now=SECOND, symbols=moving("Undone")) is None, "it stayed, or came back"
    degraded = (shard(1, name="first"), ShardNow(in_sync=1, ready=True))
    assert target(SECOND | {"third": (shard(0, name="third"), WHOLE), "first": degraded}) == "second"
    assert target({"first": degraded}) is None


NOT_MOVED: list[tuple[str, str, bool, dict[str, Any]]] = [
    ("NoOtherShard", "needs two EngineShards of Exchange demo that are Ready, and there is main alone", True, {}),
    (
        "NoOtherShard",
        "that are Ready: shard second: there is no leadership record",
        False,
        {"others_now": {"second": (shard(0, name="second"), ShardNow(problem="there is no leadership record"))}},
    ),
    ("SymbolMoves", "on its way from shard main to second", False, {"symbols": moving("Frozen")}),
    ("SymbolElsewhere", "BTCUSDT is in shard second", False, {"symbols": moving("Completed")}),
]


@pytest.mark.parametrize(("reason", "words", "for_good", "change"), NOT_MOVED)
def test_a_symbol_that_cannot_be_moved_away_and_back_is_left(
    reason: str, words: str, for_good: bool, change: dict[str, Any]
) -> None:
    why = decide(MOVE, **({"others_now": SECOND} if change and "others_now" not in change else {}), **change)
    assert why is not None
    assert (why.reason, why.for_good) == (reason, for_good)
    assert words in why.sentence
    assert decide(**change) is None, "another fault moves nothing"


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
