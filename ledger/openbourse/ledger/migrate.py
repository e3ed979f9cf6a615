"""Brings a database to the schema of this release: numbered files of `sql/migrations`, each once, in order.

A file is `NNNN_pre_name.sql` (before the new code is deployed: the old code still works) or `NNNN_post_name.sql`
(after: the old code is gone). A file that was applied never changes.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

import asyncpg

from openbourse.ledger import database
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Invalid, Unavailable

# Any number that nobody else on the server locks: "openbourse ledger" in bytes, cut to 63 bits.
_LOCK = int.from_bytes(hashlib.sha256(b"openbourse ledger migrations").digest()[:8], "big") >> 1
LOCK_TIMEOUT_MS = 60_000

_FILE = re.compile(r"(?P<number>[0-9]{4})_(?P<phase>pre|post)_[a-z0-9_]+\.sql")


class Phase(StrEnum):
    """PRE stops at the first `post` file that is not applied yet."""

    PRE = "pre"
    POST = "post"


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    phase: Phase
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known() -> list[Migration]:
    """The migrations of this release, in order."""
    folder = files("openbourse.ledger") / "sql" / "migrations"
    found = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    migrations = []
    for number, (name, sql) in enumerate(found, start=1):
        match = _FILE.fullmatch(name)
        assert match and int(match["number"]) == number, f"{name} is not named NNNN_pre_... or NNNN_post_..., in order"
        migrations.append(Migration(name, Phase(match["phase"]), sql))
    return migrations


def pending(applied: Sequence[tuple[str, str]], migrations: Sequence[Migration], phase: Phase) -> list[Migration]:
    """What to apply, given (name, digest) of what was. Raises Invalid when the two have no common history. Pure."""
    for (name, digest), migration in zip(applied, migrations, strict=False):
        if (name, digest) != (migration.name, migration.digest):
            raise Invalid(
                f"migration {name} in the database is not {migration.name} of this release: not this ledger's"
            )
    if len(applied) > len(migrations):
        raise Invalid(f"the database is newer: it has {applied[len(migrations)][0]}, which this release does not know")
    rest = list(migrations[len(applied) :])
    if phase is Phase.PRE:
        first_post = next((at for at, migration in enumerate(rest) if migration.phase is Phase.POST), len(rest))
        del rest[first_post:]
    return rest


def until(applied: Sequence[tuple[str, str]], todo: Sequence[Migration], to: int) -> list[Migration]:
    """The part of `todo` through number `to`. Raises Invalid when the database is beyond it. Pure."""
    if to < len(applied):
        raise Invalid(
            f"the database has {applied[-1][0]} and is not taken back to {to:04}: that would lose what was settled "
            f"since, or its chain; restore a backup of before {applied[to][0]}, and settle from the engine's log again"
        )
    return list(todo[: to - len(applied)])


async def migrate(
    dsn: str, phase: Phase = Phase.POST, passwords: Mapping[str, str] | None = None, to: int | None = None
) -> list[str]:
    """Applies what is pending, as the owner; the names of what it applied. Sets the passwords of roles if given any.

    `to`: no further than the migration of that number. None is ever undone: each so far would take something with it.

    Several at once wait for each other. Raises Invalid and Unavailable.
    """
    connection = await database.connect_for_writing(dsn)
    try:
        await connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.openbourse_ledger_migrations ("
            "number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL, "
            "applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        await connection.execute("REVOKE ALL ON public.openbourse_ledger_migrations FROM PUBLIC")
        applied = await _applied(connection)
        todo = pending(applied, known(), phase)
        if to is not None:
            todo = until(applied, todo, to)
        for number, migration in enumerate(todo, start=len(applied) + 1):
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO public.openbourse_ledger_migrations (number, name, digest) VALUES ($1, $2, $3)",
                    number,
                    migration.name,
                    migration.digest,
                )
        await connection.execute(f"GRANT SELECT ON public.openbourse_ledger_migrations TO {database.ROLE}")
        for role, password in (passwords or {}).items():
            quoted = await connection.fetchval("SELECT quote_literal($1::text)", password)
            await connection.execute(f"ALTER ROLE {role} PASSWORD {quoted}")
        return [migration.name for migration in todo]
    except database.CONNECTION_ERRORS as error:
        raise Unavailable(f"database: {database.sentence(error)}") from error
    finally:
        await connection.close(timeout=database.CONNECT_TIMEOUT_S)


async def require_migrated(connection: Connection) -> None:
    """Raises Unavailable when this release's `pre` migrations are not all there: it comes with the next migrate."""
    try:
        applied = await _applied(connection)
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        applied = []
    migrations = known()
    try:
        # What the database has beyond is of a newer release, whose `pre` migrations this one can live with.
        missing = pending(applied[: len(migrations)], migrations, Phase.PRE)
    except Invalid as error:
        raise Unavailable(f"database: {error}") from error
    newer = [name for name, _ in applied[len(migrations) :] if f"_{Phase.POST}_" in name]
    if newer:
        raise Unavailable(f"database: it is newer, {newer[0]} is not for this release: deploy the one that has it")
    if missing:
        raise Unavailable(f"database: {missing[0].name} is not applied: run `python -m openbourse.ledger migrate`")


async def _applied(connection: Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("SELECT name, digest FROM public.openbourse_ledger_migrations ORDER BY number")
    return [(row["name"], row["digest"]) for row in rows]
