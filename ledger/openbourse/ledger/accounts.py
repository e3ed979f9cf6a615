"""Whose money an account holds, and what that allows. Pure: the database enforces the same rules by itself.

Every account has, for each asset and shard, what is available and what is on hold for open orders.
"""

from enum import StrEnum

from openbourse.contracts.units import EXTERNAL_ACCOUNT, FEES_ACCOUNT, FIRST_TRADER, INT64_MAX
from openbourse.ledger.errors import Invalid

# Of the ledger alone: the engine knows neither.
SUSPENSE_ACCOUNT = 3
ADJUSTMENT_ACCOUNT = 4


class AccountKind(StrEnum):
    """Who is behind an account."""

    FEES = "fees"
    # What is outside of the shard, the world and other shards: what came in less what went out, so it runs below zero.
    EXTERNAL = "external"
    # What nobody knows yet whose it is, and what corrections are booked against: both may run below zero too.
    SUSPENSE = "suspense"
    ADJUSTMENT = "adjustment"
    TRADER = "trader"


# The shard's own accounts, between which people make manual entries.
HOUSE_ACCOUNTS = {
    FEES_ACCOUNT: AccountKind.FEES,
    EXTERNAL_ACCOUNT: AccountKind.EXTERNAL,
    SUSPENSE_ACCOUNT: AccountKind.SUSPENSE,
    ADJUSTMENT_ACCOUNT: AccountKind.ADJUSTMENT,
}
MAY_BE_NEGATIVE = frozenset({EXTERNAL_ACCOUNT, SUSPENSE_ACCOUNT, ADJUSTMENT_ACCOUNT})


def kind_of(account: int) -> AccountKind | None:
    """None: no such account can exist."""
    if account in HOUSE_ACCOUNTS:
        return HOUSE_ACCOUNTS[account]
    return AccountKind.TRADER if FIRST_TRADER <= account <= INT64_MAX else None


def trader(account: int) -> int:
    """The account, if it is a trader's. Raises Invalid."""
    if kind_of(account) is not AccountKind.TRADER:
        raise Invalid(f"account {account} is not a trader's: those are {FIRST_TRADER} to {INT64_MAX}")
    return account
