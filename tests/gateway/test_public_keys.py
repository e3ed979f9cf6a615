"""A gateway process with a file of public keys beside its own: what is put into it is let in, changed and revoked while
it runs."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from fixtures.gateways import GatewayProcess, Venue, running_gateway
from fixtures.websocket_apis import Signer, ed25519, public_pem, rsa_key, signing_with
from openbourse.contracts import durable
from openbourse.contracts.api_keys import PublicApiKey, api_key_of, file_of_public_keys
from openbourse.contracts.component import Component
from openbourse.contracts.documents import digest

pytestmark = pytest.mark.server

REFUSED = (401, -2015)
TAKEN_S = 10.0


@dataclass
class Place:
    gateway: GatewayProcess
    file: Path
    account: int

    def say(self, *keys: PublicApiKey) -> float:
        """Writes the file, and gives the seconds until the gateway has it in use."""
        content = file_of_public_keys(keys)
        durable.write(self.file, content)
        began_s = time.monotonic()
        wanted = {str(self.file): digest(content)}
        self.gateway.wait_for("its keys", lambda status: status["keysInUse"] == wanted)
        return time.monotonic() - began_s

    def asks(self, by: Signer) -> tuple[int, int]:
        """For the account's open orders: the status, and the code of a refusal."""
        query = urlencode({"timestamp": time.time_ns() // 1_000_000})
        signature = urlencode({"signature": by.sign(query.encode())})
        answer = httpx.get(
            f"{self.gateway.url}/api/v3/openOrders?{query}&{signature}",
            headers={"X-MBX-APIKEY": by.api_key},
            timeout=20,
        )
        said = answer.json()
        return answer.status_code, said["code"] if isinstance(said, dict) and "code" in said else 0


@pytest.fixture
def place(venue: Venue, tmp_path: Path, tls_material: Mapping[Component, Path]) -> Iterator[Place]:
    file = tmp_path / "api-keys.json"
    file.write_bytes(file_of_public_keys([]))
    account = venue.key().account
    with running_gateway(
        tmp_path / "gateway",
        tls_material[Component.GATEWAY],
        venue.engine.address,
        *("--marketdata", venue.marketdata.url),
        accounts=1,
        public_keys=(file,),
    ) as (gateway, _):
        gateway.wait_until_ready()
        yield Place(gateway, file, account)


def test_a_key_is_let_in_changed_and_revoked_while_the_gateway_runs(place: Place) -> None:
    for private in (ed25519(), rsa_key()):
        pem = public_pem(private)
        name = api_key_of("demo", place.account, pem)
        by = signing_with(private, name, place.account)
        key = PublicApiKey.model_validate(
            {"api_key": name, "account": place.account, "created": "2026-11-29", "public_key": pem}
        )
        assert place.asks(by) == REFUSED
        assert place.say(key) < TAKEN_S
        assert place.asks(by) == (200, 0)
        assert place.asks(signing_with(ed25519(), name, place.account)) == (400, -1022)
        place.say(key.model_copy(update={"permissions": ("TRADE",)}))
        assert place.asks(by) == REFUSED
        place.say(key.model_copy(update={"addresses": ("192.0.2.7/32",)}))
        assert place.asks(by) == REFUSED
        place.say(key.model_copy(update={"addresses": ("127.0.0.0/8",)}))
        assert place.asks(by) == (200, 0)
        place.say(key.model_copy(update={"expires": "2026-01-01T00:00:00Z"}))
        assert place.asks(by) == REFUSED
        place.say(key)
        assert place.asks(by) == (200, 0)
        assert place.say() < TAKEN_S
        assert place.asks(by) == REFUSED


def test_what_became_invalid_keeps_the_keys_of_before_and_is_said(place: Place) -> None:
    private = ed25519()
    by = signing_with(private, "k" * 20, place.account)
    made = {"api_key": "k" * 20, "account": place.account, "created": "2026-11-29", "public_key": public_pem(private)}
    place.say(PublicApiKey.model_validate(made))
    durable.write(place.file, b'{"keys": [{"api_key": "kkkkkkkkkkkkkkkkkkkk"}]}')
    place.gateway.wait_for("trouble", lambda status: str(place.file) in status["keysTrouble"])
    assert place.asks(by) == (200, 0)
    place.say()
    assert place.asks(by) == REFUSED
