"""From what was seen to what held: each invariant with its sentence, and the verdict. Values in, values out.

Passed is said only of a rehearsal that came to its end, whose fault was proved to have bitten, and of which everything
was seen. Whatever is missing makes it Inconclusive; a broken invariant makes it Failed, however it ended.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from openbourse.contracts.resources import Verdict
from openbourse.contracts.resources.rehearsal import InvariantState
from openbourse.operator.rehearsals.facts import Facts, LogFacts, Pause
from openbourse.operator.rehearsals.proofs import fault_problem
from openbourse.operator.rehearsals.scenarios import STRIKES

# Fewer than that are no load.
ACKNOWLEDGED_LEAST = 20
AFTER_LEAST = 5
NAMED_IN_SENTENCE = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one invariant."""

    state: InvariantState
    sentence: str


@dataclass(frozen=True, slots=True)
class Invariant:
    name: str
    state: InvariantState
    sentence: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """`reason`: in one word why it is not Passed. `unproved`: why nobody can be sure, each in a sentence."""

    verdict: Verdict
    reason: str
    sentence: str
    invariants: tuple[Invariant, ...]
    unproved: tuple[str, ...]
    rto_ms: int | None
    rpo_orders: int | None


def judge(facts: Facts) -> Judgement:
    """The same facts give the same judgement, here and at whoever verifies a report."""
    invariants = tuple(
        Invariant(name, found.state, found.sentence)
        for name, check in INVARIANTS
        if (found := check(facts)) is not None
    )
    broken = [each for each in invariants if each.state is InvariantState.BROKEN]
    unknown = (each.sentence for each in invariants if each.state is InvariantState.UNKNOWN)
    unproved = tuple(dict.fromkeys([*_unproved(facts), *unknown]))
    if broken:
        verdict, reason = Verdict.FAILED, broken[0].name
        sentence = "; ".join(f"{each.name}: {each.sentence}" for each in broken)
    elif unproved:
        verdict, reason, sentence = Verdict.INCONCLUSIVE, _why(facts), "; ".join(unproved)
    else:
        verdict, reason = Verdict.PASSED, "AllHeld"
        sentence = f"all {len(invariants)} invariants held, and the fault bit"
    return Judgement(verdict, reason, sentence, invariants, unproved, rto_ms(facts), _rpo(facts))


def rto_ms(facts: Facts) -> int | None:
    """As clients saw it: from the last acknowledgement before the first one after the fault, at its longest.

    None where there was no acknowledgement after it, or no fault.
    """
    after = _pauses_after(facts)
    if facts.asked_ms is None or not facts.load.acknowledged_after:
        return None
    return max((pause.lasted_ms for pause in after), default=0)


def _pauses_after(facts: Facts) -> list[Pause]:
    asked_ms = facts.asked_ms
    return [] if asked_ms is None else [pause for pause in facts.load.pauses if pause.to_ms > asked_ms]


def _rpo(facts: Facts) -> int | None:
    """Acknowledged orders that the log of whoever has the most lacks."""
    log = _authoritative(facts)
    return None if log is None or log.compared < facts.load.acknowledged else log.lost


def _why(facts: Facts) -> str:
    if facts.aborted:
        return "Aborted"
    if fault_problem(facts):
        return "FaultUnproved"
    return "PartlyBlind"


def _unproved(facts: Facts) -> list[str]:
    load = facts.load
    found = [f"it was aborted: {facts.aborted}"] if facts.aborted else []
    if problem := fault_problem(facts):
        found.append(problem)
    found += facts.blind
    if load.acknowledged < ACKNOWLEDGED_LEAST:
        found.append(f"{load.acknowledged} orders were acknowledged, which is no load")
    if load.acknowledged_after < AFTER_LEAST:
        found.append(f"{load.acknowledged_after} orders were acknowledged after the fault")
    return found


def _authoritative(facts: Facts) -> LogFacts | None:
    """The log of the last leader; without one that is known, none: another may lack what is on its way."""
    if not facts.leaders:
        return None
    holder = facts.leaders[-1].holder
    return next((log for log in facts.logs if log.pod == holder), None)


_NO_LOG = Finding(InvariantState.UNKNOWN, "the log of the engine that leads was not read")


def _nothing_acknowledged_is_lost(facts: Facts) -> Finding:
    log = _authoritative(facts)
    if log is None:
        return _NO_LOG
    if log.lost:
        first = ", ".join(log.lost_first[:NAMED_IN_SENTENCE])
        return Finding(
            InvariantState.BROKEN,
            f"{log.lost} of {log.compared} acknowledged orders are not in the log of {log.pod}, or as others: {first}",
        )
    if log.compared < facts.load.acknowledged:
        return Finding(
            InvariantState.UNKNOWN, f"{log.compared} of {facts.load.acknowledged} acknowledged orders were compared"
        )
    return Finding(InvariantState.HELD, f"all {log.compared} acknowledged orders are in the log of {log.pod}")


