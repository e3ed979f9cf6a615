"""Lifts the halts that people asked of the engine itself, when their time is over.

When that is, a halt's name says, which is in the shard's state: whoever leads knows it, with no API server and after
every failover. `due` is pure; the lift is a command in the log like any other, and its id is a function of the halt, so
that two leaders in turn lift it once.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.contracts.direct_halts import DirectHalt
from openbourse.contracts.session import NotTaken
from openbourse.engine._core import Engine
from openbourse.engine.own import OwnRequests

log = logging.getLogger(__name__)

# A new one is noticed within that time, and so is a clock that was set.
LOOK_S = 1.0
_IDS = uuid.UUID("5a0d7a52-6a3e-4a39-8d6c-6f7f0b1f3c55")


@dataclass(frozen=True, slots=True)
class Due:
    """What to lift now, and how long until the next end, in seconds (None: there is none)."""

    lifts: tuple[v1.Command, ...]
    next_s: float | None


def due(in_force: Iterable[tuple[str, int]], now_us: int) -> Due:
    """`in_force`: of each halt its name and the seq that it was imposed at. Names of others are passed over."""
    lifts, ends = [], []
    for name, seq in in_force:
        try:
            halt = DirectHalt.parse(name)
        except ValueError:
            continue
        if halt.ends_at is None:
            continue
        left_us = int(halt.ends_at.timestamp()) * 1_000_000 - now_us
        if left_us > 0:
            ends.append(left_us / 1e6)
        else:
            lifts.append(_lift(halt, seq))
    return Due(tuple(lifts), min(ends, default=None))


def _lift(halt: DirectHalt, seq: int) -> v1.Command:
    return v1.Command(
        command_id=uuid.uuid5(_IDS, f"{halt.name} {seq}").bytes,
        causation_id="engine",
        lift_halt=v1.LiftHalt(
            halt=halt.name,
            reason="the halt's time is over",
            reopen=halt.reopens.state,
            reopen_ms=halt.seconds * 1000,
        ),
    )


async def lift_in_time(core: Engine, own: OwnRequests, stop: asyncio.Event) -> None:
    """Of the leader, until `stop`. A log that takes nothing is asked again with the next look."""
    while not stop.is_set():
        found = due(((name, seq) for name, _, seq, *_ in core.halts()), time.time_ns() // 1000)
        for command in found.lifts:
            try:
                reply = await own.sequence(command)
            except NotTaken as error:
                log.warning("%s stands still: %s", command.lift_halt.halt, error)
                continue
            # Refused is one that a person has lifted meanwhile.
            log.info("%s is over at seq %d", command.lift_halt.halt, reply.seq)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S if found.next_s is None else min(found.next_s, LOOK_S)):
                await stop.wait()
