"""The key that signs, inside a PKCS#11 token: made there, used there, and never let out.

SoftHSM on a developer's machine, any HSM elsewhere. Every call blocks; a token that hangs is for the caller to give up
on. A refused PIN is Invalid and not Unavailable: tried again it would lock the token.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature, encode_named_curve_parameters

from openbourse.ledger.errors import Invalid, LedgerError, Unavailable

_PIN_REFUSED = (
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.PinExpired,
)


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which token, and how to get in. `origin` is a part of the names of the ledger's keys in it."""

    module: Path
    label: str
    pin: str = field(repr=False)
    origin: str

    @classmethod
    def from_environment(cls, origin: str, environment: Mapping[str, str] = os.environ) -> "TokenSettings":
        """Raises Invalid with what is not set."""
        module, label = environment.get("OPENBOURSE_PKCS11_MODULE", ""), environment.get("OPENBOURSE_PKCS11_TOKEN", "")
        if not module or not label:
            raise Invalid(
                "set OPENBOURSE_PKCS11_MODULE to the HSM's library, such as /usr/lib/softhsm/libsofthsm2.so, "
                "and OPENBOURSE_PKCS11_TOKEN to the label of the token"
            )
        pin = environment.get("OPENBOURSE_PKCS11_PIN", "")
        if not pin and (file := environment.get("OPENBOURSE_PKCS11_PIN_FILE")):
            try:
                pin = Path(file).read_text().strip()
            except OSError as error:
                raise Invalid(f"OPENBOURSE_PKCS11_PIN_FILE: {error}") from None
        if not pin:
            raise Invalid("set OPENBOURSE_PKCS11_PIN_FILE to a file with the token's user PIN")
        return cls(Path(module), label, pin, origin)


class TokenKey:
    """One key of the ledger in an open token."""

    def __init__(self, token: "Token", private: pkcs11.SignMixin, public: bytes) -> None:
        self._token = token
        self._private = private
        self.public = public

    def sign(self, content: bytes) -> bytes:
        """An ECDSA signature in DER. Raises Unavailable."""
        try:
            signature: bytes = self._private.sign(hashlib.sha256(content).digest(), mechanism=Mechanism.ECDSA)
        except pkcs11.PKCS11Error as error:
            raise self._token.trouble(error) from error
        return encode_ecdsa_signature(signature)


class Token:
    """A token, open and logged in until `close`. A process has one at a time."""

    def __init__(self, settings: TokenSettings) -> None:
        """Raises Invalid and Unavailable."""
        self._settings = settings
        self._session: pkcs11.Session | None = None
        if not settings.module.is_file():
            raise Unavailable(
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

    def close(self) -> None:
        """Nothing of the token is used afterwards."""
        if self._session is not None:
            try:
                self._session.close()
            except pkcs11.PKCS11Error as error:
                raise self.trouble(error) from error
            finally:
                self._session = None

    def trouble(self, error: Exception) -> LedgerError:
        """An error of PKCS#11 as a sentence, and whether it may pass."""
        name = f"token {self._settings.label!r}"
        match error:
            case pkcs11.PinLocked():
                return Invalid(f"{name} is locked after wrong PINs: unlock it with its security officer's PIN")
            case _ if isinstance(error, _PIN_REFUSED):
                return Invalid(f"{name} refuses the PIN: correct OPENBOURSE_PKCS11_PIN_FILE; not tried again by itself")
            case pkcs11.NoSuchToken():
                return Unavailable(f"there is no {name} in {self._settings.module}: there are {self._tokens()}")
            case pkcs11.MultipleTokensReturned():
                return Invalid(f"more than one {name} in {self._settings.module}: give them different labels")
        return Unavailable(f"{name} does not sign: {type(error).__name__} {error}".rstrip())

    def _tokens(self) -> str:
        try:
            labels = sorted(token.label for token in pkcs11.lib(str(self._settings.module)).get_tokens())
        except pkcs11.PKCS11Error:
            labels = []
        return ", ".join(filter(None, labels)) or "none"

    def _label(self, generation: int) -> str:
        return f"{self._settings.origin} seal {generation}"

    def key(self, generation: int) -> TokenKey | None:
        """The ledger's key of a generation, if it is in this token. Raises Invalid and Unavailable."""
        assert self._session is not None
        label = self._label(generation)
        try:
            private = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
            public = self._session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)
        except pkcs11.NoSuchKey:
            return None
        except pkcs11.MultipleObjectsReturned:
            raise Invalid(f"token {self._settings.label!r} has more than one key {label!r}") from None
        except pkcs11.PKCS11Error as error:
            raise self.trouble(error) from error
        return _key(self, private, public)

    def make_key(self, generation: int) -> TokenKey:
        """A new key, or the one that an attempt before has left. Raises Invalid and Unavailable."""
        assert self._session is not None
        if (found := self.key(generation)) is not None:
            return found
        try:
            curve = self._session.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
            )
            public, private = curve.generate_keypair(
                store=True,
                label=self._label(generation),
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
            never_let_out = private[Attribute.NEVER_EXTRACTABLE] and private[Attribute.ALWAYS_SENSITIVE]
        except pkcs11.PKCS11Error as error:
            raise self.trouble(error) from error
        if not never_let_out:
            raise Invalid(f"token {self._settings.label!r} makes keys that can be taken out of it: use another")
        return _key(self, private, public)

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


def _key(token: Token, private: pkcs11.Object, public: pkcs11.Object) -> TokenKey:
    # What a token can do with a key it says by mix-ins that its type does not show.
    assert isinstance(private, pkcs11.SignMixin) and isinstance(public, pkcs11.PublicKey)
    return TokenKey(token, private, encode_ec_public_key(public))
