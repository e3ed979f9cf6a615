"""One life of a whole shard in virtual time, by its seed: members, record store, gateways, ledger, a stream reader.

First faults and load, and whatever happens nothing that was promised is broken; then everything is healed, and the
shard must go on within a bound. The seed is the reproduction: two runs of it have the same log, byte by byte.
"""

import asyncio
import contextlib
import contextvars
import gc
import hashlib
import importlib
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulation.audit import Audit, Broken
from simulation.clients import ACCOUNTS, UNITS, Client, Ledger, Reader
from simulation.faults import Faults
from simulation.hearing import heard
from simulation.heartbeats import SimulatedHeartbeats
from simulation.loop import PROCESS, SimulatedLoop, Stuck, here
from simulation.members import Member
from simulation.network import Network
from simulation.record_store import RecordClient, RecordStore

from fixtures.commands import cancel, place
from openbourse.contracts import v1
from openbourse.engine._core import Fatal
from openbourse.engine.errors import BeginAgain
from openbourse.engine.member.replica import Replica
from openbourse.engine.replication import State
from openbourse.engine.replication.record import Record


class NoMaterial:
    """Whoever calls is whoever it says."""

    client = server = None

    @classmethod
    def load(cls, _: Path) -> "NoMaterial":
        return cls()

    async def watch(self) -> None:
        await asyncio.Event().wait()

    def as_json(self) -> dict[str, object]:
        return {}


EPOCH_S = 1_790_000_000.0
FIRST_LEADER_S = 20.0
HEALED_S = 150.0
ANSWERED_S = 40.0
# Rare states of a member, by what it says then.
SAID = {
    "cuts its log from": "a log is cut back",
    "a write that was given up landed": "a write of the record is heard of after it was given up",
    "to know what became of the last change": "a change of the set is asked for again, its outcome being unknown",
    "is sent what the segments have": "a follower is sent what memory has no more",
    "are read from the log": "a consumer is sent what memory has no more",
    "the log was cut behind": "a log is cut before its disk has it",
    "stands down from epoch": "a leader stands down",
}


class BeyondRepair(Exception):
    """More was lost than a shard can outlive: there is nothing to judge."""


@dataclass(frozen=True, slots=True)
class Life:
    """What became of one seed. `digest` is of everything that was said, and when."""

    seed: int
    digest: str
    virtual_s: float
    seen: Counter[str]
    lines: tuple[str, ...]
    broken: str = ""


