"""What a rehearsal is said to have shown: Passed of a whole one alone, whatever else is missing or broken."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.rehearsal_facts import PODS, bite, good
from openbourse.contracts.resources import Scenario, Verdict
from openbourse.contracts.resources.rehearsal import InvariantState
from openbourse.operator.rehearsals.facts import Bite, EngineStateFacts, Facts, HaltFacts, LeaderAt, StreamFacts
from openbourse.operator.rehearsals.invariants import INVARIANTS, judge
from openbourse.operator.rehearsals.proofs import bite_problem
from openbourse.operator.rehearsals.scenarios import STRIKES, Deed

Change = Callable[[Facts], Facts]


def with_(**update: Any) -> Change:
    return lambda facts: facts.model_copy(update=update)


def in_part(part: str, **update: Any) -> Change:
    """A part that is not there stays away."""
    return lambda facts: facts.model_copy(
        update={part: found.model_copy(update=update)} if (found := getattr(facts, part)) is not None else {}
    )


def _last_leader(facts: Facts) -> str:
    return facts.leaders[-1].holder if facts.leaders else ""


def in_logs(**update: Any) -> Change:
    """Of the engine that led last alone."""
    return lambda facts: facts.model_copy(
        update={
            "logs": tuple(
                log.model_copy(update=update) if log.pod == _last_leader(facts) else log for log in facts.logs
            )
        }
    )


BROKEN: list[tuple[str, Change]] = [
    ("NothingAcknowledgedIsLost", in_logs(lost=1, lost_first=("a-1",))),
    ("NothingIsCarriedOutTwice", in_logs(repeated=1, repeated_first=("a-1",))),
    ("OnlyOneLeadersEffects", in_logs(chains={"500": "aa", "900": "other"})),
    ("OnlyOneLeadersEffects", in_logs(damaged="at seq 7")),
    ("EpochsOnlyGrow", in_logs(epochs=((4, 1), (3, 500)))),
    (
        "EpochsOnlyGrow",
        with_(
            leaders=(
                LeaderAt(at_ms=0, epoch=3, holder=PODS[0], in_sync=2),
                LeaderAt(at_ms=1, epoch=4, holder=PODS[0], in_sync=1),
                LeaderAt(at_ms=2, epoch=4, holder=PODS[1], in_sync=1),
            )
        ),
    ),
    ("EngineIsReplay", in_logs(states={"800": "other"})),
    ("EngineIsLedger", in_part("ledger", equal=False)),
    ("EngineIsLedger", in_part("ledger", found="3 balances differ")),
    ("NoBookIsCrossed", in_logs(crossed=("BTCUSDT at seq 9",))),
    ("NoBookIsCrossed", in_part("stream", crossed=("BTCUSDT",))),
    ("UpdateIdsAreContiguous", in_logs(update_gaps=("BTCUSDT: 9 after 7",))),
    ("MarketDataHasNoGap", in_part("stream", trade_gaps=("9 after 7",))),
    ("MarketDataHasNoGap", in_part("stream", book_gaps=("9 after 7",))),
    ("HaltedStaysHalted", in_part("halt", accepted=1, accepted_first=("h-1",))),
    ("StatusIsTrue", in_part("status", leader=PODS[0])),
    ("StatusIsTrue", in_part("status", epoch=3)),
]

UNSURE: dict[str, Change] = {
    "aborted": with_(aborted="no order was acknowledged for 15 s"),
    "no fault": with_(bite=None),
    "a fault that did not bite": in_part("bite", problem="nsenter: no such process"),
    "blind for a while": with_(blind=("the record could not be read for 3 s",)),
    "no load": in_part("load", acknowledged=0),
    "nothing after the fault": in_part("load", acknowledged_after=0),
    "more acknowledged than compared": in_part("load", acknowledged=401),
    "no logs": with_(logs=()),
    "no record": with_(leaders=()),
    "one log of two": lambda facts: facts.model_copy(
        update={"logs": tuple(log for log in facts.logs if log.pod == _last_leader(facts))}
    ),
    "logs without a seq in common": in_logs(chains={"7": "x"}),
    "engines silent": with_(engines=()),
    "no checkpoint": with_(
        engines=(
            EngineStateFacts(pod=PODS[0], role="leader", epoch=4, committed_seq=9, checkpoint_seq=0, state_hash=""),
        )
    ),
    "ledger silent": in_part("ledger", equal=None),
    "ledger behind": in_part("ledger", equal_seq=899),
    "nothing said to the ledger": in_part("ledger", wanted_seq=0),
    "no streams": with_(stream=StreamFacts()),
    "no trades heard": in_part("stream", trades=0),
    "no updates": lambda facts: facts.model_copy(
        update={"logs": tuple(log.model_copy(update={"updates": 0}) for log in facts.logs)}
    ),
    "a halt that was not asked before": with_(halt=HaltFacts(symbol="ETHUSDT", refused_after=3)),
    "a halt that was not asked after": with_(halt=HaltFacts(symbol="ETHUSDT", refused_before=3)),
}


@pytest.mark.parametrize("scenario", Scenario)
def test_a_whole_rehearsal_in_which_all_held_has_passed(scenario: Scenario) -> None:
    made = judge(good(scenario))
    assert (made.verdict, made.reason, made.unproved) == (Verdict.PASSED, "AllHeld", ())
    assert {each.state for each in made.invariants} == {InvariantState.HELD}
    of_moves = set() if scenario is Scenario.SYMBOL_MOVE else {"SymbolIsInOneShard"}
    assert {each.name for each in made.invariants} == {name for name, _ in INVARIANTS} - of_moves
    assert (made.rto_ms, made.rpo_orders) == (450, 0), "a pause that ended before the fault is none of it"


@pytest.mark.parametrize(("name", "change"), BROKEN)
def test_what_is_broken_is_named_and_the_rehearsal_has_failed(name: str, change: Change) -> None:
    made = judge(change(good()))
    assert (made.verdict, made.reason) == (Verdict.FAILED, name)
    assert [each.name for each in made.invariants if each.state is InvariantState.BROKEN] == [name]
    assert name in made.sentence


@pytest.mark.parametrize("scenario", [s for s in Scenario if STRIKES[s].another_leads is not None])
def test_who_leads_after_the_fault_is_who_should(scenario: Scenario) -> None:
    facts, other = good(scenario), Scenario.ENGINE_CRASH
    if STRIKES[scenario].another_leads:
        other = Scenario.STANDBY_LOST
    made = judge(facts.model_copy(update={"leaders": good(other).leaders}))
    assert (made.verdict, made.reason) == (Verdict.FAILED, "LeadsWhoShould")


def test_every_way_to_be_unsure_and_every_two_of_them_are_inconclusive_and_never_passed() -> None:
    """Alone and together: of all scenarios."""
    ways = list(UNSURE.items())
    chosen = [*((way,) for way in ways), *itertools.combinations(ways, 2)]
    for scenario in Scenario:
        for several in chosen:
            facts = good(scenario)
            for _, change in several:
                facts = change(facts)
            made = judge(facts)
            assert made.verdict is Verdict.INCONCLUSIVE, (scenario, [name for name, _ in several], made.sentence)
            assert made.unproved


@pytest.mark.parametrize(("name", "change"), BROKEN)
@pytest.mark.parametrize("unsure", UNSURE)
def test_nothing_that_is_broken_passes_whatever_else_is_missing(name: str, change: Change, unsure: str) -> None:
    assert judge(UNSURE[unsure](change(good()))).verdict is not Verdict.PASSED


UNPROVED: list[tuple[Deed, dict[str, Any]]] = [
    (Deed.KILL, {"gone": False}),
    (Deed.KILL, {"gone": None}),
    (Deed.FREEZE, {"looks": 0, "stopped": 0}),
    (Deed.FREEZE, {"looks": 50, "stopped": 49}),
    (Deed.CUT, {"dropped": {}}),
    (Deed.CUT, {"dropped": {"standby": 0, "api-server": 4}}),
    (Deed.DOWN, {"gone": False}),
    (Deed.DOWN, {"kills": 0}),
    (Deed.DOWN, {"looks": 0, "seen": 0}),
    (Deed.DOWN, {"seen": 79}),
    (Deed.DOWN, {"dropped": {}}),
    (Deed.SLOW, {"looks": 0, "seen": 0}),
    (Deed.SLOW, {"seen": 79}),
    (Deed.SLOW, {"writes": 0}),
    (Deed.RESTART, {"gone": None}),
    *((deed, {"problem": "nft: not found"}) for deed in Deed),
    *((deed, {"deed": "another"}) for deed in Deed),
    *((deed, {"lifted": False}) for deed in (Deed.FREEZE, Deed.CUT, Deed.SLOW, Deed.MOVE)),
]


@pytest.mark.parametrize(("deed", "update"), UNPROVED)
def test_a_fault_that_nobody_saw_bite_proves_nothing(deed: Deed, update: dict[str, Any]) -> None:
    for scenario, strike in STRIKES.items():
        if strike.deed is not deed or (deed is Deed.CUT and len(strike.sides) < 2 and "lifted" not in update):
            continue
        facts = good(scenario)
        assert isinstance(facts.bite, Bite)
        bitten = facts.bite.model_copy(update=update)
        assert bite_problem(facts.bite, strike) == ""
        assert bite_problem(bitten, strike) != ""
        made = judge(facts.model_copy(update={"bite": bitten}))
        assert (made.verdict, made.reason) == (Verdict.INCONCLUSIVE, "FaultUnproved")


SLOW, AWAY = Scenario.SLOW_DISK, Scenario.OPERATOR_KILLED_DURING_FAILOVER
UNPROVED_BESIDES: dict[str, tuple[Scenario, Change]] = {
    "an engine that says nothing of its disk": (SLOW, with_(disk_during=None)),
    "a disk that nobody looked at before": (SLOW, in_part("disk_before", looks=9)),
    "a log that did not wait": (SLOW, in_part("disk_during", waited=19)),
    "a disk that was as slow before": (SLOW, in_part("disk_before", waited=10)),
    "an operator that nobody killed": (AWAY, with_(under=None)),
    "an operator that was back before another engine led": (AWAY, in_part("under", lifted_ms=5_299)),
    "an operator that was killed after the engine": (AWAY, in_part("under", struck_ms=5_011)),
    "an operator that came back at once": (
        AWAY,
        in_part("under", bites=(bite(Scenario.NODE_KILLED).model_copy(update={"seen": 79}),)),
    ),
    "one engine that was not replaced": (Scenario.ROLLING_UPGRADE, in_part("bite", victims=(PODS[0],))),
}


@pytest.mark.parametrize("name", UNPROVED_BESIDES)
def test_what_has_to_be_there_besides_is_a_part_of_the_proof(name: str) -> None:
    scenario, change = UNPROVED_BESIDES[name]
    made = judge(change(good(scenario)))
    assert (made.verdict, made.reason) == (Verdict.INCONCLUSIVE, "FaultUnproved"), made.sentence


def test_a_symbol_that_nobody_halted_is_not_among_what_held() -> None:
    made = judge(good().model_copy(update={"halt": None}))
    assert made.verdict is Verdict.PASSED
    assert "HaltedStaysHalted" not in {each.name for each in made.invariants}


def test_what_was_lost_is_the_recovery_point_and_what_was_not_compared_leaves_it_unknown() -> None:
    assert judge(in_logs(lost=3, lost_first=("a",))(good())).rpo_orders == 3
    assert judge(in_part("load", acknowledged=401)(good())).rpo_orders is None
    assert judge(with_(logs=())(good())).rpo_orders is None
    assert judge(in_part("load", acknowledged_after=0)(good())).rto_ms is None
