"""A Halt is imposed, acknowledged and lifted by the shard itself, whatever was lost or restarted on the way."""

import asyncio
import datetime
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from fixtures.apiservers import ADMIN_TOKEN, RunningApiServer
from fixtures.engines import EngineFactory
from openbourse.contracts import v1
from openbourse.contracts.apiserver import ApiServer, Object, Resource
from openbourse.contracts.resources import Acknowledgement, AcknowledgementState, Halt, HaltMode
from openbourse.engine.halts import Step, acknowledgement, decide, halt_name, watch_halts

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
UIDS = [f"00000000-0000-0000-0000-00000000000{digit}" for digit in range(3)]
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


@dataclass(slots=True)
class NaiveShard:
    """What a shard does with halts, and nothing else: answers a resent command as the first time."""

    refuses: bool = False
    in_force: dict[str, v1.ImposeHalt] = field(default_factory=dict)
    replies: dict[bytes, v1.Reply] = field(default_factory=dict)
    seq: int = 100

    async def sequence(self, command: v1.Command) -> v1.Reply:
        return self.step(command)

    def step(self, command: v1.Command) -> v1.Reply:
        assert len(command.command_id) == 16
        if command.command_id in self.replies:
            return self.replies[command.command_id]
        self.seq += 1
        reply = v1.Reply(command_id=command.command_id, shard="main", epoch=1, seq=self.seq, done=v1.Done())
        reply.occurred_at_us = int(NOW.timestamp() * 1e6)
        match command.WhichOneof("body"):
            case "impose_halt" if self.refuses:
                reason = v1.RejectReason.REJECT_REASON_UNKNOWN_SYMBOL
                reply.rejection.CopyFrom(v1.Rejection(reason=reason, detail="symbol X is not listed"))
            case "impose_halt":
                self.in_force[command.impose_halt.halt] = command.impose_halt
            case "lift_halt":
                if self.in_force.pop(command.lift_halt.halt, None) is None:
                    reason = v1.RejectReason.REJECT_REASON_UNKNOWN_HALT
                    reply.rejection.CopyFrom(v1.Rejection(reason=reason))
            case other:
                raise AssertionError(other)
        self.replies[command.command_id] = reply
        return reply


def a_halt(
    number: int,
    *,
    ends_in: datetime.timedelta | None,
    deleted: bool,
    state: str | None,
    reopen: dict[str, object] | None = None,
    **spec: object,
) -> Halt:
    created = NOW - 10 * MINUTE
    acknowledgements = [{"shard": "main", "epoch": 1, "seq": 7, "state": state, "at": created}] if state else []
    duration = None if ends_in is None else f"{int((10 * MINUTE + ends_in).total_seconds())}s"
    return Halt.model_validate(
        {
            "metadata": {
                "name": f"halt-{number}",
                "uid": UIDS[number],
                "creationTimestamp": created,
                "deletionTimestamp": NOW if deleted else None,
                "resourceVersion": "1",
            },
            "spec": {
                "exchange": "demo",
                "reason": "why",
                "duration": duration,
                "untilLifted": duration is None,
                "reopen": reopen or {},
                **spec,
            },
            "status": {"acknowledgements": acknowledgements},
        }
    )


def every_halt(number: int) -> Iterator[tuple[Halt, bool]]:
    """Every state of a Halt that matters, beside whether the shard has it in force."""
    ends = (None, MINUTE, -MINUTE)
    states = (None, *AcknowledgementState)
    for ends_in, deleted, state, in_force in itertools.product(ends, (False, True), states, (False, True)):
        reopen = {"mode": "AUCTION", "seconds": 30} if number else None
        yield a_halt(number, ends_in=ends_in, deleted=deleted, state=state, reopen=reopen), in_force


def acknowledged(halt: Halt, entry: Acknowledgement) -> Halt:
    return halt.model_copy(update={"status": halt.status.model_copy(update={"acknowledgements": (entry,)})})


