"""The API of manual entries. Who proposes and who decides is whose certificate the peer has, never what it says.

Two people whose certificates have one common name are one person here.
"""

import uuid
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.params import Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from openbourse.ledger import manual
from openbourse.ledger.accounts import HOUSE_ACCOUNTS
from openbourse.ledger.books import Books
from openbourse.ledger.manual import REASON_MOST, Decision, ManualEntry
from openbourse.ledger.manual_books import LISTED_MOST, ManualBooks


class ProposalRequest(BaseModel):
    """`entry_id` makes a retry safe: the same request with the same id is one entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entry_id: uuid.UUID
    asset: str = Field(max_length=40)
    from_account: int
    to_account: int
    amount: str = Field(max_length=60, description="decimal text, such as 12.5")
    reason: str = Field(max_length=REASON_MOST)


class ReversalRequest(BaseModel):
    """`entry_id` is the reversal's own, as in a ProposalRequest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entry_id: uuid.UUID
    reason: str = Field(max_length=REASON_MOST)


class ListRequest(BaseModel):
    """The newest first; with `undecided` only those that wait for a second person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    undecided: bool = False
    limit: int = Field(default=50, ge=1, le=LISTED_MOST)


def add_manual_entries(app: FastAPI, books: Books, allowed: Depends) -> None:
    """Adds the routes, for whom `allowed` lets through."""
    entries = ManualBooks(books)

    async def answer(entry: ManualEntry) -> JSONResponse:
        return JSONResponse(_entry(entry, await books.scales()))

    @app.post("/v1/manual-entries", dependencies=[allowed])
    async def propose(wanted: ProposalRequest, request: Request) -> JSONResponse:
        person: str = request.state.person
        fields = wanted.model_dump()
        return await answer(
            await entries.propose(manual.propose(**fields, requested_by=person, scales=await books.scales()))
        )

    @app.get("/v1/manual-entries", dependencies=[allowed])
    async def newest(wanted: Annotated[ListRequest, Query()]) -> JSONResponse:
        scales = await books.scales()
        found = await entries.newest(wanted.limit, undecided=wanted.undecided)
        return JSONResponse({"entries": [_entry(entry, scales) for entry in found]})

    @app.post("/v1/manual-entries/{entry_id}/approve", dependencies=[allowed])
    async def approve(entry_id: uuid.UUID, request: Request) -> JSONResponse:
        return await answer(await entries.decide(entry_id, Decision.POSTED, request.state.person))

    @app.post("/v1/manual-entries/{entry_id}/reject", dependencies=[allowed])
    async def reject(entry_id: uuid.UUID, request: Request) -> JSONResponse:
        return await answer(await entries.decide(entry_id, Decision.REJECTED, request.state.person))

    @app.post("/v1/manual-entries/{entry_id}/reverse", dependencies=[allowed])
    async def reverse(entry_id: uuid.UUID, wanted: ReversalRequest, request: Request) -> JSONResponse:
        mirror = manual.reverse(
            await entries.entry(entry_id),
            entry_id=wanted.entry_id,
            reason=wanted.reason,
            requested_by=request.state.person,
        )
        return await answer(await entries.propose(mirror))


def _entry(entry: ManualEntry, scales: dict[str, int]) -> dict[str, object]:
    proposal = entry.proposal
    return {
        "entry_id": str(proposal.entry_id),
        "kind": proposal.kind,
        "reverses": None if proposal.reverses is None else str(proposal.reverses),
        "asset": proposal.asset,
        "scale": scales[proposal.asset],
        "amount_units": proposal.amount,
        "from": HOUSE_ACCOUNTS[proposal.from_account],
        "to": HOUSE_ACCOUNTS[proposal.to_account],
        "reason": proposal.reason,
        "requested_by": proposal.requested_by,
        "state": entry.decision or "proposed",
        "decided_by": entry.decided_by,
        "number": entry.number,
    }
