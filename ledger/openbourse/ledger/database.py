"""Connections to PostgreSQL: always as the application's role, and errors sorted by what to do about them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import asyncpg

from openbourse.ledger.errors import Diverged, LedgerError, StaleSession, Unavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ROLE = "openbourse_ledger"
SEALER_ROLE = "openbourse_sealer"
CONNECT_TIMEOUT_S = 5.0
# How long a reading statement may take; settlement has no such limit (store.py says why).
READ_TIMEOUT_S = 10.0
# Summing every entry that there is.
LONG_READ_TIMEOUT_S = 120.0

# Each turned off would let PostgreSQL forget what it has confirmed.
DURABLE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")

# Whatever made a statement fail, it is one of these: not there, or not allowed to get there. asyncpg calls it an error
# of its own when a server that shuts down speaks first, between two statements.
CONNECTION_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError, asyncpg.InternalClientError)


def dsn_from_environment(environment: Mapping[str, str] = os.environ) -> str:
    """OPENBOURSE_DATABASE, or the content of the file that OPENBOURSE_DATABASE_FILE names. Raises ValueError."""
    if dsn := environment.get("OPENBOURSE_DATABASE"):
        return dsn
    if file := environment.get("OPENBOURSE_DATABASE_FILE"):
        return Path(file).read_text().strip()
    raise ValueError(
        "set OPENBOURSE_DATABASE to postgresql://user@host/database, or OPENBOURSE_DATABASE_FILE to a file"
    )


async def connect(dsn: str, settings: Mapping[str, str], role: str = ROLE) -> Connection:
    """A connection that acts as the role whoever logged in. Raises Unavailable."""
    try:
        return await asyncpg.connect(
            dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"role": role, "application_name": role, **settings}
        )
    except (*CONNECTION_ERRORS, ValueError) as error:
        raise Unavailable(f"database: {sentence(error)}") from error


async def require_durable(connection: Connection) -> None:
    """Raises Unavailable when the server could lose a transaction that it has confirmed."""
    for setting in DURABLE_SETTINGS:
        if await connection.fetchval("SELECT current_setting($1)", setting) == "off":
            raise Unavailable(f"database: {setting} is off: it could forget what it settled; turn it on")


def as_ledger_error(error: BaseException) -> LedgerError:
    """What a failed settlement means: the books refused the content, or anything else that may pass."""
    state = getattr(error, "sqlstate", None) or ""
    if state == "OB003":
        return StaleSession(sentence(error))
    # asyncpg refuses a value that does not fit its column's type before the server sees it.
    never_fits = isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    if never_fits or state[:2] in ("22", "23", "OB"):
        return Diverged(f"the books refuse it: {sentence(error)}")
    return Unavailable(f"database: {sentence(error)}")


def sentence(error: BaseException) -> str:
    """An error in one line; the server's detail, such as the row that it refused, is in it."""
    return " ".join((str(error) or type(error).__name__).split())[:500]
