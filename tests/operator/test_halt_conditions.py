"""What is said of a Halt, and which of all that holds a symbol is said to hold it."""

import datetime
import itertools
from dataclasses import replace

import pytest

from fixtures.operator_worlds import NOW, a_halt, a_shard, a_symbol, an_empty_world, settled
from openbourse.contracts.resources import HaltMode
from openbourse.operator.conditions import symbol_facts
from openbourse.operator.halts import STATES, Effective, effective, halt_facts
from openbourse.operator.observed import EngineFacts, Heard, MarketFacts, Observed, SafetyFacts

UID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def running() -> Observed:
    world, _ = settled(an_empty_world())
    return world


def said(world: Observed, *markets: MarketFacts, safety: SafetyFacts | None = None, age_s: int = 0) -> Observed:
    """What the leader of shard main says of its symbols."""
    facts = EngineFacts(role="leader", epoch=3, markets=markets, safety=safety or SafetyFacts())
    return replace(world, engines={"pod": Heard("main", facts, NOW - datetime.timedelta(seconds=age_s))})


@pytest.mark.parametrize(
    ("answers", "fact"),
    [
        ([], (False, "Waiting")),
        ([("main", "Halted")], (True, "Halted")),
        ([("main", "Refused")], (False, "Refused")),
        ([("other", "Halted")], (False, "Waiting")),
    ],
)
def test_a_halt_is_acknowledged_when_every_shard_in_scope_says_so(
    running: Observed, answers: list[tuple[str, str]], fact: tuple[bool, str]
) -> None:
    acknowledged, expired, there = halt_facts(running, a_halt("stop", answers, symbols=("BTCUSDT",)))
    assert (acknowledged.holds, acknowledged.reason) == fact
    assert not expired.holds
    assert there.holds


def test_a_halt_of_a_symbol_waits_for_the_shards_that_list_it_alone(running: Observed) -> None:
    world = replace(running, shards=(a_shard(), a_shard("second")))
    assert halt_facts(world, a_halt("stop", [("main", "Halted")], symbols=("BTCUSDT",)))[0].holds
    assert halt_facts(world, a_halt("stop", [("main", "Halted")]))[0].message == "no answer yet from second"
    assert halt_facts(world, a_halt("stop", symbols=("XYUSDT",)))[0].reason == "NothingInScope"


def test_a_halt_of_a_shard_waits_for_that_shard_alone(running: Observed) -> None:
    world = replace(running, shards=(a_shard(), a_shard("second")))
    assert halt_facts(world, a_halt("stop", [("second", "Halted")], shards=("second",)))[0].holds
    assert halt_facts(world, a_halt("stop", shards=("second",)))[0].message == "no answer yet from second"
    assert halt_facts(world, a_halt("stop", shards=("third",)))[0].reason == "NothingInScope"


def test_a_halt_that_names_what_is_not_there_says_so_and_what_is(running: Observed) -> None:
    there = halt_facts(running, a_halt("stop", symbols=("BTCUSDT", "XYUSDT")))[2]
    assert (there.holds, there.reason) == (False, "NamesNothing")
    assert there.message.startswith("there is no symbol XYUSDT (there are: BTCUSDT): it is halted from the day")
    there = halt_facts(running, a_halt("stop", shards=("third",)))[2]
    assert there.message.startswith("there is no shard third (there are: main)")
    (nothing,) = halt_facts(replace(running, exchange=None), a_halt("stop"))
    assert (nothing.holds, nothing.reason) == (False, "NoExchange")


def test_an_expired_halt_is_acknowledged_when_it_is_lifted(running: Observed) -> None:
    later = replace(running, now=NOW + datetime.timedelta(minutes=2))
    over = a_halt("stop", [("main", "Halted")], duration="1m")
    assert [fact.holds for fact in halt_facts(later, over)[:2]] == [False, True]
    over = a_halt("stop", [("main", "Lifted")], duration="1m")
    assert [fact.holds for fact in halt_facts(later, over)[:2]] == [True, True]


