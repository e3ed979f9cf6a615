"""Keeps the shard's listings and its safety limits as the listings file says: at start, and whenever the file changes.

Only what differs from the shard's state is sequenced. A file that cannot be read or does not fit together changes
nothing: what was listed before stays in force, and the log says what is wrong.
"""

import asyncio
import logging
from pathlib import Path

from openbourse.contracts import v1
from openbourse.contracts.listings import Listings
from openbourse.contracts.session import NotTaken
from openbourse.engine._core import Engine
from openbourse.engine.own import OwnRequests

log = logging.getLogger(__name__)

POLL_S = 1.0


class ListingsFile:
    def __init__(self, path: Path, core: Engine, own: OwnRequests) -> None:
        self._path = path
        self._core = core
        self._own = own
        self._seen: bytes | str | None = None

    async def watch(self, stop: asyncio.Event) -> None:
        """Looks at the content, not at times or inodes: a mounted volume changes by swapping a symbolic link."""
        while not stop.is_set():
            await self.apply_if_changed()
            try:
                await asyncio.wait_for(stop.wait(), POLL_S)
            except TimeoutError:
                continue

    async def apply_if_changed(self) -> None:
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            if str(error) != self._seen:
                self._seen = str(error)
                log.error("listings cannot be read, what is listed stays: %s", error)
            return
        if content == self._seen:
            return
        self._seen = content
        try:
            listings = Listings.model_validate_json(content)
        except ValueError as error:
            log.error("listings in %s are refused, what is listed stays: %s", self._path, error)
            return
        try:
            await self._apply(listings)
        except NotTaken as error:
            # Looked at again with the next poll.
            self._seen = None
            log.warning("listings in %s are not all listed yet: %s", self._path, error)

    async def _apply(self, listings: Listings) -> None:
        listed = (await self._own.ask(v1.Query(listings=v1.ListingsQuery()))).listings
        for definition in missing(listings, listed):
            command = v1.Command(causation_id="listings")
            if isinstance(definition, v1.DefineAsset):
                command.define_asset.CopyFrom(definition)
                name = definition.asset
            else:
                command.define_symbol.CopyFrom(definition)
                name = definition.definition.symbol
            reply = await self._own.sequence(command)
            if reply.WhichOneof("result") == "rejection":
                log.error("the listing of %s is refused, what is listed stays: %s", name, reply.rejection.detail)
            else:
                log.info("listed %s at seq %d", name, reply.seq)
        await self._configure_safety(listings.safety.configuration())

    async def _configure_safety(self, wanted: v1.ConfigureSafety) -> None:
        if wanted == v1.ConfigureSafety.FromString(self._core.safety_configuration):
            return
        reply = await self._own.sequence(v1.Command(causation_id="listings", configure_safety=wanted))
        if reply.WhichOneof("result") == "rejection":
            log.error("the safety limits are refused, those before stay: %s", reply.rejection.detail)
        else:
            log.info("safety limits from seq %d on: %s", reply.seq, str(wanted).replace("\n", " "))


def missing(listings: Listings, listed: v1.ListingsAnswer) -> list[v1.DefineAsset | v1.DefineSymbol]:
    """What of the file the shard does not have yet, in the order in which it can take it."""
    assets = list(listed.assets)
    symbols = [listing.definition for listing in listed.symbols]
    return [
        definition
        for definition in listings.definitions()
        if (
            definition not in assets if isinstance(definition, v1.DefineAsset) else definition.definition not in symbols
        )
    ]
