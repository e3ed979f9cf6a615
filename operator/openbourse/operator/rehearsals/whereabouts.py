"""In which shard a symbol was, by one log of each shard held together. Values in, sentences out.

In a shard's own log a symbol that leaves is Frozen and then Departed or Unfrozen, and one that comes is Imported. What
comes has left another shard by the same move, with the same record: so it is traded in one shard at a time, whatever
the engines' clocks say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from openbourse.operator.rehearsals.facts import Passage, Whereabouts


class Place(Enum):
    HERE = auto()
    FROZEN = auto()
    AWAY = auto()


@dataclass(frozen=True, slots=True)
class Stay:
    """A shard's log, as far as it is the rehearsal's: what is behind `begun_seq`."""

    shard: str
    begun_seq: int
    whereabouts: Whereabouts

    @property
    def passages(self) -> tuple[Passage, ...]:
        return tuple(each for each in self.whereabouts.passages if each.seq > self.begun_seq)

    @property
    def first(self) -> Place:
        """Where it was when the rehearsal began."""
        before = [each for each in self.whereabouts.passages if each.seq <= self.begun_seq]
        if before:
            return _PLACES[before[-1].what]
        return Place.HERE if self.whereabouts.here_first else Place.AWAY

    @property
    def last(self) -> Place:
        return _PLACES[self.passages[-1].what] if self.passages else self.first


@dataclass(frozen=True, slots=True)
class Moved:
    """A move as both logs have it: out of the one, into the other."""

    move: str
    from_shard: str
    to_shard: str
    left: Passage
    came: Passage

    @property
    def paused_ms(self) -> int:
        """By the clocks of two engines."""
        return (self.came.at_us - self.left.at_us) // 1000


_PLACES = {
    "Listed": Place.HERE,
    "Frozen": Place.FROZEN,
    "Unfrozen": Place.HERE,
    "Departed": Place.AWAY,
    "Imported": Place.HERE,
}
# From where each of them may come.
_FROM = {
    "Listed": Place.AWAY,
    "Frozen": Place.HERE,
    "Unfrozen": Place.FROZEN,
    "Departed": Place.FROZEN,
    "Imported": Place.AWAY,
}


def moved(stays: Sequence[Stay]) -> tuple[Moved, ...]:
    """Moves that both logs have, in the order in which they came."""
    left = {(stay.shard, each.move): each for stay in stays for each in stay.passages if each.what == "Frozen"}
    found = [
        Moved(came.move, came.shard, stay.shard, left[came.shard, came.move], came)
        for stay in stays
        for came in stay.passages
        if came.what == "Imported" and (came.shard, came.move) in left
    ]
    return tuple(sorted(found, key=lambda each: each.left.at_us))


def problems(stays: Sequence[Stay]) -> tuple[str, ...]:
    """What cannot be, or must not; none: it was in one shard at a time, and came with all that it left with."""
    found: list[str] = []
    for stay in stays:
        if away := stay.whereabouts.away:
            first = ", ".join(stay.whereabouts.away_first[:3])
            found.append(f"shard {stay.shard} carried out {away} commands in it without having it: {first}")
        found += _in_one_log(stay)
    for when, places in (("at first", [stay.first for stay in stays]), ("in the end", [stay.last for stay in stays])):
        if (count := places.count(Place.HERE)) > 1:
            found.append(f"{when} it was open in {count} shards")
        if count == 0 and Place.FROZEN not in places:
            found.append(f"{when} it was in none of the shards")
    return (*found, *_between(stays))


def id_problems(stays: Sequence[Stay]) -> tuple[str, ...]:
    """Where update ids and trade ids do not go on."""
    found = [gap for stay in stays for gap in stay.whereabouts.trade_gaps]
    for each in moved(stays):
        way = f"from {each.from_shard} to {each.to_shard}"
        if each.came.update_id != each.left.update_id:
            found.append(f"{way} update ids went on behind {each.came.update_id}, not {each.left.update_id}")
        # A shard that traded nothing in it does not say how far it was.
        if each.left.trade_id and each.came.trade_id != each.left.trade_id:
            found.append(f"{way} trade ids went on behind {each.came.trade_id}, not {each.left.trade_id}")
    return tuple(found)


def _in_one_log(stay: Stay) -> Iterator[str]:
    place, move = stay.first, ""
    for each in stay.passages:
        if place is not _FROM[each.what]:
            yield f"shard {stay.shard} says {each.what} at seq {each.seq}, of a symbol that was {place.name.lower()}"
        elif each.what in {"Unfrozen", "Departed"} and move and each.move != move:
            yield f"shard {stay.shard} says {each.what} at seq {each.seq} of move {each.move}, and froze it for {move}"
        place, move = _PLACES[each.what], each.move


def _between(stays: Sequence[Stay]) -> Iterator[str]:
    """Each arrival has its departure, and each departure its arrival."""
    said = {(stay.shard, each.what, each.move): each for stay in stays for each in stay.passages}
    shards = {stay.shard for stay in stays}
    for (shard, what, move), each in said.items():
        if what == "Listed":
            yield f"it was listed anew in shard {shard} at seq {each.seq}"
        if each.shard not in shards:
            continue
        left, came = said.get((each.shard, "Frozen", move)), said.get((each.shard, "Imported", move))
        if what == "Departed" and came is None:
            yield f"shard {shard} let it go at seq {each.seq}, and it did not come to {each.shard}"
        if what != "Imported":
            continue
        if left is None:
            yield f"it came to shard {shard} at seq {each.seq}, and had not left {each.shard}"
        elif left.record != each.record or left.orders != each.orders:
            went = f"{left.open_orders} open orders of record {left.record[:8]}"
            yield f"{went} left {each.shard}, and {each.open_orders} of {each.record[:8]} came to {shard}"
        if (each.shard, "Unfrozen", move) in said:
            yield f"it came to shard {shard} at seq {each.seq}, and {each.shard} opened it again: it was open in both"
