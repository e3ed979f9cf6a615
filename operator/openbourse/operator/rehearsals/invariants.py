"""From what was seen to what held: each invariant with its sentence, and the verdict. Values in, values out.

Passed is said only of a rehearsal that came to its end, whose fault was proved to have bitten, and of which everything
was seen. Whatever is missing makes it Inconclusive; a broken invariant makes it Failed, however it ended.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openbourse.contracts.resources import Verdict
from openbourse.contracts.resources.rehearsal import InvariantState
from openbourse.operator.rehearsals.facts import Facts, Pause
from openbourse.operator.rehearsals.proofs import fault_problem
from openbourse.operator.rehearsals.scenarios import STRIKES
from openbourse.operator.rehearsals.shards import authoritative, each_alone, stays, together
from openbourse.operator.rehearsals.whereabouts import Place, id_problems, moved, problems

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
    """Acknowledged orders that the log of whoever has the most lacks, or that of each shard."""
    if facts.others:
        both = together(facts)
        return None if both is None or both.compared < facts.load.acknowledged else both.lost
    log = authoritative(facts)
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


_NO_LOG = Finding(InvariantState.UNKNOWN, "the log of the engine that leads was not read")
_NOT_ALL_LOGS = Finding(InvariantState.UNKNOWN, "not of each shard the log of the engine that leads was compared")


def _of_each(check: Callable[[Facts], Finding | None]) -> Callable[[Facts], Finding | None]:
    """What holds in each shard for itself: what is broken in one is broken, what is unknown in one is unknown."""

    def of_all(facts: Facts) -> Finding | None:
        found = [(name, made) for name, alone in each_alone(facts) if (made := check(alone)) is not None]
        if len(found) < 2:
            return found[0][1] if found else None
        for state in (InvariantState.BROKEN, InvariantState.UNKNOWN):
            if said := [f"shard {name}: {made.sentence}" for name, made in found if made.state is state]:
                return Finding(state, "; ".join(said))
        return Finding(InvariantState.HELD, "; ".join(f"shard {name}: {made.sentence}" for name, made in found))

    return of_all


def _nothing_acknowledged_is_lost(facts: Facts) -> Finding:
    if facts.others:
        both = together(facts)
        if both is None:
            return _NOT_ALL_LOGS
        return _lost(facts, both.lost, both.lost_first, both.compared, f"the logs of {' and '.join(both.pods)}")
    log = authoritative(facts)
    if log is None:
        return _NO_LOG
    return _lost(facts, log.lost, log.lost_first, log.compared, f"the log of {log.pod}")


def _lost(facts: Facts, lost: int, lost_first: Sequence[str], compared: int, where: str) -> Finding:
    if lost:
        first = ", ".join(lost_first[:NAMED_IN_SENTENCE])
        return Finding(
            InvariantState.BROKEN,
            f"{lost} of {compared} acknowledged orders are not in {where}, or as others: {first}",
        )
    if compared < facts.load.acknowledged:
        return Finding(
            InvariantState.UNKNOWN, f"{compared} of {facts.load.acknowledged} acknowledged orders were compared"
        )
    return Finding(InvariantState.HELD, f"all {compared} acknowledged orders are in {where}")


def _nothing_is_carried_out_twice(facts: Facts) -> Finding:
    found = _of_each(_nothing_twice_in_its_logs)(facts)
    assert found is not None, "each shard says something"
    if not facts.others or found.state is InvariantState.BROKEN:
        return found
    both = together(facts)
    if both is None:
        return _NOT_ALL_LOGS
    if both.repeated:
        first = ", ".join(both.repeated_first[:NAMED_IN_SENTENCE])
        return Finding(
            InvariantState.BROKEN, f"{both.repeated} orders were carried out in more than one shard: {first}"
        )
    return found


def _nothing_twice_in_its_logs(facts: Facts) -> Finding:
    if not facts.logs:
        return _NO_LOG
    for log in facts.logs:
        if log.repeated:
            first = ", ".join(log.repeated_first[:NAMED_IN_SENTENCE])
            return Finding(
                InvariantState.BROKEN,
                f"{log.repeated} orders were carried out twice, says the log of {log.pod}: {first}",
            )
    if authoritative(facts) is None:
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
    """The stream is of the symbol, in whichever shard it is."""
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


def _ids_go_on(facts: Facts) -> Finding | None:
    found = _of_each(_update_ids_are_contiguous)(facts)
    if not facts.others or (found is not None and found.state is InvariantState.BROKEN):
        return found
    known = stays(facts)
    if known is None:
        return _NOT_ALL_LOGS
    if gaps := id_problems(known):
        return Finding(InvariantState.BROKEN, f"over all shards: {'; '.join(gaps[:5])}")
    return found


def _symbol_is_in_one_shard(facts: Facts) -> Finding | None:
    """None: no symbol was moved, so there is nothing to say."""
    if not facts.others:
        return None
    known = stays(facts)
    if known is None or len(known) < 2:
        return _NOT_ALL_LOGS
    if broken := problems(known):
        return Finding(InvariantState.BROKEN, "; ".join(broken[:5]))
    if here := [stay.shard for stay in known if stay.last is Place.FROZEN]:
        return Finding(InvariantState.UNKNOWN, f"it is on its way from shard {here[0]} still")
    ways = [f"from {each.from_shard} to {each.to_shard} after {each.paused_ms} ms in neither" for each in moved(known)]
    if not ways:
        return Finding(InvariantState.UNKNOWN, "no move was found in the logs of both shards")
    return Finding(InvariantState.HELD, ", ".join(ways))


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
    ("OnlyOneLeadersEffects", _of_each(_only_one_leaders_effects)),
    ("EpochsOnlyGrow", _of_each(_epochs_only_grow)),
    ("LeadsWhoShould", _of_each(_leads_who_should)),
    ("EngineIsReplay", _of_each(_engine_is_replay)),
    ("EngineIsLedger", _of_each(_engine_is_ledger)),
    ("NoBookIsCrossed", _of_each(_no_book_is_crossed)),
    ("UpdateIdsAreContiguous", _ids_go_on),
    ("MarketDataHasNoGap", _market_data_has_no_gap),
    ("HaltedStaysHalted", _halted_stays_halted),
    ("StatusIsTrue", _of_each(_status_is_true)),
    ("SymbolIsInOneShard", _symbol_is_in_one_shard),
)


def _told(epochs: list[int]) -> str:
    return ", ".join(str(epoch) for epoch in dict.fromkeys(epochs))
