"""Two real engines of one shard under load: whichever leads is killed or frozen, and nothing acknowledged is lost."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from fixtures.commands import TIMEOUT_S, buy, sell
from fixtures.engines import RunningEngine, fund
from fixtures.members import RunningShard
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession, Unavailable
from openbourse.engine import _core, wal

pytestmark = pytest.mark.server

AT_ONCE = 16
FAULTS = 5


@dataclass
class Load:
    """What clients were told, and when they were told nothing for how long."""

    acknowledged: dict[bytes, v1.Reply] = field(default_factory=dict)
    last_s: float = 0.0
    longest_s: float = 0.0

    def heard(self, reply: v1.Reply) -> None:
        self.acknowledged[reply.command_id] = reply
        now_s = time.monotonic()
        if self.last_s:
            self.longest_s = max(self.longest_s, now_s - self.last_s)
        self.last_s = now_s

    def pause_s(self) -> float:
        """The longest since it was asked last."""
        longest_s, self.longest_s = self.longest_s, 0.0
        return longest_s


@contextlib.asynccontextmanager
async def under_load(shard: RunningShard) -> AsyncIterator[Load]:
    dice = random.Random(5)  # noqa: S311 (a load, no secret)
    load = Load()

    async def trade(gateway: EngineSession) -> None:
        while True:
            make = sell if dice.random() < 0.5 else buy
            command = make(30_000_00 + dice.randrange(20), dice.randrange(1, 50))
            with contextlib.suppress(Unavailable):
                load.heard(await gateway.command(command, 60))

    async with shard.session(Component.LEDGER) as ledger, shard.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        trading = [asyncio.create_task(trade(gateway)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0.5)
        load.pause_s()
        try:
            yield load
        finally:
            for task in trading:
                task.cancel()
            results = await asyncio.gather(*trading, return_exceptions=True)
        assert [result for result in results if not isinstance(result, asyncio.CancelledError)] == []


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n{text}", end="")  # noqa: T201 (figures that whoever runs the tests wants to see)


def lost(load: Load, leader: RunningEngine) -> list[v1.Reply]:
    """What was acknowledged and is not in the log, or was said otherwise there."""
    leader.kill()
    report = wal.verify(leader.wal)
    assert report.damaged is None
    replies: dict[bytes, v1.Reply] = {}
    kernel = _core.Kernel(leader.shard)
    for seq, epoch, time_us, _first, _chain, command in _core.Records(leader.wal, 1, report.last_seq):
        encoded, _ = kernel.step(seq, epoch, time_us, command)
        reply = v1.Reply.FromString(encoded)
        replies.setdefault(reply.command_id, reply)
    return [reply for command_id, reply in load.acknowledged.items() if replies.get(command_id) != reply]


@pytest.mark.timeout(240)
async def test_a_killed_leader_is_followed_by_its_standby_and_comes_back_as_one(
    pair: RunningShard, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses_s = []
    async with under_load(pair) as load:
        for _ in range(FAULTS):
            leader = await asyncio.to_thread(pair.wait_for_leader, 2)
            load.pause_s()
            await asyncio.to_thread(leader.kill)
            next_leader = await asyncio.to_thread(pair.wait_for_leader)
            assert next_leader is not leader
            await asyncio.sleep(0.3)
            pauses_s.append(load.pause_s())
            await asyncio.to_thread(leader.start)
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    shown = ", ".join(f"{pause_s * 1000:.0f}" for pause_s in sorted(pauses_s))
    say(capsys, f"{FAULTS} kills of the leader: no answer for {shown} ms")
    assert leader.status()["epoch"] == FAULTS + 1
    assert lost(load, leader) == []
    assert len(load.acknowledged) > 1000


@pytest.mark.timeout(240)
async def test_a_frozen_leader_is_left_and_stands_down_when_it_thaws(
    pair: RunningShard, capsys: pytest.CaptureFixture[str]
) -> None:
    async with under_load(pair) as load:
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
        assert leader.process is not None
        leader.process.send_signal(signal.SIGSTOP)
        try:
            next_leader = await asyncio.to_thread(lambda: pair.wait_for_leader(but=leader))
            await asyncio.sleep(0.5)
            pause_s = load.pause_s()
        finally:
            leader.process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(pair.wait_for_leader, 2)
        assert leader.status()["role"] in {"standby", "standby in sync"}
    say(capsys, f"a frozen leader: no answer for {pause_s * 1000:.0f} ms")
    assert lost(load, next_leader) == []


async def test_a_resend_across_a_take_over_gets_the_first_answer(pair: RunningShard) -> None:
    async with pair.session(Component.LEDGER) as ledger, pair.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        order = sell(30_000_00, 1000)
        first = await gateway.command(order, TIMEOUT_S)
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
        await asyncio.to_thread(leader.kill)
        assert await gateway.command(order, TIMEOUT_S) == first
