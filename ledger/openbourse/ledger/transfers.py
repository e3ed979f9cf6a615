"""Money that enters from outside, in two phases: recorded as pending, then posted or voided. Pure.

    pending ──(the engine's FundsCredited is settled)──> posted
       └─────(the engine refused the credit)───────────> voided

The transfer's id is the command's id, so however often the credit is sent the engine carries it out once. Nothing
here sends, waits or writes.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from openbourse.contracts import v1
from openbourse.contracts.units import InvalidDecimal, parse_units
from openbourse.ledger.accounts import trader
from openbourse.ledger.errors import Conflict, Invalid


class TransferState(StrEnum):
    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Deposit:
    """What somebody asks for: `amount` min-units of `asset` from outside into a trader's account."""

    transfer_id: uuid.UUID
    account: int
    asset: str
    amount: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A deposit and what became of it."""

    deposit: Deposit
    state: TransferState
    # Why it was voided.
    reason: str
    # The event that posted it.
    posted_seq: int | None


def deposit(account: int, asset: str, amount: str, transfer_id: uuid.UUID, scales: Mapping[str, int]) -> Deposit:
    """Reads a request; `scales` has every asset that the shard lists. Raises Invalid, saying what is allowed."""
    trader(account)
    if asset not in scales:
        raise Invalid(not_listed(asset, scales))
    try:
        units = parse_units(amount, scales[asset])
    except InvalidDecimal as error:
        raise Invalid(f"amount {error}") from None
    if units == 0:
        raise Invalid("amount must be greater than 0")
    return Deposit(transfer_id, account, asset, units)


def not_listed(asset: str, scales: Mapping[str, int]) -> str:
    """What to say of an asset that is not among those of the shard."""
    return f"asset {asset[:40]!r} is not listed (listed: {', '.join(sorted(scales)) or 'none yet'})"


def resume(existing: Transfer, wanted: Deposit) -> Transfer:
    """The transfer that already has the wanted id. Raises Conflict when it is about something else."""
    if existing.deposit != wanted:
        raise Conflict(f"transfer {wanted.transfer_id} exists with another account, asset or amount; use a new id")
    return existing


def credit_command(deposit: Deposit) -> v1.Command:
    """The same command for the same deposit, whenever it is made."""
    return v1.Command(
        command_id=deposit.transfer_id.bytes,
        correlation_id=str(deposit.transfer_id),
        causation_id=f"transfer/{deposit.transfer_id}",
        credit_funds=v1.CreditFunds(
            transfer_id=str(deposit.transfer_id),
            account=deposit.account,
            asset=deposit.asset,
            amount=deposit.amount,
        ),
    )


def refusal(reply: v1.Reply) -> str | None:
    """Why the engine refused the credit, or None: it was carried out and its event is on the way."""
    if reply.WhichOneof("result") != "rejection":
        return None
    reason = v1.RejectReason.Name(reply.rejection.reason).removeprefix("REJECT_REASON_")
    return f"{reason}: {reply.rejection.detail}" if reply.rejection.detail else reason
