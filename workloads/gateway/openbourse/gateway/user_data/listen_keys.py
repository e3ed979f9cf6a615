"""Listen keys that this process knows: secret names under which an account is heard. Times in, no clock of its own.

What several gateways know together is `shared_listen_keys`'.
"""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid, Unavailable

VALID_S = 3600.0
KEYS_MOST = 100_000


LISTEN_KEY = re.compile("[0-9a-f]{64}")


def new_listen_key() -> str:
    return secrets.token_hex(32)


@dataclass(slots=True)
class Valid:
    account: int
    # That asked for it, and from where.
    api_key: str
    address: str
    until_s: float
    # Longer than others know.
    unsaved: bool = False


@dataclass(slots=True)
class ListenKeys:
    """An account asks for one; it has more when gateways that did not hear of each other made them."""

    _valid: dict[str, Valid] = field(default_factory=dict)
    _of_account: dict[int, dict[str, None]] = field(default_factory=dict)

    def create(self, account: int, api_key: str, address: str, now_s: float) -> str:
        """The account's own, valid anew. Raises Unavailable."""
        key = next(iter(self.of(account)), None) or new_listen_key()
        self.keep(key, Valid(account, api_key, address, now_s + VALID_S))
        return key

    def keep(self, key: str, valid: Valid) -> None:
        """Raises Unavailable."""
        if key not in self._valid and len(self._valid) >= KEYS_MOST:
            raise Unavailable(errors.BUSY, detail=f"{KEYS_MOST} listen keys are valid")
        self._valid[key] = valid
        self._of_account.setdefault(valid.account, {})[key] = None

    def extend(self, key: str, account: int, now_s: float) -> Valid:
        """Raises Invalid."""
        valid = self._own(key, account)
        valid.until_s = now_s + VALID_S
        return valid

    def end(self, key: str, account: int) -> None:
        """Raises Invalid."""
        self._own(key, account)
        self.drop(key)

    def all(self) -> list[str]:
        return list(self._valid)

    def of(self, account: int) -> Iterable[str]:
        return self._of_account.get(account, ())

    def get(self, key: str) -> Valid | None:
        return self._valid.get(key)

    def api_key_of(self, key: str) -> str | None:
        valid = self._valid.get(key)
        return valid.api_key if valid else None

    def take_expired(self, now_s: float) -> list[str]:
        return self._take([key for key, valid in self._valid.items() if valid.until_s <= now_s])

    def take_revoked(self, may_hear: Callable[[str, str], bool]) -> list[str]:
        """Those whose API key may not hear any more, from where they were asked for."""
        return self._take([key for key, valid in self._valid.items() if not may_hear(valid.api_key, valid.address)])

    def _take(self, keys: list[str]) -> list[str]:
        for key in keys:
            self.drop(key)
        return keys

    def _own(self, key: str, account: int) -> Valid:
        valid = self._valid.get(key)
        if valid is None or valid.account != account:
            raise Invalid(errors.NO_SUCH_LISTEN_KEY)
        return valid

    def drop(self, key: str) -> None:
        account = self._valid.pop(key).account
        del self._of_account[account][key]
        if not self._of_account[account]:
            del self._of_account[account]
