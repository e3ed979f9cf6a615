"""What everybody but the settler reads and writes in the database: a small pool, short statements, time-outs.

What is written has no time-out but the end of its connection, for the same reason as a settlement's (store.py).
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from openbourse.contracts.units import FEES_ACCOUNT, INT64_MAX
from openbourse.ledger import database, moves, queries
from openbourse.ledger.accounts import HOUSE_ACCOUNTS
from openbourse.ledger.coverage import Covering, End
from openbourse.ledger.database import Connection, Session
from openbourse.ledger.progress import Waiting
from openbourse.ledger.settlement import Watermark
from openbourse.ledger.statements import Cursor, Movement, Statement, page
from openbourse.ledger.transfers import Direction, Leg, LegOf, Transfer, TransferRequest, TransferState

_READ = queries.load("read.sql")
_TRANSFERS = queries.load("transfers.sql")
_STATEMENTS = queries.load("statements.sql")
_COVERAGE = queries.load("coverage.sql")
POOL_MOST = 5
HAS_SESSION_TIMEOUT_S = 2.0
# The driver ends a statement by cancelling it, which a commit that waits for its standby must never be.
NEVER_S = 10 * database.WRITE_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class TradesQuery:
    """An account's trades in a symbol. None: no such limit."""

    account: int
    symbol: str
    order_id: int | None
    from_id: int | None
    start_time_us: int | None
    end_time_us: int | None
    limit: int


# (seq, account, asset) -> (available, hold).
Moved = dict[tuple[int, int, str], tuple[int, int]]


