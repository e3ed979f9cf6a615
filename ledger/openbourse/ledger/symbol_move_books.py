"""Moves of symbols in the database: short statements over the pool of the books. Decides nothing.

Each write is one statement, and a state is only ever left by who read it.
"""

import uuid

import asyncpg

from openbourse.ledger import queries, symbol_moves
from openbourse.ledger.books import NEVER_S, Books
from openbourse.ledger.errors import Conflict
from openbourse.ledger.symbol_moves import SymbolMove, SymbolMoveRequest, SymbolMoveState

_SQL = queries.load("symbol_moves.sql")
LISTED_MOST = 200


class SymbolMoveBooks:
    """The moves of symbols out of one shard and into it. Every method raises Unavailable when the database is away."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.shard = books.shard

    async def symbols(self) -> dict[str, frozenset[str]]:
        """Every shard whose books are here, and the symbols that it ever listed, as far as it is settled."""
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["symbols_of_shards"])
        return {row["shard"]: frozenset(row["symbols"] or ()) for row in rows}

    async def record(self, wanted: SymbolMoveRequest, requested_by: str) -> SymbolMove:
        """The move as it is on the standby too. Raises Conflict when its id is another move's, or the symbol moves."""
        try:
            async with self._books.writing() as connection:
                await connection.execute(
                    _SQL["record_symbol_move"],
                    *(wanted.move_id, wanted.symbol, wanted.from_shard, wanted.to_shard, requested_by),
                    timeout=NEVER_S,
                )
        except asyncpg.UniqueViolationError as error:
            raise Conflict(f"{wanted.symbol} is moving already: look at the moves that are pending") from error
        found = await self.confirmed(wanted.move_id)
        if found is None:
            raise Conflict(f"move {wanted.move_id} is between other shards; use a new id")
        return symbol_moves.resume(found, wanted)

    async def confirmed(self, move_id: uuid.UUID) -> SymbolMove | None:
        """As it is on the standby too, whatever became of the commit that made it so."""
        async with self._books.writing() as connection:
            row = await connection.fetchrow(_SQL["confirmed_symbol_move"], self.shard, move_id, timeout=NEVER_S)
        return _move(row) if row else None

    async def move(self, move_id: uuid.UUID) -> SymbolMove | None:
        async with self._books.connection() as connection:
            row = await connection.fetchrow(_SQL["symbol_move"], self.shard, move_id)
        return _move(row) if row else None

    async def to_carry(self, most: int) -> list[SymbolMove]:
        """Those that are not over, the oldest first."""
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["symbol_moves_to_carry"], self.shard, most)
        return [_move(row) for row in rows]

    async def become(
        self, move: SymbolMove, state: SymbolMoveState, reason: str, imported_at_us: int | None = None
    ) -> None:
        """Nothing when it has left its state already."""
        async with self._books.writing() as connection:
            await connection.execute(
                _SQL["become"],
                *(move.request.move_id, move.state.value, state.value, reason, imported_at_us),
                timeout=NEVER_S,
            )

    async def frozen(self, move: SymbolMove, seq: int, at_us: int, record_sha256: bytes, parts: list[bytes]) -> None:
        """With its record; `seq` and `at_us` are the freeze's, which is settled.

        Nothing when it has left its state already.
        """
        async with self._books.writing() as connection:
            await connection.execute(
                _SQL["frozen"],
                *(move.request.move_id, parts, record_sha256, self.shard, seq, at_us),
                timeout=NEVER_S,
            )

    async def record_of(self, move_id: uuid.UUID) -> tuple[bytes, list[bytes]]:
        """The hash of the whole, and its parts."""
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["record"], move_id)
        return rows[0]["record_sha256"], [row["record"] for row in rows]

    async def ask_to_undo(self, move_id: uuid.UUID) -> None:
        """Nothing when it is too late."""
        async with self._books.writing() as connection:
            await connection.execute(_SQL["ask_to_undo"], self.shard, move_id, timeout=NEVER_S)

    async def newest(self, most: int, *, pending: bool) -> list[SymbolMove]:
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["newest_symbol_moves"], self.shard, pending, most)
        return [_move(row) for row in rows]


def _move(row: asyncpg.Record) -> SymbolMove:
    names = SymbolMoveRequest.__dataclass_fields__
    return SymbolMove(
        SymbolMoveRequest(*(row[name] for name in names)),
        SymbolMoveState(row["state"]),
        row["reason"],
        row["requested_by"],
        row["undo_asked"],
        row["state_age_s"],
        row["frozen_at_us"],
        row["imported_at_us"],
    )
