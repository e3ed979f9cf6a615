"""In which shard a symbol was, by the logs of both: in one at a time, and with all that it left with."""

from collections.abc import Callable
from typing import Any

import pytest

from fixtures.rehearsal_facts import MOVES, OTHER_POD, good, passage
from openbourse.contracts.resources import Scenario, Verdict
from openbourse.contracts.resources.rehearsal import InvariantState
from openbourse.operator.rehearsals.facts import Facts, LedgerFacts, Passage, Whereabouts
from openbourse.operator.rehearsals.invariants import INVARIANTS, judge

Change = Callable[[Facts], Facts]
FACTS = good(Scenario.SYMBOL_MOVE)


def in_main(**update: Any) -> Change:
    """Of the first shard, in all of its logs."""
    return lambda facts: facts.model_copy(update={"logs": tuple(log.model_copy(update=update) for log in facts.logs)})


def in_second(**update: Any) -> Change:
    def change(facts: Facts) -> Facts:
        (other,) = facts.others
        logs = tuple(log.model_copy(update=update) for log in other.logs)
        return facts.model_copy(update={"others": (other.model_copy(update={"logs": logs}),)})

    return change


def of_second(**update: Any) -> Change:
    return lambda facts: facts.model_copy(
        update={"others": tuple(other.model_copy(update=update) for other in facts.others)}
    )


def together(**update: Any) -> Change:
    def change(facts: Facts) -> Facts:
        assert facts.together is not None
        return facts.model_copy(update={"together": facts.together.model_copy(update=update)})

    return change


def whereabouts(facts: Facts, shard: str) -> Whereabouts:
    found = facts.logs[0].whereabouts if shard == "main" else facts.others[0].logs[0].whereabouts
    assert found is not None
    return found


def passages(shard: str, make: Callable[[tuple[Passage, ...]], tuple[Passage, ...]], **update: Any) -> Change:
    """The shard's log has others."""

    def change(facts: Facts) -> Facts:
        known = whereabouts(facts, shard)
        made = known.model_copy(update={"passages": make(known.passages), **update})
        return (in_main if shard == "main" else in_second)(whereabouts=made)(facts)

    return change


def at(place: int, **update: Any) -> Callable[[tuple[Passage, ...]], tuple[Passage, ...]]:
    return lambda known: (*known[:place], known[place].model_copy(update=update), *known[place + 1 :])


def without(*places: int) -> Callable[[tuple[Passage, ...]], tuple[Passage, ...]]:
    return lambda known: tuple(each for at, each in enumerate(known) if at not in places)


def instead(*those: Passage) -> Callable[[tuple[Passage, ...]], tuple[Passage, ...]]:
    return lambda _: those


