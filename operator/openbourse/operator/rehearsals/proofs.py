"""Whether the fault of a rehearsal is proved to have bitten, or why not. Values in, a sentence out."""

from openbourse.operator.rehearsals.facts import Bite, DiskFacts, Facts, Under
from openbourse.operator.rehearsals.scenarios import STRIKES, Blow, Deed, Strike
from openbourse.operator.rehearsals.shards import stays
from openbourse.operator.rehearsals.whereabouts import moved

# Pods that are kept dead are started again by the kubelet, and killed at the next look.
DOWN_PERCENT_LEAST = 80
# A disk is slow where at so many of the looks the log was waiting for a sync that began so long ago.
WAITED_MS = 20
WAITED_PERCENT_LEAST = 25
DISK_LOOKS_LEAST = 10


def fault_problem(facts: Facts) -> str:
    """Why the fault is not proved; empty: it is."""
    strike = STRIKES[facts.scenario]
    if problem := bite_problem(facts.bite, strike):
        return problem
    assert facts.bite is not None
    if strike.under is not None and (problem := _under_problem(facts, facts.under or Under(), strike.under)):
        return problem
    if strike.deed is Deed.RESTART and len(facts.bite.victims) < facts.members:
        return f"{len(facts.bite.victims)} of {facts.members} engines were replaced"
    if strike.deed is Deed.SLOW:
        return disk_problem(facts.disk_before or DiskFacts(), facts.disk_during or DiskFacts())
    if strike.deed is Deed.MOVE:
        return move_problem(facts)
    return ""


def bite_problem(bite: Bite | None, strike: Strike | Blow) -> str:
    """Of what was done itself, as those saw it who did it."""
    if bite is None:
        return "the fault was not made, or nobody saw it"
    if bite.problem:
        return f"the fault was not made as it should be: {bite.problem}"
    if bite.deed != strike.deed:
        return f"another fault was made: {bite.deed}, not {strike.deed}"
    match strike.deed:
        case Deed.KILL:
            return "" if bite.gone else f"the process of {bite.pod} was not seen to be gone"
        case Deed.MOVE:
            return "" if bite.lifted else f"{bite.pod} was not moved back"
        case Deed.RESTART:
            return "" if bite.gone else "the engines were not seen to be replaced"
        case Deed.FREEZE:
            if bite.looks == 0 or bite.stopped < bite.looks:
                return f"the process of {bite.pod} was stopped at {bite.stopped} of {bite.looks} looks"
        case Deed.SLOW:
            if bite.looks == 0 or bite.seen < bite.looks or not bite.writes:
                told = f"{bite.seen} of {bite.looks} looks, and {bite.writes} writes passed it"
                return f"the limit for the disk of {bite.pod} was in force at {told}"
        case Deed.DOWN:
            if not bite.gone or not bite.kills:
                return f"the processes of {', '.join(bite.victims) or bite.pod} were not all seen to be gone"
            if bite.seen * 100 < bite.looks * DOWN_PERCENT_LEAST or not bite.looks:
                return f"nothing ran in {', '.join(bite.victims)} at {bite.seen} of {bite.looks} looks only"
    sides = strike.sides if isinstance(strike, Strike) else ()
    idle = [side for side in sides if not bite.dropped.get(side)]
    if idle:
        return f"no packet of {bite.pod} to or from {', '.join(idle)} was dropped"
    return "" if bite.lifted else f"the fault in {bite.pod} was not taken away"


def _under_problem(facts: Facts, under: Under, wanted: Blow) -> str:
    """It has to have been there when the fault was made, and when the record said that another engine led."""
    if not under.bites:
        return f"nobody saw that {wanted.sentence}"
    for bite in under.bites:
        if problem := bite_problem(bite, wanted):
            return problem
    led_ms = next((each.at_ms for each in facts.leaders if each.epoch > facts.leaders[0].epoch), None)
    if under.struck_ms is None or under.lifted_ms is None or facts.struck_ms is None or led_ms is None:
        return f"when {wanted.sentence} is not known, or nobody took over"
    if not under.struck_ms <= facts.struck_ms <= led_ms <= under.lifted_ms:
        return (
            f"{wanted.sentence} from {under.struck_ms} to {under.lifted_ms} ms, and the fault was made at "
            f"{facts.struck_ms} and another engine led at {led_ms} ms"
        )
    return ""


def move_problem(facts: Facts) -> str:
    """Away and back: the status has to say that each move is done, and the logs of both shards have to have it."""
    if len(facts.moves) != 2:
        return f"{len(facts.moves)} moves were asked for, and not one away and one back"
    away, back = facts.moves
    other = [each.shard for each in facts.others]
    if (away.from_shard, [away.to_shard]) != (facts.shard, other) or (back.from_shard, back.to_shard) != (
        away.to_shard,
        away.from_shard,
    ):
        ways = ", ".join(f"from {each.from_shard} to {each.to_shard}" for each in facts.moves)
        return f"{away.symbol} was moved {ways}, which is not away from {facts.shard} and back"
    for each in facts.moves:
        if each.state != "Completed" or each.over_ms is None:
            state = each.state or "nothing"
            return f"of the move of {each.symbol} from {each.from_shard} to {each.to_shard} its status says {state}"
    known = stays(facts)
    if known is None:
        return "the logs of both shards do not say whether the symbol was moved"
    seen = {(each.move, each.from_shard, each.to_shard) for each in moved(known)}
    for each in facts.moves:
        if (each.move, each.from_shard, each.to_shard) not in seen:
            return f"the logs do not have the move {each.move} from {each.from_shard} to {each.to_shard}"
    return ""


def disk_problem(before: DiskFacts, during: DiskFacts) -> str:
    """The engine itself has to have waited for it, and not as it did before."""
    if before.looks < DISK_LOOKS_LEAST or during.looks < DISK_LOOKS_LEAST:
        return (
            f"the engine was asked for its disk {before.looks} times before and {during.looks} times during the fault"
        )
    if during.waited * 100 < during.looks * WAITED_PERCENT_LEAST:
        return f"the log waited for its disk at {during.waited} of {during.looks} looks only"
    if before.waited * during.looks * 2 > during.waited * before.looks:
        return f"the log waited for its disk before, too: at {before.waited} of {before.looks} looks"
    return ""
