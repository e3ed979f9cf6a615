"""Moves in what is sealed: both verifiers find the books good, and no liability is left out while it is in transit."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fixtures.databases import LedgerDatabase
from fixtures.move_states import MAIN, SECOND, begin
from fixtures.tokens import SoftHsm
from openbourse.ledger import store
from openbourse.ledger.books import open_books
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Invalid
from openbourse.ledger.seal import keys
from openbourse.ledger.seal.archive import FolderArchive
from openbourse.ledger.seal.exporting import export
from openbourse.ledger.seal.owed import make_proofs
from openbourse.ledger.seal.progress import SealProgress
from openbourse.ledger.seal.sealer import Sealer
from openbourse.ledger.seal.verify import Trust, verify
from openbourse.ledger.transfers import Leg

pytestmark = pytest.mark.server

ALONE = Path(__file__).parents[2] / "ledger" / "verifier" / "verify.py"
SPKI = PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
async def settling(ledger_database: LedgerDatabase) -> AsyncIterator[Connection]:
    connection = await store.connect(ledger_database.application)
    yield connection
    await connection.close()


async def test_what_is_in_transit_between_two_shards_is_not_left_out(
    ledger_database: LedgerDatabase, settling: Connection, soft_hsm: SoftHsm, tmp_path: Path
) -> None:
    dsn = ledger_database.application
    (tmp_path / "archive").mkdir()
    sealer = Sealer(ledger_database.owner, soft_hsm.settings, FolderArchive(tmp_path / "archive"), SealProgress())
    first = await keys.create(ledger_database.owner, soft_hsm.settings)
    (tmp_path / "key.pem").write_bytes(load_der_public_key(first.public).public_bytes(Encoding.PEM, SPKI))

    async def seal() -> None:
        await sealer.round()
        await sealer.close()

    async def owed() -> dict[str, int]:
        return (await make_proofs(dsn, soft_hsm.settings, tmp_path / uuid.uuid4().hex)).liabilities()

    async def good() -> None:
        """For both verifiers, with whatever is in transit."""
        folder = tmp_path / uuid.uuid4().hex
        await export(ledger_database.owner, folder)
        assert verify(folder, Trust(first.public)).problems == []
        command = [sys.executable, str(ALONE), str(folder), "--key", str(tmp_path / "key.pem")]
        theirs = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        async with asyncio.timeout(60):
            said, _ = await theirs.communicate()
        assert said.startswith(b"GOOD")

    async with open_books(dsn, MAIN) as main, open_books(dsn, SECOND) as second:
        two = await begin(settling, {MAIN: main, SECOND: second})
        for state in ("done", "back"):
            await two.make(state)
        await seal()
        wanted = await two.make("out")
        # The checkpoint is of before it left.
        assert await owed() == {"USDT": 1_000}
        await seal()
        await good()
        said = r"checkpoint 2 there are 1 moves between shards in transit, of 5 USDT min-units that are owed"
        with pytest.raises(Invalid, match=said):
            await owed()
        await two.leg(wanted, Leg.CREDIT, "posted")
        with pytest.raises(Invalid, match=said):
            await owed()
        await seal()
        assert await owed() == {"USDT": 1_000}
        await good()
