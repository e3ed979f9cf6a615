"""The facts of a rehearsal of several shards, by shard. Values in, values out.

A rehearsal has one shard, or the one that a symbol was moved from and the one that it was moved to.
"""

from openbourse.operator.rehearsals.facts import Facts, LogFacts, TogetherFacts
from openbourse.operator.rehearsals.whereabouts import Stay


def each_alone(facts: Facts) -> list[tuple[str, Facts]]:
    """Each shard with its name, and as if it were the only one; of one that is, the name is empty."""
    if not facts.others:
        return [("", facts)]
    found = [(facts.shard, facts.model_copy(update={"others": ()}))]
    for other in facts.others:
        names = ("begun_seq", "leaders", "members", "logs", "engines", "ledger", "status")
        update = {name: getattr(other, name) for name in names}
        found.append((other.shard, facts.model_copy(update={"shard": other.shard, "others": (), **update})))
    return found


def authoritative(facts: Facts) -> LogFacts | None:
    """The log of the last leader; without one that is known, none: another may lack what is on its way."""
    if not facts.leaders:
        return None
    holder = facts.leaders[-1].holder
    return next((log for log in facts.logs if log.pod == holder), None)


def together(facts: Facts) -> TogetherFacts | None:
    """None: orders were not held against the authoritative log of each shard."""
    logs = [authoritative(alone) for _, alone in each_alone(facts)]
    pods = tuple(sorted(log.pod for log in logs if log is not None))
    if facts.together is None or len(pods) < len(logs) or facts.together.pods != pods:
        return None
    return facts.together


def stays(facts: Facts) -> list[Stay] | None:
    """Of each shard, when it had the symbol. None: not of all of them is that known."""
    found = []
    for name, alone in each_alone(facts):
        log = authoritative(alone)
        if log is None or log.damaged or log.whereabouts is None:
            return None
        found.append(Stay(name or facts.shard, alone.begun_seq, log.whereabouts))
    return found