class World:
    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.dice = random.Random(seed)  # noqa: S311 (the seed is the reproduction)
        self.seen: Counter[str] = Counter()
        self.lines: list[str] = []
        self.loop = SimulatedLoop(self.dice)
        self.network = Network(self.loop, self.dice)
        self.loop.network = self.network
        self.audit = Audit()
        self.store = RecordStore(self.loop, self.dice, self.seen)
        self.store.lossy = self.dice.choice((0.0, 0.0, 0.15, 0.4))
        self.heartbeats: dict[tuple[str, int], SimulatedHeartbeats] = {}
        count = self.dice.choice((2, 2, 2, 3))
        self.min_in_sync = 2 if count == 3 and self.dice.random() < 0.5 else 1
        self.members = [Member(self, index, count) for index in range(count)]
        self.addresses = tuple(member.listen for member in self.members)
        self.faults = Faults(self)
        self.gateways: list[Client] = []
        self.judging = False
        # Every good copy is gone, so nothing can be promised any more.
        self.beyond_repair = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.loop.between = self._look_at_disks
        self.audit.on_answer = self._answered
        self.store.on_change = self._record_changed

    def _look_at_disks(self) -> None:
        for member in self.members:
            member.look_at_disk()

    def _answered(self) -> None:
        self.faults.moment("a command is answered", next((member for member in self.members if member.leads), None))

    def _record_changed(self, before: Record | None, after: Record) -> None:
        """Counts what is rare, and is a moment for faults."""
        if before is None or after.leader is None:
            return
        winner = next((member for member in self.members if member.member_id == after.leader.member), None)
        if after.epoch == before.epoch:
            self.seen["a member is taken out of the set"] += bool(before.in_sync - after.in_sync)
            self.seen["a member is put into the set"] += bool(after.in_sync - before.in_sync)
            self.faults.moment("the set changes", winner)
            return
        self.seen["a take-over"] += 1
        if before.leader is not None and before.leader.member == after.leader.member:
            self.seen["a leader that was started again leads the next epoch"] += 1
        joining = [member for member in self.members if member.state in {State.STANDBY, State.JOINING}]
        if any(member.member_id not in before.in_sync for member in joining):
            self.seen["a take-over while a member is being added"] += 1
        old = [member for member in self.members if member.leads and member is not winner]
        self.seen["a take-over from a leader that still runs"] += bool(old)
        self.seen["a take-over from a leader that is frozen"] += any(
            member.process is not None and member.process.frozen for member in old
        )
        self.faults.moment("a take-over", winner)

    # Of nobody's process

    def call_later(self, delay_s: float, call: Callable[..., object], *args: Any) -> None:
        self.loop.call_later(delay_s, call, *args, context=contextvars.Context())

    def later(self, delay_s: float, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self.call_later(delay_s, lambda: self.spawn(work(*args)))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work, context=contextvars.Context())
        self.tasks = [known for known in self.tasks if not known.done() or known.exception()]
        self.tasks.append(task)

    def note(self, line: str) -> None:
        who = process.name if (process := PROCESS.get()) is not None else "*"
        line = line.replace(str(self.folder), "")
        self.lines.append(f"{self.loop.now_s - 1000:10.6f} {who:9} {line}")

    # The life

    async def live(self) -> None:
        for member in self.members:
            self.later(self.dice.uniform(0, 0.2), _boot, member)
        self.ledger = Ledger(self, self.addresses)
        self.reader = Reader(self, self.addresses)
        await self.until("somebody leads", FIRST_LEADER_S, lambda: any(member.leads for member in self.members))
        bank = Client(self, "bank", "ledger", "10.0.4.1")
        credits = [self._credit(account, asset) for account in ACCOUNTS for asset in ("BTC", "USDT")]
        funding = bank.work(*credits, pause_s=0.001)
        await self.until("accounts are funded", ANSWERED_S, funding.done)
        lasts_s = self.dice.uniform(2.0, 6.0)
        self.gateways = gateways = [
            Client(self, f"gateway-{index}", "gateway", f"10.0.1.{index + 1}") for index in range(2)
        ]
        for gateway in gateways:
            self.loop.start(gateway.process, gateway.look(lasts_s / 30))
        working = [gateway.work(*self._orders(), pause_s=lasts_s / 18) for gateway in gateways for _ in range(2)]
        await self.faults.rage(lasts_s)
        self.note("everything heals")
        await self.faults.heal()
        await self.until("every command is answered", ANSWERED_S, lambda: all(task.done() for task in working))
        last = gateways[0].work(self._order(), pause_s=0.001)
        await self.until("a new command is answered", ANSWERED_S, last.done)
        await self.until("all are in sync and have everything", HEALED_S, self._is_whole)
        await self._judge(gateways[0], bank)

    async def until(self, what: str, most_s: float, holds: Callable[[], bool]) -> None:
        deadline_s = self.loop.time() + most_s
        while not holds():
            self.check()
            if self.loop.time() > deadline_s:
                states = {member.name: str(member.state) for member in self.members}
                raise Broken(f"not within {most_s:g} s: {what}; {states}, record {self.store.held}")
            await asyncio.sleep(0.02)
        self.check()

    def check(self) -> None:
        if self.beyond_repair:
            raise BeyondRepair
        for fault in self.loop.faults:
            error = fault.get("exception")
            if error is not None and not isinstance(error, Fatal | BeginAgain | asyncio.CancelledError):
                self.audit.wrong(f"{fault.get('message')}: {error!r}")
        self.loop.faults.clear()
        for task in self.tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        for member in self.members:
            if member.state == State.STOPPED and not member.spoiled:
                self.audit.wrong(f"{member.name} stopped: {member.replica and member.replica.document()['stopped']}")
            if (state := member.state_hash()) is not None:
                self.audit.state(member.name, *state)
        self.audit.check()

    def _is_whole(self) -> bool:
        leaders = [member for member in self.members if member.leads]
        if len(leaders) != 1 or self.store.held is None or leaders[0].core is None:
            return False
        end = leaders[0].core.committed_seq
        return (
            self.store.held.record.in_sync == {member.member_id for member in self.members}
            and all(member.core is not None and member.core.seq == end for member in self.members)
            and min(self.audit.heard("ledger"), self.audit.heard("reader"), self.ledger.watermark.seq) == end
        )

    async def _judge(self, gateway: Client, bank: Client) -> None:
        """At rest: one state everywhere, everything answered is there, and is answered again as it was."""
        states = {member.name: member.state_hash() for member in self.members}
        assert len(set(states.values())) == 1, f"the members have several states: {states}"
        end = max(self.audit.content, default=0)
        for reply in self.audit.replies.values():
            assert reply.seq <= end, f"seq {reply.seq} was answered, and the stream ends at {end}"
        before, self.judging = dict(self.audit.replies), True
        for client, kind in ((gateway, "gateway"), (bank, "bank")):
            again = [command for command in self.audit.commands.values() if _is_of(command, kind)]
            asked = client.work(*again, pause_s=0.0001)
            await self.until("everything is answered again", ANSWERED_S, asked.done)
        assert self.audit.replies == before
        query = v1.Query(balances=v1.BalancesQuery())
        asking = self.loop.start(gateway.process, gateway.session.query(query, 10.0))
        await self.until("balances are answered", ANSWERED_S, asking.done)
        balances = {
            (balance.account, balance.asset): [balance.available, balance.hold]
            for balance in asking.result().balances.balances
        }
        settled = {key: value for key, value in self.ledger.balances.items() if any(value)}
        balances = {key: value for key, value in balances.items() if any(value)}
        assert settled == balances, f"the ledger has {settled}, and the shard {balances}"

    # What clients send

    def _credit(self, account: int, asset: str) -> v1.Command:
        amount = (1000 if asset == "BTC" else 10_000_000) * UNITS
        transfer = self.dice.randbytes(16).hex()
        funds = v1.CreditFunds(transfer_id=transfer, account=account, asset=asset, amount=amount)
        return self._named(v1.Command(credit_funds=funds))

    def _orders(self) -> list[v1.Command]:
        return [self._order() for _ in range(self.dice.randrange(8, 20))]

    def _order(self) -> v1.Command:
        account = self.dice.choice(ACCOUNTS)
        if self.dice.random() < 0.15:
            return self._named(cancel(account, self.dice.randrange(1, 20)))
        side = self.dice.choice((v1.Side.SIDE_BUY, v1.Side.SIDE_SELL))
        price_ticks = 30_000_00 + self.dice.randrange(-3, 4)
        return self._named(place(account, side, price_ticks, self.dice.randrange(1000, 50_000)))

    def _named(self, command: v1.Command) -> v1.Command:
        command.command_id = self.dice.randbytes(16)
        command.correlation_id = command.command_id.hex()
        return command


