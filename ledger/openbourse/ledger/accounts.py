"""Whose money an account holds, and what that allows. Pure: the database enforces the same rules by itself.

Every account has, for each asset and shard, what is available and what is on hold for open orders.
"""

from enum import StrEnum

from openbourse.contracts.units import EXTERNAL_ACCOUNT, FEES_ACCOUNT, FIRST_TRADER, INT64_MAX
from openbourse.ledger.errors import Invalid


class AccountKind(StrEnum):
    """Who is behind an account."""

    FEES = "fees"
    # The world outside: what was deposited less what was withdrawn, so it runs below zero.
    EXTERNAL = "external"
    TRADER = "trader"


def kind_of(account: int) -> AccountKind | None:
    """None: no such account can exist."""
    if account == FEES_ACCOUNT:
        return AccountKind.FEES
    if account == EXTERNAL_ACCOUNT:
        return AccountKind.EXTERNAL
    return AccountKind.TRADER if FIRST_TRADER <= account <= INT64_MAX else None


def trader(account: int) -> int:
    """The account, if it is a trader's. Raises Invalid."""
    if kind_of(account) is not AccountKind.TRADER:
        raise Invalid(f"account {account} is not a trader's: those are {FIRST_TRADER} to {INT64_MAX}")
    return account
