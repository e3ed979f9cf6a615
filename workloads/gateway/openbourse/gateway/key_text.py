"""API keys, and the text of a file of them: JSON, with one key a line. No file is opened here. A secret is never shown.

    {"keys": [
    {"api_key": ..., "secret": ..., "account": ..., "label": ..., "created": ..., "permissions": [...], ...},
    {"api_key": ..., "public_key": ..., "addresses": ["192.0.2.0/24"], "expires": "2027-01-01T00:00:00Z", ...}
    ]}

A key that its holder made has `public_key`, in PEM, in place of the secret: Ed25519 or RSA. A sealed file names in
`sealed` the key of an HSM under which it is, and each key has `sealed` in place of its secret (`key_seal`). A file of
any other layout is read all the same, and has this one once it was written.
"""

import datetime
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from openbourse.contracts.units import FIRST_TRADER
from openbourse.gateway.addresses import network
from openbourse.gateway.signatures import SharedSecret, VerifyingKey, public_key

API_KEY = re.compile(r"[A-Za-z0-9]{16,64}")
ADDRESSES_MOST = 64

Permission = Literal["TRADE", "USER_DATA", "USER_STREAM"]
PERMISSIONS: tuple[Permission, ...] = ("TRADE", "USER_DATA", "USER_STREAM")


def moment(text: str) -> datetime.datetime:
    """Of ISO 8601, with its offset; a date alone begins at midnight, UTC. Raises ValueError."""
    try:
        read = datetime.datetime.fromisoformat(text)
        if len(text) == len("2027-01-01"):
            read = read.replace(tzinfo=datetime.UTC)
        if read.tzinfo is None:
            raise ValueError("it has no offset")
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no time such as 2027-01-01 or 2027-01-01T12:00:00Z: {error}") from None
    return read


def _network_text(text: str) -> str:
    return str(network(text))


def _moment_text(text: str) -> str:
    return text and moment(text).astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


class Key(BaseModel):
    """One key; `str()` of it shows everything but the secret. With addresses it is good from these alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: str = Field(pattern=f"^{API_KEY.pattern}$")
    secret: str = Field(default="", max_length=128, pattern=r"^([!-~]{16,})?$", repr=False)
    # In place of the secret, which is in it.
    sealed: str = Field(default="", max_length=512, repr=False)
    public_key: str = Field(default="", max_length=2048)
    account: int = Field(ge=FIRST_TRADER, lt=2**63)
    label: str = Field(default="", max_length=64)
    created: str = Field(description="UTC, ISO 8601", max_length=40)
    permissions: tuple[Permission, ...] = PERMISSIONS
    addresses: tuple[Annotated[str, AfterValidator(_network_text)], ...] = Field(default=(), max_length=ADDRESSES_MOST)
    expires: Annotated[str, AfterValidator(_moment_text)] = Field(default="", max_length=40)

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


_KEYS = b'"keys": ['
_END = [b"]}", b""]


@dataclass(frozen=True, slots=True)
class KeyText:
    """A file of keys of which no key was looked at: each is the bytes of its JSON."""

    keys: tuple[bytes, ...] = ()
    seal: Seal | None = None

    @classmethod
    def parse(cls, content: bytes) -> "KeyText":
        """Raises KeyFileInvalid."""
        first, *lines = content.split(b"\n")
        if first.endswith(_KEYS) and lines[-2:] == _END:
            keys = [line.removesuffix(b",") for line in lines[:-2]]
            # Between keys a comma, and none behind the last.
            if b",\n".join(keys) == b"\n".join(lines[:-2]):
                return cls(tuple(keys), _header(first + b"]}").sealed)
        header = _header(content)
        return cls(tuple(_one_line(key) for key in header.keys), header.sealed)

    def content(self) -> bytes:
        sealed = b'"sealed": %s, ' % self.seal.model_dump_json().encode() if self.seal else b""
        return b"\n".join([b"{" + sealed + _KEYS, *((b",\n".join(self.keys),) if self.keys else ()), *_END])

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


def text_of(key: Key) -> bytes:
    return _one_line(key.model_dump(mode="json", exclude_defaults=True))


def _one_line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def first_problem(error: ValidationError, where: str = "") -> str:
    """Where and what, and nothing of what stands there."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(filter(None, (where, *(str(part) for part in first["loc"])))) or "the document"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
