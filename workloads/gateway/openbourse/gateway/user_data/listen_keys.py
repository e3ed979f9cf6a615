"""Listen keys: secret names under which an account is heard on the streams. Times in, no clock of its own.

They live in this process: with several gateways each has its own, and a client asks and listens at one.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid, Unavailable

VALID_S = 3600.0
KEYS_MOST = 100_000


@dataclass(slots=True)
class _Valid:
    account: int
    # That asked for it.
    api_key: str
    until_s: float


@dataclass(slots=True)
class ListenKeys:
    """At most one for each account."""

    _valid: dict[str, _Valid] = field(default_factory=dict)
    _of_account: dict[int, str] = field(default_factory=dict)

    def create(self, account: int, api_key: str, now_s: float) -> str:
        """The account's own, valid anew. Raises Unavailable."""
        key = self._of_account.get(account)
        if key is None:
            if len(self._valid) >= KEYS_MOST:
                raise Unavailable(errors.BUSY, detail=f"{KEYS_MOST} listen keys are valid")
            key = secrets.token_hex(32)
            self._of_account[account] = key
        self._valid[key] = _Valid(account, api_key, now_s + VALID_S)
        return key

    def extend(self, key: str, account: int, now_s: float) -> None:
        """Raises Invalid."""
        self._own(key, account).until_s = now_s + VALID_S

    def end(self, key: str, account: int) -> None:
        """Raises Invalid."""
        self._own(key, account)
        self._drop(key)

    def all(self) -> list[str]:
        return list(self._valid)

    def of(self, account: int) -> str | None:
        return self._of_account.get(account)

    def take_expired(self, now_s: float) -> list[str]:
        return self._take([key for key, valid in self._valid.items() if valid.until_s <= now_s])

    def take_revoked(self, may_hear: Callable[[str], bool]) -> list[str]:
        """Those whose API key may not hear any more."""
        return self._take([key for key, valid in self._valid.items() if not may_hear(valid.api_key)])

    def _take(self, keys: list[str]) -> list[str]:
        for key in keys:
            self._drop(key)
        return keys

    def _own(self, key: str, account: int) -> _Valid:
        valid = self._valid.get(key)
        if valid is None or valid.account != account:
            raise Invalid(errors.NO_SUCH_LISTEN_KEY)
        return valid

    def _drop(self, key: str) -> None:
        del self._of_account[self._valid.pop(key).account]
