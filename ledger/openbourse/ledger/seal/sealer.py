"""Seals what was settled: every few seconds the newest batches become leaves, and a checkpoint over them is signed.

Settlement never waits for it. A token, database, archive or witness that is away is said and tried again; what
contradicts what was signed before stops sealing for good, because the next signature would cover it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable

from openbourse.contracts.blocking import Blocking
from openbourse.ledger import database
from openbourse.ledger.database import Connection
from openbourse.ledger.errors import Diverged, Invalid, Unavailable
from openbourse.ledger.seal import keychain, notes, store
from openbourse.ledger.seal.archive import Archive, name_of
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint
from openbourse.ledger.seal.keychain import KeyChain
from openbourse.ledger.seal.notes import Note, Signature, key_hash
from openbourse.ledger.seal.progress import SealProgress
from openbourse.ledger.seal.token import Token, TokenSettings
from openbourse.ledger.seal.tree import Edge
from openbourse.ledger.seal.witness_client import WitnessClient

log = logging.getLogger(__name__)

EVERY_S = 2.0
RETRY_MOST_S = 30.0
# A token that takes longer than this is taken for one that hangs.
TOKEN_TIMEOUT_S = 10.0
# Checkpoints copied to the archive in one go.
ARCHIVE_CHUNK = 500


class Sealer:
    """The one that seals an exchange's ledger. `run` ends only when sealing has to stop for a person."""

    def __init__(
        self,
        dsn: str,
        settings: TokenSettings,
        archive: Archive,
        progress: SealProgress,
        *,
        witness: WitnessClient | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self._dsn = dsn
        self._settings = settings
        self._archive = archive
        self._progress = progress
        self._witness = witness
        self._every_s = every_s
        self._connection: Connection | None = None
        self._token: Token | None = None
        self._calls = Blocking(f"token {settings.label!r}", TOKEN_TIMEOUT_S, Unavailable)

    async def run(self) -> None:
        retry_s = self._every_s
        try:
            while True:
                try:
                    await self.round()
                    self._progress.sealing()
                    retry_s = self._every_s
                except Unavailable as error:
                    self._progress.trouble(error)
                    log.warning("%s; again in %.1f s", error, retry_s)
                    await self.close()
                    retry_s = min(retry_s * 2, RETRY_MOST_S)
                except (Diverged, Invalid) as error:
                    self._progress.stopped(error)
                    log.error("sealing stopped: %s", error)
                    return
                await asyncio.sleep(retry_s)
        finally:
            await self.close()

    async def round(self) -> None:
        """Seals what is new, then brings archive and witness up to it; the two may be away. Raises LedgerError."""
        if self._connection is None:
            self._connection = await store.open_seal(self._dsn)
        try:
            await self._seal(self._connection)
            announced = await store.keys(self._connection)
            self._progress.archive_trouble = await self._try(self._bring_archive(self._connection))
            if self._witness is not None:
                self._progress.witness_trouble = await self._try(self._bring_witness(self._connection, announced))
        except database.CONNECTION_ERRORS as error:
            raise database.as_ledger_error(error) from error

    @staticmethod
    async def _try(work: Awaitable[None]) -> str:
        """What is wrong, as a sentence; empty: nothing. Only what may pass is no reason to stop."""
        try:
            await work
        except Unavailable as error:
            log.warning("%s", error)
            return str(error)
        return ""

    async def _keys(self, connection: Connection) -> KeyChain:
        announced = await store.keys(connection)
        if not announced:
            raise Unavailable("there is no key to seal with: make one with `openbourse ledger key create`")
        first = keychain.parse_announcement(announced[0].text)
        if first.origin != self._settings.origin:
            raise Invalid(f"this ledger's origin is {first.origin}, not {self._settings.origin}: correct --origin")
        return keychain.follow(first.public, announced)

    async def _sign(self, text: str, generation: int, public: bytes) -> Signature:
        settings, token = self._settings, self._token

        def sign() -> tuple[Token, Signature]:
            opened = token or Token(settings)
            key = opened.require(generation, public)
            return opened, notes.sign(text, settings.origin, key)

        self._token, signature = await self._calls.call(sign)
        return signature

    async def _seal(self, connection: Connection) -> None:
        async with store.appending(connection):
            chain = await self._keys(connection)
            last = await store.stored(connection, "last_checkpoint")
            before = await self._continued(chain, last)
            sealed = await store.append_new_batches(
                connection, last.edge if last else Edge(), before.shards if before else ()
            )
            if sealed is None:
                if before:
                    self._progress.reached(before)
                return
            number = before.number + 1 if before else 1
            due = chain.key_of(number)
            checkpoint = Checkpoint(
                origin=chain.origin,
                size=sealed.edge.size,
                root=sealed.edge.root(),
                number=number,
                # A clock that was set back is no reason for a checkpoint before the last one.
                time_us=max(time.time_ns() // 1000, before.time_us + 1 if before else 0),
                key=key_hash(due.public),
                previous=before.hash if before else NO_HASH,
                shards=sealed.shards,
                totals=sealed.totals,
                manual=await store.manual_ends(connection, sealed.shards, before.manual if before else ()),
            )
            text = checkpoint.text()
            signature = await self._sign(text, due.generation, due.public)
            await store.append_checkpoint(connection, number, sealed.edge, Note(text, (signature,)))
        self._progress.reached(checkpoint)

    async def _continued(self, chain: KeyChain, last: store.Stored | None) -> Checkpoint | None:
        """The last checkpoint, if it is one of ours, still stands in the archive, and nothing there came after it."""
        newest = 0
        trouble = ""
        try:
            newest = await asyncio.to_thread(self._archive.newest, "checkpoints")
        except Unavailable as error:
            # Sealing goes on; what was sealed meanwhile is compared when the archive is back.
            trouble = str(error)
        number = last.number if last else 0
        if newest > number:
            raise Diverged(
                f"the archive has checkpoint {newest}, the database ends at checkpoint {number}: "
                "it lost what was sealed, or is another one"
            )
        if last is None:
            return None
        before = chain.checkpoint(last.note)
        if (before.size, before.root) != (last.size, last.edge.root()):
            raise Diverged(f"checkpoint {last.number}: the edge in the database is not that of its tree")
        if newest == number and not trouble:
            archived = await asyncio.to_thread(self._archive.get, name_of("checkpoints", number))
            if archived != str(last.note):
                raise Diverged(f"checkpoint {number} in the database is not the one in the archive")
        return before

    async def _bring_archive(self, connection: Connection) -> None:
        for generation, note in enumerate(await store.keys(connection), start=1):
            await asyncio.to_thread(self._archive.put, name_of("keys", generation), str(note))
        archived = await asyncio.to_thread(self._archive.newest, "checkpoints")
        while rows := await connection.fetch(store.SQL["checkpoints_from"], archived + 1, ARCHIVE_CHUNK):
            for row in rows:
                await asyncio.to_thread(self._archive.put, name_of("checkpoints", row["number"]), row["note"])
            archived = rows[-1]["number"]
        self._progress.archived = archived

    async def _bring_witness(self, connection: Connection, announced: list[Note]) -> None:
        """Has the last checkpoint countersigned, with the proof from the last one that was."""
        assert self._witness is not None
        last = await store.stored(connection, "last_checkpoint")
        seen = await connection.fetchval(store.SQL["cosigned_size"], self._witness.key.name) or 0
        if last is None or seen >= last.size:
            self._progress.witnessed = seen
            return
        answer = await self._ask_witness(connection, announced, last, seen)
        if isinstance(answer, int):
            # It has seen more, or less, than its signatures here say.
            answer = await self._ask_witness(connection, announced, last, answer)
        if isinstance(answer, int):
            raise Unavailable(f"the witness {self._witness.key.name} says that it has seen {answer} leaves")
        await connection.execute(store.SQL["append_cosignature"], last.number, self._witness.key.name, str(answer))
        name = name_of(f"cosigned-{self._witness.file_name}", last.number)
        await asyncio.to_thread(self._archive.put, name, str(last.note.with_signatures(answer)))
        self._progress.witnessed = last.size

    async def _ask_witness(
        self, connection: Connection, announced: list[Note], last: store.Stored, seen: int
    ) -> Signature | int:
        assert self._witness is not None
        if seen > last.size:
            raise Diverged(f"the witness has countersigned {seen} leaves, and {last.size} are sealed here")
        old = await store.stored(connection, "checkpoint_of_size", seen) if seen else None
        if seen and old is None:
            raise Diverged(f"the witness has countersigned a tree of {seen} leaves, and none of here had so many")
        leaves = await store.leaves_between(connection, seen, last.size) if old else []
        return await self._witness.add_checkpoint(old.edge if old else Edge(), leaves, last.note, announced)

    async def close(self) -> None:
        """Both ends are new the next time, whichever failed. Opening a token ends the session before."""
        connection, self._connection, self._token = self._connection, None, None
        if connection is not None:
            await store.close(connection)
