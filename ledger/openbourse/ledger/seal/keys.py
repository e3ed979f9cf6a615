"""Makes the key that seals, and the next one, which the one before announces. Neither leaves the token."""

import time

from openbourse.ledger import database
from openbourse.ledger.errors import Invalid
from openbourse.ledger.seal import keychain, store
from openbourse.ledger.seal.checkpoint import require_origin
from openbourse.ledger.seal.keychain import Announcement
from openbourse.ledger.seal.token import Token, TokenSettings


async def create(dsn: str, settings: TokenSettings) -> Announcement:
    """The first key. Raises Invalid when there is one, and Unavailable."""
    return await _announce(dsn, settings, first=True)


async def rotate(dsn: str, settings: TokenSettings) -> Announcement:
    """The next key, which signs from the next checkpoint on. Raises Invalid when there is none yet, and Unavailable."""
    return await _announce(dsn, settings, first=False)


async def announced(dsn: str) -> list[Announcement]:
    """All keys so far."""
    connection = await store.open_seal(dsn)
    try:
        return [keychain.parse_announcement(note.text) for note in await store.keys(connection)]
    except database.CONNECTION_ERRORS as error:
        raise database.as_ledger_error(error) from error
    finally:
        await store.close(connection)


async def _announce(dsn: str, settings: TokenSettings, *, first: bool) -> Announcement:
    origin = require_origin(settings.origin)
    # Before anything is locked: a token may take its time.
    token = Token(settings)
    connection = await store.open_seal(dsn)
    try:
        async with store.appending(connection):
            notes = await store.keys(connection)
            if first and notes:
                raise Invalid(
                    f"this ledger has {len(notes)} keys already: `openbourse ledger key rotate` makes the next"
                )
            if not first and not notes:
                raise Invalid("this ledger has no key yet: `openbourse ledger key create` makes it")
            before = keychain.parse_announcement(notes[-1].text) if notes else None
            if before is not None and before.origin != origin:
                raise Invalid(f"this ledger's origin is {before.origin}, not {origin}: correct --origin")
            old = (before, token.require(before.generation, before.public)) if before else None
            key = token.make_key(len(notes) + 1)
            last = await store.stored(connection, "last_checkpoint")
            now_us = max(time.time_ns() // 1000, before.time_us if before else 0)
            note = keychain.announce(origin, now_us, key, old, last.number + 1 if last else 1)
            announcement = keychain.parse_announcement(note.text)
            await connection.execute(
                store.SQL["append_key"], announcement.generation, announcement.first_checkpoint, str(note)
            )
    except database.CONNECTION_ERRORS as error:
        raise database.as_ledger_error(error) from error
    finally:
        token.close()
        await store.close(connection)
    return announcement
