"""Makes a shard's balances again from its entries alone, manual ones too, compares, and corrects what is kept.

It settles meanwhile: entries through a watermark never change, so the shadow is made without a lock, in parts. Only the
end of a swap holds the watermark: what was settled or posted meanwhile is added, and the rows that differ are written
in the same transaction. They are written into the table that is there, so every guard of it holds for them. Entries are
read and never written.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from openbourse.ledger import database, queries
from openbourse.ledger.database import Connection
from openbourse.ledger.differences import DIFFERENCES_SHOWN, Difference
from openbourse.ledger.errors import Diverged, Invalid, LedgerError, Unavailable
from openbourse.ledger.migrate import require_migrated

_SQL = queries.load("rebuild.sql")

# Of a difference: the balance as it is kept, and as the entries make it.
SIDES = ("kept", "entries")

# Summed in one statement: the server holds the balances of one part, whatever the shard has.
PART_ENTRIES = 100_000
# Times that the shadow may find itself more than a part behind: it is made ten times as fast as anything is settled.
CATCH_UPS_MOST = 100
# A settlement whose standby is away holds the watermark for as long as that takes.
LOCK_TIMEOUT_S = 10.0
# Of one statement; with the watermark held no longer than a shard may lag before it only cancels.
PART_TIMEOUT_S = 120.0
HELD_TIMEOUT_S = 15.0

_SETTINGS = {
    "application_name": "openbourse_rebuild",
    "statement_timeout": f"{PART_TIMEOUT_S:.0f}s",
    # A statement ends soon after its client has.
    "client_connection_check_interval": "500ms",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found right after `seq`, and what became of it."""

    shard: str
    seq: int
    entries: int
    balances: int
    differences: int
    # The first of them, by account and asset.
    first: tuple[Difference, ...]
    # Balances written; 0: nothing differed, or nobody asked for it.
    swapped: int
    # How long settlement may have waited.
    held_s: float


@dataclass(frozen=True, slots=True)
class Made:
    """How far the shadow is."""

    seq: int
    of_seq: int
    entries: int


Say = Callable[[Made], None]


class Interrupted(LedgerError):
    """Ended by a signal. Everything is as it was, unless it said that it was writing."""


async def rebuild(dsn: str, shard: str, *, swap: bool, say: Say = lambda _: None) -> Rebuilt:
    """Compares, and with `swap` corrects what differs. Ends by SIGINT and SIGTERM too.

    Raises Invalid, Unavailable, Diverged when the books refuse what the entries make, and Interrupted.
    """
    connection = await database.connect_for_writing(dsn, server_settings=_SETTINGS)
    shadow = _Shadow(connection, shard, say)
    try:
        with _ended_by_signals(connection) as signalled:
            try:
                await require_migrated(connection)
                await _require_owner(connection)
                await shadow.make()
                found = await shadow.compare()
                if not (swap and found.differences):
                    return found
                return await shadow.swap()
            except database.CONNECTION_ERRORS as error:
                if signalled:
                    raise Interrupted(shadow.interrupted()) from error
                raise _as_ledger_error(error) from error
    finally:
        connection.terminate()


