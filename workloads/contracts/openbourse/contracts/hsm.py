"""A PKCS#11 token: how to get in, and why not. SoftHSM on a developer's machine, any HSM elsewhere.

Every call blocks; a token that hangs is for the caller to give up on. Whoever imports this needs python-pkcs11.

    TokenError
    ├── TokenRefused   permanent: tried again it may lock the token
    └── TokenAway      later: the same again may work
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pkcs11

_PIN_REFUSED = (
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.PinExpired,
)


class TokenError(Exception):
    """A sentence that says what is the case and what to do."""


class TokenRefused(TokenError):
    """It will not let us in, or has not what we need, however often we ask."""


class TokenAway(TokenError):
    """The token, or what reads it, is not there now."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which token, and how to get in."""

    module: Path
    label: str
    pin: str = field(repr=False)


def is_named(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment speaks of a token at all."""
    return bool(environment.get("OPENBOURSE_PKCS11_TOKEN"))


def token_settings(environment: Mapping[str, str] = os.environ) -> TokenSettings:
    """Raises TokenRefused with what is not set."""
    module, label = environment.get("OPENBOURSE_PKCS11_MODULE", ""), environment.get("OPENBOURSE_PKCS11_TOKEN", "")
    if not module or not label:
        raise TokenRefused(
            "set OPENBOURSE_PKCS11_MODULE to the HSM's library, such as /usr/lib/softhsm/libsofthsm2.so, "
            "and OPENBOURSE_PKCS11_TOKEN to the label of the token"
        )
    pin = environment.get("OPENBOURSE_PKCS11_PIN", "")
    if not pin and (file := environment.get("OPENBOURSE_PKCS11_PIN_FILE")):
        try:
            pin = Path(file).read_text().strip()
        except OSError as error:
            raise TokenRefused(f"OPENBOURSE_PKCS11_PIN_FILE: {error}") from None
    if not pin:
        raise TokenRefused("set OPENBOURSE_PKCS11_PIN_FILE to a file with the token's user PIN")
    return TokenSettings(Path(module), label, pin)


class OpenToken:
    """A token, open and logged in until `close`. A process has one at a time."""

    def __init__(self, settings: TokenSettings) -> None:
        """Raises TokenRefused and TokenAway."""
        self._settings = settings
        self._session: pkcs11.Session | None = None
        if not settings.module.is_file():
            raise TokenAway(
                f"the HSM's library {settings.module} is not there: install it (apt-get install softhsm2), "
                "or name another with OPENBOURSE_PKCS11_MODULE"
            )
        try:
            library = pkcs11.lib(str(settings.module))
            # A library that was loaded before remembers the tokens of then.
            library.reinitialize()
            self._session = library.get_token(token_label=settings.label).open(rw=True, user_pin=settings.pin)
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            raise self.trouble(error) from error

    @property
    def label(self) -> str:
        return self._settings.label

    @property
    def session(self) -> pkcs11.Session:
        assert self._session is not None
        return self._session

    def close(self) -> None:
        """Nothing of the token is used afterwards. Raises TokenAway."""
        if self._session is not None:
            try:
                self._session.close()
            except pkcs11.PKCS11Error as error:
                raise self.trouble(error) from error
            finally:
                self._session = None

    def trouble(self, error: Exception) -> TokenError:
        """An error of PKCS#11 as a sentence, and whether it may pass."""
        name = f"token {self._settings.label!r}"
        match error:
            case pkcs11.PinLocked():
                return TokenRefused(f"{name} is locked after wrong PINs: unlock it with its security officer's PIN")
            case _ if isinstance(error, _PIN_REFUSED):
                return TokenRefused(
                    f"{name} refuses the PIN: correct OPENBOURSE_PKCS11_PIN_FILE; not tried again by itself"
                )
            case pkcs11.NoSuchToken():
                return TokenAway(f"there is no {name} in {self._settings.module}: there are {self._tokens()}")
            case pkcs11.MultipleTokensReturned():
                return TokenRefused(f"more than one {name} in {self._settings.module}: give them different labels")
        return TokenAway(f"{name} does not answer: {type(error).__name__} {error}".rstrip())

    def _tokens(self) -> str:
        try:
            labels = sorted(token.label for token in pkcs11.lib(str(self._settings.module)).get_tokens())
        except pkcs11.PKCS11Error:
            labels = []
        return ", ".join(filter(None, labels)) or "none"
