"""Attacks on the gateway's port for people: each is refused, nothing of it is done, and what people tried is told."""

import datetime
import json
import ssl
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.admins import AdminVenue, People, audits, person, request, write
from fixtures.engines import EXCHANGE
from openbourse.contracts.certificates import Issued, issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.roles import Role
from openbourse.contracts.tls import client_context

pytestmark = pytest.mark.server

KILL = "/v1/accounts/1001/kill"
NOW = datetime.datetime.now(datetime.UTC)
Context = Callable[[AdminVenue, Path], ssl.SSLContext]


def no_certificate(venue: AdminVenue, _: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(venue.tls / "the admin" / "ca.crt")
    return context


def another_authority(venue: AdminVenue, folder: Path) -> ssl.SSLContext:
    """It trusts the exchange, but its own certificate is of another authority of the same name."""
    foreign = make_authority(EXCHANGE, NOW)
    issued = issue(foreign, EXCHANGE, Component.CLI, (), NOW, person="ann", role=Role.ADMIN)
    ours = Issued((venue.tls / "the admin" / "ca.crt").read_bytes(), b"")
    return client_context(write(folder / "foreign", ours, issued))


def expired(venue: AdminVenue, folder: Path) -> ssl.SSLContext:
    authority = Issued(*((venue.tls / "authority" / name).read_bytes() for name in ("tls.crt", "tls.key")))
    long_ago = NOW - datetime.timedelta(days=100)
    issued = issue(authority, EXCHANGE, Component.CLI, (), long_ago, person="ann", role=Role.ADMIN)
    return client_context(write(folder / "expired", authority, issued))


def older_tls(venue: AdminVenue, _: Path) -> ssl.SSLContext:
    context = client_context(venue.tls / "the admin")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


OUTSIDE: dict[str, Context] = {
    "no certificate": no_certificate,
    "a certificate of another exchange's authority": another_authority,
    "a certificate that ran out": expired,
    "an older TLS": older_tls,
}


async def test_who_is_not_of_the_exchange_does_not_get_in(
    admin_venue: AdminVenue, people: People, tmp_path: Path
) -> None:
    for context_of in OUTSIDE.values():
        context = context_of(admin_venue, tmp_path)
        async with httpx.AsyncClient(base_url=admin_venue.url, verify=context, timeout=20) as client:
            with pytest.raises(httpx.TransportError):
                await client.post(KILL, json=request())
    async with httpx.AsyncClient(base_url=f"http://{admin_venue.admin}", timeout=20) as plain:
        with pytest.raises(httpx.TransportError):
            await plain.post(KILL, json=request())
    assert (await people.viewer.get("/v1/accounts/1001")).json()["killed"] is False


UNKILL, CANCEL, MARKET, SHARD = (
    "/v1/accounts/1001/unkill",
    "/v1/accounts/1001/cancel-all",
    "/v1/markets/BTCUSDT/cancel-all",
    "/v1/shard/cancel-all",
)
# Who, what.
NOT_ALLOWED = [
    *((component, path) for component in Component if component is not Component.CLI for path in (KILL, SHARD)),
    *((nobody, path) for nobody in ("cli", "the nobody") for path in (KILL, UNKILL, CANCEL, MARKET, SHARD)),
    *(("the viewer", path) for path in (KILL, UNKILL, CANCEL, MARKET, SHARD)),
    *(("the operator", path) for path in (UNKILL, SHARD)),
]
LOOKS = ["/v1/markets", "/v1/markets/BTCUSDT", "/v1/accounts/1001", "/v1/gateway", "/v1/limits/addresses?address=::1"]


async def test_who_may_not_is_refused_and_told(admin_venue: AdminVenue, people: People) -> None:
    placed = (await admin_venue.trader.place("BUY", "0.1", "20000")).json()["orderId"]
    refused = 0
    for who, path in NOT_ALLOWED:
        async with person(admin_venue, who) as client:
            answer = await client.post(path, json=request())
            assert (answer.status_code, answer.json()["reason"]) == (403, "NotAllowed"), (who, path)
            refused += 1
    for who in (*(component.value for component in Component), "the nobody"):
        async with person(admin_venue, who) as client:
            for path in LOOKS:
                assert (await client.get(path)).status_code == 403, (who, path)
                refused += 1
    told = [line for line in audits(admin_venue) if line["audit"] == "not allowed"]
    assert len(told) == refused == len(NOT_ALLOWED) + (len(Component) + 1) * len(LOOKS)
    assert await admin_venue.trader.open_orders() == [placed]


ACTION = {"id": str(uuid.UUID(int=5)), "reason": "a test"}
# What is sent, and how it is answered.
MALFORMED: dict[str, tuple[str, Any, int]] = {
    "no reason": (KILL, {"id": ACTION["id"]}, 400),
    "an empty reason": (KILL, {**ACTION, "reason": ""}, 400),
    "a reason of spaces": (KILL, {**ACTION, "reason": "   "}, 400),
    "a reason that forges a line": (KILL, {**ACTION, "reason": 'a\n{"audit": "kill"}'}, 400),
    "a reason that is a book": (KILL, {**ACTION, "reason": "x" * 201}, 400),
    "no id": (KILL, {"reason": "a test"}, 400),
    "an id that is none": (KILL, {**ACTION, "id": "7"}, 400),
    "who one would like to be": (KILL, {**ACTION, "who": "root"}, 400),
    "a role": (KILL, {**ACTION, "role": "admin"}, 400),
    "a house account": ("/v1/accounts/1/kill", ACTION, 400),
    "an account that cannot be": ("/v1/accounts/99999999999999999999/kill", ACTION, 400),
    "an account in words": ("/v1/accounts/all/kill", ACTION, 400),
    "a market that is not listed": ("/v1/markets/NONE/cancel-all", ACTION, 404),
    "a market of an account that is not listed": (CANCEL, {**ACTION, "symbol": "NONE"}, 404),
    "all markets by an empty name": (CANCEL, {**ACTION, "symbol": ""}, 400),
    "no JSON": (KILL, b"{", 400),
    "a list": (KILL, [], 400),
    "too much": (KILL, {**ACTION, "reason": "x" * 10_000}, 413),
    "another path": ("/v1/accounts/1001/delete", ACTION, 404),
    "a look that acts": ("/v1/accounts/1001", ACTION, 405),
}


async def test_what_makes_no_sense_is_refused_whoever_sends_it(admin_venue: AdminVenue, people: People) -> None:
    placed = (await admin_venue.trader.place("BUY", "0.1", "20000")).json()["orderId"]
    for attack, (path, sent, status) in MALFORMED.items():
        body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        answer = await people.admin.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, bool(answer.json()["message"])) == (status, True), (attack, answer.text)
    assert (await people.viewer.get("/v1/accounts/1001")).json()["killed"] is False
    assert await admin_venue.trader.open_orders() == [placed]


async def test_the_traders_port_has_none_of_it(admin_venue: AdminVenue, people: People) -> None:
    for path in (KILL, SHARD):
        answer = await admin_venue.trader.http.post(path, json=request())
        assert (answer.status_code, answer.json()["code"]) == (404, -1020)
    assert (await people.viewer.get("/v1/accounts/1001")).json()["killed"] is False
