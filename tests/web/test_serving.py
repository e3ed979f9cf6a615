"""The gateway gives out its page: safe, cached well, compressed, and without any weight of limits."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.gateways import Venue
from fixtures.shards import shards_away
from openbourse.gateway.web import FOLDER, Web, read_files

pytestmark = pytest.mark.server


@pytest.fixture
async def http(venue: Venue) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=venue.gateway.url, timeout=20) as client:
        yield client


async def test_the_page_and_all_that_it_names_are_there(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    assert page.status_code == 200, page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(named) == 4
    for path in named:
        answer = await http.get(path)
        assert answer.status_code == 200, path
        hashed = path.startswith("/assets/")
        assert answer.headers["cache-control"] == ("public, max-age=31536000, immutable" if hashed else "no-cache")


async def test_no_script_of_others_and_no_frame_can_have_the_page(http: httpx.AsyncClient) -> None:
    for path in ("/", "/favicon.svg", "/page/markets"):
        headers = (await http.get(path)).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'",) * 3
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
    html = (await http.get("/")).text
    assert re.findall(r"<script(?![^>]*src=)|<style|style=|\son\w+=", html) == []


async def test_what_a_browser_has_already_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/")
    for known in (first.headers["etag"], f"W/{first.headers['etag']}", f'"other", {first.headers["etag"]}', "*"):
        again = await http.get("/", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == first.headers["etag"]
    assert (await http.get("/", headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("", False), ("gzip;q=0", False), ("gzip; q=0.000", False)],
)
async def test_it_is_compressed_for_who_takes_that(http: httpx.AsyncClient, accepted: str, compressed: bool) -> None:
    async with http.stream("GET", "/", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert ("content-encoding" in answer.headers) == compressed
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) == len(raw)
    content = gzip.decompress(raw) if compressed else raw
    assert content == (FOLDER / "index.html").read_bytes()


async def test_only_reading_is_possible_and_it_has_no_weight(http: httpx.AsyncClient) -> None:
    used = int((await http.get("/api/v3/ping")).headers["x-mbx-used-weight-1m"])
    for _ in range(20):
        assert "x-mbx-used-weight-1m" not in (await http.get("/")).headers
    await http.get("/page/markets")
    after = int((await http.get("/api/v3/ping")).headers["x-mbx-used-weight-1m"])
    # A new minute may have begun.
    assert after in (used + 1, 1)
    head = await http.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    posted = await http.post("/", content=b"x")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")


async def test_nothing_but_the_page_is_given_out(http: httpx.AsyncClient) -> None:
    for path in ("/.made", "/index.html", "/assets/", "/assets/../web.py", "/assets/%2e%2e/%2e%2e/web.py", "/page"):
        assert (await http.get(path)).status_code == 404, path


async def test_the_state_of_each_market_is_told(http: httpx.AsyncClient) -> None:
    rows = (await http.get("/page/markets")).json()
    assert {"symbol": "BTCUSDT", "status": "TRADING", "reason": ""} in rows


async def test_a_gateway_without_a_page_says_so_and_how_to_build_it(tmp_path: Path) -> None:
    assert read_files(tmp_path) == {}
    web = Web(shards_away(), {})
    assert web.paths == ["/", "/page/markets"]
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    await web({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert sent[0]["status"] == 200
    assert b"make run" in sent[1]["body"]
