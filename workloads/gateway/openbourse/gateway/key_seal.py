"""Keys under a key in an HSM: what of a file of keys is encrypted, and how it is opened. A secret is never shown.

A file has one data key, which the token's own key, that never leaves it, has encrypted (AES-256-GCM, both). With the
data key each secret is encrypted, bound to all else that the file says of its key: account, permissions, addresses and
so on. A field that was edited, a secret that was swapped and a key that was added beside are all refused. That a whole
file, or a key in it, is an older one that was sealed the same way cannot be seen.
"""

import base64
import binascii
import datetime
import json
import os
import secrets
from contextlib import closing

import pkcs11
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass

from openbourse.contracts.hsm import OpenToken, TokenAway, TokenRefused, TokenSettings, is_named, token_settings
from openbourse.gateway.key_text import Key, KeyFileInvalid, Seal

DATA_KEY_BITS, NONCE_BYTES, TAG_BITS = 256, 12, 128


class DataKey:
    """Seals and opens the keys of one file."""

    def __init__(self, data_key: bytes) -> None:
        self._cipher = AESGCM(data_key)

    def seal(self, key: Key) -> Key:
        """Without its secret in clear."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, key.secret.encode(), _bound(key))
        return key.model_copy(update={"secret": "", "sealed": base64.b64encode(sealed).decode()})

    def open(self, key: Key) -> Key:
        """With its secret in clear. Raises KeyFileInvalid for what was not sealed so."""
        try:
            sealed = base64.b64decode(key.sealed, validate=True)
            secret = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(key)).decode()
        except (binascii.Error, ValueError, InvalidTag):
            raise KeyFileInvalid(
                f"the key {key.api_key} is not as it was sealed: somebody changed it, or it is another file's"
            ) from None
        return key.model_copy(update={"secret": secret, "sealed": ""})


def _bound(key: Key) -> bytes:
    """All that is said of a key but its secret. What is as by default is left out: later fields change nothing."""
    said = key.model_dump(mode="json", exclude={"secret", "sealed"}, exclude_defaults=True)
    return b"openbourse key 1\n" + json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


class TokenVault:
    """Data keys of files, by a token. It is opened for each one and closed again; one that was opened is remembered."""

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._remembered: tuple[Seal, DataKey] | None = None

    def cipher(self, seal: Seal) -> DataKey:
        """Raises TokenRefused, TokenAway."""
        if self._remembered is None or self._remembered[0] != seal:
            wrapped = base64.b64decode(seal.data_key)
            with closing(OpenToken(self._settings)) as token:
                opened = _decrypt(token, self._settings, seal.key, wrapped)
            self._remembered = seal, DataKey(opened)
        return self._remembered[1]

    def new_seal(self) -> tuple[Seal, DataKey]:
        """Under a new key of the token. Raises TokenRefused, TokenAway."""
        label = f"openbourse keys {datetime.datetime.now(datetime.UTC):%Y-%m-%d} {secrets.token_hex(4)}"
        data_key, nonce = os.urandom(DATA_KEY_BITS // 8), os.urandom(NONCE_BYTES)
        with closing(OpenToken(self._settings)) as token:
            try:
                key = token.session.generate_key(
                    KeyType.AES,
                    256,
                    store=True,
                    label=label,
                    template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
                )
                never_let_out = key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.ALWAYS_SENSITIVE]
                assert isinstance(key, pkcs11.EncryptMixin)
                wrapped = key.encrypt(data_key, mechanism=Mechanism.AES_GCM, mechanism_param=_gcm(nonce, label))
                assert isinstance(wrapped, bytes)
            except pkcs11.PKCS11Error as error:
                raise token.trouble(error) from error
        if not never_let_out:
            raise TokenRefused(f"token {self._settings.label!r} makes keys that can be taken out of it: use another")
        seal = Seal(key=label, data_key=base64.b64encode(nonce + wrapped).decode())
        self._remembered = seal, DataKey(data_key)
        return self._remembered


def vault_from_environment() -> TokenVault | None:
    """None where it names no token. Raises TokenRefused."""
    return TokenVault(token_settings()) if is_named() else None


def _decrypt(token: OpenToken, settings: TokenSettings, label: str, wrapped: bytes) -> bytes:
    try:
        key = token.session.get_key(object_class=ObjectClass.SECRET_KEY, label=label)
        assert isinstance(key, pkcs11.DecryptMixin)
        opened = key.decrypt(
            wrapped[NONCE_BYTES:], mechanism=Mechanism.AES_GCM, mechanism_param=_gcm(wrapped[:NONCE_BYTES], label)
        )
    except pkcs11.NoSuchKey:
        raise TokenAway(
            f"token {settings.label!r} has no key {label!r}, under which the keys are: "
            "is it another token, or one that was made anew?"
        ) from None
    except pkcs11.MultipleObjectsReturned:
        raise TokenRefused(f"token {settings.label!r} has more than one key {label!r}") from None
    except pkcs11.PKCS11Error as error:
        raise token.trouble(error) from error
    assert isinstance(opened, bytes)
    return opened


def _gcm(nonce: bytes, label: str) -> GCMParams:
    return GCMParams(nonce, aad=f"openbourse data key 1\n{label}".encode(), tag_bits=TAG_BITS)
