"""Keeps the shard's listings and its safety limits as the listings file says: at start, and whenever the file changes.

What the file says to be delisted is halted, and its orders are cancelled; what it merely does not name stays listed.

Only what differs from the shard's state is sequenced. A file that cannot be read or does not fit together changes
nothing: what was listed before stays in force, and the log says what is wrong.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from openbourse.contracts import v1
from openbourse.contracts.listings import Listings
from openbourse.contracts.session import NotTaken
from openbourse.engine._core import Engine
from openbourse.engine.own import OwnRequests

log = logging.getLogger(__name__)

POLL_S = 1.0
# Halts of its own: no object of Kubernetes has such a name.
DELISTED = "delisted/"
# Of 10,000 orders each.
ROUNDS_MOST = 1000


class ListingsFile:
    def __init__(self, path: Path, core: Engine, own: OwnRequests) -> None:
        self._path = path
        self._core = core
        self._own = own
        self._seen: bytes | str | None = None
        # By symbol that is delisted, how many of its orders are open. The status page shows this very dictionary.
        self.delisted: dict[str, int] = {}
        # One that is delisted is on its way between two shards, or may still come from another one.
        self._may_come = False
        # Those of them that were in no shard or in another one when it was looked at last.
        self._elsewhere: set[str] = set()

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
        if content == self._seen and not self._may_come:
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
        await self._delist(listings, {listing.definition.symbol: listing for listing in listed.symbols})

    async def _delist(self, listings: Listings, listed: Mapping[str, v1.SymbolListing]) -> None:
        """Halts what is no longer listed, then cancels its orders; what is listed again trades again.

        A symbol that was deleted while it moved ends up in one shard or the other, which only time tells: both are
        told to delist it. The halt waits for it; its orders are looked for until they are here, or in the other shard.
        """
        in_force = {name for name, *_ in self._core.halts()}
        for halt in sorted(in_force):
            symbol = halt.removeprefix(DELISTED)
            if symbol != halt and symbol not in listings.delisted:
                lift = v1.LiftHalt(halt=halt, reason="it is listed again")
                await self._told(v1.Command(causation_id="listings", lift_halt=lift), f"{symbol} listed again")
        for symbol in self.delisted.keys() - set(listings.delisted):
            del self.delisted[symbol]
        self._may_come = False
        for symbol in listings.delisted:
            halt = f"{DELISTED}{symbol}"
            if halt not in in_force:
                stop = v1.SymbolState.SYMBOL_STATE_HALT
                impose = v1.ImposeHalt(halt=halt, symbols=[symbol], state=stop, reason="it is delisted")
                await self._told(v1.Command(causation_id="listings", impose_halt=impose), f"{symbol} delisted")
            here = listed.get(symbol)
            if here is None or here.moved_to:
                self.delisted[symbol] = 0
                self._may_come |= here is None
            elif here.moving_to:
                self._may_come = True
            elif self.delisted.get(symbol) != 0 or symbol in self._elsewhere:
                await self._cancel_all(symbol)
        self._elsewhere = {symbol for symbol in listings.delisted if symbol not in listed or listed[symbol].moved_to}

    async def _cancel_all(self, symbol: str) -> None:
        """So many at a time. What could not be cancelled is looked at again when the engine leads anew."""
        cancel = v1.CancelAllOrders(symbol=symbol, reason=v1.CancelReason.CANCEL_REASON_OPERATOR)
        for _ in range(ROUNDS_MOST):
            reply = await self._told(
                v1.Command(causation_id="listings", cancel_all_orders=cancel), f"orders in {symbol} cancelled"
            )
            if reply.WhichOneof("result") == "rejection":
                return
            self.delisted[symbol] = reply.canceled_all.remaining
            if reply.canceled_all.remaining == 0:
                return

    async def _told(self, command: v1.Command, done: str) -> v1.Reply:
        reply = await self._own.sequence(command)
        if reply.WhichOneof("result") == "rejection":
            log.error("not done: %s: %s", done, reply.rejection.detail)
        else:
            log.info("%s at seq %d", done, reply.seq)
        return reply

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
