"""Whatever is sent that the gateway's own OpenAPI description allows, signed or not: an answer in the wire's words."""

import asyncio
import hmac
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from fixtures.figures import Show
from fixtures.gateways import FUNDS, Venue, credit
from openbourse.gateway import errors
from openbourse.gateway.errors import Word
from openbourse.gateway.keys import Key

pytestmark = pytest.mark.server

CODES = {word.code for word in vars(errors).values() if isinstance(word, Word)}
SOME = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
# A valid value in the place of what was made up, every other time: refusals of the symbol would hide the rest.
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def described(venue: Venue) -> Any:
    return schemathesis.openapi.from_url(f"{venue.gateway.url}/api/v3/openapi.json")


@pytest.fixture(scope="module")
def key(venue: Venue) -> Key:
    key = venue.key()
    asyncio.run(credit(venue.engine, key.account, FUNDS))
    return key


@pytest.fixture(scope="module")
def http(venue: Venue) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=venue.gateway.url, timeout=20, trust_env=False) as http:
        yield http


def test_every_call_answers_in_the_words_of_the_wire(
    described: Any, venue: Venue, key: Key, http: httpx.Client, show: Show
) -> None:
    calls, requests = 0, 0
    for result in described.get_all_operations():
        operation = result.ok()
        calls += 1

        @SOME
        @given(case=operation.as_strategy())
        def answered(case: Any) -> None:
            nonlocal requests
            requests += 1
            answers_in_words(case, key, http)

        answered()
    show(f"schemathesis: {requests} requests of {calls} calls, signed where the call is, all answered in words")
    assert calls > 35
    assert "Traceback" not in venue.gateway.log.read_text()


def answers_in_words(case: Any, key: Key, http: httpx.Client) -> None:
    operation = case.operation.definition.raw
    sent = {name: str(value) for name, value in (case.query or {}).items() if name != "signature"}
    if "symbol" in sent and len(sent) % 2:
        sent["symbol"] = SYMBOLS[len(sent["symbol"]) % len(SYMBOLS)]
    query = urlencode(sent)
    headers = {}
    if "security" in operation:
        headers["X-MBX-APIKEY"] = key.api_key
    if any(each["name"] == "signature" for each in operation["parameters"]):
        query = urlencode({**sent, "timestamp": time.time_ns() // 1_000_000})
        query += f"&signature={hmac.digest(key.secret.encode(), query.encode(), 'sha256').hex()}"
    answer = http.request(case.method.upper(), f"{case.path}?{query}", headers=headers)
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    document = answer.json()
    # Engine, ledger or market data being away is said with 5xx; all but the ledger are here.
    if answer.status_code >= 500:
        assert (document["code"], "ledger" in document.get("detail", "")) == (errors.DISCONNECTED.code, True), document
    elif answer.status_code != 200:
        assert document["code"] in CODES, document
        assert isinstance(document["msg"], str) and document["msg"]
        # The signature and the key were right.
        assert document["code"] not in (errors.BAD_SIGNATURE.code, errors.BAD_KEY.code), document


def test_the_description_has_every_call_and_no_other(described: Any, http: httpx.Client) -> None:
    raw = described.raw_schema
    assert {"get", "post", "delete"} == set(raw["paths"]["/api/v3/order"])
    names = {each["name"] for each in raw["paths"]["/api/v3/order"]["post"]["parameters"]}
    assert {"symbol", "side", "type", "quantity", "timestamp", "signature", "recvWindow"} <= names
    for path, methods in raw["paths"].items():
        for method in {"get", "post", "put", "delete"} - set(methods):
            assert http.request(method.upper(), path).status_code == 405, (method, path)
