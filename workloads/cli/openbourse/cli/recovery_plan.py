"""Whether a shard may be recovered, from what its members and its record say. No sockets, no files, no clock.

The safety is in the seals: nobody is named before every volume that is left has promised to refuse everything below.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.engine.replication.effects import Statement
from openbourse.engine.replication.record import Record
from openbourse.engine.replication.recovery import richest, seal_epoch


@dataclass(frozen=True, slots=True)
class Heard:
    """One place, and what the member there said; or why it said nothing."""

    place: str
    testimony: v1.Testimony | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`volumes` have to be sealed below `below`, or be in `gone`. `best` would be named, as things are now."""

    below: int
    volumes: frozenset[str]
    gone: frozenset[str]
    best: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to recover, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What stands in the way, and what to do."""

    why: str


def decide(heard: Collection[Heard], record: Record | None, gone: frozenset[str]) -> Plan | Nothing | Refusal:
    """`record`: None where there is none that can be understood. `gone`: members or places that a person gives up."""
    told = [one.testimony for one in heard if one.testimony is not None]
    if not told:
        return Refusal("no member answers: start those that are left, and name the port of their links with --member")
    members = [testimony.member for testimony in told]
    if twice := sorted({member for member in members if members.count(member) > 1}):
        return Refusal(f"{', '.join(twice)} answers at two places: one volume is a copy, stop one of the two")
    if record is not None and (why := _goes_on(told, record)):
        return Nothing(why)
    unheard = unheard_places(heard, told)
    volumes = frozenset(members) | unheard | (record.in_sync if record is not None else frozenset())
    missing = volumes - frozenset(members) - gone
    if missing:
        return Refusal(
            f"not heard of, and it may have what nobody else has: {', '.join(sorted(missing))}. Start it; or, if its "
            f"volume is lost for good, say so with --gone {min(missing)} --reason '...'"
        )
    if unknown := gone - volumes:
        return Refusal(f"--gone {', '.join(sorted(unknown))} is no member and no place of this shard")
    if alive := gone & frozenset(members):
        return Refusal(f"--gone {', '.join(sorted(alive))}, which answers: stop it first, for good")
    return Plan(next_below(told, record), volumes, gone, richest(map(statement, told)).member)


def unheard_places(heard: Collection[Heard], told: Iterable[v1.Testimony]) -> frozenset[str]:
    """Also those that only the others know."""
    silent = {one.place for one in heard if one.testimony is None}
    answered = {one.place for one in heard if one.testimony is not None} | {testimony.place for testimony in told}
    known = {place for testimony in told for place in (testimony.place, *testimony.places)}
    return frozenset((silent | known) - answered)


def next_below(told: Iterable[v1.Testimony], record: Record | None) -> int:
    """Above every epoch that anybody knows of."""
    known = [epoch for testimony in told for epoch in (testimony.promised, testimony.last_epoch)]
    return seal_epoch([*known, record.epoch if record is not None else 0])


def statement(testimony: v1.Testimony) -> Statement:
    return Statement(testimony.member, testimony.sealed_below, testimony.last_epoch, testimony.length)


def _goes_on(told: Iterable[v1.Testimony], record: Record) -> str:
    """Why the shard needs nobody's help: somebody leads, or takes over by the ordinary rules."""
    for testimony in told:
        if record.leader is not None and testimony.member == record.leader.member and testimony.state == "leader":
            return f"{testimony.member} at {testimony.place} leads epoch {record.epoch}"
    for testimony in told:
        able = testimony.state not in {"stopped", "sealed"} and testimony.promised <= record.epoch
        named = testimony.state == "sealed" and testimony.promised == record.epoch
        if testimony.member in record.in_sync and (able or named):
            return (
                f"{testimony.member} at {testimony.place} is in the in-sync set of epoch {record.epoch}, has all that "
                f"was acknowledged, and takes over by itself"
            )
    return ""
