"""Halts by hand: from words to the object, and who has not acknowledged it yet. Values in, values out."""

import datetime
import re
from collections.abc import Iterable, Sequence

from openbourse.cli.bourse.errors import BadHalt
from openbourse.contracts.apiserver import Object
from openbourse.contracts.market_states import ReopenMode
from openbourse.contracts.resources import Acknowledgement, Halt
from openbourse.contracts.resources.halt import Reopening

_REOPENING = re.compile(r"(?P<mode>[A-Z_]+)(:(?P<seconds>[0-9]{1,5})s)?")


def reopening(text: str) -> Reopening:
    """Of TRADING, POST_ONLY:30s or AUCTION:30s. Raises BadHalt."""
    allowed = "TRADING, POST_ONLY:30s or AUCTION:30s"
    match = _REOPENING.fullmatch(text)
    if match is None or match["mode"] not in set(ReopenMode):
        raise BadHalt(f"--reopen {text}: it is {allowed}")
    mode, seconds = ReopenMode(match["mode"]), int(match["seconds"] or 0)
    if (mode is ReopenMode.TRADING) != (seconds == 0) or seconds > 86_400:
        raise BadHalt(f"--reopen {text}: POST_ONLY and AUCTION take 1 to 86400 seconds, TRADING takes none: {allowed}")
    return Reopening(mode=mode, seconds=seconds)


def generated_name(symbols: Sequence[str], shards: Sequence[str], now: datetime.datetime) -> str:
    """One that says what is halted, and since when."""
    named = [*symbols, *(f"shard-{shard}" for shard in shards)]
    kind = "symbols" if symbols else "shards"
    of = named[0].lower() if len(named) == 1 else "all" if not named else f"{len(named)}-{kind}"
    return f"halt-{of}-{now:%Y%m%d-%H%M%S}"


def manifest(
    namespace: str,
    name: str,
    *,
    exchange: str,
    symbols: Sequence[str],
    shards: Sequence[str],
    mode: str,
    reason: str,
    duration: str | None,
    reopen: Reopening,
    requester: str,
    two_person: bool,
) -> Object:
    """Until it is lifted when there is no duration."""
    spec: Object = {
        "exchange": exchange,
        "mode": mode,
        "reason": reason,
        "reopen": {"mode": reopen.mode.value, "seconds": reopen.seconds},
        "requester": requester,
        **({"symbols": list(symbols)} if symbols else {}),
        **({"shards": list(shards)} if shards else {}),
        **({"twoPerson": True} if two_person else {}),
        **({"duration": duration} if duration else {"untilLifted": True}),
    }
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def check_named(exchange: str, kind: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    """Raises BadHalt, with what there is."""
    known = set(there)
    if unknown := sorted(set(wanted) - known):
        has = ", ".join(sorted(known)) or "none"
        raise BadHalt(f"{exchange} has no {kind}{', '.join(unknown)}; it has {has}")


def what_it_halts(symbols: Sequence[str], shards: Sequence[str]) -> str:
    """In words."""
    if symbols:
        return ", ".join(symbols)
    return f"shard {', '.join(shards)}" if shards else "all symbols"


def news(halt: Halt, scope: Iterable[str], told: set[str]) -> list[Acknowledgement]:
    """Acknowledgements of shards in its scope that were not told yet; they count as told from here on."""
    new = [entry for shard in scope if shard not in told and (entry := halt.status.by(shard)) is not None]
    told |= {entry.shard for entry in new}
    return new
