"""What `kubectl bourse status` makes of an exchange's objects."""

import datetime
import io
from typing import Any

import pytest
from rich.console import Console

from openbourse.cli.bourse import halting
from openbourse.cli.bourse.cluster import the_exchange
from openbourse.cli.bourse.errors import BadHalt, NotDone
from openbourse.cli.bourse.overview import Health, Overview, SymbolLine, overview
from openbourse.cli.bourse.screen import screen, span
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Symbol

NOW = datetime.datetime(2026, 11, 29, 4, 0, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


def ready(status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason or "Ready", "message": message}
    return {"conditions": [{**condition, "lastTransitionTime": NOW}]}


def an_exchange(name: str = "demo", **status: Any) -> Exchange:
    ledger, gateway = {"databaseSecret": "database"}, {"keysSecret": "keys"}
    spec = {"assets": [{"name": "BTC", "scale": 8}], "image": "openbourse:1", "ledger": ledger, "gateway": gateway}
    return Exchange.model_validate({"metadata": {"name": name}, "spec": spec, "status": status or ready("True")})


def a_shard(name: str = "main", exchange: str = "demo", **status: Any) -> EngineShard:
    spec = {"exchange": exchange, "standbys": 1}
    return EngineShard.model_validate({"metadata": {"name": name}, "spec": spec, "status": status})


def a_symbol(base: str = "BTC", shard: str = "main", state: str | None = "TRADING") -> Symbol:
    spec = {"exchange": "demo", "shard": shard, "base": base, "quote": "USDT", "tickSize": "0.01", "lotSize": "0.001"}
    limits = {"maxPrice": "1000000", "maxQuantity": "1000"}
    status = {"state": state, "shard": shard if state else None}
    return Symbol.model_validate(
        {"metadata": {"name": f"{base.lower()}usdt"}, "spec": {**spec, **limits}, "status": status}
    )


def a_halt(name: str, *, symbols: list[str], mode: str = "HALT", answers: dict[str, str], **until: Any) -> Halt:
    acknowledgements = [
        {"shard": shard, "epoch": 3, "seq": 7, "state": state, "at": NOW, "message": "no room" * (state == "Refused")}
        for shard, state in answers.items()
    ]
    return Halt.model_validate(
        {
            "metadata": {"name": name, "creationTimestamp": NOW - 10 * MINUTE},
            "spec": {"exchange": "demo", "symbols": symbols, "mode": mode, "reason": "why", **(until or UNTIL_LIFTED)},
            "status": {"acknowledgements": acknowledgements},
        }
    )


UNTIL_LIFTED = {"untilLifted": True}
MEMBERS = [
    {"pod": "demo-engine-main-0", "role": "leader", "inSync": True, "committedSeq": 120},
    {"pod": "demo-engine-main-1", "role": "standby", "inSync": True, "committedSeq": 113},
]
FAILOVER = {"at": NOW - 2 * MINUTE, "epoch": 3, "leader": "demo-engine-main-0", "acknowledgedMs": 124}


def seen(*halts: Halt, shards: list[EngineShard] | None = None) -> Overview:
    here = shards or [a_shard(), a_shard("hot")]
    return overview(an_exchange(), here, [a_symbol(), a_symbol("ETH", "hot")], halts, NOW)


def test_a_shard_is_as_far_behind_as_its_slowest_engine() -> None:
    status: dict[str, Any] = {
        "leader": "demo-engine-main-0",
        "epoch": 3,
        "inSync": 2,
        "committedSeq": 120,
        "members": MEMBERS,
    }
    [shard] = seen(shards=[a_shard(**ready("True"), **status, lastFailover=FAILOVER)]).shards
    assert (shard.lag, shard.in_sync, shard.members, shard.problems) == (7, 2, 2, ())
    assert shard.last_failover is not None
    assert shard.last_failover.acknowledged_ms == 124


def test_how_far_behind_is_not_known_of_an_engine_that_says_nothing() -> None:
    silent = [MEMBERS[0], {"pod": "demo-engine-main-1", "problem": "says nothing since 12 s"}]
    [shard] = seen(shards=[a_shard(committedSeq=120, members=silent)]).shards
    assert (shard.lag, shard.problems) == (None, ("demo-engine-main-1: says nothing since 12 s",))
    assert shard.health == Health(None)


@pytest.mark.parametrize(
    ("status", "reason", "problems"),
    [
        ("True", "Serving", ()),
        ("True", "BeginsLate", ()),
        ("False", "Disabled", ()),
        ("True", "ReplicaAway", ("market data: what it says",)),
        ("False", "Starting", ("market data: what it says",)),
    ],
)
def test_market_data_that_are_away_are_on_the_screen(status: str, reason: str, problems: tuple[str, ...]) -> None:
    said = ready(status, reason, "what it says")["conditions"][0] | {"type": "MarketDataReady"}
    [shard] = seen(shards=[a_shard(conditions=[said])]).shards
    assert shard.problems == problems


def test_a_symbol_is_held_by_the_halts_in_force_that_cover_it_the_most_restrictive_first() -> None:
    halts = [
        a_halt("soft", symbols=[], mode="POST_ONLY", answers={"main": "Halted", "hot": "Halted"}),
        a_halt("hard", symbols=["BTCUSDT"], answers={"main": "Halted"}),
        a_halt("not-yet", symbols=["BTCUSDT"], answers={}),
        a_halt("refused", symbols=["BTCUSDT"], answers={"main": "Refused"}),
        a_halt("over", symbols=["BTCUSDT"], answers={"main": "Halted"}, duration="10m"),
    ]
    assert seen(*halts).symbols == (
        SymbolLine("BTCUSDT", "main", "TRADING", ("hard", "soft")),
        SymbolLine("ETHUSDT", "hot", "TRADING", ("soft",)),
    )


def test_a_halt_waits_for_the_shards_of_its_symbols_alone() -> None:
    halts = [
        a_halt("one", symbols=["ETHUSDT"], answers={"hot": "Halted"}),
        a_halt("all", symbols=[], answers={"hot": "Refused"}, duration="15m"),
    ]
    one, every = seen(*halts).halts
    assert (one.acknowledged, one.shards, one.refused, one.ends_at) == (1, 1, (), None)
    assert (every.acknowledged, every.shards, every.refused) == (1, 2, ("hot: no room",))
    assert (every.ends_at, every.over) == (NOW + 5 * MINUTE, False)


def test_a_halt_of_a_shard_waits_for_that_shard_and_holds_its_symbols_alone() -> None:
    halt = a_halt("hot-only", symbols=[], answers={"hot": "Halted"}, untilLifted=True, shards=["hot"])
    shown = seen(halt)
    assert (shown.halts[0].acknowledged, shown.halts[0].shards, shown.halts[0].in_shards) == (1, 1, ("hot",))
    assert [symbol.held_by for symbol in shown.symbols] == [(), ("hot-only",)]


def test_what_no_halt_object_says_is_shown_as_the_engine_says_it() -> None:
    symbol = a_symbol(state="HALT")
    for held_by, shown in (("direct:night", ("one", "direct:night")), ("Halt/one", ("one",))):
        held = symbol.model_copy(update={"status": symbol.status.model_copy(update={"held_by": held_by})})
        halt = a_halt("one", symbols=[], answers={"main": "Halted"})
        assert overview(an_exchange(), [a_shard()], [held], [halt], NOW).symbols[0].held_by == shown


def test_what_is_of_another_exchange_is_not_shown() -> None:
    shown = overview(an_exchange("other"), [a_shard()], [a_symbol()], [a_halt("x", symbols=[], answers={})], NOW)
    assert (shown.shards, shown.symbols, shown.halts) == ((), (), ())


def test_the_screen_says_what_an_operator_looks_for() -> None:
    status: dict[str, Any] = {
        "leader": "demo-engine-main-0",
        "epoch": 3,
        "inSync": 1,
        "committedSeq": 120,
        "members": MEMBERS,
    }
    shards = [a_shard(**ready("False", "StandbyIsBehind", "one"), **status, lastFailover=FAILOVER), a_shard("hot")]
    halts = [a_halt("maintenance", symbols=["BTCUSDT"], answers={"main": "Halted"}, duration="15m")]
    out = io.StringIO()
    Console(file=out, width=160).print(screen(seen(*halts, shards=shards), NOW))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines == [
        "Exchange demo Ready openbourse:1",
        "SHARD STATE LEADER EPOCH IN SYNC COMMITTED LAG LAST FAILOVER",
        "main StandbyIsBehind demo-engine-main-0 3 1/2 120 7 2m ago to demo-engine-main-0, 124 ms",
        "hot unknown - - - - - -",
        "",
        "SYMBOL SHARD STATE HELD BY",
        "BTCUSDT main TRADING maintenance",
        "ETHUSDT hot TRADING -",
        "",
        "HALT MODE SYMBOLS ACKNOWLEDGED UNTIL BY REASON",
        "maintenance HALT BTCUSDT 1/1 in 5m - why",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (61, "1m1s"), (3_660, "1h1m"), (90_000, "1d1h")]
)
def test_spans_have_two_units_at_most(seconds: int, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("text", "mode", "seconds"),
    [("TRADING", "TRADING", 0), ("AUCTION:30s", "AUCTION", 30), ("POST_ONLY:1s", "POST_ONLY", 1)],
)
def test_how_trading_begins_again_is_said_in_a_word(text: str, mode: str, seconds: int) -> None:
    opens = halting.reopening(text)
    assert (opens.mode, opens.seconds) == (mode, seconds)


