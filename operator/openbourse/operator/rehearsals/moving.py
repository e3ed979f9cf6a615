"""Moves a symbol to another shard and back for one rehearsal: by its spec, as a person does. It decides nothing.

The Symbol is marked with the rehearsal for as long as it is away, so that whoever finds the mark of one that does not
run any more has it back. What a person has said since is left as it is.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused
from openbourse.contracts.resources import GROUP, Rehearsal, Symbol
from openbourse.operator.rehearsals.facts import Bite, MoveFacts
from openbourse.operator.rehearsals.load import Clock
from openbourse.operator.rehearsals.pods import REHEARSAL_LABEL
from openbourse.operator.rehearsals.scenarios import Deed
from openbourse.operator.rehearsals.striking import MANAGER, Aborted

# Beside the label with the uid of the rehearsal: the shard that it moved the symbol to, and the one that has it back.
AWAY_ANNOTATION = f"{GROUP}/rehearsal-to"
HOME_ANNOTATION = f"{GROUP}/rehearsal-from"
POLL_S = 0.2
# So long a symbol is waited for that is asked back because a rehearsal was aborted.
BACK_WITHIN_S = 30.0
# Somebody else may write at the same time; the operator does, while a symbol moves.
WRITE_TRIES = 10


@dataclass(slots=True)
class Mover:
    """Of one rehearsal. `heed` is called again and again while it waits, and raises Aborted. Times are the rehearsal's.

    `done`: each move that was asked for, as far as it came.
    """

    api: ApiServer
    rehearsal: Rehearsal
    source: str
    target: str
    clock: Clock
    heed: Callable[[], None]
    done: list[MoveFacts] = field(default_factory=list)
    # Asked for, or it may have been: whether it was, only the API server knows.
    is_away: bool = False
    is_back: bool = False

    @property
    def bite(self) -> Bite:
        """What was seen of it so far."""
        symbol = self.rehearsal.spec.load.symbol
        return Bite(pod=symbol, pid=0, deed=Deed.MOVE, victims=(self.source, self.target), lifted=self.is_back)

    async def away(self, within_s: int) -> MoveFacts:
        """Asks for the move and waits until it is whole. Raises Aborted, and ApiError."""
        asked_ms = self.clock()

        def change(symbol: Symbol) -> Object:
            if symbol.spec.shard != self.source:
                raise Aborted(f"{symbol.spec.name} is wanted in shard {symbol.spec.shard}, not in {self.source}")
            notes = {AWAY_ANNOTATION: self.target, HOME_ANNOTATION: self.source}
            marks = {"labels": {REHEARSAL_LABEL: self.rehearsal.metadata.uid}, "annotations": notes}
            return {"metadata": marks, "spec": {"shard": self.target}}

        symbol = await self._symbol()
        # From here on it may be: of an answer that was lost nobody knows.
        self.is_away = True
        return await self._until_there(await _rewrite(self.api, symbol, change), asked_ms, within_s, self.heed)

    async def back(self, within_s: int) -> MoveFacts:
        """The same, to where it was."""
        asked_ms = self.clock()
        stored = await bring_back(self.api, await self._symbol())
        if stored.spec.shard != self.source:
            raise Aborted(f"somebody else set spec.shard of {stored.spec.name} to {stored.spec.shard}")
        moved = await self._until_there(stored, asked_ms, within_s, self.heed)
        self.is_back = True
        return moved

    async def restore(self) -> str:
        """Has it back whatever became of the rehearsal. What is wrong then, in a sentence; empty: nothing."""
        if not self.is_away or self.is_back:
            return ""
        name = self.rehearsal.spec.load.symbol
        look = f"see kubectl describe symbol {name.lower()}"
        try:
            asked_ms, symbol = self.clock(), await self._symbol()
            if is_marked_by(symbol, self.rehearsal.metadata.uid):
                symbol = await bring_back(self.api, symbol)
            if symbol.spec.shard != self.source:
                return f"{name} was moved on by somebody else, to shard {symbol.spec.shard}"
            await self._until_there(symbol, asked_ms, BACK_WITHIN_S, lambda: None)
            self.is_back = True
        except (ApiError, Aborted) as error:
            return f"{name} was not seen to be back in shard {self.source}: {error}; {look}"
        return ""

    async def _until_there(self, asked: Symbol, asked_ms: int, within_s: float, heed: Callable[[], None]) -> MoveFacts:
        """Until no move is under way and the symbol is where that spec wants it. Raises Aborted, and ApiError."""
        name, wanted = asked.spec.name, asked.spec.shard
        source = self.source if wanted == self.target else self.target
        # One that was asked for already, and is waited for again, is no other one.
        if not self.done or self.done[-1].to_shard != wanted:
            self.done.append(MoveFacts(symbol=name, from_shard=source, to_shard=wanted, asked_ms=asked_ms))
        deadline_s, symbol = time.monotonic() + within_s, asked
        while time.monotonic() < deadline_s:
            heed()
            symbol = await self._symbol()
            if symbol.spec.shard != wanted:
                raise Aborted(f"somebody else set spec.shard of {name} to {symbol.spec.shard}")
            facts = self.done[-1] = self._as_told(self.done[-1], symbol, asked)
            if facts.over_ms is not None:
                if self._where(symbol) != wanted:
                    raise Aborted(f"{name} did not go to shard {wanted}: its move is {facts.state}: {_why(symbol)}")
                return facts
            await asyncio.sleep(POLL_S)
        raise Aborted(f"{name} was not in shard {wanted} within {within_s:g} s: {_why(symbol)}")

    def _as_told(self, facts: MoveFacts, symbol: Symbol, asked: Symbol) -> MoveFacts:
        """Of the move that this spec asked for: an earlier one may be there still, or be on its way back."""
        move, told = symbol.status.move, dict[str, object]()
        is_of_it = move is not None and move.generation >= asked.metadata.generation
        if move is not None and is_of_it:
            told = {"move": move.id or "", "state": move.state.value, "paused_ms": move.paused_ms}
        is_at_rest = move is None or move.is_over
        if is_at_rest and (is_of_it or self._where(symbol) == asked.spec.shard):
            told |= {"over_ms": self.clock()}
        return facts.model_copy(update=told)

    def _where(self, symbol: Symbol) -> str:
        """Not where it is wanted: of a status that does not say where it is, it never left."""
        return symbol.status.home or self.source

    async def _symbol(self) -> Symbol:
        name, namespace = self.rehearsal.spec.load.symbol.lower(), self.rehearsal.metadata.namespace
        found = await self.api.get(Symbol.resource, namespace, name)
        if found is None:
            raise Aborted(f"there is no Symbol {name} any more")
        return Symbol.model_validate(found)


async def bring_back(api: ApiServer, symbol: Symbol) -> Symbol:
    """Sets spec.shard to where a rehearsal had it from, and takes the mark away. Raises ApiError.

    Where a person has set it to another shard since, the mark alone goes.
    """

    def change(symbol: Symbol) -> Object:
        notes = symbol.metadata.annotations
        no_marks = {"labels": {REHEARSAL_LABEL: None}, "annotations": {AWAY_ANNOTATION: None, HOME_ANNOTATION: None}}
        is_ours = HOME_ANNOTATION in notes and symbol.spec.shard == notes.get(AWAY_ANNOTATION)
        return {"metadata": no_marks} | ({"spec": {"shard": notes[HOME_ANNOTATION]}} if is_ours else {})

    return await _rewrite(api, symbol, change)


async def _rewrite(api: ApiServer, symbol: Symbol, change: Callable[[Symbol], Object]) -> Symbol:
    """Merges what `change` makes of the Symbol as it is when it is written. Raises ApiError."""
    for attempt in range(WRITE_TRIES):
        manifest = change(symbol)
        identity = {name: getattr(symbol.metadata, name) for name in ("name", "namespace", "uid")}
        metadata = manifest["metadata"] | identity | {"resourceVersion": symbol.metadata.resource_version}
        try:
            return Symbol.model_validate(await api.merge(Symbol.resource, manifest | {"metadata": metadata}, MANAGER))
        except Refused as error:
            if not error.is_conflict or attempt == WRITE_TRIES - 1:
                raise
        found = await api.get(Symbol.resource, symbol.metadata.namespace, symbol.metadata.name)
        if found is None:
            break
        symbol = Symbol.model_validate(found)
    return symbol


def is_marked_by(symbol: Symbol, uid: str) -> bool:
    return symbol.metadata.labels.get(REHEARSAL_LABEL) == uid


def _why(symbol: Symbol) -> str:
    """What its condition says."""
    return next((each.message for each in symbol.status.conditions if each.type == "Moving"), "nobody says why")
