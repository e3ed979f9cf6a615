"""What `kubectl bourse switchover` asks for, or why it asks for nothing. Values in, values out."""

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.apiserver import Object
from openbourse.contracts.leadership import EPOCH
from openbourse.contracts.resources import EngineShard


@dataclass(frozen=True, slots=True)
class Switched:
    """What became of it. `outcome`: Done, Refused, Overtaken, or Silent where nobody answered in time."""

    shard: str
    outcome: str
    old_leader: str
    new_leader: str
    epoch: int
    pause_ms: int | None
    message: str


def successor(shard: EngineShard, wanted: str | None) -> str:
    """The pod that is to lead. Raises NotDone with who could."""
    name, status = shard.metadata.name, shard.status
    if status.leader is None:
        raise NotDone(f"shard {name}: nobody is known to lead, so nobody can hand over; see kubectl bourse status")
    others = [member for member in status.members if member.pod != status.leader]
    fit = sorted((m for m in others if m.in_sync), key=lambda member: (-(member.committed_seq or 0), member.pod))
    if wanted is None and fit:
        return fit[0].pod
    who = ", ".join(f"{member.pod} is {member.role or 'silent'}" for member in others) or "it has no other engine"
    if not fit:
        raise NotDone(f"shard {name}: no standby is in sync ({who}); a switchover would lose orders or wait for it")
    if wanted == status.leader:
        raise NotDone(f"shard {name}: {wanted} leads already")
    if wanted not in {member.pod for member in fit}:
        can = ", ".join(member.pod for member in fit)
        raise NotDone(f"shard {name}: {wanted} is no standby in sync; --to may be {can}")
    return str(wanted)


def epoch_of(shard: EngineShard, lease: Object | None) -> int:
    """Of who leads now: the record knows it at once, the status some seconds later. Raises NotDone."""
    if lease is None:
        raise NotDone(
            f"shard {shard.metadata.name}: its leadership record, the Lease {shard.status.record}, is not there: "
            f"nobody could take over"
        )
    text = (lease["metadata"].get("annotations") or {}).get(EPOCH, "")
    if not text.isdecimal() or int(text) < 1:
        raise NotDone(f"shard {shard.metadata.name}: nobody has led it yet")
    return int(text)


def table(switched: Switched) -> Table:
    """For people."""
    grid = Table.grid(padding=(0, 2))
    rows: list[tuple[str, Any]] = [
        ("Shard", switched.shard),
        ("Outcome", switched.outcome),
        ("Old leader", switched.old_leader),
        ("New leader", switched.new_leader),
        ("Epoch", switched.epoch),
        ("Pause", "-" if switched.pause_ms is None else f"{switched.pause_ms} ms"),
    ]
    for name, value in [*rows, *([("Why", switched.message)] if switched.message else [])]:
        grid.add_row(name, str(value))
    return grid
