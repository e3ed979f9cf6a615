"""Money that enters a shard or leaves it, in two phases: recorded as pending, then posted or voided. Pure.

    pending ──(the engine's FundsCredited or FundsDebited is settled)──> posted
       └─────(the engine refused: FundsDebitRejected, or its reply)────> voided

The transfer's id is the command's id, so however often it is sent the engine carries it out once. Nothing here sends,
waits or writes.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from openbourse.contracts import v1
from openbourse.contracts.units import InvalidDecimal, parse_units
from openbourse.ledger.accounts import trader
from openbourse.ledger.errors import Conflict, Invalid


class TransferState(StrEnum):
    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"


class Direction(StrEnum):
    """Between what is outside of the shard and a trader's account in it."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


class Leg(StrEnum):
    """Of a move between shards (openbourse.ledger.moves)."""

    # Out of the shard that it comes from.
    DEBIT = "debit"
    # Into the shard that it goes to.
    CREDIT = "credit"
    # Back into the one that it came from: the other refused it.
    RETURN = "return"


class LegOf(NamedTuple):
    """Which leg of which move a transfer is."""

    move_id: uuid.UUID
    leg: Leg


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What somebody asks for: `amount` min-units into a trader's account, or out of what it has available."""

    transfer_id: uuid.UUID
    direction: Direction
    account: int
    asset: str
    amount: int
    # None: a deposit or a withdrawal.
    leg_of: LegOf | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A request and what became of it."""

    request: TransferRequest
    state: TransferState
    # Why it was voided.
    reason: str
    # The event that posted it.
    posted_seq: int | None


def request(
    direction: Direction, account: int, asset: str, amount: str, *, transfer_id: uuid.UUID, scales: Mapping[str, int]
) -> TransferRequest:
    """Reads a request; `scales` has every asset that the shard lists. Raises Invalid, saying what is allowed."""
    trader(account)
    return TransferRequest(transfer_id, direction, account, asset, positive_units(amount, asset, scales))


def positive_units(amount: str, asset: str, scales: Mapping[str, int]) -> int:
    """An amount in min-units. Raises Invalid."""
    if asset not in scales:
        raise Invalid(not_listed(asset, scales))
    try:
        units = parse_units(amount, scales[asset])
    except InvalidDecimal as error:
        raise Invalid(f"amount {error}") from None
    if units == 0:
        raise Invalid("amount must be greater than 0")
    return units


def not_listed(asset: str, scales: Mapping[str, int]) -> str:
    """What to say of an asset that is not among those of the shard."""
    return f"asset {asset[:40]!r} is not listed (listed: {', '.join(sorted(scales)) or 'none yet'})"


def resume(existing: Transfer, wanted: TransferRequest) -> Transfer:
    """The transfer that already has the wanted id. Raises Conflict when it is about something else."""
    if existing.request != wanted:
        raise Conflict(
            f"transfer {wanted.transfer_id} exists with another direction, account, asset or amount; use a new id"
        )
    return existing


def command(wanted: TransferRequest) -> v1.Command:
    """The same command for the same request, whenever it is made."""
    made = v1.Command(command_id=wanted.transfer_id.bytes)
    if wanted.leg_of is None:
        made.correlation_id = str(wanted.transfer_id)
        made.causation_id = f"transfer/{wanted.transfer_id}"
    else:
        # The entries of a move are found by it, in the books of each shard and in what is sealed.
        made.correlation_id = str(wanted.leg_of.move_id)
        made.causation_id = f"move/{wanted.leg_of.move_id}/{wanted.leg_of.leg}"
    funds = made.credit_funds if wanted.direction is Direction.DEPOSIT else made.debit_funds
    funds.transfer_id = str(wanted.transfer_id)
    funds.account = wanted.account
    funds.asset = wanted.asset
    funds.amount = wanted.amount
    return made


def is_voided_by_a_refusal(wanted: TransferRequest) -> bool:
    """Not what goes back: it is nobody's then, so it is asked for until the engine takes it."""
    return wanted.leg_of is None or wanted.leg_of.leg is not Leg.RETURN


def refusal(reply: v1.Reply) -> str | None:
    """Why the engine refused, or None: it carried the command out."""
    if reply.WhichOneof("result") != "rejection":
        return None
    return reason(reply.rejection.reason, reply.rejection.detail)


def reason(code: v1.RejectReason.ValueType, detail: str) -> str:
    """A refusal in words."""
    name = v1.RejectReason.Name(code).removeprefix("REJECT_REASON_")
    return f"{name}: {detail}" if detail else name