def settle(shard: NaiveShard, halts: dict[str, Halt], now: datetime.datetime, *, retry: bool) -> int:
    """Carries out what is decided until nothing is; gives the number of commands."""
    for count in itertools.count():
        assert count < 10, "it goes on and on"
        steps = decide(halts.values(), shard.in_force, "main", now, retry=retry and count == 0).steps
        if not steps:
            return count
        for step in steps:
            entry = acknowledgement(step, shard.step(step.command))
            if step.halt is not None:
                name = halt_name(step.halt)
                halts[name] = acknowledged(halts[name], entry)
    raise AssertionError


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("refuses", [False, True])
def test_every_small_world_settles_with_the_market_as_the_halts_ask(refuses: bool, retry: bool) -> None:
    worlds = 0
    for one, two in itertools.product(every_halt(0), every_halt(1)):
        worlds += 1
        shard = NaiveShard(refuses=refuses)
        foreign, gone = "direct:night", f"halt-2/{UIDS[2]}"
        shard.in_force = {halt_name(halt): v1.ImposeHalt() for halt, in_force in (one, two) if in_force}
        shard.in_force |= {foreign: v1.ImposeHalt(), gone: v1.ImposeHalt()}
        before = {halt_name(halt): halt for halt, _ in (one, two)}
        after = dict(before)
        settle(shard, after, NOW, retry=retry)

        assert foreign in shard.in_force
        assert gone not in shard.in_force
        for halt, was_in_force in (one, two):
            name = halt_name(halt)
            was, entry = halt.status.by("main"), after[name].status.by("main")
            over = halt.metadata.deletion_timestamp is not None or (halt.ends_at is not None and halt.ends_at <= NOW)
            if over or (was is not None and was.state is AcknowledgementState.LIFTED):
                assert name not in shard.in_force
                assert entry is None or entry.state is not AcknowledgementState.HALTED
                if was_in_force:
                    assert entry is not None
                    assert entry.state is AcknowledgementState.LIFTED
            elif was is None or retry:
                assert entry is not None
                if refuses and not (was_in_force and was is not None and was.state is AcknowledgementState.HALTED):
                    assert entry.state is AcknowledgementState.REFUSED
                else:
                    assert entry.state is AcknowledgementState.HALTED
                    assert name in shard.in_force
            else:
                # An answer stands until the next list: nothing is asked for again and again.
                assert entry == was
                assert (name in shard.in_force) == was_in_force
    assert worlds == 48 * 48


def test_a_halt_of_other_shards_is_neither_imposed_nor_acknowledged() -> None:
    theirs = a_halt(0, ends_in=None, deleted=False, state=None, shards=("other",))
    ours = a_halt(1, ends_in=None, deleted=False, state=None, shards=("other", "main"))
    (step,) = decide([theirs, ours], [], "main", NOW, retry=True).steps
    assert step.halt == ours
    assert decide([theirs], [halt_name(theirs)], "main", NOW, retry=True).steps[0].command.HasField("lift_halt")


def test_no_edit_of_its_status_lifts_a_halt_that_takes_two_people() -> None:
    shard = NaiveShard()
    halt = a_halt(0, ends_in=None, deleted=False, state="Lifted", requester="ann", twoPerson=True)
    shard.in_force = {halt_name(halt): v1.ImposeHalt()}
    halts = {halt_name(halt): halt}
    settle(shard, halts, NOW, retry=True)
    assert list(shard.in_force) == [halt_name(halt)]
    assert [entry.state for entry in halts[halt_name(halt)].status.acknowledgements] == ["Halted"]
    deleted = a_halt(0, ends_in=None, deleted=True, state="Halted", requester="ann", twoPerson=True)
    settle(shard, {halt_name(deleted): deleted}, NOW, retry=True)
    assert not shard.in_force


def test_a_refused_halt_is_in_force_once_its_symbol_is_listed() -> None:
    shard, halt = NaiveShard(refuses=True), a_halt(0, ends_in=None, deleted=False, state=None)
    halts = {halt_name(halt): halt}
    settle(shard, halts, NOW, retry=True)
    assert settle(shard, halts, NOW, retry=False) == 0
    shard.refuses = False
    settle(shard, halts, NOW, retry=True)
    assert list(shard.in_force) == [halt_name(halt)]


def test_an_answer_that_was_lost_is_fetched_with_the_same_command() -> None:
    shard, halt = NaiveShard(), a_halt(0, ends_in=MINUTE, deleted=False, state=None)
    (first,) = decide([halt], [], "main", NOW, retry=True).steps
    reply = shard.step(first.command)
    # The process ends here, before the acknowledgement; the log has brought the halt back.
    (again,) = decide([halt], list(shard.in_force), "main", NOW, retry=True).steps
    assert again.command == first.command
    assert shard.step(again.command) == reply
    assert acknowledgement(again, reply).seq == reply.seq


def test_it_looks_again_when_the_first_of_its_halts_ends() -> None:
    halts = [a_halt(n, ends_in=end, deleted=False, state=None) for n, end in enumerate((None, 2 * MINUTE, MINUTE))]
    assert decide(halts, [], "main", NOW, retry=True).look_again_at == NOW + MINUTE
    assert decide(halts[:1], [], "main", NOW, retry=True).look_again_at is None


