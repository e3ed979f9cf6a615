"""Connections to PostgreSQL: always as the application's role, and errors sorted by what to do about them."""

import asyncio
import contextlib
import datetime
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from openbourse.ledger.errors import Diverged, LedgerError, StaleSession, Unavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# As which a ledger logs in, and settles; what asks for people takes a role that writes no books.
ROLE = "openbourse_ledger"
COORDINATOR_ROLE = "openbourse_coordinator"
SEALER_ROLE = "openbourse_sealer"
CONNECT_TIMEOUT_S = 5.0
# How long a reading statement may take; settlement has no such limit (store.py says why).
READ_TIMEOUT_S = 10.0
# How long it may take to write a transfer, its way to the standby included.
WRITE_TIMEOUT_S = 10.0
# Summing every entry that there is.
LONG_READ_TIMEOUT_S = 120.0

# Each turned off would let PostgreSQL forget what it has confirmed.
DURABLE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")

# What a person can do about it. Whatever it is, the ledger goes on by itself once it has passed.
_ADVICE = {
    "25006": "it is read-only: name every host in the address, or find out who made it so",
    "53100": "its disk is full: make room",
    "53300": "it has no connection left: raise max_connections, or end what has them",
}

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


class Session(NamedTuple):
    """What tells one connection from all others, of all servers."""

    server_started_at: datetime.datetime
    pid: int


async def connect(dsn: str, settings: Mapping[str, str], role: str = ROLE) -> Connection:
    """A connection that acts as the role whoever logged in. Raises Unavailable."""
    return await connect_for_writing(dsn, server_settings={"role": role, "application_name": role, **settings})


async def connect_for_writing(dsn: str, **options: Any) -> Connection:
    """To the first of the hosts in `dsn` that takes writes; `options` are asyncpg's. Raises Unavailable.

    asyncpg would let one host that does not answer have all of the time.
    """
    hosts = each_host(dsn)
    troubles = []
    for host, address in hosts.items():
        name = f"{host}: " if len(hosts) > 1 else ""
        try:
            return await asyncpg.connect(
                address,
                timeout=CONNECT_TIMEOUT_S / len(hosts),
                target_session_attrs=SessionAttribute.read_write,
                **options,
            )
        except asyncpg.TargetServerAttributeNotMatched:
            troubles.append(f"{name}a standby, or read-only")
        except (*CONNECTION_ERRORS, ValueError) as error:
            troubles.append(f"{name}{_trouble(error)}")
    raise Unavailable(f"database: {'; '.join(troubles)}")


def each_host(dsn: str) -> dict[str, str]:
    """An address for each host that one names, in their order: `//user@a:1,b:2/db`, or `//user@/db?host=/a,/b`."""
    try:
        url = urlsplit(dsn)
    except ValueError:
        # For the driver to refuse.
        return {"": dsn}
    login, at, authority = url.netloc.rpartition("@")
    query = dict(parse_qsl(url.query))
    names = (authority or query.get("host", "")).split(",")
    ports = query.get("port", "").split(",")
    if len(names) == 1 or len(ports) not in (1, len(names)):
        return {authority or query.get("host", ""): dsn}
    addresses = {}
    for number, name in enumerate(names):
        own = query | ({} if authority else {"host": name}) | ({"port": ports[number]} if len(ports) > 1 else {})
        netloc = f"{login}{at}{name}" if authority else url.netloc
        addresses[name] = url._replace(netloc=netloc, query=urlencode(own)).geturl()
    return addresses


async def session_of(connection: Connection) -> Session:
    """Raises Unavailable."""
    try:
        row = await connection.fetchrow("SELECT pg_postmaster_start_time(), pg_backend_pid()", timeout=READ_TIMEOUT_S)
    except CONNECTION_ERRORS as error:
        raise as_ledger_error(error) from error
    assert row is not None
    return Session(*row)


async def require_durable(connection: Connection) -> None:
    """Raises Unavailable when the server could lose a transaction that it has confirmed.

    The session keeps its way to commit from here on, whatever is configured later.
    """
    for setting in DURABLE_SETTINGS:
        if await connection.fetchval("SELECT current_setting($1)", setting) == "off":
            raise Unavailable(f"database: {setting} is off: it could forget what it settled; turn it on")
    commit, standbys = await connection.fetchrow(
        "SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false), "
        "current_setting('synchronous_standby_names')"
    ) or ("", "")
    if commit == "local" and standbys:
        raise Unavailable("database: synchronous_commit is local: it would not wait for its standby; turn it on")


@contextlib.contextmanager
def replicated(connection: Connection) -> Iterator[None]:
    """Of a transaction or a statement that writes. Raises Unavailable when its standby may not have it.

    A commit whose wait for the standby is cancelled says that it succeeded, and a warning is all that tells: it is here
    and perhaps nowhere else. Any warning is taken for that, since what it says is in the server's language.
    """
    warnings = []

    def note(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            warnings.append(message)

    connection.add_log_listener(note)
    try:
        yield
    finally:
        connection.remove_log_listener(note)
    if warnings:
        raise Unavailable(f"database: committed with a warning, on its standby perhaps not: {warnings[0].message}")


@contextlib.asynccontextmanager
async def replicated_transaction(connection: Connection) -> AsyncIterator[None]:
    with replicated(connection):
        try:
            async with connection.transaction():
                yield
        except asyncpg.InterfaceError:
            # A transaction whose connection is closed ends with this, in a task that is cancelled too.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from None
            raise


def as_ledger_error(error: BaseException) -> LedgerError:
    """What a failed settlement means: the books refused the content, or anything else that may pass."""
    state = getattr(error, "sqlstate", None) or ""
    if state == "OB003":
        return StaleSession(sentence(error))
    # asyncpg refuses a value that does not fit its column's type before the server sees it.
    never_fits = isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    if never_fits or state[:2] in ("22", "23", "OB"):
        return Diverged(f"the books refuse it: {sentence(error)}")
    return Unavailable(f"database: {_trouble(error)}")


def _trouble(error: BaseException) -> str:
    advice = _ADVICE.get(getattr(error, "sqlstate", None) or "")
    return f"{sentence(error)}; {advice}" if advice else sentence(error)


def sentence(error: BaseException) -> str:
    """An error in one line; the server's detail, such as the row that it refused, is in it."""
    return " ".join((str(error) or type(error).__name__).split())[:500]
