"""The name of a halt that a person asked of the engine itself: who may lift it is told apart by it, and when it ends.

`direct:NAME` stands until it is lifted; `direct:NAME/until-20261129T041500Z` lifts itself then, and one that ends in
`/AUCTION-30` reopens with that. A name is part of a shard's state, its log and its snapshots, so whoever leads knows
the end, also after a failover. No Halt of Kubernetes can have such a name.
"""

import datetime
import re
from dataclasses import dataclass
from typing import Final

from openbourse.contracts.market_states import ReopenMode

PREFIX: Final = "direct:"
_TIME: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(
    r"direct:(?P<short>[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)"
    r"(/until-(?P<ends>[0-9]{8}T[0-9]{6}Z)(/(?P<mode>POST_ONLY|AUCTION)-(?P<seconds>[1-9][0-9]{0,4}))?)?"
)


@dataclass(frozen=True, slots=True)
class DirectHalt:
    """`ends_at`: in UTC, of whole seconds; None: it stands until it is lifted, which says how the market reopens.

    `reopens` and `seconds`: what comes between its end and trading, and for how long.
    """

    short: str
    ends_at: datetime.datetime | None = None
    reopens: ReopenMode = ReopenMode.TRADING
    seconds: int = 0

    @property
    def name(self) -> str:
        """As the engine knows it."""
        if self.ends_at is None:
            return PREFIX + self.short
        name = f"{PREFIX}{self.short}/until-{self.ends_at:{_TIME}}"
        return name if self.reopens is ReopenMode.TRADING else f"{name}/{self.reopens}-{self.seconds}"

    @classmethod
    def parse(cls, name: str) -> "DirectHalt":
        """Raises ValueError: it is no name of a direct halt."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is no name of a direct halt")
        if match["ends"] is None:
            return cls(match["short"])
        ends_at = datetime.datetime.strptime(match["ends"], _TIME).replace(tzinfo=datetime.UTC)
        return cls(match["short"], ends_at, ReopenMode(match["mode"] or "TRADING"), int(match["seconds"] or 0))
