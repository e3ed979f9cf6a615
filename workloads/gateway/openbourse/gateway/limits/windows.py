"""How much each address, key and account has used of its window, counted here. Times in, no clock of its own.

Windows are fixed (this minute, these ten seconds, this day), as Binance counts them.
"""

from dataclasses import dataclass, field

from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.rules import BANS_S, REFUSED_MOST, Kind

# Beyond so many in one window, those who come later share one count: a flood of addresses costs no memory.
COUNTED_MOST = 100_000
_OTHERS = "others"


@dataclass(slots=True)
class Window:
    """Counts by key in one interval after the other."""

    seconds: int
    _began: int = 0
    _used: dict[object, int] = field(default_factory=dict)

    def add(self, key: object, amount: int, now_s: int) -> int:
        """Counts `amount` more, also beyond the limit, and returns what is used."""
        began = now_s - now_s % self.seconds
        if began != self._began:
            self._began = began
            self._used.clear()
        if key not in self._used and len(self._used) >= COUNTED_MOST:
            key = _OTHERS
        used = self._used.get(key, 0) + amount
        if amount:
            self._used[key] = used
        return used


@dataclass(slots=True)
class Bans:
    """Addresses that went on after they were refused. Each ban is longer than the one before it."""

    _until_ms: dict[str, int] = field(default_factory=dict)
    # How often, and until when that is remembered.
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def until_ms(self, address: str, now_ms: int) -> int:
        """0: it is not banned."""
        until_ms = self._until_ms.get(address, 0)
        if until_ms and until_ms <= now_ms:
            del self._until_ms[address]
            return 0
        return until_ms

    def learn(self, address: str, until_ms: int, now_ms: int) -> None:
        """Of a ban that somebody else made."""
        if len(self._until_ms) >= COUNTED_MOST:
            self._until_ms = {address: end for address, end in self._until_ms.items() if end > now_ms}
        if len(self._until_ms) < COUNTED_MOST:
            self._until_ms[address] = until_ms

    def end(self, address: str) -> None:
        self._until_ms.pop(address, None)

    def add(self, address: str, now_ms: int) -> int:
        """Until when it is banned now."""
        if until_ms := self.until_ms(address, now_ms):
            return until_ms
        times, remembered_ms = self._known.get(address, (0, 0))
        if remembered_ms <= now_ms:
            times = 0
        until_ms = now_ms + BANS_S[min(times, len(BANS_S) - 1)] * 1000
        if len(self._known) >= COUNTED_MOST:
            self._known = {address: known for address, known in self._known.items() if known[1] > now_ms}
        if len(self._known) < COUNTED_MOST:
            self._known[address] = times + 1, until_ms + BANS_S[-1] * 1000
        self.learn(address, until_ms, now_ms)
        return until_ms


class Counts:
    """All windows, and all bans, of one process."""

    def __init__(self) -> None:
        self._windows = {kind: Window(kind.seconds) for kind in Kind}
        self.bans = Bans()

    def count(self, charge: Charge) -> None:
        """Adds it to its windows and notes what they hold."""
        now_s, windows = charge.now_ms // 1000, self._windows
        charge.weight_used = windows[Kind.WEIGHT].add(charge.address, charge.weight, now_s)
        if charge.api_key:
            charge.requests_used = windows[Kind.REQUESTS].add(charge.api_key, 1, now_s)
        if charge.account:
            charge.orders_10s = windows[Kind.ORDERS_10S].add(charge.account, 1, now_s)
            charge.orders_day = windows[Kind.ORDERS_DAY].add(charge.account, 1, now_s)
        charge.counted = True

    def orders(self, account: int, now_s: int) -> tuple[int, int]:
        """What the account has used of ten seconds and of the day, without counting."""
        windows = self._windows
        return windows[Kind.ORDERS_10S].add(account, 0, now_s), windows[Kind.ORDERS_DAY].add(account, 0, now_s)

    def pardon(self, charge: Charge) -> None:
        """It was counted when it was found to be banned, and is not to be."""
        self.bans.end(charge.address)
        charge.banned_until_ms = 0

    def add_refused(self, address: str, now_ms: int) -> None:
        """Bans it if it goes on and on."""
        if self._windows[Kind.REFUSED].add(address, 1, now_ms // 1000) > REFUSED_MOST:
            self.bans.add(address, now_ms)
