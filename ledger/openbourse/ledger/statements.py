"""An account's statement in one asset: every entry that moved it, the newest first, with the balance after each. Pure.

A page goes backward from a balance that is known: the one that is kept now, or the one that the page before ended with,
which its cursor carries. The oldest page has to end at nothing: that is checked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from openbourse.contracts.units import INT64_MAX
from openbourse.ledger.errors import Invalid

_CURSOR = re.compile(r"([0-9]{1,19})\.([0-9]{1,9})\.(-?[0-9]{1,19})\.(-?[0-9]{1,19})", re.ASCII)


class Movement(NamedTuple):
    """What one entry moved of the account and asset."""

    seq: int
    event_index: int
    kind: str
    symbol: str
    correlation_id: str
    occurred_at_us: int
    available: int
    hold: int
    # Of a leg of a move: which way, in words.
    about: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A movement, and what was available and on hold after it."""

    movement: Movement
    available_after: int
    hold_after: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page begins: with what is older than this entry, and the balance after that."""

    seq: int
    index: int
    available: int
    hold: int

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises Invalid."""
        match = _CURSOR.fullmatch(text)
        if match is None or max(abs(int(part)) for part in match.groups()) > INT64_MAX:
            raise Invalid(f"before {text[:80]!r} is no cursor: give `next` of the page before")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.seq}.{self.index}.{self.available}.{self.hold}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One page. `next` is None on the oldest one."""

    lines: list[Line]
    next: Cursor | None


def page(movements: Sequence[Movement], available: int, hold: int, limit: int) -> Statement:
    """From movements, the newest first and one more than `limit` when there are older ones, and the balance after them.

    Raises Invalid when the oldest page does not begin at nothing: the cursor was not one of this account and asset.
    """
    lines = []
    for movement in movements[:limit]:
        lines.append(Line(movement, available, hold))
        available, hold = available - movement.available, hold - movement.hold
    if len(movements) > limit:
        last = movements[limit - 1]
        return Statement(lines, Cursor(last.seq, last.event_index, available, hold))
    if (available, hold) != (0, 0):
        raise Invalid(
            f"the statement does not begin at nothing but at {available} available and {hold} on hold: the cursor is "
            "of another account or asset; without a cursor, the books are wrong: run `openbourse ledger reconcile`"
        )
    return Statement(lines, None)