class _Shadow:
    """The balances in the making, in a temporary table of the connection."""

    def __init__(self, connection: Connection, shard: str, say: Say) -> None:
        self._connection = connection
        self._shard = shard
        self._say = say
        self._through = 0
        self._entries = 0
        self._manual = 0
        self._commits = False

    async def make(self) -> None:
        """Until no more than a part is missing."""
        await self._connection.execute(_SQL["make_shadow"])
        for _ in range(CATCH_UPS_MOST):
            settled = await self._connection.fetchval(_SQL["settled_through"], self._shard)
            if settled is None:
                shards = ", ".join(row["shard"] for row in await self._connection.fetch(_SQL["shards"])) or "none"
                raise Invalid(f"shard {self._shard!r} was never settled in this database; those that were: {shards}")
            if await self._add(settled) <= 1:
                await self._connection.execute(_SQL["analyze_shadow"])
                return
        raise Unavailable(f"settlement is faster: {CATCH_UPS_MOST} times more than a part was added; ask again later")

    async def _add(self, settled: int) -> int:
        """Everything through a seq that is settled; how many parts that was."""
        parts = 0
        # Each part takes at least one seq further.
        while self._through < settled:
            row = await self._connection.fetchrow(
                _SQL["next_entries"], self._shard, self._through, settled, PART_ENTRIES
            )
            # No row: the rest are seqs that moved nothing.
            end, entries = row or (settled, 0)
            await self._connection.execute(_SQL["add_entries"], self._shard, self._through, end)
            parts += 1
            self._entries += entries
            self._through = end
            self._say(Made(self._through, settled, self._entries))
        return parts

    async def _add_manual(self) -> None:
        """What people posted since the last time."""
        last = await self._connection.fetchval(_SQL["add_manual_entries"], self._shard, self._manual)
        self._manual = last or self._manual

    async def compare(self) -> Rebuilt:
        """With what is kept, as of one moment and without a lock."""
        async with self._connection.transaction(isolation="repeatable_read"):
            await self._add(await self._connection.fetchval(_SQL["settled_through"], self._shard))
            await self._add_manual()
            return await self._found()

    async def swap(self) -> Rebuilt:
        """Returning means committed, on the standby too."""
        connection = self._connection
        async with database.replicated_transaction(connection):
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S * 1000:.0f}ms'")
            await connection.execute(f"SET LOCAL statement_timeout = '{HELD_TIMEOUT_S:.0f}s'")
            settled = await connection.fetchval(_SQL["lock_settled_through"], self._shard)
            held_from = time.monotonic()
            await self._add(settled)
            await self._add_manual()
            found = await self._found()
            written = 0
            for statement in ("correct_balances", "restore_balances", "empty_balances"):
                status = await connection.execute(_SQL[statement], self._shard)
                written += int(status.split()[-1])
            left = await self._found()
            if left.differences:
                raise Diverged(f"the database keeps something else than it was given: {left.first[0].told(*SIDES)}")
            self._commits = True
        return replace(found, swapped=written, held_s=time.monotonic() - held_from)

    def interrupted(self) -> str:
        if self._commits:
            return "interrupted while the swap was committed: it is done as a whole or not at all, run it again to see"
        return "interrupted: everything is as it was"

    async def _found(self) -> Rebuilt:
        rows = await self._connection.fetch(_SQL["first_differences"], self._shard, DIFFERENCES_SHOWN)
        return Rebuilt(
            shard=self._shard,
            seq=self._through,
            entries=self._entries,
            balances=await self._connection.fetchval(_SQL["count_shadow"]),
            differences=rows[0]["differences"] if rows else 0,
            first=tuple(
                Difference(
                    row["account"],
                    row["asset"],
                    (row["kept_available"], row["kept_hold"]),
                    (row["made_available"], row["made_hold"]),
                )
                for row in rows
            ),
            swapped=0,
            held_s=0.0,
        )


async def _require_owner(connection: Connection) -> None:
    row = await connection.fetchrow(_SQL["owner"])
    assert row is not None
    if not row["is_ours"]:
        raise Invalid(f"balances are rebuilt by the owner of ledger.balances, {row['owner']}, and not by {row['us']}")


@contextlib.contextmanager
def _ended_by_signals(connection: Connection) -> Iterator[list[int]]:
    """What has come so far. The first one closes the connection: to cancel would let a waiting commit through."""
    loop = asyncio.get_running_loop()
    come: list[int] = []

    def end(number: int) -> None:
        come.append(number)
        connection.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        yield come
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _as_ledger_error(error: BaseException) -> LedgerError:
    match getattr(error, "sqlstate", None):
        case "55P03":
            return Unavailable(f"settlement held its watermark for {LOCK_TIMEOUT_S:g} s: is its standby away?")
        case "57014":
            return Unavailable(
                f"a statement took more than it may ({PART_TIMEOUT_S:g} s, {HELD_TIMEOUT_S:g} s with the watermark "
                "held): everything is as it was"
            )
    return database.as_ledger_error(error)
