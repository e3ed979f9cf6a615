"""Signed notes: text with lines of signatures below it, as c2sp.org/signed-note says. Pure.

Two kinds of signature are read: ECDSA over P-256 (0x02 there), by which the seal is signed, and a witness's timestamped
Ed25519 (0x04, c2sp.org/tlog-cosignature). Signatures of unknown keys are left alone.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from openbourse.ledger.errors import Invalid

NOTE_BYTES_MOST = 256 * 1024
SIGNATURES_MOST = 16

_COSIGNATURE = b"\x04"
_DASH = "\N{EM DASH} "


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    """Raises Invalid for anything but the one way to write these bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{text[:60]!r} is no base64: {error}") from None
    if b64(data) != text:
        raise Invalid(f"{text[:60]!r} is base64 written in another way than usual")
    return data


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: who says that they signed it, and what they say."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {b64(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """What is signed, each line ended, and the signatures in their order."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    def with_signatures(self, *more: Signature) -> "Note":
        """With those of `more` that it does not have yet."""
        return Note(self.text, self.signatures + tuple(line for line in more if line not in self.signatures))


def parse(data: bytes | str) -> Note:
    """Raises Invalid with what is wrong."""
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"a note is UTF-8: {error}") from None
    if len(text) > NOTE_BYTES_MOST:
        raise Invalid(f"a note has at most {NOTE_BYTES_MOST} bytes")
    if any(character < " " and character != "\n" for character in text):
        raise Invalid("a note has no control characters but line ends")
    body, found, rest = text.rpartition("\n\n")
    if not found or not body or not rest.endswith("\n"):
        raise Invalid("a note is text, an empty line, and lines of signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > SIGNATURES_MOST:
        raise Invalid(f"a note has at most {SIGNATURES_MOST} signatures")
    return Note(body + "\n", tuple(parse_signature(line) for line in lines))


def parse_signature(line: str) -> Signature:
    """Raises Invalid."""
    name, _, value = line.removeprefix(_DASH).partition(" ")
    data = unb64(value)
    if not line.startswith(_DASH) or not name or "+" in name or len(data) < 5:
        raise Invalid(f"{line[:80]!r} is no signature: an em dash, a name, and base64 of a key id and a signature")
    return Signature(name, data[:4], data[4:])


class Signer(Protocol):
    """A private key of P-256, wherever it is kept."""

    @property
    def public(self) -> bytes:
        """The public key: SubjectPublicKeyInfo in DER."""

    def sign(self, content: bytes) -> bytes:
        """An ECDSA signature over the SHA-256 of `content`, in DER. Raises Unavailable."""


def key_hash(public: bytes) -> str:
    """What a key is called: the SHA-256 of its public key in DER, in hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def sign(text: str, name: str, signer: Signer) -> Signature:
    """Raises Unavailable."""
    return Signature(name, hashlib.sha256(signer.public).digest()[:4], signer.sign(text.encode()))


def is_signed(note: Note, name: str, public: bytes) -> bool:
    """Whether the key of this name signed the note. One false signature that says it is this key's is enough for no.

    Raises Invalid for what is no public key of P-256.
    """
    key = p256(public)
    ours = [s for s in note.signatures if (s.name, s.key_id) == (name, hashlib.sha256(public).digest()[:4])]
    for signature in ours:
        try:
            key.verify(signature.value, note.text.encode(), ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
    return bool(ours)


def p256(public: bytes) -> EllipticCurvePublicKey:
    """From DER. Raises Invalid."""
    try:
        return _p256(load_der_public_key(public))
    except ValueError as error:
        raise Invalid(f"no public key in DER: {error}") from None


def p256_from_pem(pem: bytes) -> bytes:
    """The public key in DER. Raises Invalid."""
    try:
        return _p256(load_pem_public_key(pem)).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError as error:
        raise Invalid(f"no public key in PEM: {error}") from None


def _p256(key: object) -> EllipticCurvePublicKey:
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Invalid("the seal's keys are of P-256")
    return key


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness by its name and Ed25519 key, written as `name+id+key`, as c2sp.org/signed-note does."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + _COSIGNATURE + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(_COSIGNATURE + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "WitnessKey":
        """Raises Invalid."""
        name, _, rest = text.strip().partition("+")
        key_id, _, key = rest.partition("+")
        data = unb64(key)
        witness = cls(name, data[1:])
        if data[:1] != _COSIGNATURE or len(data) != 33 or witness.key_id.hex() != key_id:
            raise Invalid(f"{text[:80]!r} is no witness's key: name+id+key, as the witness prints it")
        return witness

    def cosigned_at(self, note: Note) -> int | None:
        """The time, in seconds, at which the witness countersigned the note; None if it did not, or one is false."""
        times = []
        for signature in note.signatures:
            if (signature.name, signature.key_id) != (self.name, self.key_id):
                continue
            if len(signature.value) != 72:
                return None
            (time_s,) = struct.unpack(">Q", signature.value[:8])
            try:
                Ed25519PublicKey.from_public_bytes(self.public).verify(
                    signature.value[8:], _cosigned(note.text, time_s)
                )
            except InvalidSignature:
                return None
            times.append(time_s)
        return max(times, default=None)


def cosign(note: Note, name: str, private: Ed25519PrivateKey, time_s: int) -> Signature:
    """A witness's signature at a time."""
    key = WitnessKey(name, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    return Signature(name, key.key_id, struct.pack(">Q", time_s) + private.sign(_cosigned(note.text, time_s)))


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