def _nothing_is_carried_out_twice(facts: Facts) -> Finding:
    if not facts.logs:
        return _NO_LOG
    for log in facts.logs:
        if log.repeated:
            first = ", ".join(log.repeated_first[:NAMED_IN_SENTENCE])
            return Finding(
                InvariantState.BROKEN,
                f"{log.repeated} orders were carried out twice, says the log of {log.pod}: {first}",
            )
    if _authoritative(facts) is None:
        return _NO_LOG
    return Finding(InvariantState.HELD, "no order was carried out twice")


def _only_one_leaders_effects(facts: Facts) -> Finding:
    """What two members have, they have alike, chain and epochs."""
    if not facts.logs:
        return _NO_LOG
    for log in facts.logs:
        if log.damaged:
            return Finding(InvariantState.BROKEN, f"the log of {log.pod} is damaged: {log.damaged}")
    first, *others = facts.logs
    for other in others:
        common = sorted(first.chains.keys() & other.chains.keys(), key=int)
        for seq in common:
            if first.chains[seq] != other.chains[seq]:
                return Finding(InvariantState.BROKEN, f"the logs of {first.pod} and {other.pod} differ at seq {seq}")
        if not common:
            return Finding(InvariantState.UNKNOWN, f"the logs of {first.pod} and {other.pod} have no seq in common")
    if len(facts.logs) < facts.members:
        return Finding(InvariantState.UNKNOWN, f"{len(facts.logs)} of {facts.members} logs were read")
    return Finding(InvariantState.HELD, f"the {len(facts.logs)} logs are one log")


def _epochs_only_grow(facts: Facts) -> Finding:
    """In the record, in every log, and another one when another engine leads."""
    epochs = [leader.epoch for leader in facts.leaders]
    if any(later < sooner for sooner, later in itertools.pairwise(epochs)):
        return Finding(InvariantState.BROKEN, f"the epochs of the record were {epochs}")
    for log in facts.logs:
        runs = [epoch for epoch, _ in log.epochs]
        if any(later <= sooner for sooner, later in itertools.pairwise(runs)):
            return Finding(InvariantState.BROKEN, f"the epochs in the log of {log.pod} are {runs}")
    holders: dict[int, str] = {}
    for leader in facts.leaders:
        if holders.setdefault(leader.epoch, leader.holder) != leader.holder:
            return Finding(
                InvariantState.BROKEN, f"epoch {leader.epoch} had {holders[leader.epoch]} and {leader.holder}"
            )
    if not facts.leaders or not facts.logs:
        return Finding(InvariantState.UNKNOWN, "the record, or every log, was not read")
    return Finding(InvariantState.HELD, f"the record had the epochs {_told(epochs)}")


def _leads_who_should(facts: Facts) -> Finding:
    """A crash that nobody takes over from, or a take-over that nothing called for."""
    wanted = STRIKES[facts.scenario].another_leads
    if not facts.leaders or facts.bite is None:
        return Finding(InvariantState.UNKNOWN, "who led before and after the fault is not known")
    first, last = facts.leaders[0], facts.leaders[-1]
    another = last.epoch > first.epoch
    said = f"{first.holder} led epoch {first.epoch}, then {last.holder} epoch {last.epoch}"
    if wanted is None or another == wanted:
        return Finding(InvariantState.HELD, said)
    if wanted:
        return Finding(InvariantState.BROKEN, f"nobody took over: {said}")
    return Finding(InvariantState.BROKEN, f"there was a take-over that nothing called for: {said}")


def _engine_is_replay(facts: Facts) -> Finding:
    """The state of each engine at its last checkpoint is what a kernel of its own makes of the log."""
    compared = 0
    for engine in facts.engines:
        for log in facts.logs:
            replayed = log.states.get(str(engine.checkpoint_seq))
            if replayed is None or not engine.state_hash:
                continue
            if replayed != engine.state_hash:
                return Finding(
                    InvariantState.BROKEN,
                    f"{engine.pod} has another state at seq {engine.checkpoint_seq} than the log of {log.pod} makes",
                )
            compared += 1
    if not compared:
        return Finding(InvariantState.UNKNOWN, "no engine's state could be held against a replay of a log")
    return Finding(InvariantState.HELD, f"{compared} states of engines are what a replay makes")


