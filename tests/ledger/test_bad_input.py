"""A stream that cannot be true, on a real PostgreSQL: settlement stops before it and names the seq.

Nothing of it is kept. A settler that is started again on a stream that is true goes on where the good part ended.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.contracts import v1
from openbourse.ledger import store
from openbourse.ledger.consume import Settler
from openbourse.ledger.progress import Progress, State
from openbourse.ledger.settlement import Watermark

pytestmark = pytest.mark.server

GOOD = deliveries(
    "asset USDT 2\nasset BTC 8\nsymbol BTC USDT\ncredit 1000 USDT 500\ncredit 1001 BTC 50\nhold 1000 USDT 200"
)
NEXT = len(GOOD) + 1
MORE = deliveries("release 1000 USDT 50\nhold 1001 BTC 5", first_seq=NEXT)
IN_TIME_S = 20.0


def bad(line: str) -> list[v1.Events]:
    """As what comes next."""
    return deliveries(line, first_seq=NEXT)


def forged(seq: int, line: str) -> list[v1.Events]:
    return deliveries(line, first_seq=seq)


# What somebody sends: what it is, how it comes, what is said of it.
BAD = {
    "legs that are not zero": (bad("legs match_transferred 1000:USDT:-5:0 1001:USDT:4:0"), "entries_are_balanced"),
    "an account that cannot exist": (bad("legs match_transferred 1000:USDT:-5:0 5:USDT:5:0"), "account 5 cannot exist"),
    "an asset that is not listed": (bad("legs match_transferred 2:DOGE:-5:0 1000:DOGE:5:0"), "is not present in table"),
    "a symbol of an asset that is not listed": (bad("symbol DOGE USDT"), "is not present in table"),
    "an amount over the range": (
        bad(f"legs match_transferred 1000:USDT:{2**62}:{2**62} 1001:USDT:-{2**62}:-{2**62}"),
        "out of range",
    ),
    "more than there is": (bad("hold 1000 USDT 301"), "balances_are_not_negative"),
    "another scale": (bad("asset USDT 3"), "another scale"),
    "a deposit that nobody asked for": (bad("credit 1000 USDT 7"), "not pending here"),
    "a jump forward": (deliveries("nothing", first_seq=NEXT + 1), f"gap: settled through seq {NEXT - 1}"),
    "a jump back to something else": (forged(6, "hold 1000 USDT 100"), "a duplicate with other content: seq 6 "),
    "a jump back to what was nothing": (forged(4, "nothing"), "a duplicate with other content: seq 4 "),
}


async def stream(parts: list[v1.Events], mark: Watermark) -> AsyncIterator[v1.Events]:
    for part in parts:
        yield part
    await asyncio.Event().wait()


async def books(database: LedgerDatabase) -> list[list[asyncpg.Record]]:
    owner = await asyncpg.connect(database.owner)
    try:
        return [
            await owner.fetch("SELECT * FROM ledger.entries ORDER BY seq, index"),
            await owner.fetch("SELECT * FROM ledger.balances ORDER BY account, asset"),
            await owner.fetch("SELECT seq, batch, head, session_epoch FROM ledger.watermarks"),
            await owner.fetch("SELECT transfer_id, state FROM ledger.transfers ORDER BY transfer_id"),
            await owner.fetch("SELECT * FROM ledger.assets ORDER BY asset"),
        ]
    finally:
        await owner.close()


@pytest.mark.parametrize("what", BAD)
async def test_settlement_stops_before_it_and_names_the_seq(what: str, ledger_database: LedgerDatabase) -> None:
    sent, words = BAD[what]
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, GOOD[:3])
    await record_transfers(connection, GOOD)
    await store.settle(connection, SHARD, GOOD[3:])
    await connection.close()
    before = await books(ledger_database)

    progress = Progress(SHARD)
    async with asyncio.timeout(IN_TIME_S):
        await Settler(ledger_database.application, SHARD, lambda mark: stream(sent, mark), progress).run()
    assert progress.state is State.STOPPED
    assert words in progress.last_error, progress.last_error
    assert re.search(rf"seq {sent[0].first_seq if 'gap' not in words else NEXT - 1}\b", progress.last_error)
    assert progress.why_not_ready() == f"stopped: {progress.last_error}"
    assert await books(ledger_database) == before

    progress = Progress(SHARD)
    again = Settler(ledger_database.application, SHARD, lambda mark: stream([*GOOD[3:], *MORE], mark), progress)
    running = asyncio.create_task(again.run())
    try:
        assert await progress.reached(MORE[-1].last_seq, IN_TIME_S), progress.last_error
    finally:
        again.leave()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
