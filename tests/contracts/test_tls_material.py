"""A process takes what is new in its folder, and only what is good; connections are made with what is in use."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from openbourse.contracts import tls_material
from openbourse.contracts.certificates import Issued, issue, make_authority
from openbourse.contracts.component import Component
from openbourse.contracts.tls import client_context
from openbourse.contracts.tls_material import FILES, FollowingContext, Lifetime, Material, MaterialUnusable

NOW = datetime.datetime.now(datetime.UTC)
HOSTS = ("localhost", "127.0.0.1")


def issued(authority: Issued, component: Component = Component.ENGINE, *, days: int = 90, ago: int = 0) -> Issued:
    return issue(authority, "demo", component, HOSTS, NOW - datetime.timedelta(days=ago), days=days)


def write(folder: Path, certificate: Issued, *authorities: Issued) -> Path:
    folder.mkdir(exist_ok=True)
    bundle = b"".join(authority.certificate for authority in authorities)
    for name, content in zip(FILES, (bundle, certificate.certificate, certificate.key), strict=True):
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def authority() -> Issued:
    return make_authority("demo", NOW)


@pytest.fixture
def material(tmp_path: Path, authority: Issued) -> Material:
    return Material.load(write(tmp_path / "engine", issued(authority), authority))


@contextlib.asynccontextmanager
async def echoing(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as listener:
        yield listener.sockets[0].getsockname()[1]


async def said(port: int, context: ssl.SSLContext) -> tuple[bytes, bytes]:
    """What came back, and the listener's certificate."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(b"hello")
            answer = await reader.read(100)
            return answer, writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_new_connections_have_the_new_certificate_and_old_ones_go_on(
    material: Material, authority: Issued
) -> None:
    async with echoing(material.server) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=material.client)
        _, first = await said(port, material.client)
        write(material.folder, issued(authority), authority)
        material.look()
        _, second = await said(port, material.client)
        assert first != second
        assert material.renewals == 1
        writer.write(b"still")
        assert await asyncio.wait_for(reader.read(100), 5) == b"still"
        await closed(writer)


async def test_an_authority_is_trusted_as_long_as_the_folder_has_it(material: Material, authority: Issued) -> None:
    other = make_authority("demo", NOW)
    stranger = client_context(write(material.folder.parent / "stranger", issued(other), other, authority))
    async with echoing(material.server) as port:
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            assert (await said(port, stranger))[0]
        own = issued(authority)
        write(material.folder, own, authority, other)
        material.look()
        assert (await said(port, stranger))[0] == b"hello"
        assert len(material.in_use.authorities) == 2
        write(material.folder, own, authority)
        material.look()
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            assert (await said(port, stranger))[0]


def broken(name: str, folder: Path, authority: Issued) -> None:
    other = make_authority("demo", NOW)
    match name:
        case "missing":
            (folder / "tls.key").unlink()
        case "empty":
            (folder / "tls.crt").write_bytes(b"")
        case "half":
            whole = issued(authority).certificate
            (folder / "tls.crt").write_bytes(whole[: len(whole) // 2])
        case "key of another":
            (folder / "tls.key").write_bytes(issued(authority).key)
        case "untrusted by itself":
            write(folder, issued(other), authority)
        case "no authority":
            (folder / "ca.crt").write_bytes(b"")
        case "expired":
            write(folder, issued(authority, days=1, ago=2), authority)
        case "not yet valid":
            write(folder, issued(authority, ago=-1), authority)
        case "folder gone":
            folder.rename(folder.with_name("elsewhere"))


BROKEN = (
    *("missing", "empty", "half", "key of another", "untrusted by itself", "no authority", "expired"),
    *("not yet valid", "folder gone"),
)


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_is_not_taken_counted_once_and_mended_by_what_comes_next(
    material: Material, authority: Issued, name: str
) -> None:
    before = material.in_use
    broken(name, material.folder, authority)
    async with echoing(material.server) as port:
        for _ in range(3):
            material.look()
            assert (await said(port, material.client))[0] == b"hello"
    assert material.in_use is before
    assert (material.renewals, material.failures) == (0, 1)
    assert material.problem
    write(material.folder, issued(authority), authority)
    material.look()
    assert (material.renewals, material.failures, material.problem) == (1, 1, "")


@pytest.mark.parametrize("name", BROKEN)
def test_no_process_starts_with_what_is_broken(tmp_path: Path, authority: Issued, name: str) -> None:
    folder = write(tmp_path / "engine", issued(authority), authority)
    broken(name, folder, authority)
    with pytest.raises((OSError, ssl.SSLError, MaterialUnusable)):
        Material.load(folder)


def test_a_mounted_secret_changes_by_a_link(tmp_path: Path, authority: Issued) -> None:
    """As the kubelet does it: the files are links through `..data`, which is moved to another folder at once."""
    write(tmp_path / "..1", issued(authority), authority)
    (tmp_path / "..data").symlink_to("..1")
    for name in FILES:
        (tmp_path / name).symlink_to(Path("..data") / name)
    material = Material.load(tmp_path)
    write(tmp_path / "..2", issued(authority), authority)
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    material.look()
    assert material.renewals == 1


async def test_no_session_is_resumed(material: Material) -> None:
    """A resumed one would be of the certificate that was shown first."""
    async with echoing(material.server) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=material.client)
        writer.write(b"x")
        await asyncio.wait_for(reader.read(1), 5)
        assert not writer.get_extra_info("ssl_object").session.has_ticket
        await closed(writer)


def ends_in(seconds: float) -> dict[str, str]:
    """A peer's certificate. Its end has whole seconds."""
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return {"notAfter": ends.strftime("%b %d %H:%M:%S %Y GMT")}


async def test_a_connection_is_made_anew_soon_after_a_renewal(
    material: Material, authority: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_material, "RENEWED_WITHIN_S", 0.05)
    calls: list[str] = []
    dialed, plain = material.client, client_context(material.folder)
    for name, context in (("dialed", dialed), ("plain", plain)):
        Lifetime(None, context=context, due=partial(calls.append, name), ended=partial(calls.append, "ended"))
    over = Lifetime(None, context=dialed, due=partial(calls.append, "over"), ended=partial(calls.append, "ended"))
    over.over()
    for _ in range(2):
        write(material.folder, issued(authority), authority)
        material.look()
        await asyncio.sleep(0.2)
    assert calls == ["dialed"]


async def test_a_connection_is_made_anew_before_the_peers_certificate_ends_and_ended_with_it(
    material: Material,
) -> None:
    calls: list[str] = []
    peer = ends_in(4)
    lifetime = Lifetime(
        peer, context=material.client, due=partial(calls.append, "due"), ended=partial(calls.append, "ended")
    )
    listening = Lifetime(peer, ended=partial(calls.append, "listener ended"))
    await asyncio.sleep(5)
    assert (calls[0], sorted(calls[1:])) == ("due", ["ended", "listener ended"])
    lifetime.over()
    listening.over()
    assert not material.lifetimes


def test_what_cannot_follow_is_refused(material: Material) -> None:
    assert isinstance(material.client, FollowingContext)
    with pytest.raises(NotImplementedError, match="wrap_bio"):
        material.client.wrap_socket()
