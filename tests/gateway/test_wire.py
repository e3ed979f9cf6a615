"""What the wire refuses before any engine hears of it: each in Binance's code, nothing with a trace."""

import hmac
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from fixtures.shards import shards_away
from openbourse.contracts.tracing import NO_TRACING
from openbourse.gateway import engines
from openbourse.gateway.app import make_port
from openbourse.gateway.calls import Call
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.keys import Key, create_key
from openbourse.gateway.limits.rules import Limits
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.wire import BODY_BYTES_MOST

WEIGHT_PER_MINUTE = 600
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Gateway(NamedTuple):
    """A gateway's application in this process, with an engine and a ledger that nobody started."""

    http: httpx.AsyncClient
    key: Key

    def signed(self, parameters: str, **headers: str) -> dict[str, object]:
        """What httpx sends for signed parameters in the query."""
        stamped = f"{parameters}&timestamp={time.time_ns() // 1_000_000}".removeprefix("&")
        signature = hmac.digest(self.key.secret.encode(), stamped.encode(), "sha256").hex()
        return {"params": f"{stamped}&signature={signature}", "headers": {"X-MBX-APIKEY": self.key.api_key, **headers}}


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(engines, "QUERY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(engines, "COMMAND_TIMEOUT_S", 0.05)
    file = tmp_path / "keys.json"
    key = create_key(file, account=1001)
    usage = Usage(Limits(weight_per_minute=WEIGHT_PER_MINUTE))
    shards = shards_away()
    port = make_port(shards, KeyRing(file), usage, traces=NO_TRACING)
    transport = httpx.ASGITransport(app=port.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield Gateway(http, key)
    await shards.close()


async def test_ping_and_time_need_no_engine(gateway: Gateway) -> None:
    assert (await gateway.http.get("/api/v3/ping")).json() == {}
    milliseconds = (await gateway.http.get("/api/v3/time")).json()["serverTime"]
    assert abs(milliseconds - time.time() * 1000) < 5_000
    microseconds = await gateway.http.get("/api/v3/time", headers={"X-MBX-TIME-UNIT": "microsecond"})
    assert abs(microseconds.json()["serverTime"] - time.time() * 1e6) < 5_000_000


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/api/v3/nothing", 404, -1020),
        ("GET", "/nowhere", 404, -1020),
        ("GET", "/api/v3/order/", 404, -1020),
        ("GET", "/docs", 404, -1020),
        ("POST", "/api/v3/ping", 405, -1020),
        ("PUT", "/api/v3/order", 405, -1020),
        ("GET", "/api/v3/ping?a=1", 400, -1101),
        ("GET", "/api/v3/depth?symbol=BTCUSDT&depth=5", 400, -1104),
        ("GET", "/api/v3/depth?symbol=BTCUSDT&symbol=ETHUSDT", 400, -1101),
        ("GET", "/api/v3/depth?symbol=%FF", 400, -1100),
        ("GET", "/api/v3/depth", 400, -1102),
        ("GET", "/api/v3/depth?symbol=", 400, -1102),
        ("GET", "/api/v3/depth?symbol=btc/usdt", 400, -1100),
        ("GET", "/api/v3/exchangeInfo?symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D", 400, -1128),
        ("GET", "/api/v3/account", 401, -2014),
        ("GET", "/api/v3/depth?symbol=" + "A" * 20_000, 413, -1101),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    gateway: Gateway, method: str, url: str, status: int, code: int
) -> None:
    answer = await gateway.http.request(method, url)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_method_that_is_not_there_names_those_that_are(gateway: Gateway) -> None:
    assert (await gateway.http.put("/api/v3/order")).headers["allow"] == "POST, GET, DELETE"


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, -1135),
        (b"\xff=1", "application/x-www-form-urlencoded", 400, -1100),
        (b"<order/>", "text/xml", 415, -1020),
        (b"a" * (BODY_BYTES_MOST + 1), "application/x-www-form-urlencoded", 413, -1101),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    gateway: Gateway, content: bytes, content_type: str, status: int, code: int
) -> None:
    answer = await gateway.http.post("/api/v3/order", content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_body_without_a_length_is_bounded_too(gateway: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"a" * 1024
        raise AssertionError("the body was read to its end")

    answer = await gateway.http.post("/api/v3/order", content=endless(), headers=FORM)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


async def test_a_key_that_nobody_has_is_refused(gateway: Gateway) -> None:
    answer = await gateway.http.get("/api/v3/account", headers={"X-MBX-APIKEY": "0" * 64})
    assert (answer.status_code, answer.json()) == (
        401,
        {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    )


async def test_a_signature_over_other_bytes_is_refused(gateway: Gateway) -> None:
    request = gateway.signed("symbol=BTCUSDT")
    request["params"] = str(request["params"]).replace("BTCUSDT", "ETHUSDT")
    answer = await gateway.http.get("/api/v3/openOrders", **request)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (400, -1022)


async def test_without_a_signature_or_a_timestamp_nothing_goes(gateway: Gateway) -> None:
    headers = {"X-MBX-APIKEY": gateway.key.api_key}
    for query, name in (("", "signature"), ("?timestamp=1", "signature"), ("?signature=00", "timestamp")):
        answer = await gateway.http.get(f"/api/v3/account{query}", headers=headers)
        assert answer.json() == {
            "code": -1102,
            "msg": f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
        }


async def test_a_form_and_a_json_body_are_signed_as_they_were_sent(gateway: Gateway) -> None:
    """They get as far as the engine, which is not there."""
    stamp = time.time_ns() // 1_000_000
    query, headers = f"symbol=BTCUSDT&timestamp={stamp}", {"X-MBX-APIKEY": gateway.key.api_key}
    for body, content_type in (
        (b"side=BUY&type=LIMIT", "application/x-www-form-urlencoded"),
        (b'{"side": "BUY", "price": 1.0}', "application/json"),
    ):
        signature = hmac.digest(gateway.key.secret.encode(), query.encode() + body, "sha256").hex()
        answer = await gateway.http.post(
            f"/api/v3/order?{query}&signature={signature}",
            content=body,
            headers={**headers, "Content-Type": content_type},
        )
        assert (answer.status_code, answer.json()["code"]) == (503, -1001)


async def test_with_the_engine_away_queries_say_so(gateway: Gateway) -> None:
    for path in ("account", "openOrders"):
        answer = await gateway.http.get(f"/api/v3/{path}", **gateway.signed(""))  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (503, -1001)
    assert (await gateway.http.get("/api/v3/exchangeInfo")).status_code == 503


async def test_the_futures_that_clients_ask_for_are_empty(gateway: Gateway) -> None:
    for path in ("/fapi/v1/exchangeInfo", "/dapi/v1/exchangeInfo"):
        assert (await gateway.http.get(path)).json()["symbols"] == []
    for path in ("/sapi/v1/margin/allPairs", "/sapi/v1/margin/isolated/allPairs"):
        assert (await gateway.http.get(path, **gateway.signed(""))).json() == []  # type: ignore[arg-type]
        assert (await gateway.http.get(path, params={"symbol": "BTCUSDT"})).json() == []


async def test_every_answer_has_its_request_id_and_its_weight(gateway: Gateway) -> None:
    first = await gateway.http.get("/api/v3/ping", headers={"X-Request-Id": "mine-1"})
    second = await gateway.http.get("/api/v3/nothing-here", headers={"X-Request-Id": "mine-2"})
    third = await gateway.http.get("/api/v3/depth", headers={"X-Request-Id": "not an id"})
    assert first.headers["x-request-id"] == "mine-1"
    assert second.headers["x-request-id"] == "mine-2"
    assert len(third.headers["x-request-id"]) == 32
    # A minute may end in between, and then its count begins anew.
    used = [answer.headers["x-mbx-used-weight-1m"] for answer in (first, second, third)]
    assert used in (["1", "2", "7"], ["1", "2", "5"], ["1", "1", "6"])


async def test_weight_beyond_the_limit_is_refused_with_the_time_to_wait(gateway: Gateway) -> None:
    answers = [await gateway.http.get("/api/v3/openOrders") for _ in range(2 * WEIGHT_PER_MINUTE // 80 + 2)]
    answer = answers[-1]
    assert (answers[0].status_code, answer.status_code, answer.json()["code"]) == (401, 429, -1003)
    assert 0 < int(answer.headers["retry-after"]) <= 60


async def test_what_is_unexpected_is_answered_with_its_id_and_logged_with_its_trace(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_call: Call) -> object:
        raise ZeroDivisionError("a bug")

    resource = next(
        route.endpoint
        for route in gateway.http._transport.app.router.routes  # type: ignore[attr-defined]
        if getattr(route, "path", "") == "/api/v3/ping"
    )
    endpoint = resource.endpoints["GET"]
    monkeypatch.setitem(resource.endpoints, "GET", type(endpoint)(fails))
    answer = await gateway.http.get("/api/v3/ping", headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.json()) == (
        500,
        {"code": -1000, "msg": "An unknown error occurred while processing the request.", "detail": "request mine"},
    )
    assert "ZeroDivisionError: a bug" in caplog.text


async def test_what_is_logged_of_a_request_gives_nothing_away(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    request = gateway.signed("symbol=BTCUSDT")
    caplog.clear()
    await gateway.http.get("/api/v3/openOrders", **request)  # type: ignore[arg-type]
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("openbourse"))
    assert "GET /api/v3/openOrders 503" in ours
    signature = str(request["params"]).rpartition("=")[2]
    for secret in (gateway.key.secret, gateway.key.api_key, signature, "BTCUSDT"):
        assert secret not in ours


async def test_detail_is_beside_the_message_never_in_it(gateway: Gateway) -> None:
    answer = json.loads((await gateway.http.get("/api/v3/depth?symbol=BTCUSDT&a=1&b=2")).content)
    assert answer == {
        "code": -1104,
        "msg": "Not all sent parameters were read; read '1' parameter(s) but was sent '3'.",
        "detail": "unknown: a, b",
    }
