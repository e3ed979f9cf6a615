"""When a leader changes the log over to a later kernel: never while a member that counts, or may, does not know it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import EngineFactory, RunningEngine, fund
from fixtures.members import make_shard
from openbourse.contracts.component import Component
from openbourse.engine.kernel_versions import PATIENCE_S, Shard, decide, refusal

PLACES = ("engine-1:7002", "engine-2:7002")
ALL_KNOW = Shard(in_force=3, places=PLACES, known={"b": 4, "c": 4}, in_sync={"b", "c"}, led_s=0)

# What happens in a rolling upgrade of three members, of which c is replaced last, and what the leader says to it.
UPGRADE = """
b and c are linked, c is old     b=4 c=3   b c  0   waits for c, which knows versions up to 3: replace its engine
c goes down                      b=4       b c  1   waits for c, which is in sync, not linked, and may be old
c is taken out of the set        b=4       b    2   waits for 1 of 2 other members, 58 s at most
the old c comes back             b=4 c=3   b    5   waits for c, which knows versions up to 3: replace its engine
and is in sync again             b=4 c=3   b c  6   waits for c, which knows versions up to 3: replace its engine
it goes down for long            b=4       b    59  waits for 1 of 2 other members, 1 s at most
a new one comes in its place     b=4 c=4   b    59
and is in sync                   b=4 c=4   b c  60
"""


def test_a_rolling_upgrade_changes_the_version_when_the_last_old_member_is_replaced() -> None:
    for line in UPGRADE.strip().splitlines():
        what, known, in_sync, rest = (
            line[:33].strip(),
            line[33:43].split(),
            line[43:48].split(),
            line[48:].split(None, 1),
        )
        versions = {member: int(version) for member, version in (each.split("=") for each in known)}
        why = decide(Shard(3, PLACES, versions, in_sync, float(rest[0])), 4)
        assert why.removeprefix("kernel version 4 ") == (rest[1] if len(rest) > 1 else ""), what


@pytest.mark.parametrize(
    ("shard", "given"),
    [
        (ALL_KNOW, True),
        (replace(ALL_KNOW, known={"b": 4, "c": 3}), False),
        # Not in sync, but linked: it may be tomorrow.
        (replace(ALL_KNOW, known={"b": 4, "c": 3}, in_sync={"b"}), False),
        (replace(ALL_KNOW, known={"b": 4}), False),
        (replace(ALL_KNOW, known={"b": 4}, led_s=PATIENCE_S * 2), False),
        (replace(ALL_KNOW, known={"b": 4}, in_sync={"b"}), False),
        (replace(ALL_KNOW, known={"b": 4}, in_sync={"b"}, led_s=PATIENCE_S), True),
        (Shard(3, (), {}, (), 0), True),
        # A log that has just begun has nobody else yet.
        (Shard(1, PLACES, {}, (), 0), True),
        (Shard(1, PLACES, {"b": 3}, (), 0), False),
    ],
)
def test_it_is_given_when_everybody_who_may_count_knows_it(shard: Shard, given: bool) -> None:
    assert (decide(shard, 4) == "") is given


def test_who_does_not_know_the_version_in_force_is_not_linked_to() -> None:
    assert refusal(3, 3) == refusal(4, 3) == ""
    assert refusal(3, 4) == "it knows kernel versions up to 3, and 4 is in force: it needs a later engine"
    # Binaries from before it was said know version 3.
    assert refusal(0, 3) == ""
    assert refusal(0, 4) == refusal(3, 4)


def of(engine: RunningEngine, version: int) -> None:
    """Its next start hides what comes after `version`, as a binary that does not know it."""
    kept = tuple(word for word in engine.arguments if not word.startswith("--kernel-version"))
    engine.arguments = (*kept, f"--kernel-version={version}")


async def until(holds: Callable[[], bool]) -> None:
    began_s = time.monotonic()
    while not await asyncio.to_thread(holds):
        assert time.monotonic() - began_s < 30
        await asyncio.sleep(0.05)


@pytest.mark.server
async def test_real_engines_of_which_one_hides_the_last_version_trade_on_under_the_one_before_until_it_is_replaced(
    engine_factory: EngineFactory, tmp_path: Path
) -> None:
    shard = make_shard(engine_factory, tmp_path, 2)
    old, new = shard.members
    of(old, 2)
    of(new, 2)
    await asyncio.to_thread(shard.start)
    await asyncio.to_thread(shard.wait_for_leader, 2)
    async with shard.session(Component.LEDGER) as ledger:
        await fund(ledger)
    # The standby first, then a switchover, as in a rolling upgrade.
    leader = await asyncio.to_thread(shard.wait_for_leader, 2)
    old, new = leader, next(member for member in shard.members if member is not leader)
    await asyncio.to_thread(new.stop)
    of(new, 3)
    await asyncio.to_thread(new.start)
    await asyncio.to_thread(shard.wait_for_leader, 2)
    assert old.status()["kernel_version"] == 2
    await asyncio.to_thread(old.stop)
    await asyncio.to_thread(shard.wait_for_leader)
    await asyncio.to_thread(old.start)
    assert await asyncio.to_thread(shard.wait_for_leader, 2) is new
    await until(lambda: "which knows versions up to 2: replace its engine" in new.status()["kernel_version_waits_for"])
    async with shard.session(Component.GATEWAY) as gateway:
        assert (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("order")
    assert new.status()["kernel_version"] == 2
    # The old one can still lead the log: nothing was given that it does not know.
    await asyncio.to_thread(old.stop)
    of(old, 3)
    await asyncio.to_thread(old.start)
    await until(lambda: [m.status()["kernel_version"] for m in shard.members] == [3, 3])
    assert new.status()["kernel_version_waits_for"] == ""
    await asyncio.to_thread(old.stop)
    of(old, 2)
    await asyncio.to_thread(old.launch, old.command())
    await until(lambda: "it knows kernel versions up to 2, and 3 is in force" in new.log.read_text())
    assert len(new.status()["in_sync"]) == 1
