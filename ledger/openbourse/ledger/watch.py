"""Asks the engine and the database once a second whether they are there, and how far the engine is."""

import asyncio

from openbourse.contracts import v1
from openbourse.contracts.session import Busy, EngineSession
from openbourse.contracts.unanswered import Unavailable as NoAnswer
from openbourse.ledger.books import Books
from openbourse.ledger.errors import LedgerError
from openbourse.ledger.progress import Progress

EVERY_S = 1.0
FIRST_EVERY_S = 0.1
ENGINE_TIMEOUT_S = 2.0


async def watch(session: EngineSession, books: Books, progress: Progress) -> None:
    """Until cancelled. More often until both were there once: a start should not take a second."""
    while True:
        progress.engine_trouble = await _ask_engine(session, progress)
        progress.database_trouble = await _ask_database(books)
        both = not (progress.engine_trouble or progress.database_trouble)
        await asyncio.sleep(EVERY_S if both else FIRST_EVERY_S)


async def _ask_engine(session: EngineSession, progress: Progress) -> str:
    """What is wrong with it; empty: nothing."""
    settled = progress.watermark
    try:
        answer = await session.query(v1.Query(listings=v1.ListingsQuery()), ENGINE_TIMEOUT_S)
    except (NoAnswer, Busy) as error:
        return str(error)
    progress.engine_is_at(answer.seq)
    if answer.seq < settled.seq and answer.epoch >= settled.session_epoch:
        return f"its log ends at seq {answer.seq}, but seq {settled.seq} is settled: it has lost what was committed"
    return ""


async def _ask_database(books: Books) -> str:
    try:
        await books.watermark()
    except LedgerError as error:
        return str(error)
    return ""
