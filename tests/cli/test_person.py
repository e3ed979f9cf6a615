"""A person's certificate is signed by the exchange's authority and says whose it is; others are refused."""

import base64
import contextlib
import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from openbourse.cli.local_folder import AUTHORITY, EXCHANGE, write_certificates
from openbourse.cli.main import app
from openbourse.contracts.component import Component
from openbourse.contracts.tls import client_context, component_of, person_of, server_context

runner = CliRunner()


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """As `openbourse local` keeps them."""
    write_certificates(tmp_path / "tls")
    return tmp_path / "tls"


def issue(*arguments: str | Path, stdin: str | None = None) -> tuple[int, str]:
    result = runner.invoke(app, ["person", "issue", *map(str, arguments)], input=stdin)
    return result.exit_code, result.output


def met(server: Path, client: Path) -> ssl.SSLObject:
    """The server's end of a handshake between two folders."""
    ends = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    listening = server_context(server).wrap_bio(*ends[0], server_side=True)
    calling = client_context(client).wrap_bio(*ends[1], server_hostname="localhost")
    for _ in range(4):
        for end in (calling, listening):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            ends[0][0].write(ends[1][1].read())
            ends[1][0].write(ends[0][1].read())
    return listening


@pytest.mark.parametrize("as_secret", [False, True])
def test_a_person_is_known_by_the_name_that_was_given(tls: Path, tmp_path: Path, as_secret: bool) -> None:
    files = {name: (tls / AUTHORITY / name).read_bytes() for name in ("tls.crt", "tls.key")}
    secret = json.dumps({"data": {name: base64.b64encode(content).decode() for name, content in files.items()}})
    place = "-" if as_secret else tls / AUTHORITY
    out = tmp_path / "ann"
    code, output = issue("ann", "--authority", place, "--out", out, stdin=secret if as_secret else None)
    assert (code, output) == (0, f"{out}: certificate of ann, good for 90 days; use it with --tls {out}\n")
    assert {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()} == {
        "ca.crt": 0o600,
        "tls.crt": 0o600,
        "tls.key": 0o600,
    }
    seen = met(tls / Component.LEDGER, out).getpeercert()
    assert (person_of(seen), component_of(seen)) == ("ann", Component.CLI)
    assert f"openbourse://{EXCHANGE}/cli" in str(seen)


def test_how_long_it_is_good_is_said(tls: Path, tmp_path: Path) -> None:
    assert issue("bob", "--authority", tls / AUTHORITY, "--out", tmp_path / "bob", "--days", "3")[0] == 0
    made = x509.load_pem_x509_certificate((tmp_path / "bob" / "tls.crt").read_bytes())
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 3


@pytest.mark.parametrize("name", ["", " ann", "a\nb", "x" * 65, *Component])
def test_what_is_no_person_is_refused(tls: Path, tmp_path: Path, name: str) -> None:
    code, output = issue("--authority", tls / AUTHORITY, "--out", tmp_path / "out", "--", name)
    assert code == 1 and ("is no name of a person" in output or "what components are called" in output)
    assert not (tmp_path / "out").exists()


def test_what_is_no_authority_is_refused_and_leaves_nothing(tls: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for place, stdin, said in (
        (tmp_path, None, "has no tls.crt and no tls.key: name the authority's folder"),
        (tls / Component.CLI, None, "a certificate of 'cli' and of no exchange's authority"),
        ("-", "{}", "is no Secret of an authority"),
        ("-", "", "is no Secret of an authority"),
    ):
        code, output = issue("ann", "--authority", place, "--out", out, stdin=stdin)
        assert code == 1 and said in output.replace("\n", " "), output
        assert not out.exists()


def test_a_folder_that_has_something_is_left_alone(tls: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert issue("ann", "--authority", tls / AUTHORITY, "--out", out)[0] == 0
    before = (out / "tls.crt").read_bytes()
    code, output = issue("bob", "--authority", tls / AUTHORITY, "--out", out)
    assert code == 1 and "is not empty" in output
    assert (out / "tls.crt").read_bytes() == before