async def _boot(member: Member) -> None:
    member.boot()


def _is_of(command: v1.Command, kind: str) -> bool:
    return command.HasField("credit_funds") == (kind == "bank")


@contextlib.contextmanager
def _inside(world: World) -> Iterator[None]:
    """Clocks, chance and what reaches out of a process are the world's. Our own code is as it is."""
    loop = world.loop
    ids = random.Random(world.seed ^ 0x5EED)  # noqa: S311 (the seed is the reproduction)

    def wall_s() -> float:
        process = PROCESS.get()
        return EPOCH_S + loop.now_s + (process.wall_s if process is not None else 0.0)

    def observed(*args: Any, **named: Any) -> Replica:
        replica = Replica(*args, **named)
        for member in world.members:
            if member.process is here():
                member.replica = replica
        return replica

    replaced: list[tuple[Any, str, Any]] = [
        (time, "monotonic", lambda: loop.now_s),
        (time, "monotonic_ns", lambda: round(loop.now_s * 1e9)),
        (time, "time", wall_s),
        (time, "time_ns", lambda: round(wall_s() * 1e6) * 1000),
        (secrets, "token_bytes", lambda count=32: ids.randbytes(count)),
        (secrets, "token_hex", lambda count=32: ids.randbytes(count).hex()),
        (importlib.import_module("openbourse.engine.run"), "Material", NoMaterial),
        (importlib.import_module("openbourse.engine.run"), "Replica", observed),
        (importlib.import_module("openbourse.engine.run"), "RecordFolder", lambda *_: RecordClient(world.store)),
        (
            importlib.import_module("openbourse.engine.run"),
            "Heartbeats",
            lambda host, port: SimulatedHeartbeats(world.network, world.heartbeats, host, port),
        ),
        (importlib.import_module("openbourse.engine.run"), "_say_ready", lambda *_: None),
    ]
    kept = [(target, name, getattr(target, name)) for target, name, _ in replaced]
    random.seed(world.seed)
    try:
        for target, name, value in replaced:
            setattr(target, name, value)
        with heard(world.note, SAID, world.seen):
            yield
    finally:
        for target, name, value in kept:
            setattr(target, name, value)


def live(seed: int, folder: Path) -> Life:
    """Never raises: what is broken is in the Life, with all that was said before."""
    gc.disable()
    world = World(seed, folder)
    broken = ""
    with _inside(world):
        try:
            world.loop.run_until_complete(world.live())
        except BeyondRepair:
            world.seen["more was lost than a shard can outlive"] += 1
        except (Broken, Stuck, AssertionError, TimeoutError) as error:
            broken = f"{type(error).__name__}: {error}"
            world.note(f"BROKEN {broken}")
        finally:
            world.loop.turns = 0
            world.loop.run_until_complete(world.faults.end())
    virtual_s = world.loop.now_s - 1000
    digest = hashlib.sha256("\n".join(world.lines).encode()).hexdigest()
    life = Life(seed, digest, virtual_s, world.seen, tuple(world.lines), broken)
    world.loop.close()
    world.loop.between = lambda: None
    del world
    gc.unfreeze()
    gc.enable()
    gc.collect()
    return life
