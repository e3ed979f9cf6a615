"""The API of moves of symbols: who asks, asks the ledger of the shard that the symbol leaves.

Either shard's ledger says how a move stands, and takes the wish to have it back.
"""

import uuid
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query
from fastapi.params import Depends as DependsOn
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from openbourse.ledger import symbol_moves
from openbourse.ledger.move_api import ListRequest
from openbourse.ledger.symbol_move_books import SymbolMoveBooks
from openbourse.ledger.symbol_moves import SymbolMove
from openbourse.ledger.symbol_moving import OVER_TIMEOUT_S, SymbolMover


class SymbolMovesRequest(BaseModel):
    """`move_id` makes a retry safe: the same request with the same id is one move.

    Without `wait` the answer comes as soon as the move is recorded: who asked looks at it again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: str = Field(max_length=40)
    from_shard: str = Field(max_length=100)
    to_shard: str = Field(max_length=100)
    move_id: uuid.UUID | None = None
    wait: bool = True


def add_symbol_moves(
    app: FastAPI, books: SymbolMoveBooks, mover: SymbolMover, readers: DependsOn, movers: DependsOn
) -> None:
    """Adds the routes."""

    @app.post("/v1/moves/symbols")
    async def move(request: SymbolMovesRequest, person: Annotated[str, movers]) -> JSONResponse:
        wanted = symbol_moves.request(
            request.symbol,
            move_id=request.move_id or uuid.uuid4(),
            shards=(request.from_shard, request.to_shard),
            here=books.shard,
            symbols=await books.symbols(),
        )
        made = await mover.move(wanted, person, OVER_TIMEOUT_S if request.wait else 0.0)
        return JSONResponse(_move(made), 200 if made.is_over else 202)

    @app.get("/v1/moves/symbols", dependencies=[readers])
    async def newest(wanted: Annotated[ListRequest, Query()]) -> JSONResponse:
        found = await books.newest(wanted.limit, pending=wanted.pending)
        return JSONResponse({"moves": [_move(each) for each in found]})

    @app.get("/v1/moves/symbols/{move_id}", dependencies=[readers])
    async def show(move_id: uuid.UUID) -> JSONResponse:
        return JSONResponse(_move(await _there(move_id)))

    @app.post("/v1/moves/symbols/{move_id}/undo", dependencies=[movers])
    async def undo(move_id: uuid.UUID) -> JSONResponse:
        await _there(move_id)
        await books.ask_to_undo(move_id)
        return JSONResponse(_move(await _there(move_id)), 202)

    async def _there(move_id: uuid.UUID) -> SymbolMove:
        found = await books.move(move_id)
        if found is None:
            raise HTTPException(404, f"there is no move {move_id} of a symbol out of or into shard {books.shard}")
        return found


def _move(move: SymbolMove) -> dict[str, object]:
    request = move.request
    answer: dict[str, object] = {
        "move_id": str(request.move_id),
        "symbol": request.symbol,
        "from_shard": request.from_shard,
        "to_shard": request.to_shard,
        "state": move.state,
        "where": symbol_moves.where(move),
        "requested_by": move.requested_by,
        "undo_asked": move.undo_asked,
    }
    if move.paused_ms is not None:
        answer["paused_ms"] = move.paused_ms
    if move.reason:
        answer["reason"] = move.reason
    if not move.is_over:
        answer["ask"] = f"/v1/moves/symbols/{request.move_id}"
    return answer
