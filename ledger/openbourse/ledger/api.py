"""The ledger's HTTP API for the exchange's own components and people, and the status that probes ask for.

Amounts come in as decimal text, because people write them, and go out as integers of min-units, ticks and lots.
Who may ask what is in one table; nothing here decides about money.
"""

import uuid
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from openbourse.contracts.callers import add_refusals, allow
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession
from openbourse.contracts.units import FIRST_TRADER, INT64_MAX
from openbourse.ledger import transfers
from openbourse.ledger.accounts import kind_of, trader
from openbourse.ledger.books import Books, TradesQuery
from openbourse.ledger.coordinate import Coordinator
from openbourse.ledger.differences import DIFFERENCES_SHOWN
from openbourse.ledger.errors import Conflict, Invalid, LedgerError, Unavailable
from openbourse.ledger.manual_api import add_manual_entries
from openbourse.ledger.move_api import add_moves
from openbourse.ledger.move_books import MoveBooks
from openbourse.ledger.moving import Mover
from openbourse.ledger.progress import Progress
from openbourse.ledger.reconcile import Report, reconcile
from openbourse.ledger.statements import Cursor, Statement
from openbourse.ledger.symbol_move_api import add_symbol_moves
from openbourse.ledger.symbol_move_books import SymbolMoveBooks
from openbourse.ledger.symbol_moving import SymbolMover
from openbourse.ledger.transfers import Direction, Transfer, TransferState

TRADES_MOST = 1000
LINES_MOST = 1000
TIME_MS_MOST = INT64_MAX // 1000 - 1

# Everybody who is not named is refused.
READERS = frozenset({Component.GATEWAY, Component.OPERATOR, Component.CLI})
CASHIERS = frozenset({Component.CLI})
MOVERS = frozenset({Component.OPERATOR, Component.CLI})
RECONCILERS = frozenset({Component.OPERATOR, Component.CLI})

_STATUS = {Invalid: 400, Conflict: 409, Unavailable: 503}


class FundsRequest(BaseModel):
    """`transfer_id` makes a retry safe: the same request with the same id is one transfer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: int = Field(description="a trader's account, from 1000")
    asset: str = Field(max_length=40)
    amount: str = Field(max_length=60, description="decimal text, such as 12.5")
    transfer_id: uuid.UUID | None = None


class TradesRequest(BaseModel):
    """An account's trades in one symbol, by trade id: from `from_id` or `start_time_ms` on, otherwise the latest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: int = Field(ge=0, le=INT64_MAX)
    symbol: str = Field(min_length=1, max_length=64)
    order_id: int | None = Field(default=None, ge=0, le=INT64_MAX)
    from_id: int | None = Field(default=None, ge=0, le=INT64_MAX)
    start_time_ms: int | None = Field(default=None, ge=0, le=TIME_MS_MOST)
    end_time_ms: int | None = Field(default=None, ge=0, le=TIME_MS_MOST)
    limit: int = Field(default=500, ge=1, le=TRADES_MOST)


