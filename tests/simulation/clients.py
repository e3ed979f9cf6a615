"""Who speaks to a simulated shard: gateways that resend by id, the ledger, and a reader of the stream.

All use the code of the real ones for what crosses the network: `contracts.session`, and `ledger.settlement`.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from simulation.loop import Process

from fixtures.engines import SHARD
from openbourse.contracts import v1
from openbourse.contracts.session import Address, EngineSession, NotTaken, committed_events
from openbourse.contracts.unanswered import Unavailable
from openbourse.ledger.errors import StaleSession
from openbourse.ledger.reading import Delivery
from openbourse.ledger.settlement import Watermark, settle

if TYPE_CHECKING:
    from simulation.world import World

ASKS_S = 1.0
ACCOUNTS = (1001, 1002, 1003)
UNITS = 10**8


class Client:
    """A process with a session to the shard. It may be killed and started anew; what it sent stays to be answered."""

    def __init__(self, world: "World", name: str, component: str, host: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(name, component, host)
        self.session = EngineSession(SHARD, world.addresses, None, name)
        # The newest leader that it has heard of.
        self.heard_epoch = 0
        world.loop.start(self.process, self.session.run())

    async def ask(self, command: v1.Command) -> v1.Reply:
        """Until there is an answer, however often it takes; always the same id."""
        self.world.audit.sent(command)
        times, epoch = 0, self.session.highest_epoch
        while True:
            try:
                reply = await self.session.command(command, ASKS_S)
            except NotTaken:
                self.world.seen["a command that the log cannot take"] += 1
                await asyncio.sleep(0.1)
            except Unavailable:
                times += 1
            else:
                now_epoch = self.session.highest_epoch
                if times:
                    self.world.seen["a command is answered after a caller gave up waiting"] += 1
                if 0 < epoch < now_epoch:
                    self.world.seen["a command that was sent to one leader is answered by the next"] += 1
                if 0 < reply.epoch < now_epoch and not self.world.judging:
                    self.world.seen["a leader gives the first answer of the one before it"] += 1
                self.world.audit.answered(command, reply)
                return reply

    async def look(self, pause_s: float) -> None:
        """Asks for balances again and again: none is from a leader older than one that it has heard of."""
        while True:
            await asyncio.sleep(self.world.dice.expovariate(1 / pause_s))
            if self.session.highest_epoch < self.heard_epoch:
                self.world.audit.wrong(f"{self.name} listens to epoch {self.session.highest_epoch} after a newer one")
            before = self.heard_epoch = max(self.heard_epoch, self.session.highest_epoch)
            with contextlib.suppress(Unavailable):
                answer = await self.session.query(v1.Query(balances=v1.BalancesQuery()), ASKS_S)
                if answer.epoch < before:
                    self.world.audit.wrong(f"{self.name} has heard of epoch {before}, and epoch {answer.epoch} answers")

    def work(self, *commands: v1.Command, pause_s: float) -> "asyncio.Task[None]":
        return self.world.loop.start(self.process, self._work(commands, pause_s))

    async def _work(self, commands: tuple[v1.Command, ...], pause_s: float) -> None:
        for command in commands:
            await self.ask(command)
            await asyncio.sleep(self.world.dice.expovariate(1 / pause_s))


@contextlib.asynccontextmanager
async def _closing(events: AsyncIterator[v1.Events]) -> AsyncIterator[None]:
    """It is a generator: what it has open is closed with it, and not whenever somebody finds it left."""
    assert isinstance(events, AsyncGenerator)
    async with contextlib.aclosing(events):
        yield


class Ledger:
    """Settles the stream in memory: a batch and its watermark become durable together, or not at all."""

    def __init__(self, world: "World", addresses: tuple[Address, ...]) -> None:
        self.watermark = Watermark(0, 0)
        self.balances: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        self._world = world
        self._addresses = addresses
        # What one transaction takes.
        self._batch_s = world.dice.choice((0.002, 0.01, 0.1))
        self.boot()

    def boot(self) -> None:
        self.process = Process("ledger", "ledger", "10.0.2.1")
        self._world.loop.start(self.process, self._run())

    async def _run(self) -> None:
        """As the real one: from its watermark, and not below its epoch."""
        while True:
            try:
                await self._follow()
            except StaleSession:
                self._world.seen["the ledger refuses an older session"] += 1
                self._world.audit.consumer_restarted("ledger", self.watermark.seq, self.watermark.session_epoch)
                await asyncio.sleep(0.02)

    async def _follow(self) -> None:
        events = committed_events(
            *(SHARD, self._addresses, None, "ledger", self.watermark.seq + 1),
            highest_epoch=self.watermark.session_epoch,
            passed=lambda: self.watermark.seq,
        )
        async with _closing(events):
            async for delivery in events:
                self._world.audit.delivered("ledger", delivery)
                batch = settle(SHARD, self.watermark, [Delivery(delivery)])
                # The transaction; a crash before its end leaves nothing of it.
                await asyncio.sleep(self._world.dice.uniform(0.2, 1.0) * self._batch_s)
                self.watermark = batch.watermark
                for delta in batch.deltas:
                    balance = self.balances[delta.account, delta.asset]
                    balance[0] += delta.available
                    balance[1] += delta.hold
                self._world.audit.settled(self.watermark.session_epoch, self.balances)

    async def crash(self) -> None:
        if self.process.dead:
            return
        self._world.network.died(self.process, silently=False)
        await self._world.loop.kill(self.process)
        self._world.audit.consumer_restarted("ledger", self.watermark.seq, self.watermark.session_epoch)
        self.boot()


class Reader:
    """Market data: it keeps nothing, so it begins at the start whenever it does. Sometimes it reads slowly."""

    def __init__(self, world: "World", addresses: tuple[Address, ...]) -> None:
        self._world = world
        self._addresses = addresses
        self.next_seq = 1
        self.slow_s = 0.0
        self.boot()

    def boot(self) -> None:
        self.next_seq = 1
        self.process = Process("reader", "gateway", "10.0.3.1")
        self._world.loop.start(self.process, self._run())

    async def _run(self) -> None:
        events = committed_events(SHARD, self._addresses, None, "reader", 1)
        async with _closing(events):
            async for delivery in events:
                self._world.audit.delivered("reader", delivery)
                self.next_seq = delivery.last_seq + 1
                if self.slow_s:
                    await asyncio.sleep(self.slow_s)

    async def crash(self) -> None:
        if self.process.dead:
            return
        self._world.network.died(self.process, silently=False)
        await self._world.loop.kill(self.process)
        self._world.audit.consumer_restarted("reader", 0, 0)
        self.boot()
