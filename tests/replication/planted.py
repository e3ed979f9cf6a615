"""Bugs that somebody could write, each as the function that it replaces: the core itself has no switch for them.

A rule of the protocol is one small function with a name. A planted bug puts a wrong one in its place, so what is wrong
can be read here, and code that runs in production cannot be configured to be wrong.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from replication.parts import Bounds

from openbourse.engine.replication import hand_over, joining, progress, protocol, recovery, sessions, take_over
from openbourse.engine.replication.effects import Effects, Send, Statement
from openbourse.engine.replication.history import History
from openbourse.engine.replication.inputs import Conflicted, Succeeded, Unsettled
from openbourse.engine.replication.member import Joining, Leader, Member, Progress, Standby
from openbourse.engine.replication.messages import Ack, Append, Offer, Release
from openbourse.engine.replication.record import CompareAndSet, Held, Record

PACKAGE = "openbourse.engine.replication"


@dataclass(frozen=True, slots=True)
class Bug:
    """`rule` is the number in docs/replication.md; `replaced` says which names of which modules become what."""

    name: str
    rule: int
    bounds: Bounds
    replaced: tuple[tuple[str, str, Callable[..., Any]], ...]
    # Whether it takes some ten seconds to find.
    is_deep: bool = False

    def plant(self, patch: Callable[[Any, str, Any], None]) -> None:
        for module, name, wrong in self.replaced:
            target = importlib.import_module(module if module.startswith("replication.") else f"{PACKAGE}.{module}")
            assert hasattr(target, name)
            patch(target, name, wrong)


def _acknowledges_what_is_written(member: Member, standby: Standby, append: Append) -> tuple[Member, Effects]:
    after, effects = _appended(member, standby, append)
    if effects.write is None:
        return after, effects
    ack = Ack(standby.offer.epoch, member.me.member, effects.write.last)
    return after, replace(effects, send=(Send(standby.place, ack),))


def _counts_what_is_written_here(member: Member, leader: Leader, durable: int) -> int:
    del durable
    return _committed(member, leader, member.history.end)


def _counts_without_the_suspected(member: Member, leader: Leader, durable: int) -> int:
    return _committed(member, replace(leader, counted=leader.counted - member.suspected), durable)


def _only_the_confirmed(confirmed: frozenset[str], unsettled: frozenset[CompareAndSet]) -> frozenset[str]:
    del unsettled
    return confirmed


def _caught_up_with_the_commit_index(member: Member, leader: Leader, follower: Progress) -> bool:
    del leader
    return follower.matched >= member.commit


def _everything_matches(history: History, offer: Offer) -> int:
    del offer
    return history.end


def _the_shorter_matches(history: History, offer: Offer) -> int:
    if history.last_epoch == offer.epoch:
        return _matching(history, offer)
    return min(history.end, offer.base.end)


def _matches_unless_the_leader_is_newer(history: History, offer: Offer) -> int:
    return _matching(history, offer) if offer.base.last_epoch > history.last_epoch else history.end


def _joins_before_the_cut_is_durable(member: Member, joiner: Joining, *said: str) -> tuple[Member, Effects]:
    after, effects = _cut_back(member, joiner, *said)
    if effects.cut is None or not isinstance(after.role, Joining):
        return after, effects
    after, joined = joining.join(replace(after, cutting=False), joiner)
    return after, replace(effects, send=joined.send)


def _forgets_its_promise(me: Any, settings: Any, history: History, promise: int, committed: int) -> Any:
    del promise
    return _boot(me, settings, history, 0, committed)


def _leads_the_epoch_of_its_volume(member: Member, held: Held | None) -> take_over.Decision:
    if held is not None and held.record.leader is not None and held.record.leader.member == member.me.member:
        return take_over.Won(Held(replace(held.record, leader=member.me), held.version))
    return _decide(member, held)


def _leads_when_the_leader_is_silent(member: Member, held: Held | None) -> take_over.Decision:
    decision = _decide(member, held)
    if held is not None and isinstance(decision, take_over.TakeOver):
        return take_over.Won(Held(decision.ask.record, held.version))
    return decision


def _leads_when_it_is_released(member: Member, standby: Standby, release: Release) -> tuple[Member, Effects]:
    record = Record(release.epoch + 1, member.me, release.in_sync - {standby.offer.leader.member})
    return take_over.win(member, Held(record, release.version))


def _names_whom_it_likes(member: Member, leader: Leader) -> tuple[Send, ...]:
    return tuple(
        Send(send.place, replace(message, in_sync=message.in_sync | {str(leader.successor)}))
        for send in _released(member, leader)
        if isinstance(message := send.message, Release)
    )


def _leads_whenever_it_hears(member: Member, ask: CompareAndSet, version: str) -> tuple[Member, Effects]:
    return take_over.win(member, Held(ask.record, version))


def _takes_unknown_for_success(
    member: Member, event: Conflicted | Unsettled, ask: CompareAndSet
) -> tuple[Member, Effects]:
    if isinstance(event, Unsettled) and member.waiting == ask:
        return protocol.step(member, Succeeded(ask, ask.expected or "1"))
    return _failed(member, event, ask)


def _takes_conflict_for_success(
    member: Member, event: Conflicted | Unsettled, ask: CompareAndSet
) -> tuple[Member, Effects]:
    if isinstance(event, Conflicted) and member.waiting == ask and isinstance(member.role, Leader):
        return protocol.step(member, Succeeded(ask, "1"))
    return _failed(member, event, ask)


def _admits_everybody(highest: int, epoch: int) -> sessions.Admitted:
    return sessions.Admitted(max(highest, epoch))


def _names_the_longest(statements: Any) -> Statement:
    longest: Statement = max(statements, key=lambda statement: statement.length)
    return longest


def _names_without_seals(below: int, statements: Any, gone: Any, volumes: Any) -> Record | str:
    del gone, volumes
    return _recovered(below, statements, frozenset(), frozenset())


def _testifies_and_goes_on(member: Member, below: int) -> tuple[Member, Effects]:
    history = member.history.cut(member.durable)
    return member, Effects(sealed=Statement(member.me.member, below, history.last_epoch, history.end))


_released = hand_over.released
_appended = joining.appended
_matching = joining.matching
_cut_back = joining.cut_back
_committed = progress.committed
_boot = protocol.boot
_failed = protocol._failed
_decide = take_over.decide
_recovered = recovery.recovered


def _always(*_: Any) -> bool:
    return True


def _nothing(*_: Any) -> str:
    return ""


def _same(name: str) -> str:
    return name


_TWO = Bounds(epochs=3, commands=2, beats=False, hasty=False)
_POWER = Bounds(epochs=2, commands=1, beats=False, hasty=False, ghosts=False, power=True)
_LOSS = Bounds(epochs=3, commands=1, beats=False, hasty=False, ghosts=False, losses=1)
_HAND_OVER = Bounds(epochs=2, commands=1, beats=False, hasty=False, ghosts=False, hand_overs=True)
_RECOVERY = Bounds(epochs=3, commands=2, beats=False, hasty=False, ghosts=False, recoveries=1)

BUGS = (
    Bug(
        "a standby acknowledges before its fsync",
        1,
        _POWER,
        (("joining", "appended", _acknowledges_what_is_written),),
    ),
    Bug(
        "the leader commits before its own fsync",
        1,
        _POWER,
        (("leading", "committed", _counts_what_is_written_here),),
    ),
    Bug("a late add is not counted", 1, _TWO, (("in_sync", "counted", _only_the_confirmed),)),
    Bug("an unknown outcome is taken for success", 1, _TWO, (("protocol", "_failed", _takes_unknown_for_success),)),
    Bug("the set changes after the commit", 2, _TWO, (("leading", "committed", _counts_without_the_suspected),)),
    Bug(
        "caught up is measured by the commit index alone",
        3,
        _LOSS,
        (("in_sync", "is_caught_up", _caught_up_with_the_commit_index),),
        is_deep=True,
    ),
    Bug("a member outside of the set takes over", 4, _TWO, (("take_over", "in_set", _always),)),
    Bug(
        "a restarted leader goes on in its old epoch",
        4,
        _TWO,
        (("take_over", "decide", _leads_the_epoch_of_its_volume),),
    ),
    Bug(
        "a successor leads without a compare-and-set",
        4,
        _HAND_OVER,
        (("take_over", "released", _leads_when_it_is_released),),
    ),
    Bug(
        "the lead is handed to a follower outside of the set",
        4,
        _HAND_OVER,
        (("hand_over", "unfit", _nothing), ("hand_over", "released", _names_whom_it_likes)),
    ),
    Bug("an emptied volume keeps its name", 4, _LOSS, (("replication.worlds", "renew", _same),)),
    Bug("a standby follows sessions of older epochs", 5, _TWO, (("joining", "admits", _always),)),
    Bug("the promise is forgotten at a restart", 5, _TWO, (("protocol", "boot", _forgets_its_promise),)),
    Bug(
        "the promise is acted on before it is durable",
        5,
        replace(_POWER, epochs=3, commands=2),
        (("joining", "may_act", _always), ("take_over", "may_act", _always)),
        is_deep=True,
    ),
    Bug("a late success overrides a newer promise", 5, _TWO, (("take_over", "succeeded", _leads_whenever_it_hears),)),
    Bug("the cut-back is forgotten", 6, _TWO, (("joining", "matching", _everything_matches),)),
    Bug(
        "the cut-back is to the shorter length",
        6,
        replace(_TWO, beats=True, ghosts=False),
        (("joining", "matching", _the_shorter_matches),),
        is_deep=True,
    ),
    Bug(
        "the cut-back is for newer logs only",
        6,
        replace(_TWO, ghosts=False),
        (("joining", "matching", _matches_unless_the_leader_is_newer),),
    ),
    Bug(
        "the cut-back is not durable",
        6,
        replace(_POWER, commands=3),
        (("joining", "cut_back", _joins_before_the_cut_is_durable),),
        is_deep=True,
    ),
    Bug(
        "a volume in sync begins anew under its old name",
        6,
        replace(_TWO, epochs=2, ghosts=False, snapshots=True),
        (
            ("joining", "may_renew", _always),
            ("joining", "is_ahead", _always),
            ("replication.worlds", "name_of_renewed", _same),
        ),
        is_deep=True,
    ),
    Bug(
        "what a boot reads counts as durable",
        6,
        _POWER,
        (("protocol", "read_as_durable", lambda history: history.end),),
    ),
    Bug(
        "a leader that lost a write does not look who has",
        7,
        _TWO,
        (("protocol", "_failed", _takes_conflict_for_success),),
    ),
    Bug(
        "a silent leader's lease is taken for expired",
        8,
        _TWO,
        (("take_over", "decide", _leads_when_the_leader_is_silent),),
    ),
    Bug("a recovery does not seal", 9, _RECOVERY, (("recovery", "seal", _testifies_and_goes_on),), is_deep=True),
    Bug(
        "a recovery names the longest log",
        9,
        replace(_RECOVERY, epochs=4),
        (("recovery", "richest", _names_the_longest),),
        is_deep=True,
    ),
    Bug(
        "a recovery does not wait for every volume",
        9,
        _RECOVERY,
        (("replication.worlds", "recovered", _names_without_seals),),
        is_deep=True,
    ),
    Bug(
        "a downstream takes answers of older sessions",
        10,
        replace(_TWO, downstream=True),
        (("sessions", "admit", _admits_everybody),),
    ),
)
