"""One gateway process without an engine: it lives, says that it is not ready and why, and stops cleanly."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fixtures.gateways import NOWHERE, GatewayProcess, running_gateway, signed
from fixtures.websocket_apis import of_secret
from openbourse.contracts.component import Component
from openbourse.contracts.documents import digest
from openbourse.gateway.keys import read_keys

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def tls(tls_material: Mapping[Component, Path]) -> Path:
    return tls_material[Component.GATEWAY]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, tls: Path) -> Iterator[GatewayProcess]:
    """A gateway whose engine never comes."""
    with running_gateway(tmp_path_factory.mktemp("idle"), tls) as (gateway, _):
        yield gateway


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_while_its_engine_is_away(tmp_path: Path, tls: Path, number: signal.Signals) -> None:
    with running_gateway(tmp_path / "gateway", tls) as (gateway, _):
        assert gateway.stop(number) == 0
        assert "gateway stopped" in gateway.log.read_text()
        assert "Traceback" not in gateway.log.read_text()


def test_without_its_engine_it_lives_and_is_not_ready(idle: GatewayProcess) -> None:
    ready = httpx.get(f"{idle.status_url}/readyz")
    assert (ready.status_code, ready.json()) == (503, "nothing heard from shard main yet")
    status = httpx.get(f"{idle.status_url}/status").json()
    assert (status["component"], status["ready"], status["keys"]) == ("gateway", False, 2)
    assert status["shards"] == [{"shard": "main", "connected": False, "seq": 0, "epoch": 0}]
    assert httpx.get(f"{idle.url}/api/v3/ping").json() == {}
    assert "gateway ready" not in idle.log.read_text()


def test_it_says_which_files_of_limits_it_has_in_use_by_their_digests(tmp_path: Path, tls: Path) -> None:
    files = [tmp_path / name for name in ("trading-limits.json", "limits.json")]
    for file in files:
        file.write_text("{}")
    options = [word for file in files for word in ("--limits", str(file))]
    with running_gateway(tmp_path / "gateway", tls, NOWHERE, *options) as (gateway, _):

        def said() -> tuple[dict[str, str], int]:
            status = httpx.get(f"{gateway.status_url}/status").json()
            return status["limitsInUse"], status["limitOverrides"]

        assert said() == ({str(file): digest(b"{}") for file in files}, 0)
        exception = {"account": 1001, "ordersPerDay": 5, "reason": "r", "until": "2099-01-01T00:00:00Z"}
        text = json.dumps({"overrides": [exception]})
        files[0].write_text(text)
        began = time.monotonic()
        while said() != ({str(files[0]): digest(text.encode()), str(files[1]): digest(b"{}")}, 1):
            assert time.monotonic() - began < 10, said()
            time.sleep(0.05)


def test_a_query_without_an_engine_is_answered_in_time(idle: GatewayProcess) -> None:
    key = read_keys(idle.keys)[0]
    began = time.monotonic()
    answer = httpx.get(
        f"{idle.url}/api/v3/account?{signed(key, {})}", headers={"X-MBX-APIKEY": key.api_key}, timeout=10
    )
    assert (answer.status_code, answer.json()["code"]) == (503, -1001)
    assert time.monotonic() - began < 8
    logged = idle.log.read_text()
    assert re.search(r"GET /api/v3/account 503 \d+ us", logged)
    assert key.secret not in logged
    assert "signature=" not in logged


def test_a_stop_is_said_on_the_websocket_api_and_what_is_under_way_is_answered(tmp_path: Path, tls: Path) -> None:
    with running_gateway(tmp_path / "gateway", tls) as (gateway, keys):
        by = of_secret(keys[0])
        with connect(f"ws://{gateway.address}/ws-api/v3", proxy=None) as api:
            # The engine is away: it takes a while until that is sure.
            api.send(json.dumps({"id": 1, "method": "openOrders.status", "params": by.query({})}))
            time.sleep(0.5)
            stopped = threading.Thread(target=gateway.stop)
            stopped.start()
            said = []
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    said.append(json.loads(api.recv(timeout=20)))
        stopped.join()
        assert said[0]["event"]["e"] == "serverShutdown"
        assert [(answer["id"], answer["status"]) for answer in said[1:]] == [(1, 503)]
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "the gateway stops")
        log = gateway.log.read_text()
        assert "gateway stopped" in log
        assert "Traceback" not in log


def test_who_asks_while_it_stops_is_answered_and_told_to_come_again(tmp_path: Path, tls: Path) -> None:
    """No request meets a connection that is being closed: what fails at the end was the first of a new connection."""
    with running_gateway(tmp_path / "gateway", tls) as (gateway, _), httpx.Client(base_url=gateway.url) as client:
        assert "connection" not in client.get("/api/v3/ping").headers
        stopped = threading.Thread(target=gateway.stop)
        stopped.start()
        answers = []
        # Refused, or, of one that the kernel took just before, reset.
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):
            while True:
                answers.append(client.get("/api/v3/ping"))
                time.sleep(0.005)
        stopped.join()
        assert {answer.status_code for answer in answers} == {200}
        assert answers[-1].headers["connection"] == "close"
        assert "Traceback" not in gateway.log.read_text()


def test_an_idle_client_does_not_keep_it_from_stopping(tmp_path: Path, tls: Path) -> None:
    with running_gateway(tmp_path / "gateway", tls) as (gateway, _), httpx.Client(base_url=gateway.url) as client:
        assert client.get("/api/v3/ping").status_code == 200
        began_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began_s < 6


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(idle: GatewayProcess) -> None:
    answer = httpx.post(f"{idle.url}/api/v3/order", content=b"a" * 10_000_000)
    assert (answer.status_code, answer.json()["code"], answer.headers["connection"]) == (413, -1101, "close")
    assert httpx.get(f"{idle.url}/api/v3/ping").status_code == 200


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00", b"GET /api/v3/ping HTTP/1.1\r\nbad name: x\r\n\r\n", b"\0" * 100_000],
    ids=["a TLS handshake", "a bad header", "zeros"],
)
def test_bytes_that_are_no_http_harm_nobody(idle: GatewayProcess, data: bytes) -> None:
    with socket.create_connection((idle.address.host, idle.address.port), timeout=10) as trader:
        trader.sendall(data)
        assert trader.recv(65_536).startswith(b"HTTP/1.1 400 ")
    assert httpx.get(f"{idle.url}/api/v3/ping").status_code == 200
    assert "Traceback" not in idle.log.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--keys": "nowhere.json"}, "No such file"),
        ({"--tls": "nowhere"}, "No such file"),
        ({"--engine": "engine"}, "is not an address such as"),
    ],
)
def test_what_is_missing_at_the_start_is_said_in_one_line(
    tmp_path: Path, tls: Path, change: dict[str, str], said: str
) -> None:
    (tmp_path / "keys.json").write_text('{"keys": []}')
    options = {
        **{"--shard": "main", "--engine": str(NOWHERE), "--ledger": f"https://{NOWHERE}", "--tls": str(tls)},
        **{"--keys": str(tmp_path / "keys.json"), "--listen": "127.0.0.1:1", "--status": "127.0.0.1:2", **change},
    }
    command = [sys.executable, "-m", "openbourse.gateway", *(word for pair in options.items() for word in pair)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in {1, 2}
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
