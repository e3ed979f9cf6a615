"""Manual entries in the database: short statements over the pool of the books. Decides nothing that a table decides.

Each write is one statement, so it is there as a whole or not at all; the same again is answered as the first time.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator

import asyncpg

from openbourse.ledger import manual, queries
from openbourse.ledger.books import NEVER_S, Books
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Conflict, Invalid
from openbourse.ledger.manual import Decision, ManualEntry, Proposal

_SQL = queries.load("manual.sql")
LISTED_MOST = 200

# What a rule of these tables answers with (0006_pre_manual_entries.sql).
_REFUSED = "OB007"


class ManualBooks:
    """One shard's manual entries. Every method raises Unavailable when the database is away."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._shard = books.shard

    async def propose(self, wanted: Proposal) -> ManualEntry:
        """Raises Invalid, and Conflict when the id is another entry's."""
        async with self._writing() as connection:
            await connection.execute(
                _SQL["propose"],
                *(wanted.entry_id, self._shard, wanted.kind, wanted.reverses, wanted.asset),
                *(wanted.from_account, wanted.to_account, wanted.amount, wanted.reason, wanted.requested_by),
                timeout=NEVER_S,
            )
        found = await self._confirmed(wanted.entry_id)
        if found is None:
            raise Conflict(f"manual entry {wanted.entry_id} is another shard's; use a new id")
        return manual.same(found, wanted)

    async def decide(self, entry_id: uuid.UUID, decision: Decision, decided_by: str) -> ManualEntry:
        """Raises Invalid when there is none, it is the person's own or a balance does not allow it, and Conflict."""
        async with self._writing() as connection:
            await connection.execute(_SQL["decide"], self._shard, entry_id, decision.value, decided_by, timeout=NEVER_S)
        found = await self._confirmed(entry_id)
        if found is None:
            raise Invalid(f"there is no manual entry {entry_id}")
        return manual.decided(found, decision, decided_by)

    async def entry(self, entry_id: uuid.UUID) -> ManualEntry:
        """Raises Invalid when there is none."""
        async with self._books.connection() as connection:
            row = await connection.fetchrow(_SQL["entry"], self._shard, entry_id)
        if row is None:
            raise Invalid(f"there is no manual entry {entry_id}")
        return _entry(row)

    async def newest(self, most: int, *, undecided: bool) -> list[ManualEntry]:
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["newest_entries"], self._shard, undecided, most)
        return [_entry(row) for row in rows]

    async def _confirmed(self, entry_id: uuid.UUID) -> ManualEntry | None:
        async with self._books.writing() as connection:
            row = await connection.fetchrow(_SQL["confirmed_entry"], self._shard, entry_id, timeout=NEVER_S)
        return _entry(row) if row else None

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[Connection]:
        async with self._books.writing() as connection:
            try:
                yield connection
            except asyncpg.CheckViolationError as error:
                if error.constraint_name != "balances_are_not_negative":
                    raise
                raise Invalid("the fees account would be below zero: post less, or from another account") from error
            except asyncpg.PostgresError as error:
                if error.sqlstate != _REFUSED:
                    raise
                raise Invalid(str(error)) from error


def _entry(row: asyncpg.Record) -> ManualEntry:
    proposal = Proposal(*(row[name] for name in Proposal.__dataclass_fields__))
    decision = None if row["decision"] is None else Decision(row["decision"])
    return ManualEntry(proposal, decision, row["decided_by"], row["number"])
