"""The schema comes up once, in order, and only on a database whose history is this ledger's."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase, PostgresServer
from fixtures.streams import SHARD, deliveries
from openbourse.ledger import database, store
from openbourse.ledger.errors import Invalid, Unavailable
from openbourse.ledger.migrate import Migration, Phase, known, migrate, pending, until

ONE, TWO, THREE, FOUR = (
    Migration("0001_pre_a.sql", Phase.PRE, "a"),
    Migration("0002_pre_b.sql", Phase.PRE, "b"),
    Migration("0003_post_c.sql", Phase.POST, "c"),
    Migration("0004_pre_d.sql", Phase.PRE, "d"),
)
ALL = [ONE, TWO, THREE, FOUR]


def applied(*migrations: Migration) -> list[tuple[str, str]]:
    return [(migration.name, migration.digest) for migration in migrations]


@pytest.mark.parametrize("have", range(5))
@pytest.mark.parametrize("phase", list(Phase))
def test_what_is_pending_continues_where_the_database_is(have: int, phase: Phase) -> None:
    todo = pending(applied(*ALL[:have]), ALL, phase)
    until = 2 if phase is Phase.PRE and have <= 2 else 4
    assert todo == ([] if phase is Phase.PRE and have == 2 else ALL[have:until])


def test_a_migration_that_changed_since_it_was_applied_is_refused() -> None:
    changed = Migration(TWO.name, Phase.PRE, "other")
    with pytest.raises(Invalid, match=r"0002_pre_b\.sql in the database is not"):
        pending(applied(ONE, changed), ALL, Phase.POST)


def test_a_newer_database_is_refused() -> None:
    with pytest.raises(Invalid, match=r"newer: it has 0003_post_c\.sql"):
        pending(applied(ONE, TWO, THREE), [ONE, TWO], Phase.POST)


def test_a_database_goes_to_a_number_and_never_back() -> None:
    todo = pending(applied(ONE), ALL, Phase.POST)
    assert [until(applied(ONE), todo, to) for to in (1, 2, 4, 9)] == [[], [TWO], [TWO, THREE, FOUR], [TWO, THREE, FOUR]]
    with pytest.raises(Invalid, match=r"has 0002_pre_b\.sql and is not taken back to 0001: .* before 0002_pre_b\.sql"):
        until(applied(ONE, TWO), [], 1)


@pytest.mark.server
async def test_a_refusal_to_go_back_changes_nothing(ledger_database: LedgerDatabase) -> None:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, deliveries("asset USDT 2\nlegs order_accepted 1000:USDT:0:0"))
    before = await connection.fetch("SELECT * FROM ledger.entries")
    for to in (0, 2, len(known()) - 1):
        with pytest.raises(Invalid, match="is not taken back"):
            await migrate(ledger_database.owner, to=to)
    assert await migrate(ledger_database.owner, to=len(known())) == []
    assert await connection.fetch("SELECT * FROM ledger.entries") == before != []
    await connection.close()


@pytest.mark.server
def test_many_at_once_apply_each_migration_once(own_postgres: PostgresServer) -> None:
    own_postgres.execute("CREATE DATABASE fresh")

    async def run() -> list[list[str]]:
        return await asyncio.gather(*(migrate(own_postgres.dsn("fresh")) for _ in range(4)))

    runs = asyncio.run(run())
    assert sorted(runs, key=len)[:3] == [[], [], []]
    assert [name for names in runs for name in names] == [migration.name for migration in known()]


@pytest.mark.server
def test_the_command_migrates_and_gives_the_role_its_password(own_postgres: PostgresServer) -> None:
    own_postgres.execute("CREATE DATABASE fresh")

    def command(**environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "openbourse.ledger", "migrate"],
            env=os.environ | {"OPENBOURSE_DATABASE": own_postgres.dsn("fresh"), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    first = command(
        OPENBOURSE_LEDGER_DATABASE="postgresql://openbourse_ledger:it%27s@db/fresh",
        OPENBOURSE_SEALER_DATABASE="postgresql://openbourse_sealer:sealed@db/fresh",
    )
    lines = "".join(f"applied {migration.name}\n" for migration in known())
    assert (first.returncode, first.stdout) == (0, lines), first.stderr
    assert command().stdout == "nothing to apply\n"
    hba = own_postgres.folder / "data" / "pg_hba.conf"
    hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    own_postgres.execute("SELECT pg_reload_conf()")

    async def login(password: str, role: str = "openbourse_ledger") -> str:
        dsn = own_postgres.dsn("fresh", role)
        connection = await asyncpg.connect(dsn, password=password)
        try:
            return str(await connection.fetchval("SELECT current_user"))
        finally:
            await connection.close()

    assert asyncio.run(login("it's")) == "openbourse_ledger"
    assert asyncio.run(login("sealed", "openbourse_sealer")) == "openbourse_sealer"
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(login("wrong"))
    other = command(OPENBOURSE_LEDGER_DATABASE="postgresql://somebody:x@db/fresh")
    assert other.returncode == 1 and "the ledger's role is openbourse_ledger" in other.stderr
    nowhere = command(OPENBOURSE_DATABASE="postgresql://postgres@/fresh?host=/nowhere")
    assert nowhere.returncode == 1 and nowhere.stderr.startswith("openbourse.ledger: database: ")


@pytest.mark.server
async def test_whoever_logs_in_works_as_the_application(ledger_database: LedgerDatabase) -> None:
    connection = await database.connect(ledger_database.owner, {})
    assert await connection.fetchval("SELECT current_user") == "openbourse_ledger"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM ledger.entries")
    await connection.close()
    with pytest.raises(Unavailable):
        await database.connect("postgresql://x@/y?host=/nowhere", {})