def _engine_is_ledger(facts: Facts) -> Finding:
    ledger = facts.ledger
    if ledger.found or ledger.equal is False:
        return Finding(InvariantState.BROKEN, f"the ledger found: {ledger.found or 'it is not equal to the engine'}")
    if ledger.equal is None or ledger.equal_seq < ledger.wanted_seq or not ledger.wanted_seq:
        return Finding(
            InvariantState.UNKNOWN,
            f"the ledger compared itself with the engine at seq {ledger.equal_seq}, not at seq {ledger.wanted_seq} or "
            f"later",
        )
    return Finding(InvariantState.HELD, f"every balance was equal at seq {ledger.equal_seq}")


def _no_book_is_crossed(facts: Facts) -> Finding:
    crossed = [*facts.stream.crossed, *(name for log in facts.logs for name in log.crossed)]
    if crossed:
        return Finding(InvariantState.BROKEN, f"crossed: {', '.join(crossed[:5])}")
    if not facts.logs or not any(log.updates for log in facts.logs):
        return Finding(InvariantState.UNKNOWN, "no update of a book was seen")
    return Finding(InvariantState.HELD, f"after each of {max(log.updates for log in facts.logs)} updates")


def _update_ids_are_contiguous(facts: Facts) -> Finding:
    gaps = [gap for log in facts.logs for gap in log.update_gaps]
    if gaps:
        return Finding(InvariantState.BROKEN, f"in the logs: {', '.join(gaps[:5])}")
    if not facts.logs or not any(log.updates for log in facts.logs):
        return Finding(InvariantState.UNKNOWN, "no update of a book was seen")
    return Finding(InvariantState.HELD, "in every log, of every book")


def _market_data_has_no_gap(facts: Facts) -> Finding:
    stream = facts.stream
    gaps = [*stream.trade_gaps, *stream.book_gaps]
    if gaps:
        return Finding(InvariantState.BROKEN, f"a client heard: {', '.join(gaps[:5])}")
    if not stream.trades or not stream.books:
        return Finding(InvariantState.UNKNOWN, f"a client heard {stream.trades} trades and {stream.books} books")
    return Finding(InvariantState.HELD, f"a client heard {stream.trades} trades and {stream.books} books without one")


def _status_is_true(facts: Facts) -> Finding | None:
    """What people read with kubectl. None: it is of before that was looked at."""
    status = facts.status
    if status is None:
        return None
    if not facts.leaders:
        return Finding(InvariantState.UNKNOWN, "who leads was not seen, so the status could be held against nothing")
    last = facts.leaders[-1]
    said = f"the EngineShard says that {status.leader or 'nobody'} leads epoch {status.epoch}"
    if (status.leader, status.epoch) == (last.holder, last.epoch):
        return Finding(InvariantState.HELD, said)
    return Finding(InvariantState.BROKEN, f"{said}, and the record {last.holder} and {last.epoch}")


def _halted_stays_halted(facts: Facts) -> Finding | None:
    """None: no symbol was halted, so there is nothing to say."""
    halt = facts.halt
    if halt is None:
        return None
    if halt.accepted:
        return Finding(
            InvariantState.BROKEN,
            f"{halt.accepted} orders were accepted in {halt.symbol}, which was halted: "
            f"{', '.join(halt.accepted_first)}",
        )
    if not halt.refused_before or not halt.refused_after:
        return Finding(InvariantState.UNKNOWN, f"orders in {halt.symbol} were not refused both before and after")
    total = halt.refused_before + halt.refused_during + halt.refused_after
    return Finding(InvariantState.HELD, f"{total} orders in {halt.symbol} were refused, before, during and after")


INVARIANTS: tuple[tuple[str, Callable[[Facts], Finding | None]], ...] = (
    ("NothingAcknowledgedIsLost", _nothing_acknowledged_is_lost),
    ("NothingIsCarriedOutTwice", _nothing_is_carried_out_twice),
    ("OnlyOneLeadersEffects", _only_one_leaders_effects),
    ("EpochsOnlyGrow", _epochs_only_grow),
    ("LeadsWhoShould", _leads_who_should),
    ("EngineIsReplay", _engine_is_replay),
    ("EngineIsLedger", _engine_is_ledger),
    ("NoBookIsCrossed", _no_book_is_crossed),
    ("UpdateIdsAreContiguous", _update_ids_are_contiguous),
    ("MarketDataHasNoGap", _market_data_has_no_gap),
    ("HaltedStaysHalted", _halted_stays_halted),
    ("StatusIsTrue", _status_is_true),
)


def _told(epochs: list[int]) -> str:
    return ", ".join(str(epoch) for epoch in dict.fromkeys(epochs))
