"""The API keys that traders sign with: a file of them, read again when it changes. A secret is never shown.

The file is JSON, `{"keys": [{"api_key", "secret", "account", "label", "created", "permissions"}]}`, readable by its
owner alone. A key that its holder made has `public_key`, in PEM, in place of the secret: Ed25519 or RSA.
"""

import datetime
import fcntl
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from openbourse.contracts import durable
from openbourse.contracts.units import FIRST_TRADER
from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid
from openbourse.gateway.signatures import VerifyingKey, public_key

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.5
API_KEY = re.compile(r"[A-Za-z0-9]{16,64}")


Permission = Literal["TRADE", "USER_DATA", "USER_STREAM"]
PERMISSIONS: tuple[Permission, ...] = ("TRADE", "USER_DATA", "USER_STREAM")


class Key(BaseModel):
    """One key; `str()` of it shows everything but the secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: str = Field(pattern=f"^{API_KEY.pattern}$")
    secret: str = Field(default="", max_length=128, pattern=r"^([!-~]{16,})?$", repr=False)
    public_key: str = Field(default="", max_length=2048)
    account: int = Field(ge=FIRST_TRADER, lt=2**63)
    label: str = Field(default="", max_length=64)
    created: str = Field(description="UTC, ISO 8601", max_length=40)
    permissions: tuple[Permission, ...] = PERMISSIONS

    @model_validator(mode="after")
    def _one_way_to_sign(self) -> Self:
        if bool(self.secret) == bool(self.public_key):
            raise ValueError("a key has a secret or a public_key")
        if self.public_key:
            public_key(self.public_key)
        return self

    def verifying(self) -> VerifyingKey:
        return public_key(self.public_key) if self.public_key else self.secret.encode()


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()

    @field_validator("keys")
    @classmethod
    def _each_once(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        if len({key.api_key for key in keys}) < len(keys):
            raise ValueError("an api_key is there twice")
        return keys


class KeyFileInvalid(ValueError):
    """The file is not a file of keys. Says where and why, and never what stands there."""


class NoSuchKey(LookupError):
    """There is no key with this api_key in the file."""


def read_keys(path: Path) -> list[Key]:
    """Raises OSError and KeyFileInvalid."""
    try:
        return list(_KeyFile.model_validate_json(path.read_bytes()).keys)
    except ValidationError as error:
        raise KeyFileInvalid(f"{path}: {_first_problem(error)}") from None


def create_key(
    path: Path,
    *,
    account: int,
    label: str = "",
    public_key: str = "",
    permissions: tuple[str, ...] = PERMISSIONS,
) -> Key:
    """Adds a new key to the file, which is made if need be; without a public key, one with a secret.

    Raises OSError, KeyFileInvalid.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        key = Key.model_validate(
            {
                "api_key": secrets.token_hex(32),
                "secret": "" if public_key else secrets.token_hex(32),
                "public_key": public_key,
                "account": account,
                "label": label,
                "created": now,
                "permissions": permissions,
            }
        )
    except ValidationError as error:
        raise KeyFileInvalid(_first_problem(error)) from None
    with _locked(path):
        _write(path, [*(read_keys(path) if path.exists() else ()), key])
    return key


def revoke_key(path: Path, api_key: str) -> Key:
    """Takes a key out of the file. Raises OSError, KeyFileInvalid, NoSuchKey."""
    with _locked(path):
        keys = read_keys(path)
        revoked = next((key for key in keys if key.api_key == api_key), None)
        if revoked is None:
            raise NoSuchKey(f"{path} has no key {api_key[:64]}")
        _write(path, [key for key in keys if key is not revoked])
    return revoked


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the document"
    return f"{place}: {first['msg']}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, so that two who add a key both have it in the file."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, keys: list[Key]) -> None:
    """Readable by its owner alone."""
    durable.write(path, (_KeyFile(keys=tuple(keys)).model_dump_json(indent=2) + "\n").encode(), mode=0o600)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is, what shows that it was they who signed, and what they may do with it."""

    account: int
    key: VerifyingKey
    api_key: str = ""
    permissions: frozenset[str] = frozenset(PERMISSIONS)

    def __repr__(self) -> str:
        return f"Holder(account={self.account})"


class KeyRing:
    """The keys of a file as they are now. A file that became invalid, or went away, changes nothing: it is logged."""

    def __init__(self, path: Path) -> None:
        """Raises OSError and KeyFileInvalid."""
        self._path = path
        self._stamp = self._stamp_now()
        self._holders = self._read()
        self._checked_s = time.monotonic()
        self._version = 0

    def version(self) -> int:
        """Another one as soon as the file has been read again."""
        if time.monotonic() - self._checked_s >= CHECK_EVERY_S:
            self._check()
        return self._version

    def holder(self, api_key: str) -> Holder:
        """Raises Invalid."""
        if not API_KEY.fullmatch(api_key):
            raise Invalid(errors.BAD_KEY_FORMAT)
        self.version()
        holder = self._holders.get(api_key)
        if holder is None:
            raise Invalid(errors.BAD_KEY)
        return holder

    def __len__(self) -> int:
        return len(self._holders)

    def _check(self) -> None:
        self._checked_s = time.monotonic()
        try:
            stamp = self._stamp_now()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._holders = self._read()
            self._version += 1
        except (OSError, KeyFileInvalid) as error:
            log.error("keys are as they were, the file could not be read again: %s", error)
        else:
            log.info("%d keys read from %s", len(self._holders), self._path)

    def _stamp_now(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self) -> dict[str, Holder]:
        return {
            key.api_key: Holder(key.account, key.verifying(), key.api_key, frozenset(key.permissions))
            for key in read_keys(self._path)
        }
