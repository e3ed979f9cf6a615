"""When the log goes over to a later version of the kernel: a command in it, after which an older binary is of no use.

An older engine would refuse the command and go on with another state than everybody else. So `decide` lets the leader
give it only when every member that is linked or in sync knows the version, and once the others had the time to say so.
Until then the shard trades under the version that it has, and its binary can be rolled back. Later, a member that does
not know the version in force is not linked to.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.contracts.session import NotTaken
from openbourse.engine._core import Engine, Fatal
from openbourse.engine.own import OwnRequests

log = logging.getLogger(__name__)

# What this binary leads with. It replays older ones too, so a log is brought here by a command in it.
KERNEL_VERSION = 3
# Of a member that does not say: binaries from before they said it knew this one, and none later.
UNSAID = 3
# Of a log that has just begun: nobody has anything that another version wrote.
FIRST = 1
# How long a leader waits for places that it has not heard of. One that is gone for good must not wait for ever.
PATIENCE_S = 60.0
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Shard:
    """What a leader knows. `places` are those of the other members, `known` what those say that are linked now.

    `in_sync`: other members of the set. `led_s`: how long this one leads.
    """

    in_force: int
    places: Collection[str]
    known: Mapping[str, int]
    in_sync: Collection[str]
    led_s: float


def decide(shard: Shard, wanted: int) -> str:
    """What the change to `wanted` waits for, in a sentence; empty: it can be given now."""
    for member, version in sorted(shard.known.items()):
        if version < wanted:
            return (
                f"kernel version {wanted} waits for {member}, which knows versions up to {version}: replace its engine"
            )
    if unheard := sorted(set(shard.in_sync) - set(shard.known)):
        return f"kernel version {wanted} waits for {unheard[0]}, which is in sync, not linked, and may be old"
    silent = len(shard.places) - len(shard.known)
    if silent > 0 and shard.in_force > FIRST and shard.led_s < PATIENCE_S:
        left_s = PATIENCE_S - shard.led_s
        return (
            f"kernel version {wanted} waits for {silent} of {len(shard.places)} other members, {left_s:.0f} s at most"
        )
    return ""


def refusal(said: int, in_force: int) -> str:
    """Why there is no link to a member that says that it knows versions up to `said`; empty: there is."""
    if (said or UNSAID) >= in_force:
        return ""
    return f"it knows kernel versions up to {said or UNSAID}, and {in_force} is in force: it needs a later engine"


class ChangeOver:
    """Of a leader. `waits_for` is for the status: the sentence of `decide`, empty where nothing is waited for."""

    def __init__(self, core: Engine, own: OwnRequests, look: Callable[[float], Shard], wanted: int) -> None:
        self.waits_for = ""
        self._core = core
        self._own = own
        self._look = look
        self._wanted = wanted
        self._began_s = time.monotonic()

    async def give_or_wait(self, stop: asyncio.Event) -> bool:
        """Whether there is nothing left to do. Waits for a disk that takes nothing, and for no member.

        Raises Fatal when the kernel refuses the version that it should carry.
        """
        while self._core.kernel_version < self._wanted and not stop.is_set():
            if why := decide(self._look(time.monotonic() - self._began_s), self._wanted):
                if why != self.waits_for:
                    log.info("%s", why)
                self.waits_for = why
                return False
            change = v1.Command(causation_id="engine", change_version=v1.ChangeVersion(version=self._wanted))
            try:
                reply = await self._own.sequence(change)
            except NotTaken as error:
                log.warning("kernel version %d waits for the log: %s", self._wanted, error)
                await asyncio.sleep(LOOK_S)
                continue
            if reply.HasField("rejection"):
                raise Fatal(f"kernel version {self._wanted} is refused: {reply.rejection.detail}")
            log.info("kernel version %d from seq %d on", self._wanted, reply.seq)
        self.waits_for = ""
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Looks again until it is given, or until `stop`."""
        while not stop.is_set() and not await self.give_or_wait(stop):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
