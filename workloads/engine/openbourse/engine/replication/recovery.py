"""The record was lost or edited, or every member of the set is gone: nobody takes over by himself.

A person seals every volume that is left, above every epoch that was ever won, joined or written; then names the one
that has the most; then it takes over by the ordinary rules. Nothing here decides that a volume is gone: that takes
proof.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from openbourse.engine.replication.effects import NOTHING, Effects, Statement
from openbourse.engine.replication.member import Candidate, Member, Sealed, Unknown
from openbourse.engine.replication.promise import may_act
from openbourse.engine.replication.record import CompareAndSet, Record


def seal(member: Member, below: int) -> tuple[Member, Effects]:
    """From here on everything below `below` is refused; the statement follows once that is durable."""
    if below < member.promise or (below == member.promise and not isinstance(member.role, Sealed)):
        return member, Effects(said=(f"is not sealed below {below}: promised epoch {member.promise}, choose above it",))
    member = replace(member, promise=below, role=Sealed(asked=True), suspected=frozenset(), waiting=None)
    if may_act(member.promised, below):
        return testify(member)
    return member, Effects(promise=below, said=(f"sealed below epoch {below}",))


def testify(member: Member) -> tuple[Member, Effects]:
    """Once the promise is durable, and the log with all that it may turn out to hold."""
    ready = may_act(member.promised, member.promise) and not member.cutting and member.durable == member.history.end
    if not ready:
        return member, NOTHING
    history = member.history
    statement = Statement(member.me.member, member.promise, history.last_epoch, history.end)
    return replace(member, role=Sealed(asked=False)), Effects(sealed=statement)


def seal_epoch(known: Iterable[int]) -> int:
    """The epoch to seal below: above every promise, and every epoch of a record, that anybody knows of."""
    return max(known, default=0) + 1


def recovered(
    below: int, statements: Collection[Statement], gone: frozenset[str], volumes: frozenset[str]
) -> Record | str:
    """The record to write, or why there is none: every volume must have testified, or be proven to be gone."""
    sealed = {statement.member for statement in statements if statement.below == below}
    missing = volumes - gone - sealed
    if missing:
        return f"not sealed below epoch {below} and not proven to be gone: {', '.join(sorted(missing))}"
    if not sealed:
        return "every volume is gone: there is nothing to recover"
    best = richest(statement for statement in statements if statement.below == below)
    return Record(below, None, frozenset({best.member}))


def richest(statements: Iterable[Statement]) -> Statement:
    """The highest last epoch, then the longest: a longer log of an older epoch has what was never committed."""
    return max(statements, key=lambda statement: (statement.last_epoch, statement.length, statement.member))


def found(member: Member) -> tuple[Member, Effects]:
    """The first record of a shard, from a volume on which nothing was ever promised or written."""
    if member.promise > 0 or member.history.end > 0 or not isinstance(member.role, Unknown):
        return member, Effects(said=(f"founds nothing: promised epoch {member.promise}, log {member.history}",))
    if member.waiting is not None:
        return member, Effects(said=("founds nothing yet: the record is being read",))
    ask = CompareAndSet(None, Record(1, member.me, frozenset({member.me.member})))
    return replace(member, role=Candidate(ask), waiting=ask), Effects(ask=ask, said=("founds the shard",))
