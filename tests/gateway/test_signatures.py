"""Only the holder of the secret is let in, and only while the request is fresh."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import Parameters
from openbourse.gateway.signatures import SharedSecret, check_signature, check_timestamp, signed_bytes

# The worked example of Binance's own documentation.
SECRET = SharedSecret(b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
SIGNED = (
    b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
)
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"

NOW_US = 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("query", "body", "signed"),
    [
        (b"a=1&signature=00", b"", b"a=1"),
        (b"", b"a=1&signature=00", b"a=1"),
        (b"a=1", b"b=2&signature=00", b"a=1b=2"),
        (b"a=1&signature=00", b"b=2", b"a=1b=2"),
        (b"signature=00&a=%20+x", b"", b"a=%20+x"),
        (b"asignature=1&signature=00", b"", b"asignature=1"),
        (b"signature=00", b'{"a":1}', b'{"a":1}'),
    ],
)
def test_the_signature_is_over_the_bytes_as_received(query: bytes, body: bytes, signed: bytes) -> None:
    assert signed_bytes(query, body) == signed


@given(
    st.binary(max_size=64) | st.binary(min_size=65, max_size=200),
    st.lists(st.binary(max_size=300), min_size=1, max_size=3),
)
def test_a_shared_secret_signs_as_hmac_does_whatever_its_length(secret: bytes, texts: list[bytes]) -> None:
    """One text after the other, with the same hashes begun."""
    shared = SharedSecret(secret)
    assert [shared.signature(text) for text in texts] == [hmac.digest(secret, text, "sha256").hex() for text in texts]


def test_the_documented_example_verifies_in_either_case() -> None:
    check_signature(SECRET, SIGNED, SIGNATURE)
    check_signature(SECRET, SIGNED, SIGNATURE.upper())


@pytest.mark.parametrize(
    ("signed", "signature"),
    [
        (SIGNED.replace(b"price=0.1", b"price=0.2"), SIGNATURE),
        (SIGNED, SIGNATURE[:-1] + "0"),
        (SIGNED, ""),
        (SIGNED, SIGNATURE + "00"),
        (SIGNED, "\u00e9" * 64),
    ],
)
def test_any_other_bytes_are_refused(signed: bytes, signature: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_signature(SECRET, signed, signature)
    assert (refused.value.code, refused.value.message) == (-1022, "Signature for this request is not valid.")


@pytest.mark.parametrize(
    "sent",
    [
        {"timestamp": str(NOW_US // 1000)},
        {"timestamp": str(NOW_US)},
        {"timestamp": str(NOW_US - 5_000_000)},
        {"timestamp": str(NOW_US + 999_999)},
        {"timestamp": str(NOW_US - 60_000_000), "recvWindow": "60000"},
        {"timestamp": str(NOW_US - 1_500), "recvWindow": "1.500"},
    ],
)
def test_a_fresh_request_passes(sent: dict[str, str]) -> None:
    check_timestamp(Parameters(sent), NOW_US)


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        ({"timestamp": str(NOW_US - 5_000_001)}, -1021, "Timestamp for this request is outside of the recvWindow."),
        (
            {"timestamp": str(NOW_US - 1_501), "recvWindow": "1.5"},
            -1021,
            "Timestamp for this request is outside of the recvWindow.",
        ),
        (
            {"timestamp": str(NOW_US + 1_000_000)},
            -1021,
            "Timestamp for this request was 1000ms ahead of the server's time.",
        ),
        ({"timestamp": "0"}, -1021, "Timestamp for this request is outside of the recvWindow."),
        ({}, -1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed."),
        (
            {"timestamp": "now"},
            -1100,
            "Illegal characters found in parameter 'timestamp'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            {"timestamp": str(NOW_US), "recvWindow": "60001"},
            -1102,
            "'recvWindow' contains unexpected value. Cannot be greater than 60000.",
        ),
        (
            {"timestamp": str(NOW_US), "recvWindow": "1.0001"},
            -1111,
            "Parameter 'recvWindow' has too much precision.",
        ),
    ],
)
def test_a_stale_or_early_request_is_refused(sent: dict[str, str], code: int, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_timestamp(Parameters(sent), NOW_US)
    assert (refused.value.code, refused.value.message) == (code, message)