class StatementRequest(BaseModel):
    """A page of an account's statement in one asset, the newest line first; `before` is `next` of the page before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: int = Field(ge=0, le=INT64_MAX)
    asset: str = Field(min_length=1, max_length=40)
    before: str | None = Field(default=None, max_length=80)
    limit: int = Field(default=100, ge=1, le=LINES_MOST)


def make_api(
    session: EngineSession,
    books: Books,
    coordinator: Coordinator,
    mover: Mover,
    progress: Progress,
    *,
    symbol_mover: SymbolMover,
) -> FastAPI:
    """The application behind the listener with mutual TLS."""
    app = FastAPI(title="OpenBourse ledger", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(LedgerError, _ledger_error)
    add_refusals(app)

    @app.get("/v1/trades", dependencies=[allow(READERS)])
    async def trades(wanted: Annotated[TradesRequest, Query()]) -> JSONResponse:
        query = TradesQuery(
            wanted.account,
            wanted.symbol,
            wanted.order_id,
            wanted.from_id,
            None if wanted.start_time_ms is None else wanted.start_time_ms * 1000,
            # The whole of the last millisecond.
            None if wanted.end_time_ms is None else wanted.end_time_ms * 1000 + 999,
            wanted.limit,
        )
        return JSONResponse({"trades": [_trade(row) for row in await books.trades(query)]})

    @app.post("/v1/deposits")
    async def deposit(request: FundsRequest, person: Annotated[str, allow(CASHIERS)]) -> JSONResponse:
        return await _moved(Direction.DEPOSIT, request, person)

    @app.post("/v1/withdrawals")
    async def withdraw(request: FundsRequest, person: Annotated[str, allow(CASHIERS)]) -> JSONResponse:
        return await _moved(Direction.WITHDRAWAL, request, person)

    async def _moved(direction: Direction, request: FundsRequest, person: str) -> JSONResponse:
        transfer_id = request.transfer_id or uuid.uuid4()
        scales = await books.scales()
        wanted = transfers.request(
            direction, request.account, request.asset, request.amount, transfer_id=transfer_id, scales=scales
        )
        transfer = await coordinator.transfer(wanted, person)
        status = 202 if transfer.state is TransferState.PENDING else 200
        return JSONResponse(_transfer(transfer, scales[wanted.asset]), status)

    @app.get("/v1/transfers/{transfer_id}", dependencies=[allow(READERS)])
    async def transfer(transfer_id: uuid.UUID) -> JSONResponse:
        found = await books.transfer(transfer_id)
        if found is None:
            raise HTTPException(404, f"there is no transfer {transfer_id}")
        return JSONResponse(_transfer(found, (await books.scales())[found.request.asset]))

    @app.get("/v1/balances", dependencies=[allow(READERS)])
    async def balances(account: Annotated[int, Query(ge=0, le=INT64_MAX)]) -> JSONResponse:
        trader(account)
        scales = await books.scales()
        rows = [
            {"asset": asset, "scale": scales[asset], "available": available, "hold": hold}
            for asset, available, hold in await books.balances(account)
        ]
        return JSONResponse({"account": account, "balances": rows})

    @app.get("/v1/statement", dependencies=[allow(READERS)])
    async def statement(wanted: Annotated[StatementRequest, Query()]) -> JSONResponse:
        if kind_of(wanted.account) is None:
            raise Invalid(
                f"account {wanted.account} cannot exist: traders begin at {FIRST_TRADER}, house accounts are 1 to 4"
            )
        scales = await books.scales()
        if wanted.asset not in scales:
            raise Invalid(transfers.not_listed(wanted.asset, scales))
        before = None if wanted.before is None else Cursor.parse(wanted.before)
        page = await books.statement(wanted.account, wanted.asset, before, wanted.limit)
        return JSONResponse(_statement(wanted, scales[wanted.asset], page))

    @app.post("/v1/reconcile", dependencies=[allow(RECONCILERS)])
    async def reconciliation() -> JSONResponse:
        return JSONResponse(_report(await reconcile(session, books, progress)))

    add_manual_entries(app, books, allow(CASHIERS))
    # Before those of money, whose ids would take `symbols` for one.
    add_symbol_moves(app, SymbolMoveBooks(books), symbol_mover, allow(READERS), allow(MOVERS))
    add_moves(app, MoveBooks(books), mover, allow(READERS), allow(CASHIERS))
    return app


def _trade(row: object) -> dict[str, object]:
    r: dict[str, object] = dict(row)  # type: ignore[call-overload]
    side = "maker" if r["is_maker"] else "taker"
    return {
        "trade_id": r["trade_id"],
        "order_id": r[f"{side}_order_id"],
        "symbol": r["symbol"],
        "price_ticks": r["price_ticks"],
        "quantity_lots": r["quantity_lots"],
        "quote_units": r["quote_units"],
        "fee_units": r[f"{side}_fee_units"],
        "fee_asset": r[f"{side}_fee_asset"],
        "is_buyer": r["taker_is_buyer"] is not r["is_maker"],
        "is_maker": r["is_maker"],
        "time_us": r["occurred_at_us"],
        "seq": r["seq"],
    }


def _transfer(transfer: Transfer, scale: int) -> dict[str, object]:
    request = transfer.request
    answer: dict[str, object] = {
        "transfer_id": str(request.transfer_id),
        "direction": request.direction,
        "account": request.account,
        "asset": request.asset,
        "scale": scale,
        "amount_units": request.amount,
        "state": transfer.state,
    }
    if request.leg_of is not None:
        answer |= {"move_id": str(request.leg_of.move_id), "leg": request.leg_of.leg}
    match transfer.state:
        case TransferState.PENDING:
            answer["ask"] = f"/v1/transfers/{request.transfer_id}"
        case TransferState.POSTED:
            answer["posted_seq"] = transfer.posted_seq
        case TransferState.VOIDED:
            answer["reason"] = transfer.reason
    return answer


def _statement(wanted: StatementRequest, scale: int, page: Statement) -> dict[str, object]:
    return {
        "account": wanted.account,
        "asset": wanted.asset,
        "scale": scale,
        "lines": [
            {**line.movement._asdict(), "available_after": line.available_after, "hold_after": line.hold_after}
            for line in page.lines
        ],
        "next": None if page.next is None else str(page.next),
    }


def _report(report: Report) -> dict[str, object]:
    return {
        "equal": report.equal,
        "seq": report.seq,
        "accounts": report.accounts,
        "balances": report.balances,
        "engine_differences": len(report.engine),
        "entries_differences": len(report.entries),
        "unbalanced_assets": report.unbalanced_assets,
        # Of each kind the first few; (available, hold) of the engine, or of the kept balance, and what it should be.
        "engine_first": [asdict(difference) for difference in report.engine[:DIFFERENCES_SHOWN]],
        "entries_first": [asdict(difference) for difference in report.entries[:DIFFERENCES_SHOWN]],
    }


async def _ledger_error(_: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"reason": type(error).__name__, "message": str(error)}, status)