def test_a_halt_that_takes_two_people_says_whether_anybody_holds_them_to_it(running: Observed) -> None:
    halt = a_halt("stop", twoPerson=True, requester="ann")
    enforced = halt_facts(replace(running, two_person_held=True), halt)[3]
    assert (enforced.type, enforced.holds) == ("TwoPersonEnforced", True)
    alone = halt_facts(replace(running, two_person_held=False), halt)[3]
    assert (alone.holds, alone.reason) == (False, "NoPolicy")
    assert len(halt_facts(running, a_halt("stop"))) == 3


def test_every_small_world_has_the_most_restrictive_state_and_names_what_holds_it(running: Observed) -> None:
    """Two Halts in each state or absent, an engine that says each state for each reason or nothing."""
    symbol, worlds = running.symbols[0], 0
    modes = (None, *HaltMode)
    by_engine = [None, *(MarketFacts(state=s, held_by="phase", symbols=("BTCUSDT",)) for s in STATES[1:])]
    for one, two, market in itertools.product(modes, modes, by_engine):
        worlds += 1
        halts = [
            a_halt(name, [("main", "Halted")], mode=mode)
            for name, mode in (("one", one), ("two", two))
            if mode is not None
        ]
        world = said(replace(running, halts=tuple(halts)), *([market] if market else []))
        held = effective(world, symbol)
        states = [*(mode.value for mode in (one, two) if mode), *([market.state] if market else []), "TRADING"]
        assert STATES.index(held.state) == max(map(STATES.index, states))
        holders = {f"Halt/{h.metadata.name}" for h in halts if h.spec.mode.value == held.state}
        holders |= {"phase"} if market and market.state == held.state else set()
        assert held.held_by in (holders or {""})
    assert worlds == 4 * 4 * 5


@pytest.mark.parametrize(
    ("held_by", "safety", "shown"),
    [
        (f"tick/{UID}", SafetyFacts(), Effective("HALT", "Halt/tick", "why")),
        (f"tick/{UID}/AUCTION-30", SafetyFacts(), Effective("HALT", "Halt/tick", "why")),
        ("direct:night", SafetyFacts(), Effective("HALT", "direct:night", "why")),
        ("safety", SafetyFacts(level="HALT", why="61 s behind"), Effective("HALT", "safety", "61 s behind")),
    ],
)
def test_what_only_the_engine_knows_holds_a_symbol_too(
    running: Observed, held_by: str, safety: SafetyFacts, shown: Effective
) -> None:
    market = MarketFacts(state="HALT", held_by=held_by, reason="why", symbols=("BTCUSDT",))
    world = said(running, market, safety=safety)
    assert effective(world, running.symbols[0]) == shown
    fields, (listed,) = symbol_facts(world, running.symbols[0])
    assert (fields["state"], fields["heldBy"]) == ("HALT", shown.held_by)
    assert listed.message.endswith(f"; HALT by {shown.held_by}: {shown.reason}")


def test_an_engine_that_fell_silent_is_believed_no_longer(running: Observed) -> None:
    market = MarketFacts(state="HALT", held_by="direct:night", reason="why", symbols=("BTCUSDT",))
    assert effective(said(running, market, age_s=31), running.symbols[0]) == Effective("TRADING")
    assert effective(said(running, market, age_s=29), running.symbols[0]).state == "HALT"


def test_a_symbol_is_held_by_the_halts_of_its_shard_that_were_acknowledged(running: Observed) -> None:
    symbol = running.symbols[0]
    soft = a_halt("soft", [("main", "Halted")], mode="CANCEL_ONLY", shards=("main",))
    hard = a_halt("tough", [("main", "Halted")], mode="HALT", symbols=("BTCUSDT",))
    lifted = a_halt("was", [("main", "Lifted")])
    elsewhere = a_halt("else", [("main", "Halted")], symbols=("ETHUSDT",))
    other = a_halt("other", [("main", "Halted")], shards=("second",))
    for halts, state, held_by in (
        ((lifted, elsewhere, other), "TRADING", ""),
        ((soft, lifted), "CANCEL_ONLY", "Halt/soft"),
        ((soft, hard), "HALT", "Halt/tough"),
    ):
        held = effective(replace(running, halts=halts), symbol)
        assert (held.state, held.held_by) == (state, held_by)
    assert effective(running, a_symbol("ETH")) == Effective("TRADING")
