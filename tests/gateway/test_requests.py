"""What is signed over a WebSocket is what was written; what comes out of a frame is a request or why it is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbourse.gateway.errors import TOO_FAST as TOO_FAST_WORD
from openbourse.gateway.errors import Invalid, TooMany
from openbourse.gateway.signatures import SharedSecret, check_signature, signed_parameters
from openbourse.gateway.streams.time_units import in_microseconds
from openbourse.gateway.websocket_api.requests import Malformed, Request, refused, request_of

# The worked example of Binance's own documentation.
SECRET = SharedSecret(b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
PARAMETERS = (
    '"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000", '
    f'"price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": "{API_KEY}"'
)
SIGNATURE = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"


def request(text: str) -> Request:
    found = request_of(text)
    assert isinstance(found, Request), found
    return found


def test_the_documented_example_verifies() -> None:
    found = request(f'{{"id": "a", "method": "order.place", "params": {{{PARAMETERS}, "signature": "{SIGNATURE}"}}}}')
    check_signature(SECRET, signed_parameters(found.sent), found.sent["signature"])


@given(st.dictionaries(st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True), st.integers() | st.booleans(), max_size=6))
def test_numbers_and_flags_are_signed_as_json_writes_them(sent: dict[str, object]) -> None:
    found = request(json.dumps({"id": None, "method": "ping", "params": sent}))
    assert found.sent == {name: json.dumps(value) for name, value in sent.items()}
    names = sorted(name for name in sent if name != "signature")
    assert signed_parameters(found.sent).decode() == "&".join(f"{name}={json.dumps(sent[name])}" for name in names)


@pytest.mark.parametrize("number", ["1.10", "1e-05", "0.10000000000000000000001", "-0", "1E5"])
def test_a_number_keeps_its_characters(number: str) -> None:
    assert request(f'{{"id": 1, "method": "ping", "params": {{"price": {number}}}}}').sent == {"price": number}


def test_lists_of_names_are_text_as_over_rest() -> None:
    found = request('{"id": 1, "method": "exchangeInfo", "params": {"symbols": ["BTCUSDT", "ETHUSDT"]}}')
    assert found.sent == {"symbols": '["BTCUSDT","ETHUSDT"]'}


@given(st.text(max_size=300) | st.binary(max_size=100).map(lambda data: data.decode("latin-1")))
def test_whatever_is_no_request_says_why(text: str) -> None:
    found = request_of(text)
    if isinstance(found, Malformed):
        document = refused(found.id, found.refusal, 0)
        assert (document["id"], document["status"]) == (None, 400)


def test_a_limit_that_is_used_up_says_when_to_come_again() -> None:
    document = refused(1, TooMany(TOO_FAST_WORD, retry_after_s=7), 1_000)
    assert document["status"] == 429
    assert document["error"] == {
        "code": -1015,
        "msg": "Too many new orders.",
        "data": {"serverTime": 1_000, "retryAfter": 8_000},
    }


def test_a_method_may_name_its_version() -> None:
    assert request('{"id": 1, "method": "v3/order.place"}').method == "order.place"


@pytest.mark.parametrize(
    ("milliseconds", "microseconds"),
    [
        ({"e": "trade", "E": 5, "T": 4, "t": 3}, {"e": "trade", "E": 5_000, "T": 4_000, "t": 3}),
        (
            {"e": "24hrTicker", "E": 5, "O": 1, "C": 5, "F": 7},
            {"e": "24hrTicker", "E": 5_000, "O": 1_000, "C": 5_000, "F": 7},
        ),
        (
            {"e": "kline", "E": 9, "k": {"t": 0, "T": 999, "f": 1}},
            {"e": "kline", "E": 9_000, "k": {"t": 0, "T": 999_999, "f": 1}},
        ),
        ([{"e": "1hTicker", "O": 2}], [{"e": "1hTicker", "O": 2_000}]),
        ({"u": 4, "b": "1", "B": "2"}, {"u": 4, "b": "1", "B": "2"}),
        ({"lastUpdateId": 4, "bids": []}, {"lastUpdateId": 4, "bids": []}),
    ],
)
def test_a_streams_message_in_microseconds_has_its_times_in_them_and_nothing_else(
    milliseconds: object, microseconds: object
) -> None:
    assert in_microseconds(milliseconds) == microseconds


def test_a_trades_time_has_what_is_beyond_its_milliseconds() -> None:
    told = {"e": "trade", "E": 5, "T": 5, "t": 7, "p": "1"}
    assert in_microseconds(told, 123) == {**told, "E": 5_123, "T": 5_123}


def test_a_refusal_is_not_lost_with_an_id_that_is_none() -> None:
    found = request_of('{"id": {}, "method": "ping"}')
    assert isinstance(found, Malformed)
    assert isinstance(found.refusal, Invalid)
    assert found.id is None