class Books:
    """One shard's books. Every method raises Unavailable when the database is away."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", shard: str) -> None:
        self._pool = pool
        self.shard = shard

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        try:
            async with self._pool.acquire(timeout=database.CONNECT_TIMEOUT_S) as connection:
                # A pool hands out proxies that behave as the connection behind them.
                yield connection  # type: ignore[misc]
        except database.CONNECTION_ERRORS as error:
            raise database.as_ledger_error(error) from error

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """For one statement. Raises Unavailable when it may not be on the standby."""
        async with self.connection() as connection:
            end = asyncio.get_running_loop().call_later(database.WRITE_TIMEOUT_S, connection.terminate)
            try:
                with database.replicated(connection):
                    yield connection
            finally:
                end.cancel()

    async def watermark(self) -> Watermark:
        async with self.connection() as connection:
            return await self._watermark(connection)

    async def _watermark(self, connection: Connection) -> Watermark:
        row = await connection.fetchrow(_READ["watermark"], self.shard)
        return Watermark(row["session_epoch"], row["seq"]) if row else Watermark(0, 0)

    async def has_session(self, session: Session) -> bool:
        """Whether the server that takes writes now is the one that the session is with, and knows of it."""
        async with self.connection() as connection:
            return bool(await connection.fetchval(_READ["has_session"], *session, timeout=HAS_SESSION_TIMEOUT_S))

    async def scales(self) -> dict[str, int]:
        """Every asset that the shard lists, as far as it is settled."""
        async with self.connection() as connection:
            return {row["asset"]: row["scale"] for row in await connection.fetch(_READ["scales"], self.shard)}

    async def balances(self, account: int) -> list[tuple[str, int, int]]:
        """(asset, available, hold), by asset."""
        async with self.connection() as connection:
            rows = await connection.fetch(_READ["balances_of_account"], self.shard, account)
            return [(row["asset"], row["available"], row["hold"]) for row in rows]

    async def trades(self, query: TradesQuery) -> list[asyncpg.Record]:
        """By trade id. The first from a lower end when one is given, otherwise the latest."""
        account = (self.shard, query.account, query.symbol)
        async with self.connection() as connection:
            if query.from_id is None and query.start_time_us is None:
                latest = await connection.fetch(
                    _READ["trades_latest"], *account, query.order_id, query.end_time_us, query.limit
                )
                return latest[::-1]
            return await connection.fetch(
                _READ["trades_from"],
                *account,
                query.from_id,
                query.order_id,
                query.start_time_us,
                query.end_time_us,
                query.limit,
            )

    async def statement(self, account: int, asset: str, before: Cursor | None, limit: int) -> Statement:
        """One page, the newest line first. Raises Invalid when the cursor belongs to something else."""
        movements = _STATEMENTS["movements_of_fees" if account == FEES_ACCOUNT else "movements"]
        key = (self.shard, account, asset)
        async with self.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            start = before
            if start is None:
                kept = await connection.fetchrow(_STATEMENTS["balance"], *key)
                start = Cursor(INT64_MAX, 0, *(kept or (0, 0)))
            place = (start.seq, start.index, limit + 1)
            rows = await connection.fetch(movements, *key, *place)
            if account in HOUSE_ACCOUNTS:
                rows += await connection.fetch(_STATEMENTS["movements_by_hand"], *key, *place)
            legs = await self._legs(connection, rows)
        made = (Movement(*row)._replace(about=legs.get((row["seq"], row["index"]), "")) for row in rows)
        # Both the newest first, neither with fewer than it has.
        lines = sorted(made, key=lambda line: (line.seq, line.event_index), reverse=True)
        return page(lines[: limit + 1], start.available, start.hold, limit)

    async def _legs(self, connection: Connection, rows: list[asyncpg.Record]) -> dict[tuple[int, int], str]:
        """Which of the rows are legs of moves, in words."""
        keys = [(row["seq"], row["index"]) for row in rows if row["kind"].startswith("funds_")]
        if not keys:
            return {}
        found = await connection.fetch(_STATEMENTS["legs_of_lines"], self.shard, *zip(*keys, strict=True))
        return {(seq, index): moves.line(Leg(leg), *shards) for seq, index, leg, *shards in found}

    async def record(self, wanted: TransferRequest, requested_by: str) -> bool:
        """Writes a pending transfer; False when one has this id already, whatever it is about."""
        async with self.writing() as connection:
            done = await connection.execute(
                _TRANSFERS["record_transfer"],
                wanted.transfer_id,
                self.shard,
                wanted.direction,
                wanted.account,
                wanted.asset,
                wanted.amount,
                requested_by,
                *(wanted.leg_of or (None, None)),
                timeout=NEVER_S,
            )
            return done == "INSERT 0 1"

    async def confirmed(self, transfer_id: uuid.UUID) -> Transfer:
        """As it is on the standby too, whatever became of the commit that made it so. It must exist."""
        async with self.writing() as connection:
            row = await connection.fetchrow(_TRANSFERS["confirmed_transfer"], self.shard, transfer_id, timeout=NEVER_S)
        assert row is not None, "transfers are never removed"
        return _transfer(row)

    async def transfer(self, transfer_id: uuid.UUID) -> Transfer | None:
        async with self.connection() as connection:
            row = await connection.fetchrow(_TRANSFERS["transfer"], self.shard, transfer_id)
            return _transfer(row) if row else None

    async def pending(self, older_than_s: float, most: int) -> list[Transfer]:
        """The oldest first."""
        async with self.connection() as connection:
            rows = await connection.fetch(_TRANSFERS["pending_transfers"], self.shard, older_than_s, most)
            return [_transfer(row) for row in rows]

    async def waiting(self) -> Waiting:
        async with self.connection() as connection:
            row = await connection.fetchrow(_TRANSFERS["waiting"], self.shard)
            assert row is not None
            return Waiting(row["transfers"], row["transfers_age_s"] or 0, row["moves"], row["moves_age_s"] or 0)

    async def void(self, transfer_id: uuid.UUID, reason: str) -> None:
        """Nothing when it is not pending any more."""
        async with self.writing() as connection:
            await connection.execute(_TRANSFERS["void_transfer"], self.shard, transfer_id, reason, timeout=NEVER_S)

    async def end_of_coverage(self) -> End:
        async with self.connection() as connection:
            row = await connection.fetchrow(_COVERAGE["end_of_coverage"], self.shard)
            return End(*row) if row else End(0, 0, None)

    async def covering_batches(self, after: int, through: int, most: int) -> list[Covering]:
        """The batches after one, at most so many, with how many entries there are in each."""
        async with self.connection() as connection:
            rows = await connection.fetch(
                _COVERAGE["covering_batches"], self.shard, after, through, most, timeout=database.LONG_READ_TIMEOUT_S
            )
            return [Covering(*row) for row in rows]

    async def moved(self, first_seq: int, last_seq: int) -> Moved:
        """What the entries of a run of seqs move, each by itself; what moves nothing is left out."""
        async with self.connection() as connection:
            rows = await connection.fetch(_READ["moved_by_seq"], self.shard, first_seq, last_seq)
            return {(row["seq"], row["account"], row["asset"]): (row["available"], row["hold"]) for row in rows}

    async def snapshot(self, seq: int, *, entries: bool = True) -> "Snapshot":
        """All balances, and what explains them, as of one moment; without `entries` not all that ever was."""
        async with self.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            manual = _by_balance(await connection.fetch(_READ["moved_by_hand"], self.shard))
            return Snapshot(
                watermark=await self._watermark(connection),
                manual=manual,
                balances=_by_balance(await connection.fetch(_READ["balances_of_shard"], self.shard)),
                moved_after=_by_balance(await connection.fetch(_READ["moved_after"], self.shard, seq)),
                entries=_by_balance(
                    await connection.fetch(_READ["sum_of_entries"], self.shard, timeout=database.LONG_READ_TIMEOUT_S)
                )
                if entries
                else None,
            )


Amounts = dict[tuple[int, str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """(account, asset) -> (available, hold): the balances kept, the movements after a seq, the sum of all entries.

    `entries` is None where they were not summed. What manual entries moved, of which the engine knows nothing, is in
    the balances and in `manual` only.
    """

    watermark: Watermark
    manual: Amounts
    balances: Amounts
    moved_after: Amounts
    entries: Amounts | None


@contextlib.asynccontextmanager
async def open_books(dsn: str, shard: str) -> AsyncIterator[Books]:
    """Opens no connection before the first is needed: the database may come later."""
    async with asyncpg.create_pool(  # type: ignore[call-overload]  # its stubs want every option by name
        dsn,
        min_size=0,
        max_size=POOL_MOST,
        connect=database.connect_for_writing,
        command_timeout=database.READ_TIMEOUT_S,
        server_settings={
            "role": database.COORDINATOR_ROLE,
            "application_name": f"{database.ROLE}_books",
            "jit": "off",
            "synchronous_commit": "on",
        },
    ) as pool:
        yield Books(pool, shard)


def _transfer(row: asyncpg.Record) -> Transfer:
    leg_of = None if row["move_id"] is None else LegOf(row["move_id"], Leg(row["leg"]))
    what = (Direction(row["direction"]), row["account"], row["asset"], row["amount"])
    return Transfer(
        TransferRequest(row["transfer_id"], *what, leg_of),
        TransferState(row["state"]),
        row["reason"],
        row["posted_seq"],
    )


def _by_balance(rows: list[asyncpg.Record]) -> Amounts:
    return {(row["account"], row["asset"]): (row["available"], row["hold"]) for row in rows}