IN_ONE, IDS = "SymbolIsInOneShard", "UpdateIdsAreContiguous"
FROZEN, DEPARTED, IMPORTED = 0, 1, 2  # in main
BROKEN: dict[str, tuple[str, str, Change]] = {
    "an order that was lost in the move": (
        "NothingAcknowledgedIsLost",
        "1 of 400",
        together(lost=1, lost_first=("r-7: left main as order 9, came to second nowhere",)),
    ),
    "an order that is in both shards": (
        "NothingIsCarriedOutTwice",
        "more than one shard: r-7: [9, 9]",
        together(repeated=1, repeated_first=("r-7: [9, 9]",)),
    ),
    "an order that is twice in the second": (
        "NothingIsCarriedOutTwice",
        "shard second: 1 orders",
        in_second(repeated=1, repeated_first=("r-7: [9, 12]",)),
    ),
    "open in both at first": (
        IN_ONE,
        "at first it was open in 2 shards",
        passages("second", instead(), here_first=True),
    ),
    "the source goes on trading it": (
        IN_ONE,
        "shard main carried out 3 commands in it without having it: order_accepted at seq 405",
        passages("main", at(0), away=3, away_first=("order_accepted at seq 405",)),
    ),
    "the target trades it before it has it": (
        IN_ONE,
        "shard second carried out 1 commands",
        passages("second", at(0), away=1, away_first=("trade_executed at seq 44",)),
    ),
    "the source opens it again, and the target has it": (
        IN_ONE,
        "main opened it again: it was open in both",
        passages("main", at(DEPARTED, what="Unfrozen")),
    ),
    "listed anew in the target": (
        IN_ONE,
        "it was listed anew in shard second at seq 30",
        passages("second", lambda known: (Passage(what="Listed", seq=30, at_us=1), *known)),
    ),
    "it came without having left": (IN_ONE, "had not left main", passages("main", without(FROZEN, DEPARTED))),
    "it left and did not come": (
        IN_ONE,
        "let it go at seq 410, and it did not come to second",
        lambda facts: passages("main", without(IMPORTED))(passages("second", instead())(facts)),
    ),
    "it did not come back": (IN_ONE, "in the end it was in none", passages("main", without(IMPORTED))),
    "fewer orders came than left": (
        IN_ONE,
        "9 open orders of record aa left main, and 8 of aa came to second",
        passages("second", at(0, open_orders=8, orders="of others")),
    ),
    "another record came": (IN_ONE, "of record aa left main, and 9 of ee", passages("second", at(0, record="ee"))),
    "it departed for another move than it was frozen for": (
        IN_ONE,
        f"and froze it for {MOVES[0]}",
        passages("main", at(DEPARTED, move=MOVES[1])),
    ),
    "it was frozen twice": (
        IN_ONE,
        "says Frozen at seq 405, of a symbol that was frozen",
        passages("main", lambda known: (known[0], known[0].model_copy(update={"seq": 405}), *known[1:])),
    ),
    "update ids begin anew": (IDS, "went on behind 0, not 80", passages("second", at(0, update_id=0))),
    "trade ids begin anew": (IDS, "trade ids went on behind 3, not 80", passages("second", at(0, trade_id=3))),
    "a gap of trades": (IDS, "trade 9 after 7", passages("second", at(0), trade_gaps=("trade 9 after 7",))),
    "a gap of updates in the second": (IDS, "shard second: in the logs", in_second(update_gaps=("9 after 7",))),
    "a book that is crossed in the second": ("NoBookIsCrossed", "shard second", in_second(crossed=("BTCUSDT",))),
    "a ledger that differs in the second": (
        "EngineIsLedger",
        "shard second: the ledger found",
        of_second(ledger=LedgerFacts(equal=False)),
    ),
    "an engine that is no replay in the second": ("EngineIsReplay", "shard second", in_second(states={"800": "x"})),
    "a damaged log of the second": ("OnlyOneLeadersEffects", "shard second", in_second(damaged="at seq 7")),
    "epochs that do not grow in the second": (
        "EpochsOnlyGrow",
        "shard second",
        in_second(epochs=((4, 1), (3, 5))),
    ),
}

UNSURE: dict[str, Change] = {
    "orders that were not held against both": lambda facts: facts.model_copy(update={"together": None}),
    "orders held against the log of one": together(pods=(OTHER_POD,)),
    "orders that were not all compared": together(compared=399),
    "no log of the second": of_second(logs=()),
    "no record of the second": of_second(leaders=()),
    "a log that does not say where it was": in_second(whereabouts=None),
    "no ledger of the second": of_second(ledger=LedgerFacts(wanted_seq=900)),
    "no engine of the second": of_second(engines=()),
    "no update in the second": in_second(updates=0),
    "on its way still": lambda facts: passages("main", without(IMPORTED))(passages("second", without(2))(facts)),
    "no move at all": lambda facts: passages("main", instead())(passages("second", instead())(facts)),
}


