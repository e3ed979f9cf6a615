"""API keys, and the text of a file of them: JSON, with one key a line. No file is opened here. A secret is never shown.

    {"keys": [
    {"api_key": ..., "secret": ..., "account": ..., "label": ..., "created": ..., "permissions": [...], ...},
    {"api_key": ..., "public_key": ..., "addresses": ["192.0.2.0/24"], "expires": "2027-01-01T00:00:00Z", ...}
    ]}

A key that its holder made has `public_key`, in PEM, in place of the secret: Ed25519 or RSA. A sealed file names in
`sealed` the key of an HSM under which it is, and each key has `sealed` in place of its secret (`key_seal`). A file of
any other layout is read all the same, and has this one once it was written.
"""

from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openbourse.contracts.api_key_bounds import PUBLIC_KEY_LENGTH_MOST
from openbourse.contracts.api_keys import (
    KEYS_BEGIN,
    KEYS_END,
    ApiKeyTerms,
    file_of,
    one_line,
    public_key,
)
from openbourse.contracts.documents import first_problem
from openbourse.gateway.signatures import SharedSecret, VerifyingKey


class Key(ApiKeyTerms):
    """One key; `str()` of it shows everything but the secret."""

    secret: str = Field(default="", max_length=128, pattern=r"^([!-~]{16,})?$", repr=False)
    # In place of the secret, which is in it.
    sealed: str = Field(default="", max_length=512, repr=False)
    public_key: str = Field(default="", max_length=PUBLIC_KEY_LENGTH_MOST)

    @model_validator(mode="after")
    def _one_way_to_sign(self) -> Self:
        if self.sealed:
            if self.secret:
                raise ValueError("a key that is sealed has no secret beside it")
        elif bool(self.secret) == bool(self.public_key):
            raise ValueError("a key has a secret or a public_key")
        if self.public_key:
            public_key(self.public_key)
        return self

    def verifying(self) -> VerifyingKey:
        """Of a key that is not sealed."""
        assert not self.sealed
        return public_key(self.public_key) if self.public_key else SharedSecret(self.secret.encode())


class KeyFileInvalid(ValueError):
    """The file is not a file of keys. Says where and why, and never what stands there."""


class NoSuchKey(LookupError):
    """There is no key with this api_key in the file."""


class Seal(BaseModel):
    """How a file is sealed: the label of the token's key, and the file's data key under it, in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1, max_length=128)
    data_key: str = Field(pattern=r"^[A-Za-z0-9+/]{80}$")


class _Header(BaseModel):
    """What a file has beside its keys, which are left as they stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sealed: Seal | None = None
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyText:
    """A file of keys of which no key was looked at: each is the bytes of its JSON."""

    keys: tuple[bytes, ...] = ()
    seal: Seal | None = None

    @classmethod
    def parse(cls, content: bytes) -> "KeyText":
        """Raises KeyFileInvalid."""
        first, *lines = content.split(b"\n")
        if first.endswith(KEYS_BEGIN) and lines[-2:] == KEYS_END:
            keys = [line.removesuffix(b",") for line in lines[:-2]]
            # Between keys a comma, and none behind the last.
            if b",\n".join(keys) == b"\n".join(lines[:-2]):
                return cls(tuple(keys), _header(first + b"]}").sealed)
        header = _header(content)
        return cls(tuple(one_line(key) for key in header.keys), header.sealed)

    def content(self) -> bytes:
        sealed = b'"sealed": %s, ' % self.seal.model_dump_json().encode() if self.seal else b""
        return file_of(self.keys, sealed)

    def all(self) -> list[Key]:
        """As they stand there. Raises KeyFileInvalid."""
        keys = [key_of(text, number) for number, text in enumerate(self.keys)]
        if len({key.api_key for key in keys}) < len(keys):
            raise KeyFileInvalid("keys: an api_key is there twice")
        return keys


def _header(content: bytes) -> _Header:
    """Raises KeyFileInvalid."""
    try:
        return _Header.model_validate_json(content)
    except ValidationError as error:
        raise KeyFileInvalid(first_problem(error)) from None


def key_of(text: bytes, number: int) -> Key:
    """The key whose JSON stands in a file as the one with this number. Raises KeyFileInvalid."""
    try:
        return Key.model_validate_json(text)
    except ValidationError as error:
        raise KeyFileInvalid(first_problem(error, f"keys.{number}")) from None
