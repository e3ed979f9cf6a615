"""The API of moves between shards: who asks, asks the ledger of the shard that the money leaves.

Either shard's ledger says how a move stands.
"""

import uuid
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query
from fastapi.params import Depends as DependsOn
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from openbourse.ledger import moves
from openbourse.ledger.move_books import LISTED_MOST, MoveBooks
from openbourse.ledger.moves import Move
from openbourse.ledger.moving import Mover
from openbourse.ledger.transfers import TransferState


class MovesRequest(BaseModel):
    """`move_id` makes a retry safe: the same request with the same id is one move."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: int = Field(description="a trader's account, from 1000")
    asset: str = Field(max_length=40)
    amount: str = Field(max_length=60, description="decimal text, such as 12.5")
    from_shard: str = Field(max_length=100)
    to_shard: str = Field(max_length=100)
    move_id: uuid.UUID | None = None


class ListRequest(BaseModel):
    """The newest first; with `pending` only those that are not decided."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pending: bool = False
    limit: int = Field(default=50, ge=1, le=LISTED_MOST)


def add_moves(app: FastAPI, books: MoveBooks, mover: Mover, readers: DependsOn, cashiers: DependsOn) -> None:
    """Adds the routes."""

    @app.post("/v1/moves")
    async def move(request: MovesRequest, person: Annotated[str, cashiers]) -> JSONResponse:
        scales = await books.scales()
        wanted = moves.request(
            request.account,
            request.asset,
            request.amount,
            move_id=request.move_id or uuid.uuid4(),
            shards=(request.from_shard, request.to_shard),
            here=books.shard,
            scales=scales,
        )
        made = await mover.move(wanted, person)
        status = 202 if made.state is TransferState.PENDING else 200
        return JSONResponse(_move(made, scales), status)

    @app.get("/v1/moves", dependencies=[readers])
    async def newest(wanted: Annotated[ListRequest, Query()]) -> JSONResponse:
        scales = await books.scales()
        found = await books.newest(wanted.limit, pending=wanted.pending)
        return JSONResponse({"moves": [_move(each, scales) for each in found]})

    @app.get("/v1/moves/{move_id}", dependencies=[readers])
    async def show(move_id: uuid.UUID) -> JSONResponse:
        found = await books.move(move_id)
        if found is None:
            raise HTTPException(404, f"there is no move {move_id} out of or into shard {books.shard}")
        return JSONResponse(_move(found, await books.scales()))


def _move(move: Move, scales: dict[str, dict[str, int]]) -> dict[str, object]:
    request = move.request
    answer: dict[str, object] = {
        "move_id": str(request.move_id),
        "account": request.account,
        "asset": request.asset,
        "scale": scales[request.from_shard][request.asset],
        "amount_units": request.amount,
        "from_shard": request.from_shard,
        "to_shard": request.to_shard,
        "state": move.state,
        "where": moves.where(move),
        "legs": [
            {
                "leg": leg,
                "shard": moves.shard_of(request, leg),
                "transfer_id": str(moves.leg_id(request.move_id, leg)),
                **now._asdict(),
            }
            for leg, now in move.legs.items()
        ],
    }
    match move.state:
        case TransferState.PENDING:
            answer["ask"] = f"/v1/moves/{request.move_id}"
        case TransferState.VOIDED:
            answer["reason"] = move.reason
    return answer
