"""A PostgreSQL that refuses: what it says is passed on with what to do, and settlement goes on when it has passed."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from fixtures.databases import Binaries, LedgerDatabase, PostgresServer
from fixtures.disks import Disks, fill
from fixtures.streams import SHARD, deliveries
from openbourse.contracts import v1
from openbourse.ledger import database, store
from openbourse.ledger.consume import Settler
from openbourse.ledger.errors import Unavailable
from openbourse.ledger.migrate import migrate
from openbourse.ledger.progress import Progress, State
from openbourse.ledger.settlement import Watermark

pytestmark = pytest.mark.server

IN_TIME_S = 30.0


@contextlib.asynccontextmanager
async def settling(dsn: str) -> AsyncIterator[Progress]:
    """A settler on a stream that never ends."""
    progress = Progress(SHARD)

    async def source(mark: Watermark) -> AsyncIterator[v1.Events]:
        seq = mark.seq
        while True:
            seq += 1
            line = "asset USDT 2" if seq == 1 else "legs order_accepted 1000:USDT:0:0 1001:USDT:0:0"
            yield deliveries(line, first_seq=seq)[0]
            await asyncio.sleep(0.005)

    settler = Settler(dsn, SHARD, source, progress)
    running = asyncio.create_task(settler.run())
    try:
        yield progress
    finally:
        settler.leave()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def goes_on(progress: Progress) -> None:
    assert await progress.reached(progress.watermark.seq + 3, IN_TIME_S), progress.last_error
    assert progress.state is State.SETTLING


async def says(progress: Progress, words: str) -> None:
    async with asyncio.timeout(IN_TIME_S):
        while progress.state is not State.WAITING or words not in progress.last_error:
            assert progress.state is not State.STOPPED, progress.last_error
            await asyncio.sleep(0.02)


def configure(server: PostgresServer, setting: str, value: str) -> None:
    server.execute(f"ALTER SYSTEM SET {setting} = {value}")
    server.execute("SELECT pg_reload_conf()")


async def test_a_server_that_turns_read_only_is_waited_for(own_ledger_database: LedgerDatabase) -> None:
    server = own_ledger_database.server
    async with settling(own_ledger_database.application) as progress:
        await goes_on(progress)
        await asyncio.to_thread(configure, server, "default_transaction_read_only", "on")
        await says(progress, "a standby, or read-only")
        owner = await asyncpg.connect(own_ledger_database.owner)
        await owner.execute("SET default_transaction_read_only = off")
        await owner.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await owner.execute("SELECT pg_reload_conf()")
        await owner.close()
        await goes_on(progress)


async def test_a_server_without_a_free_connection_is_waited_for(own_ledger_database: LedgerDatabase) -> None:
    server = own_ledger_database.server
    async with settling(own_ledger_database.application) as progress:
        await goes_on(progress)
        await asyncio.to_thread(server.execute, "ALTER ROLE openbourse_ledger CONNECTION LIMIT 0")
        settlers = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'openbourse_ledger'"
        await asyncio.to_thread(server.execute, settlers)
        await says(progress, "it has no connection left: raise max_connections, or end what has them")
        await asyncio.to_thread(server.execute, "ALTER ROLE openbourse_ledger CONNECTION LIMIT -1")
        await goes_on(progress)


async def test_a_server_that_does_not_answer_for_a_while_is_waited_for(own_ledger_database: LedgerDatabase) -> None:
    async with settling(own_ledger_database.application) as progress:
        await goes_on(progress)
        with own_ledger_database.server.frozen():
            await asyncio.sleep(2.0)
            assert progress.waiting_since is not None
            assert progress.lag_ms > 1000
        await goes_on(progress)
        assert progress.last_error == ""


async def test_a_full_disk_is_waited_for(disks: Disks, postgres_binaries: Binaries, postgres_scratch: Path) -> None:
    parent = postgres_scratch / uuid.uuid4().hex[:8]
    disks.small(parent, 160 << 20)
    parent.chmod(0o755)
    server = PostgresServer(postgres_binaries, parent / "full", {"max_wal_size": "48MB", "min_wal_size": "32MB"})
    try:
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.execute, "CREATE DATABASE ledger")
        await migrate(server.dsn("ledger"))
        books = LedgerDatabase(server, "ledger")
        async with settling(books.application) as progress:
            await goes_on(progress)
            ballast = await asyncio.to_thread(fill, parent)
            # Whether a table or the log finds no room first is the server's; it ends itself for the log.
            await says(progress, "database")
            ballast.unlink()
            if not server.runs:
                await asyncio.to_thread(server.start)
            await goes_on(progress)
    finally:
        server.stop()


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
async def test_settlement_does_not_begin_on_a_server_that_could_forget(
    own_ledger_database: LedgerDatabase, setting: str
) -> None:
    server = own_ledger_database.server
    await asyncio.to_thread(configure, server, setting, "off")
    with pytest.raises(Unavailable, match=f"{setting} is off: it could forget what it settled; turn it on"):
        await store.open_settlement(own_ledger_database.application, SHARD)
    async with settling(own_ledger_database.application) as progress:
        await says(progress, f"{setting} is off")
        assert progress.watermark == Watermark(0, 0)
        await asyncio.to_thread(configure, server, setting, "on")
        await goes_on(progress)


async def test_settlement_does_not_begin_where_it_would_not_wait_for_the_standby(
    own_ledger_database: LedgerDatabase,
) -> None:
    server = own_ledger_database.server
    await asyncio.to_thread(configure, server, "synchronous_commit", "local")
    connection, _ = await store.open_settlement(own_ledger_database.application, SHARD)
    await connection.close()
    await asyncio.to_thread(configure, server, "synchronous_standby_names", "'somebody'")
    with pytest.raises(Unavailable, match="synchronous_commit is local: it would not wait for its standby"):
        await store.open_settlement(own_ledger_database.application, SHARD)


async def test_a_settler_goes_on_as_it_began_when_commits_are_made_less_durable(
    own_ledger_database: LedgerDatabase,
) -> None:
    connection, _ = await store.open_settlement(own_ledger_database.application, SHARD)
    await asyncio.to_thread(configure, own_ledger_database.server, "synchronous_commit", "off")
    await asyncio.sleep(0.2)
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()


HISTORY = "public.openbourse_ledger_migrations"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (f"DELETE FROM {HISTORY} WHERE number = (SELECT max(number) FROM {HISTORY})", "is not applied: run `python -m"),
        (
            f"INSERT INTO {HISTORY} (number, name, digest) VALUES (99, '0099_post_later.sql', 'x')",
            "it is newer, 0099_post_later.sql is not for this release: deploy the one that has it",
        ),
        (f"UPDATE {HISTORY} SET digest = 'x' WHERE number = 1", "0001_pre_ledger.sql in the database is not"),
    ],
)
async def test_a_schema_of_another_release_is_refused(ledger_database: LedgerDatabase, change: str, words: str) -> None:
    await asyncio.to_thread(ledger_database.server.execute, change, ledger_database.name)
    with pytest.raises(Unavailable, match=words):
        await store.open_settlement(ledger_database.application, SHARD)


async def test_a_newer_release_that_this_one_can_live_with_is_not_refused(ledger_database: LedgerDatabase) -> None:
    newer = f"INSERT INTO {HISTORY} (number, name, digest) VALUES (99, '0099_pre_later.sql', 'x')"
    await asyncio.to_thread(ledger_database.server.execute, newer, ledger_database.name)
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await connection.close()


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p@a/db", {"a": "postgresql://u:p@a/db"}),
        ("postgresql://u:p@a:1,b:2/db?sslmode=require", {"a:1": "postgresql://u:p@a:1/db?sslmode=require",
                                                         "b:2": "postgresql://u:p@b:2/db?sslmode=require"}),
        ("postgresql://a,b/db?port=1,2", {"a": "postgresql://a/db?port=1", "b": "postgresql://b/db?port=2"}),
        ("postgresql://[::1]:1,[::2]:2/db", {"[::1]:1": "postgresql://[::1]:1/db", "[::2]:2": "postgresql://[::2]:2/db"}),
        ("postgresql://u@/db?host=/a,/b", {"/a": "postgresql://u@/db?host=%2Fa", "/b": "postgresql://u@/db?host=%2Fb"}),
        ("postgresql://u@/db?host=/a", {"/a": "postgresql://u@/db?host=/a"}),
        ("postgresql:///db", {"": "postgresql:///db"}),
        ("not one", {"": "not one"}),
    ],
)  # fmt: skip
def test_every_host_of_an_address_is_tried_by_itself(dsn: str, hosts: dict[str, str]) -> None:
    assert database.each_host(dsn) == hosts