def test_a_stop_goes_before_a_lift() -> None:
    new, old = a_halt(1, ends_in=None, deleted=False, state=None), a_halt(0, ends_in=-MINUTE, deleted=False, state=None)
    steps = decide([old, new], [halt_name(old)], "main", NOW, retry=True).steps
    assert [step.command.WhichOneof("body") for step in steps] == ["impose_halt", "lift_halt"]


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("reopen", "state", "milliseconds"),
    [
        ({}, v1.SymbolState.SYMBOL_STATE_TRADING, 0),
        ({"mode": "POST_ONLY", "seconds": 1}, v1.SymbolState.SYMBOL_STATE_POST_ONLY, 1_000),
        ({"mode": "AUCTION", "seconds": 86_400}, v1.SymbolState.SYMBOL_STATE_AUCTION, 86_400_000),
    ],
)
def test_a_halt_is_lifted_as_it_said_also_when_nothing_is_left_of_it(
    reopen: dict[str, object], state: v1.SymbolState.ValueType, milliseconds: int, gone: bool
) -> None:
    halt = a_halt(0, ends_in=-MINUTE, deleted=False, state="Halted", reopen=reopen)
    (step,) = decide([] if gone else [halt], [halt_name(halt)], "main", NOW, retry=True).steps
    lift = step.command.lift_halt
    assert (lift.halt, lift.reopen, lift.reopen_ms) == (halt_name(halt), state, milliseconds)


def test_a_halt_of_each_mode_is_imposed_as_its_state() -> None:
    for mode in HaltMode:
        halt = a_halt(0, ends_in=None, deleted=False, state=None)
        halt = halt.model_copy(update={"spec": halt.spec.model_copy(update={"mode": mode})})
        (step,) = decide([halt], [], "main", NOW, retry=True).steps
        assert v1.SymbolState.Name(step.command.impose_halt.state) == f"SYMBOL_STATE_{mode}"


def test_the_acknowledgement_says_who_what_and_where() -> None:
    halt = a_halt(0, ends_in=None, deleted=False, state=None)
    (step,) = decide([halt], [], "main", NOW, retry=True).steps
    assert step == Step(step.command, halt)
    assert step.command.causation_id == step.command.impose_halt.halt == f"halt-0/{UIDS[0]}"
    entry = acknowledgement(step, NaiveShard().step(step.command))
    assert (entry.shard, entry.epoch, entry.seq, entry.state, entry.at) == ("main", 1, 101, "Halted", NOW)


@pytest.fixture
async def namespace(api: ApiServer) -> str:
    name = f"halts-{os.urandom(4).hex()}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    return name


