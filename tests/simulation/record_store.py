"""The leadership record of a simulated shard: linearizable, its answers late, lost, or after everybody gave up.

It says itself what it was asked to keep: epochs only rise, and an epoch has one leader.
"""

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Callable

from simulation.loop import SimulatedLoop, here

from openbourse.engine.arbiters.arbiter import Unreachable
from openbourse.engine.replication.inputs import Conflicted, Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held, Record

LATENCY_S = (0.0005, 0.006)
GIVES_UP_S = 1.5
_NOBODY = contextvars.Context()
# An answer that comes after the member has given the write up.
LATE_S = (1.0, 4.0)


class RecordStore:
    """`away` names hosts that do not reach it."""

    def __init__(self, loop: SimulatedLoop, dice: random.Random, seen: Counter[str]) -> None:
        self.loop = loop
        self.dice = dice
        self.held: Held | None = None
        self.history: list[Record] = []
        self.away: set[str] = set()
        self.under_way = 0
        # The chance that an answer, or a write, is lost or late.
        self.lossy = 0.0
        self.on_change: Callable[[Record | None, Record], None] = lambda before, after: None
        self._seen = seen
        self._writes = 0

    def land(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        if (self.held.version if self.held else None) != ask.expected:
            return Conflicted(ask)
        self._writes += 1
        before = self.held.record if self.held is not None else None
        if before is not None:
            assert ask.record.epoch >= before.epoch, f"the epoch of the record falls: {before} to {ask.record}"
            same = ask.record.epoch == before.epoch
            assert not same or ask.record.leader == before.leader, f"an epoch gets two leaders: {before}, {ask.record}"
        self.held = Held(ask.record, f"v{self._writes}")
        self.on_change(before, ask.record)
        self.history.append(ask.record)
        return Succeeded(ask, self.held.version)


class RecordClient:
    """What a member has of the store. Made in the process of the member."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._process = here()

    async def read(self) -> Held | None:
        await self._way()
        held = self._store.held
        await self._way()
        return held

    async def compare_and_set(self, ask: CompareAndSet) -> Succeeded | Conflicted:
        store = self._store
        await self._way()
        late_s = store.dice.uniform(*LATE_S) if store.dice.random() < store.lossy else 0.0
        outcome: asyncio.Future[Succeeded | Conflicted] = asyncio.get_running_loop().create_future()
        store.under_way += 1
        # Of nobody's process: whoever asked may be gone when it lands.
        store.loop.call_later(late_s, self._land, ask, outcome, context=_NOBODY)
        landed = await asyncio.shield(outcome)
        if store.dice.random() < store.lossy:
            await asyncio.sleep(GIVES_UP_S)
            if isinstance(landed, Succeeded):
                store._seen["a write of the record that landed unheard"] += 1
            raise Unreachable("the answer of the record store is lost")
        await self._way()
        return landed

    def _land(self, ask: CompareAndSet, outcome: "asyncio.Future[Succeeded | Conflicted]") -> None:
        self._store.under_way -= 1
        landed = self._store.land(ask)
        if not outcome.done():
            outcome.set_result(landed)

    async def _way(self) -> None:
        """Raises Unreachable. There is no way for one that is dead."""
        store = self._store
        if self._process.host in store.away or self._process.dead:
            await asyncio.sleep(GIVES_UP_S)
            raise Unreachable("the record store is away")
        await asyncio.sleep(store.dice.uniform(*LATENCY_S))