def test_a_symbol_that_was_in_one_shard_at_a_time_has_passed_with_both_pauses() -> None:
    made = judge(FACTS)
    assert (made.verdict, made.reason, made.unproved) == (Verdict.PASSED, "AllHeld", ())
    assert [each.name for each in made.invariants] == [name for name, _ in INVARIANTS]
    said = {each.name: each.sentence for each in made.invariants}
    assert said[IN_ONE] == "from main to second after 57 ms in neither, from second to main after 57 ms in neither"
    assert said["NothingAcknowledgedIsLost"].startswith(
        "all 400 acknowledged orders are in the logs of demo-engine-main"
    )
    assert "shard main: every balance" in said["EngineIsLedger"]
    assert "shard second: every balance" in said["EngineIsLedger"]
    assert made.rpo_orders == 0


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_move_breaks_is_found_and_named(name: str) -> None:
    invariant, words, change = BROKEN[name]
    made = judge(change(FACTS))
    assert made.verdict is Verdict.FAILED, made.sentence
    broken = {each.name: each.sentence for each in made.invariants if each.state is InvariantState.BROKEN}
    assert broken.keys() == {invariant}
    assert words in broken[invariant]


@pytest.mark.parametrize("name", UNSURE)
def test_what_was_not_seen_of_either_shard_leaves_it_inconclusive(name: str) -> None:
    made = judge(UNSURE[name](FACTS))
    assert made.verdict is Verdict.INCONCLUSIVE, made.sentence
    assert made.unproved


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("unsure", UNSURE)
def test_nothing_that_is_broken_passes_whatever_was_not_seen(broken: str, unsure: str) -> None:
    assert judge(UNSURE[unsure](BROKEN[broken][2](FACTS))).verdict is not Verdict.PASSED


def test_moves_of_before_the_rehearsal_are_none_of_it() -> None:
    """A log is read from its last checkpoint on, which may be long ago; the other log may not reach so far back."""
    earlier = (passage("Frozen", 60, shard="second", move="m"), passage("Departed", 62, shard="second", move="m"))
    back = passage("Imported", 90, shard="second", move="n", record="zz")
    made = judge(passages("main", lambda known: (*earlier, back, *known))(FACTS))
    assert made.verdict is Verdict.PASSED, made.sentence
    away = judge(passages("main", lambda known: (*earlier, *known))(FACTS))
    assert "at first it was in none of the shards" in away.sentence


def in_move(number: int, **update: Any) -> Change:
    return lambda facts: facts.model_copy(
        update={
            "moves": tuple(
                move.model_copy(update=update) if at == number else move for at, move in enumerate(facts.moves)
            )
        }
    )


UNPROVED: dict[str, tuple[str, Change]] = {
    "no move was asked for": ("0 moves were asked for", lambda facts: facts.model_copy(update={"moves": ()})),
    "it was not asked back": ("1 moves", lambda facts: facts.model_copy(update={"moves": facts.moves[:1]})),
    "it went somewhere else": ("not away from main and back", in_move(0, to_shard="third")),
    "it went on": ("not away from main and back", in_move(1, to_shard="third")),
    "it was undone": ("from main to second its status says Undone", in_move(0, state="Undone")),
    "nobody took it up": ("its status says nothing", in_move(0, state="")),
    "it was not seen to be over": ("from second to main its status says Completed", in_move(1, over_ms=None)),
    "the logs have another move": ("do not have the move m", in_move(1, move="m")),
    "the logs do not say": ("the logs of both shards do not say", in_second(whereabouts=None)),
}


@pytest.mark.parametrize("name", UNPROVED)
def test_a_move_is_proved_by_the_status_and_by_the_logs_of_both_shards(name: str) -> None:
    words, change = UNPROVED[name]
    made = judge(change(FACTS))
    assert (made.verdict, made.reason) == (Verdict.INCONCLUSIVE, "FaultUnproved"), made.sentence
    assert words in made.sentence


def test_a_rehearsal_of_a_move_that_was_aborted_has_not_passed_though_all_held() -> None:
    made = judge(FACTS.model_copy(update={"aborted": "the Rehearsal was suspended"}))
    assert (made.verdict, made.reason) == (Verdict.INCONCLUSIVE, "Aborted")


def test_what_is_lost_over_both_shards_is_the_recovery_point() -> None:
    assert judge(together(lost=3, lost_first=("a",))(FACTS)).rpo_orders == 3
    assert judge(together(compared=399)(FACTS)).rpo_orders is None
    assert judge(together(pods=())(FACTS)).rpo_orders is None
