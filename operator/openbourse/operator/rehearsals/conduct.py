"""Conducts one rehearsal: load, fault, proof, recovery, logs; and gives the facts, whatever came between.

It decides nothing about them: `invariants` does. Whatever it makes has an end of its own, should this process die.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from openbourse.contracts.apiserver import ApiError, ApiServer, Object
from openbourse.contracts.resources import AcknowledgementState, Halt, Rehearsal
from openbourse.operator.rehearsals.acknowledgements import Acknowledgements, compared_together
from openbourse.operator.rehearsals.facts import (
    Bite,
    Facts,
    LoadFacts,
    MoveFacts,
    ShardFacts,
    Step,
    StreamFacts,
    TogetherFacts,
    Under,
)
from openbourse.operator.rehearsals.invariants import AFTER_LEAST
from openbourse.operator.rehearsals.load import ApiKey, Gateway, HaltedOrders, Listening, Trading
from openbourse.operator.rehearsals.moving import Mover
from openbourse.operator.rehearsals.scenarios import STEPS, STRIKES, Deed, Strike, Target
from openbourse.operator.rehearsals.settling import Settling
from openbourse.operator.rehearsals.striking import Aborted, House, Striker, Struck
from openbourse.operator.rehearsals.watching import DiskWatch, RecordWatch, Shard

POLL_S = 0.2
STEADY_S = 3.0
STEADY_LEAST = 20
STEADY_WITHIN_S = 20.0
HALTED_WITHIN_S = 10.0
# The disk of an engine is looked at for so long before it is made slow.
DISK_BEFORE_S = 2.0
# Orders go on for so long after the fault, at the least.
AFTER_S = 4.0
# A symbol that was moved is traded where it is for so long before it is moved back, and for half of the load's time.
HOLD_S = 5.0


@dataclass(slots=True)
class Conductor:
    """Of one rehearsal. `stop` is set from outside: somebody suspended or deleted it, or this process is to end.

    `other`: the shard that the symbol is moved to, where it is.
    """

    api: ApiServer
    house: House
    shard: Shard
    rehearsal: Rehearsal
    keys: list[ApiKey]
    stop: asyncio.Event
    other: Shard | None = None
    why_stop: str = "this process was told to end"
    _began_s: float = field(default_factory=time.monotonic)
    _steps: list[Step] = field(default_factory=list)
    _blind: list[str] = field(default_factory=list)
    _asked_ms: int | None = None
    _struck_ms: int | None = None
    _lifted_ms: int | None = None
    _bite: Bite | None = None
    _under: Under | None = None
    _disk: DiskWatch | None = None
    _mover: Mover | None = None

    @property
    def shards(self) -> list[Shard]:
        """Its own, and the one that the symbol is moved to."""
        return [self.shard] if self.other is None else [self.shard, self.other]

    @property
    def strike(self) -> Strike:
        return STRIKES[self.rehearsal.spec.scenario]

    @property
    def prefix(self) -> str:
        """Of the names of its orders: no other rehearsal has it."""
        return f"r{self.rehearsal.metadata.uid[:8]}-"

    def clock(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

    async def run(self) -> Facts:
        """Raises ApiError when nothing could be begun with; what goes wrong later is in the facts."""
        spec = self.rehearsal.spec
        shards = self.shards
        begun = [max((state.committed_seq for state in await shard.states()), default=0) for shard in shards]
        gateway = Gateway(self.shard.gateway_url, self.shard.http)
        trading = Trading(gateway, self.keys, spec.load, self.prefix, self.clock)
        listening = Listening(gateway, spec.load.symbol)
        records = [RecordWatch(shard, self.clock) for shard in shards]
        halted = HaltedOrders(spec.load.halted_symbol) if spec.load.halted_symbol else None
        aborted = ""
        async with self._halt(halted), contextlib.AsyncExitStack() as watches:
            for record in records:
                await watches.enter_async_context(_background(record.run()))
            try:
                async with asyncio.timeout(spec.timeout_seconds):
                    aborted = await self._under_load(gateway, trading, listening, halted, records)
            except TimeoutError:
                aborted = f"it took longer than {spec.timeout_seconds} s"
            settling = [
                Settling(self.api, self.house, shard, self.rehearsal, self.prefix, self._blind, self._step)
                for shard in shards
            ]
            settled = await asyncio.gather(
                *(_settled(*each) for each in zip(settling, records, begun, strict=True)),
            )
        # Where there are two shards, an order may be in either of them.
        orders = trading.heard.orders if self.other is None else {}
        logs = await asyncio.gather(
            *(each.logs(facts.begun_seq, facts.engines, orders) for each, facts in zip(settling, settled, strict=True))
        )
        lasted_ms = self.clock()
        heard = trading.heard
        stream = listening.facts()
        self._blind += [sentence for record in records for sentence in record.blind]
        # A client of a gateway that is killed connects again; what it hears is whole within each connection.
        if self.strike.target is not Target.NODE:
            self._blind += [f"the stream of the market broke: {each}" for each in stream.broken]
        load = heard.facts(lasted_ms, self._lifted_ms, self._asked_ms)
        own, *others = [facts.model_copy(update={"logs": found}) for facts, found in zip(settled, logs, strict=True)]
        return Facts(
            scenario=spec.scenario,
            lasted_ms=lasted_ms,
            steps=tuple(self._steps),
            aborted=aborted,
            blind=tuple(self._blind),
            asked_ms=self._asked_ms,
            struck_ms=self._struck_ms,
            lifted_ms=self._lifted_ms,
            bite=self._bite,
            leaders=own.leaders,
            members=own.members,
            load=load,
            logs=own.logs,
            engines=own.engines,
            ledger=own.ledger,
            stream=stream,
            halt=halted.facts(self._asked_ms, self._lifted_ms) if halted is not None else None,
            under=self._under,
            disk_before=self._disk.facts(0, self._asked_ms) if self._disk is not None else None,
            disk_during=self._disk.facts(self._struck_ms, self._lifted_ms) if self._disk is not None else None,
            status=own.status,
            shard=own.shard,
            begun_seq=own.begun_seq,
            others=tuple(others),
            together=_together(settling, records, heard) if others else None,
            moves=_moves(self._mover, heard, lasted_ms),
        )

    async def _under_load(
        self,
        gateway: Gateway,
        trading: Trading,
        listening: Listening,
        halted: HaltedOrders | None,
        records: Sequence[RecordWatch],
    ) -> str:
        """Why it was aborted; empty: it was not. The load ends with it, and so does whatever listens."""
        spec, over = self.rehearsal.spec, asyncio.Event()
        heed = partial(self._heed_all, trading)
        striker = Striker(self.api, self.house, self.shard, self.rehearsal, self.clock, heed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(trading.run(over))
            tasks.create_task(listening.run(over))
            if halted is not None:
                tasks.create_task(
                    halted.run(
                        gateway,
                        self.keys[0],
                        wanted=spec.load,
                        prefix=f"h{self.prefix}",
                        clock=self.clock,
                        stop=over,
                    )
                )
            try:
                await self._steadily(trading)
                before = [await record.look() for record in records]
                for shard, found in zip(self.shards, before, strict=True):
                    if found is None or found.in_sync < len(shard.members):
                        raise Aborted(
                            f"shard {shard.shard.metadata.name} was not whole any more when the fault was due"
                        )
                leads = [each for each in before if each is not None]
                self._step(0, ", ".join(f"{each.holder} leads epoch {each.epoch}" for each in leads))
                if self.other is not None:
                    await self._move_it(self.other, trading)
                else:
                    await self._break_it(striker, leads[0].holder)
                await self._go_on(trading)
            except Aborted as error:
                return str(error)
            except ApiError as error:
                return f"the API server did not do its part: {error}"
            finally:
                await striker.clear_up()
                await self._bring_back()
                over.set()
        return ""

    async def _move_it(self, other: Shard, trading: Trading) -> None:
        """The symbol to the other shard, to be traded there for a while, and back."""
        source, target = self.shard.shard.metadata.name, other.shard.metadata.name
        heed = partial(self._heed_all, trading)
        mover = self._mover = Mover(self.api, self.rehearsal, source, target, self.clock, heed)
        within_s = self.strike.lasts_s
        self._asked_ms = self.clock()
        away = await mover.away(within_s)
        self._struck_ms = self.clock()
        self._step(2, f"{self.strike.sentence}: {_told(away)}")
        held_s = max(HOLD_S, self.rehearsal.spec.load.seconds / 2)
        while self.clock() < self._struck_ms + held_s * 1000 or trading.heard.since(self._struck_ms) < AFTER_LEAST:
            self._heed_all(trading)
            await asyncio.sleep(POLL_S)
        back = await mover.back(within_s)
        self._lifted_ms = self.clock()
        self._step(3, _told(back))

    async def _bring_back(self) -> None:
        """A symbol that is still away, whatever came between: orders go on until it is back, or nobody waits longer."""
        if self._mover is None:
            return
        was_back = self._mover.is_back
        if problem := await self._mover.restore():
            self._blind.append(problem)
        elif self._mover.is_away and not was_back:
            self._lifted_ms = self.clock()
            self._step(3, f"{self.rehearsal.spec.load.symbol} is back in shard {self._mover.source}")
        self._bite = self._mover.bite if self._struck_ms is not None else None

    async def _steadily(self, trading: Trading) -> None:
        deadline_ms = self.clock() + int(STEADY_WITHIN_S * 1000)
        while self.clock() < deadline_ms:
            self._heed()
            heard = trading.heard
            if heard.since(0) >= STEADY_LEAST and self.clock() - heard.at_ms[0] >= STEADY_S * 1000:
                self._step(1, f"{len(heard.orders)} of them in {self.clock() - heard.at_ms[0]} ms")
                return
            await asyncio.sleep(POLL_S)
        raise Aborted(
            f"{len(trading.heard.orders)} orders were acknowledged in {STEADY_WITHIN_S:g} s; first of what was said "
            f"instead: {trading.heard.said_first or 'nothing'}"
        )

    async def _break_it(self, striker: Striker, leader: str) -> None:
        """Asks for the fault and waits for its end, and heeds what it does meanwhile."""
        strike = self.strike
        victims = await striker.victims(strike.target, leader)
        async with self._beside_the_disk(victims[0]):
            under: list[Struck] = []
            if strike.under is not None:
                others = await striker.victims(strike.under.target, leader)
                under = await striker.begin(strike.under, others, "under")
                await striker.until_struck(under)
            self._asked_ms = self.clock()
            struck = await self._strike_all(striker, victims)
        self._bite, self._lifted_ms = struck.bite, struck.over_ms
        if strike.under is not None:
            await striker.until_over(under, strike.under.lasts_s)
            self._under = _under(under)
        is_nothing_left = strike.deed in {Deed.KILL, Deed.RESTART}
        self._step(3, "nothing was left to take away" if is_nothing_left else "")

    async def _strike_all(self, striker: Striker, victims: Sequence[Object]) -> Struck:
        """Until it is over. What became of it is known also when that was nothing good."""
        strike = self.strike
        if strike.deed is Deed.RESTART:
            struck = await striker.restart(victims, strike.lasts_s)
            self._told_of(struck, victims)
            return struck
        (struck,) = await striker.begin(strike, victims, "strike")
        try:
            await striker.until_struck([struck])
            self._told_of(struck, victims)
            await striker.until_over([struck], strike.lasts_s)
        finally:
            self._bite = struck.bite
        return struck

    @contextlib.asynccontextmanager
    async def _beside_the_disk(self, victim: Object) -> AsyncIterator[None]:
        """Looks at the engine's disk, for a while before the block too, where the fault is one of the disk."""
        if self.strike.deed is not Deed.SLOW:
            yield
            return
        self._disk = DiskWatch(self.shard, self.clock)
        async with _background(self._disk.run(victim)):
            await asyncio.sleep(DISK_BEFORE_S)
            yield

    def _told_of(self, struck: Struck, victims: Sequence[Object]) -> None:
        self._struck_ms = struck.struck_ms
        pods = ", ".join(victim["metadata"]["name"] for victim in victims)
        besides = f", while {self.strike.under.sentence}" if self.strike.under is not None else ""
        self._step(2, f"{self.strike.sentence}: {pods}{besides}", struck.struck_ms)

    async def _go_on(self, trading: Trading) -> None:
        """Until orders have gone on for a while after the fault, and for as long as was asked for."""
        assert self._lifted_ms is not None
        spec = self.rehearsal.spec
        ends_ms = max(spec.load.seconds * 1000, self._lifted_ms + int(AFTER_S * 1000))
        told = False
        while self.clock() < ends_ms or not told:
            self._heed_all(trading)
            if not told and trading.heard.since(self._lifted_ms) >= AFTER_LEAST:
                self._step(4)
                told = True
            await asyncio.sleep(POLL_S)

    def _heed_all(self, trading: Trading) -> None:
        self._heed()
        self._abort_if_it_hurts(trading)

    def _heed(self) -> None:
        if self.stop.is_set():
            raise Aborted(self.why_stop)

    def _abort_if_it_hurts(self, trading: Trading) -> None:
        limits, now_ms = self.rehearsal.spec.abort_when, self.clock()
        if (silent_ms := trading.heard.silent_ms(now_ms)) > limits.longest_pause_seconds * 1000:
            raise Aborted(f"no order was acknowledged for {silent_ms} ms: {trading.heard.said_first}")
        if (percent := trading.heard.error_percent(now_ms)) > limits.error_percent:
            raise Aborted(f"{percent} % of the orders got no acknowledgement: {trading.heard.said_first}")

    @contextlib.asynccontextmanager
    async def _halt(self, halted: HaltedOrders | None) -> AsyncIterator[None]:
        """A Halt for the time of the block. It has a time of its own, should nobody take it away."""
        if halted is None:
            yield
            return
        metadata = self.rehearsal.metadata
        spec = {
            "exchange": self.rehearsal.spec.exchange,
            "symbols": [halted.symbol],
            "reason": f"Rehearsal {metadata.name} looks whether it stays halted",
            "duration": f"{self.rehearsal.spec.timeout_seconds}s",
        }
        owner = owner_of(self.rehearsal)
        name = {"name": halt_name(self.rehearsal), "namespace": metadata.namespace, "ownerReferences": [owner]}
        made = Halt.model_validate(await self.api.create(Halt.resource, {"metadata": name, "spec": spec}))
        try:
            await self._halted(made.metadata.name)
            yield
        finally:
            await self.api.delete(Halt.resource, metadata.namespace, made.metadata.name, made.metadata.uid)

    async def _halted(self, name: str) -> None:
        deadline_s = time.monotonic() + HALTED_WITHIN_S
        while time.monotonic() < deadline_s:
            found = await self.api.get(Halt.resource, self.shard.namespace, name)
            said = Halt.model_validate(found).status.by(self.shard.shard.metadata.name) if found else None
            if said is not None and said.state is AcknowledgementState.HALTED:
                return
            await asyncio.sleep(POLL_S)
        self._blind.append(f"the Halt {name} was not acknowledged in {HALTED_WITHIN_S:g} s")

    def _step(self, number: int, said: str = "", at_ms: int | None = None) -> None:
        """`at_ms`: None, just now."""
        self._steps.append(Step(name=STEPS[number], at_ms=self.clock() if at_ms is None else at_ms, said=said))


