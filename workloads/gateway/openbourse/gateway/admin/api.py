"""The HTTP API for people, over mutual TLS. Who somebody is and what they may do is their certificate's to say.

Every action names its reason and an id, and is told in one line of the log named `openbourse.gateway.audit`, whatever
became of it; what the shard did is in its journal with the same words.
"""

import contextlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException as HttpError

from openbourse.contracts import v1
from openbourse.contracts.callers import Person, add_refusals, allow_role, http_error
from openbourse.contracts.roles import Role
from openbourse.contracts.units import FIRST_TRADER, INT64_MAX
from openbourse.gateway.admin import views
from openbourse.gateway.admin.actions import Action, What
from openbourse.gateway.errors import Refused, TooMany, Unavailable
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.markets import Market
from openbourse.gateway.shards import Shards

log = logging.getLogger("openbourse.gateway.audit")

REASON_MOST = 200
# Of 10,000 orders each. What is left then is said.
ROUNDS_MOST = 200

Account = Annotated[int, Field(ge=FIRST_TRADER, le=INT64_MAX)]


class ActionRequest(BaseModel):
    """`id` makes a retry safe: the same request with the same id is done once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: uuid.UUID
    reason: str = Field(min_length=1, max_length=REASON_MOST)

    @field_validator("reason")
    @classmethod
    def _says_something(cls, reason: str) -> str:
        if not reason.strip() or not reason.isprintable():
            raise ValueError("must be one line of text that says why")
        return reason.strip()


class CancelRequest(ActionRequest):
    """Of one symbol, or of all."""

    symbol: str | None = Field(default=None, min_length=1, max_length=32)


# Name -> how many there are now.
Counts = Callable[[], Mapping[str, int]]


def make_admin_api(shards: Shards, usage: Usage, counts: Counts) -> FastAPI:
    """The application behind the listener with mutual TLS."""
    app = FastAPI(title="OpenBourse gateway for people", docs_url=None, redoc_url=None, openapi_url=None)
    add_refusals(app)
    app.add_exception_handler(HttpError, _told)
    app.add_exception_handler(Refused, _refused)
    viewer, operator, admin = (allow_role(role) for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN))

    @app.get("/v1/markets", dependencies=[viewer])
    async def markets() -> JSONResponse:
        return JSONResponse({"markets": views.markets_as_json(await shards.newest_markets())})

    @app.get("/v1/markets/{symbol}", dependencies=[viewer])
    async def market(symbol: str) -> JSONResponse:
        return JSONResponse(views.market_as_json(await _listed(shards, symbol)))

    @app.get("/v1/accounts/{account}", dependencies=[viewer])
    async def account_(account: Account) -> JSONResponse:
        return JSONResponse(await _account(account))

    @app.get("/v1/limits/addresses", dependencies=[viewer])
    async def of_address(address: Annotated[str, Query(min_length=1, max_length=64)]) -> JSONResponse:
        charge = usage.begin(address, time.time_ns() // 1000)
        # To ask uses nothing.
        charge.weight = 0
        with contextlib.suppress(TooMany):
            await usage.settle(charge)
        used = {"weight_1m": charge.weight_used, "weight_1m_most": charge.limits.weight_per_minute}
        return JSONResponse({"address": address, **used, "banned_until_ms": charge.banned_until_ms or None})

    @app.get("/v1/gateway", dependencies=[viewer])
    async def gateway() -> JSONResponse:
        return JSONResponse({"shards": [views.engine_as_json(engine) for engine in shards.engines], **counts()})

    @app.post("/v1/accounts/{account}/kill")
    async def kill(account: Account, wanted: ActionRequest, by: Annotated[Person, operator]) -> JSONResponse:
        return await switched(Action(What.KILL, by, wanted.reason, wanted.id, account))

    @app.post("/v1/accounts/{account}/unkill")
    async def unkill(account: Account, wanted: ActionRequest, by: Annotated[Person, admin]) -> JSONResponse:
        return await switched(Action(What.UNKILL, by, wanted.reason, wanted.id, account))

    @app.post("/v1/accounts/{account}/cancel-all")
    async def cancel_account(account: Account, wanted: CancelRequest, by: Annotated[Person, operator]) -> JSONResponse:
        symbol = "" if wanted.symbol is None else (await _listed(shards, wanted.symbol)).symbol
        return await canceled(Action(What.CANCEL_ALL, by, wanted.reason, wanted.id, account, symbol))

    @app.post("/v1/markets/{symbol}/cancel-all")
    async def cancel_market(symbol: str, wanted: ActionRequest, by: Annotated[Person, operator]) -> JSONResponse:
        market = await _listed(shards, symbol)
        return await canceled(Action(What.CANCEL_ALL, by, wanted.reason, wanted.id, symbol=market.symbol))

    @app.post("/v1/shard/cancel-all")
    async def cancel_shard(wanted: ActionRequest, by: Annotated[Person, admin]) -> JSONResponse:
        return await canceled(Action(What.CANCEL_ALL, by, wanted.reason, wanted.id))

    async def _account(account: int) -> dict[str, object]:
        safeties = await shards.each(lambda engine: engine.account_safety(account))
        named = [(engine.shard, safety) for engine, safety in zip(shards.engines, safeties, strict=True)]
        return views.account_as_json(account, named, await usage.orders(account, time.time_ns() // 1000))

    async def switched(action: Action) -> JSONResponse:
        seqs = _seqs(await _commanded(shards, action, 0))
        _tell(action, "done", seqs=seqs)
        return JSONResponse({"id": str(action.id), "seqs": seqs, **await _account(action.account)})

    async def canceled(action: Action) -> JSONResponse:
        total, remaining, seqs = 0, 1, dict[str, int]()
        for round_ in range(ROUNDS_MOST):
            replies = await _commanded(shards, action, round_)
            seqs |= _seqs(replies)
            remaining = sum(reply.canceled_all.remaining for reply in replies)
            total += sum(reply.canceled_all.canceled for reply in replies)
            if remaining == 0:
                break
        _tell(action, "done" if remaining == 0 else "in part", canceled=total, remaining=remaining, seqs=seqs)
        return JSONResponse({"id": str(action.id), "canceled": total, "remaining": remaining, "seqs": seqs})

    return app


async def _listed(shards: Shards, symbol: str) -> Market:
    """Raises HTTPException for what is not listed, and Unavailable."""
    market = (await shards.newest_markets()).by_symbol.get(symbol)
    if market is None:
        raise HTTPException(404, f"{symbol[:40]} is not listed: GET /v1/markets names what is")
    return market


async def _commanded(shards: Shards, action: Action, round_: int) -> list[v1.Reply]:
    """Of the shard that the symbol is in, else of all. Raises HTTPException where one refused, and Refused.

    Where one shard did not answer, the others may have done it: the same id once more does the rest.
    """
    command = action.command(round_)
    try:
        if action.symbol:
            replies = [await shards.command(action.symbol, command)]
        else:
            replies = await shards.each(lambda engine: engine.command(command))
    except Unavailable as unavailable:
        _tell(action, "unknown", detail=unavailable.detail)
        raise
    for reply in replies:
        if reply.HasField("rejection"):
            _tell(action, "refused", seqs=_seqs([reply]), detail=reply.rejection.detail)
            raise HTTPException(409, reply.rejection.detail)
    return replies


def _seqs(replies: Iterable[v1.Reply]) -> dict[str, int]:
    """By shard."""
    return {reply.shard: reply.seq for reply in replies}


def _tell(action: Action, outcome: str, **more: object) -> None:
    _say(logging.INFO, action.line(outcome, time.time_ns() // 1000, **more))


def _say(level: int, line: dict[str, object]) -> None:
    """In a log of JSON it is a member of its own."""
    log.log(level, json.dumps(line), extra={"audited": line})


async def _told(request: Request, error: Exception) -> JSONResponse:
    """Who tried what they may not is told too."""
    assert isinstance(error, HttpError)
    if error.status_code == 403:
        tried = {"who": request.state.person, "component": request.state.component}
        what = {"what": f"{request.method} {request.url.path}", "at_us": time.time_ns() // 1000}
        _say(logging.WARNING, {"audit": "not allowed", **tried, **what, "message": error.detail})
    return await http_error(request, error)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    message = error.detail or error.message
    if not isinstance(error, Unavailable):
        return JSONResponse({"reason": "Invalid", "message": message}, 400)
    return JSONResponse({"reason": "Unavailable", "message": f"{message}; ask again with the same id"}, 503)