@pytest.mark.parametrize("text", ["", "auction", "AUCTION", "AUCTION:0s", "AUCTION:30", "TRADING:5s", "AUCTION:86401s"])
def test_another_way_to_begin_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(BadHalt, match="TRADING, POST_ONLY:30s or AUCTION:30s"):
        halting.reopening(text)


def test_the_exchange_that_is_meant_is_the_only_one_or_the_one_that_is_named() -> None:
    one, two = an_exchange("one"), an_exchange("two")
    assert the_exchange([one], None, "ns") is one
    assert the_exchange([one, two], "two", "ns") is two
    for there, wanted, sentence in (
        ([], None, "namespace ns has no Exchange: say where it is with -n"),
        ([one, two], None, "namespace ns has one, two: say which with --exchange"),
        ([one], "three", "namespace ns has no Exchange three; there is one"),
    ):
        with pytest.raises(NotDone, match=sentence):
            the_exchange(there, wanted, "ns")


def test_a_symbol_that_moves_is_shown_with_where_it_goes_and_one_that_waits_with_where_it_is_wanted() -> None:
    def seen(wanted: str, **move: Any) -> SymbolLine:
        symbol = a_symbol(shard=wanted).model_dump(by_alias=True)
        of = {"id": "1", "fromShard": "main", "toShard": "second", "since": NOW, "generation": 2}
        symbol["status"] |= {"shard": "main"} | ({"move": of | move} if move else {})
        shown = overview(an_exchange(), [a_shard()], [Symbol.model_validate(symbol)], [], NOW)
        return shown.symbols[0]

    assert (seen("main").shard, seen("main").moving_to) == ("main", None)
    frozen = seen("second", state="Frozen")
    assert (frozen.shard, frozen.moving_to, frozen.move_state) == ("main", "second", "Frozen")
    assert (seen("second").moving_to, seen("second").move_state) == ("second", None)
    assert seen("main", state="Undone").moving_to is None, "nobody wants it there any more"
    text = io.StringIO()
    line = Overview("demo", Health(True), "openbourse:1", None, (), (frozen,))
    Console(file=text, width=120).print(screen(line, NOW))
    assert "main to second: Frozen" in text.getvalue()
