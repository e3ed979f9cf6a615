"""Is this request from the holder of the key, and fresh? Bytes and times in, a refusal or nothing out.

Over HTTP the signature covers the query string and the body exactly as they were received, put together without
anything in between, less the signature itself; over WebSocket the parameters, sorted by name.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from openbourse.contracts.api_keys import PublicKey
from openbourse.contracts.units import InvalidDecimal, parse_units
from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import DECIMAL, INTEGER, MICROSECONDS_FROM, Parameters

RECV_WINDOW_MS = 5_000
RECV_WINDOW_MS_MOST = 60_000
AHEAD_US_MOST = 1_000_000

_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


class SharedSecret:
    """Of HMAC-SHA256, as RFC 2104 has it: the two hashes that every signature begins with are made once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = hashlib.sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret
        block = block.ljust(_BLOCK_BYTES, b"\0")
        self._inner, self._outer = (hashlib.sha256(block.translate(pad)) for pad in (_INNER, _OUTER))

    def signature(self, signed: bytes) -> str:
        """In hexadecimal."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed)
        outer.update(inner.digest())
        return outer.hexdigest()


VerifyingKey: TypeAlias = SharedSecret | PublicKey

_MARK = b"signature="


def signed_bytes(query: bytes, body: bytes) -> bytes:
    """What was signed."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(data: bytes) -> bytes:
    at = data.find(_MARK)
    if at < 0:
        return data
    if at and data[at - 1 : at] == b"&" and data.find(b"&", at) < 0:
        # The last one, as most clients put it.
        return data[: at - 1]
    return b"&".join(pair for pair in data.split(b"&") if not pair.startswith(_MARK))


def signed_parameters(sent: Mapping[str, str]) -> bytes:
    """What was signed of a request over WebSocket."""
    return "&".join(f"{name}={sent[name]}" for name in sorted(sent) if name != "signature").encode()


def check_signature(key: VerifyingKey, signed: bytes, signature: str) -> None:
    """Raises Invalid unless `signature` is the HMAC-SHA256 of `signed`, in hexadecimal of either case, or by another
    key its signature in base64: Ed25519, or RSA with PKCS #1 v1.5 and SHA-256."""
    if isinstance(key, SharedSecret):
        if not hmac.compare_digest(key.signature(signed).encode(), signature.lower().encode()):
            raise Invalid(errors.BAD_SIGNATURE)
        return
    try:
        # A plus that was not written as %2B was read as a space.
        made = base64.b64decode(signature.replace(" ", "+"), validate=True)
        if isinstance(key, RSAPublicKey):
            key.verify(made, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(made, signed)
    except (binascii.Error, ValueError, InvalidSignature):
        raise Invalid(errors.BAD_SIGNATURE) from None


def check_timestamp(parameters: Parameters, now_us: int) -> int:
    """Until when the request is good, in microseconds.

    Raises Invalid unless it was made within recvWindow before `now_us`, or up to a second after it.
    """
    stamp = int(parameters.mandatory("timestamp", INTEGER))
    made_us = stamp if stamp >= MICROSECONDS_FROM else stamp * 1000
    window = parameters.optional("recvWindow", DECIMAL)
    try:
        window_us = RECV_WINDOW_MS * 1000 if window is None else parse_units(window, 3)
    except InvalidDecimal:
        raise Invalid(errors.TOO_PRECISE, "recvWindow") from None
    if window_us > RECV_WINDOW_MS_MOST * 1000:
        raise Invalid(errors.VALUE_TOO_GREAT, "recvWindow", RECV_WINDOW_MS_MOST)
    if made_us >= now_us + AHEAD_US_MOST:
        raise Invalid(errors.AHEAD_OF_SERVER)
    if now_us - made_us > window_us:
        raise Invalid(errors.OUTSIDE_WINDOW)
    return made_us + window_us
