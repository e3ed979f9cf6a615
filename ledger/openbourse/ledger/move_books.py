"""Moves in the database: short statements over the pool of the books. Decides nothing.

Each write is one statement. Legs are transfers, which are the books' and the settler's to write.
"""

import uuid
from collections import defaultdict

import asyncpg

from openbourse.ledger import moves, queries
from openbourse.ledger.books import NEVER_S, Books
from openbourse.ledger.errors import Conflict
from openbourse.ledger.moves import LegNow, Move, MoveRequest
from openbourse.ledger.transfers import Leg, TransferState

_SQL = queries.load("moves.sql")
LISTED_MOST = 200


class MoveBooks:
    """The moves out of one shard and into it. Every method raises Unavailable when the database is away."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.shard = books.shard

    async def scales(self) -> dict[str, dict[str, int]]:
        """Every shard whose books are here, and the assets that it lists, as far as it is settled."""
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        async with self._books.connection() as connection:
            for row in await connection.fetch(_SQL["scales_of_shards"]):
                assets = found[row["shard"]]
                if row["asset"] is not None:
                    assets[row["asset"]] = row["scale"]
        return dict(found)

    async def record(self, wanted: MoveRequest, requested_by: str) -> Move:
        """The move as it is on the standby too. Raises Conflict when its id is another move's."""
        async with self._books.writing() as connection:
            await connection.execute(
                _SQL["record_move"],
                *(wanted.move_id, wanted.account, wanted.asset, wanted.amount, wanted.from_shard, wanted.to_shard),
                requested_by,
                timeout=NEVER_S,
            )
        found = await self.confirmed(wanted.move_id)
        if found is None:
            raise Conflict(f"move {wanted.move_id} is between other shards; use a new id")
        return moves.resume(found, wanted)

    async def confirmed(self, move_id: uuid.UUID) -> Move | None:
        """As it is on the standby too, whatever became of the commit that made it so."""
        async with self._books.writing() as connection:
            row = await connection.fetchrow(_SQL["confirmed_move"], self.shard, move_id, timeout=NEVER_S)
        return _move(row) if row else None

    async def move(self, move_id: uuid.UUID) -> Move | None:
        async with self._books.connection() as connection:
            row = await connection.fetchrow(_SQL["move"], self.shard, move_id)
        return _move(row) if row else None

    async def to_carry(self, older_than_s: float, most: int) -> list[Move]:
        """Those in which something is for this shard to do, the oldest first."""
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["moves_to_carry"], self.shard, older_than_s, most)
        return [_move(row) for row in rows]

    async def decide(self, move_id: uuid.UUID, state: TransferState, reason: str) -> None:
        """Nothing when it is decided already."""
        async with self._books.writing() as connection:
            await connection.execute(_SQL["decide_move"], move_id, state.value, reason, timeout=NEVER_S)

    async def newest(self, most: int, *, pending: bool) -> list[Move]:
        async with self._books.connection() as connection:
            rows = await connection.fetch(_SQL["newest_moves"], self.shard, pending, most)
        return [_move(row) for row in rows]


def _move(row: asyncpg.Record) -> Move:
    names = MoveRequest.__dataclass_fields__
    return Move(
        MoveRequest(*(row[name] for name in names)),
        TransferState(row["state"]),
        row["reason"],
        row["requested_by"],
        {
            leg: LegNow(TransferState(row[f"{leg}_state"]), row[f"{leg}_reason"], row[f"{leg}_seq"])
            for leg in Leg
            if row[f"{leg}_state"] is not None
        },
    )
