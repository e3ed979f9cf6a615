"""Whether a gateway is ready for traders, and the sentence that says so. Nothing here reads a clock or a socket."""

from dataclasses import dataclass

# So long after its start a gateway waits for shards and market data that it has not heard yet. Then it takes orders
# without them.
HEARD_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Situation:
    """Of one gateway, now."""

    # Since the process began to serve.
    up_s: float
    # Of the exchange; those of which it was not heard what is listed; those whose leader is not connected.
    shards: tuple[str, ...]
    shards_unheard: tuple[str, ...] = ()
    shards_away: tuple[str, ...] = ()
    stopping: bool = False
    # The address of a Redis that was not asked for anything yet.
    redis_untried: str = ""
    # Feeds of market data that were never heard since the start, and those that are not heard now.
    feeds_unheard: tuple[str, ...] = ()
    feeds_away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    # Why not; of a gateway that is ready, what it serves all the same without, or empty.
    says: str = ""


def readiness(of: Situation) -> Readiness:
    """A shard or a feed that is lost later takes no readiness away while another shard's orders are served."""
    if of.stopping:
        return Readiness(False, "stopping")
    until = f"waited for until {HEARD_WITHIN_S:g} s after the start"
    is_new = of.up_s < HEARD_WITHIN_S
    if of.shards_unheard == of.shards:
        return Readiness(False, f"nothing heard from {_shards(of.shards)} yet")
    if of.shards_away == of.shards:
        return Readiness(False, f"not connected to {_shards(of.shards)}")
    if of.shards_unheard and is_new:
        return Readiness(False, f"nothing heard from {_shards(of.shards_unheard)} yet: {until}")
    if of.redis_untried:
        return Readiness(False, f"Redis at {of.redis_untried} not tried yet")
    if of.feeds_unheard and is_new:
        return Readiness(False, f"market data not heard yet ({', '.join(of.feeds_unheard)}): {until}")
    without = []
    if away := tuple(shard for shard in of.shards if shard in {*of.shards_unheard, *of.shards_away}):
        without.append(f"not connected to {_shards(away)}")
    if of.feeds_away:
        without.append(f"market data are not heard: {', '.join(of.feeds_away)}")
    return Readiness(True, f"ready for orders; {'; '.join(without)}" if without else "")


def _shards(names: tuple[str, ...]) -> str:
    return f"shard{'s' * (len(names) > 1)} {', '.join(names)}"
