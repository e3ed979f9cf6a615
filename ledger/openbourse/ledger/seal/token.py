"""The key that signs, inside a PKCS#11 token: made there, used there, and never let out.

Every call blocks; a token that hangs is for the caller to give up on. A refused PIN is Invalid and not Unavailable:
tried again it would lock the token.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from openbourse.contracts import hsm, hsm_keys
from openbourse.ledger.errors import Invalid, Unavailable


@contextmanager
def _as_ledger_errors() -> Iterator[None]:
    try:
        yield
    except hsm.TokenRefused as error:
        raise Invalid(str(error)) from error
    except hsm.TokenAway as error:
        raise Unavailable(str(error)) from error


@dataclass(frozen=True, slots=True)
class TokenSettings(hsm.TokenSettings):
    """`origin` is a part of the names of the ledger's keys in the token."""

    origin: str

    @classmethod
    def from_environment(cls, origin: str, environment: Mapping[str, str] = os.environ) -> "TokenSettings":
        """Raises Invalid with what is not set."""
        with _as_ledger_errors():
            found = hsm.token_settings(environment)
        return cls(found.module, found.label, found.pin, origin)


class TokenKey:
    """One key of the ledger in an open token."""

    def __init__(self, key: hsm_keys.SigningKey) -> None:
        self._key = key
        self.public = key.public

    def sign(self, content: bytes) -> bytes:
        """An ECDSA signature in DER. Raises Unavailable."""
        with _as_ledger_errors():
            return self._key.sign(content)


class Token:
    """A token, open and logged in until `close`. A process has one at a time."""

    def __init__(self, settings: TokenSettings) -> None:
        """Raises Invalid and Unavailable."""
        self._settings = settings
        with _as_ledger_errors():
            self._token = hsm.OpenToken(settings)

    def close(self) -> None:
        """Nothing of the token is used afterwards. Raises Unavailable."""
        with _as_ledger_errors():
            self._token.close()

    def _label(self, generation: int) -> str:
        return f"{self._settings.origin} seal {generation}"

    def key(self, generation: int) -> TokenKey | None:
        """The ledger's key of a generation, if it is in this token. Raises Invalid and Unavailable."""
        with _as_ledger_errors():
            found = hsm_keys.find_key(self._token, self._label(generation))
        return TokenKey(found) if found is not None else None

    def make_key(self, generation: int) -> TokenKey:
        """A new key, or the one that an attempt before has left. Raises Invalid and Unavailable."""
        with _as_ledger_errors():
            return TokenKey(hsm_keys.find_or_make_key(self._token, self._label(generation)))

    def require(self, generation: int, public: bytes) -> TokenKey:
        """The key that was announced. Raises Invalid and Unavailable."""
        key = self.key(generation)
        if key is None:
            raise Unavailable(
                f"token {self._settings.label!r} has no key {self._label(generation)!r}, which signs now: "
                "is it another token, or one that was made anew?"
            )
        if key.public != public:
            raise Invalid(
                f"key {self._label(generation)!r} in token {self._settings.label!r} is not the one that was announced"
            )
        return key
