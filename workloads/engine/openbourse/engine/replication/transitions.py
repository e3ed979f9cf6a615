"""Which state of a member may follow which, and why: the diagram of docs/replication.md is made from this.

The tests hold it against the protocol: every change of state in a small world is in the table, and all of the table
happens. `python -m openbourse.engine.replication.transitions docs/replication.md` writes the diagram into the page.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from openbourse.engine.replication.member import State

BEGIN, END = "<!-- states: make regen -->", "<!-- end of states -->"


@dataclass(frozen=True, slots=True)
class Transition:
    before: State
    after: State
    why: str


TRANSITIONS = (
    Transition(State.UNKNOWN, State.JOINING, "an Offer, its epoch to be promised or the log to be cut"),
    Transition(State.UNKNOWN, State.STANDBY, "an Offer of the promised epoch, nothing to cut"),
    Transition(State.UNKNOWN, State.CANDIDATE, "in the set, the leader gone or its own older boot"),
    Transition(State.UNKNOWN, State.SEALED, "Seal, or a record older than the promise"),
    Transition(State.JOINING, State.STANDBY, "promise and cut are durable"),
    Transition(State.JOINING, State.CANDIDATE, "in the set, the leader suspected"),
    Transition(State.STANDBY, State.IN_SYNC, "the record names it"),
    Transition(State.IN_SYNC, State.STANDBY, "removed from the record"),
    Transition(State.STANDBY, State.JOINING, "an Offer of a newer epoch"),
    Transition(State.IN_SYNC, State.JOINING, "an Offer of a newer epoch"),
    Transition(State.STANDBY, State.CANDIDATE, "in the set, the leader suspected"),
    Transition(State.IN_SYNC, State.CANDIDATE, "in the set, the leader suspected"),
    Transition(State.CANDIDATE, State.LEADER, "won, and the promise is durable"),
    Transition(State.CANDIDATE, State.UNKNOWN, "lost"),
    Transition(State.CANDIDATE, State.JOINING, "an Offer, so somebody leads"),
    Transition(State.CANDIDATE, State.STANDBY, "an Offer of the promised epoch, nothing to cut"),
    Transition(State.LEADER, State.UNKNOWN, "the record names another"),
    Transition(State.LEADER, State.JOINING, "an Offer of a newer epoch"),
    Transition(State.SEALED, State.UNKNOWN, "the record is recovered"),
    Transition(State.SEALED, State.CANDIDATE, "the record is recovered and names it"),
    Transition(State.SEALED, State.JOINING, "an Offer of the recovered leader"),
    Transition(State.SEALED, State.STANDBY, "an Offer of the promised epoch, nothing to cut"),
    Transition(State.JOINING, State.SEALED, "Seal"),
    Transition(State.STANDBY, State.SEALED, "Seal"),
    Transition(State.IN_SYNC, State.SEALED, "Seal"),
    Transition(State.CANDIDATE, State.SEALED, "Seal, or a record older than the promise"),
    Transition(State.LEADER, State.SEALED, "Seal"),
    Transition(State.LEADER, State.STOPPED, "the record was edited, or two lead one epoch"),
    Transition(State.CANDIDATE, State.STOPPED, "two lead one epoch"),
    Transition(State.UNKNOWN, State.STOPPED, "the history differs below what is committed"),
    Transition(State.JOINING, State.STOPPED, "the history differs below what is committed, or two lead one epoch"),
    Transition(State.STANDBY, State.STOPPED, "two lead one epoch, or the log is a copy of another"),
    Transition(State.IN_SYNC, State.STOPPED, "two lead one epoch, or the log is a copy of another"),
)


def diagram() -> str:
    """As Mermaid."""
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state}" as {state.name}' for state in State if state.value != state.name.lower()]
    lines += [f"    [*] --> {_id(State.UNKNOWN)}: boot"]
    lines += [f"    {_id(row.before)} --> {_id(row.after)}: {row.why}" for row in TRANSITIONS]
    return "\n".join(lines)


def with_diagram(page: str) -> str:
    """The page with the diagram as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"the page has no {BEGIN!r} or no {END!r}"
    return f"{before}{BEGIN}\n```mermaid\n{diagram()}\n```\n{END}{after}"


def _id(state: State) -> str:
    return state.name if state.value != state.name.lower() else state.value


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_diagram(file.read_text()))
