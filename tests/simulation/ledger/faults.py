"""What befalls a PostgreSQL and its settlers in a simulated life, each fault by its name."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.ledger.world import World

LASTS_S = (0.05, 2.5)


async def _cut(world: "World") -> None:
    for backend in list(world.cluster.primary.sessions.values()):
        backend.link.cut()


async def _lasts(world: "World") -> None:
    await asyncio.sleep(world.dice.uniform(*LASTS_S))


async def _die(world: "World") -> None:
    primary = world.cluster.primary
    primary.die()
    await _lasts(world)
    primary.start(primary=True)
    world.look_at(primary)


async def _rejoin(world: "World") -> None:
    """The new primary is alone for a while: nothing is settled until it has a standby."""
    await _lasts(world)
    world.cluster.standby.start(primary=False)


async def _die_and_take_over(world: "World") -> None:
    world.cluster.primary.die()
    await asyncio.sleep(world.dice.uniform(0.0, 1.0))
    world.cluster.take_over()
    await _rejoin(world)


async def _freeze(world: "World") -> None:
    primary = world.cluster.primary
    primary.is_frozen = True
    await _lasts(world)
    primary.thaw()


async def _freeze_and_take_over(world: "World") -> None:
    world.cluster.primary.is_frozen = True
    await asyncio.sleep(world.dice.uniform(0.0, 1.0))
    world.cluster.take_over()
    await _rejoin(world)


async def _standby_away(world: "World") -> None:
    standby = world.cluster.standby
    standby.is_frozen = True
    await _lasts(world)
    standby.thaw()


async def _something_waits(world: "World") -> None:
    for _ in range(40):
        if world.cluster.waiting:
            return
        await asyncio.sleep(0.02)


async def _cancel_what_waits(world: "World") -> None:
    """Again and again, as somebody does who does not like locks; with a take-over, or without."""
    standby = world.cluster.standby
    standby.is_frozen = True
    for _ in range(world.dice.randint(1, 4)):
        await _something_waits(world)
        if world.dice.random() < 0.5:
            world.cluster.cancel_waiting()
        else:
            world.cluster.end_sessions()
        await asyncio.sleep(world.dice.uniform(0.0, 0.3))
    if world.dice.random() < 0.5:
        world.cluster.primary.die()
        world.cluster.take_over()
        await _rejoin(world)
    standby.thaw()


async def _read_only(world: "World") -> None:
    primary = world.cluster.primary
    primary.is_read_only = True
    await _lasts(world)
    primary.is_read_only = False


async def _disk_full(world: "World") -> None:
    primary = world.cluster.primary
    primary.is_full = True
    await _lasts(world)
    primary.is_full = False


async def _no_connection(world: "World") -> None:
    primary = world.cluster.primary
    primary.has_no_connection_left = True
    await _cut(world)
    await _lasts(world)
    primary.has_no_connection_left = False


async def _slow(world: "World") -> None:
    world.cluster.slow = world.dice.uniform(5, 80)
    await _lasts(world)
    world.cluster.slow = 1.0


async def _restart(world: "World") -> None:
    last = world.ledgers[-1]
    await (last.kill() if world.dice.random() < 0.5 else last.stop())
    world.begin()


async def _new_leader(world: "World") -> None:
    """Another ledger settles from the next leader; the old one goes on with the old, until somebody ends it."""
    world.epoch += 1
    old = world.ledgers[-1]
    world.begin()
    await _lasts(world)
    if world.dice.random() < 0.7:
        await old.kill()


FAULT_OF = {
    "connections are cut": _cut,
    "the primary dies and comes back": _die,
    "the primary dies, its standby takes over": _die_and_take_over,
    "the primary freezes for a while": _freeze,
    "the primary freezes, its standby takes over": _freeze_and_take_over,
    "the standby is away for a while": _standby_away,
    "commits that wait are cancelled": _cancel_what_waits,
    "the primary is read-only for a while": _read_only,
    "the disk is full for a while": _disk_full,
    "no connection is left for a while": _no_connection,
    "everything is slow for a while": _slow,
    "the ledger is started again": _restart,
    "a new leader, and a ledger for each": _new_leader,
}
