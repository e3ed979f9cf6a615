"""Which connections guard which orders, and what the engine is to be told of it. No clock, no I/O.

A guarded scope has a countdown in the engine, which is set anew all the time: when nobody sets it any more, because the
connections are gone or the gateway is, the engine cancels by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

RENEW_EVERY_MS = 3_000
# The engine's countdown while a scope is guarded, at least: the gateway may be late by two renewals.
HOLD_MS = 10_000
GRACE_MS_MOST = 60_000
GRACE_MS_DEFAULT = 5_000
# In one gateway: so many countdowns are renewed each time.
SCOPES_MOST = 2_000


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    account: int
    # Empty: all symbols.
    symbol: str


@dataclass(frozen=True, slots=True)
class Countdown:
    """What the engine is told: 0 ends it."""

    scope: Scope
    countdown_ms: int


class TooManyScopes(Exception):
    """SCOPES_MOST are guarded already; nothing was changed."""


@dataclass(slots=True)
class Guards:
    """Connections are whatever is their own, and hashable. A scope is cancelled when the last one leaves it."""

    # Scope -> connection -> grace.
    _of: dict[Scope, dict[object, int]] = field(default_factory=dict)

    def is_guarded(self, scope: Scope) -> bool:
        return scope in self._of

    def __len__(self) -> int:
        """How many scopes are guarded."""
        return len(self._of)

    def guard(self, connection: object, account: int, symbols: Iterable[str], grace_ms: int) -> list[Countdown]:
        """In place of what this connection guarded of the account before; no symbols: nothing any more.

        Raises TooManyScopes.
        """
        wanted = {Scope(account, symbol) for symbol in symbols}
        if len(self._of) + sum(scope not in self._of for scope in wanted) > SCOPES_MOST:
            raise TooManyScopes
        let_go = [scope for scope in self._guarded_by(connection) if scope.account == account and scope not in wanted]
        for scope in let_go:
            self._leave(connection, scope)
        for scope in wanted:
            self._of.setdefault(scope, {})[connection] = grace_ms
        return [self._countdown(scope, 0) for scope in (*let_go, *sorted(wanted))]

    def leave(self, connection: object) -> list[Countdown]:
        """The connection is gone: what it alone guarded is cancelled after its grace."""
        left = [(scope, self._leave(connection, scope)) for scope in self._guarded_by(connection)]
        return [self._countdown(scope, max(grace_ms, 1)) for scope, grace_ms in left]

    def renewals(self) -> list[Countdown]:
        """What is due every RENEW_EVERY_MS."""
        return [self._countdown(scope, 0) for scope in self._of]

    def _countdown(self, scope: Scope, unguarded_ms: int) -> Countdown:
        """While it is guarded so long that each connection has its grace when the gateway dies, which nobody counts
        then."""
        graces = self._of.get(scope)
        return Countdown(scope, max(HOLD_MS, *graces.values()) if graces else unguarded_ms)

    def _guarded_by(self, connection: object) -> list[Scope]:
        return [scope for scope, graces in self._of.items() if connection in graces]

    def _leave(self, connection: object, scope: Scope) -> int:
        graces = self._of[scope]
        grace_ms = graces.pop(connection)
        if not graces:
            del self._of[scope]
        return grace_ms
