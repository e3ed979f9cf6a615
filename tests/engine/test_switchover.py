"""Planned switchovers of two real engines under load: a leader that is told to stop hands over first."""

import asyncio
import signal

import pytest

from fixtures.failover_load import judge, under_load
from fixtures.figures import Show
from fixtures.members import RunningShard

pytestmark = pytest.mark.server

TIMES = 6
# A take-over that was not planned takes about as long, for its suspicion alone.
PAUSE_MS_USUAL = 300
# A disk that syncs for a second stands in the way of anybody.
PAUSE_MS_MOST = 5_000


@pytest.mark.alone
@pytest.mark.timeout(240)
async def test_a_leader_that_is_told_to_stop_hands_over_first_and_nothing_is_lost(
    pair: RunningShard, show: Show
) -> None:
    pauses_ms, inner_ms = [], []
    async with under_load(pair) as load:
        for _ in range(TIMES):
            leader = await asyncio.to_thread(pair.wait_for_leader, 2)
            await asyncio.sleep(0.3)
            load.pause_s()
            assert await asyncio.to_thread(leader.stop) == 0
            next_leader = await asyncio.to_thread(pair.wait_for_leader)
            assert next_leader is not leader
            await asyncio.sleep(0.3)
            pauses_ms.append(load.pause_s() * 1000)
            took = next_leader.status()["last_failover"]
            assert took["planned"] is True
            inner_ms.append(took["acknowledged_ms"])
            await asyncio.to_thread(leader.start)
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    assert leader.status()["epoch"] == TIMES + 1
    pauses = ", ".join(f"{pause_ms:.0f}" for pause_ms in sorted(pauses_ms))
    show(
        f"{TIMES} planned switchovers by SIGTERM: no answer for {pauses} ms; "
        f"of it from the old leader's release to the first answer {', '.join(map(str, sorted(inner_ms)))} ms"
    )
    assert sorted(pauses_ms)[TIMES // 2] < PAUSE_MS_USUAL
    assert max(pauses_ms) < PAUSE_MS_MOST
    verdict = judge(load, leader)
    assert verdict.is_good, verdict
    assert len(load.told) > 1000


async def test_a_leader_whose_successor_does_not_answer_stops_all_the_same_and_within_seconds(
    pair: RunningShard,
) -> None:
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    (standby,) = (member for member in pair.members if member is not leader)
    assert standby.process is not None
    standby.process.send_signal(signal.SIGSTOP)
    try:
        assert await asyncio.to_thread(leader.stop) == 0
    finally:
        standby.process.send_signal(signal.SIGCONT)
    assert "leads on in epoch 1" in leader.log.read_text()
    await asyncio.to_thread(leader.start)
    assert (await asyncio.to_thread(pair.wait_for_leader, 2)).status()["epoch"] == 2
