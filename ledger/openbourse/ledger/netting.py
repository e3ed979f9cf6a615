"""What entries change in the balances, one change for each balance however many entries move it. Pure.

It is netted where the entries are read, ahead of the settlement that they will be a part of: that one only puts the
changes of its deliveries together.
"""

from collections.abc import Sequence
from typing import NamedTuple

from openbourse.contracts.units import FEES_ACCOUNT, INT64_MAX
from openbourse.ledger.accounts import kind_of
from openbourse.ledger.errors import Diverged
from openbourse.ledger.rows import Entry

# (account, asset) -> [available, hold].
Changes = dict[tuple[int, str], list[int]]


class Delta(NamedTuple):
    """Net change of one balance over a whole batch."""

    account: int
    asset: str
    available: int
    hold: int


def add(changes: Changes, entries: Sequence[Entry]) -> None:
    """What the entries move, on top of `changes`."""
    # One call for each change would be half of what netting costs.
    for _, _, _, _, _, _, _, account, counter_account, legs, other_legs, _ in entries:
        for asset, available, hold, counter_available, counter_hold, fees in (
            (legs,) if other_legs is None else (legs, other_legs)
        ):
            change = changes.get((account, asset))
            if change is None:
                changes[account, asset] = [available, hold]
            else:
                change[0] += available
                change[1] += hold
            if counter_account is not None:
                change = changes.get((counter_account, asset))
                if change is None:
                    changes[counter_account, asset] = [counter_available, counter_hold]
                else:
                    change[0] += counter_available
                    change[1] += counter_hold
            if fees:
                change = changes.get((FEES_ACCOUNT, asset))
                if change is None:
                    changes[FEES_ACCOUNT, asset] = [fees, 0]
                else:
                    change[0] += fees


def merge(changes: Changes, more: Changes) -> None:
    """`more` on top of `changes`; `more` itself stays as it is, for another attempt to settle it."""
    for balance, (available, hold) in more.items():
        change = changes.get(balance)
        if change is None:
            changes[balance] = [available, hold]
        else:
            change[0] += available
            change[1] += hold


def deltas(changes: Changes, last_seq: int) -> list[Delta]:
    """By account, then asset; what nets to nothing is left out. Raises Diverged for what cannot be a balance."""
    for (account, asset), (available, hold) in changes.items():
        if kind_of(account) is None:
            raise Diverged(f"through seq {last_seq}: account {account} cannot exist")
        if not -INT64_MAX <= available <= INT64_MAX or not -INT64_MAX <= hold <= INT64_MAX:
            raise Diverged(f"through seq {last_seq}: {asset} of account {account} leaves the range of 64 bits")
    return [Delta(account, asset, *change) for (account, asset), change in sorted(changes.items()) if any(change)]
