"""What the seal has in the database: keys, leaves, checkpoints, countersignatures. A round is one transaction.

Whoever appends holds the seal's lock, so a round and a rotation never meet. Nothing here signs or decides what to sign.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from openbourse.ledger import chain, database, queries
from openbourse.ledger.chain import NO_HEAD, BatchRow
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged
from openbourse.ledger.migrate import require_migrated
from openbourse.ledger.seal import notes
from openbourse.ledger.seal.checkpoint import ManualEnd, ShardEnd, Total, batch_leaf
from openbourse.ledger.seal.notes import Note
from openbourse.ledger.seal.tree import Edge

SQL = queries.load("seal.sql")

# Any number that nobody else on the server locks.
_LOCK = int.from_bytes(hashlib.sha256(b"openbourse ledger seal").digest()[:8], "big") >> 1
LOCK_TIMEOUT_MS = 30_000
# Rows at a time, so that a ledger that was never sealed is not held in memory.
CHUNK = 5_000
# Summing all balances, or reading batches that nobody sealed for long.
STATEMENT_TIMEOUT_MS = 120_000


async def open_seal(dsn: str) -> Connection:
    """A connection as the role that seals. Raises Unavailable."""
    settings = {"statement_timeout": str(STATEMENT_TIMEOUT_MS), "lock_timeout": str(LOCK_TIMEOUT_MS), "jit": "off"}
    connection = await database.connect(dsn, settings, database.SEALER_ROLE)
    try:
        await require_migrated(connection)
        await database.require_durable(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def close(connection: Connection) -> None:
    """Whatever state it is in."""
    try:
        await connection.close(timeout=database.CONNECT_TIMEOUT_S)
    except database.CONNECTION_ERRORS:
        connection.terminate()


@contextlib.asynccontextmanager
async def appending(connection: Connection) -> AsyncIterator[None]:
    """One transaction that sees one moment of the books, alone among those that append to the seal."""
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        # Its moment begins here, after the lock.
        async with connection.transaction(isolation="repeatable_read"):
            yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint as it is kept, with the edge of its tree."""

    number: int
    size: int
    note: Note
    edge: Edge


async def keys(connection: Connection) -> list[Note]:
    """The announcements, from the first on."""
    return [notes.parse(row["note"]) for row in await connection.fetch(SQL["keys"])]


async def stored(connection: Connection, query: str, *arguments: int) -> Stored | None:
    """A checkpoint by one of the queries that give one."""
    row = await connection.fetchrow(SQL[query], *arguments)
    if row is None:
        return None
    return Stored(row["number"], row["size"], notes.parse(row["note"]), Edge(row["size"], list(row["edge"])))


