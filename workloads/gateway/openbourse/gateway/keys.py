"""Files of API keys: read, and written anew as a whole, by one at a time. A secret is never shown.

Where the environment names a token every file that is written is sealed (`key_seal`), and one that is not is refused:
who can write the file but has not the token can put no key into it.
"""

import datetime
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from openbourse.contracts import durable
from openbourse.contracts.api_key_bounds import PERMISSIONS
from openbourse.contracts.api_keys import line_of
from openbourse.contracts.documents import first_problem
from openbourse.gateway.key_text import (
    Key,
    KeyFileInvalid,
    KeyText,
    Seal,
    key_of,
)

__all__ = [
    "PERMISSIONS",
    "Key",
    "KeyFileInvalid",
    "NoSuchKey",
    "create_key",
    "import_keys",
    "read_keys",
    "restrict_key",
    "revoke_key",
]


class NoSuchKey(LookupError):
    """There is no key with this api_key in the file."""


class Cipher(Protocol):
    """Of one file."""

    def seal(self, key: Key) -> Key:
        """Without its secret in clear."""

    def open(self, key: Key) -> Key:
        """With its secret in clear. Raises KeyFileInvalid for what was not sealed so."""


class Vault(Protocol):
    """Where the keys are under which files are sealed: `key_seal.TokenVault`. Its calls block, and raise TokenError."""

    def cipher(self, seal: Seal) -> Cipher: ...

    def new_seal(self) -> tuple[Seal, Cipher]: ...


def read_text(path: Path) -> KeyText:
    """Raises OSError and KeyFileInvalid."""
    with at(path):
        return KeyText.parse(path.read_bytes())


def cipher_of(text: KeyText, vault: Vault | None) -> Cipher | None:
    """None: the file is not sealed, and need not be. Raises KeyFileInvalid where there is a token or a seal alone, and
    TokenError."""
    if text.seal is None:
        if vault is not None:
            raise KeyFileInvalid("it is not sealed, but a token is named: seal it with `openbourse keys rewrap`")
        return None
    if vault is None:
        raise KeyFileInvalid(
            f"it is sealed under {text.seal.key!r} of an HSM: name its token with OPENBOURSE_PKCS11_MODULE, "
            "OPENBOURSE_PKCS11_TOKEN and OPENBOURSE_PKCS11_PIN_FILE"
        )
    return vault.cipher(text.seal)


def read_keys(path: Path, vault: Vault | None = None) -> list[Key]:
    """With their secrets, of a file that is sealed or not. Raises OSError, KeyFileInvalid and TokenError."""
    text = read_text(path)
    with at(path):
        cipher = cipher_of(text, vault) if text.seal else None
        return [cipher.open(key) if cipher else key for key in text.all()]


def create_key(
    path: Path,
    *,
    account: int,
    label: str = "",
    public_key: str = "",
    permissions: tuple[str, ...] = PERMISSIONS,
    addresses: tuple[str, ...] = (),
    expires: str = "",
    vault: Vault | None = None,
) -> Key:
    """Adds a new key to the file, which is made if need be; without a public key, one with a secret.

    Raises OSError, KeyFileInvalid, TokenError.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    key = _checked(
        {
            "api_key": secrets.token_hex(32),
            "secret": "" if public_key else secrets.token_hex(32),
            "public_key": public_key,
            "account": account,
            "label": label,
            "created": now,
            "permissions": permissions,
            "addresses": addresses,
            "expires": expires,
        }
    )
    with durable.locked(path):
        before, cipher = _opened(path, vault)
        _write(path, KeyText((*before.keys, _text(key, cipher)), before.seal))
    return key


def import_keys(path: Path, keys: Iterable[Key], vault: Vault | None = None) -> int:
    """Adds keys that were made elsewhere, all or none, and says how many.

    Raises OSError, KeyFileInvalid, TokenError.
    """
    with durable.locked(path):
        before, cipher = _opened(path, vault)
        after = KeyText((*before.keys, *(_text(key, cipher) for key in keys)), before.seal)
        with at(path):
            after.all()
        _write(path, after)
    return len(after.keys) - len(before.keys)


def revoke_key(path: Path, api_key: str) -> Key:
    """Takes a key out of the file, for which no token is needed. Raises OSError, KeyFileInvalid, NoSuchKey."""
    with durable.locked(path):
        return _replace(path, read_text(path), api_key, lambda _: None)


def restrict_key(path: Path, api_key: str, *, vault: Vault | None = None, **change: object) -> Key:
    """Gives a key other `permissions`, `addresses`, `expires` or another `label`. Says what it was before.

    Raises OSError, KeyFileInvalid, NoSuchKey, TokenError.
    """
    with durable.locked(path):
        before, cipher = _opened(path, vault)

        def changed(key: Key) -> bytes:
            opened = cipher.open(key) if cipher else key
            return _text(_checked({**opened.model_dump(), **change}), cipher)

        return _replace(path, before, api_key, changed)


def rewrap(path: Path, vault: Vault) -> tuple[Seal | None, Seal]:
    """Seals all keys anew, or those of a file that was in clear, under a new key of the token. Says both seals.

    Raises OSError, KeyFileInvalid, TokenError.
    """
    with durable.locked(path):
        before, keys = read_text(path).seal, read_keys(path, vault)
        seal, cipher = vault.new_seal()
        _write(path, KeyText(tuple(_text(key, cipher) for key in keys), seal))
    return before, seal


def _opened(path: Path, vault: Vault | None) -> tuple[KeyText, Cipher | None]:
    """The file, or what a new one begins with."""
    if not path.exists():
        if vault is None:
            return KeyText(), None
        seal, cipher = vault.new_seal()
        return KeyText(seal=seal), cipher
    text = read_text(path)
    with at(path):
        return text, cipher_of(text, vault)


def _text(key: Key, cipher: Cipher | None) -> bytes:
    return line_of(cipher.seal(key) if cipher else key)


def _replace(path: Path, before: KeyText, api_key: str, change: Callable[[Key], bytes | None]) -> Key:
    """The key as it was."""
    for number, text in enumerate(before.keys):
        if api_key.encode() in text and (key := key_of(text, number)).api_key == api_key:
            changed = change(key)
            new = () if changed is None else (changed,)
            _write(path, KeyText((*before.keys[:number], *new, *before.keys[number + 1 :]), before.seal))
            return key
    raise NoSuchKey(f"{path} has no key {api_key[:64]}")


def _checked(fields: dict[str, object]) -> Key:
    """Raises KeyFileInvalid."""
    try:
        return Key.model_validate(fields)
    except ValidationError as error:
        raise KeyFileInvalid(first_problem(error)) from None


@contextmanager
def at(path: Path) -> Iterator[None]:
    """What is invalid is so in this file."""
    try:
        yield
    except KeyFileInvalid as error:
        raise KeyFileInvalid(f"{path}: {error}") from None


def _write(path: Path, text: KeyText) -> None:
    """Readable by its owner alone."""
    durable.write(path, text.content(), mode=0o600)
