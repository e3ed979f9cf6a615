"""Kubeconfig files say what kubectl makes of them, however they say it; what is wrong with them is said."""

import base64
import datetime
import json
import os
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbourse.contracts import certificates, kubeconfig

NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = certificates.make_authority("test", NOW)
Document = dict[str, Any]


def a_file(folder: Path, cluster: Document, user: Document, *, name: str = "test", current: str = "test") -> Path:
    context = {"cluster": name, "user": name, "namespace": f"of-{name}"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443"} | cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
    }
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def as_data(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate)
    (tmp_path / "me.pem").write_bytes(AUTHORITY.certificate)
    (tmp_path / "me.key").write_bytes(AUTHORITY.key)
    return tmp_path


def authorities(tls: ssl.SSLContext | None) -> int:
    assert tls is not None
    return tls.cert_store_stats()["x509_ca"]


@pytest.mark.parametrize("as_files", [True, False])
def test_certificates_are_taken_from_files_beside_it_or_out_of_it(
    pem: Path, as_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = ssl.SSLContext.load_cert_chain

    def spy(self: ssl.SSLContext, certificate: Path, key: Path) -> None:
        loaded.append((certificate.read_bytes(), key.read_bytes(), stat.S_IMODE(key.stat().st_mode)))
        load(self, certificate, key)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    cluster = {"certificate-authority": "ca.pem"}
    user = {"client-certificate": "me.pem", "client-key": "me.key"}
    if not as_files:
        cluster = {"certificate-authority-data": as_data(AUTHORITY.certificate)}
        user = {
            "client-certificate-data": as_data(AUTHORITY.certificate),
            "client-key-data": as_data(AUTHORITY.key),
        }
    found = kubeconfig.read(str(a_file(pem, cluster, user)), None)
    assert (found.url, found.token, found.namespace) == ("https://test:6443", "", "of-test")
    # One more than a context without it.
    assert authorities(found.tls) == 1
    ((certificate, key, mode),) = loaded
    assert (certificate, key) == (AUTHORITY.certificate, AUTHORITY.key)
    assert as_files or mode == 0o600


def test_a_token_is_given_as_it_stands_and_plain_http_needs_no_certificates(tmp_path: Path) -> None:
    found = kubeconfig.read(str(a_file(tmp_path, {"server": "http://127.0.0.1:1"}, {"token": "t"})), None)
    assert found == kubeconfig.Access("http://127.0.0.1:1", None, "t", "of-test")


def test_of_several_files_the_first_word_counts_and_paths_are_beside_their_own_file(pem: Path) -> None:
    """`one` names no authority of its own folder, where there is none."""
    one = a_file(pem / "elsewhere", {}, {"token": "1"}, name="one", current="two")
    two = a_file(pem, {"certificate-authority": "ca.pem"}, {"token": "2"}, name="two", current="one")
    files = f"{pem / 'missing'}{os.pathsep}{one}{os.pathsep}{two}"
    found = kubeconfig.read(files, None)
    assert (found.token, found.namespace, authorities(found.tls)) == ("2", "of-two", 1)
    assert kubeconfig.read(files, "one").token == "1"


def test_a_program_that_gives_credentials_is_run(tmp_path: Path) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "of a program"},
    }
    run = {
        "apiVersion": credential["apiVersion"],
        "command": sys.executable,
        "args": ["-c", f"print('''{json.dumps(credential)}''')"],
        "interactiveMode": "Never",
    }
    found = kubeconfig.read(str(a_file(tmp_path, {}, {"exec": run})), None)
    assert (found.url, found.token, found.namespace) == ("https://test:6443", "of a program", "of-test")


@pytest.mark.parametrize(
    ("content", "context", "said"),
    [
        (None, "other", r"there is no context other \(there are: test\)"),
        ("a: [", None, "is no YAML"),
        ("just a word", None, "is no kubeconfig"),
        ("clusters: []", None, "names no current-context"),
        ("current-context: x", None, r"there is no context x \(there are: none\)"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str | None, context: str | None, said: str) -> None:
    file = a_file(tmp_path, {}, {"token": "t"})
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=said):
        kubeconfig.read(str(file), context)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        kubeconfig.read(str(tmp_path / "none"), None)
