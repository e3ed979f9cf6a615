"""The settlement of a trade beside django-hordak's, on one server and in turn: a transaction each, and many in one.

Each has a database of its own with all of its own checks on. Hordak's part of the work is legs that sum up to zero. Its
trades reach it as numbers; ours as the bytes that an engine sends, the decoding of which is measured too.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from result import RUNS, Result, result, say
from settling import ACCOUNTS, DATABASE, funded_trades, ledger_server, open_funded, rate, scratch_binaries

from fixtures.databases import PostgresServer
from openbourse.contracts import v1
from openbourse.contracts.units import FIRST_TRADER

PEER = (
    "django-hordak 2.0.0: the legs of a trade, summed up by its triggers; no watermark, so a trade may come twice, "
    "no hash chain, no holds, no balances (it sums up all legs of an account when asked)"
)
HORDAK_DATABASE = "hordak"
TRIGGERS = (
    "SELECT count(*) FROM pg_trigger "
    "WHERE tgrelid = 'hordak_leg'::regclass AND tgenabled = 'O' "
    "AND tgfoid::regproc::text LIKE 'check_leg%'"
)
BATCHES = (1, 200)
# Of each batch so many are asked for at once, which takes each of them some tenths of a second.
TRADES_AT_ONCE = {1: 100, 200: 400}
MEASURE_S = 3.0
READY_S, ANSWER_S, END_S = 300.0, 60.0, 20.0
PROGRAM = Path(__file__).with_name("hordak_peer.py")
# Its packages are in the lock, and are in no environment but the one that this makes.
COMMAND = ("uv", "run", "--quiet", "--frozen", "--isolated", "--only-group", "hordak", "python", str(PROGRAM))


def measure() -> list[Result]:
    with scratch_binaries() as (binaries, scratch), ledger_server(binaries, scratch / "server") as server:
        server.execute(f"CREATE DATABASE {HORDAK_DATABASE}")
        return asyncio.run(_measure(server))


class Hordak:
    """The process that settles, and what it is asked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def rate(self, trades: Iterator[bytes], batch: int, seconds: float) -> float:
        settled, spent = 0, 0.0
        while spent < seconds:
            part = [_numbers(body) for body in islice(trades, TRADES_AT_ONCE[batch])]
            spent += (await self.ask({"batch": batch, "trades": part}, ANSWER_S))["seconds"]
            settled += len(part)
        return settled / spent

    async def ask(self, what: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        async with asyncio.timeout(timeout_s):
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            await self._process.stdin.drain()
            return await self._answer()

    async def end(self) -> dict[str, Any]:
        """What it says last."""
        assert self._process.stdin is not None
        async with asyncio.timeout(END_S):
            self._process.stdin.close()
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "hordak's process ended; why, it has said above"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.asynccontextmanager
async def _hordak(server: PostgresServer) -> AsyncIterator[Hordak]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    hordak = Hordak(process)
    try:
        database = {"HOST": str(server.folder), "USER": "postgres", "NAME": HORDAK_DATABASE}
        traders = list(range(FIRST_TRADER, FIRST_TRADER + ACCOUNTS))
        await hordak.ask({"database": database, "traders": traders}, READY_S)
        yield hordak
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        async with asyncio.timeout(END_S):
            await process.wait()


async def _measure(server: PostgresServer) -> list[Result]:
    connection = await open_funded(server.dsn(DATABASE))
    ours: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    theirs: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    trades, same_trades = funded_trades(), funded_trades()
    async with _hordak(server) as hordak:
        for batch in BATCHES:
            await rate(connection, trades, batch, 0.5)
            await hordak.rate(same_trades, batch, 0.5)
        for run in range(RUNS):
            for batch in BATCHES:
                ours[batch].append(await rate(connection, trades, batch, MEASURE_S))
                theirs[batch].append(await hordak.rate(same_trades, batch, MEASURE_S))
                say(f"run {run + 1}: batch {batch} {ours[batch][-1]:,.0f}/s, hordak {theirs[batch][-1]:,.0f}/s")
        said = (await hordak.end())["settled"]
    await connection.close()
    # Otherwise it was quick because it did nothing, or did not look.
    assert await asyncio.to_thread(server.value, TRIGGERS, HORDAK_DATABASE) == 2
    count = "SELECT count(DISTINCT transaction_id) FROM hordak_leg"
    assert said == await asyncio.to_thread(server.value, count, HORDAK_DATABASE)
    return [
        result(
            f"ledger.settle.trades_per_second.batch_{batch}.beside_hordak",
            ours[batch],
            "1/s",
            "higher",
            peer=PEER,
            peer_values=theirs[batch],
        )
        for batch in BATCHES
    ]


def _numbers(body: bytes) -> tuple[int, int, bool, int, int, int, int]:
    """As `hordak_peer.py` takes a trade."""
    (event,) = v1.Events.FromString(body).events
    trade = event.trade_executed
    return (
        trade.maker.account,
        trade.taker.account,
        trade.taker_side == v1.Side.SIDE_BUY,
        trade.quantity_lots,
        trade.quote_units,
        trade.maker.fee_units,
        trade.taker.fee_units,
    )