async def leaves_between(connection: Connection, first: int, end: int) -> list[bytes]:
    return [row["hash"] for row in await connection.fetch(SQL["leaves_between"], first, end)]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the tree holds after the newest batches were appended, and what the balances sum to at that moment."""

    edge: Edge
    shards: tuple[ShardEnd, ...]
    totals: tuple[Total, ...]


async def append_new_batches(connection: Connection, edge: Edge, ends: tuple[ShardEnd, ...]) -> Sealed | None:
    """Appends every batch after these ends of shards to the leaves; None: there is none. Within `appending`.

    Raises Diverged when a batch does not continue what is sealed.
    """
    edge, found = edge.copy(), {end.shard: end for end in ends}
    before = edge.size
    for row in await connection.fetch(SQL["shards"]):
        shard = row["shard"]
        end = await _append_shard(connection, edge, shard, found.get(shard, ShardEnd(shard, 0, 0)))
        if end.batch:
            found[shard] = end
    if edge.size == before:
        return None
    totals = [
        Total(row["shard"], row["asset"], *(int(row[name]) for name in ("available", "hold", "fees", "external")))
        for row in await connection.fetch(SQL["totals"], sorted(found))
    ]
    for total in totals:
        if total.sum:
            raise Diverged(
                f"all balances of {total.asset} in shard {total.shard} sum to {total.sum} and not to zero: not sealed"
            )
    # Python's order of text, by code points, is the order of the database's "C".
    return Sealed(edge, tuple(sorted(found.values())), tuple(sorted(totals)))


async def _append_shard(connection: Connection, edge: Edge, shard: str, end: ShardEnd) -> ShardEnd:
    head, continued = NO_HEAD, end.batch == 0
    leaves: list[tuple[int, str, int, bytes]] = []
    # The last batch that is sealed comes first: what follows continues it, and it is still what was sealed.
    async for row in connection.cursor(SQL["batches_from"], shard, max(end.batch, 1), prefetch=CHUNK):
        batch = BatchRow(*(row[name] for name in BatchRow.__dataclass_fields__))
        if not continued and batch.batch == end.batch:
            leaf = await connection.fetchval(SQL["leaf_of"], shard, batch.batch, column=1)
            if leaf != batch_leaf(shard, batch.batch, row["head"]) or batch.last_seq != end.seq:
                raise Diverged(f"shard {shard} batch {batch.batch} is not the one that was sealed")
            head, continued = row["head"], True
            continue
        if not continued or (batch.batch, batch.first_seq) != (end.batch + 1, end.seq + 1):
            raise Diverged(
                f"shard {shard} batch {batch.batch} from seq {batch.first_seq} does not follow batch {end.batch} "
                f"through seq {end.seq}"
            )
        if chain.head(head, batch) != row["head"]:
            raise Diverged(f"shard {shard} batch {batch.batch}: its head is not the hash over the head before and it")
        head, end = row["head"], ShardEnd(shard, batch.batch, batch.last_seq)
        leaf = batch_leaf(shard, batch.batch, head)
        leaves.append((edge.size, shard, batch.batch, leaf))
        edge.append(leaf)
        if len(leaves) == CHUNK:
            await _copy_leaves(connection, leaves)
            leaves = []
    if not continued:
        raise Diverged(f"shard {shard} batch {end.batch} was sealed and is gone")
    if leaves:
        await _copy_leaves(connection, leaves)
    return end


async def _copy_leaves(connection: Connection, leaves: list[tuple[int, str, int, bytes]]) -> None:
    await connection.copy_records_to_table(
        "leaves", schema_name="seal", columns=("leaf", "shard", "batch", "hash"), records=leaves
    )


async def manual_ends(
    connection: Connection, shards: tuple[ShardEnd, ...], sealed: tuple[ManualEnd, ...]
) -> tuple[ManualEnd, ...]:
    """Where the manual entries of these shards end now. Within `appending`.

    Raises Diverged when they do not continue what is sealed.
    """
    ends = {end.shard: end for end in sealed}
    for shard in (end.shard for end in shards):
        end = ends.get(shard, ManualEnd(shard, 0, NO_HEAD))
        # The last decision that is sealed comes first, as with batches.
        rows = await connection.fetch(SQL["manual_from"], shard, max(end.number, 1))
        if end.number and (not rows or (rows[0]["number"], rows[0]["head"]) != (end.number, end.head)):
            raise Diverged(f"shard {shard}: manual entry {end.number} is gone, or is not the one that was sealed")
        for row in rows[1 if end.number else 0 :]:
            if row["number"] != end.number + 1:
                raise Diverged(f"shard {shard}: manual entry {row['number']} does not follow number {end.number}")
            if row["head"] != row["made"]:
                raise Diverged(f"shard {shard}: manual entry {row['number']} is not the one that was decided (head)")
            end = ManualEnd(shard, row["number"], row["head"])
        if end.number:
            ends[shard] = end
    return tuple(sorted(ends.values()))


async def append_checkpoint(connection: Connection, number: int, edge: Edge, note: Note) -> None:
    await connection.execute(SQL["append_checkpoint"], number, edge.size, str(note), edge.hashes)
