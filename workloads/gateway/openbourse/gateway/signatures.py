"""Is this request from the holder of the secret, and fresh? Bytes and times in, a refusal or nothing out.

The signature covers the query string and the body exactly as they were received, put together without anything in
between, less the signature itself.
"""

import hmac

from openbourse.contracts.units import InvalidDecimal, parse_units
from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import DECIMAL, INTEGER, Parameters

RECV_WINDOW_MS = 5_000
RECV_WINDOW_MS_MOST = 60_000
AHEAD_US_MOST = 1_000_000
# A timestamp of this and above counts microseconds: as milliseconds it would be after the year 5000.
MICROSECONDS_FROM = 10**14

_MARK = b"signature="


def signed_bytes(query: bytes, body: bytes) -> bytes:
    """What was signed."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(data: bytes) -> bytes:
    if _MARK not in data:
        return data
    return b"&".join(pair for pair in data.split(b"&") if not pair.startswith(_MARK))


def check_signature(secret: bytes, signed: bytes, signature: str) -> None:
    """Raises Invalid unless `signature` is the HMAC-SHA256 of `signed`, in hexadecimal of either case."""
    expected = hmac.digest(secret, signed, "sha256").hex()
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise Invalid(errors.BAD_SIGNATURE)


def check_timestamp(parameters: Parameters, now_us: int) -> None:
    """Raises Invalid unless the request was made within recvWindow before `now_us`, or up to a second after it."""
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
