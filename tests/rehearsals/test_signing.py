"""The key that signs reports is in a token: made there once, never out, and what a token refuses is not asked again."""

import base64
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from fixtures.apiservers import RunningApiServer
from fixtures.rehearsal_facts import good, report
from fixtures.tokens import PIN, SoftHsm
from openbourse.contracts.apiserver import ApiServer, Resource
from openbourse.contracts.hsm import TokenAway, TokenRefused
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals.report import check, public_text, seal
from openbourse.operator.rehearsals.signing import Signing

pytestmark = pytest.mark.server

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.fixture
async def house(api: ApiServer) -> str:
    name = f"signing-{os.urandom(4).hex()}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    return name


async def give_pin(api: ApiServer, house: str, pin: str) -> None:
    metadata = {"name": "openbourse-rehearsals-pin", "namespace": house}
    await api.create(kinds.SECRET, {"metadata": metadata, "stringData": {"pin": pin}})


def in_software(folder: Path) -> Mapping[str, str]:
    """As the chart gives it."""
    return {
        "OPENBOURSE_PKCS11_MODULE": "/usr/lib/softhsm/libsofthsm2.so",
        "OPENBOURSE_PKCS11_TOKEN": "rehearsals",
        "OPENBOURSE_TOKEN_FOLDER": str(folder),
        "SOFTHSM2_CONF": str(folder / "softhsm2.conf"),
        "PATH": os.environ["PATH"],
    }


async def test_a_token_and_its_pin_are_made_once_and_found_again(
    api: ApiServer, house: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "token"
    environment = in_software(folder)
    monkeypatch.setenv("SOFTHSM2_CONF", environment["SOFTHSM2_CONF"])
    first = Signing(api, house, environment)
    assert await first.problem() == ""
    made = await first.key("reports trading/demo")
    another = await first.key("reports trading/other")
    again = await Signing(api, house, environment).key("reports trading/demo")
    assert made.public == again.public != another.public
    sealed = await first.sign(lambda: seal(report(good()), again))
    assert check(sealed.text, public_text(made.public)).problems == ()
    stored = await api.get(kinds.SECRET, house, "openbourse-rehearsals-pin")
    assert stored is not None
    assert len(base64.b64decode(stored["data"]["pin"])) == 32


async def test_a_token_that_refuses_is_not_asked_again(api: ApiServer, house: str, soft_hsm: SoftHsm) -> None:
    await give_pin(api, house, "0000")
    environment = dict(soft_hsm.environment)
    signing = Signing(api, house, environment)
    assert "refuses the PIN" in await signing.problem()
    await api.delete(kinds.SECRET, house, "openbourse-rehearsals-pin")
    await give_pin(api, house, PIN)
    with pytest.raises(TokenRefused):
        await signing.key("reports trading/demo")
    assert await Signing(api, house, environment).problem() == "", "another process asks with the right one"


async def test_a_token_that_is_away_is_asked_again(api: ApiServer, house: str, soft_hsm: SoftHsm) -> None:
    signing = Signing(api, house, soft_hsm.environment)
    assert f"namespace {house} has no Secret openbourse-rehearsals-pin with pin" in await signing.problem()
    await give_pin(api, house, PIN)
    soft_hsm.take_away()
    with pytest.raises(TokenAway):
        await signing.key("reports trading/demo")
    soft_hsm.bring_back()
    assert (await signing.key("reports trading/demo")).public
