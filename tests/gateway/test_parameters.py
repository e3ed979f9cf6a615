"""Parameters are read exactly as they were sent, or refused with the name of what is wrong."""

import pytest

from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import PARAMETERS_MOST, SYMBOL, Parameters, parse

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"


@pytest.mark.parametrize(
    ("query", "content_type", "body", "sent"),
    [
        (b"", b"", b"", {}),
        (b"a=1&b=2", b"", b"", {"a": "1", "b": "2"}),
        (b"a=1", FORM, b"b=2", {"a": "1", "b": "2"}),
        (b"a=query", FORM, b"a=body", {"a": "query"}),
        (b"a=1", b"", b"b=2", {"a": "1", "b": "2"}),
        (b"a=%5B%22BTCUSDT%22%5D", b"", b"", {"a": '["BTCUSDT"]'}),
        (b"a=x+y%2B", b"", b"", {"a": "x y+"}),
        (b"a=%EF%BC%91", b"", b"", {"a": "\uff11"}),
        (b"a=&b", b"", b"", {"a": "", "b": ""}),
        (b"a=1=2", b"", b"", {"a": "1=2"}),
        (b"", JSON, b'{"a": "x", "b": 0.10, "c": 12, "d": false}', {"a": "x", "b": "0.10", "c": "12", "d": "false"}),
        (b"", b"Application/JSON; charset=utf-8", b'{"price": 1e400}', {"price": "1e400"}),
    ],
)
def test_query_and_body_become_one_set_of_text(
    query: bytes, content_type: bytes, body: bytes, sent: dict[str, str]
) -> None:
    assert parse(query, content_type, body) == sent


@pytest.mark.parametrize(
    ("query", "content_type", "body", "code", "status"),
    [
        (b"a=1&a=2", b"", b"", -1101, 400),
        (b"", FORM, b"a=1&a=1", -1101, 400),
        (b"", JSON, b'{"a": 1, "a": 2}', -1101, 400),
        (b"a=%FF", b"", b"", -1100, 400),
        (b"a=\xff", b"", b"", -1100, 400),
        (b"a=%2", b"", b"", -1100, 400),
        (b"a=%zz", b"", b"", -1100, 400),
        (b"a=%00", b"", b"", -1100, 400),
        (b"a%20b=1", b"", b"", -1100, 400),
        (b"=1", b"", b"", -1100, 400),
        (b"", JSON, b'{"a": ', -1135, 400),
        (b"", JSON, b'{"a": {"b": 1}}', -1135, 400),
        (b"", JSON, b'{"a": null}', -1135, 400),
        (b"", JSON, b'{"a": NaN}', -1135, 400),
        (b"", JSON, b"[]", -1135, 400),
        (b"", JSON, b'[{"a": "1"}]', -1135, 400),
        (b"", JSON, b"\xff", -1135, 400),
        (b"", JSON, b"[" * 10_000, -1135, 400),
        (b"", JSON, b'{"a": "\\ud800"}', -1100, 400),
        (b"", b"text/plain", b"a=1", -1020, 415),
        (b"&".join(b"p%d=1" % n for n in range(PARAMETERS_MOST + 1)), b"", b"", -1101, 400),
    ],
)
def test_what_cannot_be_read_is_refused(query: bytes, content_type: bytes, body: bytes, code: int, status: int) -> None:
    with pytest.raises(Invalid) as refused:
        parse(query, content_type, body)
    assert (refused.value.code, refused.value.status) == (code, status)


def refusal(sent: dict[str, str], name: str, reader: str = "optional", *arguments: object) -> tuple[int, str]:
    with pytest.raises(Invalid) as refused:
        getattr(Parameters(sent), reader)(name, *arguments)
    return refused.value.code, refused.value.message


def test_a_missing_an_empty_and_a_malformed_parameter_each_have_their_code() -> None:
    missing = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
    assert refusal({}, "symbol", "mandatory") == (-1102, missing)
    assert refusal({"symbol": ""}, "symbol", "mandatory") == (-1102, missing)
    assert refusal({"symbol": ""}, "symbol") == (-1105, "Parameter 'symbol' was empty.")
    assert refusal({"symbol": "btc"}, "symbol", "mandatory", SYMBOL) == (
        -1100,
        "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,32}$'.",
    )
    assert refusal({"symbol": "BTCUSDT\n"}, "symbol", "mandatory", SYMBOL)[0] == -1100
    assert refusal({"limit": "1.5"}, "limit", "optional_integer")[0] == -1100
    assert refusal({"limit": "\u0661"}, "limit", "optional_integer")[0] == -1100
    assert refusal({"orderId": "9" * 19}, "orderId", "optional_integer")[0] == -1102
    assert refusal({"omit": "yes"}, "omit", "flag")[0] == -1130
    assert refusal({"symbols": '["BTCUSDT"'}, "symbols", "names")[0] == -1100
    assert refusal({"symbols": "[1]"}, "symbols", "names")[0] == -1130
    assert refusal({"symbols": "[]"}, "symbols", "names")[0] == -1130


@pytest.mark.parametrize(
    ("sent", "known", "code", "message"),
    [
        (
            {"a": "1", "b": "2"},
            {"a"},
            -1104,
            "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
        ),
        ({"a": "1"}, set[str](), -1101, "Too many parameters; expected '0' and received '1'."),
        ({"stopPrice": "1"}, {"a"}, -1106, "Parameter 'stopPrice' sent when not required."),
    ],
)
def test_a_parameter_that_nobody_reads_is_refused(
    sent: dict[str, str], known: set[str], code: int, message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        Parameters(sent).check_names(known, {"stopPrice"})
    assert (refused.value.code, refused.value.message) == (code, message)
