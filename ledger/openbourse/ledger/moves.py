"""Money that moves between two shards: out of one, then into the other, or back when that refuses it. Pure.

    pending ──(the debit is refused)──────────────────────────────> voided: nothing has happened
       └─(the debit is posted) in transit ──(the credit is posted)──> posted
                                   └─(the credit is refused)─(the return is posted)──> voided: it is back

A leg is a transfer of its shard, under an id that follows from the move's. In each state one shard has something to
do, and it alone: so its ledger asks only its own engine. The database enforces the same order by itself. Nothing here
sends, waits or writes.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from openbourse.ledger.accounts import trader
from openbourse.ledger.errors import Conflict, Invalid
from openbourse.ledger.transfers import (
    Direction,
    Leg,
    LegOf,
    TransferRequest,
    TransferState,
    not_listed,
    positive_units,
)

ID_DOMAIN = b"openbourse.ledger.move.v1"


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What somebody asks for: `amount` min-units of what an account has available in one shard, into another."""

    move_id: uuid.UUID
    account: int
    asset: str
    amount: int
    from_shard: str
    to_shard: str


class LegNow(NamedTuple):
    """A leg that was recorded, and what became of it."""

    state: TransferState
    # Why it was voided.
    reason: str
    # The event of its shard that posted it.
    posted_seq: int | None


@dataclass(frozen=True, slots=True)
class Move:
    """A request, its legs so far, and what became of it."""

    request: MoveRequest
    state: TransferState
    # Why it was voided.
    reason: str
    requested_by: str
    legs: Mapping[Leg, LegNow]


@dataclass(frozen=True, slots=True)
class Ask:
    """Record this leg, unless it is there, and ask the shard's engine for it."""

    shard: str
    leg: TransferRequest


@dataclass(frozen=True, slots=True)
class Decide:
    """The move is over."""

    shard: str
    state: TransferState
    reason: str


def request(
    account: int,
    asset: str,
    amount: str,
    *,
    move_id: uuid.UUID,
    shards: tuple[str, str],
    here: str,
    scales: Mapping[str, Mapping[str, int]],
) -> MoveRequest:
    """Reads a request that came to the ledger of shard `here`: from one shard to another.

    `scales` has every shard whose books are in the database, with the assets that it lists. Raises Invalid, saying what
    is allowed.
    """
    trader(account)
    from_shard, to_shard = shards
    if from_shard != here:
        raise Invalid(f"this is the ledger of shard {here!r}: ask that of shard {from_shard[:40]!r}, which it leaves")
    if to_shard == from_shard:
        raise Invalid(f"from and to are both shard {from_shard!r}")
    if to_shard not in scales:
        raise Invalid(
            f"shard {to_shard[:40]!r} has no books in this database (there are: {', '.join(sorted(scales))}): between "
            "two databases nothing is moved; withdraw from one shard and deposit into the other"
        )
    for shard in shards:
        if asset not in scales.get(shard, {}):
            raise Invalid(f"shard {shard!r}: {not_listed(asset, scales.get(shard, {}))}")
    scale, other_scale = scales[from_shard][asset], scales[to_shard][asset]
    if scale != other_scale:
        raise Invalid(
            f"{asset} has {scale} decimals in shard {from_shard!r} and {other_scale} in shard {to_shard!r}: one amount "
            "has to be the same number of min-units in both"
        )
    units = positive_units(amount, asset, scales[from_shard])
    return MoveRequest(move_id, account, asset, units, from_shard, to_shard)


def resume(existing: Move, wanted: MoveRequest) -> Move:
    """The move that already has the wanted id. Raises Conflict when it is about something else."""
    if existing.request != wanted:
        raise Conflict(f"move {wanted.move_id} exists with another account, asset, amount or shards; use a new id")
    return existing


