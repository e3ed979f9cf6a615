"""The market data's HTTP API for gateways, over mutual TLS. Answers are in Binance's words already.

A gateway checks what a trader sent; what is checked here are our own components' mistakes.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from starlette.responses import JSONResponse, StreamingResponse

from openbourse.contracts.component import Component
from openbourse.marketdata import words
from openbourse.marketdata.accounts_api import ReaderName, accounts_router
from openbourse.marketdata.errors import Behind, Invalid, NotHere, UnknownSymbol
from openbourse.marketdata.feed import Pace
from openbourse.marketdata.history import ROWS_MOST, AggregatesWanted
from openbourse.marketdata.intervals import DAY_MS, Interval
from openbourse.marketdata.queries import CandlesWanted, Queries
from openbourse.marketdata.service import Service

READERS = frozenset({Component.GATEWAY, Component.CLI})

Symbol = Annotated[str, Query(min_length=1, max_length=32)]
# Several with commas between them; left out: all.
Symbols = Annotated[str | None, Query(max_length=20_000)]
Limit = Annotated[int, Query(ge=1, le=ROWS_MOST)]
Number = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
TimeMs = Annotated[int | None, Query(ge=0, le=10**14)]
Offset = Annotated[int, Query(gt=-DAY_MS, lt=DAY_MS)]


def _reader(request: Request) -> None:
    component: Component = request.state.component
    if component not in READERS:
        raise HTTPException(403, f"{component} may not do this; {', '.join(sorted(READERS))} may")


def make_api(service: Service) -> FastAPI:
    app = FastAPI(
        title="OpenBourse market data", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(_reader)]
    )
    queries = Queries(service)

    @app.exception_handler(UnknownSymbol)
    async def unknown(_: Request, error: UnknownSymbol) -> JSONResponse:
        return JSONResponse({"reason": "UnknownSymbol", "message": str(error)}, 404)

    @app.exception_handler(Invalid)
    async def invalid(_: Request, error: Invalid) -> JSONResponse:
        return JSONResponse({"reason": "Invalid", "message": str(error)}, 400)

    @app.exception_handler(Behind)
    async def behind(_: Request, error: Behind) -> JSONResponse:
        return JSONResponse({"reason": "Behind", "message": str(error)}, 503)

    @app.exception_handler(NotHere)
    async def not_here(_: Request, error: NotHere) -> JSONResponse:
        return JSONResponse({"reason": "NotHere", "message": str(error)}, 503)

    app.include_router(accounts_router(service))

    @app.get("/v1/trades")
    async def trades(symbol: Symbol, limit: Limit, from_id: Number = None, microseconds: bool = False) -> JSONResponse:
        return JSONResponse(await queries.trades(symbol, limit, from_id, _clock(microseconds)))

    @app.get("/v1/aggregates")
    async def aggregates(
        *,
        symbol: Symbol,
        limit: Limit,
        from_id: Number = None,
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        microseconds: bool = False,
    ) -> JSONResponse:
        start_us = None if start_ms is None else start_ms * 1000
        # The whole of the last millisecond.
        end_us = None if end_ms is None else end_ms * 1000 + 999
        wanted = AggregatesWanted(limit, from_id, start_us, end_us)
        return JSONResponse(await queries.aggregates(symbol, wanted, _clock(microseconds)))

    @app.get("/v1/candles")
    async def candles(
        *,
        symbol: Symbol,
        interval: Interval,
        limit: Limit,
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        offset_ms: Offset = 0,
        microseconds: bool = False,
        ids: bool = False,
    ) -> JSONResponse:
        wanted = CandlesWanted(interval, limit, start_ms, end_ms, offset_ms)
        return JSONResponse(await queries.candles(symbol, wanted, _clock(microseconds), ids=ids))

    @app.get("/v1/average")
    async def average(symbol: Symbol, microseconds: bool = False) -> JSONResponse:
        return JSONResponse(queries.average(symbol, _clock(microseconds)))

    @app.get("/v1/prices")
    async def prices(symbols: Symbols = None) -> JSONResponse:
        return JSONResponse(queries.prices(_split(symbols)))

    @app.get("/v1/bests")
    async def bests(symbols: Symbols = None) -> JSONResponse:
        return JSONResponse(queries.bests(_split(symbols)))

    @app.get("/v1/days")
    async def days(symbols: Symbols = None, mini: bool = False, microseconds: bool = False) -> JSONResponse:
        return JSONResponse(queries.days(_split(symbols), mini=mini, clock=_clock(microseconds)))

    @app.get("/v1/windows")
    async def windows(
        length_ms: int, symbols: Symbols = None, mini: bool = False, microseconds: bool = False
    ) -> JSONResponse:
        clock = _clock(microseconds)
        return JSONResponse(await queries.windows(_split(symbols), length_ms, mini=mini, clock=clock))

    @app.get("/v1/trading-days")
    async def trading_days(
        symbols: Symbols = None, offset_ms: Offset = 0, mini: bool = False, microseconds: bool = False
    ) -> JSONResponse:
        clock = _clock(microseconds)
        return JSONResponse(await queries.trading_days(_split(symbols), offset_ms, mini=mini, clock=clock))

    @app.get("/v1/standing")
    async def standing() -> dict[str, object]:
        return service.standing()

    @app.get("/v1/feed")
    async def feed(
        *,
        reader: ReaderName = "",
        instead: ReaderName = "",
        at_once: Number = None,
        fast: Number = None,
        slow: Number = None,
    ) -> StreamingResponse:
        given = {Pace.AT_ONCE: at_once, Pace.FAST: fast, Pace.SLOW: slow}
        behind = {pace: seq for pace, seq in given.items() if seq is not None}
        return StreamingResponse(service.feed.read(reader, instead, behind), media_type="application/x-ndjson")

    return app


def _clock(microseconds: bool) -> words.Clock:
    return words.microseconds if microseconds else words.milliseconds


def _split(symbols: str | None) -> list[str] | None:
    return None if symbols is None else symbols.split(",")
