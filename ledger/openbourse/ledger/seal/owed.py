"""Makes a proof of liabilities for every trader, as of the last checkpoint: balances of the books, signed by the key.

The salts are made here and are in the files alone: who has a file can show it, and nobody else can guess from it.
"""

import asyncio
import json
import os
import secrets
from collections import defaultdict
from pathlib import Path

from openbourse.contracts.units import FIRST_TRADER
from openbourse.ledger import database, queries
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Invalid, Unavailable
from openbourse.ledger.migrate import require_migrated
from openbourse.ledger.seal import keychain, liabilities, store
from openbourse.ledger.seal.checkpoint import Checkpoint
from openbourse.ledger.seal.folders import make_new
from openbourse.ledger.seal.liabilities import Proofs
from openbourse.ledger.seal.notes import Note, Signer
from openbourse.ledger.seal.token import Token, TokenSettings

_READ = queries.load("read.sql")
_MOVES = queries.load("moves.sql")

Balances = dict[str, dict[int, int]]


async def make_proofs(dsn: str, settings: TokenSettings, folder: Path) -> Checkpoint:
    """One file for each trader who has anything, in a new folder. Raises LedgerError."""
    make_new(folder)
    connection = await database.connect(dsn, {"jit": "off"})
    try:
        await require_migrated(connection)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            announced = await store.keys(connection)
            last = await store.stored(connection, "last_checkpoint")
            if last is None:
                raise Invalid("nothing is sealed yet: liabilities are those of a checkpoint")
            chain = keychain.follow(keychain.parse_announcement(announced[0].text).public, announced)
            checkpoint = chain.checkpoint(last.note)
            await _require_nothing_in_transit(connection, checkpoint)
            balances = await _balances(connection, checkpoint)
    except database.CONNECTION_ERRORS as error:
        raise database.as_ledger_error(error) from error
    finally:
        await store.close(connection)
    due = chain.key_of(checkpoint.number)
    token = Token(settings)
    try:
        proofs = _prove(last.note, announced, balances, token.require(due.generation, due.public))
    finally:
        token.close()
    await asyncio.to_thread(_write, folder, proofs)
    return checkpoint


async def _require_nothing_in_transit(connection: Connection, checkpoint: Checkpoint) -> None:
    """What is between two shards is owed, and in nobody's balance. Raises Invalid."""
    shards, seqs = zip(*((end.shard, end.seq) for end in checkpoint.shards), strict=True)
    rows = await connection.fetch(_MOVES["in_transit_at"], shards, seqs)
    if rows:
        amounts = ", ".join(f"{row['amount']} {row['asset']}" for row in rows)
        raise Invalid(
            f"at checkpoint {checkpoint.number} there are {sum(row['moves'] for row in rows)} moves between shards in "
            f"transit, of {amounts} min-units that are owed and in no balance: ask again after the next checkpoint"
        )


async def _balances(connection: Connection, checkpoint: Checkpoint) -> Balances:
    """What traders had at the checkpoint: what they have now, less what was settled after it."""
    found: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for end in checkpoint.shards:
        for query, arguments, sign in (("balances_of_shard", (), 1), ("moved_after", (end.seq,), -1)):
            for row in await connection.fetch(_READ[query], end.shard, *arguments):
                if row["account"] >= FIRST_TRADER:
                    found[row["asset"]][row["account"]] += sign * (row["available"] + row["hold"])
    amounts = {asset: {account: amount for account, amount in of.items() if amount} for asset, of in found.items()}
    return {asset: of for asset, of in amounts.items() if of}


def _prove(checkpoint: Note, announced: list[Note], balances: Balances, signer: Signer) -> Proofs:
    accounts = sorted({account for amounts in balances.values() for account in amounts})
    salts = {account: secrets.token_bytes(liabilities.SALT_BYTES) for account in accounts}
    fill = {
        asset: [secrets.token_bytes(32) for _ in range(liabilities.missing_to_power_of_two(len(amounts)))]
        for asset, amounts in balances.items()
    }
    return liabilities.prove(checkpoint, announced, balances, salts, fill, signer=signer)


def _write(folder: Path, proofs: Proofs) -> None:
    try:
        (folder / "liabilities.note").write_text(str(proofs.statement))
        for account, file in proofs.files.items():
            # What somebody has is for nobody else to read.
            descriptor = os.open(folder / f"{account}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as opened:
                json.dump(file, opened, indent=1, ensure_ascii=False)
                opened.write("\n")
    except OSError as error:
        raise Unavailable(f"{folder}: {error}") from error
