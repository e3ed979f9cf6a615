"""Real engines under load, and one fault after the other: kill -9, SIGSTOP, cut links, disks that refuse or are slow.

At random moments and at named points. Twenty of them in `make test`, FAULTS of them in `make soak`; SEED repeats the
order. What clients were told is held against the log, and a consumer of the committed stream goes through all of it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fixtures import campaigns
from fixtures.campaigns import Campaign, Fault, Outcome
from fixtures.commands import sell
from fixtures.disks import Disks, ThinDisk, fill
from fixtures.engines import EngineFactory, RunningEngine
from fixtures.figures import Show
from fixtures.members import RunningShard, make_shard
from fixtures.networks import NetworkedShard
from fixtures.traced import killed_at, killed_between_sync_and_reply, slow_syncs
from openbourse.contracts.component import Component
from openbourse.contracts.unanswered import Unavailable

pytestmark = [pytest.mark.server, pytest.mark.soak]

FAULTS = int(os.environ.get("FAULTS", "20"))
ISOLATED_S = 0.5
POINT_S = 20.0
SNAPSHOT_COMMANDS = 3000
DISK_BYTES = 64 << 20


def share(of_twenty: int) -> int:
    """How many of all faults, when it is so many of twenty."""
    return max(of_twenty * FAULTS // 20, 1)


def signalled(engine: RunningEngine, number: signal.Signals) -> None:
    assert engine.process is not None
    engine.process.send_signal(number)


async def at_point(what: str, holds: Callable[[], bool]) -> None:
    """As soon as it is so."""
    deadline = time.monotonic() + POINT_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"never so: {what}"
        await asyncio.sleep(0.001)


# Processes


async def leader_killed(campaign: Campaign[RunningShard]) -> None:
    (await campaign.leader()).kill()


async def standby_killed(campaign: Campaign[RunningShard]) -> None:
    _, standby = await campaign.both()
    standby.kill()


async def leader_frozen(campaign: Campaign[RunningShard]) -> None:
    leader = await campaign.leader()
    signalled(leader, signal.SIGSTOP)
    try:
        await campaign.leader(in_sync=1, but=leader)
        await campaign.goes_on()
    finally:
        signalled(leader, signal.SIGCONT)


async def leader_frozen_and_standby_killed(campaign: Campaign[RunningShard]) -> None:
    leader, standby = await campaign.both()
    signalled(leader, signal.SIGSTOP)
    try:
        standby.kill()
        await campaign.a_moment()
        await asyncio.to_thread(standby.start)
    finally:
        signalled(leader, signal.SIGCONT)


async def all_killed(campaign: Campaign[RunningShard]) -> None:
    """As when the power goes; what the disks had is in the page cache still."""
    for member in campaign.shard.members:
        signalled(member, signal.SIGKILL)
    for member in campaign.shard.members:
        member.kill()
    await campaign.all_run()


async def leader_killed_between_sync_and_reply(campaign: Campaign[RunningShard]) -> None:
    await asyncio.to_thread(killed_between_sync_and_reply, await campaign.leader())


async def leader_killed_as_it_syncs(campaign: Campaign[RunningShard]) -> None:
    await asyncio.to_thread(killed_at, await campaign.leader(), "fdatasync", campaign.dice.randint(1, 20))


async def leader_killed_as_it_sends(campaign: Campaign[RunningShard]) -> None:
    """Records to a standby, or replies to clients."""
    await asyncio.to_thread(killed_at, await campaign.leader(), "sendto", campaign.dice.randint(1, 60))


async def leader_killed_in_the_middle_of_a_snapshot(campaign: Campaign[RunningShard]) -> None:
    leader = await campaign.leader()
    await at_point("a snapshot is being made", lambda: bool(leader.status()["snapshot"]["making"]))
    leader.kill()


async def both_killed_during_a_take_over(campaign: Campaign[RunningShard]) -> None:
    leader, standby = await campaign.both()
    said = standby.log.stat().st_size
    leader.kill()
    await at_point("it takes over", lambda: b"asks for epoch" in standby.log.read_bytes()[said:])
    standby.kill()
    await campaign.a_moment()
    await campaign.all_run()


async def one_killed_while_the_other_is_added(campaign: Campaign[RunningShard]) -> None:
    leader, standby = await campaign.both()
    standby.kill()
    # Not waited for: an engine is ready when it is in sync, and then it has been added.
    standby.launch(standby.command())

    def is_being_added() -> bool:
        status = leader.status()
        return len(status["in_sync"]) == 1 and any(known["place"] for known in status["followers"])

    await at_point("a standby is being added", is_being_added)
    await campaign.a_moment(1.0)
    campaign.dice.choice((leader, standby)).kill()
    await campaign.all_run()


TWO_MEMBERS: Mapping[str, Fault[RunningShard]] = {
    "leader killed": leader_killed,
    "leader frozen": leader_frozen,
    "leader frozen and standby killed": leader_frozen_and_standby_killed,
    "all killed": all_killed,
    "leader killed between sync and reply": leader_killed_between_sync_and_reply,
    "leader killed in the middle of a snapshot": leader_killed_in_the_middle_of_a_snapshot,
    "one killed while the other is added": one_killed_while_the_other_is_added,
}
THREE_MEMBERS: Mapping[str, Fault[RunningShard]] = {
    "standby killed": standby_killed,
    "leader killed as it sends": leader_killed_as_it_sends,
    "leader killed as it syncs": leader_killed_as_it_syncs,
    "leader killed, and who takes over": both_killed_during_a_take_over,
    "leader frozen and standby killed": leader_frozen_and_standby_killed,
}


# Links and the leadership record


async def link_cut(campaign: Campaign[NetworkedShard]) -> None:
    """Both reach the record, so one of them goes on alone."""
    campaign.shard.network.cut(0, 1)
    await campaign.goes_on()
    campaign.shard.mend()


async def leader_cut_off(campaign: Campaign[NetworkedShard]) -> None:
    """Clients reach it, and it acknowledges nothing."""
    leader = await campaign.leader()
    campaign.shard.isolate(leader)
    await campaign.leader(in_sync=1, but=leader)
    async with leader.session(Component.GATEWAY) as gateway:
        with pytest.raises(Unavailable):
            await gateway.command(sell(30_000_00, 1), ISOLATED_S)
    await campaign.goes_on()
    campaign.shard.mend()


async def record_away(campaign: Campaign[NetworkedShard]) -> None:
    """Trading goes on, and the trouble is said."""
    leader = await campaign.leader()
    for member in range(2):
        campaign.shard.records.cut(member)
    await at_point("it is said", lambda: leader.status()["record"] != "")
    await campaign.goes_on()
    campaign.shard.mend()
    await at_point("it is over", lambda: leader.status()["record"] == "")


async def standby_killed_while_the_record_is_away(campaign: Campaign[NetworkedShard]) -> None:
    """Nothing is committed before the standby is out of the record."""
    leader, standby = await campaign.both()
    campaign.shard.records.cut(campaign.shard.members.index(leader))
    standby.kill()
    await asyncio.sleep(ISOLATED_S)
    before = len(campaign.load.told)
    await asyncio.sleep(ISOLATED_S)
    assert len(campaign.load.told) == before, "a leader went on without a standby that counts"
    campaign.shard.mend()


NETWORK: Mapping[str, Fault[NetworkedShard]] = {
    "link cut": link_cut,
    "leader cut off": leader_cut_off,
    "record away": record_away,
    "standby killed while the record is away": standby_killed_while_the_record_is_away,
}


# Disks


class DiskFaults:
    """Of a shard whose members have each a disk of their own."""

    def __init__(self, disks: Mapping[Path, ThinDisk]) -> None:
        self._disks = disks

    def all(self) -> Mapping[str, Fault[RunningShard]]:
        return {
            "standby's disk full": self.standby_full,
            "leader's disk full": self.leader_full,
            "standby's disk slow": self.standby_slow,
            "leader's disk fails": self.leader_fails,
        }

    async def standby_full(self, campaign: Campaign[RunningShard]) -> None:
        _, standby = await campaign.both()
        ballast = await asyncio.to_thread(fill, standby.wal)
        await at_point("it has no room", lambda: standby.status()["disk"]["state"] == "no_room")
        await campaign.goes_on()
        ballast.unlink()

    async def leader_full(self, campaign: Campaign[RunningShard]) -> None:
        """It leaves the lead to the other."""
        leader = await campaign.leader()
        ballast = await asyncio.to_thread(fill, leader.wal)
        other = await campaign.leader(in_sync=1, but=leader)
        assert other is not leader
        await campaign.goes_on()
        ballast.unlink()

    async def standby_slow(self, campaign: Campaign[RunningShard]) -> None:
        _, standby = await campaign.both()
        with slow_syncs(standby, 100):
            for _ in range(3):
                await campaign.goes_on()

    async def leader_fails(self, campaign: Campaign[RunningShard]) -> None:
        leader = await campaign.leader()
        disk = self._disks[leader.wal]
        await asyncio.to_thread(disk.exhaust)
        await campaign.leader(in_sync=1, but=leader)
        await campaign.goes_on()
        await asyncio.to_thread(disk.refill)
        assert leader.process is not None
        if leader.process.poll() is not None:
            # It found out at its start, and ended; whoever runs it starts it again.
            leader.process = None


# The campaigns


class Tally:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def line(self) -> str:
        pauses = sorted(pause for outcome in self.outcomes for pause in outcome.pauses_ms)
        return (
            f"real faults: {len(pauses)}, acknowledged {sum(outcome.acknowledged for outcome in self.outcomes)}, "
            f"lost {sum(len(outcome.verdict.lost) for outcome in self.outcomes)}, "
            f"repeated {sum(len(outcome.verdict.repeated) for outcome in self.outcomes)}, "
            f"pauses p50 {pauses[len(pauses) // 2]:.0f} ms, max {pauses[-1]:.0f} ms"
        )


@pytest.fixture(scope="module")
def tally() -> Tally:
    """Of all campaigns of this file."""
    return Tally()


@pytest.fixture
def seed() -> int:
    return campaigns.new_seed()


Say = Callable[[str, Outcome], None]


@pytest.fixture
def say(tally: Tally, seed: int, show: Show) -> Say:
    def say(what: str, outcome: Outcome) -> None:
        tally.outcomes.append(outcome)
        show(f"faults of {what}, SEED={seed}: {outcome}; {', '.join(outcome.faults)}")

    return say


@pytest.fixture
def trio(engine_factory: EngineFactory, tmp_path: Path) -> RunningShard:
    shard = make_shard(engine_factory, tmp_path, 3)
    shard.start()
    return shard


@pytest.fixture
def snapshotting_pair(engine_factory: EngineFactory, tmp_path: Path) -> RunningShard:
    shard = make_shard(engine_factory, tmp_path, 2, "--snapshot-commands", str(SNAPSHOT_COMMANDS))
    shard.start()
    return shard


@pytest.mark.timeout(120 + 12 * FAULTS)
@pytest.mark.usefixtures("tracer")
async def test_two_members_lose_nothing_by_any_fault_of_their_processes(
    snapshotting_pair: RunningShard, seed: int, say: Say
) -> None:
    say("two members", await campaigns.run(snapshotting_pair, TWO_MEMBERS, share(7), seed))


@pytest.mark.timeout(120 + 12 * FAULTS)
@pytest.mark.usefixtures("tracer")
async def test_three_members_lose_nothing_by_any_fault_of_their_processes(
    trio: RunningShard, seed: int, say: Say
) -> None:
    say("three members", await campaigns.run(trio, THREE_MEMBERS, share(5), seed))


@pytest.mark.timeout(120 + 12 * FAULTS)
async def test_nothing_is_lost_by_links_that_are_cut_and_a_record_that_is_away(
    networked_pair: NetworkedShard, seed: int, say: Say
) -> None:
    say("links and record", await campaigns.run(networked_pair, NETWORK, share(4), seed))


@pytest.mark.timeout(120 + 12 * FAULTS)
@pytest.mark.usefixtures("tracer")
async def test_nothing_is_lost_by_disks_that_refuse_or_are_slow(
    engine_factory: EngineFactory, tmp_path: Path, disks: Disks, seed: int, say: Say
) -> None:
    shard = make_shard(engine_factory, tmp_path, 2, "--segment-bytes", str(256 << 10))
    faults = DiskFaults({member.wal: disks.thin(member.wal, DISK_BYTES) for member in shard.members})
    shard.start()
    say("disks", await campaigns.run(shard, faults.all(), share(4), seed))


def test_all_faults_together_lost_nothing_and_repeated_nothing(tally: Tally, show: Show) -> None:
    if not tally.outcomes:
        pytest.skip("no campaign was run")
    show(tally.line())
    assert all(outcome.verdict.is_good for outcome in tally.outcomes)
    assert sum(outcome.acknowledged for outcome in tally.outcomes) > 100 * len(tally.outcomes)
