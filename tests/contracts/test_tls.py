"""Only the exchange's own processes get through a handshake, and each is known by its component."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest

from openbourse.contracts.certificates import Issued, issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.tls import PeerRefused, client_context, component_of, person_of, server_context

NOW = datetime.datetime.now(datetime.UTC)


def folder(path: Path, authority: Issued, certificate: Issued) -> Path:
    path.mkdir()
    for name, content in certificate.files(authority).items():
        (path / name).write_bytes(content)
    return path


@pytest.fixture
def authority() -> Issued:
    return make_authority("demo", NOW)


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> Component:
    """Returns who the server thinks has called. Raises what the client sees when it is refused."""
    seen: asyncio.Future[Component] = asyncio.get_running_loop().create_future()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(component_of(writer.get_extra_info("ssl_object").getpeercert()))
        writer.write(b"!")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        try:
            assert await asyncio.wait_for(reader.read(1), 5) == b"!"
            return await asyncio.wait_for(seen, 5)
        finally:
            writer.close()


async def test_a_component_is_known_by_its_certificate(tmp_path: Path, authority: Issued) -> None:
    engine = folder(tmp_path / "e", authority, issue(authority, "demo", Component.ENGINE, ["127.0.0.1"], NOW))
    ledger = folder(tmp_path / "l", authority, issue(authority, "demo", Component.LEDGER, ["ledger"], NOW))
    assert await handshake(server_context(engine), client_context(ledger)) is Component.LEDGER


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path, authority: Issued) -> None:
    engine = folder(tmp_path / "e", authority, issue(authority, "demo", Component.ENGINE, ["127.0.0.1"], NOW))
    foreign = make_authority("demo", NOW)
    stranger = folder(tmp_path / "s", authority, issue(foreign, "demo", Component.LEDGER, ["ledger"], NOW))
    # In TLS 1.3 the client learns of the refusal with its first read.
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        await handshake(server_context(engine), client_context(stranger))


async def test_a_listener_with_another_name_is_refused(tmp_path: Path, authority: Issued) -> None:
    elsewhere = folder(tmp_path / "e", authority, issue(authority, "demo", Component.ENGINE, ["elsewhere"], NOW))
    ledger = folder(tmp_path / "l", authority, issue(authority, "demo", Component.LEDGER, ["ledger"], NOW))
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(server_context(elsewhere), client_context(ledger))


def test_a_certificate_without_a_component_is_refused() -> None:
    for names in ((), (("DNS", "engine"),), (("URI", "openbourse://demo/king"),), (("URI", "https://demo/engine"),)):
        with pytest.raises(PeerRefused):
            component_of({"subjectAltName": names})
    with pytest.raises(PeerRefused):
        component_of(None)


def test_a_certificate_is_the_one_of_its_common_name_or_its_component() -> None:
    names = {"subjectAltName": [("URI", "openbourse://demo/cli")]}
    assert person_of({**names, "subject": ((("organizationName", "x"),), (("commonName", "ann"),))}) == "ann"
    for subject in ((), ((("commonName", " "),),)):
        assert person_of({**names, "subject": subject}) == "cli"
    with pytest.raises(PeerRefused):
        person_of(None)
