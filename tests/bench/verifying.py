"""How many trades a second an export is verified: every hash, root, total and balance, on one core."""

import shutil
import tempfile
import time
from pathlib import Path

from result import RUNS, say

from fixtures.seals import MemoryKey
from openbourse.ledger.seal import keychain, notes, store
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint
from openbourse.ledger.seal.exporting import export
from openbourse.ledger.seal.notes import Note
from openbourse.ledger.seal.tree import Edge
from openbourse.ledger.seal.verify import Trust, verify

ORIGIN = "bench.example/ledger"


async def verify_rates(owner: str, trades: int) -> list[float]:
    """Of a database with so many trades, which nobody has sealed yet."""
    key = MemoryKey()
    folder = Path(tempfile.mkdtemp(prefix="openbourse-export-"))
    try:
        await _seal(owner, key)
        size = await export(owner, folder)
        say(f"export of {trades:,} trades: {size:,} bytes")
        rates = []
        for run in range(RUNS):
            start = time.process_time()
            verdict = verify(folder, Trust(key.public))
            rates.append(trades / (time.process_time() - start))
            assert verdict.good, verdict.problems
            say(f"run {run + 1}: verify {rates[-1]:,.0f}/s")
        return rates
    finally:
        shutil.rmtree(folder)


async def _seal(owner: str, key: MemoryKey) -> None:
    """One checkpoint over everything, signed without a token."""
    connection = await store.open_seal(owner)
    try:
        async with store.appending(connection):
            announced = keychain.announce(ORIGIN, 1, key, None, 1)
            await connection.execute(store.SQL["append_key"], 1, 1, str(announced))
            sealed = await store.append_new_batches(connection, Edge(), ())
            assert sealed is not None
            edge = sealed.edge
            text = Checkpoint(
                ORIGIN, edge.size, edge.root(), 1, 1, notes.key_hash(key.public), NO_HASH, sealed.shards, sealed.totals
            ).text()
            await store.append_checkpoint(connection, 1, edge, Note(text, (notes.sign(text, ORIGIN, key),)))
    finally:
        await store.close(connection)
