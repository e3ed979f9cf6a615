"""Halts, and what holds a symbol: the conditions of a Halt, a symbol's effective state. What was observed in.

Nothing here halts or lifts anything: engines do, and acknowledge it; a plan never does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from openbourse.contracts.resources import AcknowledgementState, Halt, Symbol
from openbourse.operator import listed
from openbourse.operator.facts import Fact
from openbourse.operator.observed import Observed

# The most restrictive last.
STATES = ("TRADING", "AUCTION", "POST_ONLY", "CANCEL_ONLY", "HALT")
# As the engine names the halt of a Halt object; other names are other sources'.
_OBJECT = re.compile(r"(?P<name>[a-z0-9.-]{1,63})/[0-9a-f-]{36}(/.*)?")


@dataclass(frozen=True, slots=True)
class Effective:
    """What a symbol accepts. `held_by` is what keeps it from trading, empty in TRADING; `reason` says why."""

    state: str
    held_by: str = ""
    reason: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.state} by {self.held_by}: {self.reason}" if self.held_by else self.state


def halt_facts(observed: Observed, halt: Halt) -> list[Fact]:
    """Acknowledged: every shard in scope has answered Halted (or, when it is over, Lifted). Expired: by the clock."""
    if observed.exchange is None:
        missing = f"there is no Exchange {observed.name} in this namespace: nothing is halted"
        return [Fact("Acknowledged", False, "NoExchange", missing)]
    expired = halt.ends_at is not None and halt.ends_at <= observed.now
    until = "until it is deleted" if halt.ends_at is None else f"until {halt.ends_at:%Y-%m-%d %H:%M:%S} UTC"
    return [
        _acknowledged(observed, halt, expired=expired),
        Fact("Expired", expired, "TimeIsOver" if expired else "InForce", until),
        _scope_exists(observed, halt),
        *_two_persons(observed, halt),
    ]


def effective(observed: Observed, symbol: Symbol) -> Effective:
    """The most restrictive of what the shard's engine says lately and of the Halts that it has acknowledged.

    The engine knows all that holds a symbol, also what no object says; the Halts tell while it is silent.
    """
    sources = [Effective("TRADING"), *_of_halts(observed, symbol), *_of_engine(observed, symbol)]
    return max(reversed(sources), key=lambda source: STATES.index(source.state))


def holder(name: str) -> str:
    """What holds a symbol, for people, by the name that its engine has for it."""
    found = _OBJECT.fullmatch(name)
    return f"Halt/{found['name']}" if found else name


def _of_engine(observed: Observed, symbol: Symbol) -> Iterator[Effective]:
    leader = observed.leader(listed.home(observed, symbol))
    if leader is None:
        return
    _, facts = leader
    for market in facts.markets:
        if symbol.spec.name in market.symbols and market.state in STATES:
            reason = facts.safety.why if market.held_by == "safety" and facts.safety.why else market.reason
            yield Effective(market.state, holder(market.held_by), reason)


def _of_halts(observed: Observed, symbol: Symbol) -> Iterator[Effective]:
    shard = listed.home(observed, symbol)
    for halt in sorted(observed.halts, key=lambda halt: halt.metadata.name):
        entry = halt.status.by(shard)
        is_in_force = entry is not None and entry.state is AcknowledgementState.HALTED
        if is_in_force and halt.spec.covers(symbol.spec.name, shard):
            yield Effective(halt.spec.mode.value, f"Halt/{halt.metadata.name}", halt.spec.reason)


def _traded(observed: Observed) -> list[tuple[str, str]]:
    """Each symbol with the shard that it is to be in, and with the one that has it."""
    return [(s.spec.name, shard) for s in observed.symbols for shard in (s.spec.shard, s.status.shard) if shard]


def _acknowledged(observed: Observed, halt: Halt, *, expired: bool) -> Fact:
    scope = halt.spec.scope((shard.metadata.name for shard in observed.shards), _traded(observed))
    if not scope:
        named = ", ".join(sorted(halt.spec.symbols or halt.spec.shards))
        what = f"any of {named}" if named else "any shard"
        return Fact("Acknowledged", False, "NothingInScope", f"exchange {observed.name} does not have {what}")
    wanted = AcknowledgementState.LIFTED if expired else AcknowledgementState.HALTED
    open_, refused = [], []
    for shard in scope:
        entry = halt.status.by(shard)
        if entry is None or (entry.state is not wanted and entry.state is not AcknowledgementState.REFUSED):
            open_.append(shard)
        elif entry.state is AcknowledgementState.REFUSED:
            refused.append(f"{shard}: {entry.message}")
    if refused:
        return Fact("Acknowledged", False, "Refused", "; ".join(refused))
    if open_:
        return Fact("Acknowledged", False, "Waiting", f"no answer yet from {', '.join(open_)}")
    return Fact("Acknowledged", True, wanted.value, f"by {', '.join(scope)}")


def _scope_exists(observed: Observed, halt: Halt) -> Fact:
    """A name that is wrong halts nothing, and is best seen at once."""
    shards = {shard.metadata.name for shard in observed.shards}
    symbols = {symbol.spec.name for symbol in observed.symbols}
    problems = [
        f"there is no {kind} {', '.join(missing)} (there are: {', '.join(sorted(there)) or 'none'})"
        for kind, named, there in (("shard", halt.spec.shards, shards), ("symbol", halt.spec.symbols, symbols))
        if (missing := sorted(set(named) - there))
    ]
    if problems:
        message = f"{'; '.join(problems)}: it is halted from the day on that it is there"
        return Fact("ScopeExists", False, "NamesNothing", message)
    return Fact("ScopeExists", True, "AllThere", "")


def _two_persons(observed: Observed, halt: Halt) -> Iterator[Fact]:
    if not halt.spec.two_person:
        return
    if observed.two_person_held is None:
        yield Fact("TwoPersonEnforced", None, "NotKnown", "the operator may not read the admission policy for Halts")
    elif observed.two_person_held:
        who = f"another user than {halt.spec.requester} lifts it"
        yield Fact("TwoPersonEnforced", True, "PolicyInForce", who)
    else:
        why = "the admission policy openbourse-halts is not in force: whoever may delete this Halt can lift it alone"
        yield Fact("TwoPersonEnforced", False, "NoPolicy", f"{why}; install it with the chart (admission.enabled)")
