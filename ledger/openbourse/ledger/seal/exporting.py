"""Writes everything that a verifier needs into a folder, as of one moment: the tables as PostgreSQL copies them.

Nothing is parsed or added on the way, so what is verified is what is there.
"""

from pathlib import Path
from urllib.parse import quote

from openbourse.contracts.units import INT64_MAX
from openbourse.ledger import chain, database, queries
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.migrate import require_migrated
from openbourse.ledger.seal import store
from openbourse.ledger.seal.folders import make_new

_EXPORT = queries.load("export.sql")
_SECTIONS = queries.load("chain.sql")

# Tables of the whole ledger, and of each shard.
OF_ALL = ("keys", "checkpoints", "leaves", "balances")
OF_A_SHARD = ("batches", "manual", *chain.SECTIONS)


def shard_folder(shard: str) -> str:
    """Its name for a file system, whatever the shard is called."""
    return f"{quote(shard, safe='')}.shard"


async def export(dsn: str, folder: Path) -> int:
    """Exports into a new folder; how many bytes there are. Raises Invalid and Unavailable."""
    make_new(folder)
    connection = await database.connect(dsn, {"jit": "off"})
    try:
        await require_migrated(connection)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for name in OF_ALL:
                await _copy(connection, _EXPORT[name], folder / f"{name}.copy")
            for row in await connection.fetch(store.SQL["shards"]):
                await _export_shard(connection, row["shard"], folder / shard_folder(row["shard"]))
    except database.CONNECTION_ERRORS as error:
        # A full disk is an OSError as a lost connection is.
        raise Unavailable(f"export: {database.sentence(error)}") from error
    finally:
        await store.close(connection)
    return _size(folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.copy"))


async def _export_shard(connection: Connection, shard: str, folder: Path) -> None:
    make_new(folder)
    for name in ("batches", "manual"):
        await _copy(connection, _EXPORT[name], folder / f"{name}.copy", shard)
    for name in chain.SECTIONS:
        # Seq 0: assets of before the chain.
        await _copy(connection, _SECTIONS[name], folder / f"{name}.copy", shard, 0, INT64_MAX)


async def _copy(connection: Connection, query: str, path: Path, *arguments: object) -> None:
    await connection.copy_from_query(query, *arguments, output=path, format="binary")
