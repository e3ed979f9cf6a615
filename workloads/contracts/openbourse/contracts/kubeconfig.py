"""Kubeconfig files, as kubectl reads them: which API server a context means, and how to show it who asks.

Certificates and tokens are read here. What takes more, such as a program that gives credentials, is left to the package
`kubernetes`, whose import alone takes longer than most commands.
"""

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_OF_CLUSTERS = {"server", "certificate-authority", "certificate-authority-data"}
_OF_USERS = {"client-certificate", "client-certificate-data", "client-key", "client-key-data", "token"}
_FILES = ("certificate-authority", "client-certificate", "client-key")


@dataclass(frozen=True, slots=True)
class Access:
    """`tls` is None where it is asked by plain HTTP; `token` is empty where a certificate says who asks."""

    url: str
    tls: ssl.SSLContext | None
    token: str
    namespace: str


def read(files: str, context: str | None) -> Access:
    """Of a context, or of the current one, of files with a colon between them.

    Raises OSError, and ValueError, whose text says what is wrong.
    """
    found = [Path(file) for file in files.split(os.pathsep) if file and Path(file).exists()]
    if not found:
        raise FileNotFoundError("there is no such file")
    documents = [(file, _document(file)) for file in found]
    wanted = context or next((name for _, each in documents if (name := each.get("current-context"))), None)
    if not wanted:
        raise ValueError("it names no current-context: say which with --context, or kubectl config use-context")
    meant = _named(documents, "context", wanted)
    cluster = _named(documents, "cluster", str(meant.get("cluster")))
    user = _named(documents, "user", str(meant.get("user")))
    if set(cluster) - {"extensions"} <= _OF_CLUSTERS and set(user) - {"extensions"} <= _OF_USERS:
        url = str(cluster.get("server", ""))
        tls = _tls(cluster, user) if url.startswith("https:") else None
        return Access(url, tls, str(user.get("token", "")), str(meant.get("namespace") or "default"))
    return _by_package(files, wanted)


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{file} is no kubeconfig")
    return document


def _named(documents: list[tuple[Path, dict[str, Any]]], kind: str, name: str) -> dict[str, Any]:
    """The first of that name; files that it names are beside the file that names them. Raises ValueError."""
    names = []
    for file, document in documents:
        for entry in document.get(f"{kind}s") or ():
            names.append(str(entry.get("name")))
            if names[-1] == name:
                found = dict(entry.get(kind) or {})
                return found | {key: str(file.parent / found[key]) for key in _FILES if found.get(key)}
    raise ValueError(f"there is no {kind} {name} (there are: {', '.join(names) or 'none'})")


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    text = base64.b64decode(authority).decode() if authority else None
    context = ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=text)
    with tempfile.TemporaryDirectory(prefix="openbourse-") as folder:
        # OpenSSL takes a key from a file alone.
        certificate, key = (_file(user, name, Path(folder)) for name in ("client-certificate", "client-key"))
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    return context


def _file(user: dict[str, Any], name: str, folder: Path) -> Path | None:
    """What is given as data comes before a file, as with kubectl."""
    data = user.get(f"{name}-data")
    if data is None:
        return Path(user[name]) if name in user else None
    path = folder / name
    path.touch(0o600)
    path.write_bytes(base64.b64decode(data))
    return path


def _by_package(files: str, context: str) -> Access:
    from kubernetes.config import ConfigException  # noqa: PLC0415
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger  # noqa: PLC0415

    class Target:
        host: str
        ssl_ca_cert: str | None = None
        cert_file: str | None = None
        key_file: str | None = None
        verify_ssl: bool = True

        def __init__(self) -> None:
            self.api_key: dict[str, str] = {}

    target = Target()
    make: Any = KubeConfigLoader
    merge: Any = KubeConfigMerger
    loader = make(config_dict=merge(files).config, config_base_path=None, active_context=context)
    try:
        loader.load_and_set(target)
    except ConfigException as error:
        raise ValueError(str(error)) from None
    tls = None
    if target.host.startswith("https"):
        tls = ssl.create_default_context(cafile=target.ssl_ca_cert)
        if target.cert_file:
            tls.load_cert_chain(target.cert_file, target.key_file)
    namespace = loader.current_context["context"].get("namespace") or "default"
    return Access(target.host, tls, target.api_key.get("BearerToken", "").removeprefix("Bearer "), namespace)
