"""Manual entries: one person proposes to move an amount between two house accounts, another posts or rejects it. Pure.

    proposed ──(another person approves)──> posted ──(a reversal of it, proposed and approved alike)──> reversed
        └─────(another person)────────────> rejected

Nothing here is ever changed or removed: a correction is a reversal. The database enforces the same rules by itself.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from openbourse.ledger.accounts import HOUSE_ACCOUNTS
from openbourse.ledger.errors import Conflict, Invalid
from openbourse.ledger.transfers import positive_units

REASON_MOST = 500


class Decision(StrEnum):
    POSTED = "posted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody proposes: `amount` min-units from one house account to another; `reverses` is of a reversal."""

    entry_id: uuid.UUID
    reverses: uuid.UUID | None
    asset: str
    from_account: int
    to_account: int
    amount: int
    reason: str
    requested_by: str

    @property
    def kind(self) -> str:
        return "reversal" if self.reverses else "adjustment"


@dataclass(frozen=True, slots=True)
class ManualEntry:
    """A proposal and what became of it. Without a decision nothing else is there."""

    proposal: Proposal
    decision: Decision | None
    decided_by: str | None
    # Counts the shard's decisions.
    number: int | None


def propose(
    *,
    entry_id: uuid.UUID,
    asset: str,
    from_account: int,
    to_account: int,
    amount: str,
    reason: str,
    requested_by: str,
    scales: Mapping[str, int],
) -> Proposal:
    """Reads a proposal; `scales` has every asset that the shard lists. Raises Invalid, saying what is allowed."""
    for account in (from_account, to_account):
        if account not in HOUSE_ACCOUNTS:
            raise Invalid(
                f"account {account} is no house account ({_house()}): a trader's balance moves only by what the "
                "engine sequenced, so use a deposit or a withdrawal"
            )
    if from_account == to_account:
        raise Invalid(f"from and to are both account {from_account}: give two of {_house()}")
    units = positive_units(amount, asset, scales)
    return Proposal(entry_id, None, asset, from_account, to_account, units, _reason(reason), requested_by)


def reverse(entry: ManualEntry, *, entry_id: uuid.UUID, reason: str, requested_by: str) -> Proposal:
    """The exact mirror of a posted entry, to be approved as any other. Raises Invalid."""
    of = entry.proposal
    if entry.decision is not Decision.POSTED:
        raise Invalid(f"manual entry {of.entry_id} is {entry.decision or 'not decided'}: only a posted one is reversed")
    if of.reverses is not None:
        raise Invalid(f"manual entry {of.entry_id} is a reversal: propose what it reversed, {of.reverses}, anew")
    return Proposal(
        entry_id, of.entry_id, of.asset, of.to_account, of.from_account, of.amount, _reason(reason), requested_by
    )


def same(existing: ManualEntry, wanted: Proposal) -> ManualEntry:
    """The entry that already has the wanted id. Raises Conflict when it is about something else."""
    if existing.proposal != wanted:
        raise Conflict(f"manual entry {wanted.entry_id} exists with other content; use a new id")
    return existing


def decided(entry: ManualEntry, decision: Decision, decided_by: str) -> ManualEntry:
    """The entry, if it is decided as somebody wanted it to be. Raises Conflict."""
    if (entry.decision, entry.decided_by) != (decision, decided_by):
        raise Conflict(
            f"manual entry {entry.proposal.entry_id} is {entry.decision} by {entry.decided_by} already: it stays so"
        )
    return entry


def _reason(text: str) -> str:
    if not text.strip() or len(text) > REASON_MOST or not text.isprintable():
        raise Invalid(f"a reason is needed: one line of at most {REASON_MOST} characters")
    return text.strip()


def _house() -> str:
    return ", ".join(f"{account} {kind}" for account, kind in HOUSE_ACCOUNTS.items())
