"""Sealing of a real ledger with a key in SoftHSM: what is settled is in a signed checkpoint, or it is said why not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import SHARD, deliveries, record_transfers
from fixtures.tokens import ORIGIN, SoftHsm
from openbourse.contracts import v1
from openbourse.ledger import store as ledger_store
from openbourse.ledger.errors import Diverged, Invalid, Unavailable
from openbourse.ledger.seal import keychain, keys, notes, store
from openbourse.ledger.seal.archive import FolderArchive, name_of
from openbourse.ledger.seal.checkpoint import Checkpoint, ShardEnd, Total, batch_leaf
from openbourse.ledger.seal.progress import SealProgress, SealState
from openbourse.ledger.seal.sealer import Sealer
from openbourse.ledger.seal.token import Token, TokenSettings
from openbourse.ledger.seal.tree import root_of

pytestmark = pytest.mark.server

LISTED = deliveries("asset USDT 2\nasset BTC 8\nsymbol BTC USDT")
FUNDED = deliveries("credit 1000 USDT 500\ncredit 1001 BTC 50\nhold 1000 USDT 200\nhold 1001 BTC 20", first_seq=4)
TRADED = deliveries("trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1", first_seq=8)


class Books:
    """A ledger that settles what the test says, and its seal."""

    def __init__(self, database: LedgerDatabase, archive: Path, settings: TokenSettings) -> None:
        self.database = database
        self.archive = FolderArchive(archive)
        self.settings = settings
        self.progress = SealProgress()
        self.sealer = Sealer(database.owner, settings, self.archive, self.progress)

    async def settle(self, *batches: list[v1.Events], shard: str = SHARD) -> None:
        connection, _ = await ledger_store.open_settlement(self.database.application, shard)
        try:
            for batch in batches:
                await record_transfers(connection, batch)
                await ledger_store.settle(connection, shard, batch)
        finally:
            await connection.close()

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.database.owner)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def fetch(self, statement: str) -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(self.database.owner)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def checkpoints(self) -> list[Checkpoint]:
        """All of them, as whoever trusts the first key reads them."""
        connection = await store.open_seal(self.database.owner)
        try:
            announced = await store.keys(connection)
            chain = keychain.follow(keychain.parse_announcement(announced[0].text).public, announced)
            rows = await connection.fetch(store.SQL["checkpoints_from"], 1, 1000)
            return [chain.checkpoint(notes.parse(row["note"])) for row in rows]
        finally:
            await connection.close()


@pytest.fixture
async def books(ledger_database: LedgerDatabase, soft_hsm: SoftHsm, tmp_path: Path) -> AsyncIterator[Books]:
    (tmp_path / "archive").mkdir()
    books = Books(ledger_database, tmp_path / "archive", soft_hsm.settings)
    await keys.create(ledger_database.owner, soft_hsm.settings)
    yield books
    await books.sealer.close()


async def test_what_is_settled_becomes_leaves_and_one_signed_checkpoint(books: Books) -> None:
    await books.sealer.round()
    assert await books.checkpoints() == []
    await books.settle(LISTED, FUNDED)
    await books.sealer.round()
    await books.sealer.round()
    await books.settle(TRADED)
    await books.sealer.round()
    first, second = await books.checkpoints()
    heads = await books.fetch("SELECT shard, batch, head FROM ledger.batches ORDER BY batch")
    leaves = [batch_leaf(*row) for row in heads]  # type: ignore[arg-type]
    assert (first.number, first.size, first.root) == (1, 2, root_of(leaves[:2]))
    assert (second.number, second.size, second.root, second.previous) == (2, 3, root_of(leaves), first.hash)
    assert first.shards == (ShardEnd("main", 2, 7),) and second.shards == (ShardEnd("main", 3, 8),)
    assert first.totals == (Total("main", "BTC", 30, 20, 0, -50), Total("main", "USDT", 300, 200, 0, -500))
    assert second.totals == (Total("main", "BTC", 49, 0, 1, -50), Total("main", "USDT", 498, 0, 2, -500))
    assert second.time_us > first.time_us
    for number, checkpoint in enumerate((first, second), start=1):
        archived = books.archive.get(name_of("checkpoints", number))
        assert archived is not None and notes.parse(archived).text == checkpoint.text()
    assert books.progress.archived == 2 and books.progress.checkpoint == second


async def test_another_sealer_goes_on_where_one_ended(books: Books) -> None:
    for number in range(1, 20):
        await books.settle(deliveries("nothing", first_seq=number))
        sealer = Sealer(books.database.owner, books.settings, books.archive, books.progress)
        await sealer.round()
        await sealer.close()
    heads = await books.fetch("SELECT shard, batch, head FROM ledger.batches ORDER BY batch")
    leaves = [batch_leaf(*row) for row in heads]  # type: ignore[arg-type]
    assert [(c.size, c.root) for c in await books.checkpoints()] == [(n, root_of(leaves[:n])) for n in range(1, 20)]


async def test_several_sealers_at_once_make_one_history(books: Books) -> None:
    sealers = [Sealer(books.database.owner, books.settings, books.archive, SealProgress()) for _ in range(3)]
    for number in range(1, 6):
        await books.settle(deliveries("nothing", first_seq=number))
        await asyncio.gather(*(sealer.round() for sealer in sealers))
    assert [checkpoint.size for checkpoint in await books.checkpoints()] == [1, 2, 3, 4, 5]
    for sealer in sealers:
        await sealer.close()


async def test_shards_are_sealed_in_one_tree(books: Books) -> None:
    await books.settle(LISTED)
    other = deliveries("nothing\nnothing")
    await books.settle(other[:1], other[1:], shard="second shard")
    await books.sealer.round()
    (checkpoint,) = await books.checkpoints()
    assert checkpoint.shards == (ShardEnd("main", 1, 3), ShardEnd("second shard", 2, 2))


TAMPERING = {
    "a batch that was sealed has another head": (
        "UPDATE ledger.batches SET head = sha256('x') WHERE batch = 2",
        "batch 2 is not the one that was sealed",
    ),
    "a batch that was sealed is gone": (
        "DELETE FROM seal.leaves WHERE batch = 2; DELETE FROM ledger.batches WHERE batch = 2",
        "batch 3 from seq 8 does not follow",
    ),
    "all batches that were sealed are gone": (
        "DELETE FROM seal.leaves; DELETE FROM ledger.batches",
        "batch 2 was sealed and is gone",
    ),
    "a new batch has another head": (
        "UPDATE ledger.batches SET head = sha256('x') WHERE batch = 3",
        "batch 3: its head is not",
    ),
    "a new batch has another content": (
        "UPDATE ledger.batches SET content = sha256('x') WHERE batch = 3",
        "batch 3: its head is not",
    ),
    "a balance is made of nothing": (
        "UPDATE ledger.balances SET available = available + 7 WHERE account = 1000 AND asset = 'USDT'",
        "all balances of USDT in shard main sum to 7",
    ),
    "the edge is another": (
        "UPDATE seal.checkpoints SET edge = ARRAY[sha256('x')]",
        "the edge in the database is not that of its tree",
    ),
    "the last checkpoint is another": (
        "UPDATE seal.checkpoints SET note = replace(note, 'number 1', 'number 2')",
        "no valid signature",
    ),
    "the last checkpoint is gone": ("DELETE FROM seal.checkpoints", "the archive has checkpoint 1"),
    "the key is another": ("UPDATE seal.keys SET note = replace(note, 'time_us 1', 'time_us 2')", "not signed by"),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_what_contradicts_what_was_signed_is_not_signed_over(books: Books, what: str) -> None:
    statement, why = TAMPERING[what]
    await books.settle(LISTED, FUNDED)
    await books.sealer.round()
    await books.settle(TRADED)
    tables = ("ledger.batches", "ledger.balances", "seal.leaves", "seal.checkpoints", "seal.keys")
    await books.execute("".join(f"ALTER TABLE {table} DISABLE TRIGGER ALL;" for table in tables) + statement)
    with pytest.raises(Diverged, match=why):
        await books.sealer.round()
    await asyncio.wait_for(books.sealer.run(), 10)
    assert books.progress.state is SealState.STOPPED and why.split(" is ")[0] in books.progress.last_error


async def test_a_token_that_is_away_is_waited_for_and_settlement_goes_on(books: Books, soft_hsm: SoftHsm) -> None:
    await books.settle(LISTED)
    soft_hsm.take_away()
    await books.sealer.close()
    with pytest.raises(Unavailable, match=r"there is no token 'seal' in .*: there are none"):
        await books.sealer.round()
    await books.settle(FUNDED)
    assert await books.checkpoints() == []
    soft_hsm.bring_back()
    await books.sealer.close()
    await books.sealer.round()
    assert [checkpoint.size for checkpoint in await books.checkpoints()] == [2]


async def test_a_wrong_pin_is_tried_once(books: Books) -> None:
    await books.settle(LISTED)
    wrong = TokenSettings(books.settings.module, books.settings.label, "0000", ORIGIN)
    progress = SealProgress()
    await asyncio.wait_for(Sealer(books.database.owner, wrong, books.archive, progress).run(), 10)
    assert progress.state is SealState.STOPPED and "refuses the PIN" in progress.last_error
    assert "0000" not in progress.last_error + repr(wrong)


async def test_a_token_made_anew_does_not_sign_for_the_old_one(books: Books, soft_hsm: SoftHsm) -> None:
    await books.settle(LISTED)
    token = Token(soft_hsm.settings)
    key = token.key(1)
    assert key is not None
    key._key._private.destroy()
    token.close()
    with pytest.raises(Unavailable, match=r"has no key 'exchange\.example/ledger seal 1', which signs now"):
        await books.sealer.round()


async def test_a_private_key_never_leaves_its_token(soft_hsm: SoftHsm) -> None:
    import pkcs11  # noqa: PLC0415

    token = Token(soft_hsm.settings)
    key = token.make_key(1)
    private = key._key._private
    assert isinstance(private, pkcs11.PrivateKey)
    assert (private[pkcs11.Attribute.EXTRACTABLE], private[pkcs11.Attribute.SENSITIVE]) == (False, True)
    with pytest.raises(pkcs11.AttributeSensitive):
        private[pkcs11.Attribute.VALUE]
    assert token.make_key(1).public == key.public and token.make_key(2).public != key.public
    token.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"module": Path("/nowhere.so")}, "the HSM's library /nowhere.so is not there"),
        ({"label": "other"}, "there is no token 'other' in .*: there are seal"),
    ],
)
def test_a_token_that_is_not_there_is_said(soft_hsm: SoftHsm, change: dict[str, object], why: str) -> None:
    settings = TokenSettings(
        **{"module": soft_hsm.settings.module, "label": "seal", "pin": "5678", "origin": ORIGIN} | change  # type: ignore[arg-type]
    )
    with pytest.raises(Unavailable, match=why):
        Token(settings)


async def test_keys_are_made_once_and_rotated_by_the_one_before(books: Books) -> None:
    await books.settle(LISTED)
    await books.sealer.round()
    with pytest.raises(Invalid, match="has 1 keys already"):
        await keys.create(books.database.owner, books.settings)
    second = await keys.rotate(books.database.owner, books.settings)
    assert (second.generation, second.first_checkpoint) == (2, 2)
    await books.sealer.close()
    await books.settle(FUNDED)
    await books.sealer.round()
    first, after = await books.checkpoints()
    assert first.key != after.key == notes.key_hash(second.public)
    assert [key.generation for key in await keys.announced(books.database.owner)] == [1, 2]


async def test_without_a_key_nothing_is_sealed_and_it_is_said(
    ledger_database: LedgerDatabase, soft_hsm: SoftHsm, tmp_path: Path
) -> None:
    sealer = Sealer(ledger_database.owner, soft_hsm.settings, FolderArchive(tmp_path), SealProgress())
    with pytest.raises(Unavailable, match="there is no key to seal with"):
        await sealer.round()
    with pytest.raises(Invalid, match="no key yet"):
        await keys.rotate(ledger_database.owner, soft_hsm.settings)
    await sealer.close()


async def test_an_archive_that_is_away_is_caught_up_with(books: Books, tmp_path: Path) -> None:
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    for batch in (LISTED, FUNDED):
        await books.settle(batch)
        await books.sealer.round()
    assert "the folder is not there" in books.progress.archive_trouble and books.progress.archived == 0
    (tmp_path / "elsewhere").rename(tmp_path / "archive")
    await books.sealer.round()
    assert (books.progress.archive_trouble, books.archive.newest("checkpoints")) == ("", 2)
    with pytest.raises(Diverged, match="the archive has another"):
        books.archive.put(name_of("checkpoints", 1), "another")


ATTACKS = {
    "change a leaf": "UPDATE seal.leaves SET hash = hash",
    "delete a checkpoint": "DELETE FROM seal.checkpoints",
    "empty the keys": "TRUNCATE seal.keys CASCADE",
    "skip a leaf": "INSERT INTO seal.leaves VALUES (9, 2, 'main', sha256('x'))",
    "append a checkpoint of a smaller tree": "INSERT INTO seal.checkpoints (number, size, note, edge) "
    "VALUES (2, 1, 'x', ARRAY[sha256('x')])",
    "skip a checkpoint": "INSERT INTO seal.checkpoints (number, size, note, edge) "
    "VALUES (3, 2, 'x', ARRAY[sha256('x')])",
    "skip a key": "INSERT INTO seal.keys VALUES (3, 2, 'x')",
    "give a new key old checkpoints": "INSERT INTO seal.keys VALUES (2, 0, 'x')",
}
OF_THE_ROLE = {
    "settle": "INSERT INTO ledger.batches SELECT * FROM ledger.batches",
    "move a balance": "UPDATE ledger.balances SET available = 0",
    "read the entries": "SELECT * FROM ledger.entries",
    "backdate a checkpoint": "INSERT INTO seal.checkpoints (number, size, note, edge, sealed_at) "
    "VALUES (2, 2, 'x', ARRAY[sha256('x')], '2020-01-01')",
}


async def test_the_seal_only_grows_whoever_asks(books: Books) -> None:
    await books.settle(LISTED)
    await books.sealer.round()
    await books.settle(FUNDED)
    role = await store.open_seal(books.database.owner)
    owner = await asyncpg.connect(books.database.owner)
    for connection, attacks in ((owner, ATTACKS), (role, ATTACKS | OF_THE_ROLE)):
        for what, attack in attacks.items():
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(attack)
            assert refused.value.sqlstate in {"OB001", "OB006", "42501", "23514"}, what
    await role.close()
    await owner.close()
