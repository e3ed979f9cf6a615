"""Two real engines of one shard under load: whichever leads is killed or frozen, and nothing acknowledged is lost."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import fund
from fixtures.failover_load import lost, under_load
from fixtures.figures import Show
from fixtures.members import RunningShard
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.journal import snapshots
from openbourse.engine.replication.record import CompareAndSet

pytestmark = pytest.mark.server

FAULTS = 5


@pytest.mark.alone
@pytest.mark.timeout(240)
async def test_a_killed_leader_is_followed_by_its_standby_and_comes_back_as_one(pair: RunningShard, show: Show) -> None:
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
    show(f"{FAULTS} kills of the leader: no answer for {shown} ms")
    assert leader.status()["epoch"] == FAULTS + 1
    assert lost(load, leader) == []
    assert len(load.told) > 1000


@pytest.mark.alone
@pytest.mark.timeout(240)
async def test_a_frozen_leader_is_left_and_stands_down_when_it_thaws(pair: RunningShard, show: Show) -> None:
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
    show(f"a frozen leader: no answer for {pause_s * 1000:.0f} ms")
    assert lost(load, next_leader) == []


async def test_a_resend_across_a_take_over_gets_the_first_answer(pair: RunningShard) -> None:
    async with pair.session(Component.LEDGER) as ledger, pair.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        order = sell(30_000_00, 1000)
        first = await gateway.command(order, TIMEOUT_S)
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
        await asyncio.to_thread(leader.kill)
        assert await gateway.command(order, TIMEOUT_S) == first


async def _credited(shard: RunningShard) -> None:
    async with shard.session(Component.LEDGER) as ledger:
        await fund(ledger)


async def _balances(shard: RunningShard) -> int:
    async with shard.session(Component.CLI) as session:
        answer = await session.query(v1.Query(balances=v1.BalancesQuery()), TIMEOUT_S)
        return len(answer.balances.balances)


def cut_the_power(shard: RunningShard) -> None:
    """All at once: one that is killed a moment later has taken over by then."""
    for member in shard.members:
        assert member.process is not None
        member.process.send_signal(signal.SIGKILL)
    for member in shard.members:
        member.kill()


async def test_after_a_power_cut_the_member_that_comes_back_alone_leads_on(pair: RunningShard) -> None:
    await _credited(pair)
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    cut_the_power(pair)
    await asyncio.to_thread(leader.start)
    assert await asyncio.to_thread(pair.wait_for_leader) is leader
    assert await _balances(pair) >= 2


async def test_a_standby_that_comes_back_alone_after_a_power_cut_leads_on(pair: RunningShard) -> None:
    await _credited(pair)
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    (other,) = (member for member in pair.members if member is not leader)
    cut_the_power(pair)
    await asyncio.to_thread(other.start)
    assert await asyncio.to_thread(pair.wait_for_leader) is other
    assert await _balances(pair) >= 2


async def test_members_with_snapshots_of_several_epochs_go_on_together(pair: RunningShard) -> None:
    await _credited(pair)
    for _ in range(3):
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
        await asyncio.to_thread(snapshots.make, leader.wal, leader.shard, leader.status()["committed_seq"])
        leader.kill()
        await asyncio.to_thread(pair.wait_for_leader)
        await asyncio.to_thread(leader.start)
    await asyncio.to_thread(pair.wait_for_leader, 2)


async def test_a_leader_whose_in_sync_set_somebody_edited_stops_and_says_so(pair: RunningShard, tmp_path: Path) -> None:
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    record = RecordFolder(tmp_path / "record", leader.shard)
    held = await record.read()
    assert held is not None
    edited = replace(held.record, in_sync=frozenset({"00000000000000ff", leader.status()["member"]}))
    await record.compare_and_set(CompareAndSet(held.version, edited))
    (standby,) = (member for member in pair.members if member is not leader)
    standby.kill()
    stopped = await asyncio.to_thread(leader.wait_for, "it stops", lambda status: status["role"] == "stopped")
    assert "somebody edited the record" in stopped["stopped"]
    assert not stopped["ready"]
