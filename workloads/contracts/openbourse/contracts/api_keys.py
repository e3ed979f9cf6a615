"""API keys as files of a gateway have them: whose one is, what it may do, from where and until when. No file is opened.

Nothing here has a secret: a key with a public key in its place has none, and the operator writes files of these alone.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from openbourse.contracts.api_key_bounds import (
    ADDRESSES_MOST,
    LABEL_LENGTH_MOST,
    PERMISSIONS,
    PUBLIC_KEY_LENGTH_MOST,
    Permission,
)
from openbourse.contracts.networks import network
from openbourse.contracts.units import FIRST_TRADER

API_KEY = re.compile(r"[A-Za-z0-9]{16,64}")
RSA_BITS_LEAST, RSA_BITS_MOST = 2048, 4096

PublicKey: TypeAlias = RSAPublicKey | Ed25519PublicKey

_NAMED = re.compile(rb'"api_key"\s*:\s*"(%s)"' % API_KEY.pattern.encode())
# What a file begins and ends with, around a key a line.
KEYS_BEGIN, KEYS_END = b'"keys": [', [b"]}", b""]


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


def moment_text(at: datetime.datetime) -> str:
    """As files have it, in UTC."""
    return at.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


def public_key(pem: str) -> PublicKey:
    """Raises ValueError, which says what is allowed."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception as error:
        raise ValueError("not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from error
    match key:
        case Ed25519PublicKey():
            return key
        case RSAPublicKey() if RSA_BITS_LEAST <= key.key_size <= RSA_BITS_MOST:
            return key
        case _:
            raise ValueError(f"a public key is Ed25519, or RSA of {RSA_BITS_LEAST} to {RSA_BITS_MOST} bits")


def fingerprint(pem: str) -> str:
    """SHA-256 of the public key in DER, in hexadecimal: `openssl pkey -pubin -in FILE -outform DER | sha256sum`.

    Raises ValueError.
    """
    return hashlib.sha256(_der(pem)).hexdigest()


def api_key_of(exchange: str, account: int, pem: str) -> str:
    """What the key of an account is called where nobody gave it a name: the same wherever it is asked. Raises
    ValueError."""
    return hashlib.sha256(f"openbourse api key 1\n{exchange}\n{account}\n".encode() + _der(pem)).hexdigest()


def names_in(content: bytes) -> frozenset[str]:
    """What the keys of a file are called, whether it is sealed or not, and whatever else is in it."""
    return frozenset(name.decode() for name in _NAMED.findall(content))


def _der(pem: str) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public_key(pem).public_bytes(serialization.Encoding.DER, form)


def _network_text(text: str) -> str:
    return str(network(text))


def _moment_text(text: str) -> str:
    return text and moment_text(moment(text))


def _public_key_text(pem: str) -> str:
    public_key(pem)
    return pem


class ApiKeyTerms(BaseModel):
    """Of any key, whatever it signs with. With addresses it is good from these alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: str = Field(pattern=f"^{API_KEY.pattern}$")
    account: int = Field(ge=FIRST_TRADER, lt=2**63)
    label: str = Field(default="", max_length=LABEL_LENGTH_MOST)
    created: str = Field(description="UTC, ISO 8601", max_length=40)
    permissions: tuple[Permission, ...] = PERMISSIONS
    addresses: tuple[Annotated[str, AfterValidator(_network_text)], ...] = Field(default=(), max_length=ADDRESSES_MOST)
    expires: Annotated[str, AfterValidator(_moment_text)] = Field(default="", max_length=40)


class PublicApiKey(ApiKeyTerms):
    """A key whose holder has the private part: Ed25519 or RSA."""

    public_key: Annotated[str, AfterValidator(_public_key_text)] = Field(max_length=PUBLIC_KEY_LENGTH_MOST)


def line_of(key: ApiKeyTerms) -> bytes:
    """As it stands in a file."""
    return one_line(key.model_dump(mode="json", exclude_defaults=True))


def one_line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def file_of(lines: Sequence[bytes], head: bytes = b"") -> bytes:
    """A file of keys. `head`: what it has before them, with the comma behind."""
    return b"\n".join([b"{" + head + KEYS_BEGIN, *((b",\n".join(lines),) if lines else ()), *KEYS_END])


def file_of_public_keys(keys: Iterable[PublicApiKey]) -> bytes:
    return file_of([line_of(key) for key in keys])