def leg_id(move_id: uuid.UUID, leg: Leg) -> uuid.UUID:
    """One and the same, whoever asks and however often. The database computes it too (ledger.leg_id)."""
    return uuid.UUID(bytes=hashlib.sha256(ID_DOMAIN + move_id.bytes + leg.encode()).digest()[:16])


def shard_of(wanted: MoveRequest, leg: Leg) -> str:
    return wanted.to_shard if leg is Leg.CREDIT else wanted.from_shard


def leg_request(wanted: MoveRequest, leg: Leg) -> TransferRequest:
    direction = Direction.WITHDRAWAL if leg is Leg.DEBIT else Direction.DEPOSIT
    move_id = wanted.move_id
    what = (direction, wanted.account, wanted.asset, wanted.amount)
    return TransferRequest(leg_id(move_id, leg), *what, LegOf(move_id, leg))


def next_step(move: Move) -> Ask | Decide | None:
    """What comes next, and whose it is; None: nothing, or what an engine says to a leg has to come first."""
    if move.state is not TransferState.PENDING:
        return None
    wanted = move.request
    debit, credit, back = (move.legs.get(leg) for leg in (Leg.DEBIT, Leg.CREDIT, Leg.RETURN))
    if debit is None:
        return _ask(wanted, Leg.DEBIT)
    if debit.state is TransferState.VOIDED:
        return Decide(wanted.from_shard, TransferState.VOIDED, f"{wanted.from_shard} refused it: {debit.reason}")
    if debit.state is TransferState.PENDING:
        return None
    if credit is None:
        return _ask(wanted, Leg.CREDIT)
    if credit.state is TransferState.POSTED:
        return Decide(wanted.to_shard, TransferState.POSTED, "")
    if credit.state is TransferState.PENDING:
        return None
    if back is None:
        return _ask(wanted, Leg.RETURN)
    if back.state is TransferState.POSTED:
        reason = f"{wanted.to_shard} refused it, and it is back in {wanted.from_shard}: {credit.reason}"
        return Decide(wanted.from_shard, TransferState.VOIDED, reason)
    return None


def unanswered(move: Move) -> Ask | None:
    """The leg that waits for its engine's answer. Who was asked for the move again asks for it again."""
    for leg, now in move.legs.items():
        if now.state is TransferState.PENDING:
            return _ask(move.request, leg)
    return None


def _ask(wanted: MoveRequest, leg: Leg) -> Ask:
    return Ask(shard_of(wanted, leg), leg_request(wanted, leg))


def in_transit(move: Move) -> bool:
    """Whether the money is in neither shard."""
    posted = {leg for leg, now in move.legs.items() if now.state is TransferState.POSTED}
    return posted == {Leg.DEBIT}


def where(move: Move) -> str:
    """Where the money is, for people."""
    wanted = move.request
    debit, credit, back = (move.legs.get(leg) for leg in (Leg.DEBIT, Leg.CREDIT, Leg.RETURN))
    if debit is None or debit.state is TransferState.VOIDED:
        return f"in {wanted.from_shard}: it never left"
    if debit.state is TransferState.PENDING:
        return f"in {wanted.from_shard}, which is asked for it"
    if credit is None:
        return f"in transit: out of {wanted.from_shard}, {wanted.to_shard} is not asked yet"
    if credit.state is TransferState.POSTED:
        return f"in {wanted.to_shard}"
    if credit.state is TransferState.PENDING:
        return f"in transit: {wanted.to_shard} is asked to take it"
    if back is None or back.state is not TransferState.POSTED:
        return f"in transit: {wanted.to_shard} refused it ({credit.reason}), it goes back to {wanted.from_shard}"
    return f"in {wanted.from_shard} again: {wanted.to_shard} refused it"


def line(leg: Leg, from_shard: str, to_shard: str) -> str:
    """What a leg is in an account's statement."""
    match leg:
        case Leg.DEBIT:
            return f"moved to {to_shard}"
        case Leg.CREDIT:
            return f"moved from {from_shard}"
        case Leg.RETURN:
            return f"moved back: {to_shard} refused it"