@asynccontextmanager
async def watching(server: RunningApiServer, namespace: str, shard: NaiveShard) -> AsyncIterator[None]:
    stop = asyncio.Event()
    watch = watch_halts(
        namespace=namespace,
        exchange="demo",
        shard="main",
        sequence=shard.sequence,
        in_force=lambda: tuple(shard.in_force),
        stop=stop,
        credentials=server.credentials(),
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(watch)
        yield
        stop.set()


async def the_state(api: ApiServer, namespace: str, name: str, state: str) -> float:
    """Waits until the shard's entry says so; gives the seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < 15:
        stored = await api.get(Halt.resource, namespace, name)
        assert stored is not None
        entry = Halt.model_validate(stored).status.by("main")
        if entry is not None and entry.state == state:
            return time.monotonic() - began
        await asyncio.sleep(0.005)
    raise AssertionError(f"{name} is not {state}")


def a_stored_halt(namespace: str, name: str, **spec: object) -> Object:
    spec = {"exchange": "demo", "reason": "why"} | ({"untilLifted": True} if "duration" not in spec else {}) | spec
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.mark.server
async def test_a_halt_is_acknowledged_within_a_second_and_lifted_when_it_is_deleted(
    api_server: RunningApiServer, api: ApiServer, namespace: str
) -> None:
    shard = NaiveShard()
    async with watching(api_server, namespace, shard):
        await api.create(Halt.resource, a_stored_halt(namespace, "first"))
        await the_state(api, namespace, "first", "Halted")  # connections are warm from here
        times = []
        for number in range(20):
            await api.create(Halt.resource, a_stored_halt(namespace, f"halt-{number}"))
            times.append(await the_state(api, namespace, f"halt-{number}", "Halted"))
        assert max(times) < 1
        assert len(shard.in_force) == 21
        for number in range(20):
            await api.delete(Halt.resource, namespace, f"halt-{number}")
        began = time.monotonic()
        while len(shard.in_force) > 1:
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.01)
    assert shard.seq == 100 + 21 + 20, "each command was sequenced once"


@pytest.mark.server
async def test_a_halt_lifts_itself_when_its_time_is_over(
    api_server: RunningApiServer, api: ApiServer, namespace: str
) -> None:
    shard = NaiveShard()
    async with watching(api_server, namespace, shard):
        await api.create(Halt.resource, a_stored_halt(namespace, "short", duration="2s", mode="CANCEL_ONLY"))
        await the_state(api, namespace, "short", "Halted")
        (imposed,) = shard.in_force.values()
        assert imposed.state == v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY
        # Creation times are whole seconds.
        assert 0.5 < await the_state(api, namespace, "short", "Lifted") < 4
        assert not shard.in_force


@pytest.mark.server
async def test_halts_of_other_exchanges_are_left_alone(
    api_server: RunningApiServer, api: ApiServer, namespace: str
) -> None:
    shard = NaiveShard()
    async with watching(api_server, namespace, shard):
        await api.create(Halt.resource, a_stored_halt(namespace, "theirs", exchange="other"))
        await api.create(Halt.resource, a_stored_halt(namespace, "ours"))
        await the_state(api, namespace, "ours", "Halted")
        assert [name.partition("/")[0] for name in shard.in_force] == ["ours"]


@pytest.mark.server
async def test_a_restart_finds_what_was_changed_meanwhile(
    api_server: RunningApiServer, api: ApiServer, namespace: str
) -> None:
    shard = NaiveShard()
    async with watching(api_server, namespace, shard):
        for name in ("stays", "goes"):
            await api.create(Halt.resource, a_stored_halt(namespace, name))
            await the_state(api, namespace, name, "Halted")
    await api.delete(Halt.resource, namespace, "goes")
    await api.create(Halt.resource, a_stored_halt(namespace, "comes"))
    async with watching(api_server, namespace, shard):
        await the_state(api, namespace, "comes", "Halted")
        await asyncio.sleep(0.1)
        assert sorted(name.partition("/")[0] for name in shard.in_force) == ["comes", "stays"]
    assert shard.seq == 104


@pytest.mark.server
async def test_an_acknowledgement_that_was_taken_away_is_written_again(
    api_server: RunningApiServer, api: ApiServer, namespace: str
) -> None:
    shard = NaiveShard()
    async with watching(api_server, namespace, shard):
        stored = await api.create(Halt.resource, a_stored_halt(namespace, "stop"))
        await the_state(api, namespace, "stop", "Halted")
        empty = {"metadata": {"name": "stop", "namespace": namespace}, "status": {"acknowledgements": []}}
        await api.apply(Halt.resource, empty, "openbourse-engine-main", "status")
        await the_state(api, namespace, "stop", "Halted")
        assert stored["metadata"]["uid"] in next(iter(shard.in_force))
    assert shard.seq == 101


@pytest.mark.server
async def test_no_api_server_ends_nothing_and_stops_at_once(api_server: RunningApiServer) -> None:
    credentials = api_server.credentials()
    credentials.url = "https://127.0.0.1:1"
    stop = asyncio.Event()
    shard = NaiveShard()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(
            watch_halts(
                namespace="none",
                exchange="demo",
                shard="main",
                sequence=shard.sequence,
                in_force=tuple,
                stop=stop,
                credentials=credentials,
            )
        )
        await asyncio.sleep(1)
        stop.set()


@pytest.mark.server
async def test_a_real_engine_halts_and_stays_halted_through_a_crash(
    api_server: RunningApiServer,
    api: ApiServer,
    namespace: str,
    engine_factory: EngineFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    engine = engine_factory("--halts-namespace", namespace, "--exchange", "demo")

    def halts() -> list[str]:
        return sorted(halt["name"].partition("/")[0] for halt in engine.status()["halts"])

    await asyncio.to_thread(engine.start)
    await api.create(Halt.resource, a_stored_halt(namespace, "first"))
    await the_state(api, namespace, "first", "Halted")
    await api.create(Halt.resource, a_stored_halt(namespace, "second", symbols=["BTCUSDT", "NOTYETUSDT"]))
    assert await the_state(api, namespace, "second", "Halted") < 1
    assert halts() == ["first", "second"]
    before = Halt.model_validate(await api.get(Halt.resource, namespace, "first")).status.by("main")

    await asyncio.to_thread(engine.kill)
    await api.delete(Halt.resource, namespace, "second")
    await asyncio.to_thread(engine.start)
    began = time.monotonic()
    while halts() != ["first"]:
        assert time.monotonic() - began < 5, halts()
        await asyncio.sleep(0.02)
    assert Halt.model_validate(await api.get(Halt.resource, namespace, "first")).status.by("main") == before
    assert await asyncio.to_thread(engine.stop) == 0
