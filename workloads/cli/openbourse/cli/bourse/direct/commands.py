"""A direct halt in words: from what a person says to the commands, and to the lines of who did what. Values only.

A direct halt has a name of its own kind (`contracts.direct_halts`). No Halt of Kubernetes can have such a name, so the
engines' watch of Halts never lifts it, and this never lifts a Halt of Kubernetes. The engine holds both.
"""

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openbourse.cli.bourse.errors import BadHalt
from openbourse.contracts import v1
from openbourse.contracts.direct_halts import PREFIX, DirectHalt
from openbourse.contracts.documents import parse_duration
from openbourse.contracts.market_states import HaltMode
from openbourse.contracts.resources.halt import Reopening
from openbourse.contracts.roles import Role
from openbourse.contracts.session import Address

CAUSATION_BYTES_MOST = 512
# Ids of commands: the same halt asked for again by the same person's run is the same command.
_IDS = uuid.UUID("8b1f2a8e-5a58-4f0e-9d0a-0d1c9a4a7a11")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: whose certificate it is and its role, and who they are to this machine."""

    name: str
    role: Role
    os_user: str
    host: str

    def audit_line(self, command: v1.Command, shard: str, outcome: str, reply: v1.Reply | None) -> dict[str, Any]:
        """Who, what, where and why. `outcome`: asked, done, refused or unknown; done has its place in the log."""
        lifts = command.WhichOneof("body") == "lift_halt"
        body = command.lift_halt if lifts else command.impose_halt
        return {
            "audit": "lift --direct" if lifts else "halt --direct",
            "who": self.name,
            "role": self.role,
            "os_user": self.os_user,
            "host": self.host,
            "shard": shard,
            "halt": body.halt,
            "why": body.reason,
            "id": command.command_id.hex(),
            "outcome": outcome,
            **({"epoch": reply.epoch, "seq": reply.seq} if reply is not None else {}),
        }

    def causation(self, reason: str) -> str:
        """Who and why, as the log keeps it. The engine takes no other beginning than the certificate's."""
        text = f"{self.role} {self.name}: {reason} ({self.os_user} at {self.host})"
        return text.encode()[:CAUSATION_BYTES_MOST].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to halt: symbols, or all of shards; neither is all of every shard."""

    symbols: tuple[str, ...]
    shards: tuple[str, ...]
    mode: HaltMode
    reason: str


def engines(texts: Sequence[str]) -> dict[str, list[Address]]:
    """Of SHARD=HOST:PORT, again for each engine. Raises BadHalt."""
    found: dict[str, list[Address]] = {}
    for text in texts:
        shard, _, address = text.partition("=")
        try:
            found.setdefault(shard, []).append(Address.parse(address))
        except ValueError:
            shape = "it is SHARD=HOST:PORT, such as main=10.244.1.5:7000; again for each engine of each shard"
            raise BadHalt(f"--engine {text}: {shape}") from None
    if not found:
        raise BadHalt("--direct asks the engines themselves: give --engine main=10.244.1.5:7000 for each of them")
    return found


def halt_name(name: str) -> str:
    """Of one that is in force, as the engine knows it, with or without its beginning. Raises BadHalt."""
    try:
        return DirectHalt.parse(PREFIX + name.removeprefix(PREFIX)).name
    except ValueError:
        shape = "night, or night/until-20261129T041500Z: as `kubectl bourse status` names it"
        raise BadHalt(f"{name!r} is no name of a direct halt, which is {shape}") from None


def new_halt(name: str, lasts: str | None, reopen: Reopening, now: datetime.datetime) -> DirectHalt:
    """One that is to be imposed. `lasts`: such as 15m; None: until it is lifted. Raises BadHalt."""
    try:
        halt = DirectHalt.parse(PREFIX + name.removeprefix(PREFIX))
    except ValueError:
        halt = None
    if halt is None or halt.ends_at is not None:
        raise BadHalt(f"{name!r} is no name of a direct halt: 1 to 63 characters a-z, 0-9, - and ., such as night")
    if lasts is None:
        return halt
    try:
        ends_at = now.astimezone(datetime.UTC) + parse_duration(lasts, "--for")
    except (ValueError, OverflowError) as error:
        raise BadHalt(str(error)) from None
    # A second that has begun is not taken away.
    ends_at = ends_at.replace(microsecond=0) + datetime.timedelta(seconds=1)
    return DirectHalt(halt.short, ends_at, reopen.mode, reopen.seconds)


def impose(name: str, wanted: Wanted, actor: Actor, nonce: str) -> v1.Command:
    """`nonce`: the same one again is the same command. Raises BadHalt."""
    if not wanted.reason.strip():
        raise BadHalt("--reason must say why")
    return v1.Command(
        command_id=uuid.uuid5(_IDS, f"impose {name} {nonce}").bytes,
        causation_id=actor.causation(wanted.reason),
        impose_halt=v1.ImposeHalt(halt=name, symbols=wanted.symbols, state=wanted.mode.state, reason=wanted.reason),
    )


def lift(name: str, reason: str, reopen: Reopening, actor: Actor, nonce: str) -> v1.Command:
    return v1.Command(
        command_id=uuid.uuid5(_IDS, f"lift {name} {nonce}").bytes,
        causation_id=actor.causation(reason),
        lift_halt=v1.LiftHalt(halt=name, reason=reason, reopen=reopen.mode.state, reopen_ms=reopen.seconds * 1000),
    )


def refusal(reply: v1.Reply) -> str:
    """Why the shard refused it; empty where it did not."""
    if reply.WhichOneof("result") != "rejection":
        return ""
    return reply.rejection.detail or v1.RejectReason.Name(reply.rejection.reason)