def owner_of(rehearsal: Rehearsal) -> Object:
    return {
        "apiVersion": rehearsal.resource.api_version,
        "kind": rehearsal.resource.kind,
        "name": rehearsal.metadata.name,
        "uid": rehearsal.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def halt_name(rehearsal: Rehearsal) -> str:
    return f"{rehearsal.metadata.name}-halt"


def facts_of_nothing(rehearsal: Rehearsal, why: str) -> Facts:
    """Of a rehearsal of which nobody knows what became."""
    return Facts(scenario=rehearsal.spec.scenario, lasted_ms=0, aborted=why, load=LoadFacts(), stream=StreamFacts())


async def _settled(settling: Settling, record: RecordWatch, begun_seq: int) -> ShardFacts:
    """Of one shard when it has come to rest, but for its logs."""
    states, ledger = await settling.shard_and_ledger(record)
    status = await settling.status(record)
    return ShardFacts(
        shard=settling.shard.shard.metadata.name,
        begun_seq=begun_seq,
        leaders=tuple(record.seen),
        members=len(settling.shard.members),
        engines=states,
        ledger=ledger,
        status=status,
    )


def _together(
    settling: Sequence[Settling], records: Sequence[RecordWatch], heard: Acknowledgements
) -> TogetherFacts | None:
    """Of the log of whoever leads in each shard. None: not all of them were read."""
    holders = [record.seen[-1].holder for record in records if record.seen]
    audits = {pod: each.audits[pod] for each in settling for pod in holders if pod in each.audits}
    return compared_together(audits, heard.orders) if len(audits) == len(records) else None


def _moves(mover: Mover | None, heard: Acknowledgements, lasted_ms: int) -> tuple[MoveFacts, ...]:
    """Each with its silence: until the next one is asked for, or to the end."""
    if mover is None:
        return ()
    ends = [*(move.asked_ms for move in mover.done[1:]), lasted_ms]
    return tuple(
        move.model_copy(update={"silent_ms": heard.longest_ms(move.asked_ms, end_ms)})
        for move, end_ms in zip(mover.done, ends, strict=False)
    )


def _told(move: MoveFacts) -> str:
    paused = "unknown" if move.paused_ms is None else f"{move.paused_ms} ms"
    return f"{move.symbol} from shard {move.from_shard} to {move.to_shard}, traded in neither for {paused}"


def _under(blows: Sequence[Struck]) -> Under:
    """It was there while it was there on every node."""
    struck = [blow.struck_ms for blow in blows if blow.struck_ms is not None]
    over = [blow.over_ms for blow in blows if blow.over_ms is not None]
    return Under(
        bites=tuple(blow.bite for blow in blows if blow.bite is not None),
        struck_ms=max(struck, default=None),
        lifted_ms=min(over, default=None),
    )


@contextlib.asynccontextmanager
async def _background(work: object) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
