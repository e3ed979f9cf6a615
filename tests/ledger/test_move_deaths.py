"""Ledgers that die in the middle of a move, of real engines and a real database: the sweeps finish it, nothing is lost.

First the parts of two ledgers, which die at each of their awaits; then two processes, killed with kill -9 as they
write.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import asyncpg
import httpx
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.engines import EngineFactory, RunningEngine
from fixtures.figures import Show
from fixtures.ledger_parts import ACCOUNT, Deaths, Died, Parts, settling
from fixtures.ledgers import LedgerFactory, RunningLedger
from openbourse.ledger.database import Connection
from openbourse.ledger.move_books import MoveBooks
from openbourse.ledger.moves import Move, MoveRequest
from openbourse.ledger.transfers import Direction, Leg, TransferRequest, TransferState

pytestmark = pytest.mark.server

MAIN, SECOND = "main", "second"
SHARDS = (MAIN, SECOND)
HAD = 1_000
AMOUNT = 5
TOO_MUCH = 10**12
# All that a shard can ever hold of an asset, less what is there: then nothing more goes in.
ALL = 2**63 - 1
ROUNDS_MOST = 12
DECIDED_S = 40.0


@pytest.fixture
def engines(engine_factory: EngineFactory) -> Mapping[str, RunningEngine]:
    made = {shard: engine_factory(shard=shard) for shard in SHARDS}
    for engine in made.values():
        engine.start()
    return made


def asked_for(asset: str = "USDT", amount: int = AMOUNT) -> MoveRequest:
    return MoveRequest(uuid.uuid4(), ACCOUNT, asset, amount, MAIN, SECOND)


@dataclass
class Two:
    """The parts of both ledgers, and what the account should have."""

    parts: Mapping[str, Parts]
    expected: dict[tuple[str, str], int]

    async def deposit(self, shard: str, asset: str, amount: int) -> None:
        request = TransferRequest(uuid.uuid4(), Direction.DEPOSIT, ACCOUNT, asset, amount)
        made = await self.parts[shard].coordinator(Deaths(0)).transfer(request, "test")
        assert made.state is TransferState.POSTED, made
        self.expected[shard, asset] = self.expected.get((shard, asset), 0) + amount

    async def sweep(self, deaths: Deaths) -> None:
        """Each ledger once, in turn, as both do all the time."""
        for parts in self.parts.values():
            await parts.coordinator(deaths).sweep(0)
            await parts.mover(deaths).sweep(0)

    async def decided(self, wanted: MoveRequest) -> Move:
        """After as many sweeps as it needs, in none of which anybody dies."""
        for _ in range(ROUNDS_MOST):
            await self.sweep(Deaths(0))
            move = await MoveBooks(self.parts[MAIN].books).move(wanted.move_id)
            assert move is not None
            if move.state is not TransferState.PENDING:
                return move
        raise AssertionError(f"still pending after {ROUNDS_MOST} sweeps of both: {move}")

    async def check(self, wanted: MoveRequest, move: Move) -> None:
        if move.state is TransferState.POSTED:
            self.expected[MAIN, wanted.asset] -= wanted.amount
            self.expected[SECOND, wanted.asset] += wanted.amount
        for shard, parts in self.parts.items():
            await parts.available()
            has = {asset: available for asset, available, _ in await parts.books.balances(ACCOUNT) if available}
            assert has == {asset: units for (of, asset), units in self.expected.items() if of == shard and units}


@pytest.fixture
async def two(engines: Mapping[str, RunningEngine], ledger_database: LedgerDatabase) -> AsyncIterator[Two]:
    async with (
        settling(engines[MAIN], ledger_database) as main,
        settling(engines[SECOND], ledger_database) as second,
    ):
        made = Two({MAIN: main, SECOND: second}, {})
        for shard in SHARDS:
            await made.deposit(shard, "USDT", HAD)
        await made.deposit(MAIN, "BTC", HAD)
        await made.deposit(SECOND, "BTC", ALL)
        yield made


# What is moved, and what becomes of it: second takes no more bitcoins, and nobody has as many dollars.
CASES = [
    (("USDT", AMOUNT), TransferState.POSTED, ""),
    (("USDT", TOO_MUCH), TransferState.VOIDED, "main refused it: INSUFFICIENT_FUNDS"),
    (("BTC", AMOUNT), TransferState.VOIDED, "second refused it, and it is back in main: OVERFLOW"),
]


@pytest.mark.timeout(300)
async def test_whenever_a_ledger_dies_the_sweeps_of_both_finish_the_move(two: Two, show: Show) -> None:
    deaths = 0
    for what, state, reason in CASES:
        at, survived = 0, False
        while not survived:
            at += 1
            assert at < 200
            wanted, dying = asked_for(*what), Deaths(at)
            await MoveBooks(two.parts[MAIN].books).record(wanted, "test")
            try:
                for _ in range(4):
                    await two.sweep(dying)
                survived = True
            except Died:
                deaths += 1
            move = await two.decided(wanted)
            assert (move.state, move.reason[: len(reason)]) == (state, reason), at
            await two.check(wanted, move)
        assert dying.moments >= 10
    show(f"ledgers that died at an await of a move: {deaths}; money lost or made: 0, moves undecided: 0")


@pytest.mark.timeout(300)
async def test_whenever_the_ledger_that_was_asked_dies_the_same_request_is_answered(two: Two, show: Show) -> None:
    deaths = 0
    running = asyncio.create_task(two.parts[SECOND].mover(Deaths(0)).run())
    try:
        for what, state, _ in CASES:
            for at in range(1, 60):
                wanted, dying = asked_for(*what), Deaths(at)
                try:
                    await two.parts[MAIN].mover(dying).move(wanted, "test")
                except Died:
                    deaths += 1
                again = await two.parts[MAIN].mover(Deaths(0)).move(wanted, "test")
                assert again.state is state, (at, again)
                await two.check(wanted, again)
                if dying.moments < at:
                    break
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    show(f"ledgers that died at an await of a request to move: {deaths}, each answered when it was asked again")


# Every write of a move: the table, and which row of it; whose ledger writes it. What is moved in bitcoins is refused.
WRITES = [
    ("USDT", AMOUNT, MAIN, "moves", "TG_OP = 'INSERT'"),
    ("USDT", AMOUNT, MAIN, "transfers", "TG_OP = 'INSERT' AND NEW.leg = 'debit'"),
    ("USDT", AMOUNT, MAIN, "transfers", "NEW.state = 'posted' AND NEW.leg = 'debit'"),
    ("USDT", AMOUNT, SECOND, "transfers", "TG_OP = 'INSERT' AND NEW.leg = 'credit'"),
    ("USDT", AMOUNT, SECOND, "transfers", "NEW.state = 'posted' AND NEW.leg = 'credit'"),
    ("USDT", AMOUNT, SECOND, "moves", "NEW.state = 'posted'"),
    ("USDT", TOO_MUCH, MAIN, "transfers", "NEW.state = 'voided' AND NEW.leg = 'debit'"),
    ("USDT", TOO_MUCH, MAIN, "moves", "NEW.state = 'voided'"),
    ("BTC", AMOUNT, SECOND, "transfers", "NEW.state = 'voided' AND NEW.leg = 'credit'"),
    ("BTC", AMOUNT, MAIN, "transfers", "TG_OP = 'INSERT' AND NEW.leg = 'return'"),
    ("BTC", AMOUNT, MAIN, "transfers", "NEW.state = 'posted' AND NEW.leg = 'return'"),
    ("BTC", AMOUNT, MAIN, "moves", "NEW.state = 'voided'"),
]
# Those of a settlement, which is never made when it is not committed.
SETTLED = {f"NEW.state = 'posted' AND NEW.leg = '{leg}'" for leg in Leg} | {
    "NEW.state = 'voided' AND NEW.leg = 'debit'"
}
GATE = 77


class Gate:
    """Holds a write in the database until it is let go, or its session is ended: then it was never made."""

    def __init__(self, connection: Connection) -> None:
        self._owner = connection

    async def put(self, table: str, which: str) -> None:
        await self._owner.execute("SELECT pg_advisory_lock($1)", GATE)
        await self._owner.execute(
            "CREATE OR REPLACE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {which} THEN PERFORM pg_advisory_xact_lock({GATE}); END IF; RETURN NEW; END $$"
        )
        await self._owner.execute(
            f"CREATE OR REPLACE TRIGGER gate BEFORE INSERT OR UPDATE ON ledger.{table} "
            "FOR EACH ROW EXECUTE FUNCTION public.gate()"
        )

    async def waiting(self) -> int:
        """The session that waits at it."""
        async with asyncio.timeout(DECIDED_S):
            while True:
                pid = await self._owner.fetchval(
                    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted", GATE
                )
                if pid is not None:
                    return int(pid)
                await asyncio.sleep(0.01)

    async def open(self, table: str) -> None:
        await self._owner.execute("SELECT pg_advisory_unlock($1)", GATE)
        await self._owner.execute(f"DROP TRIGGER gate ON ledger.{table}")

    async def end(self, pid: int) -> None:
        await self._owner.execute("SELECT pg_terminate_backend($1, 5000)", pid)


async def ask(ledger: RunningLedger, wanted: MoveRequest, amount: str) -> None:
    """As a person does; whoever is asked may die of it."""
    body = {
        **{"account": ACCOUNT, "asset": wanted.asset, "amount": amount, "move_id": str(wanted.move_id)},
        **{"from_shard": MAIN, "to_shard": SECOND},
    }
    with contextlib.suppress(httpx.TransportError):
        async with ledger.client() as client:
            await client.post("/v1/moves", json=body)


@pytest.fixture
async def owner(ledger_database: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(ledger_database.owner)
    yield connection
    await connection.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("written", [False, True], ids=["and the write is lost", "and the write is made"])
async def test_kill_9_at_any_write_and_the_move_is_decided_with_all_money_there(
    engines: Mapping[str, RunningEngine],
    ledger_database: LedgerDatabase,
    ledger_factory: LedgerFactory,
    owner: Connection,
    show: Show,
    written: bool,
) -> None:
    ledgers = {shard: ledger_factory(engines[shard], ledger_database) for shard in SHARDS}
    for ledger in ledgers.values():
        ledger.start()
    deposits = ((MAIN, "USDT", "1"), (SECOND, "USDT", "1"), (MAIN, "BTC", "1"), (SECOND, "BTC", "92233720368.54775807"))
    for shard, asset, amount in deposits:
        async with ledgers[shard].client() as client:
            answer = await client.post("/v1/deposits", json={"account": ACCOUNT, "asset": asset, "amount": amount})
            assert answer.json()["state"] == "posted", answer.text
    gate = Gate(owner)
    total = "SELECT asset, world FROM ledger.outside ORDER BY asset"
    before = await owner.fetch(total)
    writes = [write for write in WRITES if not written or write[-1] not in SETTLED]
    for asset, units, shard, table, which in writes:
        wanted, amount = asked_for(asset, units), f"{units / 10**8:.8f}"
        await gate.put(table, which)
        asking = asyncio.create_task(ask(ledgers[MAIN], wanted, amount))
        pid = await gate.waiting()
        ledgers[shard].kill()
        assert await owner.fetch(total) == before
        if not written:
            await gate.end(pid)
        await gate.open(table)
        await asking
        await asyncio.to_thread(ledgers[shard].start)
        # A write that was never made was never asked for: who asked does so again.
        await ask(ledgers[MAIN], wanted, amount)
        state = TransferState.POSTED if (asset, units) == ("USDT", AMOUNT) else TransferState.VOIDED
        async with asyncio.timeout(DECIDED_S):
            while (
                await owner.fetchval("SELECT state::text FROM ledger.moves WHERE move_id = $1", wanted.move_id)
            ) != state:
                assert await owner.fetch(total) == before
                await asyncio.sleep(0.02)
        assert await owner.fetch(total) == before
    assert await owner.fetchval("SELECT count(*) FROM ledger.moves_now WHERE in_transit OR state = 'pending'") == 0
    moved = sum(write[:2] == ("USDT", AMOUNT) for write in writes) * AMOUNT
    for shard, sign in ((MAIN, -1), (SECOND, 1)):
        async with ledgers[shard].client() as client:
            report = (await client.post("/v1/reconcile")).json()
            assert report["equal"], report
            balances = (await client.get("/v1/balances", params={"account": ACCOUNT})).json()["balances"]
            assert {row["asset"]: row["available"] for row in balances} == {
                "USDT": 10**8 + sign * moved,
                "BTC": 10**8 if shard == MAIN else ALL,
            }
    how = "made" if written else "lost"
    show(
        f"kill -9 of a ledger at each of {len(writes)} writes of a move, the write {how}: all money there, all decided"
    )
